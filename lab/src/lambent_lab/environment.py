"""One execution environment: a function's process in its box, from its first init to its end.

Rules
- `start` makes the box and begins the init phase; the first invocation waits for what is left of it, 10 s in
  all.
- An init that failed or took too long is run again inside the first invocation, under the function's timeout.
  So is the init after a reset.
- The invocation's duration runs from handing the event over (or from the second init's start) until the
  response is in.
- After a timeout, a crash or an out-of-memory kill the whole tree is killed; /tmp stays; the next invocation
  inits again.
- Between invocations, once the runtime waits for the next event, the box is frozen. It is thawed before an
  event is handed over, before signals and before its end.
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
from typing import TYPE_CHECKING, Self

from lambent_lab import environ, invocation, loglines, xray
from lambent_lab.errors import LabError
from lambent_lab.instance import Instance
from lambent_lab.invocation import Failure, Invocation, Run, Status
from lambent_lab.protocol import Answer, Event, InitFailed, ResponseTooLarge
from lambent_lab.runtime import Ended, Exited, InitDone
from lambent_lab.sandbox import (
    BoxReport,
    Folders,
    describe_exit,
    forced_kind,
    make_box,
    make_room,
    workspace,
)
from lambent_lab.staging import stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from lambent_lab.function import FunctionSpec
    from lambent_lab.sandbox import Box, Room

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
        prepared = await asyncio.to_thread(stage, spec)
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
            with contextlib.suppress(LabError):
                await self._instance.reset()
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

    # -- invocations

    async def invoke(
        self, payload: bytes, *, trace_header: str | None = None, client_context: str | None = None
    ) -> Invocation:
        """Run the function once and return what came of it. Invocations wait for each other.

        `trace_header` is an X-Ray trace header (one is made if it is missing), `client_context` JSON text.
        """
        async with self._busy:
            instance = self._instance
            if self._closing is not None or instance is None:
                raise LabError("The environment is not running: start it, and invoke it before it is closed.")
            run = Run(str(uuid.uuid4()), xray.header(trace_header), self.spec.timeout_s)
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
        elif not await instance.conversation.wait_ready(self.spec.timeout_s):
            # It ended after its last response, or does not come back: a new process serves this one.
            await instance.reset()
            run.init_inside = run.cold = True
        run.begin()
        if run.init_inside:
            await instance.begin()
            failure = await self._await_init(instance, run, self.spec.timeout_s, "invoke")
        self._line(loglines.start(run.request_id))
        answer: Answer | None = None
        if failure is None:
            ended = await self._hand_over(instance, run, payload, client_context)
            answer, failure = await self._judge(instance, run, ended)
        self._explain(run, failure)
        return self._conclude(instance, run, answer, failure)

    async def _await_init(self, instance: Instance, run: Run, limit_s: float, phase: str) -> Failure | None:
        """Wait for the end of init. On failure the process is gone afterwards, and INIT_REPORT written."""
        conversation, process = instance.conversation, instance.process
        assert conversation is not None
        assert process is not None
        left = instance.init_started + limit_s - time.perf_counter()
        done, _ = await asyncio.wait([conversation.init], timeout=max(0.0, left))
        if not done:
            run.init_ms = (time.perf_counter() - instance.init_started) * 1000
            failure = invocation.timeout(run.request_id, limit_s)
        else:
            outcome, at = conversation.init.result()
            run.init_ms = (at - instance.init_started) * 1000
            if isinstance(outcome, InitDone):
                instance.usage()  # all that is known, should the process not survive its event
                return None
            if isinstance(outcome, InitFailed):
                await asyncio.wait([process.exited], timeout=_SETTLE_S)
                failure = Failure(error_type=outcome.error_type, body=outcome.body, report_status="error")
            else:
                failure = self._after_exit(instance, run, outcome.status)
        run.note(instance.usage())
        if run.init_inside:
            run.end(None)  # the time that killing takes is not the function's
        await instance.reset()
        status = failure.report_status or "error"
        kind = None if status == "timeout" else failure.error_type
        self._line(loglines.init_report(run.init_ms, phase, status, kind))
        return failure

    async def _hand_over(
        self, instance: Instance, run: Run, payload: bytes, client_context: str | None
    ) -> Ended | None:
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
        done, _ = await asyncio.wait([result], timeout=max(0.0, run.left_s))
        return result.result() if done else None

    async def _judge(
        self, instance: Instance, run: Run, ended: Ended | None
    ) -> tuple[Answer | None, Failure | None]:
        """Return the answer, or what went wrong; a process that must not go on is gone afterwards."""
        run.end(ended.at if ended is not None else None)
        instance.collect_output()
        run.note(instance.usage())
        if ended is None:
            await instance.reset()
            return None, invocation.timeout(run.request_id, self.spec.timeout_s)
        outcome = ended.outcome
        if isinstance(outcome, Exited):
            failure = self._after_exit(instance, run, outcome.status)
            await instance.reset()
            return None, failure
        if isinstance(outcome, ResponseTooLarge):
            return None, invocation.too_large()
        if outcome.error_type is not None:
            return None, Failure(error_type=outcome.error_type, body=outcome.body)
        return outcome, None

    def _explain(self, run: Run, failure: Failure | None) -> None:
        """Write what Lambda itself says about a failure: the time that was over, or how the process ended."""
        if failure is None:
            return
        if failure.report_status == "timeout":
            self._line(loglines.timed_out(run.request_id, self.spec.timeout_s))
        elif failure.exit is not None:
            self._line(f"RequestId: {run.request_id} Error: {failure.exit}")
            self._line(failure.error_type)

    @staticmethod
    def _after_exit(instance: Instance, run: Run, status: int) -> Failure:
        usage = instance.usage()
        run.note(usage)
        run.process_gone = True
        run.out_of_memory = instance.ran_out_of_memory(usage)
        kind = "Runtime.OutOfMemory" if run.out_of_memory else "Runtime.ExitError"
        return invocation.ended(run.request_id, kind, describe_exit(status))

    def _conclude(
        self, instance: Instance, run: Run, answer: Answer | None, failure: Failure | None
    ) -> Invocation:
        """Write END and REPORT and return the result."""
        run.end(None)
        status: Status = "success"
        if failure is not None:
            status = "timeout" if failure.report_status == "timeout" else "error"
        outside = run.init_ms if run.cold and not run.init_inside else None
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
                status=failure.report_status if failure is not None else None,
                error_type=failure.error_type if failure and failure.report_status == "error" else None,
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
            peak_rss=usage.peak_rss if usage is not None else None,
            peak_with_cache=usage.peak_with_cache if usage is not None else None,
        )

    def _line(self, line: str) -> None:
        self._lines.append(line)
        if self._on_line is not None:
            self._on_line(line)
