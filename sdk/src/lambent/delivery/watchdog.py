"""The deadline watchdog: shortly before Lambda ends an invocation, its open spans leave as they are.

One sleeping thread for each tracer, started with its first invocation in Lambda; no signal. Rules:

* Arming stores a time. The thread is woken only when it would sleep past it, which with invocations of
  about equal time it never does: it sleeps until a margin before the deadline that it knows, looks, and
  sleeps again.
* What it sends are copies, marked `lambent.partial`, with the time so far as their duration; the one that
  was started last among those without an open child says `lambent.running`. Should the invocation finish
  after all, its spans end as always and are sent under the same ids.
* A span of another invocation of the process is left alone.
* A freeze makes the thread wake late: a deadline that has passed is of an invocation that is over.
"""

from __future__ import annotations

from _thread import allocate_lock, get_ident, start_new_thread
from os import O_CLOEXEC, O_RDONLY, close, pwrite, read
from os import open as open_file
from time import monotonic

from lambent.context import CURRENT, SUPPRESSED
from lambent.span import Span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambent.context import AnySpan
    from lambent.delivery.lane import Lane
    from lambent.delivery.recorder import Recorder
    from lambent.tracer import Tracer

__all__ = ["Watchdog", "margin_for", "oom_kills", "partial"]

_LEAST_SLEEP = 1.0
"""Seconds: how often the thread looks at most while nothing runs. A frozen process does not look at all."""

_RESERVE = 0.01
"""Seconds of the margin that an export leaves."""

_REFRESHED = 256
"""So many open spans at most are recorded as they are at the alarm."""


def margin_for(remaining: float, configured: float) -> float:
    """Return how long before the deadline the alarm is; half of a time that is hardly longer than that."""
    return min(configured or max(0.1, remaining * 0.02), remaining / 2)


class Watchdog:
    """One tracer's watchdog. `arm` it when an invocation begins, `disarm` when it has ended."""

    def __init__(self, tracer: Tracer, recorder: Recorder | None) -> None:
        self._tracer = tracer
        self._margin = tracer.config.deadline_margin
        self._recorder = recorder
        self._open: dict[int, Span] = {}  # only where no recorder knows them
        if recorder is None:
            tracer._watch(self._started, self._ended)
        self._armed: dict[AnySpan, tuple[float, float]] = {}
        self._bell = allocate_lock()
        self._wakes = 0.0
        self._alive = False
        self.alarms = 0

    def _started(self, span: Span, context: object) -> None:  # noqa: ARG002  # as `Tracer._watch` calls it
        if self._armed:  # else nobody will ask for it
            self._open[span._span_id] = span

    def _ended(self, span: Span) -> None:
        self._open.pop(span._span_id, None)

    def arm(self, root: AnySpan, deadline: float) -> None:
        """Watch an invocation that has to end by `deadline` (monotonic seconds)."""
        remaining = deadline - monotonic()
        if remaining > 5 and not self._margin:
            alarm = deadline - remaining * 0.02  # as below, without the calls
        else:
            alarm = deadline - margin_for(remaining, self._margin)
        self._armed[root] = (alarm, deadline)
        if not self._alive:
            self._start(alarm)
        elif alarm < self._wakes:
            self._ring()
        if self._recorder is None:
            if isinstance(root, Span):
                self._open[root._span_id] = root
        elif isinstance(root, Span):
            self._recorder.invocation(root._span_id, remaining)

    def disarm(self, root: AnySpan) -> None:
        """Watch it no more."""
        self._armed.pop(root, None)
        if not self._armed and self._open:
            self._open.clear()

    def in_child(self) -> None:
        """After a fork: the thread is the parent's."""
        self._bell = allocate_lock()
        self._armed.clear()
        self._open.clear()
        self._alive = False

    def close(self) -> None:
        """Let the thread end."""
        self._alive = False
        self._armed.clear()
        self._ring()

    # The thread.

    def _start(self, alarm: float) -> None:
        self._alive = True
        self._wakes = alarm
        self._bell = allocate_lock()
        self._bell.acquire()
        try:
            start_new_thread(self._run, (self._bell,))
        except RuntimeError as error:
            from lambent.diagnostics import say_once

            self._wakes = 0.0
            say_once("watchdog", f"no thread for the deadline watchdog: {error}")

    def _ring(self) -> None:
        try:
            self._bell.release()
        except RuntimeError:  # it rings already
            return

    def _run(self, bell: object) -> None:
        if self._recorder is not None:
            _remember(self._recorder, oom_kills())
        period = _LEAST_SLEEP
        while self._alive and bell is self._bell:
            now = monotonic()
            for root, (alarm, deadline) in list(self._armed.items()):
                if alarm <= now:
                    self._armed.pop(root, None)
                    if now < deadline:
                        self._alarm(root, deadline)
                else:
                    period = max(_LEAST_SLEEP, alarm - now)
            # An invocation that is armed later sets the bell off if its alarm is before this.
            self._wakes = monotonic() + period
            due = min([alarm for alarm, _ in list(self._armed.values())], default=self._wakes)
            self._wakes = min(self._wakes, due)
            self._bell.acquire(timeout=max(0.0, self._wakes - monotonic()))

    def _alarm(self, root: AnySpan, deadline: float) -> None:
        try:
            self.alarms += 1
            recorder = self._recorder
            if recorder is not None and isinstance(root, Span):
                recorder.note("deadline", root._span_id)
            spans = self.partials(root)
            if recorder is not None:
                from lambent.delivery.recorder_rare import refresh

                # Else what is recovered, which supersedes the copies, would say less than they do.
                for span in recorder.open_spans()[-_REFRESHED:]:
                    refresh(recorder, span)
            delivery = self._tracer.delivery
            until = deadline - _RESERVE
            if spans:
                send(delivery._choose(), spans, until)
            delivery.flush(until - monotonic(), root if len(delivery.active) > 1 else None)
        except Exception as error:  # noqa: BLE001  # this thread has to go on
            from lambent.diagnostics import say_once

            say_once("watchdog", f"the open spans could not be sent: {type(error).__name__}: {error}")

    def partials(self, root: AnySpan) -> list[Span]:
        """Return copies of the open spans of an invocation, its root first."""
        found = list(self._open.values()) if self._recorder is None else self._recorder.open_spans()
        others = [each for each in self._armed if each is not root]
        spans = []
        for span in found:
            if span.end_time is not None:
                continue
            above: object = span
            while isinstance(above, Span) and above is not root:
                above = above._parent
            # With one invocation at a time, a trace of its own or a callback's is this one's as well.
            if above is root or not others:
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


