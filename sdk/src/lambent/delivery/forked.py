"""What a forked child lets go of before it imports anything. Loaded in children only.

A thread that was importing a module when its process forked is not in the child, but its lock on that module
is: whoever needs the module there would wait for ever. Python leaves it so; exports load what they need in
threads, so a fork may well come between.
"""

from __future__ import annotations

from _frozen_importlib import _module_locks  # type: ignore[attr-defined]  # where it keeps them; no public name
from _thread import get_ident
from sys import modules

__all__ = ["free_imports"]


def free_imports() -> None:
    """Forget the imports of threads that are not here: who wants such a module begins anew."""
    me = get_ident()
    for name, reference in list(_module_locks.items()):
        lock = reference()
        if lock is not None and lock.owner not in (None, me):
            _module_locks.pop(name, None)
            if getattr(getattr(modules.get(name), "__spec__", None), "_initializing", False):
                modules.pop(name, None)
