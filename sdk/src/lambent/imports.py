"""Imports that are under way. Loaded with the first library that is instrumented.

An instrumentor needs much of the standard library, and packages of its own. Where the import of one of these
led to the library, as that of `subprocess` leads to `threading`, it is half of a module still: to import the
instrumentor then would fail, and may leave others broken. The import system says on a module's spec that it
is done, and nowhere else; so that is where we wait.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["when_whole"]

_NEEDED = sys.stdlib_module_names | {
    "importlib_metadata", "openinference", "opentelemetry", "packaging", "typing_extensions", "wrapt", "zipp",
}  # fmt: skip
_waiting: dict[int, list[Callable[[], object]]] = {}


class _UnderWay(ModuleSpec):
    """The spec of a module that is being executed: it notices the end of that."""

    @property
    def _initializing(self) -> bool:
        return True

    @_initializing.setter
    def _initializing(self, _value: bool) -> None:
        self.__class__ = ModuleSpec  # type: ignore[assignment]  # as it was
        self._initializing = False
        parent, _, child = self.name.rpartition(".")
        if parent in sys.modules and self.name in sys.modules:  # what the import system does next
            setattr(sys.modules[parent], child, sys.modules[self.name])
        for callback in _waiting.pop(id(self)):
            callback()


def when_whole(library: str, callback: Callable[[], object]) -> bool:
    """Call it when the outermost import that led to the library is over; False where that is not needed."""
    for name, module in list(sys.modules.items()):
        if name == library or name.partition(".")[0] not in _NEEDED:
            continue
        try:  # not by `vars`: to ask a lazy module for anything executes it
            spec: Any = object.__getattribute__(module, "__dict__").get("__spec__")
        except AttributeError:
            continue
        if type(spec) in {ModuleSpec, _UnderWay} and getattr(spec, "_initializing", False):
            _waiting.setdefault(id(spec), []).append(callback)
            spec.__class__ = _UnderWay
            return True
    return False
