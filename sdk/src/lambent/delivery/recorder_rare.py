"""What the flight recorder does rarely: full segments, unusual spans, forks, the end. Loaded when needed.

The lock is held by whoever begins or empties a segment, and only then. Nobody waits for it: what finds it
taken leaves its record to the one who has it.
"""

from __future__ import annotations

import os
from _thread import allocate_lock
from marshal import dumps
from time import monotonic, time_ns

from lambent.delivery import say_once
from lambent.delivery.recorder import (
    CHECK_SIZE,
    KEY,
    OWN,
    SEGMENT_HEAD_SIZE,
    check,
    recorders,
)
from lambent.delivery.recorder_values import plainly, record_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from lambent.delivery.recorder import Recorder
    from lambent.span import Span
    from lambent.tracer import Tracer

__all__ = [
    "acknowledged_meanwhile",
    "at_exit",
    "close",
    "fit",
    "give_up",
    "given_up",
    "in_child",
    "in_children",
    "mark",
    "open_spans",
    "outstanding",
    "put",
    "recover_first",
    "recovery",
    "refresh",
    "some_acknowledged",
    "write_again",
    "write_late",
]

_AT_ONCE = 256  # ids in one record
_BLOCK = bytes(65_536)


# Records that found no room.


def put(recorder: Recorder, span: Span, *, started: bool) -> None:
    """Record a span in a way that takes anything, beginning a file or a segment where one is wanted."""
    if recorder.off:
        recorder._live.clear()
        return
    try:
        if recorder._descriptor < 0:
            if not started:
                return  # of before a fork: the parent has it too
            if not recorder.begin():
                return
        data = plainly(span)
        if len(data) + CHECK_SIZE > (recorder._segment - SEGMENT_HEAD_SIZE) // 2:
            recorder.cut += len(data)
            data = plainly(span, cut=True)
        if started and span._recorded >= 0:
            span._recorded = len(span._attributes)
        number = recorder._number
        if not write_late(recorder, data + check(KEY, data)) and started:
            span._recorded = -1  # its end may be written before its start: it has to say everything
        if recorder._number != number:  # it is in the segment that has begun
            for _, older in recorder._older:
                older.pop(span._span_id, None)
            recorder._live.append(span)
    except Exception as error:  # noqa: BLE001  # a copy is missing; the span itself is not affected
        say_once("recorder span", f"the flight recorder left out a span: {type(error).__name__}: {error}")


def refresh(recorder: Recorder, span: Span) -> None:
    """Record an open span once more: what has been added to it since its start."""
    if span._recorded == len(span._attributes):
        return
    try:
        record = record_of(span)
        if recorder.off or len(record) > recorder._segment // 4:
            return
        write_late(recorder, record)
    except Exception:  # noqa: BLE001  # what its start said of it is there
        return
    if recorder._lock.acquire(False):
        try:
            known = span in recorder._live or any(span._span_id in each for _, each in recorder._older)
        finally:
            recorder._lock.release()
        if not known:  # it has ended and arrived in between
            _write_acknowledged(recorder, (span,))
            write_late(recorder)


def write_late(recorder: Recorder, record: bytes | None = None) -> bool:
    """Write a record and those that found no room before, into the next segment if need be.

    Whoever has the lock writes what others leave: a signal handler must not wait for the thread that it
    has interrupted. Returns False where it is left to another one.
    """
    written = False
    if recorder.off or recorder._descriptor < 0:
        return written
    if record is not None:
        recorder._late.append(record)
    while recorder._late and recorder._lock.acquire(False):
        try:
            while recorder._late:
                fit(recorder, recorder._late.pop(0))
            written = True
        finally:
            recorder._lock.release()
    return written


def fit(recorder: Recorder, record: bytes) -> None:
    """Write a record, with the lock: into the next segment if this one has no room for it."""
    while True:
        try:
            recorder._write(record)
        except ValueError:
            _rotate(recorder)  # other threads may fill that one as well, before we are back
        else:
            return


def _rotate(recorder: Recorder) -> None:
    """Begin the next segment, which is empty, and empty the one after it."""
    before = recorder._index
    following = (before + 1) % recorder._count
    live, recorder._live = recorder._live, []
    # Of a finished span its record is what counts, from here on.
    spans = {span._span_id: span if span.end_time is None else None for span in live}
    recorder._older.append((before, spans))
    recorder.begin_segment(following)
    _give_way(recorder, (following + 1) % recorder._count)


