"""OTLP over HTTP against servers that fail: the export is over in time and tells the truth."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING, cast

import pytest

from lambent.exporters.otlp_http import OtlpHttpExporter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from lambent.exporters import Result
    from lambent.span import Span

SECRET = "s3cr3t-value"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
BATCH = cast("Sequence[Span]", [object()] * 4)


class Clock:
    """Virtual time: waiting is instant, and remembered."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


@pytest.fixture
def make() -> Iterator[Callable[..., OtlpHttpExporter]]:
    made: list[OtlpHttpExporter] = []

    def build(endpoint: str, **settings: Any) -> OtlpHttpExporter:
        exporter = OtlpHttpExporter(
            endpoint, **{"encode": lambda _: b"x" * 1500, "headers": {"api-key": SECRET}, **settings}
        )
        made.append(exporter)
        return exporter

    yield build
    for exporter in made:
        exporter.close()


def timed(exporter: OtlpHttpExporter, timeout: float) -> tuple[Result, float]:
    start = time.monotonic()
    result = exporter.export(BATCH, timeout)
    return result, time.monotonic() - start


def lost(result: Result, *words: str) -> None:
    assert (result.ok, result.lost, result.rejected, result.bytes) == (False, 4, 0, 0)
    assert result.reason
    assert "\n" not in result.reason
    assert len(result.reason) < 350
    assert SECRET not in result.reason
    for word in words:
        assert word in result.reason


def answer(status: int, body: bytes = b"", more: str = "") -> bytes:
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body


# Nobody there


def test_refused_is_tried_again_within_reason_and_then_once_only(make: Any, free_port: int) -> None:
    clock = Clock()
    exporter = make(f"http://127.0.0.1:{free_port}/v1/traces", clock=clock, wait=clock.wait)
    result = exporter.export(BATCH, 10)
    lost(result, f"http://127.0.0.1:{free_port}", "refused")
    assert result.retries == 2
    assert [round(wait, 1) for wait in clock.waits] == pytest.approx([0.1, 0.2], abs=0.051)
    # the next invocations do not wait for who is not there
    clock.waits.clear()
    result = exporter.export(BATCH, 10)
    lost(result, "refused")
    assert (result.retries, clock.waits) == (0, [])


def test_a_server_that_comes_up_is_found(make: Any, serve: Any, free_port: int) -> None:
    class LateListener(Clock):
        def wait(self, seconds: float) -> None:
            super().wait(seconds)
            exporter._client._addresses = [(socket.AF_INET, ("127.0.0.1", serve(OK).port))]
            exporter._client._resolved_at = time.time()

    clock = LateListener()
    exporter = make(f"http://127.0.0.1:{free_port}/v1/traces", clock=clock, wait=clock.wait)
    result = exporter.export(BATCH, 10)
    assert result.ok
    assert result.retries == 1


def test_a_default_endpoint_that_refuses_is_quiet(make: Any, free_port: int) -> None:
    clock = Clock()
    exporter = make(
        f"http://localhost:{free_port}/v1/traces", quiet_refused=True, clock=clock, wait=clock.wait
    )
    result = exporter.export(BATCH, 10)
    lost(result, "refused")
    assert (result.quiet, result.retries, clock.waits) == (True, 0, [])


