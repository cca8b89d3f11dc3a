"""The deadline watchdog: shortly before Lambda ends an invocation, its open spans leave as they are.

One sleeping thread for each tracer, started with its first invocation in Lambda; no signal. Rules:

* Arming stores a time. The thread is woken only when it would sleep past it, which with invocations of
  about equal time it never does: it sleeps until a margin before the deadline that it knows, looks, and
  sleeps again.
* What it then does is in `alarm`, and not loaded before.
* A freeze makes the thread wake late: a deadline that has passed is of an invocation that is over.
"""

from __future__ import annotations

from _thread import allocate_lock, start_new_thread
from os import O_CLOEXEC, O_RDONLY, close, pwrite, read
from os import open as open_file
from time import monotonic, time_ns

from lambent.delivery import say_once
from lambent.span import Span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambent.context import AnySpan
    from lambent.delivery.recorder import Recorder
    from lambent.tracer import Tracer

__all__ = ["Watchdog", "guard", "margin_for", "oom_kills", "remember"]

_NEVER = float("inf")  # `math` is a module to load

_LEAST_SLEEP = 1.0
"""Seconds: how often the thread looks at most while nothing runs. A frozen process does not look at all."""

_FIRST_SLEEP = 0.02
"""Seconds: what the thread does when it begins, it does not do in the way of the first invocation."""


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
        self._armed: dict[AnySpan, tuple[float, float]] = {}
        self._bell = allocate_lock()
        self._begun = allocate_lock()  # taken by who starts the thread
        self._wakes = _NEVER  # when the thread looks next; without one, any alarm is before that
        self._alive = False
        self.alarms = 0
        if recorder is None:  # last: other threads' spans start from here on
            tracer._watch(self._started, self._ended)

    def _started(self, span: Span, context: object) -> None:  # noqa: ARG002  # as `Tracer._watch` calls it
        if self._armed:  # else nobody will ask for it
            self._open[span._span_id] = span

    def _ended(self, span: Span) -> None:
        self._open.pop(span._span_id, None)

    def arm(self, root: AnySpan, deadline: float, remaining: float) -> None:
        """Watch an invocation that has to end by `deadline` (monotonic seconds), in so many seconds."""
        if remaining > 5 and not self._margin:
            alarm = deadline - remaining * 0.02  # as below, without the calls
        else:
            alarm = deadline - margin_for(remaining, self._margin)
        self._armed[root] = (alarm, deadline)
        if alarm < self._wakes:
            if self._alive:
                self._ring()
            else:
                self._start(alarm)
        recorder = self._recorder
        if recorder is None:
            if isinstance(root, Span):
                self._open[root._span_id] = root
        elif recorder.told is root:
            recorder.told = None  # its work is done, and the next root would have to free it
        elif isinstance(root, Span):
            now = time_ns()
            recorder.note("invocation", root._span_id, now + int(remaining * 1e9), now)

    def disarm(self, root: AnySpan) -> None:
        """Watch it no more."""
        self._armed.pop(root, None)
        if not self._armed and self._open:
            self._open.clear()

    def in_child(self) -> None:
        """After a fork: the thread is the parent's."""
        self._bell = allocate_lock()
        self._begun = allocate_lock()
        self._armed.clear()
        self._open.clear()
        self._alive = False
        self._wakes = _NEVER

    def close(self) -> None:
        """Let the thread end."""
        self._alive = False
        self._armed.clear()
        self._ring()

    # The thread.

    def _start(self, alarm: float) -> None:
        if not self._begun.acquire(False):
            return
        self._alive = True
        self._wakes = alarm
        self._bell = allocate_lock()
        self._bell.acquire()
        try:
            start_new_thread(self._run, (self._bell,))
        except RuntimeError as error:
            self._wakes = 0.0
            say_once("watchdog", f"no thread for the deadline watchdog: {error}")

    def _ring(self) -> None:
        try:
            self._bell.release()
        except RuntimeError:  # it rings already
            return

    def _run(self, bell: object) -> None:
        if self._recorder is not None:
            self._bell.acquire(timeout=_FIRST_SLEEP)
            remember(self._recorder, oom_kills())
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
                recorder.note("note", "deadline", time_ns(), root._span_id)
            from lambent.delivery.alarm import send_open
            from lambent.delivery.recorder_rare import open_spans

            found = list(self._open.values()) if recorder is None else open_spans(recorder)
            others = any(each is not root for each in self._armed)
            send_open(self._tracer, root, found, deadline, alone=not others)
        except Exception as error:  # noqa: BLE001  # this thread has to go on
            say_once("watchdog", f"the open spans could not be sent: {type(error).__name__}: {error}")


def guard(tracer: Tracer) -> None:
    """Give a tracer its watchdog."""
    made = Watchdog(tracer, tracer.recorder)
    # Another thread's first invocation may have been faster; there is no call in between to switch at.
    tracer.watchdog = tracer.watchdog or made
    if tracer.delivery.recovery is not None:
        from lambent.delivery.recorder_rare import recover_first

        recover_first(tracer)


def remember(recorder: Recorder, kills: int | None) -> None:
    """Note in the file how often the kernel has killed for want of memory: one more says how this ended."""
    from lambent.delivery.recorder import KILLS_AT

    descriptor = recorder._descriptor
    if descriptor >= 0 and kills is not None:
        try:
            pwrite(descriptor, (kills + 1).to_bytes(8, "little"), KILLS_AT)
        except OSError:  # the function has closed it
            return


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
