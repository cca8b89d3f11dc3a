"""A started process: its output as it comes, and its end."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import struct
import termios
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from lambent_lab.sandbox.spawn import Child

_READ = 16384  # a turn's worth: a function that never stops writing must not keep the lab from its clocks
_PIPE = 1024 * 1024
_F_SETPIPE_SZ = getattr(fcntl, "F_SETPIPE_SZ", 1031)

_SIGNAL_NAMES = {
    signal.SIGABRT: "aborted",
    signal.SIGBUS: "bus error",
    signal.SIGFPE: "floating point exception",
    signal.SIGHUP: "hangup",
    signal.SIGILL: "illegal instruction",
    signal.SIGINT: "interrupt",
    signal.SIGKILL: "killed",
    signal.SIGPIPE: "broken pipe",
    signal.SIGQUIT: "quit",
    signal.SIGSEGV: "segmentation fault",
    signal.SIGTERM: "terminated",
    signal.SIGTRAP: "trace/breakpoint trap",
}


class Output:
    """The pipe that a process writes its standard output and error to, and what reads it."""

    def __init__(self, on_bytes: Callable[[bytes], None]) -> None:
        self._on_bytes = on_bytes
        self._read, self.write_end = os.pipe()
        os.set_blocking(self._read, False)
        with suppress(OSError):
            fcntl.fcntl(self._read, _F_SETPIPE_SZ, _PIPE)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._read, self._take)

    def drain(self) -> None:
        """Read what is in the pipe now, and not what is written meanwhile: that may have no end."""
        left = _waiting(self._read) if self._read >= 0 else 0
        while left > 0:
            left -= self._take(left) or left

    def _take(self, at_most: int = _READ) -> int:
        """Read once, and return how much it was."""
        try:
            data = os.read(self._read, min(at_most, _READ))
        except BlockingIOError:
            return 0
        if data:
            self._on_bytes(data)
        else:
            self._loop.remove_reader(self._read)
        return len(data)

    def started(self) -> None:
        """Close our copy of the writing end: from now on only processes of the function hold it."""
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1

    def close(self) -> None:
        """Read what is left and close both ends. Safe to call again."""
        self.started()
        if self._read >= 0:
            self.drain()
            self._loop.remove_reader(self._read)
            os.close(self._read)
            self._read = -1


def _waiting(pipe: int) -> int:
    """Return how many bytes are in a pipe."""
    return int(struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4))[0])


class Process:
    """A process that has been started, watched through its pidfd."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self.pid = child.pid
        self._loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[int] = self._loop.create_future()
        self._handle = os.pidfd_open(child.pid)
        self._loop.add_reader(self._handle, self._ended)

    @classmethod
    async def start(cls, spawn: Callable[[int], Awaitable[Child]], output: Output) -> Process:
        """Start a process through `spawn`, which is given the file descriptor for its output."""
        try:
            return cls(await spawn(output.write_end))
        finally:
            output.started()

    def close(self) -> None:
        """Stop watching. The process is dead by now; its status is collected. Safe to call again."""
        if self._handle >= 0:
            self._ended()

    def _ended(self) -> None:
        self._loop.remove_reader(self._handle)
        os.close(self._handle)
        self._handle = -1
        status = self._child.wait()
        if not self.exited.done():
            self.exited.set_result(status)


def describe_exit(status: int) -> str:
    """Return how Lambda words the end of a process: status as subprocess gives it, negative for a signal."""
    if status == 0:
        return "Runtime exited without providing a reason"
    if status > 0:
        return f"Runtime exited with error: exit status {status}"
    try:
        name = _SIGNAL_NAMES.get(signal.Signals(-status), f"signal {-status}")
    except ValueError:
        name = f"signal {-status}"
    return f"Runtime exited with error: signal: {name}"
