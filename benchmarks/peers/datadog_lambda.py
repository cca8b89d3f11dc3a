"""Datadog's Lambda library with its extension: the decorator; each trace sent to the extension as it ends.

The extension is what its documentation installs beside the library. The benchmark's server is its agent, and
its file, which both of Datadog's packages look for, is reported as present.
"""

from __future__ import annotations

import os

from benchmarks.worker.work import ATTRIBUTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Handler = Callable[[object, object], object]

EXTENSION = "/opt/extensions/datadog-agent"
tracer: Any = None


def start(function: Handler) -> Handler:
    """`datadog_lambda_wrapper`, which imports ddtrace and patches libraries as they are imported."""
    exists = os.path.exists

    def exists_with_extension(path: Any) -> bool:
        return path == EXTENSION or exists(path)

    os.path.exists = exists_with_extension  # stays: ddtrace asks again when it makes its writer
    from datadog_lambda.wrapper import (  # type: ignore[import-not-found] # only in its own environment
        datadog_lambda_wrapper,
    )
    from ddtrace.trace import tracer as global_tracer  # type: ignore[import-not-found] # as above

    global tracer  # noqa: PLW0603 - a worker is one process with one tool in it
    tracer = global_tracer
    if os.environ["BENCH_DELIVERY"] == "discard":
        _discard()
    handler: Handler = datadog_lambda_wrapper(function)
    return handler


def _discard() -> None:
    """A trace filter that drops every trace, which is Datadog's documented way to export nothing."""
    from ddtrace.trace import TraceFilter

    class Drop(TraceFilter):  # type: ignore[misc] # its base is only known in its own environment
        def process_trace(self, trace: object) -> None:
            """Dropped."""

    tracer.configure(trace_processors=[Drop()])


def spans(count: int) -> None:
    """One root and its children, five tags each."""
    with tracer.trace("bench.root") as root:
        root.set_tags(ATTRIBUTES)
        for _ in range(count - 1):
            with tracer.trace("bench.span") as span:
                span.set_tags(ATTRIBUTES)


def children() -> None:
    """The five spans inside the handler's."""
    with tracer.trace("bench.load") as load:
        load.set_tags(ATTRIBUTES)
        with tracer.trace("bench.query") as query:
            query.set_tags(ATTRIBUTES)
        with tracer.trace("bench.parse") as parse:
            parse.set_tags(ATTRIBUTES)
    with tracer.trace("bench.price") as price:
        price.set_tags(ATTRIBUTES)
        with tracer.trace("bench.tax") as tax:
            tax.set_tags(ATTRIBUTES)


def flush() -> None:
    """A finished trace was sent as its root ended; this waits for whatever was not."""
    tracer.flush()


def recording() -> bool:
    """A span really holds what it is given."""
    with tracer.trace("check") as span:
        span.set_tags(ATTRIBUTES)
        return bool(span.get_tag("order_id") == "o-1042" and span.get_metric("rows") == 3)
