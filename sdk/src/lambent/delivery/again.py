"""What an exporter could not deliver and may deliver later. Loaded when an export has failed.

Only what has certainly not arrived is sent again by the same process: nobody was reached, or a server said
"later". What was sent as a whole and never answered is not, for it may be there; the flight recorder's copy
of it goes with the next process. Rules:

* New spans go first. What failed before follows once they have arrived, so a backend that is down costs an
  invocation one try, as it always did.
* What waits is bounded as the queue is, in spans and in bytes.
"""

from __future__ import annotations

from lambent.delivery import outcome
from lambent.delivery.size import estimate
from lambent.exporters import Result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambent.delivery.lane import Lane
    from lambent.span import Span

__all__ = ["keep", "send", "understood"]

_AT_ONCE = 512  # spans in one request, so that a large backlog gets on in a short time


def keep(lane: Lane, spans: list[Span], reason: str) -> None:
    """Put spans back that did not arrive, as many as there is room for."""
    count = len(spans)
    lane.last_failure = reason
    lane.failing = True
    lane.exported -= count
    for fitting, span in enumerate(spans):
        lane.held += (size := estimate(span))
        if lane.held > lane.delivery._config.queue_bytes:
            lane.held -= size
            outcome.lose(lane, spans[fitting:], "queue_bytes")
            spans = spans[:fitting]
            break
    outcome.keep(lane, spans)
    if not lane.repeating:
        from lambent.diagnostics import say

        say(f"kept {len(spans)} of {count} spans for another try: {reason}")


def send(lane: Lane, spans: list[Span], deadline: float) -> bool:
    """Export new spans, and once they have arrived those that failed before. With the lane's lock."""
    if spans and not lane.export(spans, deadline):
        return False
    while lane.pending:
        part = lane.pending[:_AT_ONCE]  # others only append
        del lane.pending[:_AT_ONCE]
        lane.held = max(0, lane.held - sum([estimate(span) for span in part]))
        lane.retried += 1
        lane.repeating = True  # what is kept and lost is said once
        try:
            if not lane.export(part, deadline):
                return False
        finally:
            lane.repeating = False
    lane.failing, lane.held = False, 0
    return True


def understood(answer: object, count: int) -> Result:
    """Return what an exporter means that answers True, False, or as OpenTelemetry's do. Raises TypeError."""
    name = getattr(answer, "name", "")
    if answer is None or answer is True or name == "SUCCESS":
        return Result()
    if answer is False or name == "FAILURE":
        return Result(False, count, 0, "the exporter reported a failure")
    raise TypeError(f"an exporter returned {type(answer).__name__}, not a Result")
