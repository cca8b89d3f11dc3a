"""SIGTERM: the last spans, in the time that Lambda gives, and then whatever else was to happen.

- Lambda sends SIGTERM to the runtime when there is an extension, and kills it 300 to 500 ms later.
- Our handler takes no lock and exports nothing: the code that it interrupts may hold any lock. It starts
  a thread that flushes, waits for it for at most BUDGET, and goes on to the handler before it, or to the
  default action.
- A handler that the function installs after ours replaces it. Each invocation's end looks, and puts
  ours before it.
- A runtime client that waits for events in C (before Python 3.12) runs no Python handler until the next
  invocation. The signal's number still arrives in a pipe (`set_wakeup_fd`), and the thread that waits for
  Lambda's events waits for that as well.
- A main thread that waits may sleep through the signal: after a freeze the kernel may hand it to another
  thread, which does not interrupt the wait. The thread that saw the number wakes it then.
- Handlers can only be installed from the main thread; elsewhere that is said once.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` wraps it in enums, and is a module to load
from _thread import allocate_lock, get_ident, start_new_thread
from time import monotonic

from lambent.delivery import say_once

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _thread import LockType
    from collections.abc import Callable, Sequence
    from typing import Any

    from lambent.delivery.sync import SyncDelivery

__all__ = ["BUDGET", "check", "forget", "listen_again", "wait_for", "watch"]

BUDGET = 0.25
"""Seconds for the last flush: Lambda gives 300 to 500 ms, and the function's own handler wants some."""

_SIGTERM = 15
_deliveries: list[SyncDelivery] = []
_ours: Any = None
_pipe: tuple[int, int] | None = None
_flushing = allocate_lock()
_landing = allocate_lock()  # of the newest flush; held until it is done
_main = 0  # the thread that handlers run in
_entered = False  # whether a handler of ours has run
_woken = False  # whether the main thread was sent the signal once more


def watch(delivery: SyncDelivery) -> None:
    """Have the delivery flushed at SIGTERM."""
    _deliveries.append(delivery)
    if _ours is None:
        try:
            _install()
            _listen()
            from os import register_at_fork

            register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_child)
        except ValueError:
            say_once("sigterm", "the last spans are not sent at SIGTERM: init() was not in the main thread")


def forget(delivery: SyncDelivery) -> None:
    """Have it flushed no more."""
    if delivery in _deliveries:
        _deliveries.remove(delivery)


def check() -> None:
    """Put our handler before one that has replaced it."""
    if _ours is not None and _signal.getsignal(_SIGTERM) is not _ours:
        try:
            _install()
        except ValueError:  # another thread's invocation: the main thread's next one will see to it
            return
        listen_again()


def listen_again() -> None:
    """Have signals written to our pipe again, if to nobody's: asyncio ends that when it ends its own."""
    try:
        before = _signal.set_wakeup_fd(_pipe[1], warn_on_full_buffer=False) if _pipe else -1
        if before != -1:
            _signal.set_wakeup_fd(before, warn_on_full_buffer=False)
    except (OSError, ValueError):  # as above; or the function has closed the pipe
        return


def _install() -> None:
    """Put our handler before the one there is. Raises ValueError outside the main thread."""
    global _ours, _main  # a process has one handler
    previous = _signal.getsignal(_SIGTERM)
    handler = _handler(previous)
    _signal.signal(_SIGTERM, handler)
    _ours, _main = handler, get_ident()


def _handler(previous: Any) -> Callable[[int, Any], None]:
    def on_sigterm(signum: int, frame: Any) -> None:
        global _entered, _woken  # noqa: PLW0603  # see there
        if _entered and _woken:
            _woken = False  # it was awake already: the same signal a second time
            return
        _entered = True
        landing = _start()
        if landing.acquire(timeout=BUDGET):
            landing.release()
        if callable(previous):
            previous(signum, frame)
        elif previous == _signal.SIG_DFL:
            from os import getpid, kill

            _signal.signal(_SIGTERM, _signal.SIG_DFL)
            kill(getpid(), _SIGTERM)

    on_sigterm.previous = previous  # type: ignore[attr-defined]  # for `_leave`
    return on_sigterm


def _start() -> LockType:
    """Start a flush, or join the one there is. Return a lock that is free when it is done."""
    global _landing  # noqa: PLW0603  # see there
    if _flushing.acquire(blocking=False):
        landing = _landing = allocate_lock()
        landing.acquire()
        try:
            start_new_thread(_flush, (landing,))
        except RuntimeError:  # no thread to be had, and a signal handler is no place to wait for locks
            landing.release()
            _flushing.release()
    return _landing


