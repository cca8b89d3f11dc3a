"""The course of one invocation: from the wait for init to END and REPORT.

Rules
- The first invocation waits for what is left of the init phase. An init that failed or took too long is run
  again inside the invocation, under the function's timeout. So is the init after a reset.
- Under SnapStart the first invocation restores what was frozen after init.
- The invocation's duration runs from handing the event over (or from the second init's start) until the
  response is in.
- What the runtime answers, or what ends it, is the caller's at once: nothing is measured, collected or shut
  down before. `aftermath` says what follows.
- On managed instances several invocations run at once. One whose time is over fails alone, and its worker
  goes on. The end of the process fails all of them; the next invocation runs init again, ahead of itself.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from lambent_lab import aftermath, hangup, initphase, invocation
from lambent_lab.extensions import Broken
from lambent_lab.invocation import Failure, Invocation, Status
from lambent_lab.protocol import Answer, ResponseTooLarge, ResponseTruncated
from lambent_lab.protocol.extensions import InvokeEvent
from lambent_lab.runtime import Ended, Exited
from lambent_lab.shutdown import shut_down
from lambent_lab.workers import Workers

if TYPE_CHECKING:
    from lambent_lab.aftermath import Remains
    from lambent_lab.function import FunctionSpec
    from lambent_lab.instance import Instance
    from lambent_lab.invocation import Run
    from lambent_lab.journal import Journal
    from lambent_lab.records import Phase


class Course:
    """One invocation on its way through an environment; `follow` brings it to its result."""

    def __init__(self, spec: FunctionSpec, instance: Instance, journal: Journal, run: Run) -> None:
        self._spec = spec
        self._instance = instance
        self._journal = journal
        self._run = run
        self._log_start = 0

    async def follow(self) -> Invocation:
        """Run the function once. Raises LabError when the lab itself fails."""
        run, journal = self._run, self._journal
        journal.begin(run.request_id)
        try:
            failure = await (self._prepare() if self._spec.max_concurrency is None else self._join())
            self._instance.check_open()
            self._log_start = journal.position(run.request_id)
            journal.start(run)
            answer: Answer | None = None
            late: Failure | None = None
            if failure is None:
                ended = await self._hand_over()
                if not isinstance(ended, Ended) or isinstance(ended.outcome, Exited):
                    self._instance.check_open()
                answer, failure = await self._judge(ended)
                if self._spec.max_concurrency is None:
                    late = await aftermath.settle(self._instance, journal, run)
            else:
                run.end(None)
                run.answer(failure.body, "Unhandled")
                await run.delivery.end(failure.error_type, failure.body)
            reported = late or failure
            if reported is not None:
                journal.failed(run.request_id, reported, run.timeout_s)
            journal.end_and_report(run, *aftermath.outcome(reported))
        finally:
            log = journal.end(run.request_id)
        return self._result(answer, failure, late, log)

    async def _prepare(self) -> Failure | None:
        """Bring the processes to where they can take an event."""
        spec, instance, run = self._spec, self._instance, self._run
        ahead, run.cold = instance.initialized, instance.fresh
        failure: Failure | None = None
        if instance.conversation is None:
            run.init_inside = True
        elif instance.fresh and ahead is not None:
            failure = await self._after_an_init_ahead(ahead)
            if failure is not None:
                run.begin()
                return failure
        elif instance.fresh:
            failure = await self._await_init(initphase.init_limit_s(spec), "init")
            run.init_inside = failure is not None
        elif not await hangup.comes_back(instance, spec.timeout_s):
            # It ended after its last response, or does not come back: a new process serves this one.
            await shut_down(instance, "FAILURE")
            run.init_inside = run.cold = True
        run.begin()
        if run.init_inside:
            await instance.begin("invoke")
            failure = await self._await_init(spec.timeout_s, "invoke")
            if failure is not None:
                return failure
            if instance.conversation is not None and instance.conversation.in_snapshot:
                failure = await self._restore()  # there is no snapshot: what has just begun goes on
        return failure

    async def _after_an_init_ahead(self, ahead: initphase.PhaseResult) -> Failure | None:
        """Take up what an init that ran ahead has left."""
        run = self._run
        if self._spec.initialization == "snap-start":
            return await self._restore()
        run.cold, run.init_ahead, run.init_ms = False, True, ahead.took_ms
        return None

    async def _restore(self) -> Failure | None:
        run = self._run
        result = await initphase.restore(self._instance, self._journal, run.request_id)
        run.restore_ms = result.took_ms
        run.billed_restore_ms = invocation.whole_ms((result.at - result.after) * 1000)
        self._note(result.remains)
        return result.failure

    async def _await_init(self, limit_s: float, phase: Phase) -> Failure | None:
        run = self._run
        result = await initphase.finish_init(self._instance, self._journal, run.request_id, limit_s, phase)
        run.init_ms = result.took_ms
        self._note(result.remains)
        if phase == "invoke" and result.failure is not None:
            run.end(result.at)  # what the shutdown takes is not the function's time
        return result.failure

    def _note(self, remains: Remains | None) -> None:
        if remains is not None:
            self._run.note(remains.usage)
            self._run.process_gone |= remains.process_gone
            self._run.out_of_memory |= remains.out_of_memory

    async def _join(self) -> Failure | None:
        """Join the invocations of a managed instance; after a failure the first of them runs init again."""
        instance, run = self._instance, self._run
        async with instance.renewing:
            if instance.failing is not None:
                await asyncio.shield(instance.failing)
            if instance.conversation is None:
                run.cold = True
                await instance.begin()
                result = await initphase.init_ahead(instance, self._journal, self._spec, run.request_id)
                run.init_ms, run.init_ahead = result.took_ms, True
                if result.failure is not None:
                    self._note(result.remains)
                    run.begin()
                    return result.failure
        run.begin()
        conversation = instance.conversation
        if conversation is not None and await conversation.wait_ready(run.left_s):
            return None
        if not instance.gone:
            return invocation.timeout(run.request_id, run.timeout_s)
        await aftermath.fail(instance)
        return invocation.ended(run.request_id, "Runtime.ExitError", "The runtime has ended")

    async def _hand_over(self) -> Ended | Broken | None:
        """Thaw, give the event and wait. None: the time is over."""
        instance, run = self._instance, self._run
        conversation = instance.conversation
        assert conversation is not None
        alone = self._spec.max_concurrency is None
        await instance.thaw()
        instance.check_open()
        if instance.fresh:
            instance.box.cpu.limit(instance.share)
        elif alone:
            instance.mark()
        instance.fresh = False
        if alone and not run.init_inside:
            run.begin()
        event = run.event(alone=alone)
        result = conversation.hand_over(event, run.delivery, self._at_once)
        extensions = instance.extensions
        if extensions is None or not extensions.present:
            timer = asyncio.get_running_loop().call_later(max(0.0, run.left_s), _time_is_over, result)
            try:
                return await result
            finally:
                timer.cancel()
        if alone:
            extensions.invoke(
                InvokeEvent(run.request_id, run.deadline_ms, event.function_arn, run.trace_header)
            )
        either: list[asyncio.Future[Any]] = [result, extensions.failed]
        await asyncio.wait(either, timeout=max(0.0, run.left_s), return_when=asyncio.FIRST_COMPLETED)
        if result.done():
            return result.result()
        result.cancel()  # what comes now is too late
        return extensions.failed.result() if extensions.failed.done() else None

    def _at_once(self, ended: Ended) -> None:
        """Give the caller a response while the runtime's call that brings it is still being taken."""
        outcome, run = ended.outcome, self._run
        if isinstance(outcome, Answer) and outcome.error_type is None:
            run.end(ended.at)
            run.answer(outcome.body, None)

    async def _judge(self, ended: Ended | Broken | None) -> tuple[Answer | None, Failure | None]:
        """Give the answer, or what went wrong; a process that must not go on is gone afterwards."""
        instance, run = self._instance, self._run
        run.end(ended.at if ended is not None else None)
        outcome = ended.outcome if isinstance(ended, Ended) else ended
        failure: Failure | None = None
        delivery = run.delivery
        if isinstance(ended, Ended) and ended.began is not None:
            run.responding = ended.began, ended.at
        elif delivery.began is not None:
            run.responding = delivery.began, delivery.ended or time.perf_counter()
        if isinstance(outcome, Answer) and not delivery.streamed:
            delivery.size = len(outcome.body)
        if isinstance(outcome, Answer) and outcome.error_type is None:
            run.answer(outcome.body, None)  # unless that has been done at once
            if delivery.streamed:
                await delivery.end(None, b"")
            else:
                await delivery.respond(outcome.body, outcome.content_type)
        else:
            failure = self._failure(outcome)
            run.answer(failure.body, "Unhandled")
            await delivery.end(failure.error_type, failure.body)
        instance.collect_output()
        if not run.process_gone:
            usage = instance.usage()
            run.note(usage)
            # Whoever was killed, the memory was full: of a child nothing else tells how much it had.
            run.out_of_memory |= instance.ran_out_of_memory(usage)
        self._journal.runtime_done(run, *aftermath.outcome(failure))
        if isinstance(instance.conversation, Workers):
            instance.conversation.finish(run.request_id, late=outcome is None)
            if failure is not None and failure.exit is not None:
                await aftermath.fail(instance)
        elif failure is not None and (outcome is None or failure.exit is not None):
            await aftermath.end(instance, self._journal, run, failure)
        return (outcome, None) if failure is None and isinstance(outcome, Answer) else (None, failure)

    def _failure(
        self, outcome: Answer | ResponseTooLarge | ResponseTruncated | Exited | Broken | None
    ) -> Failure:
        run = self._run
        if outcome is None:
            return invocation.timeout(run.request_id, run.timeout_s)
        if isinstance(outcome, Exited):
            failure, remains = aftermath.after_exit(self._instance, run.request_id, outcome.status)
            self._note(remains)
            return failure
        if isinstance(outcome, Broken):
            failure, remains = aftermath.after_break(self._instance, run.request_id, outcome)
            self._note(remains)
            return failure
        if isinstance(outcome, ResponseTooLarge):
            return invocation.too_large(run.delivery.limit)
        if isinstance(outcome, ResponseTruncated):
            return invocation.truncated()
        return Failure(error_type=outcome.error_type or "", body=outcome.body)

    def _result(
        self, answer: Answer | None, failure: Failure | None, late: Failure | None, log: tuple[str, ...]
    ) -> Invocation:
        """Put the result together. `late` is what went wrong after the answer."""
        run, memory_mb = self._run, self._spec.memory_mb
        status: Status = "success"
        reported = late or failure
        if reported is not None:
            status = "timeout" if reported.report_status == "timeout" else "error"
        usage = run.usage
        return Invocation(
            request_id=run.request_id,
            cold=run.cold,
            status=status,
            function_error=None if failure is None else "Unhandled",
            payload=failure.body if failure is not None else (answer.body if answer is not None else b""),
            duration_ms=run.duration_ms,
            init_ms=run.init_ms,
            billed_ms=run.billed_ms,
            memory_mb=memory_mb,
            max_memory_mb=run.max_memory_mb(memory_mb),
            cpu_ms=self._instance.cpu_ms(usage) if self._spec.max_concurrency is None else None,
            log=log,
            log_start=self._log_start,
            trace_header=run.trace_header,
            started_ns=run.started_ns,
            ended_ns=run.ended_ns,
            response_ms=run.response_ms,
            response_duration_ms=run.answered_ms - run.response_ms,
            streamed=run.delivery.streamed,
            produced_bytes=run.delivery.size,
            extension_overhead_ms=run.overhead_ms,
            restore_ms=run.restore_ms,
            peak_rss=usage.peak_rss if usage is not None else None,
            peak_with_cache=usage.peak_with_cache if usage is not None else None,
            rss=usage.rss if usage is not None else None,
            box=self._instance.report,
        )


def _time_is_over(result: asyncio.Future[Ended | None]) -> None:
    if not result.done():
        result.set_result(None)