def _give_way(recorder: Recorder, index: int) -> None:
    if not recorder._older or recorder._older[0][0] != index:
        return
    _, spans = recorder._older.pop(0)
    # The open ones are written again, those started last first, as far as a part of a segment goes.
    room = recorder._segment // 4
    kept = 0
    for span in reversed(list(spans.values())):
        if span is not None and span.end_time is None:
            record = _anew(span)
            room -= len(record)
            if room < 0:
                break
            try:
                recorder._write(record)
            except ValueError:
                break
            recorder._live.append(span)
            kept += 1
    recorder.gave_way += len(spans) - kept
    _erase(recorder, index)


def _erase(recorder: Recorder, index: int) -> None:
    """Empty a segment, its head first: what is read is then nothing, wherever a kill comes between."""
    ring = recorder._maps[index]
    used = ring.tell()
    for start in range(0, used, len(_BLOCK)):
        end = min(used, start + len(_BLOCK))
        ring[start:end] = _BLOCK[: end - start]
    ring.seek(0, 2)  # who writes to it still finds no room, and looks again


# Acknowledgements that leave something.


def some_acknowledged(recorder: Recorder, spans: Sequence[Span]) -> None:
    """Note what is acknowledged, with the lock, where the ring holds more than that."""
    if recorder._gone:
        late, recorder._gone = recorder._gone, []
        spans = [*late, *spans]
    known = {*spans}
    recorder._live[:] = [span for span in recorder._live if span not in known]
    for _, older in recorder._older:
        for span in spans:
            older.pop(span._span_id, None)
    if recorder._descriptor < 0:
        return
    if recorder._live or any(older for _, older in recorder._older):
        _write_acknowledged(recorder, spans)
        return
    # Oldest first, so that no segment is there without the acknowledgements that came after it.
    for index, _ in recorder._older:
        _erase(recorder, index)
    _erase(recorder, recorder._index)
    recorder._older = []
    recorder.begin_segment(0)
    write_again(recorder)


def mark(recorder: Recorder, lane: int, spans: Sequence[Span]) -> None:
    """Record that one of several exporters has taken these; -1: that they were sent, and not answered."""
    for first in range(0, len(spans), _AT_ONCE):
        data = dumps(("marked", lane, tuple([span._span_id for span in spans[first : first + _AT_ONCE]])), 2)
        write_late(recorder, data + check(KEY, data))


def outstanding(recorder: Recorder) -> bool:
    """Return whether there is anything in the ring that has not been acknowledged."""
    gone = recorder._gone
    return any(span not in gone for span in recorder._live) or any(spans for _, spans in recorder._older)


def open_spans(recorder: Recorder) -> list[Span]:
    """Return the spans that have not ended, those started first first."""
    found: Iterable[Span | None] = [span for _, spans in recorder._older for span in list(spans.values())]
    return [span for span in [*found, *recorder._live] if span is not None and span.end_time is None]


class _Kept:
    """In the place of a finished span that its process has given up: its record is all there is of it."""

    end_time = 1

    def __init__(self, span_id: int) -> None:
        self._span_id = span_id


def given_up(recorder: Recorder, spans: Sequence[Span]) -> None:
    """Let go of spans that this process delivers no more. Their records are for the next one."""
    known = {*spans}
    if not recorder._lock.acquire(False):
        return  # they are let go of with their segment
    try:
        live = recorder._live
        for position in range(len(live) - 1, -1, -1):  # mostly it is the last one
            span = live[position]
            if span in known:
                known.discard(span)
                live[position] = _Kept(span._span_id)  # type: ignore[call-overload]  # as much of a span
                if not known:
                    break
    finally:
        recorder._lock.release()


def acknowledged_meanwhile(recorder: Recorder, spans: Sequence[Span]) -> None:
    """Note what is acknowledged while somebody else has the lock."""
    recorder._gone += spans
    if recorder._descriptor >= 0:
        _write_acknowledged(recorder, spans)
        write_late(recorder)


def _write_acknowledged(recorder: Recorder, spans: Sequence[Span]) -> None:
    for first in range(0, len(spans), _AT_ONCE):
        data = dumps((tuple([span._span_id for span in spans[first : first + _AT_ONCE]]),), 2)
        recorder._late.append(data + check(KEY, data))


