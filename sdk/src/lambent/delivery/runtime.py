"""Where Lambda's runtime client stands: told by itself, or seen from another thread.

There is no signal for "the response has gone". The runtime client is Python, though: in `awslambdaric`,
`bootstrap.run` calls `wait_next_invocation` and `handle_event_request` in turn. Whoever is called before the
first knows that a response has left, and what a thread is doing can be looked up. So nobody has to guess how
long a response takes.
"""

from __future__ import annotations

import sys

from lambent.delivery import say_once
from lambent.wrapping import look_like

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

__all__ = ["BUSY", "IDLE", "UNKNOWN", "tell", "where"]

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


_MODULE = "awslambdaric.lambda_runtime_client"
_METHOD = "wait_next_invocation"
_told: Callable[[], None] | None = None


def tell(told: Callable[[], None]) -> None:
    """Have this called whenever the runtime client is about to wait for an event; it replaces an earlier one.

    A runtime client that we do not know never calls it.
    """
    global _told  # noqa: PLW0603  # there is one runtime client a process
    _told = told
    for found in list(vars(sys.modules.get(_MODULE)).values()) if _MODULE in sys.modules else ():
        method = found.__dict__.get(_METHOD) if isinstance(found, type) else None
        if callable(method) and not hasattr(method, "_lambent_tells"):
            setattr(found, _METHOD, _telling(method))


def _telling(method: Callable[..., Any]) -> Callable[..., Any]:
    def wait_next_invocation(*args: Any, **kwargs: Any) -> Any:
        try:
            if _told is not None:
                _told()
        except Exception as error:  # noqa: BLE001  # it is Lambda's loop that we are in
            say_once("runtime", f"the end of an invocation was not noted: {type(error).__name__}: {error}")
        return method(*args, **kwargs)

    wait_next_invocation.__dict__["_lambent_tells"] = True  # one is enough
    return look_like(wait_next_invocation, method)
