"""A span as a row of the store: what is searched for in columns, the rest as JSON."""

from __future__ import annotations

import base64
import json
from typing import cast

from lambent_lab.traces.model import EventRecord, LinkRecord, SpanRecord, Value

COLUMNS = "trace_id, span_id, parent_span_id, name, kind, start_ns, end_ns, status, status_message, rest"
"""The columns that make a span again."""


def to_row(span: SpanRecord, source: str) -> tuple[str | int, ...]:
    """Return a span as the values of one row, in the order of the table's columns."""
    rest = {
        "attributes": _pack(span.attributes),
        "events": [{**event, "attributes": _pack(event["attributes"])} for event in span.events],
        "links": [{**link, "attributes": _pack(link["attributes"])} for link in span.links],
        "resource": _pack(span.resource),
        "scope": span.scope,
        "trace_state": span.trace_state,
        "dropped": [span.dropped_attributes, span.dropped_events, span.dropped_links],
    }
    return (
        span.trace_id,
        span.span_id,
        span.parent_span_id,
        span.name,
        span.kind,
        span.start_ns,
        span.end_ns,
        span.status,
        span.status_message,
        span.service,
        int(span.unfinished),
        source,
        json.dumps(rest, separators=(",", ":")),
    )


def from_row(row: tuple[str, str, str, str, str, int, int, str, str, str]) -> SpanRecord:
    """Return the span of a row that holds the columns of `COLUMNS`."""
    rest = json.loads(row[9])
    return SpanRecord(
        trace_id=row[0],
        span_id=row[1],
        parent_span_id=row[2],
        name=row[3],
        kind=row[4],
        start_ns=row[5],
        end_ns=row[6],
        status=row[7],
        status_message=row[8],
        attributes=_unpack_map(rest["attributes"]),
        events=[
            cast("EventRecord", {**e, "attributes": _unpack_map(e["attributes"])}) for e in rest["events"]
        ],
        links=[cast("LinkRecord", {**k, "attributes": _unpack_map(k["attributes"])}) for k in rest["links"]],
        resource=_unpack_map(rest["resource"]),
        scope=rest["scope"],
        trace_state=rest["trace_state"],
        dropped_attributes=rest["dropped"][0],
        dropped_events=rest["dropped"][1],
        dropped_links=rest["dropped"][2],
    )


def _pack(value: Value) -> object:
    """Return a value as JSON that keeps what JSON cannot: objects are wrapped, so bytes can be told apart."""
    if isinstance(value, bytes):
        return {"b": base64.b64encode(value).decode("ascii")}
    if isinstance(value, dict):
        return {"m": {key: _pack(item) for key, item in value.items()}}
    if isinstance(value, list):
        return [_pack(item) for item in value]
    return value


def _unpack(value: object) -> Value:
    if isinstance(value, dict):
        return base64.b64decode(value["b"]) if "b" in value else _unpack_map(value)
    if isinstance(value, list):
        return [_unpack(item) for item in value]
    return cast("str | bool | int | float | None", value)


def _unpack_map(value: dict[str, object]) -> dict[str, Value]:
    return {key: _unpack(item) for key, item in cast("dict[str, object]", value["m"]).items()}
