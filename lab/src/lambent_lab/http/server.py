"""The server: asyncio moves the bytes, httptools reads them.

Rules
- Requests of one connection are answered one after the other, in order; pipelined ones wait.
- A handler may take minutes (a long poll). It is cancelled when its client goes away or the server closes.
- What the client sends wrongly is answered 400 and the connection closed; what the handler raises is answered
  500. Nothing that a client or a handler does ends the server.
- A body over `max_body` is not kept: it is read to its end (the client hears the answer then) and refused.
- A body that ends early, with the connection still open for the answer, is refused as truncated.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Self

import httptools

from lambent_lab.http.messages import BadBody, Request, Response

Handler = Callable[[Request], Awaitable[Response]]
Refusal = Callable[[Request, BadBody], Awaitable[Response]]

MAX_BODY = 64 * 1024 * 1024
MAX_HEAD = (
    64 * 1024 + 8 * 1024 * 1024
)  # awslambdaric sends up to 1 MB of cause in a header; client contexts come on top
MAX_WAITING = 64  # pipelined requests of one connection that wait for their turn

_log = logging.getLogger(__name__)


class Server:
    """An HTTP server on one loopback port. Make it with `await Server.start(handler)`."""

    def __init__(self, handler: Handler, refuse: Refusal, max_body: int) -> None:
        self._handler = handler
        self._refuse = refuse
        self._max_body = max_body
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None
        self.port = 0
        self.host = ""

    @classmethod
    async def start(
        cls,
        handler: Handler,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        max_body: int = MAX_BODY,
        refuse: Refusal | None = None,
    ) -> Self:
        """Listen and return the server. `refuse` answers requests whose body is too large or truncated."""
        server = cls(handler, refuse or _refuse_plainly, max_body)
        loop = asyncio.get_running_loop()
        server._server = await loop.create_server(
            lambda: _Connection(server, handler, server._refuse, max_body), host, port, backlog=256
        )
        address = server._server.sockets[0].getsockname()
        server.host, server.port = str(address[0]), int(address[1])
        return server

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash."""
        return f"http://{self.host}:{self.port}"

    async def close(self) -> None:
        """Stop listening, cancel the handlers under way and close every connection. Safe to call again."""
        if self._server is not None:
            self._server.close()
            self._server = None
        tasks = []
        for connection in list(self._connections):
            if connection.task is not None:
                tasks.append(connection.task)
            connection.abort()
        if tasks:
            await asyncio.wait(tasks, timeout=5)


async def _refuse_plainly(_request: Request, why: BadBody) -> Response:
    if why is BadBody.TOO_LARGE:
        return Response(
            413, b'{"errorMessage":"The request body is too large","errorType":"RequestEntityTooLarge"}'
        )
    return Response(
        400, b'{"errorMessage":"The request body ended early","errorType":"TruncatedHTTPRequest"}'
    )


@dataclass(slots=True)
class _Incoming:
    """A request while it is being read."""

    target: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    trailers: dict[str, str] = field(default_factory=dict)
    body: list[bytes] = field(default_factory=list)
    size: int = 0
    head_size: int = 0
    head_done: bool = False


@dataclass(slots=True)
class _Job:
    request: Request
    keep_alive: bool
    bad: BadBody | None = None


