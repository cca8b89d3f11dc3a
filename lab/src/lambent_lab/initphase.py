"""The end of an init phase and of a restore: whose word counts, and whose failure it is.

Rules
- External extensions are started first, and the runtime when all of them have registered.
- Init is over when the runtime and every extension that has registered wait for their first event. A runtime
  under SnapStart may wait to be restored instead.
- The first failure ends it: the runtime's own, its end, or that of an extension.
- It may take 10 s. With provisioned concurrency, SnapStart and on managed instances it runs ahead of the
  invocations, and may take 130 s or the function's timeout, whichever is longer.
- A restore may take 10 s. The runtime's hooks run in it; it ends when the runtime asks for its first event.
- After a failure everything is shut down. The next invocation runs init again.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lambent_lab import aftermath, invocation
from lambent_lab.errors import LabError
from lambent_lab.extensions import Broken
from lambent_lab.invocation import Failure
from lambent_lab.protocol import InitFailed, RestoreFailed
from lambent_lab.runtime import Conversation, InitDone, NotStarted, Restored
from lambent_lab.shutdown import shut_down

if TYPE_CHECKING:
    from lambent_lab.aftermath import Remains
    from lambent_lab.function import FunctionSpec
    from lambent_lab.instance import Instance
    from lambent_lab.journal import Journal
    from lambent_lab.records import Phase
    from lambent_lab.runtime import Exited

INIT_LIMIT_S = 10.0
AHEAD_LIMIT_S = 130.0
RESTORE_LIMIT_S = 10.0
_SETTLE_S = 0.5  # how long a runtime that reported its failure gets to leave by itself


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseResult:
    """How a phase ended: the failure if there was one, how long it took, and when it was over.

    `after` is when, within it, the runtime began to run again: for a restore.
    """

    failure: Failure | None
    took_ms: float
    at: float
    remains: Remains | None = None
    after: float = 0.0


def runs_ahead(spec: FunctionSpec) -> bool:
    """Tell whether a function's init runs before there is an invocation."""
    return spec.initialization != "on-demand" or spec.max_concurrency is not None


def init_limit_s(spec: FunctionSpec) -> float:
    """Return how long an init phase may take that is not part of an invocation."""
    return max(AHEAD_LIMIT_S, spec.timeout_s) if runs_ahead(spec) else INIT_LIMIT_S


async def finish_init(
    instance: Instance, journal: Journal, request_id: str, limit_s: float, phase: Phase
) -> PhaseResult:
    """Wait for the end of init. On failure the process is gone afterwards.

    Raises LabError when the runtime cannot be started.
    """
    ended = await _wait_init(instance, limit_s)
    outcome, at = ended or (None, time.perf_counter())
    took_ms = (at - instance.init_started) * 1000
    for extension in instance.extensions.states() if instance.extensions is not None else ():
        journal.extension(*extension)
    if isinstance(outcome, InitDone):
        journal.init_report(phase, "success", None, took_ms, at)
        instance.usage()  # all that is known, should the process not survive its event
        return PhaseResult(failure=None, took_ms=took_ms, at=at)
    remains = None
    if outcome is None:
        failure = invocation.timeout(request_id, limit_s)
    elif isinstance(outcome, InitFailed):
        if instance.process is not None:
            await asyncio.wait([instance.process.exited], timeout=_SETTLE_S)
        failure = Failure(error_type=outcome.error_type, body=outcome.body, report_status="error")
    elif isinstance(outcome, Broken):
        failure, remains = aftermath.after_break(instance, request_id, outcome)
    elif isinstance(outcome, NotStarted):
        failure = invocation.ended(request_id, outcome.error_type, outcome.how)
    else:
        failure, remains = aftermath.after_exit(instance, request_id, outcome.status)
    remains = remains or aftermath.remains(instance)
    journal.init_report(phase, *aftermath.outcome(failure), took_ms, at)
    await shut_down(instance, "TIMEOUT" if outcome is None else "FAILURE")
    return PhaseResult(failure=failure, took_ms=took_ms, at=at, remains=remains)


async def init_ahead(
    instance: Instance, journal: Journal, spec: FunctionSpec, request_id: str | None = None
) -> PhaseResult:
    """Wait for the end of an init that runs ahead of the invocations, and leave its result for them."""
    limit_s = init_limit_s(spec)
    result = await finish_init(instance, journal, request_id or str(uuid.uuid4()), limit_s, "init")
    instance.initialized = result
    return result


async def restore(instance: Instance, journal: Journal, request_id: str) -> PhaseResult:
    """Let what was frozen after init go on. On failure the process is gone afterwards."""
    conversation, extensions = instance.conversation, instance.extensions
    assert conversation is not None
    assert extensions is not None
    began = time.perf_counter()
    journal.restore_start(*instance.runtime_version)
    await instance.thaw()
    runs = at = time.perf_counter()
    failure: Failure | None = None
    remains = None
    if isinstance(conversation, Conversation) and conversation.in_snapshot:
        restored = conversation.restore()
        either: list[asyncio.Future[Any]] = [restored, extensions.failed]
        left = max(0.0, began + RESTORE_LIMIT_S - runs)
        await asyncio.wait(either, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        outcome, at = restored.result() if restored.done() else (None, time.perf_counter())
        if isinstance(outcome, RestoreFailed):
            if instance.process is not None:
                await asyncio.wait([instance.process.exited], timeout=_SETTLE_S)
            failure = Failure(error_type=outcome.error_type, body=outcome.body, report_status="error")
        elif outcome is None and extensions.failed.done():
            failure, remains = aftermath.after_break(instance, request_id, extensions.failed.result())
        elif outcome is None:
            failure = invocation.timeout(request_id, RESTORE_LIMIT_S)
        elif not isinstance(outcome, Restored):
            failure, remains = aftermath.after_exit(instance, request_id, outcome.status)
    took_ms = (at - began) * 1000
    journal.restored(*aftermath.outcome(failure), took_ms, at)
    if failure is not None:
        remains = remains or aftermath.remains(instance)
        await shut_down(instance, "TIMEOUT" if failure.report_status == "timeout" else "FAILURE")
    return PhaseResult(failure=failure, took_ms=took_ms, at=at, remains=remains, after=runs)


async def _wait_init(
    instance: Instance, limit_s: float
) -> tuple[InitDone | InitFailed | Exited | NotStarted | Broken, float] | None:
    """Wait for the end of init, `limit_s` from its start; return what ended it, None if the limit did."""
    conversation, extensions = instance.conversation, instance.extensions
    assert conversation is not None
    assert extensions is not None

    async def either(future: asyncio.Future[Any]) -> bool:
        left = instance.init_started + limit_s - time.perf_counter()
        done, _ = await asyncio.wait(
            [future, extensions.failed], timeout=max(0.0, left), return_when=asyncio.FIRST_COMPLETED
        )
        return bool(done)

    if instance.launching is not None:
        if not await either(instance.launching):
            return None
        if not extensions.failed.done():
            try:
                instance.launching.result()
            except LabError:
                await instance.reset()
                raise
    if not await either(conversation.init):
        return None
    if extensions.failed.done():
        broken = extensions.failed.result()
        return broken, broken.at
    outcome, at = conversation.init.result()
    if not isinstance(outcome, InitDone) or extensions.idle:
        return outcome, at
    if not await extensions.wait_idle(instance.init_started + limit_s - time.perf_counter()):
        if not extensions.failed.done():
            return None
        broken = extensions.failed.result()
        return broken, broken.at
    return outcome, time.perf_counter()
