"""OTLP over HTTP against servers that behave: what is sent, and on which connection."""

from __future__ import annotations

import base64
import gzip
import http.client
import http.server
import os
import socket
import threading
import urllib.request
import warnings
from typing import TYPE_CHECKING, cast

import pytest

import lambent
from lambent.exporters.otlp_http import OtlpHttpExporter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from lambent.exporters import Result
    from lambent.span import Span

SECRET = "s3cr3t-value"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


def spans(count: int = 1) -> Sequence[Span]:
    """Return so many things for the injected encoder, which does not look at them."""
    return cast("Sequence[Span]", [object()] * count)


def encode(batch: Sequence[Span]) -> bytes:
    return b"spans:%d" % len(batch)


@pytest.fixture
def make() -> Iterator[Callable[..., OtlpHttpExporter]]:
    made: list[OtlpHttpExporter] = []

    def build(endpoint: str, **settings: Any) -> OtlpHttpExporter:
        exporter = OtlpHttpExporter(endpoint, **{"encode": encode, **settings})
        made.append(exporter)
        return exporter

    yield build
    for exporter in made:
        exporter.close()


def delivered(result: Result) -> bool:
    assert result.ok is (result.reason == ""), result
    assert result.lost == 0 or not result.ok
    return result.ok


def test_the_request(serve: Any, make: Any) -> None:
    server = serve()
    exporter = make(f"{server.url}?x=1", headers={"API-Key": SECRET, " X-Trim ": " a b "})
    result = exporter.export(spans(3), 5)
    assert delivered(result)
    assert (result.bytes, result.retries, result.rejected, result.quiet) == (7, 0, 0, False)
    (request,) = server.requests
    assert request.line == "POST /v1/traces?x=1 HTTP/1.1"
    assert request.body == b"spans:3"
    agent = request.headers.pop("user-agent")
    assert agent.startswith("OTel-OTLP-Exporter-Python/")
    assert "lambent/" in agent
    assert request.headers == {
        "host": f"127.0.0.1:{server.port}",
        "api-key": SECRET,
        "x-trim": "a b",
        "content-type": "application/x-protobuf",
        "content-length": "7",
    }


def test_json_and_gzip(serve: Any, make: Any) -> None:
    server = serve()
    exporter = make(server.url, protocol="http/json", compression="gzip")
    assert delivered(exporter.export(spans(), 5))
    (request,) = server.requests
    assert request.headers["content-type"] == "application/json"
    assert request.headers["content-encoding"] == "gzip"
    assert gzip.decompress(request.body) == b"spans:1"


def test_framing_headers_are_ours_and_the_agent_is_theirs(serve: Any, make: Any) -> None:
    server = serve()
    headers = {
        "Content-Type": "text/plain",
        "content-length": "1",
        "Transfer-Encoding": "chunked",
        "User-Agent": "me",
    }
    assert delivered(make(server.url, headers=headers).export(spans(), 5))
    (request,) = server.requests
    assert request.headers["content-type"] == "application/x-protobuf"
    assert request.headers["content-length"] == "7"
    assert "transfer-encoding" not in request.headers
    assert request.headers["user-agent"] == "me"


def test_userinfo_becomes_basic_authorization(serve: Any, make: Any) -> None:
    server = serve()
    exporter = make(f"http://us%40er:p%C3%A4ss@127.0.0.1:{server.port}/v1/traces")
    assert delivered(exporter.export(spans(), 5))
    (request,) = server.requests
    scheme, _, value = request.headers["authorization"].partition(" ")
    assert scheme == "Basic"
    assert base64.b64decode(value).decode() == "us@er:päss"
    assert "@" not in request.headers["host"]
    assert "p" not in repr(exporter).partition("127")[0].removeprefix("OtlpHttpExporter('http")


def test_a_configured_authorization_wins_over_userinfo(serve: Any, make: Any) -> None:
    server = serve()
    exporter = make(f"http://a:b@127.0.0.1:{server.port}/", headers={"Authorization": "Bearer x"})
    assert delivered(exporter.export(spans(), 5))
    assert server.requests[0].headers["authorization"] == "Bearer x"


def test_ipv6_and_localhost(serve: Any, make: Any) -> None:
    six = serve(family=socket.AF_INET6)
    assert delivered(make(six.url).export(spans(), 5))
    assert six.requests[0].headers["host"] == f"[::1]:{six.port}"
    # localhost is tried on both, and remembered where it answers
    exporter = make(f"http://localhost:{six.port}/v1/traces")
    assert delivered(exporter.export(spans(), 5))
    assert six.requests[1].headers["host"] == f"localhost:{six.port}"


