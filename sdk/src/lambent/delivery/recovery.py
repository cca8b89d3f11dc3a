"""What dead processes left in their flight recorders: found, claimed, closed and delivered.

Loaded only where something was left. Rules:

* A file is read when it is a regular one of this user's, nobody else's to read, under one name, of this
  version, and not locked: its process is gone. Any other is left as it is, and that is said in one line.
* Reading begins with the file's lock, so no two processes deliver the same. The file is removed once
  every exporter has acknowledged what it lacked, and stays otherwise, with a note of who has done so: if
  this process dies in between, the next one delivers the rest. Between acknowledgement and note lies one
  system call.
* What is sent and not answered may have arrived, and is sent again all the same, by the next process: at
  least once. It is twice at most, and an export is only begun with time enough for an answer.
* A tracer delivers what a tracer of the same configuration recorded, and nothing of others'.
* What is said of an ending is inferred, from the traces that each kind of ending leaves; where they do not
  suffice, the span says `unknown`.
"""

from __future__ import annotations

import os
import stat
import sys
from _thread import allocate_lock
from time import monotonic

from lambent.context import SpanContext, TraceState
from lambent.delivery.alarm import hand
from lambent.delivery.recorder import FIRST, KILLS_AT, MAGIC, OWN, TRIES_AT
from lambent.delivery.recorder_format import Content, Recorded, read, unpack_head
from lambent.delivery.watchdog import oom_kills
from lambent.diagnostics import say, say_once
from lambent.parts import Event, Link
from lambent.span import Span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lambent.delivery.lane import Lane
    from lambent.delivery.recorder import Recorder
    from lambent.exporters import Result
    from lambent.tracer import Tracer

__all__ = ["Leftover", "claim", "deliver", "make_room", "spans_of", "verdict"]

_LARGEST_FILE = 1 << 30
_TRIES = 10
"""So many processes try to deliver one file before it is given up."""
_UNCONFIRMED = 5
"""For so many tries counts one that may have succeeded: the second one is the last."""
_PATIENCE = 3
"""So often recovery is put off for want of time; then it is tried with what there is."""


_claiming = allocate_lock()


class Leftover:
    """A dead process's file, locked by us."""

    def __init__(
        self, path: str, descriptor: int, fingerprint: bytes, content: Content, tries: int, kills: int
    ) -> None:
        self.path = path
        self.fingerprint = fingerprint
        self.content = content
        self.tries = tries % 256
        self.done = tries >> 8
        """Which exporters have what was in it: one bit each."""
        self.put_off = 0
        self.sending = False
        self.kills = kills
        """How often the kernel had killed for want of memory when this process began; -1: not known."""
        self._descriptor = descriptor

    def remove(self) -> None:
        """Remove the file: what it held has been delivered, or is given up."""
        try:
            os.unlink(self.path)  # noqa: PTH108  # as everywhere in the SDK: pathlib is a module to load
        except OSError:  # somebody else has cleared the folder
            self.tries = 0
        self.release()

    def release(self) -> None:
        """Leave the file to whoever comes next."""
        # At once: who closes the tracer may come while another thread delivers.
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
            OWN.discard(self.path)

    def note(self, tries: int = 0) -> None:
        """Note in the file how often delivering it was tried, and who has it."""
        noted = min(self.tries + tries, 255) | (self.done & 0xFFFFFFFF) << 8
        os.pwrite(self._descriptor, noted.to_bytes(8, "little"), TRIES_AT)


def claim(path: str, fingerprint: bytes | None = None) -> Leftover | None:
    """Return what a dead process left under this path, locked; None when there is nothing for us.

    A file that is not what it should be is ignored, with one line. With a fingerprint, so is one that a
    tracer of another configuration left, without a line.
    """
    # A lock on a file keeps other processes away, and no other tracer of this one.
    alone = _claiming.acquire(timeout=0.1)  # a forked child may have a copy that is held for ever
    mine = path not in OWN
    OWN.add(path)
    if alone:
        _claiming.release()
    if not mine:
        return None
    leftover = None
    try:
        leftover = _claim(path, fingerprint)
    finally:
        if leftover is None:
            OWN.discard(path)
    return leftover


def _claim(path: str, fingerprint: bytes | None) -> Leftover | None:
    leftover, descriptor = None, -1
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        if _is_dead(path, descriptor):
            leftover = _read(path, descriptor, fingerprint)
    except FileNotFoundError:
        pass
    except (OSError, _IgnoredError) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        say_once(f"recorder file {path}", f"the flight recorder's file {path} is ignored: {why}")
    finally:
        if leftover is None and descriptor >= 0:
            os.close(descriptor)
    return leftover


class _IgnoredError(Exception):
    """The file is not what it should be."""