def test_a_machine_without_ipv6_still_says_refused(
    make: Any, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lambent.exporters import _http

    addresses = [(socket.AF_INET, ("127.0.0.1", free_port)), (999, ("::1", free_port, 0, 0))]
    monkeypatch.setattr(_http, "known", lambda _host, _port: addresses)
    result = make(f"http://localhost:{free_port}/", quiet_refused=True).export(BATCH, 5)
    lost(result, "refused")
    assert result.quiet


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_an_answer_without_an_end_does_not_outlast_the_time(make: Any, serve: Any) -> None:
    clock = Clock()

    def script(server: Any, peer: Any) -> None:
        peer.request()
        clock.now += 1000
        peer.send(CHUNKED)
        while True:
            peer.send(b"5\r\nhello\r\n" * 1000)

    exporter = make(serve(script).url, clock=clock)
    lost(exporter.export(BATCH, 10), "no complete answer in time")


def test_an_answer_in_very_many_pieces(make: Any, serve: Any) -> None:
    pieces = b"".join([b"1\r\n%c\r\n" % letter for letter in b" " * 60_000 + b"{}"])
    exporter = make(serve(CHUNKED + pieces + b"0\r\n\r\n").url)
    assert exporter.export(BATCH, 30).ok


def test_a_name_server_that_says_nothing_costs_the_time_given(
    make: Any, serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lambent.exporters import _lookup

    server = serve(OK)
    release = threading.Event()
    asked: list[str] = []

    def slow(host: str, port: int) -> list[Any]:
        asked.append(host)
        if len(asked) == 2:
            raise socket.gaierror(-3, "Temporary failure in name resolution")
        assert release.wait(30)
        return [(socket.AF_INET, ("127.0.0.1", server.port))]

    monkeypatch.setattr(_lookup, "ask", slow)
    exporter = make("http://collector.example/")
    for _ in range(2):
        result, took = timed(exporter, 0.2)
        lost(result, "no connection in time")
        assert (result.again, took < 10) == (True, True)
    assert asked == ["collector.example"]  # once: the first question is still open
    release.set()
    assert exporter.export(BATCH, 30).ok
    assert asked == ["collector.example"]
    other = make("http://other.example/", wait=lambda seconds: None)
    result = other.export(BATCH, 30)
    assert (result.ok, result.retries, asked[1:]) == (True, 1, ["other.example"] * 2)  # a failure is not kept


def test_an_address_that_swallows_packets_leaves_time_for_the_next(
    make: Any, serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lambent.exporters import _http

    server = serve(answer(200, more="Connection: close\r\n"))
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        full = listener.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(full)
        addresses = [(socket.AF_INET, full), (socket.AF_INET, ("127.0.0.1", server.port))]
        monkeypatch.setattr(_http, "known", lambda _host, _port: addresses)
        exporter = make("http://collector.example/")
        first, took = timed(exporter, 3.0)
        again, took_again = timed(exporter, 3.0)  # starts with the one that answered
        for sock in waiting:
            sock.close()
    assert first.ok
    assert again.ok
    assert took >= 1.49
    assert took_again < 1.49


def test_no_time_left(make: Any, serve: Any) -> None:
    server = serve()
    lost(make(server.url).export(BATCH, 0), "no time")
    lost(make(server.url).export(BATCH, -1), "no time")
    assert server.connections == 0


def test_a_host_that_does_not_exist(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import _socket

    asked = []

    def unknown(host: bytes, *_: object) -> list[object]:
        asked.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(_socket, "getaddrinfo", unknown)
    clock = Clock()
    exporter = make("http://collector.invalid/v1/traces", clock=clock, wait=clock.wait)
    lost(exporter.export(BATCH, 10), "http://collector.invalid", "name or service not known")
    assert set(asked) == {b"collector.invalid"}


def test_names_are_looked_up_once_and_numbers_never(
    make: Any, serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import _socket

    server = serve(answer(200, more="Connection: close\r\n"))
    asked = []

    def known(host: bytes, port: int, *_: object) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))]

    monkeypatch.setattr(_socket, "getaddrinfo", known)
    now = [0.0]
    exporter = make("http://collector.example:99/", wall_clock=lambda: now[0])
    for _ in range(3):
        assert exporter.export(BATCH, 5).ok
    assert asked == [b"collector.example"]
    now[0] = 61.0
    assert exporter.export(BATCH, 5).ok
    assert len(asked) == 2
    assert make(server.url).export(BATCH, 5).ok
    assert make(f"http://localhost:{server.port}/").export(BATCH, 5).ok
    assert len(asked) == 2


# Somebody there who does not answer as he should


def hang(server: Any, peer: Any) -> None:
    peer.request()
    peer.hang()


def hang_within_the_header(server: Any, peer: Any) -> None:
    peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-")
    peer.hang()


def hang_within_the_body(server: Any, peer: Any) -> None:
    peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
    peer.hang()


def trickle(server: Any, peer: Any) -> None:
    """Send a byte every 20 ms: no single wait is ever long."""
    peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not peer.stopping.wait(0.02):
        peer.send(b"z")


@pytest.mark.parametrize("script", [hang, hang_within_the_header, hang_within_the_body, trickle])
def test_silence_ends_with_the_time_allowed(make: Any, serve: Any, script: Any) -> None:
    server = serve(script)
    result, took = timed(make(server.url), 0.3)
    lost(result, "in time")
    assert 0.29 <= took < 10
    assert result.retries == 0
    assert server.connections == 1


def test_an_accepting_server_that_reads_nothing(make: Any) -> None:
    body = b"x" * 30_000_000
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        result, took = timed(make(url, encode=lambda _: body), 1.0)
    lost(result, "could not be sent in time")
    assert 0.99 <= took < 10


def test_a_full_backlog(make: Any) -> None:
    # Connections beyond the backlog are neither refused nor accepted.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(address)
        result, took = timed(make(f"http://127.0.0.1:{address[1]}/"), 0.3)
        for sock in waiting:
            sock.close()
    lost(result, "in time")
    assert 0.29 <= took < 10


def reset(server: Any, peer: Any) -> None:
    peer.request()
    peer.reset()


def hang_up(server: Any, peer: Any) -> None:
    peer.request()


def garbage(server: Any, peer: Any) -> None:
    peer.request()
    peer.send(b"\0\1\2 no HTTP at all " + SECRET.encode())
    peer.hang()


def cut_short(server: Any, peer: Any) -> None:
    peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")


def endless_header(server: Any, peer: Any) -> None:
    peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\n")
    while not peer.stopping.is_set():
        peer.send(b"X-Filler: 0123456789\r\n" * 50)


@pytest.mark.parametrize(
    ("script", "word"),
    [
        (reset, "reset"),
        (hang_up, "no answer"),
        (garbage, "no HTTP"),
        (cut_short, "cut short"),
        (endless_header, "endless header"),
    ],
)
def test_a_broken_answer_is_reported_at_once_and_not_repeated(
    make: Any, serve: Any, script: Any, word: str
) -> None:
    """The server may have taken the spans: sending them again could double them."""
    server = serve(script)
    result, took = timed(make(server.url), 20)
    lost(result, word)
    assert took < 10
    assert (result.retries, server.connections) == (0, 1)


def test_an_endless_body_of_a_success(make: Any, serve: Any) -> None:
    def script(server: Any, peer: Any) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while not peer.stopping.is_set():
            peer.send(b"x" * 65536)

    result, took = timed(make(serve(script).url), 20)
    assert result.ok
    assert took < 10


def test_an_early_answer_counts(make: Any, serve: Any) -> None:
    """A server may refuse a body without reading it."""

    def script(server: Any, peer: Any) -> None:
        peer.sock.recv(100)
        peer.send(answer(413, b"too large", "Connection: close\r\n"))
        peer.sock.shutdown(socket.SHUT_WR)
        while peer.sock.recv(1 << 20):
            pass

    result, _ = timed(make(serve(script).url, encode=lambda _: b"x" * 5_000_000), 10)
    lost(result, "413", "too large")


# Statuses


@pytest.mark.parametrize(
    ("status", "body", "more", "words"),
    [
        (400, b"bad spans", "", ["400", "bad spans"]),
        (
            401,
            b'{"code":16,"message":"no such key"}',
            "Content-Type: application/json\r\n",
            ["401", "no such key"],
        ),
        (403, b"\x08\x07\x12\x06denied", "Content-Type: application/x-protobuf\r\n", ["403", "denied"]),
        (404, b"", "", ["404"]),
        (500, b"<h1>\n  Oops\n</h1>", "Content-Type: text/html\r\n", ["500", "<h1> Oops </h1>"]),
        (501, b"\xff\xfe\x00", "", ["501"]),
        (400, f"the key {SECRET} is not known".encode(), "", ["400", "the key **** is not known"]),
        (400, b"x" * 190 + SECRET.encode(), "", ["400"]),
        (400, b"long " * 1000, "", ["400", "long"]),
        (302, b"", "Location: http://elsewhere/\r\n", ["302", "redirect"]),
        (307, b"", "Location: http://elsewhere/\r\n", ["307", "redirect"]),
        (400, b'{"message":', "Content-Type: application/json\r\n", ["400", '{"message":']),
    ],
)
def test_a_final_status_is_not_retried(
    make: Any, serve: Any, status: int, body: bytes, more: str, words: list[str]
) -> None:
    server = serve(answer(status, body, more))
    result = make(server.url, headers={"api-key": SECRET}).export(BATCH, 10)
    lost(result, *words)
    assert SECRET[:8] not in result.reason
    assert result.retries == 0
    assert len(server.requests) == 1


def test_keys_in_the_url_are_masked_where_the_server_quotes_them(make: Any, serve: Any) -> None:
    text = b"no route to /0123456789abcdef/v1/traces?a=b&key=12345678; Bearer was 12345678, user hunter22"
    server = serve(answer(404, text))
    exporter = make(
        f"http://me:hunter22@127.0.0.1:{server.port}/0123456789abcdef/v1/traces?a=b&key=12345678",
        headers={"authorization": "Bearer 12345678"},
    )
    result = exporter.export(BATCH, 10)
    lost(result, "404: no route to /****/v1/traces?****; Bearer was ****, user ****")
    assert "0123456789abcdef" not in result.reason + repr(exporter)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_passing_status_is_retried_on_the_same_connection(make: Any, serve: Any, status: int) -> None:
    server = serve(answer(status), answer(status), OK)
    clock = Clock()
    result = make(server.url, clock=clock, wait=clock.wait).export(BATCH, 10)
    assert result.ok
    assert (result.retries, result.bytes, server.connections) == (2, 1500, 1)
    first, second = clock.waits
    assert 0.08 <= first <= 0.12
    assert 0.16 <= second <= 0.24


def test_retries_come_to_an_end(make: Any, serve: Any) -> None:
    server = serve(answer(503, b"busy"))
    clock = Clock()
    result = make(server.url, clock=clock, wait=clock.wait).export(BATCH, 1000)
    lost(result, "503", "busy")
    assert (result.retries, len(server.requests)) == (4, 5)


def test_nothing_is_waited_for_that_does_not_fit(make: Any, serve: Any) -> None:
    server = serve(answer(503))
    clock = Clock()
    result = make(server.url, clock=clock, wait=clock.wait).export(BATCH, 0.2)
    lost(result, "503", "no time for another try")
    assert result.retries == 1
    assert sum(clock.waits) <= 0.12


@pytest.mark.parametrize(
    ("header", "timeout", "waits"),
    [
        ("3", 10, [3.0]),
        ("0", 10, [0.0]),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 10, [5.0]),
        ("Sun, 06 Nov 1994 08:49:30 GMT", 10, [0.0]),
        ("3", 2, None),
        ("99999999999999999999999", 10, None),
        ("Sun, 06 Nov 2994 08:49:37 GMT", 10, None),
    ],
)
def test_retry_after(make: Any, serve: Any, header: str, timeout: float, waits: list[float] | None) -> None:
    server = serve(answer(503, more=f"Retry-After: {header}\r\n"), OK)
    clock = Clock()
    exporter = make(server.url, clock=clock, wait=clock.wait, wall_clock=lambda: 784111772.0)
    result = exporter.export(BATCH, timeout)
    if waits is None:
        lost(result, "503", "asks to wait")
        assert (clock.waits, result.retries) == ([], 0)
    else:
        assert result.ok
        assert clock.waits == waits


@pytest.mark.parametrize("header", ["soon", "-1", "1.5", "", "\xe9", "Sun, 99 Foo 1994 99:99:99 GMT"])
def test_a_retry_after_that_says_nothing_is_left_aside(make: Any, serve: Any, header: str) -> None:
    raw = b"HTTP/1.1 503 X\r\nContent-Length: 0\r\nRetry-After: " + header.encode("latin-1") + b"\r\n\r\n"
    server = serve(raw, OK)
    clock = Clock()
    assert make(server.url, clock=clock, wait=clock.wait).export(BATCH, 10).ok
    assert 0.08 <= clock.waits[0] <= 0.12


@pytest.mark.parametrize("pause", [0.0, 0.12])
def test_a_slow_answer_in_pieces_keeps_its_connection(make: Any, serve: Any, pause: float) -> None:
    def script(server: Any, peer: Any) -> None:
        while request := peer.request():
            server.requests.append(request)
            for piece in (b"HTTP/1.1 200 OK\r\nContent-", b"Length: 2\r\n\r\n", b"{}"):
                peer.send(piece)
                peer.stopping.wait(pause)

    server = serve(script)
    exporter = make(server.url)
    assert all(exporter.export(BATCH, timeout).ok for timeout in (5, 5, 0.45))
    assert server.connections == 1


def test_a_large_body_to_a_slow_reader(make: Any, serve: Any) -> None:
    def script(server: Any, peer: Any) -> None:
        while True:
            peer.stopping.wait(0.12)  # longer than the kernel's tick, with full buffers
            if (request := peer.request()) is None:
                return
            server.requests.append(request)
            peer.send(OK)

    server = serve(script)
    body = bytes(range(256)) * 40_000
    exporter = make(server.url, encode=lambda _: body)
    assert [exporter.export(BATCH, 20).ok for _ in range(2)] == [True, True]
    assert [request.body == body for request in server.requests] == [True, True]
    assert server.connections == 1


# Accidents of our own


def test_an_encoder_that_fails_is_reported_without_its_text(make: Any) -> None:
    def fail(_: object) -> bytes:
        raise RuntimeError(SECRET)

    lost(make("http://127.0.0.1:1/", encode=fail).export(BATCH, 5), "RuntimeError")


def test_an_interrupt_passes_and_leaves_no_half_used_connection(make: Any, serve: Any) -> None:
    class Impatient(Clock):
        ticks = 0

        def __call__(self) -> float:
            self.ticks += 1
            if self.ticks == 5:  # of the second export, when it has taken the connection
                raise KeyboardInterrupt
            return self.now

    server = serve(OK)
    exporter = make(server.url, clock=Impatient())
    interrupted = False
    for _ in range(3):
        try:
            assert exporter.export(BATCH, 5).ok
        except KeyboardInterrupt:
            interrupted = True
            assert exporter._client._idle == []
    assert interrupted
    assert exporter.export(BATCH, 5).ok


def test_the_time_of_the_constructor_holds_where_the_export_brings_none(make: Any, serve: Any) -> None:
    server = serve(hang)
    start = time.monotonic()
    lost(make(server.url, timeout=0.2).export(BATCH), "in time")
    assert time.monotonic() - start < 10
