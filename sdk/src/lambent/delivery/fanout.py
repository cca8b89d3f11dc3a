"""Several exporters at once: each has its own queue and its own failures. Loaded when there are several.

Those that wait for nobody (a line on stdout, a file) go first. Those that wait for a server go side by
side, each in a thread of its own but the last, so that one that hangs costs the others nothing.
"""

from __future__ import annotations

from _thread import allocate_lock, start_new_thread
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _thread import LockType
    from collections.abc import Sequence

    from lambent.delivery.lane import Lane
    from lambent.span import Span

__all__ = ["send_all"]


def send_all(lanes: Sequence[Lane], spans: list[Span], deadline: float, apart: bool) -> bool:
    """Send the spans down every lane until `deadline`; return whether all of them arrived everywhere."""
    complete = True
    waiting = []
    for lane in lanes:
        if lane.waits:
            waiting.append(lane)
        elif not lane.send(list(spans), deadline, apart):
            complete = False
    if not waiting:
        return complete
    results: list[bool] = []
    done: list[LockType] = []
    for lane in waiting[:-1]:
        landed = allocate_lock()
        landed.acquire()
        try:
            start_new_thread(_send, (lane, list(spans), deadline, apart, results, landed))
        except RuntimeError:  # no more threads: one after the other, then
            _send(lane, list(spans), deadline, apart, results, landed)
        done.append(landed)
    last = waiting[-1].send(list(spans), deadline, apart)
    for landed in done:
        # An exporter keeps to its time; one that does not is not waited for, and its lane stays busy.
        if not landed.acquire(timeout=max(0.0, deadline - monotonic()) + 0.01):
            complete = False
    return complete and last and all(results)


def _send(
    lane: Lane, spans: list[Span], deadline: float, apart: bool, results: list[bool], landed: LockType
) -> None:
    try:
        results.append(lane.send(spans, deadline, apart))
    except BaseException:  # noqa: BLE001  # whatever it is, the others go on
        results.append(False)
    finally:
        landed.release()
