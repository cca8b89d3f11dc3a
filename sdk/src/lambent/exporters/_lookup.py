"""A host name's addresses, within a time. Loaded for names that have to be asked for.

The system's look-up has no limit: where no name server answers it takes ten seconds and more. So it runs in
a thread of its own, and who waits for it gives up when his time is over. The thread goes on, and its answer
is there for the next one who asks.
"""

from __future__ import annotations

import _socket
from _thread import allocate_lock, start_new_thread
from os import getpid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambent.exporters._http import Address

__all__ = ["Lookup", "ask", "begun"]


def ask(host: str, port: int) -> list[Address]:
    """Return the addresses of a host, however long that takes. Raises OSError."""
    # As bytes: a text would load the IDNA codec.
    found = _socket.getaddrinfo(host.encode("ascii"), port, 0, _socket.SOCK_STREAM)
    return [(family, address) for family, _, _, _, address in found if not isinstance(address[1], bytes)]


class Lookup:
    """One look-up, begun when it is made."""

    def __init__(self, host: str, port: int) -> None:
        self.pid = getpid()
        self.heard = False
        """Whether somebody has had the answer."""
        self._found: list[Address] = []
        self._error: Exception | None = None
        self._done = allocate_lock()
        self._done.acquire()
        try:
            start_new_thread(self._run, (host, port))
        except RuntimeError:  # no thread to be had
            self._run(host, port)

    def _run(self, host: str, port: int) -> None:
        try:
            self._found = ask(host, port)
        except Exception as error:  # noqa: BLE001  # raised where somebody waits for it
            self._error = error
        finally:
            self._done.release()

    def wait(self, seconds: float) -> list[Address]:
        """Return the addresses. Raises TimeoutError when they are not there in time, else OSError."""
        if not self._done.acquire(timeout=max(0.0, seconds)):
            raise TimeoutError
        self._done.release()
        self.heard = True
        if self._error is not None:
            raise self._error
        return self._found


def begun(before: Lookup | None, host: str, port: int) -> Lookup:
    """Return a look-up that is under way, or whose answer nobody has had: the one before, or a new one."""
    if before is None or before.heard or before.pid != getpid():
        return Lookup(host, port)
    return before
