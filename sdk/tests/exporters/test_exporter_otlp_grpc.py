"""OTLP over gRPC against grpcio's own server and OpenTelemetry's servicer."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # it has none
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

import lambent
from lambent.exporters import otlp_grpc
from lambent.exporters._answer import retry_delay
from lambent.exporters.otlp_grpc import OtlpGrpcExporter
from lambent.testing import recording_tracer

SECRET = "hush-4711-abcdef"
SOURCE = Path(lambent.__file__).parent.parent


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Does what the test tells it to with each call, and remembers."""

    def __init__(self) -> None:
        self.calls: list[tuple[list[str], dict[str, Any]]] = []
        self.script: list[Callable[[grpc.ServicerContext], Any]] = []
        self.released = threading.Event()

    def Export(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802  # gRPC's name
        names = [
            span.name
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        self.calls.append((names, dict(context.invocation_metadata())))
        if self.script:
            answer = self.script.pop(0)(context)
            if answer is not None:
                return answer
        return trace_service_pb2.ExportTraceServiceResponse()


class Running:
    def __init__(self, credentials: grpc.ServerCredentials | None = None, port: int = 0) -> None:
        self.collector = Collector()
        self.server = grpc.server(futures.ThreadPoolExecutor(4))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(  # type: ignore[no-untyped-call]  # generated
            self.collector, self.server
        )
        if credentials is None:
            self.port = self.server.add_insecure_port(f"127.0.0.1:{port}")
        else:
            self.port = self.server.add_secure_port("127.0.0.1:0", credentials)
        self.server.start()
        self.target = f"127.0.0.1:{self.port}"

    @property
    def calls(self) -> list[tuple[list[str], dict[str, Any]]]:
        return self.collector.calls


Start = Callable[..., Running]
Make = Callable[..., OtlpGrpcExporter]


@pytest.fixture
def start() -> Iterator[Start]:
    running: list[Running] = []

    def begin(credentials: grpc.ServerCredentials | None = None, port: int = 0) -> Running:
        running.append(Running(credentials, port))
        return running[-1]

    yield begin
    for each in running:
        each.collector.released.set()
        each.server.stop(None).wait(10)


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[OtlpGrpcExporter] = []

    def build(endpoint: str, **arguments: Any) -> OtlpGrpcExporter:
        made.append(OtlpGrpcExporter(endpoint, **arguments))
        return made[-1]

    yield build
    for exporter in made:
        exporter.close()


@pytest.fixture
def spans() -> Iterator[list[Any]]:
    tracer = recording_tracer()
    made = [tracer.start_span(name) for name in ("one", "two")]
    for span in made:
        span.end()
    yield made
    tracer.close()


def aborting(code: grpc.StatusCode, text: str = "no", delay: float | None = None) -> Callable[[Any], Any]:
    def answer(context: grpc.ServicerContext) -> None:
        if delay is not None:
            status = status_pb2.Status(code=code.value[0], message=text)
            info = error_details_pb2.RetryInfo(
                retry_delay=duration_pb2.Duration(seconds=int(delay), nanos=int(delay % 1 * 1e9))
            )
            status.details.add().Pack(info)
            context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        context.abort(code, text)

    return answer


def test_spans_arrive_with_headers(start: Start, make: Make, spans: list[Any]) -> None:
    server = start()
    exporter = make(f"http://{server.target}", headers={"X-Key": "v", "user-agent": "mine"})
    result = exporter.export(spans, 20)
    assert (result.ok, result.lost, result.reason) == (True, 0, "")
    assert result.bytes > 50
    ((names, metadata),) = server.calls
    assert names == ["one", "two"]
    assert metadata["x-key"] == "v"
    assert metadata["user-agent"].startswith("OTel-OTLP-Exporter-Python/")
    assert exporter.export([], 20).ok
    assert len(server.calls) == 1


def test_compressed(start: Start, make: Make, spans: list[Any]) -> None:
    server = start()
    assert make(f"http://{server.target}", compression="gzip").export(spans, 20).ok
    ((names, metadata),) = server.calls
    assert names == ["one", "two"]
    assert "gzip" in str(metadata.get("grpc-internal-encoding-request", "gzip"))


@pytest.mark.parametrize("form", ["http://u:{secret}@{target}/ignored", "{target}", "dns:///{target}"])
def test_forms_of_an_endpoint(form: str, start: Start, make: Make, spans: list[Any]) -> None:
    server = start()
    exporter = make(form.format(target=server.target, secret=SECRET), insecure=True)
    assert exporter.export(spans, 20).ok
    assert SECRET not in repr(exporter)
    assert server.calls[0][1].get("authorization", "").startswith("Basic ") is ("@" in form)


@pytest.mark.parametrize(
    ("endpoint", "target", "secure"),
    [
        ("http://h", "h:80", False),
        ("https://h", "h:443", True),
        ("https://h:4317/x", "h:4317", True),
        ("h:1", "h:1", True),
        ("h", "h:4317", True),
        ("[::1]:5", "[::1]:5", True),
        ("unix:/tmp/x", "unix:/tmp/x", True),
    ],
)
def test_addresses(endpoint: str, target: str, secure: bool) -> None:
    assert otlp_grpc._address(endpoint, False)[:2] == (target, secure)
    if "http" not in endpoint:
        assert otlp_grpc._address(endpoint, True)[1] is False


@pytest.mark.parametrize("endpoint", ["", "ftp://h", "http://", "h:99999", "h:port", f"ws://{SECRET}@h"])
def test_wrong_endpoints(endpoint: str) -> None:
    with pytest.raises(ValueError, match="endpoint") as caught:
        OtlpGrpcExporter(endpoint)
    assert SECRET not in str(caught.value)


@given(st.text(max_size=40))
def test_any_endpoint_is_taken_or_refused(endpoint: str) -> None:
    with contextlib.suppress(ValueError):
        assert otlp_grpc._address(endpoint, False)[0]


@pytest.mark.parametrize("wrong", [{"compression": "zstd"}, {"client_key": "k"}, {"headers": {"a b": "c"}}])
def test_wrong_settings(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"compression|client|header"):
        OtlpGrpcExporter("http://h", **wrong)


def test_unavailable_is_tried_again(start: Start, make: Make, spans: list[Any]) -> None:
    server = start()
    server.collector.script = [aborting(grpc.StatusCode.UNAVAILABLE), aborting(grpc.StatusCode.ABORTED)]
    result = make(f"http://{server.target}").export(spans, 20)
    assert (result.ok, result.retries) == (True, 2)
    assert [names for names, _ in server.calls] == [["one", "two"]] * 3


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED])
def test_retry_info_is_obeyed(code: grpc.StatusCode, start: Start, make: Make, spans: list[Any]) -> None:
    server = start()
    server.collector.script = [aborting(code, "slow down", 0.25)]
    waits: list[float] = []
    result = make(f"http://{server.target}", wait=waits.append).export(spans, 20)
    assert (result.ok, waits) == (True, [0.25])


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED])
def test_nothing_waits_past_the_deadline(
    code: grpc.StatusCode, start: Start, make: Make, spans: list[Any]
) -> None:
    server = start()
    server.collector.script = [aborting(code, "slow down", 60)]
    waits: list[float] = []
    result = make(f"http://{server.target}", wait=waits.append).export(spans, 20)
    assert (result.ok, result.lost, waits) == (False, 2, [])
    assert "asks to wait 60 s" in result.reason
    assert result.again, "whoever asks to wait takes them later"


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
    ],
)
def test_other_codes_are_not_tried_again(
    code: grpc.StatusCode, start: Start, make: Make, spans: list[Any]
) -> None:
    server = start()
    server.collector.script = [aborting(code, f"key {SECRET} is\nwrong")]
    result = make(f"http://{server.target}", headers={"x-key": SECRET}).export(spans, 20)
    assert (result.ok, result.lost, result.retries, len(server.calls)) == (False, 2, 0, 1)
    assert result.reason == f"{server.target}: answered {code.name}: key **** is wrong"
    assert not result.again


