"""The end of a lab that lives as long as its program."""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401  # so that its end is registered before, and comes after
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def at_exit(close: Callable[[], None]) -> None:
    """Close a lab before the interpreter ends the executors that it needs: `atexit` comes after that."""
    register: Any = threading._register_atexit  # type: ignore[attr-defined]  # what concurrent.futures uses
    register(close)