def test_an_empty_batch_touches_nothing(make: Any) -> None:
    def forbidden(_: object) -> bytes:
        raise AssertionError

    exporter = make("http://127.0.0.1:1/", encode=forbidden)
    assert delivered(exporter.export([], 0))
    assert exporter._client is None  # not even the module with the sockets is loaded


def test_a_hundred_exports_use_one_connection(serve: Any, make: Any) -> None:
    server = serve()
    exporter = make(server.url)
    assert all(delivered(exporter.export(spans(), 5)) for _ in range(100))
    assert len(server.requests) == 100
    assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        NO_CONTENT,
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n\n\0\r\n0\r\n\r\n",
        b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
def test_answers_that_keep_the_connection(serve: Any, make: Any, answer: bytes) -> None:
    server = serve(answer)
    exporter = make(server.url)
    assert delivered(exporter.export(spans(), 5))
    assert delivered(exporter.export(spans(), 5))
    assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n\n\0",
        b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 400 Injected\r\nConnection: close\r\n\r\n",
    ],
)
def test_answers_that_end_the_connection(serve: Any, make: Any, answer: bytes) -> None:
    server = serve(answer)
    exporter = make(server.url)
    assert delivered(exporter.export(spans(), 5))
    assert delivered(exporter.export(spans(), 5))
    assert server.connections == 2


def test_a_real_server(make: Any) -> None:
    bodies = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's name
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        exporter = make(f"http://127.0.0.1:{server.server_port}/v1/traces")
        big = b"x" * 3_000_000
        exporter._encode = lambda _: big  # more than fits into the socket's buffers
        try:
            assert delivered(exporter.export(spans(), 10))
            assert delivered(exporter.export(spans(), 10))
        finally:
            exporter.close()  # the single-threaded server waits for the connection's end
            server.shutdown()
            thread.join(10)
    assert bodies == [big, big]


# A connection that is no longer what it was


def test_a_peer_that_hung_up_meanwhile_is_noticed_before_sending(serve: Any, make: Any) -> None:
    gone = threading.Event()

    def script(server: Any, peer: Any) -> None:
        server.requests.append(peer.request())
        peer.send(NO_CONTENT)
        peer.file.close()
        peer.sock.close()
        gone.set()

    server = serve(script)
    exporter = make(server.url)
    for _ in range(3):
        gone.clear()
        result = exporter.export(spans(), 5)
        assert delivered(result)
        assert result.retries == 0
        assert gone.wait(5)
    assert server.connections == len(server.requests) == 3


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_reused_connection_that_ends_without_an_answer_is_replaced(serve: Any, make: Any, how: str) -> None:
    def script(server: Any, peer: Any) -> None:
        if peer.number == 0:
            server.requests.append(peer.request())
            peer.send(NO_CONTENT)
            peer.request()  # read, not answered
            if how == "reset":
                peer.reset()
            return
        while request := peer.request():
            server.requests.append(request)
            peer.send(NO_CONTENT)

    server = serve(script)
    exporter = make(server.url)
    assert all(delivered(exporter.export(spans(), 5)) for _ in range(3))
    assert server.connections == 2
    assert len(server.requests) == 3


@pytest.mark.parametrize(("pause", "connections"), [(29, 1), (31, 2), (-5, 2)])
def test_a_connection_idle_for_long_is_not_trusted(
    serve: Any, make: Any, pause: float, connections: int
) -> None:
    server = serve()
    now = [1000.0]
    exporter = make(server.url, wall_clock=lambda: now[0])
    assert delivered(exporter.export(spans(), 5))
    now[0] += pause
    assert delivered(exporter.export(spans(), 5))
    assert server.connections == connections


def test_a_stray_byte_on_an_idle_connection_spoils_it(serve: Any, make: Any) -> None:
    stray = threading.Event()
    proceed = threading.Event()

    def script(server: Any, peer: Any) -> None:
        server.requests.append(peer.request())
        peer.send(NO_CONTENT)
        assert proceed.wait(5)
        peer.send(b"HTTP/1.1 500 Late\r\n\r\n")
        stray.set()
        peer.request()

    server = serve(script)
    exporter = make(server.url)
    assert delivered(exporter.export(spans(), 5))
    proceed.set()
    assert stray.wait(5)
    assert delivered(exporter.export(spans(), 5))
    assert server.connections == 2


