"""A line that is longer than a pipe holds, in one piece. Loaded with the first such line.

Rules: the kernel copies a write into a pipe at once where the pipe has room for all of it; else it takes
turns with whoever else writes there. So the pipe is made larger, and what is in it is given a moment to be
read. A stream without a buffer (`python -u`, PYTHONUNBUFFERED) has no lock that `print` would wait for, and
forgets what a write did not take, as happens where a signal interrupts it: there the line is written from
here.
"""

from __future__ import annotations

from io import RawIOBase
from time import monotonic, sleep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["enlarge", "write_unbuffered"]

_GET_SIZE, _SET_SIZE = 1032, 1031  # F_GETPIPE_SZ and F_SETPIPE_SZ
_UNREAD = 0x541B  # FIONREAD
_LARGEST = 1 << 20  # /proc/sys/fs/pipe-max-size, where nobody says otherwise
_PATIENCE = 1.0


def enlarge(pipe: int, size: int) -> int:
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
        end = end or monotonic() + _PATIENCE
        if monotonic() >= end:
            raise OSError(11, "nobody reads it")
        from select import select

        select((), (file,), (), _PATIENCE)
    return True


def _make_room(pipe: int, size: int) -> None:
    """Wait until a pipe has room for a line, or it is clear that its reader is slow."""
    holds = enlarge(pipe, _LARGEST)
    if not holds:
        return
    from fcntl import ioctl
    from sys import byteorder

    # Short writes leave pages half empty.
    most = (holds - size) // 2 - 8192
    end = monotonic() + _PATIENCE
    while monotonic() < end:
        if int.from_bytes(ioctl(pipe, _UNREAD, bytes(4)), byteorder) <= max(most, 0):
            return
        sleep(0.001)
