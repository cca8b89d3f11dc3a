"""What the decorators make of classes: a context manager's blocks are traced, or the methods of any other."""

from __future__ import annotations

from lambent.decorators import fail, leave, taken
from lambent.wrapping import drop_own_frame, look_like

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambent.decorators import Tracing

__all__ = ["trace_as_asked", "trace_methods"]


def trace_as_asked(cls: type, tracing: Tracing) -> type:
    """Trace the blocks of a context manager's class, the methods of any other."""
    traced = False
    for names, is_async in ((("__enter__", "__exit__"), False), (("__aenter__", "__aexit__"), True)):
        if all(hasattr(cls, name) for name in names):
            _trace_blocks(cls, tracing, names, is_async)
            traced = True
    return cls if traced else trace_methods(cls, tracing)


def _trace_blocks(cls: Any, tracing: Tracing, names: tuple[str, str], is_async: bool) -> None:
    enter, close = (getattr(cls, name) for name in names)
    begin = tracing.beginning(tracing.name or cls.__qualname__.rpartition("<locals>.")[2], None)
    # By identity: an object need not be hashable, nor have room for an attribute.
    blocks: list[tuple[int, Any]] = []

    def entered(self: Any) -> Any:
        state = begin((), {})
        try:
            value = enter(self)
        except BaseException as exc:
            drop_own_frame(exc)
            fail(state, exc)
            raise
        blocks.append((id(self), state))
        return value

    def exited(self: Any, kind: Any, exc: Any, traceback: Any) -> Any:
        state = taken(blocks, self)
        try:
            swallowed = close(self, kind, exc, traceback)
        except BaseException as error:
            drop_own_frame(error)
            leave(state, error)
            raise
        leave(state, None if swallowed else exc)
        return swallowed

    async def entered_async(self: Any) -> Any:
        state = begin((), {})
        try:
            value = await enter(self)
        except BaseException as exc:
            drop_own_frame(exc)
            fail(state, exc)
            raise
        blocks.append((id(self), state))
        return value

    async def exited_async(self: Any, kind: Any, exc: Any, traceback: Any) -> Any:
        state = taken(blocks, self)
        try:
            swallowed = await close(self, kind, exc, traceback)
        except BaseException as error:
            drop_own_frame(error)
            leave(state, error)
            raise
        leave(state, None if swallowed else exc)
        return swallowed

    for name, inner, outer in (
        (names[0], enter, entered_async if is_async else entered),
        (names[1], close, exited_async if is_async else exited),
    ):
        setattr(cls, name, look_like(outer, inner))


def trace_methods(cls: Any, tracing: Tracing) -> Any:
    """Trace the public methods that a class defines."""
    for name, member in list(vars(cls).items()):
        is_method = isinstance(member, (staticmethod, classmethod)) or (
            (callable(member) or type(member).__name__ == "singledispatchmethod")
            and hasattr(member, "__get__")
            and not isinstance(member, type)
        )
        if is_method and not name.startswith("_"):
            setattr(cls, name, tracing.of_method(name)(member))
    return cls
