"""Lines into pipes: into a named one, and long ones into stdout. Loaded when there are such.

The named pipe is somebody else's; it is opened for each line, as `otlp-stdout-span-exporter` does, since its
reader may come and go, and is never waited for longer than a moment. No pipe there: the line goes to stdout,
and that is said once. A pipe without a reader, or one that does not read: the line is lost, and the exporter
says so.

A long line stays whole: the kernel copies a write into a pipe at once where the pipe has room for all of it;
else it takes turns with whoever else writes there. So the pipe is made larger, and what is in it is given a
moment to be read. A stream without a buffer (`python -u`, PYTHONUNBUFFERED) has no lock that `print` would
wait for, and forgets what a write did not take, as happens where a signal interrupts it: there the line is
written from here.
"""

from __future__ import annotations

import os
import sys
from _thread import allocate_lock
from io import RawIOBase
from os import register_at_fork
from stat import S_ISFIFO
from time import monotonic, sleep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["PATH", "PipeWriter", "write_unbuffered"]

PATH = "/tmp/otlp-stdout-span-exporter.pipe"  # noqa: S108  # the name that its readers know
_PATIENCE = 0.1
_HASTE = 10  # times as long no further line waits: an export may have many
_PATIENCE_WITH_STDOUT = 1.0
_GET_SIZE, _SET_SIZE = 1032, 1031  # F_GETPIPE_SZ and F_SETPIPE_SZ
_UNREAD = 0x541B  # FIONREAD
_LARGEST = 1 << 20  # /proc/sys/fs/pipe-max-size, where nobody says otherwise

_turn = allocate_lock()
"""Held while a line is written: a long one is more than one write."""


def _renew() -> None:
    global _turn  # noqa: PLW0603  # a forked child has not the thread that may hold it
    _turn = allocate_lock()


register_at_fork(after_in_child=_renew)


class PipeWriter:
    """Writes whole lines to the named pipe at `path`."""

    def __init__(self, path: str = PATH, patience: float = _PATIENCE) -> None:
        self._path = path
        self._patience = patience
        self._torn = False
        self._hasty = 0.0  # until then nothing is waited for: its reader did not read

    def write(self, line: str) -> None:
        """Write the line. Raises OSError when it cannot be delivered."""
        turn = _turn
        if not turn.acquire(timeout=self._patience):
            raise OSError(11, f"the pipe {self._path} is full: its reader does not read")
        try:
            self._write(line)
        finally:
            turn.release()

    def _write(self, line: str) -> None:
        data = line.encode("utf-8", "surrogateescape")
        try:
            pipe = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            self._to_stdout(line, "there is no pipe")
            return
        except OSError as error:
            # ENXIO: nobody has it open for reading.
            reason = "nobody reads the pipe" if error.errno == 6 else (error.strerror or "cannot be opened")
            raise OSError(error.errno, f"{reason} {self._path}") from None
        try:
            if not S_ISFIFO(os.fstat(pipe).st_mode):
                self._to_stdout(line, "what is there is no pipe:")
                return
            self._all(pipe, b"\n" + data if self._torn else data)
        finally:
            os.close(pipe)

    def _all(self, pipe: int, data: bytes) -> None:
        if len(data) > 65536:
            _enlarge(pipe, len(data) + 65536)  # where it may not, it takes more than one write
        now = monotonic()
        end = now if now < self._hasty else now + self._patience
        written = 0
        try:
            while written < len(data):
                try:
                    written += os.write(pipe, data[written:])
                except BlockingIOError:
                    if monotonic() >= end:
                        self._hasty = max(self._hasty, monotonic() + _HASTE * self._patience)
                        raise OSError(
                            11, f"the pipe {self._path} is full: its reader does not read"
                        ) from None
                    from select import select

                    select((), (pipe,), (), max(0.0, end - monotonic()))
        finally:
            # What has begun and not ended must not spoil the next line.
            self._torn = 0 < written < len(data) or (self._torn and not written)

    def _to_stdout(self, line: str, why: str) -> None:
        from lambent.diagnostics import say_once
        from lambent.exporters.stdout import write_line

        say_once(f"pipe {self._path}", f"{why} {self._path}; spans are written to stdout")
        write_line(sys.stdout, line)


def _enlarge(pipe: int, size: int) -> int:
    """Make a pipe as large as is allowed, up to `size` bytes, never smaller; return its size, 0 for none."""
    try:
        from fcntl import fcntl

        now = fcntl(pipe, _GET_SIZE)
    except (ImportError, OSError):
        return 0
    try:
        return fcntl(pipe, _SET_SIZE, min(size, _LARGEST)) if now < min(size, _LARGEST) else now
    except OSError:  # not allowed, or too many large pipes
        return now


def write_unbuffered(stream: Any, line: str) -> bool:
    """Write the line to a stream that has no buffer of its own; return whether this is one.

    Raises OSError.
    """
    raw = getattr(stream, "buffer", None)
    if not isinstance(raw, RawIOBase):
        return False
    data = memoryview(line.encode(stream.encoding, stream.errors))
    file = raw.fileno()
    _make_room(file, len(data))
    end = 0.0
    while data:
        written = raw.write(data)
        if written:
            data = data[written:]
            end = 0.0
            continue
        # Somebody has made it one that does not wait.
        end = end or monotonic() + _PATIENCE_WITH_STDOUT
        if monotonic() >= end:
            raise OSError(11, "nobody reads it")
        from select import select

        select((), (file,), (), _PATIENCE_WITH_STDOUT)
    return True


def _make_room(pipe: int, size: int) -> None:
    """Wait until a pipe has room for a line, or it is clear that its reader is slow."""
    holds = _enlarge(pipe, _LARGEST)
    if not holds:
        return
    from fcntl import ioctl
    from sys import byteorder

    # Short writes leave pages half empty.
    most = (holds - size) // 2 - 8192
    end = monotonic() + _PATIENCE_WITH_STDOUT
    while monotonic() < end:
        if int.from_bytes(ioctl(pipe, _UNREAD, bytes(4)), byteorder) <= max(most, 0):
            return
        sleep(0.001)
