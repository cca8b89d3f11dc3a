"""One runtime process and its conversation: from its start to its end, for as many invocations as it lives.

The environment starts a new one after every reset. What it learns is told as values: `InitDone`,
`InitFailed`, `Exited`, `NotStarted` for the init phase; `Restored`, `RestoreFailed`, `Exited` for a restore;
`Answer`, `ResponseTooLarge`, `ResponseTruncated`, `Exited` for an invocation.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from lambent_lab.http import Answer as HttpAnswer
from lambent_lab.http import BadBody, BodyError, Later, Request, Response, Server
from lambent_lab.protocol import (
    Answer,
    Event,
    InitFailed,
    Polled,
    Reply,
    ResponseTooLarge,
    ResponseTruncated,
    RestoreFailed,
    RuntimeApi,
    SnapshotReady,
    State,
)
from lambent_lab.protocol.extensions import VERSION as EXTENSIONS_VERSION
from lambent_lab.protocol.runtime import MAX_RESPONSE, VERSION, is_stream
from lambent_lab.protocol.telemetry import LOGS_VERSION
from lambent_lab.protocol.telemetry import VERSION as TELEMETRY_VERSION
from lambent_lab.response import Delivery

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

    from lambent_lab.extensions import Extensions
    from lambent_lab.telemetry import Telemetry

_GRACE_S = 0.02  # what a process wrote right before its end may be read right after it
_TRUNCATED_S = 0.25  # a response that breaks off is often the first that is seen of a process's end
_STALL_S = 900.0  # a function may make its response slowly, as long as an invocation can take
_MAX_STREAMED = 1024 * 1024 * 1024  # the limit that counts is the delivery's


@dataclass(frozen=True, slots=True)
class InitDone:
    """The runtime asked for its first event."""


@dataclass(frozen=True, slots=True)
class Restored:
    """The runtime asked for its first event after it was restored."""


@dataclass(frozen=True, slots=True)
class Exited:
    """The runtime process ended; status as subprocess gives it."""

    status: int


@dataclass(frozen=True, slots=True)
class NotStarted:
    """There is nothing that could be run as the runtime: Lambda's error type for it, and its words."""

    error_type: str
    how: str


@dataclass(frozen=True, slots=True)
class Ended:
    """An invocation's outcome and the moment it was known, on the performance counter.

    `began` is when the runtime began to say it, on the same clock; None for a process that ended.
    """

    outcome: Answer | ResponseTooLarge | ResponseTruncated | Exited
    at: float
    began: float | None = None