def test_a_child_process_opens_its_own_connection(serve: Any, make: Any) -> None:
    server = serve()
    exporter = make(server.url)
    assert delivered(exporter.export(spans(1), 5))
    with warnings.catch_warnings():
        # 3.12 warns of forking with threads, which the test's server has; the child needs none of them
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        result = exporter.export(spans(2), 5)
        exporter.close()
        os._exit(0 if result.ok else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert delivered(exporter.export(spans(3), 5))
    assert [request.body for request in server.requests] == [b"spans:1", b"spans:2", b"spans:3"]
    assert server.connections == 2  # the parent's is still alive, and only the parent used it


def test_two_exports_at_once_do_not_share_a_connection(serve: Any, make: Any) -> None:
    both = threading.Barrier(2, timeout=5)

    def script(server: Any, peer: Any) -> None:
        while request := peer.request():
            server.requests.append(request)
            both.wait()
            peer.send(NO_CONTENT)

    server = serve(script)
    exporter = make(server.url)
    results: list[Result] = []
    threads = [threading.Thread(target=lambda: results.append(exporter.export(spans(), 5))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert [delivered(result) for result in results] == [True, True]


def test_after_close_nothing_is_sent(serve: Any, make: Any) -> None:
    server = serve()
    exporter = make(server.url)
    assert delivered(exporter.export(spans(), 5))
    exporter.close()
    exporter.close()
    result = exporter.export(spans(2), 5)
    assert (result.ok, result.lost) == (False, 2)
    assert "closed" in result.reason
    assert len(server.requests) == 1


# Partial success


def partial(rejected: int, message: str) -> bytes:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = rejected
    answer.partial_success.error_message = message
    body: bytes = answer.SerializeToString()
    return body


def answer(status: int, body: bytes, content_type: str = "application/x-protobuf", more: str = "") -> bytes:
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


@pytest.mark.parametrize(
    ("body", "content_type", "rejected", "message"),
    [
        (partial(2, "too old"), "application/x-protobuf", 2, "too old"),
        (partial(2, ""), "application/x-protobuf", 2, ""),
        (partial(9, "more than there were"), "application/x-protobuf", 3, "more than there were"),
        (b'{"partialSuccess":{"rejectedSpans":"2","errorMessage":"old"}}', "application/json", 2, "old"),
        (b'{"partialSuccess":{"rejectedSpans":1}}', "application/json; charset=utf-8", 1, ""),
        (partial(1, f"key {SECRET} has\nno right"), "application/x-protobuf", 1, "key **** has no right"),
    ],
)
def test_rejected_spans_are_reported(
    serve: Any, make: Any, body: bytes, content_type: str, rejected: int, message: str
) -> None:
    server = serve(answer(200, body, content_type))
    result = make(server.url, headers={"k": f"Bearer {SECRET}"}).export(spans(3), 5)
    assert (result.ok, result.lost, result.rejected) == (False, 0, rejected)
    assert f"rejected {rejected} of 3" in result.reason
    assert result.reason.endswith(message)


def test_a_warning_is_no_loss(serve: Any, make: Any) -> None:
    server = serve(answer(200, partial(0, "please upgrade")))
    result = make(server.url).export(spans(3), 5)
    assert delivered(result)
    assert result.warning == "please upgrade"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "application/x-protobuf"),
        (partial(-1, ""), "application/x-protobuf"),
        (b"\xff\xff\xff", "application/x-protobuf"),
        (b"\x0a\xff\x01", "application/x-protobuf"),
        # Letters that look like fields: a megabyte of them would take a second of the function's.
        (b"x" * 70_000 + partial(2, "far behind"), "application/x-protobuf"),
        (b"OK", "text/plain"),
        (b"[1]", "application/json"),
        (b'{"partialSuccess":7}', "application/json"),
        (b'{"partialSuccess":{"rejectedSpans":"many"}}', "application/json"),
        (b"[" * 100_000, "application/json"),
    ],
)
def test_an_odd_body_of_a_success_is_still_a_success(
    serve: Any, make: Any, body: bytes, content_type: str
) -> None:
    server = serve(answer(200, body, content_type))
    assert delivered(make(server.url).export(spans(3), 5))


# Proxies


def test_a_proxy_gets_the_whole_url(serve: Any, make: Any) -> None:
    proxy = serve()
    exporter = make(
        "http://user:pw12@collector.invalid/v1/traces", proxy=f"http://us:passw@127.0.0.1:{proxy.port}"
    )
    assert delivered(exporter.export(spans(), 5))
    (request,) = proxy.requests
    assert request.line == "POST http://collector.invalid/v1/traces HTTP/1.1"
    assert request.headers["host"] == "collector.invalid"
    assert base64.b64decode(request.headers["proxy-authorization"].partition(" ")[2]) == b"us:passw"
    assert base64.b64decode(request.headers["authorization"].partition(" ")[2]) == b"user:pw12"


