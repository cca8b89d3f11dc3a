"""Several exporters at once: each has its own queue and its own failures. Loaded when there are several.

Those that wait for nobody (a line on stdout, a file) go first. Those that wait for a server go side by
side, each in a thread of its own but the last, so that one that hangs costs the others nothing.
"""

from __future__ import annotations

from _thread import allocate_lock, start_new_thread
from os import register_at_fork
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _thread import LockType
    from collections.abc import Sequence

    from lambent.delivery.lane import Lane
    from lambent.delivery.sync import SyncDelivery
    from lambent.span import Span

__all__ = ["Ledger", "send_all"]


_settling = allocate_lock()
"""Held while a ledger is changed, for a moment."""


def _renew() -> None:
    global _settling  # noqa: PLW0603  # a forked child has not the thread that may hold it
    _settling = allocate_lock()


register_at_fork(after_in_child=_renew)


class Ledger:
    """Who of several has taken which span. It is acknowledged when all of them have.

    Until then the flight recorder is told of each, so that the next process sends to the others only.
    """

    def __init__(self, delivery: SyncDelivery, lanes: Sequence[Lane]) -> None:
        self._delivery = delivery
        self._bits = {lane: 1 << number for number, lane in enumerate(lanes)}
        self._open: dict[Span, tuple[int, int]] = {}  # who has done with it, and who has taken it

    def settle(self, lane: Lane, spans: Sequence[Span], *, taken: bool) -> None:
        """Learn that a lane has done with spans: it has delivered them, or given them up."""
        bit = self._bits[lane]
        every = (1 << len(self._bits)) - 1
        whole: list[Span] = []
        over: list[Span] = []
        under_way: list[Span] = []
        with _settling:
            for span in spans:
                done, took = self._open.pop(span, (0, 0))
                done, took = done | bit, took | bit * taken
                if done == every:
                    (whole if took == every else over).append(span)
                else:
                    self._open[span] = done, took
                    under_way.append(span)
        recorder = self._delivery.recorder
        if recorder is not None and taken and (over or under_way):
            from lambent.delivery.recorder_rare import mark

            mark(recorder, bit.bit_length() - 1, [*over, *under_way])
        if over:
            self._delivery.give_up(over)
        if whole:
            self._delivery.tell_acknowledged(whole)


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
        lane.flying.append(landed)
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
        lane.flying.remove(landed)
        landed.release()
