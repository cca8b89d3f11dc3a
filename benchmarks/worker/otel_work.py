"""The same spans through OpenTelemetry's tracer, for every tool that hands one out.

Imported before the clock starts.
"""

from __future__ import annotations

from benchmarks.worker.work import ATTRIBUTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from opentelemetry.sdk.trace import ReadableSpan


def spans(tracer: Any, count: int) -> None:
    """One root and its children, five attributes each."""
    with tracer.start_as_current_span("bench.root", attributes=ATTRIBUTES):
        for _ in range(count - 1):
            with tracer.start_as_current_span("bench.span", attributes=ATTRIBUTES):
                pass


def children(tracer: Any) -> None:
    """The five spans inside the handler's."""
    with tracer.start_as_current_span("bench.load", attributes=ATTRIBUTES):
        with tracer.start_as_current_span("bench.query", attributes=ATTRIBUTES):
            pass
        with tracer.start_as_current_span("bench.parse", attributes=ATTRIBUTES):
            pass
    with (
        tracer.start_as_current_span("bench.price", attributes=ATTRIBUTES),
        tracer.start_as_current_span("bench.tax", attributes=ATTRIBUTES),
    ):
        pass


def recording(tracer: Any) -> bool:
    """A span really holds what it is given."""
    with tracer.start_as_current_span("check", attributes=ATTRIBUTES) as span:
        return bool(span.is_recording() and dict(span.attributes) == ATTRIBUTES)


def discard() -> Any:
    """An exporter that drops what it is given."""
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class Discard(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:  # noqa: ARG002 - the interface
            return SpanExportResult.SUCCESS

    return Discard()
