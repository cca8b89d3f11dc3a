"""OTLP requests, made by OpenTelemetry's own code, read back as span records."""

from __future__ import annotations

import base64
import gzip
import json
import math
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from lambent_lab.traces.decode import DecodeError, TooLargeError, gunzip
from lambent_lab.traces.otlp_json import decode_json, read_json
from lambent_lab.traces.otlp_protobuf import decode_protobuf, read_protobuf

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambent_lab.traces import SpanRecord

TRACE = "5b8efff798038103d269b633813fc60c"
SPAN = "eee19b7ec3c1b174"


def made_by_opentelemetry() -> Sequence[ReadableSpan]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({"service.name": "orders", "faas.max_memory": 134217728}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("shop", "1.2")
    other = SpanContext(
        0xABC, 0xDEF, is_remote=True, trace_flags=TraceFlags(1), trace_state=TraceState([("k", "v")])
    )
    with tracer.start_as_current_span(
        "POST /orders", kind=SpanKind.SERVER, links=[Link(other, {"why": "batch"})], attributes={"n": 1}
    ) as root:
        root.add_event("cache miss", {"key": "å"}, timestamp=1_700_000_000_000_000_123)
        with tracer.start_as_current_span(
            "SELECT",
            kind=SpanKind.CLIENT,
            attributes={"rows": [1, 2], "slow": True, "ratio": 0.5, "raw": b"\xff\x00"},
        ) as child:
            child.set_status(Status(StatusCode.ERROR, "no such table"))
    provider.shutdown()
    return exporter.get_finished_spans()


def as_otlp_json(request: ExportTraceServiceRequest) -> dict[str, Any]:
    """Return OTLP JSON: protobuf's JSON, with the ids in hexadecimal instead of base64."""

    def hexed(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: base64.b64decode(item).hex()
                if key in {"traceId", "spanId", "parentSpanId"}
                else hexed(item)
                for key, item in value.items()
            }
        return [hexed(item) for item in value] if isinstance(value, list) else value

    converted: dict[str, Any] = hexed(MessageToDict(request))
    return converted


def check(records: list[SpanRecord], spans: Sequence[ReadableSpan]) -> None:
    by_name = {record.name: record for record in records}
    root, child = by_name["POST /orders"], by_name["SELECT"]
    sent = {span.name: span for span in spans}
    context = sent["POST /orders"].context
    assert context is not None
    assert root.trace_id == f"{context.trace_id:032x}"
    assert root.span_id == f"{context.span_id:016x}"
    assert root.parent_span_id == ""
    assert (root.kind, child.kind) == ("SERVER", "CLIENT")
    assert child.parent_span_id == root.span_id
    assert (root.start_ns, root.end_ns) == (sent["POST /orders"].start_time, sent["POST /orders"].end_time)
    assert child.attributes == {"rows": [1, 2], "slow": True, "ratio": 0.5, "raw": b"\xff\x00"}
    assert (child.status, child.status_message) == ("ERROR", "no such table")
    assert (root.status, root.status_message) == ("UNSET", "")
    assert root.events == [
        {
            "name": "cache miss",
            "time_ns": 1_700_000_000_000_000_123,
            "attributes": {"key": "å"},
            "dropped_attributes": 0,
        }
    ]
    assert root.links == [
        {
            "trace_id": f"{0xABC:032x}",
            "span_id": f"{0xDEF:016x}",
            "trace_state": "",  # OpenTelemetry's encoder leaves it out
            "attributes": {"why": "batch"},
            "dropped_attributes": 0,
        }
    ]
    assert root.resource == {"service.name": "orders", "faas.max_memory": 134217728}
    assert root.service == "orders"
    assert root.scope == "shop 1.2"
    assert not root.unfinished
    assert root.duration_ms == pytest.approx((root.end_ns - root.start_ns) / 1e6)


def test_protobuf_of_the_opentelemetry_sdk() -> None:
    spans = made_by_opentelemetry()
    check(decode_protobuf(encode_spans(spans).SerializeToString()), spans)


def test_json_and_protobuf_say_the_same() -> None:
    request = encode_spans(made_by_opentelemetry())
    assert decode_json(json.dumps(as_otlp_json(request))) == decode_protobuf(request.SerializeToString())


def one_json(**fields: object) -> SpanRecord:
    span = {"traceId": TRACE, "spanId": SPAN, **fields}
    (record,) = decode_json(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}))
    return record


