from __future__ import annotations

import base64
import gzip
import json

import pytest
from benchmarks.harness import counting
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span


def otlp(*names: str) -> bytes:
    spans = [Span(name=name) for name in names]
    scope = ScopeSpans(spans=spans)
    return ExportTraceServiceRequest(resource_spans=[ResourceSpans(scope_spans=[scope])]).SerializeToString()


def test_protobuf_requests_are_counted_gzipped_or_not() -> None:
    body = otlp("a", "b", "a")
    plain = {"content-type": "application/x-protobuf"}
    assert counting.request("/v1/traces", plain, body) == ["a", "b", "a"]
    zipped = {**plain, "content-encoding": "gzip"}
    assert counting.request("/opentelemetry/v1/traces", zipped, gzip.compress(body)) == ["a", "b", "a"]


def test_json_requests_are_counted() -> None:
    body = json.dumps(
        {"resourceSpans": [{"scopeSpans": [{"spans": [{"name": "a"}, {"name": "b"}]}]}]}
    ).encode()
    assert counting.request("/v1/traces", {"content-type": "application/json"}, body) == ["a", "b"]


def test_a_request_without_spans_has_none() -> None:
    assert counting.request("/session/start", {}, b"{}") == []
    assert counting.request("/v0.4/traces", {}, b"") == []


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"\x07", 7),
        (b"\xff", -1),
        (b"\xc0", None),
        (b"\xc3", True),
        (b"\xa3abc", "abc"),
        (b"\xd9\x03abc", "abc"),
        (b"\xc4\x02\x00\x01", b"\x00\x01"),
        (b"\xcd\x01\x00", 256),
        (b"\xcf" + (2**63).to_bytes(8, "big"), 2**63),
        (b"\xd3" + (-5).to_bytes(8, "big", signed=True), -5),
        (b"\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00", 1.5),
        (b"\x92\x01\x81\xa1k\xa1v", [1, {"k": "v"}]),
        (b"\xdc\x00\x02\x01\x02", [1, 2]),
        (b"\xde\x00\x01\xa1k\x05", {"k": 5}),
    ],
)
def test_msgpack_values_are_read_by_its_specification(data: bytes, value: object) -> None:
    assert counting.unpack(data + b"\x00", 0) == (value, len(data))


def test_what_is_no_msgpack_is_said_so() -> None:
    with pytest.raises(ValueError, match="not msgpack: byte 0xc1 at 0"):
        counting.unpack(b"\xc1", 0)


def test_datadog_traces_are_counted_in_both_versions() -> None:
    maps = b"\x91\x92\x81\xa4name\xa1a\x81\xa4name\xa1b"
    assert counting.request("/v0.4/traces", {}, maps) == ["a", "b"]
    strings = b"\x93\xa0\xa1s\xa1a"
    assert counting.request("/v0.5/traces", {}, b"\x92" + strings + b"\x91\x91\x93\x01\x02\x00") == ["a"]


def test_datagrams_are_segments_or_wrapped_otlp() -> None:
    header = b'{"format":"json","version":1}\n'
    entity = {"name": "a", "subsegments": [{"name": "b", "subsegments": [{"name": "c"}]}]}
    assert counting.datagram(header + json.dumps(entity).encode()) == ["a", "b", "c"]
    assert counting.datagram(header + b"T1S" + base64.b64encode(otlp("x", "y"))) == ["x", "y"]


def test_only_otlp_lines_of_the_output_are_counted() -> None:
    record = {
        "__otel_otlp_stdout": "0.1",
        "content-type": "application/x-protobuf",
        "content-encoding": "gzip",
        "base64": True,
        "payload": base64.b64encode(gzip.compress(otlp("a"))).decode(),
    }
    assert counting.stdout(f"hello\n{json.dumps(record)}\n{{}}\n") == ["a"]


def test_a_tally_counts_each_name() -> None:
    assert counting.tally(["b", "a", "b"]) == {"a": 1, "b": 2}
