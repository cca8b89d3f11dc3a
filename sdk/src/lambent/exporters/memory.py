"""Keeps spans in a list: for tests."""

from __future__ import annotations

from lambent.exporters import Exporter, Result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambent.span import Span

__all__ = ["MemoryExporter"]


class MemoryExporter(Exporter):
    """Keeps finished spans, all or the newest `limit`. It has them as they end, without a flush."""

    immediate = True

    def __init__(self, limit: int | None = None) -> None:
        self.spans: list[Span] = []
        """The finished spans, oldest first."""
        self._limit = limit

    def on_end(self, span: Span) -> None:
        """Keep a span. Safe from several threads: appending to a list is one step."""
        self.spans.append(span)
        if self._limit is not None and len(self.spans) > self._limit:
            del self.spans[0]

    def export(self, spans: Sequence[Span], timeout: float = 0.0) -> Result:  # noqa: ARG002  # nothing to wait for
        """Keep the spans of a batch, for who uses the exporter without a tracer."""
        for span in spans:
            self.on_end(span)
        return Result()

    def clear(self) -> None:
        """Forget the spans."""
        self.spans.clear()
