"""One invocation's response on its way from the runtime to the caller.

Rules
- Without a sink the response is collected and is the invocation's payload, streamed or not: so does Lambda
  when a function that streams is invoked with Invoke. It may have 6 MiB + 100 bytes then.
- With a sink a streamed response is handed on piece by piece, as it arrives, and is kept nowhere. A sink that
  is slow slows the function down, whose timeout goes on. `protocol.streaming` has its limits.
- A response that is not streamed goes to the sink in one piece.
- A sink that raises has lost its caller: nothing more is written to it, and the function runs on, as Lambda
  does not stop it either.
- What has been written stays written when the response fails later: the end says how.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Protocol

from lambent_lab.protocol.runtime import MAX_RESPONSE
from lambent_lab.protocol.streaming import AWS_LIMITS, Bandwidth, StreamLimits

if TYPE_CHECKING:
    from collections.abc import Awaitable

_log = logging.getLogger(__name__)


class ResponseSink(Protocol):
    """Takes a response as it comes. All methods are called in the environment's event loop, one at a time.

    `begin` and `write` are not called for an invocation that fails before it responds; `end` is called once,
    unless the lab itself fails (`invoke` raises) or is cancelled.
    """

    def begin(self, content_type: str, streaming: bool) -> None:
        """A response begins; `streaming` says whether it comes piece by piece."""

    async def write(self, data: bytes) -> None:
        """Take the next piece. Return when another one can be taken."""

    async def end(self, error_type: str | None, error_body: bytes) -> None:
        """The response is over: complete (None), or failed with Lambda's error type and error document."""


class Delivery:
    """Takes a response from the runtime. `began` and `ended` are moments of the performance counter."""

    def __init__(self, sink: ResponseSink | None = None, limits: StreamLimits = AWS_LIMITS) -> None:
        self.streamed = False
        self.size = 0
        self.began: float | None = None
        self.ended: float | None = None
        self._sink = sink
        self._limits = limits
        self._max = MAX_RESPONSE if sink is None else limits.size
        self._parts: list[bytes] = []
        self._bandwidth: Bandwidth | None = None
        self._feeding: asyncio.Task[object] | None = None

    @property
    def limit(self) -> int:
        """How many bytes the response may have."""
        return self._max if self.streamed else MAX_RESPONSE

    def collected(self) -> bytes:
        """Return what was collected, and forget it."""
        parts, self._parts = self._parts, []
        return parts[0] if len(parts) == 1 else b"".join(parts)

    # -- a streamed response

    def begin(self, content_type: str, at: float) -> None:
        """A streamed response begins, with its head at a moment of the performance counter."""
        self.streamed, self.began = True, at
        self._feeding = asyncio.current_task()
        if self._sink is not None:
            self._bandwidth = Bandwidth(self._limits, time.perf_counter())
            self._tell_begin(content_type, streaming=True)

    async def write(self, data: bytes) -> bool:
        """Take a piece; False: it is too much. What is allowed of it has been taken."""
        allowed = self._max - self.size
        fits = len(data) <= allowed
        if not fits:
            data = data[:allowed]
        self.size += len(data)
        if self._bandwidth is None:
            self._parts.append(data)
            return fits
        wait_s = self._bandwidth.take(len(data), time.perf_counter())
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        if data and self._sink is not None:
            await self._tell(self._sink.write(data))
        return fits

    def fed(self, at: float) -> None:
        """The runtime has sent everything, or no more will come from it."""
        self.ended = at
        self._feeding = None

    # -- the end

    async def respond(self, body: bytes, content_type: str) -> None:
        """Give the caller a response that is not streamed, and end it."""
        if self._sink is not None:
            self._tell_begin(content_type, streaming=False)
        if self._sink is not None:
            await self._tell(self._sink.write(body))
        await self.end(None, b"")

    async def end(self, error_type: str | None, error_body: bytes) -> None:
        """End the response. A piece that is still being written is given up."""
        feeding, self._feeding = self._feeding, None
        if feeding is not None:
            self.ended = time.perf_counter()
            feeding.cancel()
            await asyncio.wait([feeding])
        if self._sink is not None:
            await self._tell(self._sink.end(error_type, error_body))
        self._sink = None

    def _tell_begin(self, content_type: str, *, streaming: bool) -> None:
        assert self._sink is not None
        try:
            self._sink.begin(content_type, streaming)
        except Exception:  # noqa: BLE001 - the edge: the sink is its owner's code
            self._lost()

    async def _tell(self, telling: Awaitable[None]) -> None:
        try:
            await telling
        except Exception:  # noqa: BLE001 - the edge: the sink is its owner's code
            self._lost()

    def _lost(self) -> None:
        _log.debug("The caller has gone", exc_info=True)
        self._sink = None
