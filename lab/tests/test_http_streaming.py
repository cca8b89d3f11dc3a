"""Bodies that are streamed, in both directions: order, backpressure, trailers, ends that are none."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest
from lab.tests.talking import client, serving

from lambent_lab.http import BadBody, BodyError, Later, Request, Response, Server, StreamedResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from lambent_lab.http import Answer


def head_of(method: str, path: str, *fields: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *fields, "", ""]).encode()


CHUNKED = ("Transfer-Encoding: chunked",)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    return int(head[0].split()[1]), dict(line.lower().split(": ", 1) for line in head[1:] if line)


async def read_chunk(reader: asyncio.StreamReader) -> bytes:
    size = int(await reader.readuntil(b"\r\n"), 16)
    data = await reader.readexactly(size)
    if size:
        assert await reader.readexactly(2) == b"\r\n"
    return data


class Takes:
    """A handler that reads bodies as they come, a piece each time it is let."""

    def __init__(self) -> None:
        self.pieces: asyncio.Queue[bytes] = asyncio.Queue()
        self.ended: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self.go = asyncio.Semaphore(0)

    async def __call__(self, request: Request) -> Answer:
        assert request.stream is not None
        try:
            async for piece in request.stream:
                self.pieces.put_nowait(piece)
                await self.go.acquire()
        except BodyError as error:
            self.ended.set_result(error.why)
            return Response(400, error.why.value.encode())
        self.ended.set_result(dict(request.stream.trailers))
        return Response(200, str(request.stream.received).encode())


def always(_request: Request) -> bool:
    return True


async def test_a_body_is_handed_on_as_it_arrives() -> None:
    takes = Takes()
    async with serving(takes, streams=always) as server, client(server) as (reader, writer):
        writer.write(head_of("POST", "/", *CHUNKED))
        for piece in (b"one", b"two", b"three"):
            writer.write(chunk(piece))
            assert await takes.pieces.get() == piece  # the body is not over yet
            takes.go.release()
        writer.write(b"0\r\nX-End: yes\r\n\r\n")
        assert await takes.ended == {"x-end": "yes"}
        status, fields = await read_head(reader)
        assert (status, await reader.readexactly(int(fields["content-length"]))) == (200, b"11")


async def test_a_slow_handler_slows_its_client_down() -> None:
    takes = Takes()
    total = 64 * 1024 * 1024
    async with serving(takes, streams=always) as server, client(server) as (reader, writer):
        writer.transport.set_write_buffer_limits(high=0)
        writer.write(head_of("POST", "/", f"Content-Length: {total}"))
        sent = 0

        async def send() -> None:
            nonlocal sent
            while sent < total:
                writer.write(bytes(1024 * 1024))
                await writer.drain()
                sent += 1024 * 1024

        sending = asyncio.create_task(send())
        await takes.pieces.get()
        before = -1
        while before != sent:  # until nothing moves any more
            before = sent
            await asyncio.sleep(0.3)
        assert sent < total / 2  # what the sockets and the body hold
        takes.go.release()
        for _ in range(total):
            takes.go.release()
            if takes.ended.done():
                break
            await asyncio.sleep(0)
        await sending
        assert await takes.ended == {}
        assert (await read_head(reader))[0] == 200


@pytest.mark.parametrize("half", [True, False])
async def test_a_body_that_breaks_off_is_told_after_what_had_come(half: bool) -> None:
    takes = Takes()
    takes.go.release()
    async with serving(takes, streams=always) as server, client(server) as (reader, writer):
        writer.write(head_of("POST", "/", *CHUNKED) + chunk(b"start"))
        assert await takes.pieces.get() == b"start"
        if half:
            writer.write_eof()
            status, fields = await read_head(reader)
            assert (status, fields["connection"]) == (400, "close")
        else:
            writer.transport.abort()
        assert await takes.ended is BadBody.TRUNCATED


async def test_a_streamed_body_has_a_limit_too() -> None:
    takes = Takes()
    for _ in range(10):
        takes.go.release()
    async with (
        serving(takes, streams=always, max_streamed=9) as server,
        client(server) as (reader, writer),
    ):
        writer.write(head_of("POST", "/", *CHUNKED) + chunk(b"12345"))
        await takes.pieces.get()
        writer.write(chunk(b"67890") + b"0\r\n\r\n" + head_of("POST", "/", "Content-Length: 0"))
        assert await takes.ended is BadBody.TOO_LARGE
        status, fields = await read_head(reader)
        assert (status, fields["connection"]) == (400, "keep-alive")


async def test_what_a_handler_leaves_of_a_body_is_thrown_away() -> None:
    def handler(request: Request) -> Response:
        return Response(200, request.path.encode())

    async with (
        serving(handler, streams=lambda r: r.path == "/early") as server,
        client(server) as (reader, writer),
    ):
        size = 3_000_000
        writer.write(head_of("POST", "/early", f"Content-Length: {size}") + bytes(size))
        writer.write(head_of("GET", "/next"))
        for path in (b"/early", b"/next"):
            _, fields = await read_head(reader)
            assert await reader.readexactly(int(fields["content-length"])) == path


async def test_a_response_is_sent_while_it_is_made() -> None:
    pieces: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def body() -> AsyncIterator[bytes]:
        while (piece := await pieces.get()) is not None:
            yield piece

    def trailers() -> Iterator[tuple[str, str]]:
        yield "X-End", "yes\r\nno"

    def handler(_request: Request) -> StreamedResponse:
        return StreamedResponse(200, (("Trailer", "X-End"), ("Content-Type", "text/x")), body(), trailers)

    async with serving(handler) as server, client(server) as (reader, writer):
        for _ in range(2):  # the connection serves on
            writer.write(head_of("GET", "/"))
            status, fields = await read_head(reader)  # before there is a body
            assert (status, fields["transfer-encoding"], fields["content-type"]) == (200, "chunked", "text/x")
            assert "content-length" not in fields
            for piece in (b"a", b"bc", b"", b"x" * 300_000):
                pieces.put_nowait(piece)
                if piece:
                    assert await read_chunk(reader) == piece
            pieces.put_nowait(None)
            assert await reader.readuntil(b"\r\n\r\n") == b"0\r\nX-End: yes  no\r\n\r\n"


class Endless:
    """A body without an end; says when it is closed."""

    def __init__(self) -> None:
        self.made = 0
        self.closed = asyncio.Event()

    async def body(self) -> AsyncIterator[bytes]:
        try:
            while True:
                self.made += 1
                yield bytes(64 * 1024)
                await asyncio.sleep(0)
        finally:
            self.closed.set()


async def test_a_client_that_does_not_read_is_not_written_for() -> None:
    endless = Endless()
    async with (
        serving(lambda _: StreamedResponse(200, (), endless.body())) as server,
        client(server) as (reader, writer),
    ):
        writer.write(head_of("GET", "/"))
        await read_head(reader)
        before = -1
        while before != endless.made:
            before = endless.made
            await asyncio.sleep(0.3)
        assert endless.made < 1000
        await read_chunk(reader)
        writer.transport.abort()
        await endless.closed.wait()


async def test_closing_the_server_ends_streamed_responses() -> None:
    endless = Endless()
    server = await Server.start(lambda _: StreamedResponse(200, (), endless.body()))
    async with client(server) as (reader, writer):
        writer.write(head_of("GET", "/"))
        await read_head(reader)
        await server.close()
        assert endless.closed.is_set()


async def test_a_body_that_fails_ends_the_connection_without_an_end(caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"begun"
        raise RuntimeError("as asked")

    async with (
        serving(lambda _: StreamedResponse(200, (), body())) as server,
        client(server) as (reader, writer),
    ):
        writer.write(head_of("GET", "/"))
        await read_head(reader)
        with contextlib.suppress(ConnectionResetError):
            assert not (await reader.read()).endswith(b"0\r\n\r\n")
    assert "as asked" in caplog.text


async def test_old_clients_and_head_get_no_chunks() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"some"
        yield b"thing"

    async with serving(lambda _: StreamedResponse(200, (), body())) as server:
        async with client(server) as (reader, writer):
            writer.write(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            _, fields = await read_head(reader)
            assert "transfer-encoding" not in fields
            assert fields["connection"] == "close"
            assert await reader.read() == b"something"
        async with client(server) as (reader, writer):
            writer.write(head_of("HEAD", "/") + head_of("GET", "/"))
            assert (await read_head(reader))[1]["transfer-encoding"] == "chunked"
            assert (await read_head(reader))[0] == 200
            assert await read_chunk(reader) == b"some"


async def test_an_answer_can_come_later() -> None:
    polls: asyncio.Queue[Later] = asyncio.Queue()
    gone = asyncio.Event()

    def handler(request: Request) -> Answer:
        if request.path == "/known":
            later = Later()
            later.set(Response(201))
            later.set(Response(500))  # too late
            return later
        later = Later(gone.set)
        polls.put_nowait(later)
        return later

    async with serving(handler) as server, client(server) as (reader, writer):
        writer.write(head_of("GET", "/known") + head_of("GET", "/poll") + head_of("GET", "/known"))
        assert (await read_head(reader))[0] == 201
        (await polls.get()).set(Response(202))
        assert (await read_head(reader))[0] == 202
        assert (await read_head(reader))[0] == 201
        assert not gone.is_set()
        writer.write(head_of("GET", "/poll"))
        poll = await polls.get()
        writer.close()
        await gone.wait()
        poll.set(Response(200))  # nobody hears it