def test_retries_end(start: Start, make: Make, spans: list[Any]) -> None:
    server = start()
    server.collector.script = [aborting(grpc.StatusCode.UNAVAILABLE)] * 50
    result = make(f"http://{server.target}", wait=lambda seconds: None).export(spans, 20)
    assert (result.ok, result.retries, len(server.calls)) == (False, 4, 5)


def test_a_hanging_server_costs_the_time_given_and_no_more(
    start: Start, make: Make, spans: list[Any]
) -> None:
    server = start()
    server.collector.script = [lambda context: server.collector.released.wait(60) and None]
    exporter = make(f"http://{server.target}")
    began = time.monotonic()
    result = exporter.export(spans, 0.4)
    assert 0.3 < time.monotonic() - began < 10
    assert (result.ok, result.lost, result.retries) == (False, 2, 0)
    assert "no answer in time" in result.reason
    # It may have arrived: sent again, it would be there twice.
    assert (result.again, result.unconfirmed) == (False, True)
    server.collector.released.set()
    assert exporter.export(spans, 20).ok


def test_one_that_is_late_does_not_end_what_others_have_under_way(
    start: Start, make: Make, spans: list[Any]
) -> None:
    server = start()
    inside = threading.Barrier(2)

    def wait(context: Any) -> None:
        inside.wait(20)
        server.collector.released.wait(60)

    exporter = make(f"http://{server.target}")
    assert exporter.export(spans, 20).ok
    server.collector.script = [wait, wait]
    with futures.ThreadPoolExecutor(1) as pool:
        other = pool.submit(exporter.export, spans, 60)
        late = exporter.export(spans, 1.0)
        assert not late.ok
        server.collector.released.set()
        assert other.result(60).ok


