"""Environments that run nothing, for tests of the service: they count what is done to them."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING, Any, cast

from lambent_lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Callable

    from lambent_lab.environment import Environment, Invocation
    from lambent_lab.function import FunctionSpec
    from lambent_lab.response import ResponseSink


class FakeInvocation:
    """What an environment returns, as far as the service looks at it."""

    def __init__(self, number: int, *, cold: bool, **changes: Any) -> None:
        self.request_id = f"request-{number}"
        self.cold = cold
        self.status = "success"
        self.function_error: str | None = None
        self.payload = b'{"ok": true}'
        self.duration_ms, self.billed_ms, self.memory_mb, self.max_memory_mb = 1.5, 2, 128, 40
        self.init_ms, self.cpu_ms = (100.0 if cold else None), 1.0
        self.peak_rss, self.peak_with_cache = 30 * 2**20, 36 * 2**20
        self.restore_ms, self.extension_overhead_ms, self.box = None, None, None
        self.rss: int | None = 29 * 2**20
        self.log: tuple[str, ...] = ("START", "END")
        self.started_ns, self.ended_ns = 0, 2**62
        self.__dict__.update(changes)

    @property
    def tail(self) -> bytes:
        """The last 4 KB of the log."""
        return "".join(f"{line}\n" for line in self.log).encode()[-4096:]


class FakeEnvironment:
    """Counts what is done to it; `work` of its world stands for the function."""

    def __init__(self, world: World, spec: FunctionSpec, on_line: Callable[[str], None] | None) -> None:
        self.world = world
        self.spec = spec
        self.on_line = on_line
        self.invocations = 0
        self.closed = 0
        self.calls: list[dict[str, Any]] = []
        self.box = object()

    async def start(self) -> None:
        """Begin."""
        self.world.starting += 1
        self.world.most_starting = max(self.world.most_starting, self.world.starting)
        await asyncio.sleep(0)
        if self.world.broken:
            raise LabError("no box can be made")

    def prepare_next(self) -> None:
        """There is nothing to prepare."""

    async def wait_initialized(self, _timeout_s: float) -> None:
        """Take as long as the world says."""
        await asyncio.sleep(self.world.init_seconds)
        self.world.starting -= 1

    async def invoke(
        self,
        payload: bytes,
        *,
        on_answer: Callable[[bytes, str | None], None] | None = None,
        sink: ResponseSink | None = None,
        **options: Any,
    ) -> Invocation:
        """Do the world's work."""
        self.invocations += 1
        self.calls.append(options)
        self.world.payloads.append(payload)
        self.world.count += 1
        invocation = FakeInvocation(self.world.count, cold=self.invocations == 1)
        self.world.entered.set()
        await self.world.work(invocation)
        if sink is not None:
            await hand_on(invocation, sink)
        if on_answer is not None:
            on_answer(invocation.payload, invocation.function_error)
        await self.world.after()
        return cast("Invocation", invocation)

    async def close(self) -> None:
        """End."""
        await asyncio.sleep(self.world.close_seconds)
        self.closed += 1


async def hand_on(invocation: FakeInvocation, sink: ResponseSink) -> None:
    """Give an invocation's response to a sink, in two pieces."""
    if invocation.function_error:
        error = json.loads(invocation.payload)
        await sink.end(error["errorType"], invocation.payload)
        return
    sink.begin("application/octet-stream", streaming=True)
    await sink.write(invocation.payload[:3])
    await sink.write(invocation.payload[3:])
    await sink.end(None, b"")


class World:
    """All fake environments of one test."""

    def __init__(self) -> None:
        self.environments: list[FakeEnvironment] = []
        self.payloads: list[bytes] = []
        self.count = 0
        self.broken = False
        self.close_seconds = self.init_seconds = 0.0
        self.starting = self.most_starting = 0
        self.entered = threading.Event()
        self.work: Callable[[FakeInvocation], Any] = self.nothing
        self.after: Callable[[], Any] = self.nothing

    async def nothing(self, *_: object) -> None:
        """Work that is done at once."""
        await asyncio.sleep(0)

    async def forever(self, _invocation: FakeInvocation) -> None:
        """Work that never ends."""
        await asyncio.Event().wait()

    def __call__(self, spec: FunctionSpec, *, on_line: Callable[[str], None] | None = None) -> Environment:
        """Make an environment."""
        self.environments.append(FakeEnvironment(self, spec, on_line))
        return cast("Environment", self.environments[-1])