class _Connection(asyncio.Protocol):
    """One client's connection: parses what arrives, runs the handler, writes the answers in order."""

    def __init__(self, server: Server, handler: Handler, refuse: Refusal, max_body: int) -> None:
        self._server = server
        self._handler = handler
        self._refuse = refuse
        self._max_body = max_body
        self._parser = httptools.HttpRequestParser(self)
        self._incoming: _Incoming | None = None
        self._jobs: deque[_Job] = deque()
        self._transport: asyncio.Transport | None = None
        self._closing = False
        self._paused = False
        self.task: asyncio.Task[None] | None = None

    # -- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server._connections.add(self)  # noqa: SLF001 - the other half of this module

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._closing = True
        self._server._connections.discard(self)  # noqa: SLF001 - the other half of this module
        if self.task is not None:
            self.task.cancel()

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        if self._incoming is None or not self._incoming.head_done:
            # Counted over reads: a head that trickles in for ever is cut off as well.
            self._incoming = self._incoming or _Incoming()
            self._incoming.head_size += len(data)
            if self._incoming.head_size > MAX_HEAD + self._max_body:
                self._malformed()
                return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._malformed()  # no protocol to upgrade to
        except httptools.HttpParserError:
            self._malformed()

    def eof_received(self) -> bool:
        """Answer a request that was cut off. Any other that is under way has lost its client."""
        if self._incoming is not None and self._incoming.head_done:
            self._queue(_Job(self._request(), keep_alive=False, bad=BadBody.TRUNCATED))
        # Clients of the Runtime API do not half-close: what they end is over, and a long
        # poll must not wait on. Only what has not been answered yet is said first.
        return bool(self._jobs)

    def abort(self) -> None:
        """Drop the connection and what it waits for."""
        self._closing = True
        if self.task is not None:
            self.task.cancel()
        if self._transport is not None:
            self._transport.abort()

    # -- httptools' side

    def on_message_begin(self) -> None:
        if self._incoming is None:
            self._incoming = _Incoming()

    def on_url(self, url: bytes) -> None:
        self._now().target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        incoming = self._now()
        fields = incoming.trailers if incoming.head_done else incoming.headers
        key, text = name.decode("latin-1").lower(), value.decode("utf-8", "replace")
        fields[key] = f"{fields[key]}, {text}" if key in fields else text

    def on_headers_complete(self) -> None:
        incoming = self._now()
        incoming.head_done = True
        if incoming.headers.get("expect", "").lower() == "100-continue" and self.task is None:
            assert self._transport is not None
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        incoming = self._now()
        incoming.size += len(body)
        if incoming.size > self._max_body:
            incoming.body.clear()
        else:
            incoming.body.append(body)

    def on_message_complete(self) -> None:
        incoming = self._now()
        bad = BadBody.TOO_LARGE if incoming.size > self._max_body else None
        self._queue(_Job(self._request(), self._parser.should_keep_alive(), bad))

    # -- ours

    def _now(self) -> _Incoming:
        assert self._incoming is not None
        return self._incoming

    def _request(self) -> Request:
        incoming, self._incoming = self._now(), None
        path, _, query = incoming.target.decode("latin-1").partition("?")
        return Request(
            method=self._parser.get_method().decode("latin-1"),
            path=path,
            query=query,
            headers=MappingProxyType(incoming.headers),
            body=incoming.body[0] if len(incoming.body) == 1 else b"".join(incoming.body),
            trailers=MappingProxyType(incoming.trailers),
        )

    def _queue(self, job: _Job) -> None:
        self._jobs.append(job)
        if len(self._jobs) > MAX_WAITING and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        if self.task is None:
            self.task = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        """Answer the waiting requests, one after the other."""
        transport = self._transport
        assert transport is not None
        try:
            while self._jobs and not self._closing:
                job = self._jobs.popleft()
                if self._paused and len(self._jobs) < MAX_WAITING:
                    self._paused = False
                    transport.resume_reading()
                response = await self._answer(job)
                if transport.is_closing():
                    return
                transport.write(response.encode(keep_alive=job.keep_alive, head=job.request.method == "HEAD"))
                if not job.keep_alive:
                    self._closing = True
                    transport.close()
        finally:
            self.task = None

    async def _answer(self, job: _Job) -> Response:
        try:
            if job.bad is not None:
                return await self._refuse(job.request, job.bad)
            return await self._handler(job.request)
        except Exception:  # noqa: BLE001 - the edge: whatever is raised becomes an answer
            # The edge of the server: whatever a handler raises becomes an answer, and a line for the
            # developer.
            _log.exception("%s %s failed", job.request.method, job.request.path)
            return Response(500, b'{"errorMessage":"Internal error","errorType":"InternalServerError"}')

    def _malformed(self) -> None:
        """Answer 400 after what is already under way, and close."""
        transport = self._transport
        if transport is None or self._closing:
            return
        self._closing = True
        self._incoming = None
        if self.task is not None:
            self.task.cancel()
        body = b'{"errorMessage":"Malformed HTTP request","errorType":"InvalidRequest"}'
        transport.write(Response(400, body).encode(keep_alive=False))
        transport.close()
