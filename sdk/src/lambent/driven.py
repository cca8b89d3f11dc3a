"""Coroutine functions as handlers: Lambda calls a function and does not await it. Loaded with the first."""

from __future__ import annotations

import asyncio
from contextvars import copy_context

from lambent.wrapping import look_like

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["driven"]


def driven(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a coroutine function as what Lambda calls: in a loop that lives as long as the process.

    Called where a loop runs already, it is awaited there.
    """
    runners: list[asyncio.Runner] = []

    def handler(event: Any, context: Any = None) -> Any:
        called = function(event, context)
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            if not runners:
                import atexit

                runners.append(asyncio.Runner())
                atexit.register(runners[0].close)
            return runners[0].run(called, context=copy_context())
        return called

    return look_like(handler, function)
