"""OTLP protobuf trace requests to span records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambent_lab.traces.decode import (
    MAX_DEPTH,
    Collector,
    Decoded,
    DecodeError,
    named,
    scope_name,
    time_ns,
    valid_id,
)
from lambent_lab.traces.model import KINDS, STATUSES, EventRecord, LinkRecord, SpanRecord, Value

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.internal.containers import RepeatedCompositeFieldContainer
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
    from opentelemetry.proto.trace.v1.trace_pb2 import Span


def decode_protobuf(body: bytes) -> list[SpanRecord]:
    """Return the valid spans of a serialized ExportTraceServiceRequest. Raises DecodeError."""
    return read_protobuf(body).spans


def read_protobuf(body: bytes) -> Decoded:
    """Decode a serialized ExportTraceServiceRequest. Raises DecodeError when it is not one."""
    from google.protobuf.message import DecodeError as ProtobufError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    try:
        request = ExportTraceServiceRequest.FromString(body)
    except ProtobufError as error:
        raise DecodeError(f"the body is not an OTLP protobuf trace request: {error}") from error
    out = Collector()
    for of_resource in request.resource_spans:
        resource = _attributes(of_resource.resource.attributes)
        for of_scope in of_resource.scope_spans:
            scope = scope_name(of_scope.scope.name, of_scope.scope.version)
            for span in of_scope.spans:
                _add_protobuf(out, span, resource, scope)
    return out.result()


def _add_protobuf(out: Collector, span: Span, resource: dict[str, Value], scope: str) -> None:
    trace_id = valid_id(span.trace_id.hex(), 32)
    span_id = valid_id(span.span_id.hex(), 16)
    if not trace_id or not span_id:
        out.reject("a span's trace id or span id is missing, all zero or of the wrong length")
        return
    events: list[EventRecord] = [
        {
            "name": event.name,
            "time_ns": time_ns(event.time_unix_nano),
            "attributes": _attributes(event.attributes),
            "dropped_attributes": event.dropped_attributes_count,
        }
        for event in span.events
    ]
    links: list[LinkRecord] = [
        {
            "trace_id": link.trace_id.hex(),
            "span_id": link.span_id.hex(),
            "trace_state": link.trace_state,
            "attributes": _attributes(link.attributes),
            "dropped_attributes": link.dropped_attributes_count,
        }
        for link in span.links
    ]
    out.spans.append(
        SpanRecord(
            trace_id=trace_id,
            span_id=span_id,
            parent_span_id=valid_id(span.parent_span_id.hex(), 16),
            name=span.name,
            kind=named(KINDS, span.kind),
            start_ns=time_ns(span.start_time_unix_nano),
            end_ns=time_ns(span.end_time_unix_nano),
            status=named(STATUSES, span.status.code),
            status_message=span.status.message,
            attributes=_attributes(span.attributes),
            events=events,
            links=links,
            resource=resource,
            scope=scope,
            trace_state=span.trace_state,
            dropped_attributes=span.dropped_attributes_count,
            dropped_events=span.dropped_events_count,
            dropped_links=span.dropped_links_count,
        )
    )


def _attributes(pairs: RepeatedCompositeFieldContainer[KeyValue]) -> dict[str, Value]:
    return {pair.key: _any_value(pair.value, 0) for pair in pairs}


def _any_value(value: AnyValue, depth: int) -> Value:
    if depth > MAX_DEPTH:
        return None
    which = value.WhichOneof("value")
    if which == "array_value":
        return [_any_value(item, depth + 1) for item in value.array_value.values]
    if which == "kvlist_value":
        return {pair.key: _any_value(pair.value, depth + 1) for pair in value.kvlist_value.values}
    simple: dict[str, Callable[[], Value]] = {
        "string_value": lambda: value.string_value,
        "bool_value": lambda: value.bool_value,
        "int_value": lambda: value.int_value,
        "double_value": lambda: value.double_value,
        "bytes_value": lambda: value.bytes_value,
    }
    return simple[which]() if which in simple else None