def test_proxies_of_the_environment_are_not_looked_at(
    serve: Any, make: Any, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port}")
    server = serve()
    assert delivered(make(server.url).export(spans(), 5))


# Settings that cannot work


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "localhost:4318",
        "ftp://host/",
        "unix:///tmp/x",
        "http://",
        "http:///path",
        "http://:4318/",
        f"http://user:{SECRET}@/path",
        f"http://user:{SECRET}@host:port/",
        f"http://user:{SECRET}@host:0/",
        f"http://user:{SECRET}@host:65536/",
        f"http://user:{SECRET}@ho st/",
        f"http://{SECRET}@host/pa th",
        f"http://{SECRET}@host/a\r\nInjected:1",
        f"http://{SECRET}@ho\nst/",
        f"http://{SECRET}@[::1/",
        f"http://{SECRET}@[host]/",
        f"http://{SECRET}@[::1]4318/",
        f"http://{SECRET}@{'ä' * 80}/",
    ],
)
def test_an_endpoint_that_is_none(endpoint: str) -> None:
    with pytest.raises(ValueError, match=r"\bendpoint\b") as caught:
        OtlpHttpExporter(endpoint)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("name", "value", "quoted"),
    [
        ("api-key", f"{SECRET}\r\nInjected: 1", "api-key"),
        ("api-key", f"{SECRET}\n", "api-key"),
        ("api-key", f"{SECRET}\0", "api-key"),
        ("api-key", f"{SECRET}€", "api-key"),
        ("na me", SECRET, "na me"),
        ("name:", SECRET, "name:"),
        ("", SECRET, ""),
        ("näme", SECRET, "näme"),
    ],
)
def test_a_header_that_cannot_be_sent(name: str, value: str, quoted: str) -> None:
    with pytest.raises(ValueError, match="header") as caught:
        OtlpHttpExporter("http://localhost/", headers={name: value})
    assert SECRET not in str(caught.value)
    assert quoted in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"protocol": "grpc"},
        {"compression": "deflate"},
        {"proxy": "https://proxy/"},
        {"proxy": "socks5://proxy/"},
        {"client_key": "key.pem"},
    ],
)
def test_other_settings_that_cannot_work(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        OtlpHttpExporter("http://localhost/", **settings)


def test_a_path_that_is_no_text(make: Any) -> None:
    assert make("http://host/v1/\udce4")._endpoint.target == "/v1/%E4"  # as os.environ has it


def test_an_endless_time_is_no_error(serve: Any, make: Any) -> None:
    assert delivered(make(serve().url).export(spans(), float("inf")))


def test_many_exports_at_once_leave_few_connections(serve: Any, make: Any) -> None:
    all_here = threading.Barrier(8, timeout=10)

    def script(server: Any, peer: Any) -> None:
        while peer.request():
            all_here.wait()
            peer.send(NO_CONTENT)

    exporter = make(serve(script).url)
    results: list[Result] = []
    threads = [
        threading.Thread(target=lambda: results.append(exporter.export(spans(), 10))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert [delivered(result) for result in results] == [True] * 8
    assert 1 <= len(exporter._client._idle) < 8


def test_an_international_host_name_and_path(make: Any) -> None:
    exporter = make("HTTPS://Bücher.example/v1/träces#fragment")
    endpoint = exporter._endpoint
    assert (endpoint.host, endpoint.port, endpoint.target) == (
        "xn--bcher-kva.example",
        443,
        "/v1/tr%C3%A4ces",
    )
    assert endpoint.authority == "xn--bcher-kva.example"


def test_an_instrumented_http_client_does_not_see_the_export(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seen(*arguments: object, **keywords: object) -> None:
        raise AssertionError("an export went through what others instrument")

    server = serve()
    for place, name in (
        (http.client.HTTPConnection, "request"),
        (http.client.HTTPConnection, "putrequest"),
        (urllib.request.OpenerDirector, "open"),
        (socket, "create_connection"),
        (socket, "getaddrinfo"),
    ):
        monkeypatch.setattr(place, name, seen)
    tracer = lambent.init(endpoint=server.url, exporter="otlp", timeout=20)
    tracer.start_span("a").end()
    assert tracer.force_flush()
    tracer.close()
    assert len(server.requests) == 1
