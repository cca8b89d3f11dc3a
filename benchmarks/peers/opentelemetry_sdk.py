"""OpenTelemetry's SDK with OTLP/HTTP, as its documentation sets it up; flushed at the end of the handler."""

from __future__ import annotations

import os

from benchmarks.worker import otel_work
from benchmarks.worker.work import ATTRIBUTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Handler = Callable[[object, object], object]

tracer: Any = None
provider: Any = None


def start(function: Handler) -> Handler:
    """Provider, batch processor, OTLP/HTTP exporter; the handler's span made and flushed by hand."""
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    global tracer, provider  # noqa: PLW0603 - a worker is one process with one tool in it
    provider = TracerProvider(resource=Resource.create({"service.name": "bench"}))
    if os.environ["BENCH_DELIVERY"] == "discard":
        provider.add_span_processor(BatchSpanProcessor(otel_work.discard()))
    else:
        exporter = OTLPSpanExporter(endpoint=os.environ["BENCH_ENDPOINT"] + "/v1/traces")
        provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    tracer = trace.get_tracer("bench")
    kind = trace.SpanKind.SERVER

    def handler(event: object, context: object) -> object:
        try:
            with tracer.start_as_current_span("handler", kind=kind, attributes=ATTRIBUTES):
                return function(event, context)
        finally:
            provider.force_flush()

    return handler


def spans(count: int) -> None:
    """One root and its children, five attributes each."""
    otel_work.spans(tracer, count)


def children() -> None:
    """The five spans inside the handler's."""
    otel_work.children(tracer)


def flush() -> None:
    """Deliver everything finished so far."""
    provider.force_flush()


def recording() -> bool:
    """A span really holds what it is given."""
    return otel_work.recording(tracer)