def _flush(landing: LockType) -> None:
    """Flush all of them side by side: one whose server hangs must not cost the others their time."""
    deadline = monotonic() + BUDGET * 0.8  # the rest is for saying what is lost
    deliveries = tuple(_deliveries)
    landings: list[LockType] = []
    try:
        for delivery in deliveries[1:]:
            landed = allocate_lock()
            landed.acquire()
            landings.append(landed)
            try:
                start_new_thread(_flush_one, (delivery, deadline, landed))
            except RuntimeError:  # no more threads: one after the other, then
                _flush_one(delivery, deadline, landed)
        for delivery in deliveries[:1]:
            _flush_one(delivery, deadline)
        for landed in landings:
            landed.acquire(timeout=max(0.0, deadline + BUDGET * 0.1 - monotonic()))
    finally:
        landing.release()
        _flushing.release()


def _flush_one(delivery: SyncDelivery, deadline: float, landed: LockType | None = None) -> None:
    try:
        delivery.last_flush(deadline - monotonic())
        if delivery.waiting:
            from lambent.delivery.closing import lose

            lose(delivery)
    except Exception as error:  # noqa: BLE001  # the next one's spans matter as well
        say_once("sigterm", f"the last flush failed: {type(error).__name__}: {error}")
    finally:
        if landed is not None:
            landed.release()


def _listen() -> None:
    """Have the numbers of signals written to a pipe, unless somebody else has them already."""
    global _pipe  # noqa: PLW0603  # a process has one
    from os import O_CLOEXEC, O_NONBLOCK, close, pipe2

    pipe = pipe2(O_NONBLOCK | O_CLOEXEC)
    before = _signal.set_wakeup_fd(pipe[1], warn_on_full_buffer=False)
    if before != -1:
        _signal.set_wakeup_fd(before)
        close(pipe[0])
        close(pipe[1])
        return
    _pipe = pipe


_masks: dict[int, Any] = {}  # of threads that are forking, as they were


def _before_fork() -> None:
    """Hold SIGTERM back: Python forgets what comes to a child before it has set itself up."""
    _masks[get_ident()] = _signal.pthread_sigmask(_signal.SIG_BLOCK, (_SIGTERM,))


def _after_fork() -> None:
    mask = _masks.pop(get_ident(), None)
    if mask is not None:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)


def _in_child() -> None:
    """In a forked child: its signals are not the parent's, and locks may be copies of taken ones."""
    try:
        _renew()
    finally:
        _after_fork()
        _masks.clear()


def _renew() -> None:
    global _pipe, _flushing  # noqa: PLW0603  # see there
    _flushing = allocate_lock()
    pipe, _pipe = _pipe, None
    if pipe is not None:
        from os import close

        try:
            _signal.set_wakeup_fd(-1)
        except ValueError:  # never: the thread that forks is the child's main one
            return
        close(pipe[0])
        close(pipe[1])


def wait_for(numbers: Sequence[int], seconds: float | None = None) -> list[int]:
    """Wait until there is something to read from one of the files, and look after SIGTERM meanwhile.

    Returns those that have something, none after so many `seconds`.
    """
    from select import POLLIN, poll

    waiting = poll()
    for number in numbers if _pipe is None else (*numbers, _pipe[0]):
        waiting.register(number, POLLIN)
    while True:
        ready = [number for number, _ in waiting.poll(None if seconds is None else seconds * 1000)]
        if _pipe is None or _pipe[0] not in ready:
            return ready
        if _SIGTERM in _read(_pipe[0]):
            landing = _start()
            if landing.acquire(timeout=BUDGET):
                landing.release()
            _leave()
            _wake()


def _read(number: int) -> bytes:
    from os import read

    try:
        return read(number, 512)
    except OSError:
        return b""


def _leave() -> None:
    """Do what SIGTERM does to a process with no handler, if the main thread cannot."""
    if getattr(_ours, "previous", None) == _signal.SIG_DFL:
        from os import _exit

        _exit(128 + _SIGTERM)


def _wake() -> None:
    """Have the main thread run its handler, if it has slept through the signal."""
    global _woken  # noqa: PLW0603  # see there
    if not _entered and not _woken:
        _woken = True
        _signal.pthread_kill(_main, _SIGTERM)
