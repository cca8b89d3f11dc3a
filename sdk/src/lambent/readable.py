"""A span as JSON for people and logs, in the shape of `ReadableSpan.to_json` in OpenTelemetry's SDK.

Loaded when somebody asks. What goes to a collector is `lambent.wire.json`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from json import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambent.context import SpanContext
    from lambent.span import Span

__all__ = ["to_json"]


def to_json(span: Span, indent: int | None = 4) -> str:
    """Return the span as one JSON object; bytes in hexadecimal, times in ISO 8601 (UTC)."""
    status: dict[str, object] = {"status_code": span.status.status_code.name}
    if span.status.description:
        status["description"] = span.status.description
    parent = span.parent
    described = {
        "name": span.name,
        "context": _context(span.context),
        "kind": str(span.kind),
        "parent_id": None if parent is None else f"0x{parent.span_id:016x}",
        "start_time": _time(span.start_time),
        "end_time": None if span.end_time is None else _time(span.end_time),
        "status": status,
        "attributes": dict(span.attributes),
        "events": [
            {"name": event.name, "timestamp": _time(event.timestamp), "attributes": event.attributes}
            for event in span.events
        ],
        "links": [
            {"context": _context(link.context), "attributes": dict(link.attributes)} for link in span.links
        ],
        "resource": {"attributes": span.resource.attributes, "schema_url": span.resource.schema_url},
    }
    return dumps(described, indent=indent, default=_plain)


def _context(context: SpanContext) -> dict[str, str]:
    entries = [f"{{key={key}, value={value}}}" for key, value in context.trace_state.items()]
    return {
        "trace_id": f"0x{context.trace_id:032x}",
        "span_id": f"0x{context.span_id:016x}",
        "trace_state": str(entries),
    }


def _time(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds / 1e9, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _plain(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
