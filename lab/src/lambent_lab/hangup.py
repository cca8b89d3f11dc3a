"""Runtimes that have hung up: they live, and will never ask for an event again.

A function that closes every file descriptor takes the runtime client's from it, which then waits for ever for
what it cannot hear. Nobody can know that for certain, so all of these must hold, and for a while: the first
process sleeps and has nothing open but its standard streams, none of them a socket; no other is in its box;
nobody is connected to the Runtime API; no CPU time is used.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lambent_lab.sandbox.signals import state

if TYPE_CHECKING:
    from lambent_lab.instance import Instance

LOOK_S = 0.1
LOOKS = 10
"""So many looks in a row must find the same."""


async def comes_back(instance: Instance, timeout_s: float) -> bool:
    """Wait until the runtime and every extension wait for an event; tell whether they do, and will."""
    if instance.conversation is None or instance.conversation.ready:
        return await instance.wait_idle(timeout_s)
    idle = asyncio.create_task(instance.wait_idle(timeout_s))
    watch = asyncio.create_task(_hung_up(instance))
    try:
        await asyncio.wait([idle, watch], return_when=asyncio.FIRST_COMPLETED)
        return idle.done() and idle.result()
    finally:
        for task in (idle, watch):
            task.cancel()


async def _hung_up(instance: Instance) -> None:
    """Return when the runtime has hung up."""
    looks, used = 0, -1
    while looks < LOOKS:
        await asyncio.sleep(LOOK_S)
        before, used = used, instance.box.cpu.used_ns() or 0
        silent = before == used and not instance.endpoint.connections and _is_deaf(instance)
        looks = looks + 1 if silent else 0


def _is_deaf(instance: Instance) -> bool:
    process = instance.process
    if process is None or state(process.pid) != "S" or instance.box.others(process.pid):
        return False
    with suppress(OSError):  # it has ended, or is none of ours to look at
        entries = list(Path(f"/proc/{process.pid}/fd").iterdir())
        return all(
            entry.name in {"0", "1", "2"} and not str(entry.readlink()).startswith("socket:")
            for entry in entries
        )
    return False