def _is_dead(path: str, descriptor: int) -> bool:
    """Take the file's lock. False when its process lives, or another one delivers or makes it just now."""
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise _IgnoredError("it is no regular file")
    if found.st_uid != os.geteuid():
        raise _IgnoredError("it belongs to another user")
    if found.st_mode & 0o077:
        raise _IgnoredError("others may read or write it")
    if found.st_nlink > 1:
        raise _IgnoredError("it has another name, too")
    try:
        os.lockf(descriptor, os.F_TLOCK, 0)
    except OSError:
        return False
    return found.st_size > 0 and _is_still(path, found)


def _read(path: str, descriptor: int, wanted: bytes | None) -> Leftover | None:
    size = os.fstat(descriptor).st_size
    if not FIRST < size <= _LARGEST_FILE:
        raise _IgnoredError(f"its size of {size} bytes is none of a recorder's")
    start = os.pread(descriptor, FIRST, 0)
    if start[:7] == MAGIC[:7] and start[7:8] != MAGIC[7:]:
        raise _IgnoredError("another version of lambent wrote it")
    head = unpack_head(start)
    if head is None:
        raise _IgnoredError("it is damaged, or of another version of Python")
    version, segment, expected, fingerprint, _ = head
    if version != sys.hexversion:
        raise _IgnoredError("another version of Python wrote it")
    if size != expected or not 0 < segment <= size:
        raise _IgnoredError("it has been cut, or has grown")
    if wanted is not None and fingerprint != wanted:
        return None
    data = bytearray()
    while len(data) < size and (part := os.pread(descriptor, min(1 << 20, size - len(data)), len(data))):
        data += part
    kills = int.from_bytes(start[KILLS_AT : KILLS_AT + 8], "little") - 1
    tries = int.from_bytes(start[TRIES_AT:KILLS_AT], "little")
    return Leftover(path, descriptor, fingerprint, read(bytes(data), segment), tries, kills)


def _is_still(path: str, found: os.stat_result) -> bool:
    """Whether the path names the file that we hold: another process may have delivered and removed it."""
    try:
        now = os.lstat(path)
    except OSError:
        return False
    return (now.st_dev, now.st_ino) == (found.st_dev, found.st_ino)


def make_room(paths: Iterable[str]) -> None:
    """Remove the file of the longest dead process: every place for a recorder is taken."""
    dead = []
    for path in paths:
        leftover = claim(path)
        if leftover is not None:
            dead.append((leftover.content.last_sign, path, leftover))
    dead.sort(key=lambda each: each[:2])
    for number, (_, _, leftover) in enumerate(dead):
        if number:
            leftover.release()
            continue
        if lost := len(leftover.content.spans):
            say(f"{lost} recorded spans were dropped: no place for another recorder")
        leftover.remove()


# From what was recorded to spans.


def spans_of(content: Content, tracer: Tracer, kills_before: int = -1) -> list[Span]:
    """Return the spans as they are delivered: the finished ones as they were, the open ones closed.

    Everything says `lambent.recovered`, and `lambent.resent` what may have arrived before. An open span
    ends, as an error, when its process gave the last sign of life, or at the deadline where that is what
    ended it.
    """
    spans = []
    kills = oom_kills()
    killed = kills is not None and 0 <= kills_before < kills
    for recorded in content.spans.values():
        span = _revive(recorded, tracer)
        span._attributes["lambent.recovered"] = True
        if recorded.span_id in content.unconfirmed:
            span._attributes["lambent.resent"] = True
        if not recorded.end_time:
            reason, why, ended = verdict(recorded, content, killed)
            span._attributes["lambent.unfinished"] = True
            span._attributes["lambent.termination.reason"] = reason
            span._attributes["lambent.termination.evidence"] = why
            span._status_code = 2
            span._status_message = f"the process ended before the span did: {reason}"
            span.end_time = max(ended, recorded.start_time)
        spans.append(span)
    return spans


def _revive(recorded: Recorded, tracer: Tracer) -> Span:
    parent = None
    if recorded.parent_id:
        parent = SpanContext(recorded.trace_id, recorded.parent_id, recorded.parent_is_remote, 1)
    span = Span(
        tracer, recorded.name, recorded.trace_id, recorded.span_id, parent, recorded.kind, recorded.start_time
    )
    span._attributes = recorded.attributes
    span._recorded = -1
    span._status_code, span._status_message = recorded.status
    if recorded.trace_state:
        span._trace_state = _trace_state(recorded.trace_state)
    if recorded.events:
        span._events = [
            Event(name, attributes, timestamp, dropped)
            for name, timestamp, attributes, dropped in recorded.events
        ]
    if recorded.links:
        span._links = [
            Link(SpanContext(trace, span_id, remote, 0, _trace_state(state)), attributes, dropped)
            for trace, span_id, remote, state, attributes, dropped in recorded.links
        ]
    span.dropped_attributes, span.dropped_events, span.dropped_links = recorded.dropped
    span.end_time = recorded.end_time or None
    return span


def _trace_state(header: str) -> TraceState:
    return TraceState.of(
        (key, value) for key, _, value in [part.partition("=") for part in header.split(",")] if key
    )


