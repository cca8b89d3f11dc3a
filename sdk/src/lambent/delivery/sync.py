"""Synchronous delivery: what an invocation finished is exported at its end, before the response.

Bounded on every side: the queue by its size, an export by the time that the invocation has left.
A span that is not delivered is counted and said, never forgotten.
"""

from __future__ import annotations

from _thread import allocate_lock
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambent.config import Config
    from lambent.exporters import Exporter
    from lambent.span import Span

__all__ = ["SyncDelivery"]


class SyncDelivery:
    """The queue of finished spans and the exporters that empty it.

    Exporters are chosen and loaded when there is something to export for the first time.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._queue: list[Span] = []
        self._append = self._queue.append
        self._size = config.queue_size
        self._dropped = 0
        self._lock = allocate_lock()
        self._closed = False
        self._immediate: list[Exporter] = []
        self._exporters: list[Exporter] | None = None
        if config.test_mode or config.exporters:
            # Some exporters take a span the moment it ends (memory), so they are needed from the start.
            self._choose()
        if not config.function_name:
            import atexit

            # Lambda stops its processes without an exit; elsewhere a script ends, and its spans must not.
            atexit.register(self._at_exit)

    def on_end(self, span: Span) -> None:
        """Take a finished span. Called by the span, in whatever thread ends it."""
        if len(self._queue) < self._size:
            self._append(span)
        else:
            self._dropped += 1

    def _on_end_immediate(self, span: Span) -> None:
        for exporter in self._immediate:
            exporter.on_end(span)
        if self._exporters:
            SyncDelivery.on_end(self, span)

    @property
    def exporters(self) -> Sequence[Exporter]:
        """The exporters in use."""
        return [*self._immediate, *self._choose()]

    def _choose(self) -> list[Exporter]:
        if self._exporters is None:
            from lambent.exporters.choose import choose

            chosen = choose(self._config)
            self._immediate = [exporter for exporter in chosen if exporter.immediate]
            self._exporters = [exporter for exporter in chosen if not exporter.immediate]
            if self._immediate or not self._exporters:
                self.on_end = self._on_end_immediate  # type: ignore[method-assign]  # chosen once, for speed
        return self._exporters

    def flush_before(self, deadline: float) -> bool:
        """Export what is queued, leaving a margin before the invocation's deadline (monotonic seconds).

        With no time at all the spans stay queued for the next invocation, and that is said.
        """
        remaining = deadline - monotonic()
        margin = self._config.deadline_margin or max(0.1, remaining * 0.02)
        seconds = min(self._config.timeout, remaining - margin)
        if seconds <= 0 and self._queue:
            from lambent.diagnostics import say

            say(
                f"{len(self._queue)} spans wait for the next invocation: "
                f"{remaining * 1000:.0f} ms before the deadline there is no time to export them"
            )
            return False
        return self.flush(seconds)

    def flush(self, seconds: float) -> bool:
        """Export what is queued within `seconds`; return whether every exporter took all of it."""
        if not self._queue:
            return self._report_dropped()
        deadline = monotonic() + seconds
        if not self._lock.acquire(timeout=max(0.0, seconds)):
            return False  # another thread is exporting; what is queued stays queued
        try:
            # Only append happens elsewhere, so the first n are ours whatever other threads do.
            count = len(self._queue)
            spans = self._queue[:count]
            del self._queue[:count]
            delivered = not spans or self._export(spans, deadline)
        finally:
            self._lock.release()
        return self._report_dropped() and delivered

    def _export(self, spans: list[Span], deadline: float) -> bool:
        complete = True
        for exporter in self._choose():
            try:
                result = exporter.export(spans, max(0.0, deadline - monotonic()))
                lost, reason = result.lost + result.rejected, result.reason
                ok, quiet = result.ok and not lost, result.quiet
            except Exception as error:  # noqa: BLE001  # a user's exporter must not reach the function
                ok, quiet, lost, reason = False, False, len(spans), f"{type(error).__name__}: {error}"
            if not ok:
                complete = False
                if reason and not quiet:
                    from lambent.diagnostics import say

                    say(f"lost {lost} of {len(spans)} spans: {reason}")
        return complete

    def _report_dropped(self) -> bool:
        if not self._dropped:
            return True
        dropped, self._dropped = self._dropped, 0
        from lambent.diagnostics import say

        why = "the tracer was closed" if self._closed else f"the queue of {self._size} spans was full"
        say(f"dropped {dropped} spans: {why}")
        return False

    def _at_exit(self) -> None:
        self.close(self._config.timeout)

    def close(self, seconds: float) -> None:
        """Export what is queued, then close the exporters. Spans that end later are dropped."""
        if self._closed:
            return
        self.flush(seconds)
        self._closed = True
        self._size = 0
        self._immediate = []
        for exporter in self._exporters or ():
            try:
                exporter.close()
            except Exception as error:  # noqa: BLE001  # a user's exporter
                from lambent.diagnostics import say_once

                say_once("close", f"an exporter failed to close: {type(error).__name__}: {error}")
        if not self._config.function_name:
            import atexit

            atexit.unregister(self._at_exit)
