"""The protobuf encoder against opentelemetry-proto's decoder."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from lambent.context import SpanContext, TraceState
from lambent.resource import InstrumentationScope, Resource
from lambent.testing import recording_tracer
from lambent.wire import protobuf

if TYPE_CHECKING:
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue

    from lambent.span import Span


def valid(text: str) -> str:
    """Return the text as it must arrive: a lone surrogate is three bytes that are not UTF-8."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def digits(number: int) -> str:
    try:
        return str(number)
    except ValueError:
        return hex(number)


def same(message: AnyValue, value: Any) -> bool:
    which = message.WhichOneof("value")
    if value is None:
        return which is None
    if isinstance(value, bool):
        return which == "bool_value" and message.bool_value is value
    if isinstance(value, int):
        if -(2**63) <= value < 2**63:
            return which == "int_value" and message.int_value == value
        return which == "string_value" and message.string_value == digits(value)
    if isinstance(value, float):
        same_number = message.double_value == value or (
            math.isnan(value) and math.isnan(message.double_value)
        )
        return which == "double_value" and same_number
    if isinstance(value, str):
        return which == "string_value" and message.string_value == valid(value)
    if isinstance(value, bytes):
        return which == "bytes_value" and message.bytes_value == value
    if isinstance(value, Mapping):
        return which == "kvlist_value" and same_attributes(message.kvlist_value.values, value)
    assert isinstance(value, (tuple, list)), value
    return (
        which == "array_value"
        and len(message.array_value.values) == len(value)
        and all(map(same, message.array_value.values, value))
    )


def same_attributes(pairs: Any, attributes: Mapping[str, object]) -> bool:
    return [pair.key for pair in pairs] == [valid(key) for key in attributes] and all(
        same(pair.value, value) for pair, value in zip(pairs, attributes.values(), strict=True)
    )


def check(message: Any, span: Span) -> None:
    context, parent = span.context, span.parent
    assert message.trace_id == context.trace_id.to_bytes(16)
    assert message.span_id == context.span_id.to_bytes(8)
    assert message.parent_span_id == (parent.span_id.to_bytes(8) if parent else b"")
    assert message.trace_state == context.trace_state.to_header()
    assert message.flags == (0x300 if parent is not None and parent.is_remote else 0x100)
    assert message.name == valid(span.name)
    assert message.kind == span.kind + 1
    assert message.start_time_unix_nano == span.start_time
    assert message.end_time_unix_nano == (span.end_time or 0)
    assert same_attributes(message.attributes, span.attributes)
    assert message.status.code == span.status.status_code
    assert message.status.message == valid(span.status.description or "")
    assert message.dropped_attributes_count == span.dropped_attributes
    assert message.dropped_events_count == span.dropped_events
    assert message.dropped_links_count == span.dropped_links
    for sent, event in zip(message.events, span.events, strict=True):
        assert (sent.name, sent.time_unix_nano) == (valid(event.name), event.timestamp)
        assert sent.dropped_attributes_count == event.dropped_attributes
        assert same_attributes(sent.attributes, event.attributes)
    for sent, link in zip(message.links, span.links, strict=True):
        assert sent.trace_id == link.context.trace_id.to_bytes(16)
        assert sent.span_id == link.context.span_id.to_bytes(8)
        assert sent.trace_state == link.context.trace_state.to_header()
        assert sent.flags == (0x300 if link.context.is_remote else 0x100)
        assert sent.dropped_attributes_count == link.dropped_attributes
        assert same_attributes(sent.attributes, link.attributes)


@given(data=st.data())
def test_everything_arrives(data: st.DataObject, span_batches: st.SearchStrategy[Sequence[Span]]) -> None:
    spans = data.draw(span_batches)
    request = ExportTraceServiceRequest.FromString(protobuf.encode(spans))

    by_resource: dict[int, list[Span]] = {}
    for span in spans:
        by_resource.setdefault(id(span.resource), []).append(span)
    assert len(request.resource_spans) == len(by_resource)
    for sent, ours in zip(request.resource_spans, by_resource.values(), strict=True):
        resource, scope = ours[0].resource, ours[0].instrumentation_scope
        assert same_attributes(sent.resource.attributes, resource.attributes)
        assert sent.schema_url == resource.schema_url
        (scoped,) = sent.scope_spans
        assert (scoped.scope.name, scoped.scope.version) == (valid(scope.name), valid(scope.version))
        assert scoped.schema_url == scope.schema_url
        assert same_attributes(scoped.scope.attributes, scope.attributes)
        for message, span in zip(scoped.spans, ours, strict=True):
            check(message, span)


@pytest.mark.parametrize(
    "size", [0, 1, 2, 121, 122, 123, 124, 125, 126, 127, 128, 129, 16383, 16384, 2_097_152]
)
def test_lengths_around_a_longer_varint(size: int) -> None:
    tracer = recording_tracer()
    span = tracer.start_span("n" * size, attributes={"k": "v" * size, "k" * max(size, 1): 1})
    span.set_status("ERROR", "m" * size)
    span.end()
    (sent,) = (
        ExportTraceServiceRequest.FromString(protobuf.encode(tracer.spans))
        .resource_spans[0]
        .scope_spans[0]
        .spans
    )
    check(sent, tracer.spans[0])


