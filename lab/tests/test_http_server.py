"""The HTTP server over real sockets: whole, in pieces, pipelined, malformed, cut off."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from lambent_lab.http import BadBody, Request, Response, Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Recorder:
    """A handler that keeps what it gets and can be told to wait or to fail."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.waiting = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        if request.path == "/wait":
            self.waiting.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        if request.path == "/fail":
            raise RuntimeError("as asked")
        return Response(200, request.body[:100], (("X-Path", request.path),))


@pytest.fixture
async def handler() -> Recorder:
    return Recorder()


@pytest.fixture
async def server(handler: Recorder) -> AsyncIterator[Server]:
    made = await Server.start(handler, max_body=1000)
    yield made
    await made.close()


async def talk(
    server: Server, *parts: bytes, end: bool = False
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    for part in parts:
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(0)
    if end:
        writer.write_eof()
    return reader, writer


async def read_one(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    async with asyncio.timeout(5):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        body = await reader.readexactly(int(fields.get("content-length", 0)))
        return int(head[0].split()[1]), fields, body


async def exchange(server: Server, *parts: bytes, end: bool = False) -> tuple[int, dict[str, str], bytes]:
    reader, writer = await talk(server, *parts, end=end)
    try:
        return await read_one(reader)
    finally:
        writer.close()


PLAIN = b"POST /a/b?c=d HTTP/1.1\r\nHost: x\r\nX-Two: 1\r\nX-Two: 2\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: X-End\r\n\r\n"
    b"3\r\nabc\r\n2\r\nde\r\n0\r\nX-End: yes\r\nX-More: two\r\n\r\n"
)


async def test_a_request_and_its_answer(server: Server, handler: Recorder) -> None:
    status, fields, body = await exchange(server, PLAIN)
    assert (status, body, fields["x-path"], fields["connection"]) == (200, b"hello", "/a/b", "keep-alive")
    request = handler.requests[0]
    assert (request.method, request.path, request.query, request.body) == ("POST", "/a/b", "c=d", b"hello")
    assert dict(request.headers) == {"host": "x", "x-two": "1, 2", "content-length": "5"}
    assert server.url == f"http://127.0.0.1:{server.port}"


async def test_chunks_and_trailers(server: Server, handler: Recorder) -> None:
    assert (await exchange(server, CHUNKED))[2] == b"abcde"
    assert dict(handler.requests[0].trailers) == {"x-end": "yes", "x-more": "two"}
    assert "x-end" not in handler.requests[0].headers


@pytest.mark.parametrize("message", [PLAIN, CHUNKED])
async def test_byte_by_byte(server: Server, handler: Recorder, message: bytes) -> None:
    await exchange(server, *(message[i : i + 1] for i in range(len(message))))
    whole = (await exchange(server, message), handler.requests)[1]
    assert whole[0] == whole[1]


async def test_keep_alive_and_pipelining_keep_the_order(server: Server) -> None:
    many = b"".join(f"GET /{n} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for n in range(200))
    reader, writer = await talk(server, many)
    for number in range(200):
        assert (await read_one(reader))[1]["x-path"] == f"/{number}"
    writer.write(b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert (await read_one(reader))[1]["connection"] == "close"
    assert await reader.read() == b""
    writer.close()


async def test_expect_continue(server: Server) -> None:
    reader, writer = await talk(
        server, b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    )
    async with asyncio.timeout(5):
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"ok")
    assert (await read_one(reader))[2] == b"ok"
    writer.close()


async def test_a_long_poll_is_cancelled_when_its_client_goes(server: Server, handler: Recorder) -> None:
    _, writer = await talk(server, b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(5):
        await handler.waiting.wait()
        writer.close()
        await handler.cancelled.wait()
    assert (await exchange(server, PLAIN))[0] == 200


async def test_a_long_poll_is_cancelled_when_the_server_closes(handler: Recorder) -> None:
    server = await Server.start(handler)
    reader, writer = await talk(server, b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(5):
        await handler.waiting.wait()
        await server.close()
        assert handler.cancelled.is_set()
        assert await reader.read() == b""
    writer.close()
    await server.close()


@pytest.mark.parametrize(
    "message",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"GET / HTTP/1.1\r\nBad Header: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ],
)
async def test_malformed_input_is_400_and_the_end_of_the_connection(server: Server, message: bytes) -> None:
    reader, writer = await talk(server, message)
    status, fields, _ = await read_one(reader)
    assert (status, fields["connection"]) == (400, "close")
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()
    assert (await exchange(server, PLAIN))[0] == 200


async def test_a_failing_handler_is_500_and_the_connection_lives(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await talk(server, b"GET /fail HTTP/1.1\r\nHost: x\r\n\r\n" + PLAIN)
    assert (await read_one(reader))[0] == 500
    assert (await read_one(reader))[0] == 200
    assert "as asked" in caplog.text
    writer.close()


async def test_a_body_over_the_limit_is_413_and_the_next_request_works(
    server: Server, handler: Recorder
) -> None:
    big = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n" + b"x" * 1001
    reader, writer = await talk(server, big, PLAIN)
    assert (await read_one(reader))[0] == 413
    assert (await read_one(reader))[0] == 200
    writer.close()
    assert [request.path for request in handler.requests] == ["/a/b"]


async def test_a_body_cut_off_is_400(server: Server, handler: Recorder) -> None:
    cut = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf"
    assert (await exchange(server, cut, end=True))[0] == 400
    assert handler.requests == []


async def test_refusals_can_be_answered_by_the_owner(handler: Recorder) -> None:
    seen: list[tuple[str, BadBody]] = []

    async def refuse(request: Request, why: BadBody) -> Response:
        seen.append((request.path, why))
        return Response(418)

    server = await Server.start(handler, max_body=3, refuse=refuse)
    assert (await exchange(server, PLAIN))[0] == 418
    assert seen == [("/a/b", BadBody.TOO_LARGE)]
    await server.close()


def test_header_values_cannot_end_their_line() -> None:
    encoded = Response(299, b"x", (("A", "1\r\nB: 2"),)).encode(keep_alive=True, head=True)
    assert encoded.startswith(b"HTTP/1.1 299 Status\r\nA: 1  B: 2\r\n")
    assert encoded.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("body", [b"", b"abc"])
async def test_an_offer_of_http2_is_not_taken_up(server: Server, handler: Recorder, body: bytes) -> None:
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n"
    head = (
        b"POST /a%20b?c HTTP/1.1\r\nHost: x\r\nA: 1\r\nA: \xc3\xa9\r\nContent-Length: "
        + str(len(body)).encode()
    )
    reader, writer = await talk(server, head + b"\r\n" + offer + b"\r\n" + body, PLAIN)
    assert [(await read_one(reader))[0] for _ in range(2)] == [200, 200]
    writer.close()
    first = handler.requests[0]
    assert (first.method, first.path, first.query, first.body) == ("POST", "/a%20b", "c", body)
    assert (first.headers["a"], first.repeated["a"]) == ("1, é", ("1", "é"))
    assert not {"upgrade", "connection", "http2-settings"} & first.headers.keys()
    assert (first.peer, first.version) == ("127.0.0.1", "1.1")
