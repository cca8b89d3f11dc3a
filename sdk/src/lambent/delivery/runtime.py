"""Where Lambda's runtime client stands, seen from another thread.

There is no signal for "the response has gone". The runtime client is Python, though, and what a thread
is doing can be looked up: in `awslambdaric`, `bootstrap.run` calls `wait_next_invocation` and
`handle_event_request` in turn. A thread that knows this need not guess how long a response takes.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

__all__ = ["BUSY", "IDLE", "UNKNOWN", "where"]

UNKNOWN, BUSY, IDLE = 0, 1, 2
"""No runtime client that we know; with an invocation; waiting for the next one."""


def where(thread: int) -> int:
    """Return what the runtime client in that thread is doing."""
    frame: FrameType | None = sys._current_frames().get(thread)  # noqa: SLF001  # documented, for debuggers like this
    while frame is not None:
        name = frame.f_code.co_name
        if name == "wait_next_invocation":
            return IDLE
        if name == "handle_event_request" or (
            name == "run" and frame.f_code.co_filename.endswith("bootstrap.py")
        ):
            return BUSY
        frame = frame.f_back
    return UNKNOWN
