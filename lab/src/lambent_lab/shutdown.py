"""The end of what runs in an environment, as Lambda times it.

Rules
- Without extensions everything is killed: no SIGTERM.
- At a planned end (SPINDOWN) with internal extensions only there are 500 ms in all: the runtime gets SIGTERM
  and 300 ms to leave, then SIGKILL. With external ones there are 2000 ms in all: the runtime gets SIGTERM and
  500 ms of them, then SIGKILL.
- After a timeout (TIMEOUT) or a failure (FAILURE) the runtime is killed at once.
- Then subscribers of the Telemetry API get what there is for them, and external extensions that registered
  for it get SHUTDOWN, with the end of the budget as their deadline; the others are killed at once. Whatever
  is left at the deadline is killed. Nobody waits for those who have left.
- Everything runs (is thawed) before it is sent a signal.

AWS documents the budgets. How much of them is the runtime's it does not say: 300 and 500 ms are the lab's
reading.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from lambent_lab.protocol.extensions import ShutdownEvent
from lambent_lab.telemetry import FLUSH_S

if TYPE_CHECKING:
    from lambent_lab.extensions import Extensions
    from lambent_lab.instance import Instance
    from lambent_lab.protocol.extensions import ShutdownReason
    from lambent_lab.sandbox import Process

INTERNAL_S, INTERNAL_RUNTIME_S = 0.5, 0.3
EXTERNAL_S, EXTERNAL_RUNTIME_S = 2.0, 0.5
_KILLED_S = 1.0  # how long a killed process may take to be gone before the whole box is killed


async def shut_down(instance: Instance, reason: ShutdownReason) -> None:
    """End everything that runs in the environment. /tmp stays. Raises LabError when something survives."""
    extensions = instance.extensions
    if extensions is not None and extensions.api.registered:
        external = any(extension.external for extension in extensions.api.registered)
        if external or reason == "SPINDOWN":
            await instance.thaw()
            budget, part = (EXTERNAL_S, EXTERNAL_RUNTIME_S) if external else (INTERNAL_S, INTERNAL_RUNTIME_S)
            until = time.perf_counter() + budget
            if instance.process is not None:
                await _end_runtime(instance.process, part if reason == "SPINDOWN" else 0.0)
            if instance.telemetry is not None:
                await instance.telemetry.flush(min(FLUSH_S, (until - time.perf_counter()) / 2))
            await _end_extensions(extensions, reason, until)
    await instance.reset()


async def _end_runtime(process: Process, grace_s: float) -> None:
    """Let the runtime leave by itself, if it has time for that, and kill it."""
    if grace_s and not process.exited.done():
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)
        await asyncio.wait([process.exited], timeout=grace_s)
    _kill(process)
    await asyncio.wait([process.exited], timeout=_KILLED_S)


async def _end_extensions(extensions: Extensions, reason: ShutdownReason, until: float) -> None:
    """Tell the external extensions and wait for them to leave."""
    left = until - time.perf_counter()
    extensions.shut_down(ShutdownEvent(reason, round((time.time() + left) * 1000)))
    told = {extension.name for extension in extensions.api.told_of_shutdown}
    waiting = []
    for name, process in extensions.processes.items():
        if name not in told:
            _kill(process)
        else:
            waiting.append(process.exited)
    if waiting:
        await asyncio.wait(waiting, timeout=max(0.0, left))


def _kill(process: Process) -> None:
    """Kill a process and its group. Until its end was collected, its number is nobody else's."""
    if not process.exited.done():
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
