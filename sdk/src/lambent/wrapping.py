"""Wrapping a function of the user's without changing how it looks or behaves.

Loaded by decorators only. A coroutine function stays one, a generator function stays one, and the
traceback of an exception is the one that the function alone would have had.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import Any, ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R")

__all__ = ["drop_own_frame", "in_block", "kind_of", "look_like"]

_GENERATOR, _COROUTINE, _ASYNC_GENERATOR = 0x20, 0x80, 0x200  # inspect.CO_…, without inspect


def kind_of(function: Callable[..., object]) -> str:
    """Return "sync", "coroutine", "generator" or "async generator".

    Looks through bound methods and `functools.partial`, as `inspect.iscoroutinefunction` does, and at
    `__call__` of objects that are called like functions.
    """
    inner: Any = function
    while hasattr(inner, "func") and not hasattr(inner, "__code__"):
        inner = inner.func
    inner = getattr(inner, "__func__", inner)
    code = getattr(inner, "__code__", None)
    if code is None:
        call = type(inner).__dict__.get("__call__")
        code = getattr(call, "__code__", None)
    flags = getattr(code, "co_flags", 0)
    if flags & _COROUTINE:
        return "coroutine"
    if flags & _ASYNC_GENERATOR:
        return "async generator"
    return "generator" if flags & _GENERATOR else "sync"


def look_like(wrapper: Callable[P, R], function: Callable[..., object]) -> Callable[P, R]:
    """Give the wrapper the function's name, documentation, annotations and attributes."""
    for name in ("__module__", "__name__", "__qualname__", "__doc__", "__annotations__", "__type_params__"):
        try:
            setattr(wrapper, name, getattr(function, name))
        except AttributeError:
            continue
    wrapper.__dict__.update(getattr(function, "__dict__", {}))
    wrapper.__dict__["__wrapped__"] = function
    return wrapper


def drop_own_frame(exc: BaseException) -> None:
    """Take the wrapper's own frame out of the traceback of an exception about to be re-raised."""
    traceback = exc.__traceback__
    if traceback is not None and traceback.tb_next is not None:
        exc.__traceback__ = traceback.tb_next


def in_block(function: Callable[P, R], block: Callable[[], AbstractContextManager[object]]) -> Callable[P, R]:
    """Return the function running each of its calls inside a new block."""
    kind = kind_of(function)
    call: Any = function
    wrapper: Any
    if kind == "coroutine":

        async def coroutine(*args: P.args, **kwargs: P.kwargs) -> object:
            with block():
                return await call(*args, **kwargs)

        wrapper = coroutine
    elif kind == "generator":

        def generator(*args: P.args, **kwargs: P.kwargs) -> Any:
            with block():
                return (yield from call(*args, **kwargs))

        wrapper = generator
    elif kind == "async generator":

        async def async_generator(*args: P.args, **kwargs: P.kwargs) -> Any:
            with block():
                async for item in call(*args, **kwargs):
                    yield item

        wrapper = async_generator
    else:

        def sync(*args: P.args, **kwargs: P.kwargs) -> object:
            with block():
                return call(*args, **kwargs)

        wrapper = sync
    return look_like(wrapper, function)
