"""Clients that are slow, greedy or hostile: each is dealt with, and the others do not notice."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING

import pytest
from lab.tests.talking import LIMIT_S, client, serving

from lambent_lab.http import Later, Request, Response, Server

if TYPE_CHECKING:
    from lambent_lab.http import Answer

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def handler(request: Request) -> Answer:
    return Later() if request.path == "/poll" else Response(200, request.body)


async def status_of(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    await reader.readexactly(length)
    return int(head.split()[1])


async def serves(server: Server) -> None:
    async with client(server) as (reader, writer):
        writer.write(GET)
        assert await status_of(reader) == 200


@pytest.mark.parametrize(
    "start",
    [
        b"G",
        b"GET / HTTP/1.1\r\nHost: x\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhalf",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhalf",
        GET + b"GET / ",
    ],
)
async def test_a_request_that_does_not_come_on_is_cut_off(start: bytes) -> None:
    async with serving(handler, head_s=0.1, stall_s=0.1) as server:
        async with client(server) as (reader, writer):
            writer.write(start)
            if start.startswith(GET):
                assert await status_of(reader) == 200
            assert await status_of(reader) == 408
            assert await reader.read() == b""
        await serves(server)


async def test_a_head_that_trickles_in_is_cut_off_though_it_moves() -> None:
    async with serving(handler, head_s=0.3, stall_s=60) as server, client(server) as (reader, writer):
        answer = asyncio.create_task(status_of(reader))
        writer.write(b"GET / HTTP/1.1\r\n")
        while not answer.done():
            writer.write(b"X: y\r\n")
            await asyncio.sleep(0.02)
        assert answer.result() == 408


async def test_polls_idle_connections_and_streamed_bodies_are_not_cut_off() -> None:
    streamed: asyncio.Queue[Request] = asyncio.Queue()

    async def handler(request: Request) -> Answer:
        if request.stream is not None:
            streamed.put_nowait(request)
            return Response(200, b"".join([piece async for piece in request.stream]))
        return Later() if request.path == "/poll" else Response(200)

    server = await Server.start(handler, head_s=0.05, stall_s=0.05, streams=lambda r: r.path == "/stream")
    async with (
        client(server) as (poll, polling),
        client(server) as (idle, idling),
        client(server) as (s, w),
    ):
        polling.write(GET.replace(b"/ ", b"/poll ", 1))
        idling.write(GET)
        assert await status_of(idle) == 200
        w.write(b"POST /stream HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na")
        await streamed.get()
        await asyncio.sleep(0.5)  # ten times what a request may take
        assert server.connections == 3
        idling.write(GET)
        assert await status_of(idle) == 200
        w.write(b"b")
        assert await status_of(s) == 200
        assert not poll.at_eof()
    await server.close()


async def test_on_hold_no_time_passes() -> None:
    async with serving(handler, head_s=0.1, stall_s=0.1) as server, client(server) as (reader, writer):
        server.hold(True)
        writer.write(GET[:-2])
        await asyncio.sleep(0.5)
        assert server.connections == 1
        server.hold(False)
        writer.write(GET[-2:])
        assert await status_of(reader) == 200
        writer.write(GET[:-2])
        assert await status_of(reader) == 408


async def test_what_is_announced_too_large_is_refused_before_it_comes() -> None:
    async with serving(handler, max_body=1000) as server:
        async with client(server) as (reader, writer):
            writer.write(
                b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1001\r\n\r\n"
            )
            assert await status_of(reader) == 413
            assert await reader.read() == b""
        async with client(server) as (reader, writer):
            writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000000\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                for _ in range(100):
                    writer.write(bytes(100_000))
                    await writer.drain()
            assert await status_of(reader) == 413
        await serves(server)


async def test_a_client_that_sends_on_can_read_why_it_was_cut_off() -> None:
    async with serving(handler) as server, client(server) as (reader, writer):
        writer.write(b"nonsense\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                writer.write(bytes(100_000))
                await writer.drain()
        assert await status_of(reader) == 400


async def test_a_flood_of_requests_is_read_as_fast_as_it_is_answered() -> None:
    async with serving(handler) as server, client(server) as (_, writer):
        writer.transport.set_write_buffer_limits(high=0)
        writer.write(GET.replace(b"/ ", b"/poll ", 1))
        sent = 0

        async def flood() -> None:
            nonlocal sent
            while True:
                writer.write(GET * 1000)
                await writer.drain()
                sent += 1000

        flooding = asyncio.create_task(flood())
        before = -1
        while before != sent:  # until nothing goes any more: the first request is not answered
            before = sent
            await asyncio.sleep(0.5)
        flooding.cancel()
        assert 0 < sent < 1_000_000
        await serves(server)


async def test_a_client_that_does_not_read_its_answers_waits_alone() -> None:
    body = bytes(8 * 1024 * 1024)
    async with serving(handler, max_body=len(body)) as server, client(server) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body + GET)
        await serves(server)
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"Content-Length: 8388608" in head
        assert await reader.readexactly(len(body)) == body
        assert await status_of(reader) == 200


async def test_hundreds_of_clients_at_once() -> None:
    async with serving(handler) as server:
        async with contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(client(server)) for _ in range(300)]
            for number, (_, writer) in enumerate(clients):
                writer.write(GET.replace(b"/ ", b"/poll ", 1) if number % 3 == 0 else GET)
            for number, (reader, _) in enumerate(clients):
                if number % 3:
                    assert await status_of(reader) == 200
            assert server.connections == 300
        async with asyncio.timeout(LIMIT_S):
            while server.connections:  # noqa: ASYNC110 - what the server hears of closing has no event
                await asyncio.sleep(0.01)


async def test_noise_does_no_harm() -> None:
    chance = random.Random(4)
    seeds = [
        GET,
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
        b"POST /s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n",
    ]

    def noise() -> bytes:
        data = bytearray(b"".join(chance.choices(seeds, k=3)))
        for _ in range(chance.randint(0, 6)):
            at = chance.randrange(len(data))
            data[at : at + chance.randint(0, 3)] = chance.randbytes(chance.randint(0, 4))
        return bytes(data)

    async def throw(server: Server) -> None:
        for _ in range(25):
            async with client(server) as (reader, writer):
                writer.write(noise())
                if chance.random() < 0.5:
                    writer.write_eof()
                    with contextlib.suppress(ConnectionError):
                        await reader.read()
                elif chance.random() < 0.5:
                    writer.transport.abort()

    async with serving(handler, streams=lambda r: r.path == "/s") as server:
        await asyncio.gather(*(throw(server) for _ in range(10)))
        await serves(server)
