"""Tasks that begin inside the call that makes them, not in the event loop's next turn.

An invocation that finds its runtime waiting is handed over while its request is still being read. (Python
3.12 has eager tasks of its own; these are for every Python that the lab runs on.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any, TypeVar

T = TypeVar("T")


def begin(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Make a task that is where `work` waits for the first time. In a task, it begins with the next turn."""
    loop = asyncio.get_running_loop()
    if asyncio.current_task() is not None:
        return loop.create_task(work)
    begun = _Begun(work)
    task = loop.create_task(begun)
    asyncio._enter_task(loop, task)  # noqa: SLF001 - as "Extending" in asyncio's documentation has it
    try:
        begun.take_first_step()
    finally:
        asyncio._leave_task(loop, task)  # noqa: SLF001 - as above
    return task


class _Begun(Coroutine[Any, Any, T]):
    """A coroutine whose first step has been taken. Its task gets to know what came of it when it begins."""

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self._work = work
        self._waits_for: Any = None
        self._ended: BaseException | None = None
        self._told = False

    def take_first_step(self) -> None:
        """Run until the first wait, or the end."""
        try:
            self._waits_for = self._work.send(None)
        except BaseException as end:  # noqa: BLE001 - handed to the task. StopIteration is how work returns
            self._ended = end

    def send(self, value: Any) -> Any:
        """Go on."""
        if self._told:
            return self._work.send(value)
        self._told = True
        if self._ended is not None:
            raise self._ended
        return self._waits_for

    def throw(self, *details: Any) -> Any:
        """Go on with an exception: the task has been cancelled."""
        if not self._told:
            self._told = True
            if isinstance(self._waits_for, asyncio.Future):
                self._waits_for.cancel()
        return self._work.throw(*details)

    def close(self) -> None:
        """Give up."""
        self._work.close()

    def __await__(self) -> Generator[Any, Any, T]:
        return self._work.__await__()
