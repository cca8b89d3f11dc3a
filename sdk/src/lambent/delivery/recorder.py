"""The flight recorder: span starts and ends, written as they happen into a mapped file.

What is written survives the process, however it ends; `recovery` reads it in the next one. What the file
looks like stands in `recorder_format`, what is done rarely in `recorder_rare`. Rules:

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
from _imp import source_hash as check
from _struct import Struct
from _thread import allocate_lock, get_ident
from marshal import dumps
from mmap import MADV_RANDOM, mmap
from time import time_ns

from lambent.config import fingerprint
from lambent.delivery.sync import SyncDelivery
from lambent.span import Span
from lambent.tracer import CHECK_KEY as KEY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lambent.delivery.recovery import Leftover
    from lambent.tracer import Tracer

__all__ = [
    "CHECK_SIZE", "END", "END_MARK", "FIRST", "HEAD", "HEAD_SIZE", "KEY", "KILLS_AT", "MAGIC", "OWN",
    "SEGMENT_HEAD", "SEGMENT_HEAD_SIZE", "SHAPES_AT", "SLOTS", "TRIES_AT", "Recorder", "attach", "check",
    "fields", "path_of", "recorders", "with_check",
]  # fmt: skip  # what reader, recovery and the rare part take from here

MAGIC = b"lambent\x06"
"""The last byte is the version of the layout."""

SLOTS = 32  # so many recorders, alive or left behind, a folder holds at most

FIRST = 4096
"""Where the first segment begins; what is mapped has to begin at a page."""

CHECK_SIZE = 8
HEAD = Struct("<8sIIQ8sQ")
END = Struct("<BQQQ")
"""A span's end: END_MARK, its id, when, and the exclusive or of these two, to check them by."""
END_MARK = 255
_pack_end = END.pack
SEGMENT_HEAD = Struct("<4sIQ")
HEAD_SIZE = HEAD.size + CHECK_SIZE
TRIES_AT = HEAD_SIZE
"""Where a byte says how many processes have tried to deliver the file."""
KILLS_AT = HEAD_SIZE + 8
"""Where eight bytes say, plus one, how often the kernel had killed for want of memory."""
SHAPES_AT = HEAD_SIZE + 16
"""Where the first shape is noted, up to FIRST: see `Recorder.define`."""
SEGMENT_HEAD_SIZE = SEGMENT_HEAD.size + CHECK_SIZE
OWN: set[str] = set()
"""The files of this process's own recorders. To their locks the kernel holds a process no stranger."""


def with_check(head: bytes) -> bytes:
    """Return the head of a file or a segment with its check."""
    return head + check(KEY, head)


def path_of(folder: str, slot: int) -> str:
    """Return the path of one recorder's file."""
    return f"{folder}/.lambent-recorder-{slot}"


class _Nowhere:
    """A ring without room: there is no file yet, or no more."""

    def write(self, _: bytes) -> None:
        raise ValueError("no file")

    def tell(self) -> int:
        return 0


_NOWHERE = _Nowhere()


