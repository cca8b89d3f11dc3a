"""The JSON encoder against protobuf's own JSON parser, and against the protobuf encoder."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from lambent.testing import recording_tracer
from lambent.wire import json as wire_json
from lambent.wire import protobuf

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambent.span import Span


def with_base64_ids(value: Any) -> Any:
    """Return the document with ids as protobuf's own mapping has them: OTLP has them in hexadecimal."""
    if isinstance(value, dict):
        return {
            key: base64.b64encode(bytes.fromhex(item)).decode()
            if key in {"traceId", "spanId", "parentSpanId"}
            else with_base64_ids(item)
            for key, item in value.items()
        }
    return [with_base64_ids(item) for item in value] if isinstance(value, list) else value


def parse(encoded: bytes) -> ExportTraceServiceRequest:
    document = with_base64_ids(json.loads(encoded))
    return json_format.ParseDict(document, ExportTraceServiceRequest())


@given(data=st.data())
def test_it_says_the_same_as_protobuf(
    data: st.DataObject, span_batches: st.SearchStrategy[Sequence[Span]]
) -> None:
    spans = data.draw(span_batches)
    from_json = parse(wire_json.encode(spans))
    from_protobuf = ExportTraceServiceRequest.FromString(protobuf.encode(spans))
    # As dictionaries, in which a NaN is the text "NaN" and equals itself.
    assert json_format.MessageToDict(from_json) == json_format.MessageToDict(from_protobuf)


def test_the_forms_that_otlp_asks_for() -> None:
    tracer = recording_tracer()
    with tracer.trace("s", kind="CLIENT", attributes={"i": 5, "f": float("nan"), "b": b"\xff"}):
        tracer.fake_clock.advance(1)
    (resource,) = json.loads(wire_json.encode(tracer.spans))["resourceSpans"]
    (span,) = resource["scopeSpans"][0]["spans"]
    assert span["traceId"] == f"{1:032x}"
    assert span["spanId"] == f"{1:016x}"
    assert span["kind"] == 3
    assert span["startTimeUnixNano"] == "1700000000000000000"
    assert span["endTimeUnixNano"] == "1700000001000000000"
    assert [pair["value"] for pair in span["attributes"]] == [
        {"intValue": "5"},
        {"doubleValue": "NaN"},
        {"bytesValue": "/w=="},
    ]


def test_no_spans_are_an_empty_request() -> None:
    assert wire_json.encode([]) == b'{"resourceSpans":[]}'
