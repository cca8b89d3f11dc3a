"""The server: asyncio moves the bytes, httptools reads them.

Rules
- Requests of one connection are answered one after the other, in order; pipelined ones wait.
- A handler answers at once with a Response, later with a `Later`, or is a coroutine; it may take minutes (a
  long poll). It is cancelled when its client goes away or the server closes.
- A request is handled when it is complete, or from its head on where `streams` says so: its body is read by
  the handler then (see `body`), and a slow handler slows the client down. What the handler leaves is thrown
  away. When the client goes away in mid-body the handler is not cancelled: it is told that the body broke
  off.
- What the client sends wrongly is answered 400 and the connection closed; what the handler raises is answered
  500. Nothing that a client or a handler does ends the server.
- Message framing is strict: two lengths, a length beside a transfer coding, a coding that does not end in
  chunked, chunk sizes that are none, two hosts are all 400: nobody in front could read them differently.
- A body over `max_body` is not kept: it is read to its end (the client hears the answer then) and refused.
  One that says to be more than 1 GiB over it, or waits for 100-continue, is refused at once.
- A body that ends early, with the connection still open for the answer, is refused as truncated.
- A head may have 2 MiB and 1000 fields (431), its target 64 KiB (414). Chunk extensions and trailers are
  limited in the same way.
- A head must be complete within `head_s` of its first byte, and a buffered body must not stand still for
  `stall_s`: 408 otherwise. A request that is being handled is never cut for its time, nor is a streamed body
  (it may be made slowly), nor an idle connection. While the server is on `hold`, because its clients cannot
  run, no time passes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Self

from lambent_lab.http.connection import Connection
from lambent_lab.http.messages import Answer, BadBody, Request, Response

if TYPE_CHECKING:
    import socket
    from collections.abc import Coroutine

Handler = Callable[[Request], Answer | Awaitable[Answer]]
Refusal = Callable[[Request, BadBody], Answer | Awaitable[Answer]]

MAX_BODY = 64 * 1024 * 1024
READ = 256 * 1024  # how much is read at once; what is never filled takes no memory
HEAD_S = 60.0
STALL_S = 60.0


class Server:
    """An HTTP server on one loopback port. Make it with `await Server.start(handler)`."""

    def __init__(self, handler: Handler, refuse: Refusal | None, streams: Callable[[Request], bool]) -> None:
        self.max_body = self.max_streamed = MAX_BODY
        self.buffer = memoryview(bytearray(READ))
        self.wants_stream = streams
        self.port = 0
        self.host = ""
        self._handler = handler
        self._refuse = refuse or _refuse_plainly
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._head_s = HEAD_S
        self._stall_s: float | None = STALL_S
        self._held = False
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    async def start(
        cls,
        handler: Handler,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        max_body: int = MAX_BODY,
        refuse: Refusal | None = None,
        streams: Callable[[Request], bool] | None = None,
        max_streamed: int | None = None,
        head_s: float = HEAD_S,
        stall_s: float | None = STALL_S,
        sock: socket.socket | None = None,
    ) -> Self:
        """Listen and return the server.

        `refuse` answers requests whose body is too large or truncated. `streams` is asked for each head
        whether its request has a `stream` instead of a body, of at most `max_streamed` bytes (by default
        `max_body`). `sock` is a socket that listens already, instead of a host and port.
        """
        server = cls(handler, refuse, streams or _never)
        server.max_body = max_body
        server.max_streamed = max_body if max_streamed is None else max_streamed
        server._head_s, server._stall_s = head_s, stall_s
        loop = asyncio.get_running_loop()
        if sock is not None:
            server._server = await loop.create_server(lambda: Connection(server), sock=sock, backlog=256)
        else:
            server._server = await loop.create_server(lambda: Connection(server), host, port, backlog=256)
        address = server._server.sockets[0].getsockname()
        server.host, server.port = str(address[0]), int(address[1])
        return server

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash."""
        return f"http://{self.host}:{self.port}"

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    def hold(self, held: bool) -> None:
        """Let no time pass for clients that cannot run just now, or let it pass again."""
        if self._held and not held:
            now = time.perf_counter()
            for connection in self._connections:
                connection.touch(now)
        self._held = held

    async def close(self) -> None:
        """Stop listening, cancel the handlers under way and close every connection. Safe to call again."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        for connection in list(self._connections):
            connection.abort()
        if tasks:
            await asyncio.wait(tasks, timeout=5)

    # -- a connection's side

    def answer(self, request: Request, bad: BadBody | None) -> Answer | Awaitable[Answer]:
        """Have a request handled, or refused for its body."""
        return self._handler(request) if bad is None else self._refuse(request, bad)

    def spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Run something until it ends or the server closes."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def opened(self, connection: Connection) -> None:
        """A connection is there."""
        self._connections.add(connection)
        if self._timer is None and self._server is not None:
            self._look_again()

    def closed(self, connection: Connection) -> None:
        """A connection is gone."""
        self._connections.discard(connection)

    # -- clients that do not get on

    def _look_again(self) -> None:
        every = min(self._head_s, self._stall_s or self._head_s) / 4
        self._timer = asyncio.get_running_loop().call_later(every, self._look)

    def _look(self) -> None:
        """Cut off who is overdue. One timer for all: a request must not pay for it."""
        self._timer = None
        if not self._held:
            now = time.perf_counter()
            for connection in list(self._connections):
                connection.overdue(now, self._head_s, self._stall_s)
        if self._connections:
            self._look_again()


def _never(_request: Request) -> bool:
    return False


def _refuse_plainly(_request: Request, why: BadBody) -> Response:
    if why is BadBody.TOO_LARGE:
        return Response(
            413, b'{"errorMessage":"The request body is too large","errorType":"RequestEntityTooLarge"}'
        )
    return Response(
        400, b'{"errorMessage":"The request body ended early","errorType":"TruncatedHTTPRequest"}'
    )
