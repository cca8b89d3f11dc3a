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

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambent.delivery.sync import SyncDelivery
    from lambent.exporters import Exporter, Result
    from lambent.span import Span

__all__ = ["Lane"]


class Lane:
    """One exporter, what waits for it, and what became of what it was given."""

    def __init__(self, exporter: Exporter, delivery: SyncDelivery) -> None:
        self.exporter = exporter
        self.delivery = delivery
        self.concurrent = getattr(exporter, "concurrent", False)
        self.waits = getattr(exporter, "waits", True)
        self.pending: list[Span] = []
        self.lock = allocate_lock()
        self.thread = 0  # which one holds the lock
        self.flying: list[object] = []  # a lock for each export that runs beside others
        self.delivered = True
        self.exported = self.acknowledged = self.retried = self.bytes = 0
        self.dropped: dict[str, int] = {}
        self.last_failure = ""

    def send(self, spans: list[Span], deadline: float, apart: bool) -> bool:
        """Export the spans and what was left from before; what there is no time for stays pending.

        `apart`: beside other exports, if the exporter can do that.
        """
        if apart and self.concurrent:
            landing = allocate_lock()
            landing.acquire()
            self.flying.append(landing)
            try:
                self.delivered = self._export(spans, deadline)
            finally:
                self.flying.remove(landing)
                landing.release()
            return self.delivered
        if not self.lock.acquire(blocking=False):
            # Where they wait they can be counted, and whoever has the lock next takes them.
            self._keep(spans)
            spans = []
            # An exporter that flushes its own tracer would wait for itself.
            if self.thread == get_ident() or not self.lock.acquire(timeout=max(0.0, deadline - monotonic())):
                return False
        self.thread = get_ident()
        try:
            if self.pending:
                # Others only append, so the first n are ours.
                count = len(self.pending)
                spans = self.pending[:count] + spans
                del self.pending[:count]
            if spans:
                self.delivered = self._export(spans, deadline)
            return self.delivered
        finally:
            self.thread = 0
            self.lock.release()

    def _keep(self, spans: list[Span]) -> None:
        """Keep spans for the next time, as many as a queue may hold."""
        room = max(0, self.delivery.size - len(self.pending))
        self.pending.extend(spans[:room])
        if len(spans) > room:
            self._drop("queue_full", len(spans) - room)
            self.delivery.give_up(spans[room:])
            from lambent.diagnostics import say

            say(f"dropped {len(spans) - room} spans: an exporter is behind and its queue was full")

    def _drop(self, reason: str, count: int) -> None:
        add(self.dropped, reason, count)
        self.delivery.untold = True

    def renewed(self) -> Lane:
        """Return a lane for the same exporter that knows of nothing: for a forked child."""
        return Lane(self.exporter, self.delivery)

    def wait(self, deadline: float) -> bool:
        """Wait for what other threads are exporting beside each other; return whether all arrived."""
        for landing in list(self.flying):
            if not landing.acquire(timeout=max(0.0, deadline - monotonic())):  # type: ignore[attr-defined]  # a lock
                return False
            landing.release()  # type: ignore[attr-defined]  # a lock
        return self.delivered

    def _export(self, spans: list[Span], deadline: float) -> bool:
        count = len(spans)
        left = deadline - monotonic()
        if left <= 0:
            self._keep(spans)
            return False
        self.exported += count
        lost = rejected = 0
        warning, quiet, kind = "", False, "failed"
        start = monotonic()
        retried, sent = self.retried, self.bytes
        token = CURRENT.set(SUPPRESSED)
        try:
            result: Result | None = self.exporter.export(spans, left)
            if result is None:  # a user's exporter, content with what it got
                ok, reason = True, ""
            else:
                lost, rejected, reason = result.lost, result.rejected, result.reason
                ok, quiet, warning = result.ok and not lost and not rejected, result.quiet, result.warning
                self.retried += result.retries
                self.bytes += result.bytes
        except Exception as error:  # noqa: BLE001  # a user's exporter must not reach the function
            ok, lost, kind = False, count, "exporter_error"
            reason = f"{type(error).__name__}: {error}"
        finally:
            CURRENT.reset(token)
        if not ok:
            self._failed(count, lost, rejected, kind, reason)
        else:
            self.acknowledged += count
        if self.delivery.debug:
            from lambent.debug import exported

            exported(
                self.exporter, count, 0 if ok else lost + rejected or count, monotonic() - start,
                sent=self.bytes - sent, retries=self.retried - retried, reason=reason,
            )  # fmt: skip  # what was counted, in one place
        if ok or lost + rejected < count or (rejected and not lost):
            self.delivery.tell_acknowledged(spans)  # what a server has refused it would refuse again
        else:
            self.delivery.give_up(spans)
        if (not ok and not quiet) or warning:
            from lambent.diagnostics import say

            say(
                f"an exporter warns: {warning}"
                if ok
                else f"lost {lost + rejected or count} of {count} spans: {reason or 'no reason given'}"
            )
        return ok

    def _failed(self, count: int, lost: int, rejected: int, kind: str, reason: str) -> None:
        if not lost and not rejected:
            lost = count
        lost, rejected = min(lost, count), min(rejected, count - min(lost, count))
        self.acknowledged += count - lost - rejected
        self.last_failure = reason or "no reason given"
        for key, number in ((kind, lost), ("rejected", rejected)):
            if number:
                self._drop(key, number)
