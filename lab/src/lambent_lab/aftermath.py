"""What comes after the answer: extensions that go on, and the end of processes that must not.

Rules
- The invocation goes on until the runtime and all extensions wait for the next event. What is measured ends
  then, and the function's timeout counts until then.
- An extension that is not back in time makes it a timeout, one that fails an error; both are shut down.
- A runtime that ends after it has answered takes everything with it, but that is no failure.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from lambent_lab import invocation, records
from lambent_lab.sandbox import describe_exit
from lambent_lab.shutdown import shut_down

if TYPE_CHECKING:
    from lambent_lab.instance import Instance
    from lambent_lab.invocation import Failure, Run
    from lambent_lab.records import Outcome


def outcome(failure: Failure | None) -> tuple[Outcome, str | None]:
    """Return how the Telemetry API puts the end of a phase: the status, and the error type if any."""
    if failure is None:
        return "success", None
    if failure.report_status == "timeout":
        return "timeout", None
    return ("failure" if failure.report_status == "error" else "error"), failure.error_type


def answered(instance: Instance, run: Run, failure: Failure | None) -> None:
    """Tell the Telemetry API's subscribers how the runtime's part of an invocation ended."""
    if instance.telemetry is not None:
        records.runtime_done(instance.telemetry, run, *outcome(failure))


def report(instance: Instance, run: Run, failure: Failure | None) -> None:
    """Tell the Telemetry API's subscribers how the whole invocation ended, as long as they can hear it."""
    if instance.telemetry is not None:
        records.report(instance.telemetry, run, *outcome(failure), instance.memory_mb)


def after_exit(instance: Instance, run: Run, status: int) -> Failure:
    """Return what the end of the runtime's process is: out of memory, or an exit."""
    usage = instance.usage()
    run.note(usage)
    run.process_gone = True
    run.out_of_memory = instance.ran_out_of_memory(usage)
    kind = "Runtime.OutOfMemory" if run.out_of_memory else "Runtime.ExitError"
    return invocation.ended(run.request_id, kind, describe_exit(status))


async def settle(instance: Instance, run: Run) -> Failure | None:
    """Wait until runtime and extensions are done; return what went wrong with them."""
    extensions = instance.extensions
    if extensions is None or not extensions.present:
        return None
    idle = await instance.wait_idle(run.left_s)
    run.extend(time.perf_counter())
    instance.collect_output()
    run.note(instance.usage())
    if idle:
        return None
    if extensions.failed.done():
        broken = extensions.failed.result()
        failure = invocation.ended(run.request_id, broken.error_type, broken.how)
    elif instance.gone:
        await shut_down(instance, "FAILURE")
        return None
    else:
        failure = invocation.timeout(run.request_id, run.timeout_s)
    await end(instance, run, failure)
    return failure


async def end(instance: Instance, run: Run, failure: Failure) -> None:
    """Shut everything down after a timeout or a failure."""
    report(instance, run, failure)
    await shut_down(instance, "TIMEOUT" if failure.report_status == "timeout" else "FAILURE")
