"""Delivery in the background: a thread exports what is finished, soon after an invocation's end.

For processes that nobody freezes: Lambda's managed instances, where several invocations run at once, and
programs outside Lambda. An invocation's end sends nothing itself; LINGER_S later the thread does, with
what others have finished by then. Spans outside invocations wait for `schedule_delay`, or until the queue
is half full. What is left goes at SIGTERM, at the exit of the process, and with `force_flush`.
"""

from __future__ import annotations

from _thread import allocate_lock, start_new_thread
from time import sleep

from lambent.delivery import say_once, sigterm
from lambent.delivery.sync import LONGEST, SyncDelivery

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambent.config import Config
    from lambent.context import AnySpan
    from lambent.span import Span

__all__ = ["BackgroundDelivery"]

LINGER_S = 0.02
"""Seconds: for the response to leave first, and for other invocations' spans to come along. Not more, because
managed instances without an extension are ended without a signal."""


class BackgroundDelivery(SyncDelivery):
    """Exports in a thread of its own, started with the first span that ends."""

    mode = "background"

    def __init__(self, config: Config) -> None:
        self._running = self._urgent = False
        self._started = allocate_lock()  # taken by who starts the thread
        self._bell = allocate_lock()
        self._bell.acquire()
        super().__init__(config)
        if config.function_name:
            sigterm.watch(self)

    def on_end(self, span: Span) -> None:
        """Take a finished span."""
        if not self._running:
            self._start()
        super().on_end(span)

    def _start(self) -> None:
        if self.closed or not self._started.acquire(blocking=False):
            return
        self._running = True
        try:
            start_new_thread(self._run, ())
        except RuntimeError as error:
            self._running = False
            self._started.release()
            say_once("background", f"no thread to export in ({error}): spans leave with force_flush")

    def _run(self) -> None:
        bell, config = self._bell, self._config
        while not self.closed and bell is self._bell:
            if bell.acquire(timeout=min(config.schedule_delay, LONGEST)):
                if not self._urgent:
                    sleep(LINGER_S)
            elif not self.lanes and self.lanes is not None:
                continue  # processors see to themselves, between invocations
            self._urgent = False
            try:
                self.flush(config.timeout)
            except Exception as error:  # noqa: BLE001  # this thread has to go on
                say_once("export", f"spans could not be exported: {type(error).__name__}: {error}")

    def _ring(self) -> None:
        try:
            self._bell.release()
        except RuntimeError:  # it rings already
            return

    def end(self, root: AnySpan, deadline: float | None) -> None:  # noqa: ARG002  # nothing is waited for
        """Leave what the invocation has finished to the thread."""
        sigterm.check()
        self.active.discard(root)
        if not self._running and self.processors is not None:
            self._start()
        if self._running:
            self._ring()
        else:
            self.flush(self._config.timeout)

    def half_full(self) -> None:
        """Have the thread export now."""
        self._urgent = True
        self._ring()

    def in_child(self) -> None:
        """After a fork: the thread is the parent's."""
        super().in_child()
        self._bell = allocate_lock()
        self._bell.acquire()
        self._started = allocate_lock()
        self._running = False

    def close(self, seconds: float) -> None:
        """Export what is queued, and let the thread end."""
        super().close(seconds)
        sigterm.forget(self)
        self._ring()
        self._running = False  # so that what is dropped from now on is said
