"""What the watchdog does shortly before a deadline: the open spans leave as they are. Loaded then.

* What is sent are copies, marked `lambent.partial`, with the time so far as their duration; the one that
  was started last among those without an open child says `lambent.running`. Should the invocation finish
  after all, its spans end as always and are sent under the same ids.
* A span of another invocation of the process is left alone.
"""

from __future__ import annotations

from _thread import get_ident
from time import monotonic

from lambent.context import CURRENT, SUPPRESSED
from lambent.exporters import Result
from lambent.span import Span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambent.context import AnySpan
    from lambent.delivery.lane import Lane
    from lambent.tracer import Tracer

__all__ = ["hand", "partial", "send_open"]

_RESERVE = 0.01
"""Seconds of the margin that an export leaves."""

_REFRESHED = 256
"""So many open spans at most are recorded as they are at the alarm."""


def send_open(tracer: Tracer, root: AnySpan, found: Sequence[Span], deadline: float, *, alone: bool) -> None:
    """Send copies of an invocation's open spans, and what has finished, before its deadline.

    `found` are the open spans that are known; `alone`: no other invocation runs in this process.
    """
    recorder = tracer.recorder
    if recorder is not None:
        from lambent.delivery.recorder_rare import mark, refresh

        # Else what is recovered, which supersedes the copies, would say less than they do.
        for span in found[-_REFRESHED:]:
            refresh(recorder, span)
        # What has finished may arrive, and the kill come before its answer.
        mark(recorder, -1, tracer.delivery._queue[:])
    spans = _partials(root, found, alone)
    delivery = tracer.delivery
    until = deadline - _RESERVE
    if spans:
        lanes = sorted(delivery._choose(), key=lambda lane: lane.waits)
        for number, lane in enumerate(lanes):  # one that hangs leaves the others their part of the time
            hand(lane, spans, until - (until - monotonic()) * (1 - 1 / (len(lanes) - number)))
    delivery.flush(until - monotonic(), root if len(delivery.active) > 1 else None)


def _partials(root: AnySpan, found: Sequence[Span], alone: bool) -> list[Span]:
    """Return copies of the open spans of an invocation, its root first."""
    spans = []
    for span in found:
        if span.end_time is not None:
            continue
        above: object = span
        while isinstance(above, Span) and above is not root:
            above = above._parent
        # With one invocation at a time, a trace of its own or a callback's is this one's as well.
        if above is root or alone:
            spans.append(span)
    parents = {id(span._parent) for span in spans}
    leaves = [span for span in spans if id(span) not in parents]
    running = max(leaves, key=lambda span: span.start_time, default=None)
    for span in reversed(leaves):  # equal times: the one started last
        if running is not None and span.start_time == running.start_time:
            running = span
            break
    return [partial(span, span is running) for span in spans]


def partial(span: Span, running: bool) -> Span:
    """Return a copy of an open span as it is now, to be exported."""
    copy = Span(
        span._tracer, span.name, span._trace_id, span._span_id, span._parent, span._kind, span.start_time
    )
    copy._attributes = dict(span._attributes)
    copy._attributes["lambent.partial"] = True
    if running:
        copy._attributes["lambent.running"] = True
    copy._recorded = -1
    copy._trace_state = span._trace_state
    copy._events = list(span._events) if span._events else None
    copy._links = span._links
    copy._status_code, copy._status_message = span._status_code, span._status_message
    copy.dropped_attributes = span.dropped_attributes
    copy.dropped_events, copy.dropped_links = span.dropped_events, span.dropped_links
    copy.end_time = max(span._tracer.clock(), span.start_time)
    return copy


def hand(lane: Lane, spans: Sequence[Span], until: float) -> Result | None:
    """Hand spans to an exporter, beside the account of finished ones. None: there was no time for it."""
    lock, exporter = lane.lock, lane.exporter
    alone = not lane.concurrent
    if alone and not lock.acquire(timeout=max(0.0, until - monotonic())):
        return None
    token = CURRENT.set(SUPPRESSED)
    try:
        if alone:
            lane.thread = get_ident()
        if monotonic() >= until:
            return None
        return exporter.export(spans, until - monotonic()) or Result()
    except Exception as error:  # noqa: BLE001  # a user's exporter is nobody else's problem
        return Result(False, len(spans), 0, f"{type(error).__name__}: {error}")
    finally:
        CURRENT.reset(token)
        if alone:
            lane.thread = 0
            lock.release()