def write_again(recorder: Recorder) -> None:
    """Write again, with the lock, what another thread recorded while the ring was emptied."""
    for span in list(recorder._live):
        fit(recorder, _anew(span))


def _anew(span: Span) -> bytes:
    """Return the record of a span that another thread may be ending: its end, should it come before this
    one, says everything."""
    span._recorded = -1
    return record_of(span)


# The file's ends.


def give_up(recorder: Recorder, error: Exception) -> None:
    """Do without: the file cannot be made."""
    if recorder._descriptor >= 0:
        OWN.discard(recorder.path)
        os.unlink(recorder.path)  # noqa: PTH108  # pathlib is not loaded here
        os.close(recorder._descriptor)
        recorder._clear()
    recorder.stop()
    say_once("recorder", f"the flight recorder is off: {type(error).__name__}: {error}")


def close(recorder: Recorder) -> None:
    """Record no more and let go of the file: of an empty one altogether, else for the next one's init."""
    descriptor, path = recorder._descriptor, recorder.path
    if descriptor >= 0 and not recorder.off:
        if outstanding(recorder):
            recorder.note("note", "closed", time_ns(), None)
        else:
            try:
                os.unlink(recorder.path)  # noqa: PTH108  # pathlib is not loaded here
            except OSError:  # somebody cleared the folder
                recorder.path = ""
    recorder.stop()
    recorders.discard(recorder)
    for leftover in recorder.claimed.values():
        if not leftover.sending:  # else whoever does that is told, and lets go of it
            leftover.release()
    recorder.claimed = {}
    recorder._descriptor = -1
    recorder._maps = []  # a thread that writes just now has its own hold of one
    if descriptor >= 0:
        OWN.discard(path)
        os.close(descriptor)


def in_child(recorder: Recorder) -> None:
    """Let go of the parent's ring; its lock is its own, and not lost with a copy of its descriptor."""
    maps, descriptor = recorder._maps, recorder._descriptor
    if recorder.tracer is not None:  # they are noted in the parent's file
        recorder.tracer.shapes.clear()
    OWN.clear()
    recorder._clear()
    recorder.path = ""
    recorder.gave_way = 0
    recorder.leftovers, recorder.claimed = [], {}
    for ring in maps:
        ring.close()
    if descriptor >= 0:
        os.close(descriptor)
    if recorder.off:
        recorder.stop()


def in_children() -> None:
    """After a fork, in the child: all of them are the parent's."""
    for recorder in recorders:
        in_child(recorder)


def at_exit() -> None:
    """Note of each recorder that Python's own end has come; remove the files with nothing in them."""
    for recorder in list(recorders):
        if outstanding(recorder):
            recorder.note("note", "exit", time_ns(), None)
        else:
            recorder.close()


def recovery(tracer: Tracer, recorder: Recorder) -> Callable[[float, float], None]:
    """Return what delivers, until a monotonic time, the files that this recorder has found. It is also told
    when the export began that has just arrived.

    In one thread at a time: whoever comes meanwhile leaves it to that one.
    """
    busy = allocate_lock()

    def recover(until: float, start: float) -> None:
        from lambent.delivery.recovery import deliver

        if not busy.acquire(blocking=False):
            return
        try:
            if deliver(tracer, recorder, until, start):
                tracer.delivery.recovery = None
        except Exception as error:  # noqa: BLE001  # what hangs on delivery must not stop it
            tracer.delivery.recovery = None
            say_once("recovery", f"recorded spans could not be delivered: {type(error).__name__}: {error}")
        finally:
            busy.release()

    return recover


def recover_first(tracer: Tracer) -> None:
    """Deliver before the invocation what several processes have left, in a tenth of its time at most.

    Else that waits for an export of the invocation's own. Of a function that dies each time there is none.
    What says whether memory is the reason is noted at once: where it has died before, it may soon do again.
    """
    from lambent.delivery.watchdog import oom_kills, remember

    delivery, recorder = tracer.delivery, tracer.recorder
    if recorder is None:
        return
    remember(recorder, oom_kills())
    recover, due = delivery.recovery, delivery.due
    if recover is not None and due is not None and len(recorder.leftovers) > 1:
        now = monotonic()
        recover(now + min(tracer.config.timeout, (due - now) / 10), now)
