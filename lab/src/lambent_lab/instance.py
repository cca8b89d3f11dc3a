"""What runs in an environment: begun, frozen while it waits, thawed, reset.

The box, the file system and /tmp stay over a reset; the runtime's process and those of the extensions, what
they say and what they write are new.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from typing import TYPE_CHECKING

from lambent_lab import environ, launch, loglines
from lambent_lab.errors import LabError
from lambent_lab.extensions import Extensions
from lambent_lab.protocol import InitFailed
from lambent_lab.runtime import Conversation, Endpoint, Exited, InitDone, NotStarted
from lambent_lab.sandbox import Box, Output, Process, Room, Usage, describe
from lambent_lab.telemetry import Telemetry
from lambent_lab.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lambent_lab.function import FunctionSpec
    from lambent_lab.initphase import PhaseResult
    from lambent_lab.journal import Journal
    from lambent_lab.records import Phase
    from lambent_lab.sandbox import Child
    from lambent_lab.staging import Stage

MB_PER_VCPU = 1769
BOOST_VCPUS = 2.0


class Instance:
    """What runs in one environment. `journal` is its log; `stream` is the mark of its processes."""

    def __init__(
        self,
        spec: FunctionSpec,
        stage: Stage,
        box: Box,
        room: Room,
        *,
        stream: str,
        journal: Journal,
    ) -> None:
        self.box = box
        self.report = describe(box, room)
        self.room = room
        self.endpoint = Endpoint()
        self.conversation: Conversation | Workers | None = None
        self.initialized: PhaseResult | None = None  # how an init that ran ahead has ended
        self.failing: asyncio.Task[None] | None = None  # shuts down what several invocations ran in
        self.renewing = asyncio.Lock()
        self.process: Process | None = None
        self.extensions: Extensions | None = None
        self.telemetry: Telemetry | None = None
        self.launching: asyncio.Task[None] | None = None  # waits for extensions, then starts the runtime
        self.fresh = True  # no event has been handed to the current process yet
        self.held = False  # an invocation is under way: no freezing
        self.closing = False  # the environment ends: whatever happens now is not the function's doing
        self.init_started = 0.0  # on the performance counter
        self._spec = spec
        self._stage = stage
        self._stream = stream
        self._journal = journal
        self._splitter = loglines.LineSplitter(functools.partial(journal.output, "function"))
        self._output: Output | None = None
        self._freezing: asyncio.Task[None] | None = None
        self._spawning: asyncio.Task[None] | None = None
        self._last: tuple[int, int] | None = None  # CPU time and kills, as last read
        self._cpu_mark = 0
        self._kill_mark = 0

    @property
    def frozen(self) -> bool:
        """Whether everything is known to stand still."""
        return self.box.is_frozen and self._freezing is None

    @property
    def gone(self) -> bool:
        """Whether there is no living process."""
        return self.process is None or self.process.exited.done()

    @property
    def memory_mb(self) -> int:
        """The function's memory."""
        return self._spec.memory_mb

    @property
    def share(self) -> float:
        """The vCPUs that the function's memory comes with."""
        return self._spec.memory_mb / MB_PER_VCPU

    @property
    def runtime_version(self) -> tuple[str, str]:
        """The version of the runtime, as in python:3.13.v5, and an ARN for it."""
        version = self._stage.runtime.version
        return version, loglines.runtime_arn(version)

    @property
    def idle(self) -> bool:
        """Whether the runtime and every extension wait: for an event, or to be restored."""
        conversation, extensions = self.conversation, self.extensions
        if conversation is None or not (conversation.ready or conversation.in_snapshot):
            return False
        return extensions is None or extensions.idle

    @property
    def _may_freeze(self) -> bool:
        """Whether it stands still while it waits: unless that was not wanted, but a snapshot always does."""
        spec = self._spec
        snapshot = self.fresh and spec.initialization == "snap-start"
        return spec.max_concurrency is None and (spec.freeze or snapshot)

    # -- beginning and ending

    async def begin(self, phase: Phase = "init") -> None:
        """Start what runs and with it an init phase. Raises LabError when it cannot be started."""
        self.check_open()
        self.fresh = True
        self.init_started = 0.0
        self._last = None
        self.mark()
        self.box.cpu.limit(self.share if self._spec.init_cpu == "share" else max(BOOST_VCPUS, self.share))
        self.initialized = self.failing = None
        journal = self._journal
        telemetry = self.telemetry = journal.telemetry = Telemetry(
            journal.subscribed,
            managed=self._spec.max_concurrency is not None,
            connect=self.room.network.connect,
        )
        journal.init_start(*self.runtime_version, phase)
        spec = self._spec
        conversation: Conversation | Workers
        if spec.max_concurrency is not None:
            conversation = Workers(self.let_freeze, spec.max_concurrency)
        else:
            conversation = Conversation(self.let_freeze, snap_start=spec.initialization == "snap-start")
        extensions = self.extensions = Extensions(spec, self._stage.extensions, self.let_freeze)
        conversation.init.add_done_callback(lambda _: extensions.api.close_registration())
        conversation.init.add_done_callback(lambda done: _runtime_done(journal, phase, *done.result()))
        self.endpoint.begin(conversation, extensions, telemetry)
        start = self._spawn_extensions(extensions) if extensions.external else self._spawn(conversation)
        self._spawning = asyncio.get_running_loop().create_task(start)
        # A start cannot be taken back half-way: when the caller is cancelled, it is finished and then undone.
        try:
            await asyncio.shield(self._spawning)
        except LabError:
            await self.reset()  # of several processes some may run
            raise
        self.conversation = conversation
        if extensions.external:
            self.launching = asyncio.get_running_loop().create_task(self._launch(conversation, extensions))

    def check_open(self) -> None:
        """Raise LabError when the environment is being closed."""
        if self.closing:
            raise LabError("The environment was closed while the invocation was under way.")

    async def _spawn_extensions(self, extensions: Extensions) -> None:
        for name, command, env in environ.extensions(
            self._spec,
            self._stage,
            self.room.places,
            api=self.endpoint.address,
            stream=self._stream,
        ):
            spawn = functools.partial(self._start, command, env)
            try:
                line = functools.partial(self._journal.output, "extension")
                process = await extensions.start(name, spawn, line)
            except OSError as error:
                raise LabError(f"The extension {name} could not be started: {error}.") from error
            self.box.joined(process.pid)

    async def _launch(self, conversation: Conversation | Workers, extensions: Extensions) -> None:
        if await extensions.wait_registered():
            self._spawning = asyncio.get_running_loop().create_task(self._spawn(conversation))
            await asyncio.shield(self._spawning)

    async def _spawn(self, conversation: Conversation | Workers) -> None:
        spec, stage, places = self._spec, self._stage, self.room.places
        obstacle = launch.obstacle(stage)
        if obstacle is not None:
            self._mark_start()
            conversation.init.set_result((obstacle, time.perf_counter()))
            return
        command = launch.command(spec, stage, places)
        env = environ.variables(spec, stage.runtime, places, api=self.endpoint.address, stream=self._stream)
        self._output = Output(self._splitter.feed)
        try:
            process = await Process.start(functools.partial(self._start, command, env), self._output)
        except OSError as error:
            raise LabError(f"The function's process could not be started: {error}.") from error
        self.process = process
        self.box.started(process.pid)
        process.exited.add_done_callback(lambda done: conversation.process_ended(done.result()))

    async def _start(self, command: Sequence[str], env: Mapping[str, str], output: int) -> Child:
        return await self.room.start(self.box, command, env, output, self._mark_start)

    def _mark_start(self) -> None:
        self.init_started = self.init_started or time.perf_counter()

    async def reset(self) -> None:
        """Kill the process tree and forget the process. Raises LabError when something survives."""
        if self.extensions is not None:
            self.extensions.abandon()
        for task in (self._spawning, self.launching):
            if task is not None:
                await asyncio.wait([task])
                task.exception()  # told to whoever waited for it
        self._spawning = self.launching = None
        await self.thaw()
        self.endpoint.begin(None)
        self.conversation = None
        try:
            await self.box.kill()
        finally:
            if self.telemetry is not None:
                self.telemetry.close()
                self.telemetry = self._journal.telemetry = None
            if self.extensions is not None:
                self.extensions.close()
                self.extensions = None
            if self.process is not None:
                self.process.close()
                self.process = None
            if self._output is not None:
                self._output.close()
                self._output = None
            self._splitter.flush()
            self.fresh = True

    def collect_output(self) -> None:
        """Bring everything that has been written until now into the log."""
        if self._output is not None:
            self._output.drain()
        self._splitter.flush()
        if self.extensions is not None:
            self.extensions.collect_output()

    # -- freezing

    def let_freeze(self) -> None:
        """Freeze, if the runtime and all extensions wait for an event and no invocation is under way."""
        if not self.idle:
            return
        if self.telemetry is not None and self.telemetry.open:
            self.telemetry.close_subscriptions()  # whoever is idle for the first time has finished its init
        if self._may_freeze and not self.held and self._freezing is None and not self.box.is_frozen:
            self._freezing = asyncio.get_running_loop().create_task(self._freeze())

    async def _freeze(self) -> None:
        try:
            if self.telemetry is not None and self.telemetry.subscribed:
                await self.telemetry.flush()
                self.telemetry.pause()
            self.endpoint.hold(True)
            await self.box.freeze()
        except (LabError, OSError) as error:
            self._journal.line(f"lambent-lab: {error}")
        finally:
            self._freezing = None

    async def thaw(self) -> None:
        """Let everything run. A freeze that is under way is called off."""
        if self._freezing is not None:
            self._freezing.cancel()
            await asyncio.wait([self._freezing])
            self._freezing = None
        self.box.thaw()
        self.endpoint.hold(False)
        if self.telemetry is not None and self.telemetry.subscribed:
            self.telemetry.resume()

    async def wait_idle(self, timeout_s: float) -> bool:
        """Wait until the runtime and every extension wait for an event; False also when one has failed."""
        until = time.perf_counter() + timeout_s
        conversation, extensions = self.conversation, self.extensions
        if conversation is None or not await conversation.wait_ready(timeout_s):
            return False
        if extensions is None or not extensions.present:
            return True
        return not extensions.failed.done() and await extensions.wait_idle(until - time.perf_counter())

    async def wait_frozen(self, timeout_s: float) -> bool:
        """Wait until all are idle and everything stands still, and tell whether it does."""
        if not self.idle and not await self.wait_idle(timeout_s):
            return False
        if self._freezing is not None:
            await asyncio.wait([self._freezing], timeout=timeout_s)
        return self.frozen

    # -- counting

    def mark(self) -> None:
        """Count CPU time and kills from where they were last read; that saves reading them again."""
        if self._last is not None:
            self._cpu_mark, self._kill_mark = self._last
            return
        with contextlib.suppress(OSError):
            self._cpu_mark = self.box.cpu.used_ns() or 0
            self._kill_mark = self.box.memory.kills()

    def usage(self) -> Usage | None:
        """Return what has been used, or None when it cannot be read."""
        try:
            usage = self.box.usage()
        except OSError:
            return None
        self._last = usage.cpu_ns or 0, usage.kills
        return usage

    def cpu_ms(self, usage: Usage | None) -> float | None:
        """Return the CPU time since the mark."""
        return None if usage is None or usage.cpu_ns is None else (usage.cpu_ns - self._cpu_mark) / 1e6

    def ran_out_of_memory(self, usage: Usage | None) -> bool:
        """Tell whether the memory limit has killed since the mark."""
        return usage is not None and usage.kills > self._kill_mark


def _runtime_done(
    journal: Journal, phase: Phase, outcome: InitDone | InitFailed | Exited | NotStarted, at: float
) -> None:
    """Record how the runtime's part of init ended."""
    if isinstance(outcome, InitDone):
        journal.init_runtime_done(phase, "success", None, at)
    elif isinstance(outcome, InitFailed | NotStarted):
        journal.init_runtime_done(phase, "error", outcome.error_type, at)
    else:
        journal.init_runtime_done(phase, "failure", "Runtime.ExitError", at)
