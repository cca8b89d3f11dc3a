"""One execution environment: a function's process in its box, from its first init to its end.

Rules
- `start` makes the box and begins the init phase. An on-demand init goes on in the background; one with
  provisioned concurrency, under SnapStart or on a managed instance is over when `start` returns.
- An environment serves one invocation at a time, and on a managed instance as many as it has workers. Over
  that, invocations wait for each other.
- After a timeout, a crash or an out-of-memory kill the whole tree is killed; /tmp stays; the next invocation
  inits again. Extensions are told before (see `shutdown`).
- Extensions get the event together with the runtime. The caller has the answer as soon as the runtime gave
  it; the invocation goes on until the runtime and all extensions wait for the next event. Its duration, and
  the function's timeout, cover both. An extension that is not back in time ends the invocation as a timeout,
  and one that fails as an error, but the answer that was given stays given.
- Between invocations, once the runtime and all extensions wait for the next event, the box is frozen. It is
  thawed before an event is handed over, before signals and before its end. With `freeze=False`, and on
  managed instances, it runs on; a snapshot is frozen in any case.
- Init has up to two vCPUs (`init_cpu="boost"`), invocations have memory/1769 of one.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from typing import TYPE_CHECKING, Self

from lambent_lab import environ, xray
from lambent_lab.course import Course
from lambent_lab.errors import LabError
from lambent_lab.initphase import init_ahead, runs_ahead
from lambent_lab.instance import Instance
from lambent_lab.invocation import Invocation, Run
from lambent_lab.journal import Journal
from lambent_lab.premises import Kind, Premises
from lambent_lab.protocol.streaming import AWS_LIMITS, StreamLimits
from lambent_lab.response import Delivery
from lambent_lab.sandbox import (
    RUNTIME_API_PORT,
    BoxReport,
    Forwarding,
    Order,
    describe,
)
from lambent_lab.shutdown import shut_down
from lambent_lab.staging import stage
from lambent_lab.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lambent_lab.function import FunctionSpec
    from lambent_lab.invocation import Failure
    from lambent_lab.premises import Ahead
    from lambent_lab.response import ResponseSink
    from lambent_lab.staging import Stage

__all__ = ["BoxReport", "Environment", "Invocation"]


class Environment:
    """An execution environment of one function. Use it with `async with`, or call `start` and `close`.

    `on_line` gets every line of the log as it appears. `stream_limits` are those of streamed responses.
    `forward` are ports of the host's loopback that a function in a network of its own shall reach as well.
    `ahead` may have premises ready.
    """

    def __init__(
        self,
        spec: FunctionSpec,
        *,
        on_line: Callable[[str], None] | None = None,
        stream_limits: StreamLimits = AWS_LIMITS,
        forward: Iterable[int] = (),
        ahead: Ahead | None = None,
    ) -> None:
        self.spec = spec
        self._stream_limits = stream_limits
        self._forward = tuple(forward)
        self._forwardings: list[Forwarding] = []
        self.log_stream = environ.log_stream(spec.version)
        self._journal = Journal(spec, on_line)
        self._stage: Stage | None = None
        self._ahead = ahead
        self._premises: Premises | None = None
        self._making: asyncio.Task[Instance] | None = None
        self._instance: Instance | None = None
        self._closing: asyncio.Task[None] | None = None
        self._places = asyncio.Semaphore(self.capacity)
        self._under_way = 0

    # -- what it is

    @property
    def box(self) -> BoxReport:
        """Which box holds the function, and what it cannot do. Known after `start`."""
        premises = self._premises
        if premises is None or premises.box is None or premises.room is None:
            raise LabError("The environment has not been started: call start() first.")
        return describe(premises.box, premises.room, self._stage.notes if self._stage is not None else ())

    @property
    def warm(self) -> bool:
        """Whether the next invocation finds a process that has served one already."""
        instance = self._instance
        return instance is not None and not instance.gone and not instance.fresh

    @property
    def frozen(self) -> bool:
        """Whether the processes are known to stand still."""
        return self._instance is not None and self._instance.frozen

    @property
    def capacity(self) -> int:
        """How many invocations it serves at once: one, more on managed instances."""
        return self.spec.max_concurrency or 1

    @property
    def under_way(self) -> int:
        """How many invocations are under way or wait for their turn."""
        return self._under_way

    @property
    def init_failure(self) -> Failure | None:
        """What went wrong in an init that ran ahead; None where it went well, or runs on demand."""
        ahead = self._instance.initialized if self._instance is not None else None
        return ahead.failure if ahead is not None else None

    # -- life

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Make the box and begin the init phase. LabError when that cannot be done; nothing is left then.

        An init that runs ahead of the invocations is over when this returns; `init_failure` tells how.
        """
        try:
            await self._start()
        except BaseException:
            await self.close()
            raise

    async def _start(self) -> None:
        spec, ahead = self.spec, self._ahead
        if ahead is None or not ahead.promises(spec):
            self._premises = Premises(Order(spec.tmp_mb))  # whose disk is made beside the staging
        prepared = self._stage = await _staged(spec)
        if self._premises is None and ahead is not None:
            self._premises = ahead.take(Kind.of(spec, prepared), self.log_stream)
        premises = self._premises = self._premises or Premises(Order(spec.tmp_mb))
        # What the kernel is asked for cannot be taken back half-way: `close` waits for it.
        self._making = asyncio.get_running_loop().create_task(self._make(premises, prepared))
        instance = await asyncio.shield(self._making)
        await instance.begin()
        if runs_ahead(spec):
            await init_ahead(instance, self._journal, spec)

    async def _make(self, premises: Premises, prepared: Stage) -> Instance:
        """Make what is missing for processes to start."""
        box, room = await premises.make(self.spec, prepared, self.log_stream)
        instance = self._instance = Instance(
            self.spec, prepared, box, room, stream=self.log_stream, journal=self._journal
        )
        network = room.network
        listening = await network.listen(RUNTIME_API_PORT) if network.private else None
        await instance.endpoint.start(listening)
        if network.private:
            self._forwardings += [await Forwarding.start(network, port) for port in self._forward]
        return instance

    async def wait_initialized(self, timeout_s: float) -> None:
        """Wait until the runtime is through with its init phase, well or not, or the time is over."""
        if self._instance is not None and self._instance.conversation is not None:
            await asyncio.wait([self._instance.conversation.init], timeout=timeout_s)

    def prepare_next(self) -> None:
        """Have premises ready for another environment like this one, if that costs little."""
        premises = self._premises
        room = premises.room if premises is not None else None
        if self._ahead is not None and room is not None and room.can_wait and self._closing is None:
            self._ahead.prepare(self.spec)

    async def wait_frozen(self, timeout_s: float = 5.0) -> bool:
        """Wait until the runtime is idle and everything stands still, and tell whether it does."""
        return self._instance is not None and await self._instance.wait_frozen(timeout_s)

    async def close(self) -> None:
        """Kill everything that runs and remove the box and /tmp. Goes on even if the caller is cancelled.

        An invocation that is under way ends with a LabError.
        """
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        if self._making is not None:
            await asyncio.wait([self._making])
            self._making.exception()  # told to whoever started it
        if self._instance is not None:
            self._instance.held = self._instance.closing = True
            with contextlib.suppress(LabError):
                # An invocation is not waited for.
                await (self._instance.reset() if self._under_way else shut_down(self._instance, "SPINDOWN"))
            await self._instance.endpoint.close()
            for forwarding in self._forwardings:
                await forwarding.close()
        if self._premises is not None:
            await self._premises.close()
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
        cognito_identity: str | None = None,
        function_arn: str | None = None,
        request_id: str | None = None,
        tenant_id: str | None = None,
        on_answer: Callable[[bytes, str | None], None] | None = None,
        sink: ResponseSink | None = None,
    ) -> Invocation:
        """Run the function once and return what came of it. Over its capacity, invocations wait.

        `trace_header` is an X-Ray trace header, `request_id` a UUID (each is made if it is missing);
        `client_context` and `cognito_identity` are JSON text; `function_arn` is the ARN that was invoked,
        with its qualifier if it had one (default: the function's own); `tenant_id` tells whom it works for.
        `on_answer` is called once, with what the caller gets (the payload and the function error) and as soon
        as that is settled: before extensions are done, and before anything is shut down. `sink` takes the
        response as it comes (see `response`); one that the function streams is not in the payload then.
        """
        self._under_way += 1
        try:
            async with self._places:
                run = Run(
                    request_id=request_id or str(uuid.uuid4()),
                    payload=payload,
                    trace_header=xray.header(trace_header),
                    function_arn=function_arn or environ.function_arn(self.spec.name),
                    timeout_s=self.spec.timeout_s,
                    client_context=client_context or "",
                    cognito_identity=cognito_identity or "",
                    tenant_id=tenant_id or "",
                    on_answer=on_answer,
                    delivery=Delivery(sink, self._stream_limits),
                )
                return await self._invoke(run)
        finally:
            self._under_way -= 1

    async def _invoke(self, run: Run) -> Invocation:
        instance = self._instance
        if self._closing is not None or instance is None:
            raise LabError("The environment is not running: start it, and invoke it before it is closed.")
        instance.held = True
        try:
            return await Course(self.spec, instance, self._journal, run).follow()
        except asyncio.CancelledError:
            # Whatever the function was doing belongs to nobody now.
            if isinstance(instance.conversation, Workers):
                instance.conversation.finish(run.request_id, late=True)
            else:
                await asyncio.shield(instance.reset())
            raise
        finally:
            instance.held = self._closing is not None
            instance.let_freeze()


async def _staged(spec: FunctionSpec) -> Stage:
    """Stage a function. A caller that is cancelled does not wait for it; it is released when it is done."""
    staging = asyncio.get_running_loop().run_in_executor(None, stage, spec)
    try:
        return await asyncio.shield(staging)
    except asyncio.CancelledError:
        staging.add_done_callback(_release)
        raise


def _release(staging: asyncio.Future[Stage]) -> None:
    if not staging.cancelled() and staging.exception() is None:
        staging.result().release()
