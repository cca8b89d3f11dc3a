"""Asynchronous delivery: an internal extension exports after the response has gone.

One thread a process, shared by all tracers with this mode:

    register --> ask --> sleep until the invocation is over --> event --> export --> ask ...

- `register` is sent by `init` itself, so that it comes before the runtime asks for its first event and
  registration closes; the thread reads the answer. `tracer.handler` waits for it.
- The runtime client says itself when it is done with an invocation (see `runtime`), and that rings a bell. So
  the thread takes neither the interpreter nor the CPU from a function, or from a response that is still to be
  sent: it is not even woken when the invocation begins, and reads its event when it is over.
- With a runtime client that never says anything, the event is read first, and an invocation's end rings the
  bell: an addition and a system call, no waiting. The thread then goes on when the runtime client is seen
  waiting for the next event, or, unknown, has had some time. An invocation that never rings (a handler that
  is not decorated) ends when it is seen waiting twice in a row; so does one whose bell was taken away.
- Shortly before the deadline the thread gives up waiting: it must not make a timeout of an answer.
- Whatever fails, the thread asks for the next event: an extension that does not would hold up the
  environment. After a failure that is not an export's it does nothing else any more, and every later
  invocation is delivered as in `sync`.
"""

from __future__ import annotations

from _thread import allocate_lock, get_ident, start_new_thread
from os import EFD_CLOEXEC, EFD_NONBLOCK, close, eventfd, eventfd_read, eventfd_write
from time import monotonic, sleep, time

from lambent.delivery import say_once, sigterm
from lambent.delivery.extension_api import ExtensionApi, RefusedError, deadline_of
from lambent.delivery.runtime import BUSY, IDLE, tell, where
from lambent.delivery.sync import SyncDelivery

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _thread import LockType

    from lambent.config import Config
    from lambent.context import AnySpan

__all__ = ["Extension", "ExtensionDelivery"]

NAME = "lambent"
_REGISTER_S = 1.0  # an answer on loopback; a second is far too long for one and short for an init
_GRACE_S = 0.002  # for a response to leave, where nobody knows the runtime client
_FIRST_LOOK_S = 0.05
_LONGEST_LOOK_S = 0.5
_SILENCE_S = 1.0  # without a word of the runtime client; then it is looked at
_ATTEMPTS = 3

_current: Extension | None = None
_bell = -1
"""What the thread sleeps by, of the whole process: who rings must never meet a number that was closed."""


