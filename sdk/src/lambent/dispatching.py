"""What the decorators make of `functools.singledispatch` and `singledispatchmethod`.

The generic function stays one: it dispatches as it did, and takes further implementations by `register`.
Each call has one span, under the generic function's name, around the implementation that is called: that
may be a coroutine function or a generator where the others are none, and name its arguments as it likes.
Loaded when one is decorated.
"""

from __future__ import annotations

from functools import singledispatch

from lambent.wrapping import look_like

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from lambent.decorators import Tracing

__all__ = ["is_generic", "trace_generic", "trace_generic_method"]

_CODE = singledispatch(look_like).__code__  # type: ignore[attr-defined]  # all that it makes share their code


def is_generic(function: Any) -> bool:
    """Whether `functools.singledispatch` has made the function."""
    return getattr(function, "__code__", None) is _CODE


class _Traced:
    """The dispatcher of a generic method, whose implementations are traced ones."""

    def __init__(self, generic: Any, tracing: Tracing) -> None:
        self._generic = generic
        self._tracing = tracing
        # By identity, and with the key kept: an implementation need not be hashable.
        self._made: dict[int, tuple[Any, Any]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._generic, name)

    def dispatch(self, cls: type) -> Any:
        """Return the traced implementation for a class."""
        found = self._generic.dispatch(cls)
        made = self._made.get(id(found))
        if made is None:
            # Another callable is no method: it is called without the object.
            traced: Any = self._tracing(found if hasattr(found, "__get__") else staticmethod(found))
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
