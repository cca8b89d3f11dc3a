"""What became of a batch that did not simply arrive: counted, kept, given up, said. Loaded then."""

from __future__ import annotations

from time import monotonic

from lambent.delivery.sync import add
from lambent.diagnostics import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambent.delivery.lane import Lane
    from lambent.exporters import Result
    from lambent.span import Span

__all__ = ["account", "keep", "lose"]


def keep(lane: Lane, spans: list[Span]) -> None:
    """Keep spans for the next time, as many as a queue may hold."""
    room = max(0, lane.delivery.size - len(lane.pending))
    if len(spans) > room:
        # The span of an invocation that runs fits as well, as it tells what is missing, but not one of each.
        active = lane.delivery.active
        if len(lane.pending) >= lane.delivery.size + len(active):
            active = set()
        lost = [span for span in spans[room:] if span not in active]
        spans = spans[:room] + [span for span in spans[room:] if span in active]
        if lost:
            lose(lane, lost, "queue_full")
    lane.pending.extend(spans)


def lose(lane: Lane, spans: list[Span], reason: str) -> None:
    """Drop spans that there is no room for."""
    _drop(lane, reason, len(spans))
    _give_up(lane, spans, reason)
    say(f"dropped {len(spans)} spans: an exporter is behind and its queue was full")


def _give_up(lane: Lane, spans: list[Span], reason: str) -> None:
    if reason == "unconfirmed" and lane.delivery.recorder is not None:
        from lambent.delivery.recorder_rare import mark

        mark(lane.delivery.recorder, -1, spans)
    if lane.beside is None:
        lane.delivery.give_up(spans)
    else:
        lane.beside.settle(lane, spans, taken=False)


def _drop(lane: Lane, reason: str, count: int) -> None:
    add(lane.dropped, reason, count)
    lane.delivery.untold = True


def account(
    lane: Lane, spans: list[Span], result: Result | None, kind: str, reason: str, start: float
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
        lane.retried += retries
        lane.bytes += sent
        if not ok:
            lost = lost if lost or rejected else count
            again = result.again and not quiet and not lane.delivery.ending
            kind = "unconfirmed" if result.unconfirmed else kind
    if ok:
        lane.acknowledged += count
    elif not again:
        _failed(lane, count, lost, rejected, kind, reason)
    if lane.delivery.debug:
        from lambent.debug import exported

        exported(
            lane.exporter, count, 0 if ok else lost + rejected, monotonic() - start,
            sent=sent, retries=retries, reason=reason,
        )  # fmt: skip  # what was counted, in one place
    if again:
        from lambent.delivery.again import keep as hold

        hold(lane, spans, reason)
        return False
    # What a server has refused it would refuse again.
    _settle(lane, spans, kind, over=ok or lost + rejected < count or bool(rejected and not lost))
    if (not ok and not quiet) or warning:
        verb = "gave up" if lane.repeating else "lost"
        say(
            f"an exporter warns: {warning}"
            if ok
            else f"{verb} {lost + rejected} of {count} spans: {reason or 'no reason given'}"
        )
    return ok


def _settle(lane: Lane, spans: list[Span], kind: str, *, over: bool) -> None:
    """Tell who keeps copies what became of the spans: there is no more to be done, or they are lost."""
    if not over:
        _give_up(lane, spans, kind)
    elif lane.beside is None:
        lane.delivery.tell_acknowledged(spans)
    else:
        lane.beside.settle(lane, spans, taken=True)


def _failed(lane: Lane, count: int, lost: int, rejected: int, kind: str, reason: str) -> None:
    lost, rejected = min(lost, count), min(rejected, count - min(lost, count))
    lane.acknowledged += count - lost - rejected
    lane.last_failure = reason or "no reason given"
    for key, number in ((kind, lost), ("rejected", rejected)):
        if number:
            _drop(lane, key, number)
