"""A request's body while it arrives: an async iterator that slows its sender down.

Rules
- What has arrived and was not taken yet is at most HIGH bytes and one read of the socket: then the connection
  is not read any more, until less than LOW bytes are left.
- The iterator ends with the body; `trailers` are known from then on.
- A body that breaks off, or grows over its limit, raises BodyError after what had arrived.
- Whoever is done before the end calls `discard` (the server does so after the answer): the rest is thrown
  away.
"""

from __future__ import annotations

import asyncio
from collections import deque
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

from lambent_lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lambent_lab.http.messages import BadBody

HIGH = 256 * 1024
LOW = 64 * 1024


class BodyError(LabError):
    """The body is not complete: `why` says whether it broke off or was too large."""

    def __init__(self, why: BadBody) -> None:
        super().__init__(f"The request's body is {why.value}.")
        self.why = why


class Body:
    """A request's body as it arrives. Iterate over it once, in one task."""

    def __init__(self, throttle: Callable[[bool], None]) -> None:
        self.received = 0
        self.trailers: Mapping[str, str] = MappingProxyType({})
        self._throttle = throttle
        self._parts: deque[bytes] = deque()
        self._held = 0
        self._slow = False
        self._over = False
        self._discarding = False
        self._why: BadBody | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def complete(self) -> bool:
        """Whether nothing more will arrive: the body is there to its end, or broken."""
        return self._over

    @property
    def broken(self) -> bool:
        """Whether the body is not complete and will not be."""
        return self._why is not None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while not self._parts:
            if self._why is not None:
                raise BodyError(self._why)
            if self._over:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        part = self._parts.popleft()
        self._held -= len(part)
        if self._slow and self._held < LOW:
            self._slow = False
            self._throttle(False)
        return part

    def discard(self) -> None:
        """Throw away what is there and what comes: nobody wants the rest."""
        self._discarding = True
        self._parts.clear()
        self._held = 0
        if self._slow:
            self._slow = False
            self._throttle(False)

    # -- the server's side

    def feed(self, data: bytes) -> None:
        """Take what has arrived."""
        self.received += len(data)
        if self._discarding or self._over:
            return
        self._parts.append(data)
        self._held += len(data)
        if not self._slow and self._held > HIGH:
            self._slow = True
            self._throttle(True)
        self._wake()

    def end(self, trailers: Mapping[str, str]) -> None:
        """The body is complete."""
        self.trailers = trailers
        self._over = True
        self._wake()

    def fail(self, why: BadBody) -> None:
        """Nothing more will come, and something is missing."""
        if not self._over:
            self._over, self._why = True, why
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
