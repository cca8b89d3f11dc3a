"""Bytes into requests: any split reads the same, and nothing ambiguous or endless is read at all."""

from __future__ import annotations

import asyncio
import itertools
import tracemalloc
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lambent_lab.http import BadBody, BodyError
from lambent_lab.http.reader import MAX_FIELDS, MAX_HEAD, MAX_TARGET, Reader

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lambent_lab.http import Request


@dataclass
class Limits:
    max_body: int = 1000
    max_streamed: int = 1000

    def wants_stream(self, request: Request) -> bool:
        return request.path.startswith("/stream")


def reader(**limits: int) -> Reader:
    return Reader(Limits(**limits), lambda _: None)


async def drained(request: Request) -> tuple[object, ...]:
    """What a request says, its streamed body read to the end."""
    what: tuple[object, ...] = (request.method, request.path, request.query, dict(request.headers))
    if request.stream is None:
        return (*what, request.body, dict(request.trailers))
    pieces = b""
    try:
        async for piece in request.stream:
            pieces += piece
    except BodyError as error:
        return (*what, pieces, error.why)
    return (*what, pieces, dict(request.stream.trailers))


def read(parts: Iterable[bytes]) -> tuple[list[tuple[object, ...]], int | None]:
    """Feed the parts, then the end, and return the requests and the status of a refusal."""
    one = reader()
    for part in parts:
        if one.refused is None:
            one.feed(part)
    if one.refused is None:
        one.end()

    async def all_of_them() -> list[tuple[object, ...]]:
        return [(*await drained(a.request), a.keep_alive, a.http11, a.bad) for a in one.arrived]

    return asyncio.run(all_of_them()), None if one.refused is None else one.refused.status


