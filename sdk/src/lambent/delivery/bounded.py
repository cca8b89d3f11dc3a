"""Other people's code, within a time that it may not know of. Loaded for what is not lambent's own.

What is given too little time goes on in its thread, and is not called again before it has returned. Calls
that come while one is still within its time wait for their turn, within theirs.
"""

from __future__ import annotations

from _thread import allocate_lock, start_new_thread
from time import monotonic

from lambent.context import CURRENT, SUPPRESSED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Bounded", "LateError"]


_LONGEST = 86_400.0  # seconds: locks refuse much more


class LateError(Exception):
    """It did not return in time, or has not returned from the last time yet: then it was not `called`."""

    def __init__(self, reason: str, *, called: bool) -> None:
        super().__init__(reason)
        self.called = called


class Bounded:
    """Calls one object's functions, one at a time."""

    def __init__(self) -> None:
        self._busy = allocate_lock()
        self._late = False  # whether who has the lock has been given up

    def call(self, function: Callable[..., object], seconds: float, *arguments: object) -> object:
        """Return what the function returns, or raise what it raises; LateError after so many seconds."""
        seconds = min(seconds, _LONGEST) if seconds > 0 else 0.0
        deadline = monotonic() + seconds
        if not self._busy.acquire(blocking=False) and (self._late or not self._busy.acquire(timeout=seconds)):
            raise LateError("it is still busy with the last call", called=False)
        self._late = False
        results: list[object] = []
        errors: list[Exception] = []
        landing = allocate_lock()
        landing.acquire()

        def run() -> None:
            CURRENT.set(SUPPRESSED)  # a thread begins with no span, and would trace what it exports
            try:
                results.append(function(*arguments))
            except Exception as error:  # noqa: BLE001  # raised again where it can be caught
                errors.append(error)
            except BaseException as error:  # noqa: BLE001  # SystemExit in a thread ends nothing
                errors.append(RuntimeError(f"{type(error).__name__}: {error}"))
            finally:
                self._busy.release()
                landing.release()

        try:
            start_new_thread(run, ())
        except RuntimeError:
            self._busy.release()
            raise
        if not landing.acquire(timeout=max(0.0, deadline - monotonic())):
            self._late = True
            raise LateError("it did not return in time", called=True)
        if errors:
            raise errors[0]
        return results[0]

    def renew(self) -> None:
        """In a forked child: whatever was under way is the parent's."""
        self._busy = allocate_lock()
        self._late = False