def send(lanes: Sequence[Lane], spans: Sequence[Span], until: float) -> bool:
    """Hand spans to every exporter, beside the account of finished ones; return whether all took them."""
    complete = True
    token = CURRENT.set(SUPPRESSED)
    try:
        for lane in lanes:
            if not _send(lane, spans, until):
                complete = False
    finally:
        CURRENT.reset(token)
    return complete


def _send(lane: Lane, spans: Sequence[Span], until: float) -> bool:
    lock, exporter = lane.lock, lane.exporter
    alone = not lane.concurrent
    if alone and not lock.acquire(timeout=max(0.0, until - monotonic())):
        return False
    try:
        if alone:
            lane.thread = get_ident()
        if monotonic() >= until:
            return False
        result = exporter.export(spans, until - monotonic())
        # What a server has refused it would refuse again.
        return result is None or (result.ok or result.rejected >= len(spans))
    finally:
        if alone:
            lane.thread = 0
            lock.release()


def _remember(recorder: Recorder, kills: int | None) -> None:
    """Note in the file how often the kernel has killed for want of memory: one more says how this ended."""
    from lambent.delivery.recorder import KILLS_AT

    descriptor = recorder._descriptor
    if descriptor >= 0 and kills is not None:
        pwrite(descriptor, (kills + 1).to_bytes(8, "little"), KILLS_AT)


def oom_kills() -> int | None:
    """Return how many processes this kernel has killed for want of memory, None where it does not say."""
    # Without a file object: this runs beside the first invocation, and takes the interpreter from it.
    try:
        file = open_file("/proc/vmstat", O_RDONLY | O_CLOEXEC)
        try:
            content = b""
            while piece := read(file, 65_536):
                content += piece
        finally:
            close(file)
        return int(content.partition(b"\noom_kill ")[2].split(b"\n", 1)[0])
    except (OSError, ValueError):
        return None
