"""One execution environment: a function's process in its box, from its first init to its end.

Rules
- `start` makes the box and begins the init phase; the first invocation waits for what is left of it, 10 s in
  all.
- An init that failed or took too long is run again inside the first invocation, under the function's timeout.
  So is the init after a reset.
- The invocation's duration runs from handing the event over (or from the second init's start) until the
  response is in.
- After a timeout, a crash or an out-of-memory kill the whole tree is killed; /tmp stays; the next invocation
  inits again. Extensions are told before (see `shutdown`).
- Extensions get the event together with the runtime. The caller has the answer as soon as the runtime gave
  it; the invocation goes on until the runtime and all extensions wait for the next event. Its duration, and
  the function's timeout, cover both. An extension that is not back in time ends the invocation as a timeout,
  and one that fails as an error, but the answer that was given stays given.
- Between invocations, once the runtime and all extensions wait for the next event, the box is frozen. It is
  thawed before an event is handed over, before signals and before its end.
- Init has up to two vCPUs (`init_cpu="boost"`), invocations have memory/1769 of one.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from lambent_lab import aftermath, environ, invocation, loglines, records, xray
from lambent_lab.errors import LabError
from lambent_lab.extensions import Broken
from lambent_lab.initphase import wait_init
from lambent_lab.instance import Instance
from lambent_lab.invocation import Failure, Invocation, Run, Status
from lambent_lab.protocol import Answer, Event, InitFailed, ResponseTooLarge
from lambent_lab.protocol.extensions import InvokeEvent
from lambent_lab.runtime import Ended, Exited, InitDone
from lambent_lab.sandbox import (
    BoxReport,
    Folders,
    forced_kind,
    make_box,
    make_room,
    workspace,
)
from lambent_lab.shutdown import shut_down
from lambent_lab.staging import stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from lambent_lab.function import FunctionSpec
    from lambent_lab.records import Phase
    from lambent_lab.sandbox import Box, Room
    from lambent_lab.staging import Stage

__all__ = ["BoxReport", "Environment", "Invocation"]

INIT_LIMIT_S = 10.0
_SETTLE_S = 0.5  # how long a runtime that reported its failure gets to leave by itself


class Environment:
    """An execution environment of one function. Use it with `async with`, or call `start` and `close`.

    `on_line` gets every line of the log as it appears.
    """

    def __init__(self, spec: FunctionSpec, *, on_line: Callable[[str], None] | None = None) -> None:
        self.spec = spec
        self.log_stream = environ.log_stream()
        self._on_line = on_line
        self._lines: list[str] = []
        self._stage: Stage | None = None
        self._scratch: Path | None = None
        self._box: Box | None = None
        self._room: Room | None = None
        self._instance: Instance | None = None
        self._closing: asyncio.Task[None] | None = None
        self._busy = asyncio.Lock()

    # -- what it is

    @property
    def box(self) -> BoxReport:
        """Which box holds the function, and what it cannot do. Known after `start`."""
        box, room = self._box, self._room
        if box is None or room is None:
            raise LabError("The environment has not been started: call start() first.")
        return BoxReport(
            kind=box.kind,
            freeze=box.freezer.how,
            memory=box.memory.how,
            cpu=box.cpu.how,
            kill=box.tree.how,
            tmp=room.tmp,
            cannot=(*box.cannot, *room.cannot),
        )

    @property
    def warm(self) -> bool:
        """Whether the next invocation finds a process that has served one already."""
        instance = self._instance
        return instance is not None and not instance.gone and not instance.fresh

    @property
    def frozen(self) -> bool:
        """Whether the processes are known to stand still."""
        return self._instance is not None and self._instance.frozen

    # -- life

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Make the box and begin the init phase. LabError when that cannot be done; nothing is left then."""
        try:
            await self._start()
        except BaseException:
            await self.close()
            raise

    async def _start(self) -> None:
        spec, place = self.spec, workspace()
        prepared = self._stage = await asyncio.to_thread(stage, spec)
        self._scratch = Path(tempfile.mkdtemp(prefix="env-", dir=place.folder))
        place.record_mark(self.log_stream)
        self._box = make_box(
            place.unique(),
            memory_mb=spec.memory_mb,
            mark=self.log_stream,
            record=place.record_cgroup,
            kind=forced_kind(),
        )
        place.add(self._box)
        self._room = await make_room(
            Folders(
                python=prepared.interpreter.path,
                home=prepared.home,
                code=prepared.code,
                runtime=prepared.client,
                layer=prepared.layer,
                visible=environ.visible(spec, prepared.interpreter),
                scratch=self._scratch,
            )
        )
        self._instance = Instance(
            spec, prepared, self._box, self._room, stream=self.log_stream, line=self._line
        )
        await self._instance.endpoint.start()
        await self._instance.begin()

    async def wait_frozen(self, timeout_s: float = 5.0) -> bool:
        """Wait until the runtime is idle and everything stands still, and tell whether it does."""
        return self._instance is not None and await self._instance.wait_frozen(timeout_s)

    async def close(self) -> None:
        """Kill everything that runs and remove the box and /tmp. Goes on even if the caller is cancelled."""
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        if self._instance is not None:
            self._instance.held = True
            under_way = self._busy.locked()  # an invocation is not waited for
            with contextlib.suppress(LabError):
                await (self._instance.reset() if under_way else shut_down(self._instance, "SPINDOWN"))
            await self._instance.endpoint.close()
        if self._box is not None:
            try:
                await self._box.close()
            finally:
                workspace().discard(self._box)
        if self._room is not None:
            self._room.close()
        if self._scratch is not None:
            await asyncio.to_thread(shutil.rmtree, self._scratch, ignore_errors=True)
        if self._stage is not None:
            self._stage.release()
            self._stage = None

    # -- invocations

    async def invoke(
        self,
        payload: bytes,
        *,
        trace_header: str | None = None,
        client_context: str | None = None,
        on_answer: Callable[[bytes, str | None], None] | None = None,
    ) -> Invocation:
        """Run the function once and return what came of it. Invocations wait for each other.

        `trace_header` is an X-Ray trace header (one is made if it is missing), `client_context` JSON text.
        `on_answer` is called once, with what the caller gets (the payload and the function error) and as soon
        as that is settled: before extensions are done, and before anything is shut down.
        """
        async with self._busy:
            instance = self._instance
            if self._closing is not None or instance is None:
                raise LabError("The environment is not running: start it, and invoke it before it is closed.")
            run = Run(str(uuid.uuid4()), xray.header(trace_header), self.spec.timeout_s, on_answer)
            instance.held = True
            try:
                return await self._run(instance, run, payload, client_context)
            except asyncio.CancelledError:
                # Whatever the function was doing belongs to nobody now.
                await asyncio.shield(instance.reset())
                raise
            finally:
                instance.held = self._closing is not None
                instance.let_freeze()

    async def _run(
        self, instance: Instance, run: Run, payload: bytes, client_context: str | None
    ) -> Invocation:
        run.cold = instance.fresh
        failure: Failure | None = None
        if instance.conversation is None:
            run.init_inside = True
        elif instance.fresh:
            failure = await self._await_init(instance, run, INIT_LIMIT_S, "init")
            run.init_inside = failure is not None
        elif not await instance.wait_idle(self.spec.timeout_s):
            # It ended after its last response, or does not come back: a new process serves this one.
            await shut_down(instance, "FAILURE")
            run.init_inside = run.cold = True
        run.begin()
        if run.init_inside:
            await instance.begin("invoke")
            failure = await self._await_init(instance, run, self.spec.timeout_s, "invoke")
        self._line(loglines.start(run.request_id))
        if instance.telemetry is not None:
            records.start(instance.telemetry, run)
        answer: Answer | None = None
        late: Failure | None = None
        if failure is None:
            ended = await self._hand_over(instance, run, payload, client_context)
            answer, failure = await self._judge(instance, run, ended)
            late = await aftermath.settle(instance, run)
        else:
            run.answer(failure.body, "Unhandled")
        self._explain(run, late or failure)
        return self._conclude(instance, run, answer, failure, late)

    async def _await_init(self, instance: Instance, run: Run, limit_s: float, phase: Phase) -> Failure | None:
        """Wait for the end of init. On failure the process is gone afterwards, and INIT_REPORT written."""
        ended = await wait_init(instance, limit_s)
        outcome, at = ended or (None, time.perf_counter())
        run.init_ms = (at - instance.init_started) * 1000
        for extension in instance.extensions.states() if instance.extensions is not None else ():
            self._line(loglines.extension(*extension))
            if instance.telemetry is not None:
                records.extension(instance.telemetry, *extension)
        if outcome is None:
            failure = invocation.timeout(run.request_id, limit_s)
        elif isinstance(outcome, InitDone):
            if instance.telemetry is not None:
                records.init_report(instance.telemetry, phase, "success", None, run.init_ms, at)
            instance.usage()  # all that is known, should the process not survive its event
            return None
        elif isinstance(outcome, InitFailed):
            if instance.process is not None:
                await asyncio.wait([instance.process.exited], timeout=_SETTLE_S)
            failure = Failure(error_type=outcome.error_type, body=outcome.body, report_status="error")
        elif isinstance(outcome, Broken):
            failure = invocation.ended(run.request_id, outcome.error_type, outcome.how)
        else:
            failure = aftermath.after_exit(instance, run, outcome.status)
        run.note(instance.usage())
        if phase == "invoke":
            run.end(at)  # what the shutdown takes is not the function's time
        if instance.telemetry is not None:
            ended_as, kind = aftermath.outcome(failure)
            records.init_report(instance.telemetry, phase, ended_as, kind, run.init_ms, at)
        await shut_down(instance, "TIMEOUT" if outcome is None else "FAILURE")
        status = failure.report_status or "error"
        kind = None if status == "timeout" else failure.error_type
        self._line(loglines.init_report(run.init_ms, phase, status, kind))
        return failure

    async def _hand_over(
        self, instance: Instance, run: Run, payload: bytes, client_context: str | None
    ) -> Ended | Broken | None:
        """Thaw, give the event and wait. None: the time is over."""
        conversation = instance.conversation
        assert conversation is not None
        await instance.thaw()
        if instance.fresh:
            instance.box.cpu.limit(instance.share)
        else:
            instance.mark()
        instance.fresh = False
        if not run.init_inside:
            run.begin()
        event = Event(
            request_id=run.request_id,
            payload=payload,
            deadline_ms=run.deadline_ms,
            function_arn=environ.function_arn(self.spec.name),
            trace_header=run.trace_header,
            client_context=client_context or "",
        )
        result = conversation.hand_over(event)
        extensions = instance.extensions
        if extensions is None or not extensions.present:
            done, _ = await asyncio.wait([result], timeout=max(0.0, run.left_s))
            return result.result() if done else None
        extensions.invoke(InvokeEvent(run.request_id, run.deadline_ms, event.function_arn, run.trace_header))
        either: list[asyncio.Future[Any]] = [result, extensions.failed]
        await asyncio.wait(either, timeout=max(0.0, run.left_s), return_when=asyncio.FIRST_COMPLETED)
        if result.done():
            return result.result()
        return extensions.failed.result() if extensions.failed.done() else None

    async def _judge(
        self, instance: Instance, run: Run, ended: Ended | Broken | None
    ) -> tuple[Answer | None, Failure | None]:
        """Give the answer, or what went wrong; a process that must not go on is gone afterwards."""
        run.end(ended.at if ended is not None else None)
        instance.collect_output()
        run.note(instance.usage())
        outcome = ended.outcome if isinstance(ended, Ended) else ended
        if isinstance(outcome, Answer) and outcome.error_type is None:
            run.answer(outcome.body, None)
            aftermath.answered(instance, run, None, len(outcome.body))
            return outcome, None
        if outcome is None:
            failure = invocation.timeout(run.request_id, self.spec.timeout_s)
        elif isinstance(outcome, Exited):
            failure = aftermath.after_exit(instance, run, outcome.status)
        elif isinstance(outcome, Broken):
            failure = invocation.ended(run.request_id, outcome.error_type, outcome.how)
        elif isinstance(outcome, ResponseTooLarge):
            failure = invocation.too_large()
        else:
            failure = Failure(error_type=outcome.error_type or "", body=outcome.body)
        run.answer(failure.body, "Unhandled")
        aftermath.answered(instance, run, failure, len(outcome.body) if isinstance(outcome, Answer) else 0)
        if outcome is None or failure.exit is not None:
            await aftermath.end(instance, run, failure)
        return None, failure

    def _explain(self, run: Run, failure: Failure | None) -> None:
        """Write what Lambda itself says about a failure: the time that was over, or how the process ended."""
        if failure is None:
            return
        if failure.report_status == "timeout":
            self._line(loglines.timed_out(run.request_id, self.spec.timeout_s))
        elif failure.exit is not None:
            self._line(f"RequestId: {run.request_id} Error: {failure.exit}")
            self._line(failure.error_type)

    def _conclude(
        self,
        instance: Instance,
        run: Run,
        answer: Answer | None,
        failure: Failure | None,
        late: Failure | None,
    ) -> Invocation:
        """Write END and REPORT and return the result. `late` is what went wrong after the answer."""
        status: Status = "success"
        reported = late or failure
        aftermath.report(instance, run, reported)
        if reported is not None:
            status = "timeout" if reported.report_status == "timeout" else "error"
        outside = run.outside_init_ms
        billed_ms = invocation.billed(run.duration_ms, outside)
        max_memory_mb = run.max_memory_mb(self.spec.memory_mb)
        self._line(loglines.end(run.request_id))
        self._line(
            loglines.report(
                run.request_id,
                duration_ms=run.duration_ms,
                billed_ms=billed_ms,
                memory_mb=self.spec.memory_mb,
                max_memory_mb=max_memory_mb,
                init_ms=outside,
                status=reported.report_status if reported is not None else None,
                error_type=reported.error_type if reported and reported.report_status == "error" else None,
                trace=xray.report_field(run.trace_header),
            )
        )
        log, self._lines = tuple(self._lines), []
        usage = run.usage
        return Invocation(
            request_id=run.request_id,
            cold=run.cold,
            status=status,
            function_error=None if failure is None else "Unhandled",
            payload=failure.body if failure is not None else (answer.body if answer is not None else b""),
            duration_ms=run.duration_ms,
            init_ms=run.init_ms if run.cold else None,
            billed_ms=billed_ms,
            memory_mb=self.spec.memory_mb,
            max_memory_mb=max_memory_mb,
            cpu_ms=instance.cpu_ms(usage),
            log=log,
            trace_header=run.trace_header,
            started_ns=run.started_ns,
            ended_ns=run.ended_ns,
            response_ms=run.response_ms,
            extension_overhead_ms=run.overhead_ms,
            peak_rss=usage.peak_rss if usage is not None else None,
            peak_with_cache=usage.peak_with_cache if usage is not None else None,
        )

    def _line(self, line: str) -> None:
        self._lines.append(line)
        if self._on_line is not None:
            self._on_line(line)
