"""The flight recorder: span starts and ends, written as they happen into a mapped file.

What is written survives the process, however it ends; `recovery` reads it in the next one. Rules:

* Recording makes no system call, takes no lock and never raises. One `mmap.write` both claims room and
  copies, in one step that neither a thread nor a signal handler can come between.
* The ring is some fifteen segments. When one is full the next is begun, and the oldest gives way: finished
  spans in it are counted as such, spans that are still open are written again. One segment is always
  empty, so that nothing has to be erased before its copy is safe.
* Once everything is acknowledged the ring starts over, in the same few pages.
* One process, one tracer, one file. The file is locked while its process lives (POSIX: a lock ends with its
  process, and a forked child does not have it). A forked child begins a file of its own.
"""

from __future__ import annotations

import os
import sys
from _thread import allocate_lock
from marshal import dumps
from mmap import MADV_RANDOM, mmap
from time import time_ns

from lambent.delivery.recorder_layout import (
    ACKNOWLEDGED,
    END,
    FIRST,
    FULL,
    INVOCATION,
    KILLS_AT,
    NOTE,
    OVERHEAD,
    SEGMENT_HEAD_SIZE,
    SLOTS,
    START,
    check,
    pack_end,
    pack_frame,
    pack_head,
    pack_invocation,
    pack_segment,
    path_of,
    segment_size,
)
from lambent.span import Span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from lambent.config import Config
    from lambent.delivery.recovery import Leftover
    from lambent.tracer import Tracer

__all__ = ["OWN", "Recorder", "attach", "fingerprint"]

OWN: set[str] = set()
"""The files of this process's own recorders. To their locks the kernel holds a process no stranger."""

_END_FRAME = END << 24 | 16
_INVOCATION_FRAME = INVOCATION << 24 | 24
_START_FRAME = START << 24
_FULL_FRAME = FULL << 24
_LONGEST = (1 << 24) - 1
_EMPTY = bytes(SEGMENT_HEAD_SIZE)


