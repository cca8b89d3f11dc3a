"""A server of the lab's, and a raw connection to it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from lambent_lab.http import Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LIMIT_S = 60


@contextlib.asynccontextmanager
async def serving(handler: object, **options: object) -> AsyncIterator[Server]:
    server = await Server.start(handler, **options)  # type: ignore[arg-type]
    try:
        yield server
    finally:
        await server.close()


@contextlib.asynccontextmanager
async def client(server: Server) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    async with asyncio.timeout(LIMIT_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        try:
            yield reader, writer
        finally:
            writer.close()