class Extension:
    """The thread, its conversation with Lambda, and the deliveries it works for."""

    def __init__(self, address: str) -> None:
        self.deliveries: list[ExtensionDelivery] = []
        self.alive = False
        self.begun = 0
        self.ended = 0
        self.runtime_thread = get_ident()
        self.told = False
        """Whether the runtime client says when it waits for an event."""
        self._over = self._delivered = 0  # invocations that it was done with; those that were seen to
        self._api = ExtensionApi(address)
        self._settled = allocate_lock()
        self._settled.acquire()
        self._early = False
        self._asked = False

    def start(self) -> None:
        """Ask to be registered and start the thread. Raises OSError and RuntimeError."""
        global _bell  # noqa: PLW0603  # see there
        if _bell < 0:
            _bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
        self.alive = True
        asked = allocate_lock()
        asked.acquire()
        try:
            start_new_thread(self._run, (asked,))  # first: Lambda waits for ever for one without a thread
            self._api.register(NAME, ("INVOKE",))
        except BaseException:
            self.alive = False
            raise
        finally:
            asked.release()
        tell(self._hear)

    def settle(self) -> None:
        """Wait until it is known whether Lambda takes the extension."""
        if self._settled.acquire(timeout=_REGISTER_S):
            self._settled.release()

    def ring(self) -> None:
        """Wake the thread. Takes no lock and does not wait."""
        if _bell >= 0:
            eventfd_write(_bell, 1)

    def _hear(self) -> None:
        """Learn from the runtime client that it is about to wait for an event: it has sent its response."""
        if self.alive:
            sigterm.check()
            self.runtime_thread = get_ident()
            if self.told:
                self._over += 1
                self.ring()
            self.told = True  # the first time nothing has gone before

    def export_early(self) -> None:
        """Have the thread export now, in the middle of an invocation."""
        self._early = True
        self.ring()

    def abandon(self) -> None:
        """In a forked child: the thread is the parent's, and so is the bell."""
        global _bell  # see there
        self.alive = False
        self._api.close()
        if _bell >= 0:
            number, _bell = _bell, -1
            close(number)

    # The thread.

    def _run(self, asked: LockType) -> None:
        asked.acquire()
        if not self.alive:
            return
        try:
            self._api.registered()
            self._ask()
        except Exception as error:  # noqa: BLE001  # whatever it is, spans leave another way from now on
            self._fail(error, "was not taken on by Lambda")
            return
        finally:
            self._settled.release()
        try:
            while self.alive:
                self._serve()
        except BaseException as error:  # noqa: BLE001  # as above; nobody catches what leaves a thread
            self._fail(error, "failed")
            self._keep_asking()

    def _keep_asking(self) -> None:
        """Be an extension that Lambda need not wait for."""
        try:
            while True:
                if not self._asked:
                    self._ask()
                self._api.event()
                self._asked = False
        except Exception:  # noqa: BLE001  # the API is gone, and with it who would wait
            self._api.close()

    def _ask(self) -> None:
        # One that began and never ended (a generator left alone) must not be waited for again.
        self._seen = self.begun = self.ended
        self._delivered = self._over
        self._api.ask()
        self._asked = True

    def _serve(self) -> None:
        """Deliver what one invocation finishes, and ask for the next one."""
        event = None if self.told else self._event()
        told = self.told  # it may have been told for the first time before this event
        if told:
            self._wait_for_word()
        if event is None:
            event = self._event()
        at = deadline_of(event)
        deadline = None if at is None else monotonic() + at / 1000 - time()
        if b'"SHUTDOWN"' in event:
            deadline = None
        elif not told:
            self._wait_for_the_end(deadline)
        self._export(deadline)
        self._ask()

    def _event(self) -> bytes:
        """Wait for the event that was asked for."""
        for attempt in range(_ATTEMPTS):
            try:
                sigterm.wait_for((self._api.fileno(),))
                event = self._api.event()
                break
            except OSError:
                # The connection broke: the answer may be had on another one.
                if attempt == _ATTEMPTS - 1:
                    raise
                self._api.close()
                sleep(0.01)
                self._ask()
        self._asked = False
        return event

    def _slept(self, seconds: float) -> bool:
        """Sleep until the bell rings; return whether it has not."""
        if not sigterm.wait_for((_bell,), seconds):
            return True
        eventfd_read(_bell)
        return False

    def _wait_for_word(self) -> None:
        """Sleep until the runtime client says that it is done, exporting early where that is asked for."""
        idle = 0
        while self._over == self._delivered:
            if self._slept(_SILENCE_S):
                # Its word must be missing twice where there is an invocation, and it waits for the next.
                begun = sigterm.wait_for((self._api.fileno(),), 0)
                idle = idle + 1 if begun and where(self.runtime_thread) == IDLE else 0
                if idle == 2:
                    return
            if self._early:
                self._early = False
                self._export(None, early=True)

    def _wait_for_the_end(self, deadline: float | None) -> None:
        start = monotonic()
        look = _FIRST_LOOK_S
        idle = 0
        limit = None if deadline is None else deadline - max(0.1, (deadline - start) * 0.02)
        while True:
            ended = self.ended != self._seen and self.begun <= self.ended
            if not ended:
                if self._slept(look):
                    look = min(_LONGEST_LOOK_S, look * 2)
                    idle = idle + 1 if where(self.runtime_thread) == IDLE else 0
                    if idle == 2:
                        return
                else:
                    idle = 0
            else:
                state = where(self.runtime_thread)
                if state == IDLE:
                    return
                if state != BUSY:
                    sleep(_GRACE_S)
                    return
                # The response is on its way. Looking takes the interpreter's lock, so: ever more rarely.
                look = look * 2 if idle < 0 else 0.0002
                idle = -1
                look = min(look, 0.02)
                sleep(look)
            if self._early:
                self._early = False
                self._export(deadline)
            if limit is not None and monotonic() > limit:
                return

    def _export(self, deadline: float | None, *, early: bool = False) -> None:
        for delivery in list(self.deliveries):
            try:
                if early:
                    delivery.flush_in_time()
                elif deadline is None:
                    delivery.flush(delivery.timeout)
                else:
                    delivery.flush_before(deadline)
            except Exception as error:  # noqa: BLE001  # this thread has to go on
                say_once("export", f"spans could not be exported: {type(error).__name__}: {error}")

    def _fail(self, error: BaseException, what: str) -> None:
        self.alive = False
        reason = str(error) if isinstance(error, RefusedError) else f"{type(error).__name__}: {error}"
        say_once(
            "extension",
            f"the internal extension {what} ({reason}); from now on spans are delivered before the response",
        )


class ExtensionDelivery(SyncDelivery):
    """Delivers after the response; while the extension does not work, before it."""

    mode = "async"

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._extension = _join(self, config.runtime_api)
        sigterm.watch(self)

    def ready(self) -> None:
        """Wait until Lambda has taken the extension on: after init it would be refused."""
        if self._extension is not None:
            self._extension.settle()

    def begin(self, root: AnySpan) -> None:
        """Learn that an invocation runs."""
        self.active.add(root)
        if self._extension is not None:
            self._extension.begun += 1

    def end(self, root: AnySpan, deadline: float | None) -> None:
        """Leave what the invocation has finished to the extension."""
        extension = self._extension
        if extension is None or not extension.alive:
            sigterm.check()
            self._extension = None
            super().end(root, deadline)
            return
        self.active.discard(root)
        extension.ended += 1
        if not extension.told:
            sigterm.check()
            extension.runtime_thread = get_ident()
            extension.ring()

    def half_full(self) -> None:
        """Have the extension export while the invocation goes on."""
        if self._extension is not None and self._extension.alive:
            self._extension.export_early()
        else:
            super().half_full()

    def in_child(self) -> None:
        """After a fork: the extension is the parent's, and this process delivers by itself."""
        super().in_child()
        if self._extension is not None:
            self._extension.abandon()
            self._extension = None

    def close(self, seconds: float) -> None:
        """Export what is queued and leave the extension, which goes on for others."""
        super().close(seconds)
        sigterm.forget(self)
        if self._extension is not None and self in self._extension.deliveries:
            self._extension.deliveries.remove(self)
        self._extension = None  # so that what is dropped from now on is said


def _join(delivery: ExtensionDelivery, address: str) -> Extension | None:
    """Return the process's extension with the delivery among its own, None when there can be none."""
    global _current  # noqa: PLW0603  # one extension a process: Lambda knows it by its name
    if _current is None or not _current.alive:
        try:
            extension = Extension(address)
            extension.start()
        except Exception as error:  # noqa: BLE001  # no reason for a function to fail
            why = f"{type(error).__name__}: {error}" if address else "AWS_LAMBDA_RUNTIME_API is not set"
            say_once(
                "extension",
                f"there is no internal extension ({why}); spans are delivered before the response",
            )
            return None
        _current = extension
    _current.deliveries.append(delivery)
    return _current
