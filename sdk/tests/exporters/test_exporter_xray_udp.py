"""OTLP to the X-Ray daemon: datagrams on a real socket, decoded by opentelemetry-proto."""

from __future__ import annotations

import base64
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

import lambent
from lambent.exporters import xray_udp
from lambent.exporters.xray_udp import MAX_DATAGRAM, XRayUdpExporter, daemon_address
from lambent.span import Span
from lambent.testing import recording_tracer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HEADER = b'{"format":"json","version":1}\n'


class Daemon:
    """Listens as the X-Ray daemon does."""

    def __init__(self, family: int = socket.AF_INET) -> None:
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        try:
            self.socket.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
        except OSError:
            self.socket.close()
            raise
        self.socket.settimeout(20)
        self.port: int = self.socket.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"

    def take(self) -> tuple[str, list[str]]:
        """Return the prefix and the names of the spans of the next datagram."""
        data = self.socket.recv(70_000)
        assert len(data) <= MAX_DATAGRAM
        assert data.startswith(HEADER)
        body = data.removeprefix(HEADER)
        request = ExportTraceServiceRequest.FromString(base64.b64decode(body[3:], validate=True))
        return body[:3].decode(), [
            span.name
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    made = Daemon()
    yield made
    made.socket.close()


def spans_of(*names: str, size: int = 0) -> list[Span]:
    tracer = recording_tracer()
    made = []
    for name in names:
        span = tracer.start_span(name, attributes={"text": os.urandom(size // 2).hex()})
        assert isinstance(span, Span)
        span.end()
        made.append(span)
    return made


def test_a_datagram(daemon: Daemon) -> None:
    exporter = XRayUdpExporter(daemon.address)
    result = exporter.export(spans_of("a", "b"))
    assert (result.ok, result.lost) == (True, 0)
    assert daemon.take() == ("T1S", ["a", "b"])
    assert result.bytes > 100
    assert exporter.export([]).ok
    exporter.close()
    assert "closed" in exporter.export(spans_of("c")).reason
    assert repr(exporter) == f"XRayUdpExporter('{daemon.address}')"


def test_each_span_has_the_prefix_of_its_own_sampling(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    spans = spans_of("a", "b", "c")

    class Unsampled:
        trace_flags = 0

    original = Span.context.fget  # type: ignore[attr-defined]  # a property
    monkeypatch.setattr(
        Span, "context", property(lambda span: Unsampled if span.name == "b" else original(span))
    )
    exporter = XRayUdpExporter(daemon.address)
    assert exporter.export(spans).ok
    exporter.close()
    assert [daemon.take(), daemon.take()] == [("T1S", ["a", "c"]), ("T1U", ["b"])]


def test_what_is_larger_than_a_datagram_is_split(daemon: Daemon) -> None:
    spans = spans_of(*map(str, range(40)), size=9_000)
    exporter = XRayUdpExporter(daemon.address)
    assert exporter.export(spans).ok
    exporter.close()
    names: list[str] = []
    while len(names) < 40:
        names += daemon.take()[1]
    assert names == [str(number) for number in range(40)]


def test_a_span_larger_than_a_datagram_is_counted_and_the_others_arrive(daemon: Daemon) -> None:
    spans = [*spans_of("a"), *spans_of("large", size=60_000), *spans_of("b")]
    exporter = XRayUdpExporter(daemon.address)
    result = exporter.export(spans)
    exporter.close()
    assert (result.ok, result.lost) == (False, 1)
    assert "larger than a datagram" in result.reason
    assert daemon.take()[1] + daemon.take()[1] == ["a", "b"]


@pytest.mark.parametrize("spare", [0, 1, 2, 3, 4])
def test_the_largest_datagram_arrives(daemon: Daemon, spare: int) -> None:
    payload = (MAX_DATAGRAM - len(HEADER) - 3) // 4 * 3 - spare
    exporter = XRayUdpExporter(daemon.address, encode=lambda spans: b"\0" * payload)
    assert exporter.export(spans_of("a")).ok
    exporter.close()
    assert len(daemon.socket.recv(70_000)) <= MAX_DATAGRAM
    larger = XRayUdpExporter(daemon.address, encode=lambda spans: b"\0" * (payload + spare + 1))
    assert not larger.export(spans_of("a")).ok


def test_nobody_listens(daemon: Daemon) -> None:
    daemon.socket.close()
    exporter = XRayUdpExporter(daemon.address)
    result = exporter.export(spans_of("a", "b"))
    exporter.close()
    assert (result.ok, result.lost) == (False, 2)
    assert result.reason == f"X-Ray daemon at {daemon.address}: connection refused"


def test_an_exporter_in_a_child(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = XRayUdpExporter(daemon.address)
    assert exporter.export(spans_of("a")).ok
    first = exporter._socket
    monkeypatch.setattr(xray_udp, "getpid", lambda: 1)
    assert exporter.export(spans_of("b")).ok
    assert exporter._socket is not first
    assert first is not None
    first.close()
    exporter.close()


def test_a_broken_encoder_is_a_loss(daemon: Daemon) -> None:
    def encode(spans: Sequence[Any]) -> bytes:
        raise RuntimeError("secret")

    exporter = XRayUdpExporter(daemon.address, encode=encode)
    result = exporter.export(spans_of("a"))
    assert (result.ok, result.lost) == (False, 1)
    assert result.reason == f"X-Ray daemon at {daemon.address}: internal RuntimeError"


def test_by_name_and_by_lambdas_variable(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_XRAY_DAEMON_ADDRESS", daemon.address)
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "xray_udp")
    tracer = lambent.init()
    tracer.start_span("a").end()
    assert tracer.force_flush()
    tracer.close()
    assert daemon.take() == ("T1S", ["a"])


def test_over_ipv6() -> None:
    try:
        daemon = Daemon(socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 here")
    exporter = XRayUdpExporter(f"[::1]:{daemon.port}")
    assert exporter.export(spans_of("a")).ok
    exporter.close()
    assert daemon.take()[1] == ["a"]
    daemon.socket.close()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:2000", ("127.0.0.1", 2000)),
        ("169.254.79.129:2000", ("169.254.79.129", 2000)),
        ("tcp:127.0.0.1:2000 udp:127.0.0.2:2001", ("127.0.0.2", 2001)),
        ("udp:127.0.0.2:2001 tcp:127.0.0.1:2000", ("127.0.0.2", 2001)),
        ("udp:h:1", ("h", 1)),
        ("localhost", ("localhost", 2000)),
        ("[::1]:2001", ("::1", 2001)),
    ],
)
def test_addresses(text: str, expected: tuple[str, int]) -> None:
    assert daemon_address(text) == expected


@pytest.mark.parametrize(
    "text", ["", "tcp:127.0.0.1:2000", "a:1 b:2", "udp:a:1 udp:b:2", "h:port", "http://h:1", "h:0", "u@h:1"]
)
def test_wrong_addresses(text: str) -> None:
    with pytest.raises(ValueError, match=r"(?i)x.?ray"):
        XRayUdpExporter(text)


@given(st.text(max_size=30))
def test_any_address_is_taken_or_refused(text: str) -> None:
    try:
        host, port = daemon_address(text)
    except ValueError:
        return
    assert host
    assert 0 < port < 65536


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_anything_a_span_can_hold(data: st.DataObject, daemon: Daemon, span_batches: Any) -> None:
    batch = data.draw(span_batches)
    exporter = XRayUdpExporter(daemon.address)
    result = exporter.export(batch)
    exporter.close()
    arrived = 0
    while arrived < len(batch) - result.lost:
        arrived += len(daemon.take()[1])
    assert arrived == len(batch) - result.lost