@pytest.mark.parametrize("size", [1, 7, 14, 21, 28, 35, 42, 56, 62, 63, 64])
def test_numbers_around_a_longer_varint(size: int) -> None:
    tracer = recording_tracer()
    numbers = [sign * ((1 << size) + step) for step in (-1, 0, 1) for sign in (1, -1)]
    for name in ("n", "n" * 200):  # twice each: the second time it may be known
        for number in numbers * 2:
            tracer.start_span("s", attributes={name: number}).end()
    request = ExportTraceServiceRequest.FromString(protobuf.encode(tracer.spans))
    messages = request.resource_spans[0].scope_spans[0].spans
    assert len(messages) == len(tracer.spans) == 24
    for message, span in zip(messages, tracer.spans, strict=True):
        check(message, span)


@pytest.mark.parametrize("size", [0, 1, 60, 61, 62, 63, 64, 65, 119, 120, 123, 124, 127, 128, 16382, 16384])
def test_texts_around_a_longer_length(size: int) -> None:
    tracer = recording_tracer()
    for letter in ("x", "é", "\udc80"):
        for name in ("n", "n" * 70, "n" * 126):
            tracer.start_span("s", attributes={name: letter * size}).end()
    request = ExportTraceServiceRequest.FromString(protobuf.encode(tracer.spans))
    for message, span in zip(request.resource_spans[0].scope_spans[0].spans, tracer.spans, strict=True):
        check(message, span)


def test_scopes_of_one_resource_share_it() -> None:
    first, second = recording_tracer(), recording_tracer()
    resource = Resource({"service.name": "one"})
    first._identity = resource, InstrumentationScope("a")
    second._identity = resource, InstrumentationScope("b")
    for number in range(4):
        (first if number % 2 else second).start_span(str(number)).end()
    request = ExportTraceServiceRequest.FromString(protobuf.encode(first.spans + second.spans))
    (sent,) = request.resource_spans
    assert [(scoped.scope.name, len(scoped.spans)) for scoped in sent.scope_spans] == [("a", 2), ("b", 2)]


def test_many_spans() -> None:
    tracer = recording_tracer()
    for number in range(3000):
        tracer.start_span("s", attributes={"n": number}).end()
    request = ExportTraceServiceRequest.FromString(protobuf.encode(tracer.spans))
    spans = request.resource_spans[0].scope_spans[0].spans
    assert [span.attributes[0].value.int_value for span in spans] == list(range(3000))


def test_values_that_python_calls_equal_stay_apart() -> None:
    tracer = recording_tracer()
    values = [True, 1, 1.0, "1", b"1", False, 0, 0.0, -0.0, "", b"", None, (), (1,), (True,)]
    for value in values * 2:
        tracer.start_span("s", attributes={"k": value}).end()
    request = ExportTraceServiceRequest.FromString(protobuf.encode(tracer.spans))
    spans = request.resource_spans[0].scope_spans[0].spans
    for sent, value in zip(spans, values * 2, strict=True):
        assert same(sent.attributes[0].value, value), value
    assert [math.copysign(1, sent.attributes[0].value.double_value) for sent in spans[7:9]] == [1, -1]


def test_more_keys_than_are_kept() -> None:
    tracer = recording_tracer()
    for number in range(2000):
        tracer.start_span("s", attributes={f"key.{number}": True}).end()
    request = ExportTraceServiceRequest.FromString(protobuf.encode(tracer.spans))
    keys = [span.attributes[0].key for span in request.resource_spans[0].scope_spans[0].spans]
    assert keys == [f"key.{number}" for number in range(2000)]


def test_a_link_that_names_no_span_and_says_something_is_sent() -> None:
    tracer = recording_tracer()
    with tracer.trace("s") as span:
        span.add_link(SpanContext(-1, 1 << 70), {"why": "?"})
        span.add_link(SpanContext(0, 0, trace_state=TraceState(a="b")))
        span.add_link(SpanContext(0, 0))
    (sent,) = (
        ExportTraceServiceRequest.FromString(protobuf.encode(tracer.spans))
        .resource_spans[0]
        .scope_spans[0]
        .spans
    )
    assert [link.trace_state for link in sent.links] == ["", "a=b"]


def test_what_lies_too_deep_costs_itself_and_not_the_request() -> None:
    deep: list[object] = []
    for _ in range(200):
        deep = [deep]
    endless: list[object] = []
    endless += [endless, endless]
    nested: object = "leaf"
    for _ in range(24):
        nested = {"k": nested}
    tracer = recording_tracer()
    with tracer.trace("s", attributes={"deep": deep, "kept": 1}) as span:
        span.set_attribute("endless", endless)
        span.set_attribute("nested", nested)
        span.add_event("e", {"nested": nested})
    (ended,) = tracer.spans
    assert list(ended.attributes) == ["kept", "nested"]
    assert ended.dropped_attributes == 2
    (sent,) = (
        ExportTraceServiceRequest.FromString(protobuf.encode(tracer.spans))
        .resource_spans[0]
        .scope_spans[0]
        .spans
    )
    check(sent, ended)


def test_no_spans_are_an_empty_request() -> None:
    assert protobuf.encode([]) == b""


def test_an_integer_with_more_digits_than_python_writes_is_sent_in_hexadecimal() -> None:
    tracer = recording_tracer()
    tracer.start_span("s", attributes={"n": 10**5000}).end()
    (sent,) = (
        ExportTraceServiceRequest.FromString(protobuf.encode(tracer.spans))
        .resource_spans[0]
        .scope_spans[0]
        .spans
    )
    assert sent.attributes[0].value.string_value == hex(10**5000)