def verdict(span: Recorded, content: Content, killed: bool) -> tuple[str, str, int]:
    """Return how a span's process ended, what says so, and when: nanoseconds since the epoch."""
    root = _root(span, content)
    deadline = content.deadlines.get(root.span_id)
    notes = {what for what, _, _ in content.notes}
    last = content.last_sign
    near = {value for what, _, value in content.notes if what == "deadline"}
    if deadline is not None and root.span_id in near:
        return "timeout", "the invocation had not finished shortly before its deadline", deadline
    if killed:
        return "out_of_memory", "the kernel has killed a process for want of memory since", last
    if "closed" in notes:
        return "exit", "the tracer was closed while the span was open", last
    if "exit" in notes:
        return "exit", "the interpreter was left in good order while the span was open", last
    if deadline is None:
        return "unknown", "the process ended without a word", last
    return "crash", "the process ended without a word before its deadline, by a signal or an exit", last


def _root(span: Recorded, content: Content) -> Recorded:
    for _ in range(len(content.spans)):
        parent = content.spans.get(span.parent_id)
        if parent is None:
            break
        span = parent
    return span


def deliver(tracer: Tracer, recorder: Recorder, until: float, start: float) -> bool:
    """Deliver what dead processes of this tracer left, until then (monotonic seconds).

    An export that began at `start` has just arrived: so long one takes. Returns whether there is nothing
    left to do: everything was acknowledged, is not for us, or is left to the next process.
    """
    complete = True
    needed = [1.5 * (monotonic() - start)]
    delivery = tracer.delivery
    if until - start > delivery.timeout - 0.001:  # then the rest of the configured time is for this
        end = start + tracer.config.timeout
        until = max(until, end if delivery.due is None else min(end, delivery.due - 0.1))
    for path in list(recorder.leftovers):
        leftover = recorder.claimed.get(path) or claim(path, recorder.fingerprint)
        if leftover is None:
            recorder.leftovers.remove(path)
            continue
        recorder.claimed[path] = leftover
        if delivery.ending:
            leftover.put_off = _PATIENCE  # there is no later
        spans = spans_of(leftover.content, tracer, leftover.kills)
        outcome = _offer(leftover, delivery._choose(), spans, until, needed)
        if outcome is None:
            return False
        whole, failed = outcome
        if failed is not None:
            tries = _UNCONFIRMED if failed.unconfirmed else 1
            leftover.note(tries)
            if leftover.tries + tries < _TRIES:
                if failed.unconfirmed or recorder.off:
                    recorder.leftovers.remove(path)
                    recorder.claimed.pop(path, None)
                    leftover.release()
                else:
                    complete = False
                continue
            say(f"gave up {len(spans)} recorded spans, tried too often: {failed.reason}")
        elif not whole:
            complete = False
            continue
        elif spans:
            delivery.recovered += len(spans)
            _tell(spans)
        leftover.remove()
        recorder.claimed.pop(path, None)
        recorder.leftovers.remove(path)
    if complete:
        delivery.timeout = tracer.config.timeout
    return complete


def _offer(
    leftover: Leftover, lanes: Sequence[Lane], spans: list[Span], until: float, needed: list[float]
) -> tuple[bool, Result | None] | None:
    """Send the spans to those exporters that lack them.

    Returns whether each was asked, and what went wrong; None when there is not the time that is `needed`.
    """
    whole, failed = True, None
    for number, lane in enumerate(lanes):
        bit = 1 << number
        lacking = [span for span in spans if not leftover.content.taken.get(span._span_id, 0) & bit]
        if leftover.done & bit or not lacking:
            continue
        if not lane.delivered:  # down just now, which is nothing to the others
            whole = False
            continue
        began = monotonic()
        if until - began < needed[0] and leftover.put_off < _PATIENCE:
            # Its answer might come too late, and then it would have to be sent twice.
            leftover.put_off += 1
            if until <= began and leftover.put_off == _PATIENCE:
                lane.delivery.timeout *= 0.75  # one of several hangs: it must not have all of the time
            return None
        leftover.sending = True
        try:
            result = hand(lane, lacking, until)
        finally:
            leftover.sending = False
        if result is None:
            return None
        needed[0] = max(needed[0], 1.5 * (monotonic() - began))
        # What a server has refused it would refuse again.
        if result.ok or result.rejected >= len(lacking):
            leftover.done |= bit
            leftover.note()
        elif failed is None or result.unconfirmed:
            failed = result
    return whole, failed


def _tell(spans: list[Span]) -> None:
    key = "lambent.termination.reason"  # what was unfinished has one
    reasons = [str(span._attributes[key]) for span in spans if key in span._attributes]
    how = f", {len(reasons)} of them unfinished ({', '.join(sorted({*reasons}))})" if reasons else ""
    say(f"the flight recorder delivered {len(spans)} spans of an earlier process{how}")
