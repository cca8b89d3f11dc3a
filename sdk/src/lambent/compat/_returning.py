"""What a function returns, told to a block that the function leaves by returning.

    with block:
        return {"statusCode": 200}

Python tells a block's end about exceptions, not about the value that is on its way out. When the end of the
block is followed by nothing but the return, of what the block has made, of a variable or of a literal, that
return is watched: by a local event of `sys.monitoring`, or where there is none yet (Python 3.11) by a profile
function that lives until then.
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

_RETURN, _JUMP = opmap["RETURN_VALUE"], opmap["JUMP_FORWARD"]
# What a compiler puts between the end of a block and a return.
_BETWEEN = frozenset(opmap.get(name, 0) for name in ("CACHE", "NOP", "POP_TOP", "SWAP", "POP_ITER"))
# And what it makes of variables and literals, which takes no time and calls nothing.
_SIMPLE = frozenset(
    number
    for name, number in opmap.items()
    if name.startswith(("LOAD_FAST", "LOAD_CONST", "LOAD_SMALL_INT", "BUILD_", "LIST_EXTEND", "DICT_UPDATE"))
)
_CONSTANTS = frozenset(number for name, number in opmap.items() if name.startswith("LOAD_CONST"))
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
        returns = _next[code, place] = _returns_next(code.co_code, place + 2)
    if not returns:
        return False
    monitoring = getattr(sys, "monitoring", None)
    return _profile(frame, tell) if monitoring is None else _monitor(monitoring, frame, tell)


def _returns_next(code: bytes, place: int) -> bool:
    """Whether there is only a return from a place on. Not of a constant, which is no response."""
    simple = 0
    constant = False
    while place < len(code):
        instruction, argument = code[place], code[place + 1]
        place += 2
        if instruction == _RETURN:
            return simple != 1 or not constant
        if instruction == _JUMP:
            place += 2 * argument
        elif instruction in _SIMPLE:
            simple += 1
            constant = instruction in _CONSTANTS
        elif instruction not in _BETWEEN:
            return False
    return False


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