@pytest.mark.parametrize(
    ("code", "text", "unconfirmed"),
    [
        (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", True),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "Stream removed (Deadline Exceeded)", True),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "Received RST_STREAM with error code 8", True),
        (grpc.StatusCode.CANCELLED, "Received RST_STREAM with error code 8", True),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "the database was slow", False),
        (grpc.StatusCode.CANCELLED, "shutting down", False),
    ],
)
def test_who_hung_up_is_told_from_who_answered(
    code: grpc.StatusCode, text: str, unconfirmed: bool, start: Start, make: Make, spans: list[Any]
) -> None:
    server = start()
    server.collector.script = [aborting(code, text)] * 9
    result = make(f"http://{server.target}", wait=lambda seconds: None).export(spans, 20)
    assert (result.unconfirmed, result.again) == (unconfirmed, not unconfirmed)
    assert bool(result.retries) is not unconfirmed


def test_without_time_nothing_is_lost_for_good(make: Make, spans: list[Any]) -> None:
    result = make("http://127.0.0.1:1").export(spans, 0)
    assert (result.ok, result.again) == (False, True)


def test_a_server_that_accepts_and_says_nothing(make: Make, spans: list[Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        result = make(f"http://127.0.0.1:{listener.getsockname()[1]}").export(spans, 0.4)
    assert (result.ok, result.lost) == (False, 2)


def test_a_dead_server(make: Make, spans: list[Any], free_port: int) -> None:
    exporter = make(f"http://127.0.0.1:{free_port}")
    first, second = exporter.export(spans, 20), exporter.export(spans, 20)
    assert (first.ok, first.retries, first.quiet) == (False, 2, False)
    assert (second.ok, second.retries) == (False, 0)
    assert "unreachable" in first.reason
    assert "refused" in first.reason
    quiet = make(f"http://127.0.0.1:{free_port}", quiet_refused=True).export(spans, 20)
    assert (quiet.ok, quiet.quiet, quiet.retries) == (False, True, 0)


def test_a_server_that_comes_back(start: Start, make: Make, spans: list[Any], free_port: int) -> None:
    exporter = make(f"http://127.0.0.1:{free_port}")
    for _ in range(3):
        assert not exporter.export(spans, 20).ok
    start(port=free_port)
    result = exporter.export(spans, 20)
    assert result.ok, f"at once, not when grpcio's own patience is over: {result.reason}"


def test_what_may_have_arrived_is_not_sent_again(make: Make, spans: list[Any]) -> None:
    accepted = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            peer, _ = listener.accept()
            accepted.append(peer)
            peer.sendall(b"\0\0\0\4\0\0\0\0\0")  # HTTP/2's SETTINGS: the client goes on to its request
            received = b""
            while b"two" not in received:
                received += peer.recv(65536)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            peer.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        result = make(f"http://127.0.0.1:{listener.getsockname()[1]}").export(spans, 20)
        thread.join(10)
    assert (result.ok, result.lost, result.retries, len(accepted)) == (False, 2, 0, 1)
    assert "the connection broke" in result.reason


def test_no_time_and_no_more_exporter(start: Start, make: Make, spans: list[Any]) -> None:
    server = start()
    exporter = make(f"http://{server.target}")
    assert "no time" in exporter.export(spans, 0).reason
    exporter.close()
    assert "closed" in exporter.export(spans, 5).reason
    assert server.calls == []


@pytest.mark.parametrize(
    ("rejected", "text", "ok", "lost"),
    [
        (0, "", True, 0),
        (1, "too old", False, 1),
        (99, "all", False, 2),
        (0, "deprecated", True, 0),
        (-5, "", True, 0),
    ],
)
def test_partial_success(
    rejected: int, text: str, ok: bool, lost: int, start: Start, make: Make, spans: list[Any]
) -> None:
    server = start()
    answer = trace_service_pb2.ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = rejected
    answer.partial_success.error_message = text
    server.collector.script = [lambda context: answer]
    result = make(f"http://{server.target}").export(spans, 20)
    assert (result.ok, result.rejected) == (ok, lost)
    assert text in (result.warning if ok else result.reason)


# TLS


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def files(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("grpc")
    client = authority.issue_cert("client@example.org")
    paths = {name: str(folder / name) for name in ("ca", "certificate", "key")}
    authority.cert_pem.write_to_path(paths["ca"])
    client.cert_chain_pems[0].write_to_path(paths["certificate"])
    client.private_key_pem.write_to_path(paths["key"])
    return paths


def server_credentials(authority: trustme.CA, ask: bool = False) -> grpc.ServerCredentials:
    issued = authority.issue_cert("localhost", "127.0.0.1")
    return grpc.ssl_server_credentials(
        [(issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes())],
        authority.cert_pem.bytes() if ask else None,
        ask,
    )


def test_tls(
    start: Start, make: Make, spans: list[Any], authority: trustme.CA, files: dict[str, str]
) -> None:
    server = start(server_credentials(authority))
    assert make(f"https://localhost:{server.port}", certificate=files["ca"]).export(spans, 20).ok
    # Without a scheme, TLS unless told otherwise.
    assert make(f"localhost:{server.port}", certificate=files["ca"]).export(spans, 20).ok


def test_a_client_certificate(
    start: Start, make: Make, spans: list[Any], authority: trustme.CA, files: dict[str, str]
) -> None:
    server = start(server_credentials(authority, ask=True))
    url = f"https://localhost:{server.port}"
    shown = make(
        url, certificate=files["ca"], client_certificate=files["certificate"], client_key=files["key"]
    )
    assert shown.export(spans, 20).ok
    assert not make(url, certificate=files["ca"]).export(spans, 5).ok


def test_broken_tls_is_said_and_not_tried_again(
    start: Start, make: Make, spans: list[Any], authority: trustme.CA, tmp_path: Path
) -> None:
    server = start(server_credentials(authority))
    result = make(f"https://localhost:{server.port}").export(spans, 20)
    assert (result.ok, result.lost, result.retries) == (False, 2, 0)
    assert "no secure connection" in result.reason
    assert "\n" not in result.reason
    missing = make(f"https://localhost:{server.port}", certificate=str(tmp_path / "none.pem"))
    assert "none.pem cannot be read" in missing.export(spans, 5).reason


# Around it


def test_without_grpcio_there_is_one_clear_line(spans: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "grpc", None)
    exporter = OtlpGrpcExporter("http://h")
    first, second = exporter.export(spans, 1), exporter.export(spans, 1)
    assert (first.ok, first.lost, first.quiet) == (False, 2, False)
    assert (second.ok, second.lost, second.quiet) == (False, 2, True)
    assert "install lambent[grpc]" in first.reason


def test_grpcio_is_loaded_with_the_first_export_only() -> None:
    program = """
import sys, lambent
tracer = lambent.init(protocol="grpc", endpoint="http://127.0.0.1:9", exporter="otlp", timeout=30)
tracer.start_span("a").end()
assert "grpc" not in sys.modules
assert tracer.force_flush(30000) is False
assert "grpc" in sys.modules
import contextlib
import os
assert "GRPC_VERBOSITY" not in os.environ
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("\n") == 2, done.stderr
    assert "lambent: kept 1 of 1 spans for another try: 127.0.0.1:9: unreachable" in done.stderr


def test_an_instrumented_grpc_does_not_trace_the_export(
    start: Start, make: Make, spans: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start()
    original, seen = grpc.insecure_channel, []

    def instrumented(*arguments: Any, **keywords: Any) -> Any:
        seen.append(arguments)
        return original(*arguments, **keywords)

    instrumented.__wrapped__ = original  # type: ignore[attr-defined]  # as wrapt and functools do
    monkeypatch.setattr(grpc, "insecure_channel", instrumented)
    assert make(f"http://{server.target}").export(spans, 20).ok
    assert seen == []


def test_a_forked_child_exports_on_its_own_channel(start: Start) -> None:
    server = start()
    program = f"""
import os, lambent
from lambent.exporters.otlp_grpc import OtlpGrpcExporter
from lambent.testing import recording_tracer
exporter = OtlpGrpcExporter("http://{server.target}")
def send(name):
    tracer = recording_tracer()
    span = tracer.start_span(name)
    span.end()
    result = exporter.export([span], 20)
    assert result.ok, result
send("parent")
pid = os.fork()
if not pid:
    try:
        send("child")
    except BaseException:
        os._exit(1)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
send("again")
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [names for names, _ in server.calls] == [["parent"], ["child"], ["again"]]


def test_where_a_fork_would_hang_the_child_says_so(
    start: Start, make: Make, spans: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start()
    exporter = make(f"http://{server.target}")
    assert exporter.export(spans, 20).ok
    monkeypatch.setattr(otlp_grpc, "_may_fork", lambda: False)
    with monkeypatch.context() as child:
        child.setattr(otlp_grpc, "getpid", lambda: 1)
        result = exporter.export(spans, 20)
    assert (result.ok, result.lost) == (False, 2)
    assert "GRPC_ENABLE_FORK_SUPPORT" in result.reason
    assert exporter.export(spans, 20).ok


def test_after_a_freeze_there_is_a_new_channel(start: Start, make: Make, spans: list[Any]) -> None:
    server = start()
    now = [1000.0]
    exporter = make(f"http://{server.target}", wall_clock=lambda: now[0])
    assert exporter.export(spans, 20).ok
    first = exporter._channel
    assert exporter.export(spans, 20).ok
    assert exporter._channel is first
    now[0] += 31
    assert exporter.export(spans, 20).ok
    assert exporter._channel is not first


# RetryInfo


@given(st.integers(-(2**40), 2**40), st.integers(-999_999_999, 999_999_999), st.booleans())
def test_retry_info_as_google_writes_it(seconds: int, nanos: int, among_others: bool) -> None:
    status = status_pb2.Status(code=14, message="m")
    if among_others:
        status.details.add().Pack(error_details_pb2.DebugInfo(detail="d"))
    delay = duration_pb2.Duration(seconds=seconds, nanos=nanos)
    status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    expected = max(0.0, seconds + nanos / 1e9)
    assert retry_delay(status.SerializeToString()) == pytest.approx(expected)


@given(st.binary(max_size=80))
def test_retry_info_of_anything(data: bytes) -> None:
    found = retry_delay(data)
    assert found is None or found >= 0


def test_no_retry_info() -> None:
    assert retry_delay(b"") is None
    assert retry_delay(status_pb2.Status(code=1, message="x").SerializeToString()) is None