class Conversation:
    """The Runtime API's side of one process. `on_idle` is called whenever the runtime begins to wait."""

    def __init__(self, on_idle: Callable[[], None], *, snap_start: bool = False) -> None:
        self._api = RuntimeApi(snap_start=snap_start)
        self._loop = asyncio.get_running_loop()
        self._on_idle = on_idle
        self._waiting: list[Later] = []
        self._delivery = Delivery()
        self.init: asyncio.Future[tuple[InitDone | InitFailed | Exited | NotStarted, float]] = (
            self._loop.create_future()
        )
        self.restored: asyncio.Future[tuple[Restored | RestoreFailed | Exited, float]] | None = None
        self._result: asyncio.Future[Ended | None] | None = None
        self._at_once: Callable[[Ended], None] | None = None
        self._waiters: set[asyncio.Future[None]] = set()
        self._over = False
        self._exit: Ended | None = None

    @property
    def ready(self) -> bool:
        """Whether the runtime waits for an event on an open connection."""
        return self._api.state is State.READY and bool(self._waiting)

    @property
    def in_snapshot(self) -> bool:
        """Whether the runtime waits to be restored."""
        return self._api.state is State.SNAPSHOT

    def restore(self) -> asyncio.Future[tuple[Restored | RestoreFailed | Exited, float]]:
        """Let a runtime in its snapshot go on; the future tells how that ended, and when."""
        reply = self._api.restore()
        self.restored = self._loop.create_future()
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.set(_response(reply))
        return self.restored

    async def wait_ready(self, timeout_s: float) -> bool:
        """Wait until the runtime waits for an event, and tell whether it does."""
        until = self._loop.time() + timeout_s
        while not self.ready and not self._over:
            waiter = self._loop.create_future()
            self._waiters.add(waiter)
            timer = self._loop.call_at(until, self._wake, waiter)
            try:
                await waiter
            finally:
                timer.cancel()
                self._waiters.discard(waiter)
            if self._loop.time() >= until:
                break
        return self.ready and not self._over

    @staticmethod
    def _wake(waiter: asyncio.Future[None]) -> None:
        if not waiter.done():
            waiter.set_result(None)

    def hand_over(
        self,
        event: Event,
        delivery: Delivery | None = None,
        at_once: Callable[[Ended], None] | None = None,
    ) -> asyncio.Future[Ended | None]:
        """Give an event to the waiting runtime; the future tells how it ended. Whoever gives up cancels it.

        `delivery` takes a response that is streamed; without one it is collected. `at_once` hears of the end
        before anybody else, the runtime included.
        """
        reply = self._api.offer(event)
        waiting, self._waiting = self._waiting, []
        self._delivery = delivery or Delivery()
        self._at_once = at_once
        result = self._result = self._loop.create_future()
        if waiting:
            waiting[-1].set(_response(reply))  # what polled before is a connection that was given up
        elif self._exit is not None:
            self._end(self._exit)  # else the process may be about to end, or have ended just now
        return result

    def process_ended(self, status: int) -> None:
        """The process is gone. Whatever it had sent before is read first."""
        self._over = True
        self._loop.call_later(_GRACE_S, self._conclude, status, time.perf_counter())

    def handle(self, request: Request, bad: BadBody | None = None) -> HttpAnswer | Awaitable[HttpAnswer]:
        """Answer one request, now or later."""
        if request.stream is not None:
            return self._take_stream(request)
        at = time.perf_counter()
        outcome = self._api.receive(request, bad)
        if isinstance(outcome, Polled):
            return (
                self._wait(first=outcome.first, at=at) if outcome.reply is None else _response(outcome.reply)
            )
        if isinstance(outcome, SnapshotReady):
            return self._wait(first=True, at=at)
        if isinstance(outcome, Reply):
            return _response(outcome)
        if isinstance(outcome, InitFailed):
            if not self.init.done():
                self.init.set_result((outcome, at))
        elif isinstance(outcome, RestoreFailed):
            if self.restored is not None and not self.restored.done():
                self.restored.set_result((outcome, at))
        else:
            self._end(Ended(outcome, at, request.began or at))
        return _response(outcome.reply)

    async def _take_stream(self, request: Request) -> Response:
        """Hand a streamed response on while it arrives."""
        began = self._api.begin(request)
        if isinstance(began, Reply):
            return _response(began)
        stream, delivery, bad = request.stream, self._delivery, None
        assert stream is not None
        delivery.begin(began.content_type, request.began)
        try:
            async for piece in stream:
                if not await delivery.write(piece):
                    bad = BadBody.TOO_LARGE
                    break
        except BodyError as error:
            bad = error.why
        at = time.perf_counter()
        delivery.fed(at)
        outcome = self._api.finish(began, delivery.collected(), stream.trailers, bad)
        ended = Ended(outcome, at, request.began)
        if bad is BadBody.TRUNCATED and not self._over:
            self._loop.call_later(_TRUNCATED_S, self._end, ended)  # unless the process has ended
        elif bad is not BadBody.TRUNCATED:
            self._end(ended)
        return _response(outcome.reply)

    def _wait(self, *, first: bool, at: float) -> Later:
        later = Later(lambda: self._give_up(later))
        self._waiting.append(later)
        if first and not self.init.done():
            self.init.set_result((InitDone(), at))
        elif first and self.restored is not None and not self.restored.done():
            self.restored.set_result((Restored(), at))
        for waiter in self._waiters:
            self._wake(waiter)
        self._on_idle()
        return later

    def _give_up(self, later: Later) -> None:
        """A poll's connection has gone."""
        if later in self._waiting:
            self._waiting.remove(later)

    def _end(self, ended: Ended) -> None:
        if self._result is not None and not self._result.done():
            self._result.set_result(ended)
            if self._at_once is not None:
                self._at_once(ended)

    def _conclude(self, status: int, at: float) -> None:
        if not self.init.done():
            self.init.set_result((Exited(status), at))
        if self.restored is not None and not self.restored.done():
            self.restored.set_result((Exited(status), at))
        self._exit = Ended(Exited(status), at)
        self._end(self._exit)
        for waiter in self._waiters:
            self._wake(waiter)


class Talk(Protocol):
    """Whoever answers a runtime's calls."""

    def handle(self, request: Request, bad: BadBody | None = None) -> HttpAnswer | Awaitable[HttpAnswer]:
        """Answer one request, now or later."""


def _response(reply: Reply) -> Response:
    return Response(reply.status, reply.body, reply.headers)


class Endpoint:
    """The APIs of one environment: one port, one conversation at a time, and what the extensions say."""

    def __init__(self) -> None:
        self._server: Server | None = None
        self._conversation: Talk | None = None
        self._extensions: Extensions | None = None
        self._telemetry: Telemetry | None = None

    @property
    def address(self) -> str:
        """Host and port, as in AWS_LAMBDA_RUNTIME_API."""
        assert self._server is not None
        return f"{self._server.host}:{self._server.port}"

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return self._server.connections if self._server is not None else 0

    async def start(self, sock: socket.socket | None = None) -> None:
        """Listen: on a socket that was made for it, or on any free port."""
        self._server = await Server.start(
            self._handle,
            max_body=MAX_RESPONSE,
            refuse=self._handle,
            streams=is_stream,
            max_streamed=_MAX_STREAMED,
            stall_s=_STALL_S,
            sock=sock,
        )

    def hold(self, held: bool) -> None:
        """Let no time pass for clients that stand still, or let it pass again."""
        if self._server is not None:
            self._server.hold(held)

    def begin(
        self,
        conversation: Talk | None,
        extensions: Extensions | None = None,
        telemetry: Telemetry | None = None,
    ) -> None:
        """From now on, these are the processes that talk. None: nobody should."""
        self._conversation = conversation
        self._extensions = extensions
        self._telemetry = telemetry

    async def close(self) -> None:
        """Stop listening and drop every connection."""
        if self._server is not None:
            await self._server.close()

    def _handle(self, request: Request, bad: BadBody | None = None) -> HttpAnswer | Awaitable[HttpAnswer]:
        if self._extensions is not None and not request.path.startswith(VERSION):
            if request.path.startswith(EXTENSIONS_VERSION):
                return self._extensions.handle(request, bad)
            if self._telemetry is not None and request.path.startswith((TELEMETRY_VERSION, LOGS_VERSION)):
                return self._telemetry.handle(request, bad, self._extensions.api)
        if self._conversation is None:
            return Response(
                403, b'{"errorMessage":"No runtime is running","errorType":"InvalidStateTransition"}'
            )
        return self._conversation.handle(request, bad)
