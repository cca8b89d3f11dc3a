"""The course of one invocation: from the wait for init to END and REPORT.

Rules
- The first invocation waits for what is left of the init phase, 10 s in all. An init that failed or took too
  long is run again inside the invocation, under the function's timeout. So is the init after a reset.
- The invocation's duration runs from handing the event over (or from the second init's start) until the
  response is in.
- What the runtime answers, or what ends it, is the caller's at once. `aftermath` says what follows.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from lambent_lab import aftermath, invocation, loglines, records, xray
from lambent_lab.extensions import Broken
from lambent_lab.initphase import wait_init
from lambent_lab.invocation import Failure, Invocation, Status
from lambent_lab.protocol import Answer, InitFailed, ResponseTooLarge, ResponseTruncated
from lambent_lab.protocol.extensions import InvokeEvent
from lambent_lab.runtime import Ended, Exited, InitDone
from lambent_lab.shutdown import shut_down

if TYPE_CHECKING:
    from lambent_lab.function import FunctionSpec
    from lambent_lab.instance import Instance
    from lambent_lab.invocation import Run
    from lambent_lab.journal import Journal
    from lambent_lab.records import Phase

INIT_LIMIT_S = 10.0
_SETTLE_S = 0.5  # how long a runtime that reported its failure gets to leave by itself


class Course:
    """One invocation on its way through an environment; `follow` brings it to its result."""

    def __init__(self, spec: FunctionSpec, instance: Instance, journal: Journal, run: Run) -> None:
        self._spec = spec
        self._instance = instance
        self._journal = journal
        self._run = run

    async def follow(self) -> Invocation:
        """Run the function once. Raises LabError when the lab itself fails."""
        spec, instance, run = self._spec, self._instance, self._run
        run.cold = instance.fresh
        failure: Failure | None = None
        if instance.conversation is None:
            run.init_inside = True
        elif instance.fresh:
            failure = await self._await_init(INIT_LIMIT_S, "init")
            run.init_inside = failure is not None
        elif not await instance.wait_idle(spec.timeout_s):
            # It ended after its last response, or does not come back: a new process serves this one.
            await shut_down(instance, "FAILURE")
            run.init_inside = run.cold = True
        run.begin()
        if run.init_inside:
            await instance.begin("invoke")
            failure = await self._await_init(spec.timeout_s, "invoke")
        self._journal.line(loglines.start(run.request_id, spec.version))
        if instance.telemetry is not None:
            records.start(instance.telemetry, run, spec.version)
        answer: Answer | None = None
        late: Failure | None = None
        if failure is None:
            ended = await self._hand_over()
            answer, failure = await self._judge(ended)
            late = await aftermath.settle(instance, run)
        else:
            run.answer(failure.body, "Unhandled")
            await run.delivery.end(failure.error_type, failure.body)
        self._explain(late or failure)
        return self._conclude(answer, failure, late)

    async def _await_init(self, limit_s: float, phase: Phase) -> Failure | None:
        """Wait for the end of init. On failure the process is gone afterwards, and INIT_REPORT written."""
        instance, run = self._instance, self._run
        ended = await wait_init(instance, limit_s)
        outcome, at = ended or (None, time.perf_counter())
        run.init_ms = (at - instance.init_started) * 1000
        for extension in instance.extensions.states() if instance.extensions is not None else ():
            self._journal.line(loglines.extension(*extension))
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
        self._journal.line(loglines.init_report(run.init_ms, phase, status, kind))
        return failure

    async def _hand_over(self) -> Ended | Broken | None:
        """Thaw, give the event and wait. None: the time is over."""
        instance, run = self._instance, self._run
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
        event = run.event()
        result = conversation.hand_over(event, run.delivery)
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

    async def _judge(self, ended: Ended | Broken | None) -> tuple[Answer | None, Failure | None]:
        """Give the answer, or what went wrong; a process that must not go on is gone afterwards."""
        instance, run = self._instance, self._run
        run.end(ended.at if ended is not None else None)
        instance.collect_output()
        run.note(instance.usage())
        outcome = ended.outcome if isinstance(ended, Ended) else ended
        delivery = run.delivery
        if isinstance(ended, Ended) and ended.began is not None:
            run.responding = ended.began, ended.at
        elif delivery.began is not None:
            run.responding = delivery.began, delivery.ended or time.perf_counter()
        if isinstance(outcome, Answer) and not delivery.streamed:
            delivery.size = len(outcome.body)
        if isinstance(outcome, Answer) and outcome.error_type is None:
            run.answer(outcome.body, None)
            if delivery.streamed:
                await delivery.end(None, b"")
            else:
                await delivery.respond(outcome.body, outcome.content_type)
            aftermath.answered(instance, run, None)
            return outcome, None
        if outcome is None:
            failure = invocation.timeout(run.request_id, self._spec.timeout_s)
        elif isinstance(outcome, Exited):
            failure = aftermath.after_exit(instance, run, outcome.status)
        elif isinstance(outcome, Broken):
            failure = invocation.ended(run.request_id, outcome.error_type, outcome.how)
        elif isinstance(outcome, ResponseTooLarge):
            failure = invocation.too_large(delivery.limit)
        elif isinstance(outcome, ResponseTruncated):
            failure = invocation.truncated()
        else:
            failure = Failure(error_type=outcome.error_type or "", body=outcome.body)
        run.answer(failure.body, "Unhandled")
        await delivery.end(failure.error_type, failure.body)
        aftermath.answered(instance, run, failure)
        if outcome is None or failure.exit is not None:
            await aftermath.end(instance, run, failure)
        return None, failure

    def _explain(self, failure: Failure | None) -> None:
        """Write what Lambda itself says about a failure: the time that was over, or how the process ended."""
        if failure is None:
            return
        if failure.report_status == "timeout":
            self._journal.line(loglines.timed_out(self._run.request_id, self._spec.timeout_s))
        elif failure.exit is not None:
            self._journal.line(f"RequestId: {self._run.request_id} Error: {failure.exit}")
            self._journal.line(failure.error_type)

    def _conclude(self, answer: Answer | None, failure: Failure | None, late: Failure | None) -> Invocation:
        """Write END and REPORT and return the result. `late` is what went wrong after the answer."""
        instance, run, memory_mb = self._instance, self._run, self._spec.memory_mb
        status: Status = "success"
        reported = late or failure
        aftermath.report(instance, run, reported)
        if reported is not None:
            status = "timeout" if reported.report_status == "timeout" else "error"
        outside = run.outside_init_ms
        billed_ms = invocation.billed(run.duration_ms, outside)
        max_memory_mb = run.max_memory_mb(memory_mb)
        self._journal.line(loglines.end(run.request_id))
        self._journal.line(
            loglines.report(
                run.request_id,
                duration_ms=run.duration_ms,
                billed_ms=billed_ms,
                memory_mb=memory_mb,
                max_memory_mb=max_memory_mb,
                init_ms=outside,
                status=reported.report_status if reported is not None else None,
                error_type=reported.error_type if reported and reported.report_status == "error" else None,
                trace=xray.report_field(run.trace_header),
            )
        )
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
            memory_mb=memory_mb,
            max_memory_mb=max_memory_mb,
            cpu_ms=instance.cpu_ms(usage),
            log=self._journal.take(),
            trace_header=run.trace_header,
            started_ns=run.started_ns,
            ended_ns=run.ended_ns,
            response_ms=run.response_ms,
            response_duration_ms=run.answered_ms - run.response_ms,
            streamed=run.delivery.streamed,
            produced_bytes=run.delivery.size,
            extension_overhead_ms=run.overhead_ms,
            peak_rss=usage.peak_rss if usage is not None else None,
            peak_with_cache=usage.peak_with_cache if usage is not None else None,
        )