def test_json_ids_may_be_upper_case() -> None:
    record = one_json(traceId=TRACE.upper(), parentSpanId="AAAAAAAAAAAAAAAA")
    assert (record.trace_id, record.parent_span_id) == (TRACE, "a" * 16)


def test_json_integers_may_be_strings_or_numbers() -> None:
    for number in ("1544712660300000001", 1544712660300000001):
        record = one_json(
            startTimeUnixNano=number,
            endTimeUnixNano=number,
            attributes=[{"key": "n", "value": {"intValue": number}}],
        )
        assert record.start_ns == record.end_ns == 1544712660300000001
        assert record.attributes == {"n": 1544712660300000001}


def test_json_enumerations_may_be_names() -> None:
    record = one_json(kind="SPAN_KIND_PRODUCER", status={"code": "STATUS_CODE_ERROR"})
    assert (record.kind, record.status) == ("PRODUCER", "ERROR")


def test_json_unknown_enumerations_are_unspecified() -> None:
    record = one_json(kind=99, status={"code": -4})
    assert (record.kind, record.status) == ("UNSPECIFIED", "UNSET")


def test_json_field_names_may_be_those_of_the_proto_file() -> None:
    span = {"trace_id": TRACE, "span_id": SPAN, "start_time_unix_nano": "7"}
    (record,) = decode_json(json.dumps({"resource_spans": [{"scope_spans": [{"spans": [span]}]}]}))
    assert record.start_ns == 7


def test_links_keep_their_trace_state() -> None:
    link = {"traceId": TRACE.upper(), "spanId": SPAN, "traceState": "k=v", "droppedAttributesCount": 3}
    assert one_json(links=[link]).links == [
        {"trace_id": TRACE, "span_id": SPAN, "trace_state": "k=v", "attributes": {}, "dropped_attributes": 3}
    ]


def test_json_ignores_unknown_and_misshapen_fields() -> None:
    record = one_json(
        colour="red", attributes={"not": "a list"}, events=[3, {"name": 5}], status=[], links="x"
    )
    assert record.attributes == {}
    assert [event["name"] for event in record.events] == ["5"]
    assert record.links == []


def test_json_special_numbers_and_half_surrogates() -> None:
    record = one_json(
        name="a\ud800b",
        attributes=[
            {"key": "nan", "value": {"doubleValue": "NaN"}},
            {"key": "inf", "value": {"doubleValue": "-Infinity"}},
            {
                "key": "deep",
                "value": {"kvlistValue": {"values": [{"key": "k", "value": {"boolValue": True}}]}},
            },
            {"key": "none", "value": {}},
        ],
    )
    assert record.name == "a\ufffdb"
    nan = record.attributes["nan"]
    assert isinstance(nan, float)
    assert math.isnan(nan)
    assert record.attributes["inf"] == -math.inf
    assert record.attributes["deep"] == {"k": True}
    assert record.attributes["none"] is None
    strict = json.loads(json.dumps(record.to_json(), allow_nan=False))
    assert strict["attributes"]["nan"] == "NaN"
    assert strict["attributes"]["inf"] == "-Infinity"


@pytest.mark.parametrize("value", [True, False, "true", "True", "false", "", 1, 0, 1.0, [True], {}])
def test_a_json_boolean_is_what_protobuf_takes_for_one(value: object) -> None:
    """Only JSON's own true and false are (its JSON mapping); anything else is no value, not a False."""
    try:
        expected: bool | None = ParseDict({"boolValue": value}, AnyValue()).bool_value
    except ParseError:
        expected = None
    attributes = [{"key": "k", "value": {"boolValue": value}}]
    span = {"traceId": TRACE, "spanId": SPAN, "attributes": attributes}
    (record,) = decode_json(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}))
    assert record.attributes["k"] is expected


def test_times_beyond_sqlite_are_clamped() -> None:
    assert one_json(startTimeUnixNano=2**70).start_ns == 2**63 - 1
    assert one_json(startTimeUnixNano=-5).start_ns == 0


