"""Wrapping a function of the user's without changing how it looks or behaves.

Loaded by decorators only. A coroutine function stays one, a generator function stays one, and the
traceback of an exception is the one that the function alone would have had.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R")
    T = TypeVar("T")

__all__ = ["around", "drop_own_frame", "kind_of", "look_like", "without_partials"]

# inspect.CO_…, without inspect
_GENERATOR, _COROUTINE, _ITERABLE_COROUTINE, _ASYNC_GENERATOR = 0x20, 0x80, 0x100, 0x200
# What functools.update_wrapper copies; from 3.14 on annotations are computed when asked for, not here.
_COPIED = (
    "__module__",
    "__name__",
    "__qualname__",
    "__doc__",
    "__annotate__" if sys.version_info >= (3, 14) else "__annotations__",
    "__type_params__",
)


def kind_of(function: Callable[..., object]) -> str:
    """Return "sync", "coroutine", "generator", "async generator", "manager", "async manager" or "either".

    The managers are what `contextlib` makes of generator functions. Either: what another decorator has
    made of a coroutine function may return its coroutine or what came of it; only a call shows it. Looks
    through bound methods and `functools.partial`, as `inspect.iscoroutinefunction` does, and at `__call__`
    of objects that are called like functions.
    """
    inner: Any = without_partials(function)
    inner = getattr(inner, "__func__", inner)
    code = getattr(inner, "__code__", None)
    if code is None:
        call: Any = type(inner).__call__ if callable(inner) else None
        code = getattr(call, "__code__", None)
    flags = getattr(code, "co_flags", 0)
    if type(flags) is not int:  # some objects claim to have everything
        flags = 0
    if hasattr(inner, "__wrapped__") and "contextlib" in sys.modules:
        import contextlib

        for made, kind in (
            (contextlib.contextmanager, "manager"),
            (contextlib.asynccontextmanager, "async manager"),
        ):
            if code is made(kind_of).__code__:  # type: ignore[arg-type]  # all that it makes share their code
                return kind
    marked = not {"_is_coroutine_marker", "_is_coroutine"}.isdisjoint(getattr(inner, "__dict__", ()))
    if (
        flags & (_COROUTINE | _ITERABLE_COROUTINE) or marked
    ):  # by inspect.markcoroutinefunction, or as it was done before that
        return "coroutine"
    if flags & _ASYNC_GENERATOR:
        return "async generator"
    if flags & _GENERATOR:
        return "generator"
    within = getattr(inner, "__dict__", {}).get("__wrapped__")
    return "sync" if within is None or kind_of(within) not in {"coroutine", "either"} else "either"


def without_partials(function: Any) -> Any:
    """Return what a `functools.partial`, or one of another, is of; anything else as it is."""
    if not hasattr(function, "__code__"):
        from functools import partial

        # Not whatever has a `func`: a mock has one, and that has one.
        while isinstance(function, partial):
            function = function.func
    return function


def look_like(wrapper: Callable[P, R], function: Callable[..., object]) -> Callable[P, R]:
    """Give the wrapper the function's name, documentation, annotations and attributes."""
    source = without_partials(function)  # a partial has no name of its own
    for name in _COPIED:
        try:
            setattr(wrapper, name, getattr(source, name))
        except (AttributeError, TypeError):  # it has none, or is an object that claims to have everything
            continue
    wrapper.__dict__.update(getattr(function, "__dict__", {}))
    for name in ("cache_clear", "cache_info"):  # methods of what functools.lru_cache makes, in no __dict__
        if hasattr(type(function), name):
            setattr(wrapper, name, getattr(function, name))
    wrapper.__dict__["__wrapped__"] = function
    return wrapper


def drop_own_frame(exc: BaseException) -> None:
    """Take the wrapper's own frame out of the traceback of the exception that is being handled."""
    # Neither asked of the exception nor assigned to it: its attributes may fail, a frozen dataclass refuses.
    traceback: Any = sys.exc_info()[2]
    BaseException.with_traceback(exc, traceback.tb_next)


def around(
    function: Callable[P, R],
    begin: Callable[[tuple[Any, ...], dict[str, Any]], T],
    fail: Callable[[T, BaseException], None],
    succeed: Callable[[T, object], None],
    kind: str = "",
) -> Callable[P, R]:
    """Return the function with something before and after each of its calls.

    `begin` gets the arguments; `fail` and `succeed` get what it returned, with the exception or the
    response (None from an async generator and from a context manager, which have none).
    """
    kind = kind or kind_of(function)
    make = _around_sync
    if kind == "coroutine":
        make = _around_coroutine
    elif kind != "sync":
        from lambent.yielding import MAKERS

        make = MAKERS[kind]
    return look_like(make(function, begin, fail, succeed), function)


def _around_sync(call: Any, begin: Any, fail: Any, succeed: Any) -> Any:
    def sync(*args: Any, **kwargs: Any) -> Any:
        state = begin(args, kwargs)
        try:
            response = call(*args, **kwargs)
        except BaseException as exc:
            drop_own_frame(exc)
            fail(state, exc)
            raise
        succeed(state, response)
        return response

    return sync


def _iterable(response: object) -> bool:
    """Whether it is a generator that may be awaited, of a function that `types.coroutine` has made."""
    code = getattr(response, "gi_code", None)
    return code is not None and bool(code.co_flags & _ITERABLE_COROUTINE)


def _around_coroutine(call: Any, begin: Any, fail: Any, succeed: Any) -> Any:
    async def coroutine(*args: Any, **kwargs: Any) -> Any:
        state = begin(args, kwargs)
        try:
            response = call(*args, **kwargs)
            if hasattr(response, "__await__") or _iterable(response):
                response = await response
        except BaseException as exc:
            drop_own_frame(exc)
            fail(state, exc)
            raise
        succeed(state, response)
        return response

    return coroutine
