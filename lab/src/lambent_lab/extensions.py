"""The extensions beside one runtime process: their long polls, their processes, and what goes wrong in them.

The environment starts anew with them after every reset, as with the runtime. A function without extensions
passes through here with nothing but a look at `present`.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lambent_lab import environ, loglines
from lambent_lab.http import BadBody, Request, Response
from lambent_lab.protocol.extensions import About, ExtensionsApi, Failed, Registered, State, Waits
from lambent_lab.sandbox import Output, Process

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from lambent_lab.function import FunctionSpec
    from lambent_lab.protocol import Reply
    from lambent_lab.protocol.extensions import InvokeEvent, ShutdownEvent
    from lambent_lab.sandbox import Child

_GRACE_S = 0.02  # what a process sent right before its end may be read right after it
_NOT_RUN = (126, 127)  # what the shell ends with when it cannot execute a file


@dataclass(frozen=True, slots=True)
class Broken:
    """An extension that failed: Lambda's error type for it, how, and when, on the performance counter."""

    error_type: str
    how: str
    at: float


class Extensions:
    """The Extensions API's side of one environment. `on_idle` is called when an extension begins to wait."""

    def __init__(self, spec: FunctionSpec, names: Sequence[str], on_idle: Callable[[], None]) -> None:
        about = About(spec.name, spec.handler, environ.ACCOUNT, spec.version)
        self.api = ExtensionsApi(about, names, managed=spec.max_concurrency is not None)
        self.present = bool(names)
        self.failed: asyncio.Future[Broken] = asyncio.get_running_loop().create_future()
        self.processes: dict[str, Process] = {}
        self._external = bool(names)
        self._outputs: list[tuple[Output, loglines.LineSplitter]] = []
        self._on_idle = on_idle
        self._waiting: dict[str, asyncio.Future[Reply]] = {}
        self._changed = asyncio.Event()
        self._over = False

    # -- what is so

    @property
    def idle(self) -> bool:
        """Whether every extension waits for an event. True where there is none."""
        return not self.present or self.api.idle

    @property
    def external(self) -> bool:
        """Whether there are external extensions."""
        return self._external

    async def wait_registered(self) -> bool:
        """Wait until every external extension has registered; False when that will not happen any more."""
        return await self._until(lambda: not self.api.missing)

    async def wait_idle(self, timeout_s: float) -> bool:
        """Wait until every extension waits for an event, and tell whether they do."""
        try:
            async with asyncio.timeout(max(0.0, timeout_s)):
                return await self._until(lambda: self.api.idle)
        except TimeoutError:
            return False

    async def _until(self, true: Callable[[], bool]) -> bool:
        while not true():
            if self._over or self.failed.done():
                return False
            self._changed.clear()
            await self._changed.wait()
        return True

    # -- what is said

    async def handle(self, request: Request, bad: BadBody | None = None) -> Response:
        """Answer one request."""
        outcome = self.api.receive(request, bad)
        if isinstance(outcome, Waits):
            reply = outcome.reply or await self._wait(outcome.extension.identifier)
        elif isinstance(outcome, Registered):
            self.present = True
            self._changed.set()
            reply = outcome.reply
        elif isinstance(outcome, Failed):
            extension = outcome.extension
            self._fail(outcome.error_type, f"{extension.name} reported {extension.error_type}")
            reply = outcome.reply
        else:
            reply = outcome
        return Response(reply.status, reply.body, reply.headers)

    def invoke(self, event: InvokeEvent) -> None:
        """Hand an event to the extensions that registered for it. All of them must be waiting."""
        for extension, reply in self.api.invoke(event):
            self._answer(extension.identifier, reply)

    def shut_down(self, event: ShutdownEvent) -> None:
        """Tell those that registered for it that the end has come: now, or when they ask."""
        self._over = True
        for extension, reply in self.api.shut_down(event):
            self._answer(extension.identifier, reply)

    def abandon(self) -> None:
        """Nothing more is expected of the extensions: whoever waits for them is told."""
        self._over = True
        self._changed.set()

    def _answer(self, identifier: str, reply: Reply) -> None:
        waiting = self._waiting.pop(identifier, None)
        # An extension that dropped its connection while it waited has lost the event, as in Lambda.
        if waiting is not None and not waiting.done():
            waiting.set_result(reply)

    async def _wait(self, identifier: str) -> Reply:
        waiting: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[identifier] = waiting
        self._changed.set()
        self._on_idle()
        try:
            return await waiting
        finally:
            if self._waiting.get(identifier) is waiting:
                del self._waiting[identifier]

    # -- what runs

    async def start(
        self,
        name: str,
        spawn: Callable[[int], Awaitable[Child]],
        line: Callable[[str], None],
    ) -> Process:
        """Start an external extension's process. `line` gets what it writes."""
        splitter = loglines.LineSplitter(line)
        output = Output(splitter.feed)
        self._outputs.append((output, splitter))
        process = self.processes[name] = await Process.start(spawn, output)
        process.exited.add_done_callback(lambda done: self._ended(name, done.result()))
        return process

    def collect_output(self) -> None:
        """Bring what has been written until now into the log: half a line only from those that wait."""
        for output, splitter in self._outputs:
            output.drain()
            if self.idle:
                splitter.flush()

    def close(self) -> None:
        """Forget the processes, which are dead by now, after reading what they left."""
        self.abandon()
        for process in self.processes.values():
            process.close()
        for output, splitter in self._outputs:
            output.close()
            splitter.flush()
        self._outputs.clear()

    def _ended(self, name: str, status: int) -> None:
        """A process is gone. What it had sent before is read first."""
        if self._over:
            return
        unregistered = any(extension.name == name for extension in self.api.missing)
        launched = not (unregistered and status in _NOT_RUN)
        kind = "Extension.Crash" if launched else "Extension.LaunchError"
        how = f"exit code {status}" if status >= 0 else f"signal {-status}"
        asyncio.get_running_loop().call_later(_GRACE_S, self._fail, kind, f"{name} ended: {how}")

    def _fail(self, error_type: str, how: str) -> None:
        if not self._over and not self.failed.done():
            self.failed.set_result(Broken(error_type, how, time.perf_counter()))
        self._changed.set()

    def states(self) -> list[tuple[str, str, tuple[str, ...], str | None]]:
        """Return what the log says of each extension: name, state, events, error type."""
        missing = [(e.name, "Started", (), None) for e in self.api.missing]
        known = [(e.name, _STATE_NAMES[e.state], e.events, e.error_type) for e in self.api.registered]
        return [*known, *missing]


_STATE_NAMES = {
    State.STARTED: "Started",
    State.REGISTERED: "Registered",
    State.READY: "Ready",
    State.RUNNING: "Running",
    State.SHUTTING_DOWN: "Running",
    State.INIT_ERROR: "InitError",
    State.EXIT_ERROR: "ExitError",
}
