"""The response parser, fed whole, byte by byte and in any pieces; `http.client` is the oracle."""

from __future__ import annotations

import http.client
import io
import itertools
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lambent.exporters._http import usual
from lambent.exporters._response import MAX_HEAD, MAX_TOTAL, ProtocolError, Response

if TYPE_CHECKING:
    import socket


class Replay:
    """As much of a socket as `http.client` needs to read a response."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self.data)


def oracle(data: bytes) -> tuple[int, bytes]:
    response = http.client.HTTPResponse(cast("socket.socket", Replay(data)), method="POST")
    response.begin()
    return response.status, response.read()


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *[cut % (len(data) + 1) for cut in cuts]})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def read(parts: list[bytes]) -> Response:
    """Feed the parts, then the end of the connection if that is what completes it."""
    response = Response()
    for number, part in enumerate(parts):
        if response.feed(part):
            assert number == len(parts) - 1, "complete before the last byte"
            return response
    assert response.end()
    return response


def chunked(body: bytes, sizes: list[int], extension: bytes, trailer: bytes) -> bytes:
    out = b""
    position = 0
    for size in sizes:
        chunk = body[position : position + size]
        if chunk:
            out += b"%x%b\r\n%b\r\n" % (len(chunk), extension, chunk)
        position += size
    rest = body[position:]
    if rest:
        out += b"%X\r\n%b\r\n" % (len(rest), rest)
    return out + b"0\r\n" + trailer + b"\r\n"


@st.composite
def responses(draw: st.DrawFn) -> tuple[bytes, int, bytes]:
    status = draw(st.sampled_from([200, 201, 204, 304, 400, 404, 429, 500, 503]))
    body = b"" if status in (204, 304) else draw(st.binary(max_size=300))
    reason = draw(st.sampled_from([b" OK", b" Service Unavailable", b" ", b""]))
    fields = draw(
        st.lists(st.sampled_from([b"Server: x", b"X-Empty:", b"X-Colon: a:b", b"SERVER: y"]), max_size=3)
    )
    interim = draw(
        st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 C\r\nLink: </x>\r\n\r\n"])
    )
    how = draw(st.sampled_from(["length", "chunked", "end"]))
    payload = body
    if status in (204, 304):
        pass
    elif how == "length":
        fields.append(b"content-LENGTH: %d " % len(body))
    elif how == "chunked":
        fields.append(b"Transfer-Encoding: chunked")
        payload = chunked(
            body,
            draw(st.lists(st.integers(1, 40), max_size=5)),
            draw(st.sampled_from([b"", b";name=value", b" "])),
            draw(st.sampled_from([b"", b"Trailer: x\r\n"])),
        )
    head = b"HTTP/1.%d %d%b\r\n" % (draw(st.sampled_from([0, 1])), status, reason)
    return interim + head + b"".join([line + b"\r\n" for line in fields]) + b"\r\n" + payload, status, body


@settings(deadline=None)  # a busy machine is no failure
@given(responses(), st.lists(st.integers(0, 2000), max_size=8))
def test_any_response_in_any_pieces_reads_as_the_standard_library_reads_it(
    made: tuple[bytes, int, bytes], cuts: list[int]
) -> None:
    data, status, body = made
    assert oracle(data) == (status, body)
    for parts in ([data], pieces(data, cuts), [data[i : i + 1] for i in range(len(data))]):
        response = read(parts)
        assert (response.status, response.body) == (status, body)


@settings(deadline=None)  # a busy machine is no failure
@given(responses(), st.binary(min_size=1, max_size=40))
def test_bytes_after_the_response_spoil_the_connection_and_not_the_response(
    made: tuple[bytes, int, bytes], more: bytes
) -> None:
    data, status, body = made
    response = Response()
    if response.feed(data):
        response = Response()
        assert response.feed(data + more)
        assert (response.status, response.body, response.reusable) == (status, body, False)


@settings(deadline=None)  # a busy machine is no failure
@given(responses(), st.integers(1, 300))
def test_a_response_cut_short_is_never_taken_for_a_whole_one(
    made: tuple[bytes, int, bytes], missing: int
) -> None:
    data, _, _ = made
    if not Response().feed(data):
        return  # the end of the connection is its end
    response = Response()
    assert not response.feed(data[:-missing])
    with pytest.raises(ProtocolError):
        response.end()


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(st.binary(max_size=60), max_size=8))
def test_garbage_is_an_error_or_incomplete_and_nothing_else(parts: list[bytes]) -> None:
    response = Response()
    try:
        for part in parts:
            if response.feed(part):
                break
        else:
            response.end()
    except ProtocolError:
        return
    assert 100 <= response.status <= 999 or not response.started


@settings(deadline=None)  # a busy machine is no failure
@given(
    st.sampled_from(
        [
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            b"HTTP/1.1 ",
            b"HTTP/1.1 200 OK\r\n",
        ]
    ),
    st.text("0123456789abcdef;:\r\n\t xOK", max_size=60),
)
def test_garbage_after_a_good_beginning(beginning: bytes, rest: str) -> None:
    data = beginning + rest.encode()
    outcomes = []
    for parts in ([data], [data[i : i + 1] for i in range(len(data))]):
        response = Response()
        try:
            complete = any(response.feed(part) for part in parts)  # stops at the first that completes it
            outcomes.append(f"{complete} {response.status} {response.body!r}")
        except ProtocolError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize(
    ("head", "reusable"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nConnection: Foo, Close\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", False),
    ],
)
def test_when_a_connection_may_be_used_again(head: bytes, reusable: bool) -> None:
    response = Response()
    assert response.feed(head)
    assert response.reusable is reusable


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x00",
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 -20 OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\n folded: line\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0x1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1_0\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
    ],
)
def test_what_is_refused(data: bytes) -> None:
    response = Response()
    with pytest.raises(ProtocolError):
        response.feed(data)


def test_garbage_is_recognised_by_its_first_bytes() -> None:
    with pytest.raises(ProtocolError):
        Response().feed(b"S")


@pytest.mark.parametrize(
    ("beginning", "repeated"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X-Filler: 0123456789\r\n"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"x" * 999),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0" * 999),
    ],
)
def test_an_endless_header_is_given_up(beginning: bytes, repeated: bytes) -> None:
    response = Response()
    fed = len(beginning)
    response.feed(beginning)
    with pytest.raises(ProtocolError):  # noqa: PT012  # the loop is what is tested: it must end
        while fed < 4 * MAX_HEAD:
            assert not response.feed(repeated)
            fed += len(repeated)


@pytest.mark.parametrize(
    ("head", "repeated"),
    [
        (b"HTTP/1.1 400 No\r\nContent-Length: 999999999\r\n\r\n", b"x" * 8192),
        (b"HTTP/1.1 400 No\r\n\r\n", b"x" * 8192),
        (b"HTTP/1.1 400 No\r\nTransfer-Encoding: chunked\r\n\r\n", b"1;filler=0123456789\r\nx\r\n" * 300),
        (b"HTTP/1.1 400 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"trailer: x\r\n" * 600),
    ],
)
def test_a_huge_body_is_not_read_to_its_end(head: bytes, repeated: bytes) -> None:
    response = Response()
    assert not response.feed(head)
    fed = 0
    while not response.feed(repeated):
        fed += len(repeated)
        assert fed < 2 * MAX_TOTAL
    assert response.status == 400
    assert not response.reusable


def test_connect_has_no_body() -> None:
    response = Response(bodiless=True)
    assert response.feed(b"HTTP/1.1 200 Connection established\r\nContent-Length: 10\r\n\r\n")
    assert response.reusable


def test_nothing_at_all_is_no_answer() -> None:
    response = Response()
    with pytest.raises(ProtocolError, match="no answer"):
        response.end()
    assert not response.started


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """Answers that are nearly as they should be."""
    body = draw(st.sampled_from([b"", b"{}", b"x" * 300, b"\r\n\r\n", b"a\n\nb"]))
    line = draw(st.sampled_from([
        b"HTTP/1.1 200 OK", b"HTTP/1.1 200", b"HTTP/1.1 503 Later", b"HTTP/1.0 200 OK", b"HTTP/1.1 204 No",
        b"HTTP/1.1 100 Go on", b"HTTP/1.1 2x0 OK", b"HTTP/1.1  200 OK", b"HTTP/2 200", b"HTTP/1.1 200OK", b"",
    ]))  # fmt: skip
    fields = draw(st.lists(st.sampled_from([
        b"Content-Type: application/x-protobuf", b"connection: close", b"Connection: Keep-Alive, Close",
        b"X:", b"X-Odd : 1", b" folded", b"noise", b"x: a\rb", b"x: a\nb", b"x: \0", b"X-\xc3\xa4: 1",
        b"Transfer-Encoding: chunked", b"Content-Length: 7", b"retry-after: 3", b": empty",
    ]), max_size=4))  # fmt: skip
    length = b"Content-Length: " + draw(
        st.sampled_from([b"%d" % len(body), b" %d " % len(body), b"0%d" % len(body), b"+1", b"1e2", b""])
    )
    end = draw(st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n"]))
    head = end.join([line, *fields, *([length] if draw(st.integers(0, 4)) else [])])
    data = head + end + end + body
    return data[: len(data) - draw(st.sampled_from([0, 0, 0, 1, 20]))] + draw(
        st.sampled_from([b"", b"", b"!"])
    )


@given(answers() | st.binary(max_size=60))
@example(b"HTTP/1.1 200 OK\r\nnoise\r\nContent-Length: 0\r\n\r\n")
def test_an_answer_taken_as_the_usual_one_is_what_the_parser_reads(data: bytes) -> None:
    found = usual(data)
    if found is None:
        return
    parsed = Response()
    assert parsed.feed(data)
    assert not parsed.surplus
    assert (found.status, found.headers, found.body) == (parsed.status, parsed.headers, parsed.body)
    assert found.reusable == parsed.reusable


def test_what_collectors_answer_is_the_usual_answer() -> None:
    for data in (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nDate: x\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 \r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 4\r\n\r\nbusy",
    ):
        assert usual(data) is not None
