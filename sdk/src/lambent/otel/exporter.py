"""An exporter of OpenTelemetry's SDK (any `SpanExporter`) as one of lambent's."""

from __future__ import annotations

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, set_value
from opentelemetry.sdk.trace.export import SpanExportResult

from lambent.delivery.bounded import Bounded, LateError
from lambent.exporters import Exporter, Result
from lambent.otel.readable import Translator

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace.export import SpanExporter

    from lambent.span import Span

__all__ = ["OtelExporter"]

_CLOSE_S = 1.0


class OtelExporter(Exporter):
    """Hands batches to a `SpanExporter` as `ReadableSpan`s.

    These exporters know no deadline of an invocation's, so each export runs in a thread that is left
    behind when its time is over; its spans then count as lost. What the exporter does is not traced,
    by lambent or by OpenTelemetry's instrumentations.
    """

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._translator = Translator()
        self._bounded = Bounded()
        self._name = type(exporter).__name__

    def export(self, spans: Sequence[Span], timeout: float) -> Result:
        """Export the spans within `timeout` seconds."""

        def export() -> object:
            attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
            return self._exporter.export([self._translator.finished(span) for span in spans])

        try:
            answer = self._bounded.call(export, timeout)
        except LateError as error:
            # What was begun goes on in its thread, and may arrive; what was not is worth another try.
            reason = f"{self._name}: {error}"
            return Result(False, len(spans), 0, reason, again=not error.called, unconfirmed=error.called)
        except Exception as error:  # noqa: BLE001  # a user's exporter
            return Result(False, len(spans), 0, f"{self._name}: {type(error).__name__}: {error}")
        if answer is SpanExportResult.FAILURE:
            return Result(False, len(spans), 0, f"{self._name} reported a failure")
        return Result()

    def close(self) -> None:
        """Shut the exporter down."""
        shutdown = getattr(self._exporter, "shutdown", None)
        if shutdown is not None:
            self._bounded.call(shutdown, _CLOSE_S)

    def __repr__(self) -> str:
        return f"OtelExporter({self._exporter!r})"