@pytest.mark.parametrize("bad", ["", "00" * 16, "abc", "zz" * 16, TRACE + "00"])
def test_a_span_with_a_bad_trace_id_is_rejected_and_the_rest_kept(bad: str) -> None:
    spans = [{"traceId": bad, "spanId": SPAN}, {"traceId": TRACE, "spanId": SPAN}]
    decoded = read_json(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}))
    assert [span.trace_id for span in decoded.spans] == [TRACE]
    assert decoded.rejected == 1
    assert "traceId" in decoded.reason


def test_a_protobuf_span_without_ids_is_rejected() -> None:
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add()
    span.trace_id = b"short"
    assert read_protobuf(request.SerializeToString()).rejected == 1


def test_bodies_that_are_not_otlp() -> None:
    for body in (b"\xff\xff\xff", b"{}"):
        with pytest.raises(DecodeError, match="not an OTLP protobuf"):
            decode_protobuf(body)
    with pytest.raises(DecodeError, match="not JSON"):
        decode_json(b"{")
    with pytest.raises(DecodeError, match="is an object, not list"):
        decode_json("[]")
    with pytest.raises(DecodeError, match="not JSON"):
        decode_json("[" * 200_000)


def test_deep_attributes_are_cut_off() -> None:
    value: dict[str, Any] = {"intValue": 1}
    for _ in range(60):
        value = {"arrayValue": {"values": [value]}}
    record = one_json(attributes=[{"key": "deep", "value": value}])
    depth, inner = 0, record.attributes["deep"]
    while isinstance(inner, list):
        depth, inner = depth + 1, inner[0]
    assert inner is None
    assert 30 <= depth <= 40


def test_gunzip_is_bounded() -> None:
    assert gunzip(gzip.compress(b"x" * 100), limit=100) == b"x" * 100
    assert gunzip(gzip.compress(b"ab") + gzip.compress(b"cd"), limit=4) == b"abcd"
    with pytest.raises(TooLargeError, match="more than 99 bytes"):
        gunzip(gzip.compress(b"x" * 100), limit=99)
    with pytest.raises(TooLargeError):
        gunzip(gzip.compress(b"ab") + gzip.compress(b"cd"), limit=3)
    with pytest.raises(DecodeError, match="more than 64 gzip members"):
        gunzip(gzip.compress(b"") * 100_000)
    with pytest.raises(DecodeError, match="cut off"):
        gunzip(gzip.compress(b"x" * 100)[:-4])
    with pytest.raises(DecodeError, match="not valid gzip"):
        gunzip(b"plain")


KEYS = (
    "resourceSpans",
    "scopeSpans",
    "spans",
    "resource",
    "scope",
    "attributes",
    "key",
    "value",
    "name",
    "kind",
    "traceId",
    "spanId",
    "status",
    "code",
    "events",
    "links",
    "stringValue",
    "intValue",
    "doubleValue",
    "bytesValue",
    "arrayValue",
    "kvlistValue",
    "values",
    "startTimeUnixNano",
    "endTimeUnixNano",
    "droppedLinksCount",
)

texts = st.text(st.sampled_from("aZ0 -é\0\ud800\U0001f600"), max_size=6)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | texts, inner, max_size=4)
    ),
    max_leaves=15,
)


@given(st.dictionaries(st.sampled_from(KEYS), json_values, max_size=12))
def test_any_json_span_decodes_and_is_strict_json_again(fields: dict[str, Any]) -> None:
    span = {**fields, "traceId": TRACE, "spanId": SPAN}
    body = json.dumps(
        {"resourceSpans": [{"resource": fields, "scopeSpans": [{"scope": fields, "spans": [span]}]}]}
    )
    (record,) = decode_json(body)
    json.dumps(record.to_json(), allow_nan=False).encode()
    assert 0 <= record.start_ns < 2**63


@given(json_values)
def test_any_json_is_decoded_or_refused(value: Any) -> None:
    refused = not isinstance(value, dict)
    with pytest.raises(DecodeError, match="is an object") if refused else nullcontext():
        read_json(json.dumps(value))


@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused(body: bytes) -> None:
    for decode in (decode_protobuf, decode_json, gunzip):
        with suppress(DecodeError):
            decode(body)
