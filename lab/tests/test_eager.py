"""Tasks that begin at once."""

from __future__ import annotations

import asyncio

import pytest

from lambent_lab import eager


async def outside(work: object) -> asyncio.Task[object]:
    """Begin a task as a callback of the event loop does, not from within a task."""
    loop = asyncio.get_running_loop()
    made = loop.create_future()
    loop.call_soon(lambda: made.set_result(eager.begin(work)))  # type: ignore[arg-type]
    task: asyncio.Task[object] = await made
    return task


async def test_work_has_begun_when_the_call_returns() -> None:
    loop = asyncio.get_running_loop()
    seen: list[str] = []
    done = loop.create_future()

    async def work() -> str:
        seen.append("begun")
        seen.append(await gate)
        return "result"

    def call() -> None:
        task = eager.begin(work())
        seen.append("returned")
        task.add_done_callback(lambda ended: done.set_result(ended.result()))

    gate = loop.create_future()
    loop.call_soon(call)
    loop.call_soon(gate.set_result, "went on")
    assert await done == "result"
    assert seen == ["begun", "returned", "went on"]


async def test_results_and_errors_are_the_tasks() -> None:
    async def returns() -> int:
        return 7

    async def raises() -> None:
        raise ValueError("no")

    assert await (await outside(returns())) == 7
    with pytest.raises(ValueError, match="no"):
        await (await outside(raises()))


async def test_the_first_step_is_in_the_task() -> None:
    async def work() -> bool:
        first = asyncio.current_task()
        async with asyncio.timeout(10):
            await asyncio.sleep(0)
        return first is asyncio.current_task() and first is not None

    assert await (await outside(work()))


async def test_a_timeout_in_the_first_step_works() -> None:
    async def work() -> None:
        async with asyncio.timeout(0.01):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await (await outside(work()))


async def test_cancelling_before_the_second_step_reaches_the_work() -> None:
    loop = asyncio.get_running_loop()
    seen: list[str] = []
    inner = loop.create_future()
    made = loop.create_future()

    async def work() -> None:
        try:
            await inner
        except asyncio.CancelledError:
            seen.append("cancelled")
            await asyncio.sleep(0)
            seen.append("tidied up")
            raise

    def call() -> None:
        task = eager.begin(work())
        task.cancel()
        made.set_result(task)

    loop.call_soon(call)
    task = await made
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["cancelled", "tidied up"]
    assert inner.cancelled()


async def test_in_a_task_it_is_an_ordinary_task() -> None:
    seen: list[str] = []

    async def work() -> None:
        seen.append("begun")

    task = eager.begin(work())
    assert seen == []
    await task
    assert seen == ["begun"]
