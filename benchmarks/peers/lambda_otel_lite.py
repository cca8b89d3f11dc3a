"""lambda-otel-lite by its README: the stdout line by default, its OTLP/HTTP recipe towards a collector."""

from __future__ import annotations

import os

from benchmarks.worker import otel_work

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Handler = Callable[[object, object], object]

tracer: Any = None
completion: Any = None


def start(function: Handler) -> Handler:
    """`init_telemetry` and its traced handler; the mode comes from its own environment variable."""
    from lambda_otel_lite import create_traced_handler, init_telemetry

    global tracer, completion
    delivery = os.environ["BENCH_DELIVERY"]
    if delivery == "default":
        tracer, completion = init_telemetry()
    else:
        # Its README's recipe, with its own processor in place of BatchSpanProcessor: no thread, and cheaper.
        from lambda_otel_lite.processor import LambdaSpanProcessor

        if delivery == "discard":
            exporter = otel_work.discard()
        else:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            exporter = OTLPSpanExporter(endpoint=os.environ["BENCH_ENDPOINT"] + "/v1/traces")
        tracer, completion = init_telemetry(span_processors=[LambdaSpanProcessor(exporter)])
    traced: Callable[[Handler], Handler] = create_traced_handler(
        name="handler", completion_handler=completion
    )
    return traced(function)


def spans(count: int) -> None:
    """One root and its children, five attributes each."""
    otel_work.spans(tracer, count)


def children() -> None:
    """The five spans inside the handler's."""
    otel_work.children(tracer)


def flush() -> None:
    """Deliver everything finished so far."""
    completion.tracer_provider.force_flush()


def recording() -> bool:
    """A span really holds what it is given."""
    return otel_work.recording(tracer)
