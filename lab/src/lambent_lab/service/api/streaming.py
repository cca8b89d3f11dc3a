"""InvokeWithResponseStream: a response goes to the caller while the function makes it.

Rules
- The status goes out with the first byte of the response, or with its end: what refuses an invocation before
  is an error of HTTP's. A function that fails is told of in InvokeComplete, whenever it does.
- A caller that reads slowly slows the function down; one that goes away does not end it.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lambent_lab.http import Response, StreamedResponse
from lambent_lab.service.api import eventstream
from lambent_lab.service.api.invoke import log_tail, read, wants_tail

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from lambent_lab.environment import Invocation
    from lambent_lab.http import Request
    from lambent_lab.service.api.desk import Desk

MAX_WAITING = 16
"""How many pieces wait for a slow caller before the function does."""


class Pipe:
    """Takes a response from an environment and gives it to a caller, in order."""

    def __init__(self) -> None:
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(MAX_WAITING)
        self._gone = False
        self.begun = asyncio.Event()
        self.error: tuple[str, bytes] | None = None

    def begin(self, content_type: str, streaming: bool) -> None:  # noqa: ARG002 - the protocol's
        """A response begins."""
        self.begun.set()

    async def write(self, data: bytes) -> None:
        """Take a piece; wait while the caller is behind."""
        await self._room.acquire()
        if self._gone:
            self._room.release()  # for whoever waits beside or after
            raise ConnectionError("the caller has gone")
        self._pieces.put_nowait(data)

    async def end(self, error_type: str | None, error_body: bytes) -> None:
        """Take the end, at once: an environment does not wait for a caller when its function is done."""
        if error_type is not None:
            self.error = (error_type, error_body)
        self.begun.set()
        self._pieces.put_nowait(None)

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the pieces until the end."""
        while (piece := await self._pieces.get()) is not None:
            self._room.release()
            yield piece

    def abandon(self) -> None:
        """The caller has gone: take nothing more, and keep nobody waiting."""
        self._gone = True
        self._room.release()


async def invoke_with_stream(desk: Desk, name: str, request: Request) -> Response | StreamedResponse:
    """InvokeWithResponseStream."""
    headers = request.headers
    deployed, call = read(desk, name, request)
    tail = wants_tail(headers.get("x-amz-log-type"))
    version = desk.core.choose(deployed, call.qualifier)
    if headers.get("x-amz-invocation-type") == "DryRun":
        return Response(204, b"", (("X-Amz-Executed-Version", version.number),))
    pipe = Pipe()
    core = desk.core
    task = core.fleet.spawn_raising(core.run(deployed, version, replace(call, sink=pipe)))
    begun = asyncio.ensure_future(pipe.begun.wait())
    try:
        either: list[asyncio.Future[Any]] = [begun, task]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        pipe.abandon()
        raise
    finally:
        begun.cancel()
    if task.done():
        task.result()  # raises what kept it from running
    fields = (
        ("Content-Type", eventstream.CONTENT_TYPE),
        ("X-Amzn-RequestId", call.request_id or ""),
        ("X-Amz-Executed-Version", version.number),
        ("X-Amzn-Trace-Id", call.trace_header or ""),
    )
    return StreamedResponse(200, fields, _frames(pipe, task, tail=tail))


async def _frames(pipe: Pipe, task: asyncio.Task[Invocation], *, tail: bool) -> AsyncIterator[bytes]:
    try:
        async for piece in pipe.pieces():
            yield eventstream.payload_chunk(piece)
        log = log_tail(await asyncio.shield(task)) if tail else None
        kind, details = pipe.error or (None, None)
        text = None if details is None else details.decode("utf-8", "replace")
        yield eventstream.invoke_complete(kind, text, log)
    finally:
        pipe.abandon()
