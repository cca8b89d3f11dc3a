"""One client's connection: runs the handler for what arrives, and writes the answers in order.

No task is made for a handler that answers at once or with a `Later`; a small answer is one write. The rules
are in `server`.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from typing import TYPE_CHECKING, Protocol

from lambent_lab.http.messages import BadBody, CutOff, Later, Request, Response, StreamedResponse
from lambent_lab.http.reader import TIMEOUT, Arrived, Limits, Reader
from lambent_lab.http.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine

    from lambent_lab.http.messages import Answer

MAX_WAITING = 64  # pipelined requests of one connection that wait for their turn
LINGER_S = 2.0  # how long a client that was cut off may go on sending, so that it can read why

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_log = logging.getLogger(__name__)


class Owner(Limits, Protocol):
    """What a connection needs of its server. All read into one buffer: what comes is taken at once."""

    buffer: memoryview

    def answer(self, request: Request, bad: BadBody | None) -> Answer | Awaitable[Answer]:
        """Have a request handled, or refused for its body."""

    def spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Run something until it ends or the server closes."""

    def opened(self, connection: Connection) -> None:
        """A connection is there."""

    def closed(self, connection: Connection) -> None:
        """A connection is gone."""


class Connection(asyncio.BufferedProtocol):
    """One client's connection."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._reader = Reader(owner, lambda slow: self._pause("body", slow=slow))
        self._job: Arrived | None = None  # what is being answered
        self._later: Later | None = None
        self._task: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport
        self._writer: Writer
        self._deaf = False  # what still comes is not read
        self._slow: set[str] = set()  # why reading is paused

    # -- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._writer = Writer(transport)
        peer = transport.get_extra_info("peername")
        self._reader.peer = str(peer[0]) if isinstance(peer, tuple) else ""
        self._owner.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Stop everything that is done for this client."""
        self._deaf = True
        self._reader.cut_off()
        self._reader.arrived.clear()
        self._owner.closed(self)
        self._writer.lost()
        self._forsake()

    def pause_writing(self) -> None:
        """The client does not read."""
        self._writer.pause()

    def resume_writing(self) -> None:
        """The client has read."""
        self._writer.resume()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """Say where to read to. (Bytes made for every read would be mapped and unmapped every time.)"""
        return self._owner.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Read, and answer what can be answered at once."""
        if self._deaf:
            return
        reader = self._reader
        reader.feed(self._owner.buffer[:nbytes])
        self._advance()
        if reader.refused is not None:
            self._cut(reader.refused)
        elif len(reader.arrived) > MAX_WAITING:
            self._pause("requests", slow=True)

    def eof_received(self) -> bool:
        """Answer a request that was cut off. Any other that is under way has lost its client."""
        if self._deaf:
            return self._writer.busy
        self._deaf = True
        reader = self._reader
        reader.end()
        self._advance()
        # Clients of the Runtime API do not half-close: what they end is over, and a long
        # poll must not wait on. Only what has not been answered yet is said first.
        if reader.arrived:
            reader.arrived[-1].keep_alive = False
            return True
        job = self._job
        if job is None:
            return False
        if job.request.stream is not None or job.bad is not None or self._writer.busy:
            job.keep_alive = False
            return True
        return False

    # -- the server's side

    def overdue(self, now: float, head_s: float, stall_s: float | None) -> None:
        """Cut the client off if it does not get on with its request."""
        if not self._deaf and not self._slow and self._reader.overdue(now, head_s, stall_s):
            self._cut(TIMEOUT)

    def touch(self, now: float) -> None:
        """Start the clock of `overdue` anew: the client could not go on until now."""
        self._reader.touch(now)

    def abort(self) -> None:
        """Drop the connection and what it waits for."""
        self._deaf = True
        if self._task is not None:
            self._task.cancel()
        self._transport.abort()

    # -- reading and ending

    def _pause(self, why: str, *, slow: bool) -> None:
        """Read on, or do not, for one of the reasons there can be."""
        before = bool(self._slow)
        (self._slow.add if slow else self._slow.discard)(why)
        if bool(self._slow) is not before and not self._transport.is_closing():
            (self._transport.pause_reading if slow else self._transport.resume_reading)()
            self._reader.touch(time.perf_counter())

    def _cut(self, response: Response) -> None:
        """Say why, drop everything else and close, but not before the client could read it."""
        transport, self._deaf = self._transport, True
        self._reader.cut_off()
        self._reader.arrived.clear()
        in_the_middle = self._writer.busy
        self._forsake()
        if transport.is_closing():
            return
        if in_the_middle:  # of another answer: there is no place for this one
            transport.abort()
            return
        self._job = None
        transport.write(response.encode(keep_alive=False))
        self._linger()

    def _linger(self) -> None:
        """Close, but read on for a while: a reset would take the answer from a client that still sends."""
        self._deaf = True
        self._pause("body", slow=False)
        self._pause("requests", slow=False)
        self._transport.write_eof()
        asyncio.get_running_loop().call_later(LINGER_S, self._transport.close)

    def _forsake(self) -> None:
        """The client has gone, or will: what is being done for it ends."""
        later, self._later = self._later, None
        if later is not None:
            later.drop()
        job, task = self._job, self._task
        if task is None:
            return
        # Whoever reads a body is told that it broke off, and ends by itself.
        if job is None or job.request.stream is None or not job.request.stream.broken:
            task.cancel()

    # -- answering

    def _advance(self) -> None:
        """Answer the waiting requests as far as that can be done at once."""
        reader = self._reader
        while self._job is None and reader.arrived and not self._transport.is_closing():
            job = self._job = reader.arrived.popleft()
            if self._slow and len(reader.arrived) < MAX_WAITING:
                self._pause("requests", slow=False)
            self._begin(job)
        if reader.take_continue(None if self._job is None else self._job.request):
            self._transport.write(_CONTINUE)

    def _begin(self, job: Arrived) -> None:
        try:
            answer = self._owner.answer(job.request, job.bad)
        except Exception:  # noqa: BLE001 - the edge: whatever is raised becomes an answer
            answer = _failed(job)
        if isinstance(answer, Response):
            self._respond(answer)
        elif isinstance(answer, Later):
            self._wait(answer)
        else:
            task = self._task = self._owner.spawn(self._work(job, answer))
            if inspect.iscoroutine(answer):  # a task that is cancelled before it began has not awaited it
                task.add_done_callback(lambda _: answer.close())

    async def _work(self, job: Arrived, answer: StreamedResponse | Awaitable[Answer]) -> None:
        """Wait for an answer, or for its body."""
        try:
            settled = await self._settled(job, answer) if inspect.isawaitable(answer) else answer
            if isinstance(settled, StreamedResponse):
                await self._stream(job, settled)
                return
        except asyncio.CancelledError:
            self.abort()  # whoever cancelled it: there will be no answer
            raise
        self._task = None
        if isinstance(settled, Response):
            self._respond(settled, soon=True)
        else:
            self._wait(settled)

    @staticmethod
    async def _settled(job: Arrived, answer: Awaitable[Answer]) -> Answer:
        try:
            return await answer
        except Exception:  # noqa: BLE001 - the edge: whatever is raised becomes an answer
            return _failed(job)

    async def _stream(self, job: Arrived, answer: StreamedResponse) -> None:
        job.keep_alive = job.keep_alive and job.http11  # the end of the connection is the end of the body
        head = answer.encode_head(keep_alive=job.keep_alive, chunked=job.http11)
        bodiless = job.request.method == "HEAD"
        try:
            await self._writer.stream(head, answer, chunked=job.http11, bodiless=bodiless)
        except CutOff:
            self._task = None
            self._deaf = True
            self._transport.close()  # after what has been written: only the end is missing
        except Exception:  # noqa: BLE001 - the edge: too late for another answer, the missing end says it
            _log.exception("%s %s failed in its body", job.request.method, job.request.path)
            self._task = None
            self.abort()
        else:
            self._task = None
            self._finish(soon=True)

    def _wait(self, later: Later) -> None:
        if self._transport.is_closing():
            later.drop()
            return
        self._later = later
        later.then(self._respond_later)

    def _respond_later(self, response: Response) -> None:
        self._later = None
        self._respond(response, soon=True)

    def _respond(self, response: Response, *, soon: bool = False) -> None:
        """Write an answer. `soon`: what comes next is begun later, not inside the caller."""
        job = self._job
        if job is None or self._transport.is_closing():
            return
        bodiless = job.request.method == "HEAD"
        if self._writer.write(response, keep_alive=job.keep_alive, bodiless=bodiless, done=self._finish):
            self._finish(soon=soon)

    def _finish(self, *, soon: bool = True) -> None:
        """An answer has been written: go on with the next request, or hang up."""
        job, self._job = self._job, None
        if job is None:
            return
        if job.request.stream is not None:
            job.request.stream.discard()
        if job.bad is BadBody.TOO_LARGE and not job.keep_alive:
            self._linger()
        elif not job.keep_alive:
            self._deaf = True
            self._transport.close()
        elif soon and self._reader.more:
            asyncio.get_running_loop().call_soon(self._advance)


def _failed(job: Arrived) -> Response:
    """Write what a handler raised into the log, for the developer, and return what its client gets."""
    _log.exception("%s %s failed", job.request.method, job.request.path)
    return Response(500, b'{"errorMessage":"Internal error","errorType":"InternalServerError"}')
