"""Writing answers: a small one in one write, a big one in slices, a streamed one piece by piece.

What the transport buffers is bounded: no more is given to it while the client does not read.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from lambent_lab.http.messages import Response, StreamedResponse

ONE_WRITE = 64 * 1024  # up to this size a copy is cheaper than a second system call
SLICE = 256 * 1024


class Writer:
    """The writing side of one connection."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._paused = False
        self._rest: memoryview | None = None
        self._done: Callable[[], None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._streaming = False

    @property
    def busy(self) -> bool:
        """Whether an answer has been begun and is not written yet."""
        return self._rest is not None or self._streaming

    def write(
        self, response: Response, *, keep_alive: bool, bodiless: bool, done: Callable[[], None]
    ) -> bool:
        """Write an answer; True: it is written. False: `done` is called when it is."""
        transport, body = self._transport, response.body
        if transport.is_closing():
            return False
        if bodiless or len(body) <= ONE_WRITE:
            transport.write(response.encode(keep_alive=keep_alive, head=bodiless))
            return True
        transport.write(response.encode_head(keep_alive=keep_alive))
        self._rest = memoryview(body)
        if self._pump():
            return True
        self._done = done
        return False

    async def stream(self, head: bytes, answer: StreamedResponse, *, chunked: bool, bodiless: bool) -> None:
        """Write an answer while its body is being made. Raises what its iterator raises."""
        transport = self._transport
        self._streaming = True
        try:
            transport.write(head)
            if bodiless:
                return
            async for piece in answer.body:
                if piece:
                    await self._piece(piece, chunked=chunked)
            if chunked:
                transport.write(answer.encode_end())
        finally:
            self._streaming = False
            await _close(answer.body)

    async def _piece(self, piece: bytes, *, chunked: bool) -> None:
        if chunked and len(piece) <= ONE_WRITE:
            self._transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await self._drain()
            return
        if chunked:
            self._transport.write(b"%x\r\n" % len(piece))
        view = memoryview(piece)
        for start in range(0, len(view), SLICE):
            self._transport.write(view[start : start + SLICE])
            await self._drain()
        if chunked:
            self._transport.write(b"\r\n")

    async def _drain(self) -> None:
        """Wait until the client has read enough."""
        if self._paused:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained

    def _pump(self) -> bool:
        """Write of a big answer what the client reads, and tell whether that was the end of it."""
        rest = self._rest
        while rest and not self._paused:
            self._transport.write(rest[:SLICE])
            rest = rest[SLICE:]
        self._rest = rest or None
        return not rest

    # -- the transport's side

    def pause(self) -> None:
        """The client does not read."""
        self._paused = True

    def resume(self) -> None:
        """The client has read."""
        self._paused = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        if self._rest is not None and self._pump() and self._done is not None:
            done, self._done = self._done, None
            done()

    def lost(self) -> None:
        """The client has gone."""
        self._rest = self._done = None
        if self._drained is not None:
            self._drained.cancel()


async def _close(body: AsyncIterator[bytes]) -> None:
    """End an iterator that may be a generator."""
    aclose = getattr(body, "aclose", None)
    if aclose is not None:
        await aclose()
