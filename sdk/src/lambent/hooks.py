"""What to do when a library is imported: the one import hook of lambent's.

A finder stands on `sys.meta_path` while somebody waits for a module, and not otherwise; for every other
module it costs one dictionary lookup. It finds nothing itself: it asks the finders behind it, and has the
loader that they found run the callbacks after the module's code, under no lock but the module's own, so that
no thread sees the library without them. The module, its spec and its loader are those of an import without a
hook. Each callback runs once; an import that fails leaves it waiting. There is no lock to be caught by a
fork: whoever takes a callback off its list runs it.
"""

from __future__ import annotations

import sys
from _frozen_importlib import _lock_unlock_module  # type: ignore[attr-defined]  # it is there

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any, TypeAlias

    Callback: TypeAlias = Callable[[ModuleType], object]

__all__ = ["forget", "when_imported"]

_waiting: dict[str, list[Callback]] = {}
_executing: set[str] = set()
"""Modules that are on their way, and will run what waits for them at the end: what they import may ask."""


def when_imported(name: str, callback: Callback) -> None:
    """Call `callback(module)` once the module has been executed: now if it has, else when it is imported.

    What the callback raises is said once and goes no further. An import of the module that another thread
    is making is waited for.
    """
    waiting = _waiting.setdefault(name, [])
    waiting.append(callback)
    _place()
    # An import under way may have passed the finder before: it is over when its lock is free. Whoever
    # finishes one after this either finds the callback, or has left the module here.
    _lock_unlock_module(name)
    module = sys.modules.get(name)
    if module is not None and name not in _executing:
        _run(name, waiting, module)


def forget(name: str, callback: Callback) -> None:
    """Have a callback wait no longer; nothing happens to one that has run."""
    waiting = _waiting.get(name, [])
    if callback in waiting:
        waiting.remove(callback)
    if not waiting:
        _waiting.pop(name, None)
    _place()


def _run(name: str, waiting: list[Callback], module: ModuleType) -> None:
    while waiting:
        try:
            callback = waiting.pop(0)
        except IndexError:  # another thread took the last one
            break
        try:
            callback(module)
        except Exception as error:  # noqa: BLE001  # an import must not fail because tracing does
            from lambent.diagnostics import say_once

            say_once(f"hook {name}", f"{name} is not traced ({type(error).__name__}: {error})")
    if _waiting.get(name) is waiting:
        _waiting.pop(name, None)
    _place()


def _place() -> None:
    """Stand on the import path while somebody waits; two threads may both have changed that."""
    while bool(_waiting) is not (_finder in sys.meta_path):
        if _waiting:
            sys.meta_path.insert(0, _finder)
            continue
        try:
            sys.meta_path.remove(_finder)
        except ValueError:  # the other thread was faster
            return


class _Finder:
    def find_spec(self, name: str, path: object = None, target: object = None) -> Any:
        if name not in _waiting:
            return None
        for finder in list(sys.meta_path):
            find: Any = None if finder is self else getattr(finder, "find_spec", None)
            spec = find and find(name, path, target)
            if spec is not None:
                if spec.loader is None and spec.submodule_search_locations is not None:
                    spec.loader = _namespace(spec)
                # A lazy loader executes nothing yet: what it will ask to is what counts.
                holder = spec.loader if type(spec.loader).__name__ == "LazyLoader" else spec
                if hasattr(holder.loader, "exec_module"):
                    holder.loader = _Loader(holder.loader)
                return spec
        return None


_finder: Any = _Finder()


def _namespace(spec: Any) -> Any:
    """Return the loader that the import system gives a package without a file of its own, a little later."""
    from importlib.machinery import NamespaceLoader

    loader: Any = NamespaceLoader.__new__(NamespaceLoader)
    loader._path = spec.submodule_search_locations
    return loader


class _Loader:
    """Stands before a module's loader until the module is executed, and passes for it meanwhile."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    @property  # type: ignore[misc]  # `object` lets it be set
    def __class__(self) -> Any:
        return type(self._loader)

    def exec_module(self, module: Any) -> None:
        loader = self._loader
        # Before the module runs: it, and whoever asks it for its source or files, meets the loader itself.
        if module.__spec__.loader is self:
            module.__spec__.loader = loader
        if getattr(module, "__loader__", None) is self:
            module.__loader__ = loader
        if module.__spec__.origin is None and hasattr(loader, "_path"):
            module.__file__ = None  # as the import system leaves it for a namespace
        name = module.__spec__.name
        _executing.add(name)
        try:
            loader.exec_module(module)
        except BaseException as exc:
            if exc.__traceback__ is not None:
                # The import system leaves its own frames out of a traceback, and so does this one.
                BaseException.with_traceback(exc, exc.__traceback__.tb_next)
            raise
        finally:
            _executing.discard(name)
        _run(name, _waiting.get(name, []), sys.modules.get(name, module))
