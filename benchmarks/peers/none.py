"""The baseline: the same function with no tracing at all."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Handler = Callable[[object, object], object]


def start(function: Handler) -> Handler:
    """Nothing to import, nothing to wrap."""
    return function


def spans(count: int) -> None:
    """The bare loop, whose cost every tool's loop includes."""
    for _ in range(count):
        pass


def children() -> None:
    """No spans."""


def flush() -> None:
    """Nothing to deliver."""


def recording() -> bool:
    """Nothing is recorded, and nothing is claimed to be."""
    return True
