"""What a forked child lets go of before it imports anything. Loaded in children only.

A thread that was importing a module when its process forked is not in the child, but its lock on that module
is: whoever needs the module there would wait for ever. Python leaves it so; exports load what they need in
threads, so a fork may well come between.
"""

from __future__ import annotations

import _frozen_importlib
from _thread import get_ident
from sys import modules

__all__ = ["free_imports"]


def free_imports() -> None:
    """Forget the imports of threads that are not here: who wants such a module begins anew."""
    me = get_ident()
    # No public name: a Python that keeps them elsewhere is left as it is.
    locks = getattr(_frozen_importlib, "_module_locks", {})
    for name, reference in list(locks.items()):
        lock = reference()
        if getattr(lock, "owner", None) not in (None, me):
            locks.pop(name, None)
            if getattr(getattr(modules.get(name), "__spec__", None), "_initializing", False):
                modules.pop(name, None)