class Recorder:
    """One tracer's ring. `begin` makes the file; `off` is true where there could be none."""

    def __init__(self, folder: str, size: int, fingerprint: bytes) -> None:
        self._folder = folder
        self._size = size
        self.fingerprint = fingerprint
        self._segment = segment_size(size)
        self._count = (size - FIRST) // self._segment
        self.off = False
        self.path = ""
        self.gave_way = 0
        """How many spans were lost from the ring to later ones."""
        self.leftovers: list[str] = []
        """Files that others had made when this one was: living recorders, or what dead ones left."""
        self.claimed: dict[str, Leftover] = {}
        self.on_leftovers: Callable[[], None] | None = None
        self._clear()

    def _clear(self) -> None:
        self._lock = allocate_lock()
        self._late: list[bytes] = []
        self._descriptor = -1
        self._maps: list[mmap] = []
        self._index = 0
        self._seed = 0
        self._write: Callable[[bytes], object] = _unopened
        # What the ring holds and nobody has acknowledged, in the order of its records: the
        # segment that is written, and the ones before it, oldest first. Finished spans may be None.
        self._live: dict[int, Span | None] = {}
        self._older: list[tuple[int, dict[int, Span | None]]] = []

    # The file.

    def begin(self) -> bool:
        """Make the file and begin the ring; say so once where that is not possible, and return False."""
        try:
            self._create()
        except (OSError, ValueError) as error:
            if self._descriptor >= 0:
                OWN.discard(self.path)
                os.unlink(self.path)  # noqa: PTH108  # pathlib is not loaded here
                os.close(self._descriptor)
                self._clear()
            self.stop(f"{type(error).__name__}: {error}")
            return False
        if self.leftovers and self.on_leftovers is not None:
            self.on_leftovers()
        return True

    def _create(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        self.leftovers = []
        for attempt in range(2):
            for slot in range(SLOTS):
                path = path_of(self._folder, slot)
                try:
                    descriptor = os.open(path, flags, 0o600)
                except FileExistsError:
                    if not attempt:
                        self.leftovers.append(path)
                    continue
                try:
                    os.lockf(descriptor, os.F_TLOCK, 0)
                except OSError:  # somebody looks at it at this moment
                    os.close(descriptor)
                    continue
                self._descriptor, self.path = descriptor, path
                OWN.add(path)
                # Whoever delivered what lay below left a gap, and may have died above it.
                above = [path_of(self._folder, slot) for slot in range(slot + 1, SLOTS)]
                self.leftovers += [path for path in above if os.access(path, os.F_OK)]
                now = time_ns()
                # A page without room set aside for it would kill the process when it is written.
                os.posix_fallocate(descriptor, 0, self._size)
                head = pack_head(sys.hexversion, self._segment, self._size, self.fingerprint, now)
                os.pwrite(descriptor, head, 0)
                self._seed = now
                self._begin_segment(0)
                return
            from lambent.delivery.recovery import make_room

            make_room(self.leftovers)
        raise OSError(f"{SLOTS} recorders are there already")

    def _begin_segment(self, index: int) -> None:
        if index == len(self._maps):
            ring = mmap(self._descriptor, self._segment, offset=FIRST + index * self._segment)
            # Else the kernel prepares what lies around the page touched first: 30 times as long.
            ring.madvise(MADV_RANDOM)
            self._maps.append(ring)
        ring = self._maps[index]
        seed = self._seed + 1
        ring[:SEGMENT_HEAD_SIZE] = pack_segment(seed)
        ring.seek(SEGMENT_HEAD_SIZE)
        self._index = index
        self._seed = seed
        self._write = ring.write

    def stop(self, reason: str = "") -> None:
        """Record no more. With a reason, say it once."""
        self.off = True
        self._write = _nowhere
        self._live, self._older = {}, []
        if reason:
            from lambent.diagnostics import say_once

            say_once("recorder", f"the flight recorder is off: {reason}")

    def close(self) -> None:
        """Record no more; remove the file if everything in it has been acknowledged."""
        if self._descriptor >= 0 and not self.off and not self.outstanding:
            try:
                os.unlink(self.path)  # noqa: PTH108  # pathlib is not loaded here
            except OSError:  # somebody cleared the folder
                self.path = ""
        self.stop()
        _recorders.discard(self)

    def in_child(self) -> None:
        """After a fork: the ring is the parent's. The child makes its own when it starts a span."""
        # Closing the copies takes nothing from the parent: its lock is its own.
        maps, descriptor = self._maps, self._descriptor
        OWN.clear()
        self._clear()
        self.path = ""
        self.gave_way = 0
        self.leftovers, self.claimed = [], {}
        for ring in maps:
            ring.close()
        if descriptor >= 0:
            os.close(descriptor)
        if self.off:
            self._write = _nowhere

    # Recording. Each is a few hundred nanoseconds; whatever is rare is done in `_put`.

    def started(self, span: Span, context: object = None) -> None:  # noqa: ARG002  # as `Tracer.watch` calls it
        """Record a span that has just started, with what is known of it."""
        span_id = span._span_id
        attributes = span._attributes
        parent = span._parent
        self._live[span_id] = span
        try:
            if span._recorded or type(parent) is not Span:
                data = _everything(span)
            else:
                data = dumps(
                    (
                        span._trace_id,
                        span_id,
                        parent._span_id,
                        span._kind,
                        span.name,
                        span.start_time,
                        0,
                        attributes,
                        None,
                    ),
                    2,
                )
            span._recorded = len(attributes)
            record = pack_frame(_START_FRAME | len(data)) + data
            seed = self._seed
            self._write(record + check(seed, record))
            if seed != self._seed:
                self._again(record)
        except Exception:  # noqa: BLE001  # no room in the segment, an unusual value, a span too long
            self._put(START, span)

    def ended(self, span: Span) -> None:
        """Record a span that has just ended: when, and what has changed since its start."""
        try:
            if span._recorded == len(span._attributes):
                record = pack_end(_END_FRAME, span._span_id, span.end_time)
            else:
                data = _everything(span)
                record = pack_frame(_FULL_FRAME | len(data)) + data
            seed = self._seed
            self._write(record + check(seed, record))
            if seed != self._seed:
                self._again(record)
        except Exception:  # noqa: BLE001  # as above
            self._put(FULL, span)

    def invocation(self, span: Span, remaining: float) -> None:
        """Record that the invocation whose root this is has so many seconds left."""
        now = time_ns()
        self._append(
            pack_invocation(_INVOCATION_FRAME, span._span_id, now + int(remaining * 1_000_000_000), now)
        )

    def remember_kills(self, kills: int | None) -> None:
        """Note how often the kernel has killed for want of memory so far: one more says how this ended."""
        if self._descriptor >= 0 and kills is not None:
            os.pwrite(self._descriptor, (kills + 1).to_bytes(8, "little"), KILLS_AT)

    def note(self, what: str, value: int | None = None) -> None:
        """Record what may tell, afterwards, how the process ended."""
        data = dumps((what, time_ns(), value), 2)
        self._append(pack_frame(NOTE << 24 | len(data)) + data)

    def acknowledged(self, spans: Sequence[Span]) -> None:
        """Record that these need not be delivered again; start over when that is true of all."""
        live = self._live
        for span in spans:
            if live.pop(span._span_id, self) is self:
                for _, older in self._older:
                    older.pop(span._span_id, None)
        if self._descriptor < 0:
            return
        if not live and not (self._older and self.outstanding) and self._lock.acquire(False):
            try:
                self._start_over()
            finally:
                self._lock.release()
            if self._late:
                self._write_late()
            return
        for first in range(0, len(spans), 256):
            ids = [span._span_id.to_bytes(8, "little") for span in spans[first : first + 256]]
            self._append(pack_frame(ACKNOWLEDGED << 24 | 8 * len(ids)) + b"".join(ids))

    @property
    def outstanding(self) -> bool:
        """Whether there is anything in the ring that has not been acknowledged."""
        return bool(self._live) or any(spans for _, spans in self._older)

    def open_spans(self) -> list[Span]:
        """Return the spans that have not ended, those started first first."""
        found: Iterable[Span | None] = [span for _, spans in self._older for span in list(spans.values())]
        return [
            span
            for span in [*found, *list(self._live.values())]
            if span is not None and span.end_time is None
        ]

    def content(self) -> bytes:
        """Return a copy of the ring as it is, for its reader."""
        return bytes(FIRST) + b"".join([ring[:] for ring in self._maps])

    # What is rare.

    def _append(self, record: bytes) -> None:
        try:
            seed = self._seed
            self._write(record + check(seed, record))
            if seed != self._seed:
                self._again(record)
        except Exception:  # noqa: BLE001  # the segment is full, or there is none
            if not self.off:
                self._with_lock(record)

    def _again(self, record: bytes) -> None:
        """Write a record that may have gone into a segment that began while it was made."""
        self._append(record)

    def _put(self, kind: int, span: Span) -> None:
        """Record a span in a way that takes anything, beginning a file or a segment where one is wanted."""
        if self.off:
            return
        try:
            if self._descriptor < 0:
                if kind == FULL:
                    return  # of before a fork: the parent has it too
                if not self.begin():
                    return
                self._live[span._span_id] = span
            data = _plainly(span)
            if len(data) + OVERHEAD > (self._segment - SEGMENT_HEAD_SIZE) // 2 or len(data) > _LONGEST:
                data = _plainly(span, cut=True)
            record = pack_frame(kind << 24 | len(data)) + data
            self._with_lock(record)
            if kind == START and span._span_id not in self._live:  # a segment has begun in between
                for _, older in self._older:
                    older.pop(span._span_id, None)
                self._live[span._span_id] = span
        except Exception as error:  # noqa: BLE001  # a copy is missing; the span itself is not affected
            from lambent.diagnostics import say_once

            say_once("recorder span", f"the flight recorder left out a span: {type(error).__name__}: {error}")

    def _with_lock(self, record: bytes) -> None:
        # Whoever has the lock writes what others leave here: a signal handler must not wait for the
        # thread that it has interrupted.
        self._late.append(record)
        self._write_late()

    def _write_late(self) -> None:
        while self._late and self._lock.acquire(False):
            try:
                while self._late:
                    self._fit(self._late.pop(0))
            finally:
                self._lock.release()

    def _fit(self, record: bytes) -> None:
        """Write a record, with the lock: into the next segment if this one has no room for it."""
        while True:
            try:
                self._write(record + check(self._seed, record))
            except ValueError:
                self._rotate()  # other threads may fill that one as well, before we are back
            else:
                return

    def _rotate(self) -> None:
        """Begin the next segment, which is empty, and empty the one after it."""
        before = self._index
        following = (before + 1) % self._count
        live = self._live
        for span_id, span in list(live.items()):
            if span is not None and span.end_time is not None:
                live[span_id] = None  # its record is what counts, from here on
        self._older.append((before, live))
        self._live = {}
        self._begin_segment(following)
        self._give_way((following + 1) % self._count)

    def _give_way(self, index: int) -> None:
        if not self._older or self._older[0][0] != index:
            return
        _, spans = self._older.pop(0)
        # The open ones are written again, those started last first, as far as a part of a segment goes.
        room = self._segment // 4
        kept = 0
        for span in reversed(list(spans.values())):
            if span is not None and span.end_time is None:
                data = _plainly(span)
                room -= len(data) + OVERHEAD
                if room < 0:
                    break
                record = pack_frame(_START_FRAME | len(data)) + data
                try:
                    self._write(record + check(self._seed, record))
                except ValueError:
                    break
                self._live[span._span_id] = span
                kept += 1
        self.gave_way += len(spans) - kept
        self._maps[index][:SEGMENT_HEAD_SIZE] = _EMPTY

    def _start_over(self) -> None:
        # Oldest first, so that no segment is there without the acknowledgements that came after it.
        for index, _ in self._older:
            self._maps[index][:SEGMENT_HEAD_SIZE] = _EMPTY
        if self._index:
            self._maps[self._index][:SEGMENT_HEAD_SIZE] = _EMPTY
        self._older = []
        self._begin_segment(0)
        for span in list(self._live.values()):
            # Started by another thread just now: its record may be gone with the rest.
            if span is not None:
                data = _plainly(span)
                record = (
                    pack_frame((_START_FRAME if span.end_time is None else _FULL_FRAME) | len(data)) + data
                )
                self._fit(record)


def _unopened(_: bytes) -> None:
    raise ValueError("no file yet")


def _nowhere(_: bytes) -> None:
    pass


def _fields(span: Span) -> tuple[object, ...]:
    parent = span._parent
    remote = parent is not None and not isinstance(parent, Span) and parent.is_remote
    rare: tuple[object, ...] | None = None
    if (
        span._status_code
        or span._events
        or span._links
        or span._trace_state
        or span.dropped_attributes
        or span.dropped_events
        or span.dropped_links
    ):
        events = [
            (event.name, event.timestamp, event.attributes, event.dropped_attributes)
            for event in span._events or ()
        ]
        links = [
            (
                link.context.trace_id,
                link.context.span_id,
                link.context.is_remote,
                link.context.trace_state.to_header() if link.context.trace_state else "",
                link.attributes,
                link.dropped_attributes,
            )
            for link in span._links
        ]
        rare = (
            span._status_code,
            span._status_message,
            span._trace_state.to_header() if span._trace_state else "",
            tuple(events),
            tuple(links),
            (span.dropped_attributes, span.dropped_events, span.dropped_links),
        )
    return (
        span._trace_id,
        span._span_id,
        0 if parent is None else parent._span_id if isinstance(parent, Span) else parent.span_id,
        span._kind | 16 if remote else span._kind,
        span.name,
        span.start_time,
        span.end_time or 0,
        span._attributes,
        rare,
    )


def _everything(span: Span) -> bytes:
    return dumps(_fields(span), 2)  # type: ignore[arg-type]  # or ValueError, and then `_plainly`


def _plainly(span: Span, *, cut: bool = False) -> bytes:
    """Return the record of a span that has values of unusual types, or too much of everything."""
    fields = _fields(span)
    if cut:
        # What identifies it, and the beginning of its texts: better than no trace of it.
        kept = {
            key[:128]: value[:128] if isinstance(value, str) else value
            for key, value in list(span._attributes.items())[:32]
            if isinstance(value, (str, int, float, bool))
            and (not isinstance(value, int) or -_BIG < value < _BIG)
        }
        kept["lambent.recorder.cut"] = True
        message = (span._status_message or "")[:512] or None
        rare = (span._status_code, message, "", (), (), (span.dropped_attributes, span.dropped_events, 0))
        fields = (*fields[:4], span.name[:512], *fields[5:7], kept, rare)
    return dumps(_plain(fields), 2)  # type: ignore[arg-type]  # plain, as it says


_BIG = 1 << 64


def _plain(value: object) -> object:
    """Return the value made of Python's own types only, for subclasses of them are refused."""
    kind = type(value)
    if value is None or kind in (str, int, float, bool, bytes):
        return value
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return tuple([_plain(item) for item in value])
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    return bytes(value) if isinstance(value, bytes) else str(value)


# A tracer's own.


_attaching = allocate_lock()


def attach(tracer: Tracer, first: Callable[[Span, object], None]) -> Recorder | None:
    """Give a tracer its recorder, in the place of `first`, which waited for the tracer's first span.

    Returns None where there can be none, or nothing to be gained: every exporter takes spans as they end.
    """
    # Whoever comes while another thread is at it, or a signal handler, is not waited for.
    if not _attaching.acquire(blocking=False):
        return tracer.recorder
    try:
        return _attach(tracer, first) if first in tracer._watching_starts else tracer.recorder
    finally:
        _attaching.release()


def _attach(tracer: Tracer, first: Callable[[Span, object], None]) -> Recorder | None:
    config = tracer.config
    delivery = tracer.delivery
    recorder: Recorder | None = None
    if delivery.lanes is None or delivery.lanes:
        recorder = Recorder(
            config.recorder_folder.rstrip("/") or "/", config.recorder_bytes, fingerprint(config)
        )
        recover = _recovery(tracer, recorder)
        recorder.on_leftovers = lambda: setattr(delivery, "recovery", recover)
        if not recorder.begin():
            recorder = None
    tracer.recorder = recorder
    starts = [each for each in tracer._watching_starts if each != first]
    if recorder is not None:
        starts.insert(0, recorder.started)
        delivery.on_acknowledged = recorder.acknowledged
        tracer._watching_ends = (recorder.ended, *tracer._watching_ends)
        ended, deliver = recorder.ended, tracer.on_end

        def on_end(span: Span) -> None:
            ended(span)
            deliver(span)

        tracer.on_end = on_end
        _watch(recorder)
    tracer._watching_starts = tuple(starts)
    if len(starts) < 2:
        tracer.on_start = starts[0] if starts else None
    else:
        from lambent.delivery.watching import starts as one_of

        tracer.on_start = one_of(tracer._watching_starts)
    return recorder


def _recovery(tracer: Tracer, recorder: Recorder) -> Callable[[float], None]:
    def recover(until: float) -> None:
        from lambent.delivery.recovery import deliver

        try:
            if deliver(tracer, recorder, until):
                tracer.delivery.recovery = None
        except Exception as error:  # noqa: BLE001  # what hangs on delivery must not stop it
            from lambent.diagnostics import say_once

            tracer.delivery.recovery = None
            say_once("recovery", f"recorded spans could not be delivered: {type(error).__name__}: {error}")

    return recover


def fingerprint(config: Config) -> bytes:
    """Return what tells the files of differently configured tracers apart; no secret can be read from it."""
    identity = (
        config.function_name, config.function_version, config.service_name, config.project, config.source,
        config.session_name, config.endpoint, config.traces_endpoint, config.server_url,
        [each if isinstance(each, str) else type(each).__name__ for each in config.exporters],
        sorted(map(str, config.resource_attributes)),
    )  # fmt: skip
    return check(0, repr(identity).encode("utf-8", "replace"))


_recorders: set[Recorder] = set()
_watched = False


def _watch(recorder: Recorder) -> None:
    global _watched  # noqa: PLW0603  # a process registers once
    _recorders.add(recorder)
    if not _watched:
        _watched = True
        import atexit

        os.register_at_fork(after_in_child=_in_child)
        atexit.register(_at_exit)


def _in_child() -> None:
    OWN.clear()
    for recorder in _recorders:
        recorder.in_child()


def _at_exit() -> None:
    for recorder in list(_recorders):
        if recorder.outstanding:
            recorder.note("exit")
        else:
            recorder.close()