TOKENS = st.text("abcXYZ-_", min_size=1, max_size=8)
VALUES = st.text("abc ,;=é", max_size=10).map(str.strip)
BODIES = st.binary(max_size=300)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """A valid request, framed in one of the ways there are."""
    path = draw(st.sampled_from(["/", "/plain/x?q=1", "/stream", "/stream?"]))
    fields = [("Host", "x"), *draw(st.lists(st.tuples(TOKENS.map("X-".__add__), VALUES), max_size=4))]
    body = draw(BODIES)
    framing = draw(st.sampled_from(["none", "length", "chunked"]))
    rest = b""
    if framing == "length":
        fields.append(("Content-Length", str(len(body))))
        rest = body
    elif framing == "chunked":
        fields.append(("Transfer-Encoding", draw(st.sampled_from(["chunked", "Chunked"]))))
        cuts = [0, *sorted(draw(st.lists(st.integers(0, len(body)), max_size=4))), len(body)]
        extension = draw(st.sampled_from(["", ";a", ";a=b", ';a="b;c"']))
        for start, end in itertools.pairwise(cuts):
            if end > start:
                rest += f"{end - start:x}{extension}\r\n".encode() + body[start:end] + b"\r\n"
        trailers = draw(st.lists(st.tuples(TOKENS.map("T-".__add__), VALUES), max_size=2))
        rest += b"0\r\n" + "".join(f"{n}: {v}\r\n" for n, v in trailers).encode() + b"\r\n"
    order = draw(st.permutations(fields))
    head = f"POST {path} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in order) + "\r\n"
    return head.encode() + rest


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Valid requests with something wrong in them, most of the time."""
    data = b"".join(draw(st.lists(messages(), min_size=1, max_size=3)))
    at = draw(st.integers(0, len(data)))
    return data[:at] + draw(st.binary(max_size=3)) + data[at + draw(st.integers(0, 3)) :]


@st.composite
def splits(draw: st.DrawFn, data: bytes) -> list[bytes]:
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=12)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


@given(st.data(), st.lists(messages(), min_size=1, max_size=4))
def test_any_split_reads_the_same(data: st.DataObject, sent: list[bytes]) -> None:
    whole = b"".join(sent)
    expected, refused = read([whole])
    assert len(expected) == len(sent)
    assert refused is None
    assert read(data.draw(splits(whole))) == (expected, None)
    assert read([bytes([byte]) for byte in whole]) == (expected, None)


@given(st.data(), st.one_of(mutated(), st.binary(max_size=200)))
@example(None, b"")
def test_any_split_of_nonsense_reads_the_same(data: st.DataObject | None, sent: bytes) -> None:
    expected = read([sent])
    assert expected[1] in {None, 400}
    if data is not None:
        assert read(data.draw(splits(sent))) == expected
    assert read([bytes([byte]) for byte in sent]) == expected


POST = b"POST / HTTP/1.1\r\nHost: x\r\n"
SMUGGLED = b"GET /admin HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    "message",
    [
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + SMUGGLED,
        POST + b"Content-Length: 0\r\nContent-Length: 33\r\n\r\n" + SMUGGLED,
        POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        POST + b"Content-Length: 0, 33\r\n\r\n" + SMUGGLED,
        POST + b"Content-Length: +3\r\n\r\nabc",
        POST + b"Content-Length: 0x3\r\n\r\nabc",
        POST + b"Content-Length: 3 3\r\n\r\nabc",
        POST + b"Content-Length: \r\n\r\n",
        POST + b"Content-Length: 99999999999999999999999\r\n\r\n",
        POST + b"Content-Length : 3\r\n\r\nabc",
        POST + b"Transfer-Encoding: gzip\r\n\r\n",
        POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n \r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n1\na\n0\n\n",
        POST + b"Host: y\r\n\r\n",
        POST + b"A: b\r\n folded\r\n\r\n",
        POST + b"A\0: b\r\n\r\n",
        POST + b"A: b\0c\r\n\r\n",
        POST + b": b\r\n\r\n",
        b"POST / HTTP/1.1\nHost: x\n\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_what_two_readers_could_read_differently_is_refused(message: bytes) -> None:
    requests, status = read([message])
    assert (requests, status) == ([], 400)


def test_a_version_of_old_needs_no_length_for_its_end() -> None:
    requests, status = read([b"GET / HTTP/1.0\r\n\r\n"])
    assert status is None
    assert requests[0][-3:-1] == (False, False)


def test_floods_of_fields_are_refused() -> None:
    fits = b"".join(b"X-%d: y\r\n" % n for n in range(MAX_FIELDS - 1))
    assert read([POST + fits + b"\r\n"])[1] is None
    assert read([POST + fits + b"One: more\r\n\r\n"])[1] == 431
    trailers = POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + fits
    assert read([trailers + b"\r\n\r\n"])[1] == 431
    assert read([b"GET /" + b"a" * MAX_TARGET + b" HTTP/1.1\r\n\r\n"])[1] == 414


@pytest.mark.parametrize(
    "start",
    [
        b"GET / HTTP/1.1\r\nX: ",
        b"GET / HTTP/1.1\r\n",
        b"A",
        POST + b"Transfer-Encoding: chunked\r\n\r\n1;",
        POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: ",
    ],
)
def test_what_never_ends_is_cut_off_by_its_size(start: bytes) -> None:
    one, fed = reader(), 0
    one.feed(start)
    while one.refused is None and fed < 2 * MAX_HEAD:
        one.feed(b"a" * 65536)
        fed += 65536
    assert one.refused is not None
    assert one.refused.status in {400, 431}
    assert fed <= MAX_HEAD + 65536


def test_a_large_head_is_read() -> None:
    cause = b"c" * 1024 * 1024  # what awslambdaric may send
    requests, status = read([POST + b"Lambda-Runtime-Function-Xray-Error-Cause: " + cause + b"\r\n\r\n"])
    assert status is None
    assert len(requests) == 1


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize(("size", "bad"), [(1000, None), (1001, BadBody.TOO_LARGE)])
def test_limits_of_bodies_are_exact(chunked: bool, size: int, bad: BadBody | None) -> None:
    body = b"x" * size
    if chunked:
        framed = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (size, body)
    else:
        framed = b"Content-Length: %d\r\n\r\n%b" % (size, body)
    [request], status = read([POST + framed])
    assert status is None
    assert request[-1] is bad
    assert request[4] == (body if bad is None else b"")


def test_a_body_is_kept_once() -> None:
    size, step = 6 * 1024 * 1024, 256 * 1024
    one, piece = reader(max_body=size), bytes(256 * 1024)
    tracemalloc.start()
    try:
        one.feed(POST + b"Content-Length: %d\r\n\r\n" % size)
        for _ in range(size // step):
            one.feed(piece)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(one.arrived[0].request.body) == size
    assert peak < 2.1 * size  # the parts, and once all of them joined


def test_a_body_over_the_limit_is_not_kept() -> None:
    one, piece = reader(max_body=1024 * 1024), bytes(256 * 1024)
    tracemalloc.start()
    try:
        one.feed(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(100):
            one.feed(b"40000\r\n" + piece + b"\r\n")
        one.feed(b"0\r\n\r\n")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert one.arrived[0].bad is BadBody.TOO_LARGE
    assert peak < 2 * 1024 * 1024
