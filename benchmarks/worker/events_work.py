"""Describes events with one tool, in its own environment: `python events_work.py TOOL FILE CALLS`.

FILE holds the events by name. Each is described the way the tool does it at the beginning of an invocation:
what called, the attributes of the span, and the context or contexts in the event. Prints, as JSON, the median
nanoseconds of a call in batches of CALLS, and how many callers were found.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

BATCHES = 21


class Context:
    """What Lambda passes beside the event."""

    aws_request_id = "00000000-0000-4000-8000-000000000000"
    function_name = "bench"
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:bench"
    client_context = None
    memory_limit_in_mb = "128"
    function_version = "$LATEST"

    def get_remaining_time_in_millis(self) -> int:
        """Enough."""
        return 3000


def lambent() -> Callable[[Any], int]:
    """As its handler does: recognised, the parent extracted, a link for each sender."""
    from lambent.batches import links
    from lambent.propagation import parent_of
    from lambent.testing import recording_tracer
    from lambent.triggers import recognise

    tracer = recording_tracer()
    context = Context()

    def describe(event: Any) -> int:
        found = recognise(event, context)
        callers = 0
        if found.carrier:
            parent, _ = parent_of(found.carrier, tracer.config, None)
            callers = parent is not None
        if found.records:
            callers = len(links(tracer, event, found))
        return callers

    return describe


def lambda_otel_lite() -> Callable[[Any], int]:
    """Its extractor for each kind; the user passes the one that fits. It has none for SQS but the default."""
    from lambda_otel_lite.extractors import api_gateway_v2_extractor, default_extractor
    from opentelemetry import trace
    from opentelemetry.propagate import extract

    context = Context()

    def describe(event: Any) -> int:
        read = default_extractor if "Records" in event else api_gateway_v2_extractor
        found = read(event, context)
        parent = extract(found.carrier or {})
        return trace.get_current_span(parent).get_span_context().is_valid

    return describe


def opentelemetry_aws_lambda() -> Callable[[Any], int]:
    """The functions that its patched handler calls; the context is that of the headers."""
    from opentelemetry import trace
    from opentelemetry.instrumentation import aws_lambda

    tool = vars(aws_lambda)

    def describe(event: Any) -> int:
        parent = tool["_determine_parent_context"](event, None)
        if event.get("requestContext"):
            tool["_get_api_gateway_v2_proxy_attributes"](event)
        return trace.get_current_span(parent).get_span_context().is_valid

    return describe


def datadog_lambda() -> Callable[[Any], int]:
    """The functions that its wrapper calls; of a batch it reads the first record."""
    from datadog_lambda.tracing import extract_dd_trace_context  # type: ignore[import-not-found]
    from datadog_lambda.trigger import extract_trigger_tags  # type: ignore[import-not-found]

    context = Context()

    def describe(event: Any) -> int:
        parent, _, _ = extract_dd_trace_context(event, context)
        extract_trigger_tags(event, context)
        return getattr(parent, "trace_id", None) is not None

    return describe


TOOLS = {
    "lambent": lambent,
    "lambda-otel-lite": lambda_otel_lite,
    "opentelemetry-aws-lambda": opentelemetry_aws_lambda,
    "datadog-lambda": datadog_lambda,
}


def main() -> None:
    """Measure every event of the file."""
    tool, path, calls = sys.argv[1], sys.argv[2], int(sys.argv[3])
    describe = TOOLS[tool]()
    events = json.loads(Path(path).read_text(encoding="utf-8"))
    found: dict[str, dict[str, float]] = {}
    for name, event in events.items():
        callers = int(describe(event))
        rounds = []
        for _ in range(BATCHES):
            start = time.perf_counter_ns()
            for _ in range(calls):
                describe(event)
            rounds.append((time.perf_counter_ns() - start) / calls)
        found[name] = {"ns": statistics.median(rounds), "callers": callers}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
