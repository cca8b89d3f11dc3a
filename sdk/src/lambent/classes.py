"""What the decorators make of what has several functions: of classes and of generic functions.

Of a class that is a context manager the blocks are traced, of any other the methods.

A generic function of `functools.singledispatch` stays one, and so does a `singledispatchmethod`: it takes
further implementations by `register`. Each call has one span, under its name, around the implementation that
is called: that may be a coroutine function or a generator where the others are none, and name its arguments
as it likes.
"""

from __future__ import annotations

import sys
from functools import partial, singledispatch

from lambent.decorators import fail, leave, taken
from lambent.wrapping import drop_own_frame, look_like

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from lambent.decorators import Tracing

__all__ = ["is_generic", "trace_as_asked", "trace_generic", "trace_generic_method", "trace_methods"]


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


def _binds(member: Any) -> bool:
    """Whether what stands in a class gets the object; before 3.14 no partial does, whatever it has."""
    is_partial = isinstance(member, partial) and sys.version_info < (3, 14)
    return hasattr(member, "__get__") and not is_partial


def trace_methods(cls: Any, tracing: Tracing) -> Any:
    """Trace the public methods that a class defines."""
    for name, member in list(vars(cls).items()):
        is_method = isinstance(member, (staticmethod, classmethod)) or (
            (callable(member) or type(member).__name__ == "singledispatchmethod")
            and _binds(member)
            and not isinstance(member, type)
        )
        if is_method and not name.startswith("_"):
            setattr(cls, name, tracing.of_method(name)(member))
    return cls


_CODE = singledispatch(look_like).__code__  # type: ignore[attr-defined]  # all that it makes share their code


def is_generic(function: Any) -> bool:
    """Whether `functools.singledispatch` has made the function."""
    return getattr(function, "__code__", None) is _CODE


class _Traced:
    """The dispatcher of a generic method, whose implementations are traced ones."""

    def __init__(self, generic: Any, tracing: Tracing) -> None:
        self._generic = generic
        self.register, self.registry = generic.register, generic.registry
        self._tracing = tracing
        # By identity, and with the key kept: an implementation need not be hashable.
        self._made: dict[int, tuple[Any, Any]] = {}

    def dispatch(self, cls: type) -> Any:
        """Return the traced implementation for a class."""
        found = self._generic.dispatch(cls)
        made = self._made.get(id(found))
        if made is None:
            # Another callable is no method: it is called without the object.
            traced: Any = self._tracing(found if _binds(found) else staticmethod(found))
            made = self._made[id(found)] = (found, traced)
        return made[1]


def trace_generic(function: Any, tracing: Tracing) -> Callable[..., Any]:
    """Trace what a generic function calls."""
    dispatch = _Traced(function, _under_its_name(function, tracing)).dispatch

    def generic(*args: Any, **kwargs: Any) -> Any:
        if not args:
            return function(**kwargs)  # it says what is missing
        return dispatch(args[0].__class__)(*args, **kwargs)

    return look_like(generic, function)


def trace_generic_method(method: Any, tracing: Tracing) -> Any:
    """Trace what a generic method calls."""
    method.dispatcher = _Traced(method.dispatcher, _under_its_name(method.func, tracing))
    return method


def _under_its_name(function: Any, tracing: Tracing) -> Tracing:
    function = getattr(function, "__func__", function)
    return tracing.named(getattr(function, "__qualname__", type(function).__qualname__))
