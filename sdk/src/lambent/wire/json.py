"""OTLP's ExportTraceServiceRequest in JSON.

Rules (OTLP specification, "JSON Protobuf Encoding"): ids are hexadecimal text, 64-bit integers
decimal text, bytes base64, enumerations numbers, and names lowerCamelCase; a number that JSON
cannot hold is "NaN", "Infinity" or "-Infinity" (protobuf's JSON mapping).
"""

from __future__ import annotations

from binascii import b2a_base64
from json import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from lambent.parts import Event, Link
    from lambent.span import Span

__all__ = ["encode"]

_REMOTE_KNOWN, _REMOTE = 0x100, 0x200
_LOW_64, _LOW_128 = (1 << 64) - 1, (1 << 128) - 1


def encode(spans: Sequence[Span]) -> bytes:
    """Return the request that carries these spans, grouped by resource and scope."""
    resources: dict[int, dict[str, Any]] = {}
    scopes: dict[tuple[int, int], dict[str, Any]] = {}
    for span in spans:
        resource, scope = span.resource, span.instrumentation_scope
        group = scopes.get((id(resource), id(scope)))
        if group is None:
            outer = resources.get(id(resource))
            if outer is None:
                outer = resources[id(resource)] = {
                    "resource": {"attributes": _attributes(resource.attributes)},
                    "scopeSpans": [],
                }
                if resource.schema_url:
                    outer["schemaUrl"] = resource.schema_url
            described: dict[str, Any] = {"name": _text(scope.name), "version": _text(scope.version)}
            if scope.attributes:
                described["attributes"] = _attributes(scope.attributes)
            group = scopes[id(resource), id(scope)] = {"scope": described, "spans": []}
            if scope.schema_url:
                group["schemaUrl"] = scope.schema_url
            outer["scopeSpans"].append(group)
        group["spans"].append(_span(span))
    return dumps({"resourceSpans": list(resources.values())}, separators=(",", ":")).encode()


def _span(span: Span) -> dict[str, Any]:
    parent = span.parent
    message: dict[str, Any] = {
        "traceId": f"{span._trace_id:032x}",
        "spanId": f"{span._span_id:016x}",
        "flags": _flags(parent is not None and parent.is_remote),
        "name": _text(span.name),
        "kind": span._kind + 1,
        "startTimeUnixNano": str(span.start_time),
        "endTimeUnixNano": str(span.end_time or 0),
        "attributes": _attributes(span._attributes),
        "status": {"code": span._status_code},
    }
    if parent is not None:
        message["parentSpanId"] = f"{parent.span_id:016x}"
    if span._trace_state:
        message["traceState"] = span._trace_state.to_header()
    if span._status_message:
        message["status"]["message"] = _text(span._status_message)
    if span._events:
        message["events"] = [_event(event) for event in span._events]
    if span._links:
        message["links"] = [_link(link) for link in span._links]
    dropped = {
        "droppedAttributesCount": span.dropped_attributes,
        "droppedEventsCount": span.dropped_events,
        "droppedLinksCount": span.dropped_links,
    }
    message.update({name: count for name, count in dropped.items() if count})
    return message


def _flags(remote: bool) -> int:
    return _REMOTE_KNOWN | _REMOTE if remote else _REMOTE_KNOWN


def _event(event: Event) -> dict[str, Any]:
    message: dict[str, Any] = {
        "timeUnixNano": str(event.timestamp),
        "name": _text(event.name),
        "attributes": _attributes(event.attributes),
    }
    if event.dropped_attributes:
        message["droppedAttributesCount"] = event.dropped_attributes
    return message


def _link(link: Link) -> dict[str, Any]:
    context = link.context
    message: dict[str, Any] = {
        "traceId": f"{context.trace_id & _LOW_128:032x}",
        "spanId": f"{context.span_id & _LOW_64:016x}",
        "flags": _flags(context.is_remote),
        "attributes": _attributes(link.attributes),
    }
    if context.trace_state:
        message["traceState"] = context.trace_state.to_header()
    if link.dropped_attributes:
        message["droppedAttributesCount"] = link.dropped_attributes
    return message


def _attributes(attributes: Mapping[str, object]) -> list[dict[str, Any]]:
    return [{"key": _text(key), "value": _value(value)} for key, value in attributes.items()]


def _value(value: object) -> dict[str, Any]:  # noqa: PLR0911  # one return for each type of OTLP
    """Return an AnyValue: {} for None; an integer beyond 64 bits as text, as in protobuf."""
    if value is None:
        return {}
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, str):
        return {"stringValue": _text(value)}
    if isinstance(value, int):
        if -(1 << 63) <= value < 1 << 63:
            return {"intValue": str(int(value))}
        try:
            return {"stringValue": str(value)}
        except ValueError:  # more digits than Python writes
            return {"stringValue": hex(value)}
    if isinstance(value, float):
        return {"doubleValue": _number(value)}
    if isinstance(value, bytes):
        return {"bytesValue": b2a_base64(value, newline=False).decode()}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": _attributes(value)}}
    if isinstance(value, (tuple, list)):
        return {"arrayValue": {"values": [_value(item) for item in value]}}
    return {"stringValue": _text(str(value))}


def _number(value: float) -> float | str:
    if value != value:  # noqa: PLR0124  # only NaN differs from itself, and `math` is a module
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    return float(value)


def _text(text: object) -> str:
    """Return text that is valid in UTF-8: a lone surrogate becomes U+FFFD."""
    plain = text if isinstance(text, str) else str(text)
    try:
        plain.encode()
    except UnicodeEncodeError:
        return plain.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    return plain
