"""One exporter's side of delivery: what waits for it, one export at a time, and what became of each span.

Loaded with the first export. An exporter that says it is `concurrent` serves invocations that run at
the same time beside each other; any other one is given one batch at a time. What is traced while spans
are exported is not recorded: it would never end.
"""

from __future__ import annotations

from _thread import allocate_lock, get_ident
from time import monotonic

from lambent.context import CURRENT, SUPPRESSED
from lambent.delivery.sync import add
from lambent.exporters import Delivered, Result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _thread import LockType
    from collections.abc import Sequence

    from lambent.delivery.fanout import Ledger
    from lambent.delivery.sync import SyncDelivery
    from lambent.exporters import Exporter
    from lambent.span import Span

__all__ = ["Lane", "lanes_of"]


def lanes_of(exporters: Sequence[Exporter], delivery: SyncDelivery) -> list[Lane]:
    """Return a new lane for each exporter."""
    lanes = [Lane(exporter, delivery) for exporter in exporters]
    if len(lanes) > 1:
        from lambent.delivery.fanout import Ledger

        ledger = Ledger(delivery, lanes)
        for lane in lanes:
            lane.beside = ledger
    return lanes


class Lane:
    """One exporter, what waits for it, and what became of what it was given."""

    def __init__(self, exporter: Exporter, delivery: SyncDelivery) -> None:
        self.exporter = exporter
        self.delivery = delivery
        self.concurrent = getattr(exporter, "concurrent", False)
        self.waits = getattr(exporter, "waits", True)
        self.pending: list[Span] = []
        self.failing = False
        """Whether what is pending has failed before: then `again` sends it."""
        self.held = 0  # bytes of that
        self.repeating = False  # just now
        self.beside: Ledger | None = None
        """The account of who has taken what, where there are other lanes."""
        self.lock = allocate_lock()
        self.thread = 0  # which one holds the lock
        self.flying: list[LockType] = []  # of each export that nobody may be waiting for
        self.delivered = True
        self.exported = self.acknowledged = self.retried = self.bytes = 0
        self.dropped: dict[str, int] = {}
        self.last_failure = ""

    def send(self, spans: list[Span], deadline: float, apart: bool) -> bool:
        """Export the spans and what was left from before; what there is no time for stays pending.

        `apart`: beside other exports, if the exporter can do that.
        """
        if apart and self.concurrent:
            self.delivered = self.export(spans, deadline)
            if not (self.delivered and self.pending and self.lock.acquire(blocking=False)):
                return self.delivered
            spans = []
        # An exporter that flushes its own tracer would wait for itself.
        elif not self.lock.acquire(blocking=False) and (
            self.thread == get_ident() or not self.lock.acquire(timeout=max(0.0, deadline - monotonic()))
        ):
            from lambent.delivery.outcome import keep

            keep(self, spans)  # for whoever has the lock next
            return False
        self.thread = get_ident()
        try:
            if self.failing:
                from lambent.delivery.again import send

                self.delivered = send(self, spans, deadline)
                return self.delivered
            if self.pending:
                # Others only append, so the first n are ours.
                count = len(self.pending)
                spans = self.pending[:count] + spans
                del self.pending[:count]
            if spans:
                self.delivered = self.export(spans, deadline)
            return self.delivered
        finally:
            self.thread = 0
            self.lock.release()

    def export(self, spans: list[Span], deadline: float) -> bool:
        """Export these, and settle what became of them; return whether all arrived."""
        count = len(spans)
        start = monotonic()
        self.exported += count
        if start >= deadline:
            from lambent.delivery.again import keep

            keep(self, spans, "no time was left")
            return False
        token = CURRENT.set(SUPPRESSED)
        try:
            result: Result | None = self.exporter.export(spans, deadline - start)
            if result is not None and not hasattr(result, "lost"):
                from lambent.delivery.again import understood

                result = understood(result, count)
        except BaseException as error:
            reason = f"{type(error).__name__}: {error}"
            # Ctrl-C, or an exit: not ours to stop, but to account for.
            self._account(spans, None, "exporter_error", reason, start)
            if not isinstance(error, Exception):
                raise
            return False
        finally:
            CURRENT.reset(token)
        if self.delivery.debug or not (type(result) is Delivered or _arrived(result)):
            return self._account(spans, result, "failed", "", start)
        if result is not None:
            self.retried += result.retries
            self.bytes += result.bytes
        self.acknowledged += count
        if self.beside is None:
            self.delivery.tell_acknowledged(spans)
        else:
            self.beside.settle(self, spans, taken=True)
        return True

    def _account(
        self, spans: list[Span], result: Result | None, kind: str, reason: str, start: float
    ) -> bool:
        try:
            from lambent.delivery.outcome import account
        except Exception:  # noqa: BLE001  # no file can be opened any more, and no connection: another time
            self.exported -= len(spans)
            room = max(0, self.delivery.size - len(self.pending))
            self.pending += spans[:room]
            if spans[room:]:
                add(self.dropped, "queue_full", len(spans[room:]))
            return False
        return account(self, spans, result, kind, reason, start)


def _arrived(result: Result | None) -> bool:
    """Whether that says of a batch that all of it arrived, and nothing else. None does."""
    return result is None or bool(
        type(result) is Result
        and result.ok
        and not result.lost
        and not result.rejected
        and not result.warning
    )
