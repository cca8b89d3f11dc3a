"""What comes after the answer: extensions that go on, and the end of processes that must not.

Rules
- The invocation goes on until the runtime and all extensions wait for the next event. What is measured ends
  then, and the function's timeout counts until then.
- An extension that is not back in time makes it a timeout, one that fails an error; both are shut down.
- A runtime that ends after it has answered takes everything with it, but that is no failure.
- A process that the memory limit killed is out of memory if it was the runtime, and a crash if it was an
  extension.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lambent_lab import invocation
from lambent_lab.sandbox import describe_exit
from lambent_lab.shutdown import shut_down

if TYPE_CHECKING:
    from lambent_lab.extensions import Broken, Extensions
    from lambent_lab.instance import Instance
    from lambent_lab.invocation import Failure, Run
    from lambent_lab.journal import Journal
    from lambent_lab.records import Outcome
    from lambent_lab.sandbox import Usage


@dataclass(frozen=True, slots=True)
class Remains:
    """What was measured of processes that have ended or will: their usage, and whether memory was the end."""

    usage: Usage | None
    process_gone: bool = False
    out_of_memory: bool = False


def outcome(failure: Failure | None) -> tuple[Outcome, str | None]:
    """Return how the Telemetry API puts the end of a phase: the status, and the error type if any."""
    if failure is None:
        return "success", None
    if failure.report_status == "timeout":
        return "timeout", None
    return ("failure" if failure.report_status == "error" else "error"), failure.error_type


def remains(instance: Instance) -> Remains:
    """Return what has been used until now."""
    return Remains(instance.usage())


def after_exit(instance: Instance, request_id: str, status: int) -> tuple[Failure, Remains]:
    """Return what the end of the runtime's process is: out of memory, or an exit."""
    usage = instance.usage()
    out_of_memory = instance.ran_out_of_memory(usage) and status != 0
    kind = "Runtime.OutOfMemory" if out_of_memory else "Runtime.ExitError"
    failure = invocation.ended(request_id, kind, describe_exit(status))
    return failure, Remains(usage, process_gone=True, out_of_memory=out_of_memory)


def after_break(instance: Instance, request_id: str, broken: Broken) -> tuple[Failure, Remains]:
    """Return what the failure of an extension is, whatever killed it."""
    usage = instance.usage()
    failure = invocation.ended(request_id, broken.error_type, broken.how)
    return failure, Remains(usage, process_gone=instance.ran_out_of_memory(usage))


async def settle(instance: Instance, journal: Journal, run: Run) -> Failure | None:
    """Wait until runtime and extensions are done; return what went wrong with them."""
    extensions = instance.extensions
    if extensions is None or not extensions.present:
        return None
    idle = await _idle(instance, extensions, run.left_s)
    run.extend(time.perf_counter())
    instance.collect_output()
    run.note(instance.usage())
    if idle:
        return None
    if extensions.failed.done():
        failure, _ = after_break(instance, run.request_id, extensions.failed.result())
    elif instance.gone:
        await shut_down(instance, "FAILURE")
        return None
    else:
        failure = invocation.timeout(run.request_id, run.timeout_s)
    await end(instance, journal, run, failure)
    return failure


async def _idle(instance: Instance, extensions: Extensions, left_s: float) -> bool:
    """Wait until all are idle. Nobody waits for extensions when the runtime has ended: they end with it."""
    process = instance.process
    if process is None or extensions.idle:
        return await instance.wait_idle(left_s)

    def end(_: asyncio.Future[int]) -> None:
        extensions.abandon()

    process.exited.add_done_callback(end)
    try:
        return await instance.wait_idle(left_s)
    finally:
        process.exited.remove_done_callback(end)


async def fail(instance: Instance) -> None:
    """Shut down what several invocations ran in, once for all of them."""
    if instance.failing is None:
        instance.failing = asyncio.get_running_loop().create_task(shut_down(instance, "FAILURE"))
    await asyncio.shield(instance.failing)


async def end(instance: Instance, journal: Journal, run: Run, failure: Failure) -> None:
    """Shut everything down after a timeout or a failure; subscribers hear the report before."""
    journal.report(run, *outcome(failure))
    await shut_down(instance, "TIMEOUT" if failure.report_status == "timeout" else "FAILURE")
