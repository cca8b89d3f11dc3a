"""What a function returns, told to a block that the function leaves by returning.

    with block:
        return {"statusCode": 200}

Python tells a block's end about exceptions, not about the value that is on its way out. When the end of the
block is followed by nothing but the return, that return is watched: by a local event of `sys.monitoring`, or
where there is none yet (Python 3.11) by a profile function that lives until then.
"""

from __future__ import annotations

import sys
from opcode import opmap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType
    from typing import Any

__all__ = ["tell_returned"]

_RETURN = opmap["RETURN_VALUE"]
# What a compiler puts between the end of a block and a return: no constant, which is no response.
_BETWEEN = frozenset(opmap.get(name, 0) for name in ("CACHE", "NOP", "POP_TOP", "SWAP", "POP_ITER"))
_next: dict[tuple[CodeType, int], bool] = {}
_waiting: dict[FrameType, Callable[[object], None]] = {}
_watched: set[CodeType] = set()
_tool = -1


def tell_returned(frame: FrameType, tell: Callable[[object], None]) -> bool:
    """Have `tell` called with what the frame returns, if that is the next thing that it does.

    Returns whether it will be. `tell` must not raise.
    """
    code, place = frame.f_code, frame.f_lasti
    returns = _next.get((code, place))
    if returns is None:
        after = iter(code.co_code[place + 2 :: 2])
        returns = _next[code, place] = next((each for each in after if each not in _BETWEEN), -1) == _RETURN
    if not returns:
        return False
    monitoring = getattr(sys, "monitoring", None)
    return _profile(frame, tell) if monitoring is None else _monitor(monitoring, frame, tell)


def _profile(frame: FrameType, tell: Callable[[object], None]) -> bool:
    if sys.getprofile() is not None:
        return False

    def watch(current: FrameType, event: str, value: object) -> None:
        if current is frame and event == "return":
            sys.setprofile(None)
            tell(value)

    sys.setprofile(watch)
    return True


def _monitor(monitoring: Any, frame: FrameType, tell: Callable[[object], None]) -> bool:
    global _tool  # noqa: PLW0603  # a number that the process gives out once
    event = monitoring.events.PY_RETURN
    if _tool < 0:
        free = [number for number in (4, 3) if monitoring.get_tool(number) is None]
        if not free:
            return False
        _tool = free[0]
        monitoring.use_tool_id(_tool, "lambent")
        monitoring.register_callback(_tool, event, _returned)
    _waiting[frame] = tell
    if frame.f_code not in _watched:
        # Never taken back: another thread may be on its way out of the same function.
        _watched.add(frame.f_code)
        monitoring.set_local_events(_tool, frame.f_code, event)
    return True


def _returned(_code: CodeType, _place: int, value: object) -> None:
    tell = _waiting.pop(sys._getframe(1), None)
    if tell is not None:
        tell(value)