class Recorder:
    """One tracer's ring. `begin` makes the file; `off` is true where there could be none."""

    def __init__(self, folder: str, size: int, fingerprint: bytes) -> None:
        self._folder = folder
        self._size = size
        self.fingerprint = fingerprint
        self._segment = max(4096, size // 16 // 4096 * 4096)
        self._count = (size - FIRST) // self._segment
        self.off = False
        self.path = ""
        self.gave_way = 0  # spans that were lost from the ring to later ones
        self.cut = 0  # bytes of spans too large for the ring
        self.leftovers: list[str] = []  # files that others had made: living recorders, or dead ones
        self.claimed: dict[str, Leftover] = {}
        self.due = 0  # nanoseconds that the invocation has whose root starts next, where that is known
        self.told: Span | None = None  # the last root whose start says when its invocation is due
        self.tracer: Tracer | None = None  # who delivers what is left over
        self.deliver: Callable[[Span], None] = lambda _: None  # takes a span when its end has been recorded
        self._shapes = 0  # how many have been noted, in the files of this recorder
        self._clear()

    def _clear(self) -> None:
        self._lock = allocate_lock()
        self._shaping = allocate_lock()
        self._late: list[bytes] = []
        self._descriptor = -1
        self._maps: list[mmap] = []
        self._index = 0
        self._number = 0
        self._ring: mmap | _Nowhere = _NOWHERE
        self._write: Callable[[bytes], object] = _NOWHERE.write
        # What the ring holds and nobody has acknowledged, in the order of its records: the segment that
        # is written, and the ones before it, oldest first. There finished spans may be None.
        self._live: list[Span] = []
        self._older: list[tuple[int, dict[int, Span | None]]] = []
        self._gone: list[Span] = []  # acknowledged while the lock was taken
        self._next_shape = SHAPES_AT
        self._emptied = 0  # bytes that were in the first segment when it was begun anew

    def begin(self) -> bool:
        """Make the file and begin the ring; say so once where that is not possible, and return False."""
        try:
            self._create()
        except (OSError, ValueError) as error:
            from lambent.delivery.recorder_rare import give_up

            give_up(self, error)
            return False
        if self.leftovers and self.tracer is not None:
            from lambent.delivery.recorder_rare import recovery

            self.tracer.delivery.recovery = recovery(self.tracer, self)
        return True

    def _create(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        self.leftovers = []
        for slot in range(2 * SLOTS):
            if slot == SLOTS:
                from lambent.delivery.recovery import make_room

                make_room(self.leftovers)
            path = path_of(self._folder, slot % SLOTS)
            try:
                descriptor = os.open(path, flags, 0o600)
            except FileExistsError:
                if slot < SLOTS:
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
            if len(os.listdir(self._folder)) > 1:  # noqa: PTH208  # pathlib is not loaded here
                above = [path_of(self._folder, higher) for higher in range(slot + 1, SLOTS)]
                self.leftovers += [path for path in above if os.access(path, os.F_OK)]
            # A page without room set aside for it would kill the process when it is written.
            os.posix_fallocate(descriptor, 0, self._size)
            head = HEAD.pack(MAGIC, sys.hexversion, self._segment, self._size, self.fingerprint, time_ns())
            os.pwrite(descriptor, with_check(head), 0)
            self.begin_segment(0)
            return
        raise OSError(f"{SLOTS} recorders are there already")

    def begin_segment(self, index: int) -> None:
        """Go on writing in an empty segment."""
        if index == len(self._maps):
            ring = mmap(self._descriptor, self._segment, offset=FIRST + index * self._segment)
            # Else the kernel prepares what lies around the page touched first: 30 times as long.
            ring.madvise(MADV_RANDOM)
            self._maps.append(ring)
        ring = self._maps[index]
        self._number += 1
        ring[:SEGMENT_HEAD_SIZE] = with_check(SEGMENT_HEAD.pack(b"SEGM", 0, self._number))
        ring.seek(SEGMENT_HEAD_SIZE)
        self._index = index
        self._ring = ring
        self._write = ring.write

    def stop(self) -> None:
        """Record no more."""
        self.off = True
        self._ring, self._write = _NOWHERE, _NOWHERE.write
        self._live, self._older, self._gone = [], [], []

    def close(self) -> None:
        """Record no more; remove the file if everything in it has been acknowledged."""
        from lambent.delivery.recorder_rare import close

        close(self)

    # Recording. Every name costs, so nothing is called that need not be.
    def started(self, span: Span, context: object = None) -> None:  # noqa: ARG002  # as `Tracer._watch` calls it
        """Record a span that has just started, with what is known of it."""
        self._live.append(span)  # first: who empties the ring writes again what is in here
        try:
            parent = span._parent
            attributes = span._attributes
            if type(parent) is Span and span._recorded >= 0:
                data = dumps(
                    (span._trace_id, span._span_id, parent._span_id, span._kind, span.name,
                     span.start_time, attributes), 2,
                )  # fmt: skip
                span._recorded = len(attributes)
            else:
                values = fields(span)
                if self.due and type(parent) is not Span:
                    values += (self.take_due(span),)
                data = dumps(values, 2)  # type: ignore[arg-type]  # or ValueError
                if span._recorded >= 0:
                    span._recorded = len(attributes)
            self._write(data + check(KEY, data))
        except Exception:  # noqa: BLE001  # no room in the segment, an unusual value, a span too long
            self.put(span, started=True)

    def take_due(self, root: Span) -> int:
        """Return when the invocation is due whose root this is, nanoseconds since the epoch; 0: not known."""
        due, self.due = self.due, 0
        if due:
            self.told = root
        return root.start_time + due if due else 0

    def ended(self, span: Span) -> None:
        """Record a span that has just ended: when, and what has changed since its start. Hand it on."""
        try:
            span_id, end = span._span_id, span.end_time or 0
            if span._recorded == len(span._attributes):
                data = _pack_end(END_MARK, span_id, end, span_id ^ end)
            elif span._recorded >= 0:
                data = with_check(dumps((span_id, end, span._attributes), 2))
            else:
                data = with_check(dumps(fields(span), 2))  # type: ignore[arg-type]  # or ValueError
            self._write(data)
        except Exception:  # noqa: BLE001  # as above
            self.put(span, started=False)
        self.deliver(span)

    def put(self, span: Span, *, started: bool) -> None:
        """Record a start or an end for which the usual way is too narrow."""
        try:
            from lambent.delivery.recorder_rare import put
        except Exception:  # noqa: BLE001  # no file can be opened any more
            return
        put(self, span, started=started)

    def define(self, name: str, kind: int, names: list[str]) -> int:
        """Note what starts may refer to instead of saying it; return its number, 0 if there is no room."""
        if self._next_shape >= FIRST or self._descriptor < 0 or not self._shaping.acquire(False):
            return 0
        try:
            number = self._shapes = self._shapes + 1  # none is used again, not even in another file
            data = with_check(dumps((number, name, kind, names), 2))
            at, self._next_shape = self._next_shape, self._next_shape + len(data)
            fits = self._next_shape < FIRST and os.pwrite(self._descriptor, data, at) == len(data)
        except (OSError, ValueError):
            fits = False
        finally:
            self._shaping.release()
        return number if fits else 0

    def acknowledged(self, spans: Sequence[Span]) -> None:
        """Record that these need not be delivered again; start over when that is true of all."""
        if self._lock.acquire(False):
            try:
                live, self._live = self._live, []
                rest = not {*spans}.issuperset(live)
                if rest or self._older or self._gone or self._index or self._descriptor < 0:
                    self._live[:0] = live
                    from lambent.delivery.recorder_rare import some_acknowledged

                    some_acknowledged(self, spans)
                elif live:
                    # The usual case: nothing is left. Before the first record of the ring comes none.
                    ring = self._maps[0]
                    used = ring.tell()
                    ring.seek(SEGMENT_HEAD_SIZE)
                    ring[SEGMENT_HEAD_SIZE:used] = bytes(used - SEGMENT_HEAD_SIZE)
                    self._emptied += used - SEGMENT_HEAD_SIZE
                    if self._live:
                        # Started by another thread just now: its record may be gone with the rest.
                        from lambent.delivery.recorder_rare import write_again

                        write_again(self)
            finally:
                self._lock.release()
            if self._late:
                from lambent.delivery.recorder_rare import write_late

                write_late(self)
        else:
            from lambent.delivery.recorder_rare import acknowledged_meanwhile

            acknowledged_meanwhile(self, spans)

    def note(self, *values: str | int | None) -> None:
        """Record what may tell, afterwards, how the process ended."""
        data = with_check(dumps(values, 2))
        try:
            self._write(data)
        except ValueError:
            from lambent.delivery.recorder_rare import write_late

            write_late(self, data)

    @property
    def written(self) -> int:
        """How many bytes have been written so far, to be compared with an earlier number."""
        return self._number * self._segment + self.cut + self._emptied + self._ring.tell()


def fields(span: Span) -> tuple[object, ...]:
    """Return everything of a span, for its record."""
    parent = span._parent
    kind, above = span._kind, 0
    if isinstance(parent, Span):
        above = parent._span_id
    elif parent is not None:
        above = parent.span_id
        kind |= parent.is_remote << 4
    rare = None
    if span._recorded < 0:
        from lambent.delivery.recorder_values import rarely_there

        rare = rarely_there(span)
    return (
        span._trace_id, span._span_id, above, kind, span.name, span.start_time, span.end_time or 0,
        span._attributes, rare,
    )  # fmt: skip


_attaching = allocate_lock()
_attacher = 0  # which thread holds it
os.register_at_fork(after_in_child=_attaching._at_fork_reinit)  # type: ignore[attr-defined]  # as `threading` does


def attach(tracer: Tracer, first: Callable[[Span, object], object]) -> None:
    """Give a tracer its recorder, in the place of `first`, which waited for the tracer's first span.

    It has none where there can be none, or nothing to be gained: every exporter takes spans as they end.
    """
    global _attacher  # noqa: PLW0603  # see there
    # A signal handler does not wait for what it has interrupted. Other threads' first spans want recording.
    if _attaching.acquire(False) or (_attacher != get_ident() and _attaching.acquire(timeout=0.25)):
        _attacher = get_ident()
        try:
            if first in tracer._watching_starts:
                _attach(tracer, first)
        finally:
            _attacher = 0
            _attaching.release()


def _attach(tracer: Tracer, first: Callable[[Span, object], object]) -> None:
    config = tracer.config
    delivery = tracer.delivery
    recorder: Recorder | None = None
    if delivery.lanes is None or delivery.lanes:
        folder = config.recorder_folder.rstrip("/") or "/"
        recorder = Recorder(folder, config.recorder_bytes, fingerprint(config))
        recorder.tracer = tracer
        if not recorder.begin():
            recorder = None
    starts = [each for each in tracer._watching_starts if each != first]
    if recorder is not None:
        starts.append(recorder.started)  # last: what the others have set is recorded as well
        delivery.on_acknowledged = recorder.acknowledged
        delivery.recorder = recorder
        recorder.deliver = tracer.on_end
        tracer.on_end = recorder.ended
        _watch(recorder)
        if getattr(recorder.deliver, "__func__", None) is SyncDelivery.on_end:
            tracer.straight = recorder, _pack_end, delivery._queue, delivery
    tracer.recorder = recorder
    tracer._watching_starts = tuple(starts)
    if len(starts) == (recorder is not None) and tracer._sampler is None and tracer.plain_limits:
        tracer.shapes = {}
    if len(starts) < 2:
        tracer.on_start = starts[0] if starts else None
    else:
        from lambent.delivery.watching import starts as one_of

        tracer.on_start = one_of(tracer._watching_starts)


recorders: set[Recorder] = set()  # those of this process that are not closed
_watched = False


def _watch(recorder: Recorder) -> None:
    global _watched  # noqa: PLW0603  # a process registers once
    recorders.add(recorder)
    if not _watched:
        _watched = True
        import atexit

        os.register_at_fork(after_in_child=lambda: _later("in_children"))
        atexit.register(_later, "at_exit")


def _later(name: str) -> None:
    getattr(__import__("lambent.delivery.recorder_rare", fromlist=[name]), name)()
