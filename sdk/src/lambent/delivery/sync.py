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
    from lambent.exporters import Exporter, Result
    from lambent.span import Span

__all__ = ["SyncDelivery"]

_LONGEST = 86_400.0
"""Seconds: more than any invocation has, and less than what locks and sockets refuse."""

# Those that are not closed yet: what an exit or a fork has to look after.
_open: set[SyncDelivery] = set()
_watching: set[str] = set()


def _watch(delivery: SyncDelivery, exits: bool) -> None:
    """Have the delivery flushed at exit, if its process has exits, and emptied in forks."""
    _open.add(delivery)
    if "forks" not in _watching:
        _watching.add("forks")
        from os import register_at_fork

        register_at_fork(after_in_child=_in_child)
    if exits and "exit" not in _watching:
        _watching.add("exit")
        import atexit

        atexit.register(_at_exit)


def _in_child() -> None:
    for delivery in _open:
        delivery.in_child()


def _at_exit() -> None:
    for delivery in list(_open):
        delivery.at_exit()


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
        self._handed_over = 0  # to immediate exporters, where these are the only ones
        self._lock = allocate_lock()
        self._delivered = True
        self._closed = False
        self._immediate: list[Exporter] = []
        self._exporters: list[Exporter] | None = None
        if config.test_mode or config.exporters:
            # Some exporters take a span the moment it ends (memory), so they are needed from the start.
            self._choose()
        # Lambda stops its processes without an exit; elsewhere a script ends, and its spans must not.
        _watch(self, not config.function_name)

    def on_end(self, span: Span) -> None:
        """Take a finished span. Called by the span, in whatever thread ends it."""
        if len(self._queue) < self._size:
            self._append(span)
        else:
            self._dropped += 1

    def _on_end_immediate(self, span: Span) -> None:
        if self._closed:
            self._dropped += 1
            return
        for exporter in self._immediate:
            try:
                exporter.on_end(span)
            except Exception as error:  # noqa: BLE001  # a user's exporter must not reach the function
                from lambent.diagnostics import say_once

                say_once("on_end", f"an exporter failed: {type(error).__name__}: {error}")
        if self._exporters:
            SyncDelivery.on_end(self, span)
        else:
            self._handed_over += 1

    @property
    def waiting(self) -> int:
        """How many spans have ended since the last export, those that found no place included."""
        return len(self._queue) + self._dropped + self._handed_over

    @property
    def exporters(self) -> Sequence[Exporter]:
        """The exporters in use."""
        return [*self._immediate, *self._choose()]

    def _choose(self) -> list[Exporter]:
        if self._exporters is None:
            from lambent.exporters.choose import choose

            chosen = choose(self._config)
            self._immediate = [exporter for exporter in chosen if getattr(exporter, "immediate", False)]
            self._exporters = [exporter for exporter in chosen if exporter not in self._immediate]
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
        if seconds <= 0 < remaining and not any(getattr(each, "waits", True) for each in self._choose()):
            seconds = remaining  # a line is written in no time, and there may be no next invocation
        if seconds <= 0 and self._queue:
            from lambent.diagnostics import say

            say(
                f"{len(self._queue)} spans wait for the next invocation: "
                f"{remaining * 1000:.0f} ms before the deadline there is no time to export them"
            )
            return False
        return self.flush(seconds)

    def flush(self, seconds: float) -> bool:
        """Export what is queued within `seconds`; return whether every exporter took all of it.

        What another thread is exporting is waited for. Without time the spans stay queued.
        """
        self._handed_over = 0
        if not self._queue and not self._lock.locked():
            return self._report_dropped()
        if not seconds > 0:
            return False
        seconds = min(seconds, _LONGEST)
        deadline = monotonic() + seconds
        lock = self._lock
        if not lock.acquire(timeout=seconds):
            return False
        try:
            if monotonic() >= deadline:
                return False
            # Only append happens elsewhere, so the first n are ours whatever other threads do.
            count = len(self._queue)
            spans = self._queue[:count]
            del self._queue[:count]
            delivered = self._delivered
            if spans:
                if self._dropped:
                    # Whoever reads the traces learns that some are missing, not only who reads the log.
                    spans[-1]._attributes["lambent.spans.dropped"] = self._dropped  # noqa: SLF001  # it has ended
                delivered = self._delivered = self._export(spans, deadline)
        finally:
            lock.release()
        return self._report_dropped() and delivered

    def _export(self, spans: list[Span], deadline: float) -> bool:
        complete = True
        for exporter in self._choose():
            try:
                result: Result | None = exporter.export(spans, max(0.0, deadline - monotonic()))
                if result is None:  # a user's exporter, content with what it got
                    continue
                lost, reason = result.lost + result.rejected, result.reason
                ok, quiet, warning = result.ok and not lost, result.quiet, result.warning
            except Exception as error:  # noqa: BLE001  # a user's exporter must not reach the function
                ok, quiet, lost, warning = False, False, len(spans), ""
                reason = f"{type(error).__name__}: {error}"
            if not ok:
                complete = False
            if (not ok and not quiet) or warning:
                from lambent.diagnostics import say

                say(
                    f"an exporter warns: {warning}"
                    if ok
                    else f"lost {lost or len(spans)} of {len(spans)} spans: {reason or 'no reason given'}"
                )
        return complete

    def _report_dropped(self) -> bool:
        if not self._dropped:
            return True
        dropped, self._dropped = self._dropped, 0
        from lambent.diagnostics import say

        why = "the tracer was closed" if self._closed else f"the queue of {self._size} spans was full"
        say(f"dropped {dropped} spans: {why}")
        return False

    def at_exit(self) -> None:
        """Close with the configured time, unless Lambda is the one that ends the process."""
        if not self._config.function_name:
            self.close(self._config.timeout)

    def in_child(self) -> None:
        """After a fork: what was queued is the parent's to export, and its lock may be held there."""
        self._queue.clear()
        self._dropped = 0
        self._lock = allocate_lock()

    def close(self, seconds: float) -> None:
        """Export what is queued, then close the exporters. Spans that end later are dropped."""
        if self._closed:
            return
        self.flush(seconds)
        self._closed = True
        self._size = 0
        _open.discard(self)
        if self._queue:
            from lambent.diagnostics import say

            say(f"lost {len(self._queue)} spans: the tracer was closed without time to export them")
            self._queue.clear()
        for exporter in [*self._immediate, *(self._exporters or ())]:
            try:
                close = getattr(exporter, "close", None)
                if close is not None:
                    close()
            except Exception as error:  # noqa: BLE001  # a user's exporter
                from lambent.diagnostics import say_once

                say_once("close", f"an exporter failed to close: {type(error).__name__}: {error}")
