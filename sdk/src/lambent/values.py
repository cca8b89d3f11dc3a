"""Values of any kind as attributes, and the arguments of a call by their names. Pure.

A mapping's entries and a sequence's items become attributes of their own, `name.key` and `name.0`; what is
empty or None is left out; what lies too deep, or is too much, is one JSON text.
"""

from __future__ import annotations

from collections.abc import Mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["arguments_of", "as_text", "flatten"]

_SCALARS = (str, bool, int, float, bytes)
_LISTS = (list, tuple, set, frozenset)
_DEEPEST, _MOST = 8, 64


def flatten(into: dict[str, object], name: str, value: object, depth: int = 0) -> None:
    """Put a value under a name, a mapping's and a sequence's parts under names of their own."""
    if value is None:
        return
    if isinstance(value, _SCALARS):
        into[name] = value
    elif depth < _DEEPEST and isinstance(value, Mapping) and len(value) <= _MOST:
        for key, part in list(value.items()):
            flatten(into, f"{name}.{key if isinstance(key, str) else as_text(key)}", part, depth + 1)
    elif depth < _DEEPEST and isinstance(value, _LISTS) and len(value) <= _MOST:
        for number, part in enumerate(value):
            flatten(into, f"{name}.{number}", part, depth + 1)
    else:
        into[name] = as_text(value)


def as_text(value: object) -> str:
    """Return a value as JSON where it is made of lists and mappings, else as its own text. Never raises."""
    if isinstance(value, str):
        return value
    try:
        if isinstance(value, (dict, list, tuple)):
            from json import dumps

            return dumps(value, default=as_text, ensure_ascii=False)
    except Exception:  # noqa: BLE001, S110  # keys that are no text, a list that holds itself
        pass
    try:
        return str(value)
    except Exception:  # noqa: BLE001  # user code: anything may happen in it
        return f"<{type(value).__name__}>"


def arguments_of(function: Any) -> Callable[[tuple[Any, ...], dict[str, Any]], dict[str, Any]]:
    """Return what turns the arguments of a call into a mapping by the names of the function's parameters.

    Defaults are among them, the object that a method is bound to is not.
    """
    from functools import partial

    bound: tuple[Any, ...] = ()
    named: dict[str, Any] = {}
    while isinstance(function, partial):
        bound, named = (*function.args, *bound), {**function.keywords, **named}
        function = function.func
    for _ in range(_MOST):  # some objects claim to have everything, and that to have it, too
        function = getattr(function, "__wrapped__", function)
    is_method = not hasattr(function, "__code__") or hasattr(function, "__self__")
    if is_method:
        function = getattr(function, "__func__", None) or type(function).__call__
    code = getattr(function, "__code__", None)
    if type(code) is not type(arguments_of.__code__):
        code = function = None
    names: tuple[str, ...] = code.co_varnames[: code.co_argcount] if code is not None else ()
    starred = "args"
    if code is not None and code.co_flags & 4:
        starred = code.co_varnames[code.co_argcount + code.co_kwonlyargcount]
    defaults = dict(
        zip(reversed(names), reversed(getattr(function, "__defaults__", None) or ()), strict=False)
    )
    defaults.update(getattr(function, "__kwdefaults__", None) or {})
    hidden = names[0] if names and names[0] in {"self", "cls"} and not is_method else ""
    names = names[is_method:]

    def read(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        args = bound + args
        values = {**defaults, **dict(zip(names, args, strict=False)), **named, **kwargs}
        if len(args) > len(names):
            values[starred] = args[len(names) :]
        values.pop(hidden, None)
        return values

    return read
