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
from lambent.exporters import Delivered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _thread import LockType
    from collections.abc import Sequence

    from lambent.delivery.fanout import Ledger
    from lambent.delivery.sync import SyncDelivery
    from lambent.exporters import Exporter, Result
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
            self.keep(spans)  # for whoever has the lock next
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

    def keep(self, spans: list[Span]) -> None:
        """Keep spans for the next time, as many as a queue may hold."""
        room = max(0, self.delivery.size - len(self.pending))
        if len(spans) > room:
            # The span of an invocation that runs always fits: it tells what is missing.
            active = self.delivery.active
            lost = [span for span in spans[room:] if span not in active]
            spans = spans[:room] + [span for span in spans[room:] if span in active]
            if lost:
                self.lose(lost, "queue_full")
        self.pending.extend(spans)

    def lose(self, spans: list[Span], reason: str) -> None:
        """Drop spans that there is no room for."""
        self._drop(reason, len(spans))
        self._give_up(spans, reason)
        self._say(f"dropped {len(spans)} spans: an exporter is behind and its queue was full")

    def _give_up(self, spans: list[Span], reason: str) -> None:
        if reason == "unconfirmed" and self.delivery.recorder is not None:
            from lambent.delivery.recorder_rare import mark

            mark(self.delivery.recorder, -1, spans)
        if self.beside is None:
            self.delivery.give_up(spans)
        else:
            self.beside.settle(self, spans, taken=False)

    def _drop(self, reason: str, count: int) -> None:
        add(self.dropped, reason, count)
        self.delivery.untold = True

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
            if not isinstance(error, Exception):  # Ctrl-C, or an exit: not ours to stop, but to account for
                self._failed(count, count, 0, "exporter_error", reason)
                self._give_up(spans, "exporter_error")
                raise
            return self._account(spans, None, "exporter_error", reason, start)
        finally:
            CURRENT.reset(token)
        if type(result) is not Delivered or self.delivery.debug:
            return self._account(spans, result, "failed", "", start)
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
        """Count what became of the spans, as the exporter says, and settle it. No result: it was content."""
        count = len(spans)
        lost = rejected = retries = sent = 0
        ok, warning, quiet, again = True, "", False, False
        if reason:
            ok, lost = False, count
        elif result is not None:
            lost, rejected, reason = result.lost, result.rejected, result.reason
            retries, sent = result.retries, result.bytes
            ok = bool(result.ok) and not lost and not rejected
            quiet, warning = result.quiet, result.warning
            self.retried += retries
            self.bytes += sent
            if not ok:
                lost = lost if lost or rejected else count
                again = result.again and not quiet and not self.delivery.ending
                kind = "unconfirmed" if result.unconfirmed else kind
        if ok:
            self.acknowledged += count
        elif not again:
            self._failed(count, lost, rejected, kind, reason)
        if self.delivery.debug:
            from lambent.debug import exported

            exported(
                self.exporter, count, 0 if ok else lost + rejected, monotonic() - start,
                sent=sent, retries=retries, reason=reason,
            )  # fmt: skip  # what was counted, in one place
        if again:
            from lambent.delivery.again import keep

            keep(self, spans, reason)
            return False
        # What a server has refused it would refuse again.
        self._settle(spans, kind, over=ok or lost + rejected < count or bool(rejected and not lost))
        if (not ok and not quiet) or warning:
            verb = "gave up" if self.repeating else "lost"
            self._say(
                f"an exporter warns: {warning}"
                if ok
                else f"{verb} {lost + rejected} of {count} spans: {reason or 'no reason given'}"
            )
        return ok

    def _settle(self, spans: list[Span], kind: str, *, over: bool) -> None:
        """Tell who keeps copies what became of the spans: there is no more to be done, or they are lost."""
        if not over:
            self._give_up(spans, kind)
        elif self.beside is None:
            self.delivery.tell_acknowledged(spans)
        else:
            self.beside.settle(self, spans, taken=True)

    def _say(self, text: str) -> None:
        from lambent.diagnostics import say

        say(text)

    def _failed(self, count: int, lost: int, rejected: int, kind: str, reason: str) -> None:
        lost, rejected = min(lost, count), min(rejected, count - min(lost, count))
        self.acknowledged += count - lost - rejected
        self.last_failure = reason or "no reason given"
        for key, number in ((kind, lost), ("rejected", rejected)):
            if number:
                self._drop(key, number)
