"""The network that a function is in: the host's, or one of its own that has nothing but a loopback.

In a network of its own a function cannot reach anything, and nothing can reach it, but what the lab lets in:
the Runtime API at 127.0.0.1:9001, as on Lambda, and the ports that are forwarded. Several environments can
have extensions that listen on the same port. A socket belongs to the network that it was made in for good:
the lab has it made in there and serves it like any other.
"""

from __future__ import annotations

import asyncio
import socket
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

RUNTIME_API_PORT = 9001
"""Where the Runtime API listens in a network of its own, as on Lambda."""

LOOPBACK = "127.0.0.1"
_CHUNK = 65536


class Network(ABC):
    """Where sockets are made."""

    how: str
    private: bool

    @abstractmethod
    async def _socket(self, kind: int) -> socket.socket:
        """Make a socket (SOCK_STREAM or SOCK_DGRAM) in this network."""

    async def listen(self, port: int, backlog: int = 256) -> socket.socket:
        """Return a socket that listens on a port of the loopback (0: a free one). OSError if it is taken."""
        return await self._bound(socket.SOCK_STREAM, port, backlog)

    async def datagrams(self, port: int) -> socket.socket:
        """Return a UDP socket on a port of the loopback, such as the X-Ray daemon's 2000."""
        return await self._bound(socket.SOCK_DGRAM, port, 0)

    async def _bound(self, kind: int, port: int, backlog: int) -> socket.socket:
        made = await self._socket(kind)
        try:
            made.setblocking(False)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((LOOPBACK, port))
            if kind == socket.SOCK_STREAM:
                made.listen(backlog)
        except BaseException:
            made.close()
            raise
        return made

    async def connect(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to a port of the loopback. Raises OSError when nobody listens there."""
        made = await self._socket(socket.SOCK_STREAM)
        try:
            made.setblocking(False)
            await asyncio.get_running_loop().sock_connect(made, (LOOPBACK, port))
            return await asyncio.open_connection(sock=made)
        except BaseException:
            made.close()
            raise


class HostNetwork(Network):
    """The network that the lab itself is in."""

    how = "the host's"
    private = False

    async def _socket(self, kind: int) -> socket.socket:
        return socket.socket(socket.AF_INET, kind)


class PrivateNetwork(Network):
    """A network of its own. `make` makes a socket in it."""

    how = "a loopback of its own"
    private = True

    def __init__(self, make: Callable[[int], Awaitable[socket.socket]]) -> None:
        self._make = make

    async def _socket(self, kind: int) -> socket.socket:
        return await self._make(kind)


class Forwarding:
    """A port of a function's network that leads to the same port of the lab's. Made by `start`."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._server: asyncio.Server | None = None
        self._under_way: set[asyncio.Task[None]] = set()

    @classmethod
    async def start(cls, network: Network, port: int) -> Forwarding:
        """Listen. Raises OSError when the port is taken."""
        forwarding = cls(port)
        forwarding._server = await asyncio.start_server(
            forwarding._serve, sock=await network.listen(port), backlog=256
        )
        return forwarding

    async def close(self) -> None:
        """Stop, and drop what is under way. Safe to call again."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for task in self._under_way:
            task.cancel()
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=5)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._under_way.add(task)
        try:
            with suppress(OSError):
                there, back = await asyncio.open_connection(LOOPBACK, self._port)
                try:
                    async with asyncio.TaskGroup() as both:
                        both.create_task(_pump(reader, back))
                        both.create_task(_pump(there, writer))
                finally:
                    back.close()
        except* (OSError, asyncio.CancelledError):
            pass  # either end may go away at any time
        finally:
            self._under_way.discard(task)
            writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes until it ends, and then the end."""
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
