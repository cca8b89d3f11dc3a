"""Starting a process: nothing of the lab's own comes with it.

It is done from a thread made for one start, which has already entered the place where the process shall live.
The thread takes what is its own (file descriptors, user) off the lab's, and the process inherits that: file
descriptors 0, 1, 2 and those asked for, no controlling terminal, no blocked and no ignored signal, no right
that executing a file could add to.
"""

from __future__ import annotations

import fcntl
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lambent_lab.sandbox import syscalls

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lambent_lab.sandbox.users import User

_FIRST = 3
_ABOVE = 64  # where copies cannot be in the way of the numbers that the process shall find
_DEFAULT = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What to start: its standard input, its output, and further file descriptors that become 3, 4, 5, …"""

    command: Sequence[str]
    env: Mapping[str, str]
    stdin: int
    output: int
    passed: Sequence[int] = ()
    user: User | None = None


class Child:
    """A process that was started, whose end somebody has to collect."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._status: int | None = None

    def wait(self) -> int:
        """Wait for its end; return its status, negative for a signal."""
        if self._status is None:
            try:
                self._status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            except ChildProcessError:  # somebody in this process collects all children
                self._status = 255
        return self._status

    def kill(self) -> None:
        """Send SIGKILL. Its number is its own until its end is collected."""
        if self._status is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


def spawn(start: Start) -> Child:
    """Start a process from the calling thread, which is spoiled by it: it must end now."""
    own_table = _take_own_table()
    wanted = [start.stdin, start.output, start.output, *start.passed]
    copies: list[int] = []
    try:
        copies += [fcntl.fcntl(handle, fcntl.F_DUPFD_CLOEXEC, _ABOVE) for handle in wanted]
        actions: list[tuple[int, int, int] | tuple[int, int]] = [
            (os.POSIX_SPAWN_DUP2, copy, number) for number, copy in enumerate(copies)
        ]
        if own_table:
            syscalls.keep_to_itself(_FIRST)
        else:
            others = set(_inheritable()) - set(range(len(wanted)))
            actions += [(os.POSIX_SPAWN_CLOSE, number) for number in others]
        syscalls.gain_nothing()
        if start.user is not None:
            syscalls.become(start.user.uid, start.user.gid)
        pid = os.posix_spawn(
            start.command[0],
            list(start.command),
            dict(start.env),
            file_actions=actions,
            setsid=True,
            setsigmask=[],
            setsigdef=_DEFAULT,
        )
    finally:
        for copy in copies:
            os.close(copy)
    return Child(pid)


def _take_own_table() -> bool:
    """Give the thread a table of file descriptors of its own; False where a container forbids that."""
    try:
        syscalls.unshare(syscalls.CLONE_FILES)
    except PermissionError:
        return False
    return True


def _inheritable() -> list[int]:
    found = []
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - numbers are wanted, not paths
        with suppress(OSError):
            if os.get_inheritable(int(name)):
                found.append(int(name))
    return found
