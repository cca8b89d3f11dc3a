"""OTLP JSON trace requests to span records.

By the OTLP specification the ids are hexadecimal, 64-bit integers may be strings or numbers, enumerations are
numbers (names are taken too), and unknown fields are ignored. A value that protobuf's JSON mapping does not
allow where it stands (a text for a boolean) is None: what it was meant to be is not known.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING

from lambent_lab.traces.decode import (
    MAX_DEPTH,
    Collector,
    Decoded,
    DecodeError,
    count,
    integer,
    named,
    scope_name,
    time_ns,
    valid_id,
)
from lambent_lab.traces.model import KINDS, STATUSES, EventRecord, LinkRecord, SpanRecord, Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


def decode_json(body: bytes | str) -> list[SpanRecord]:
    """Return the valid spans of an OTLP JSON request. Raises DecodeError."""
    return read_json(body).spans


def read_json(body: bytes | str) -> Decoded:
    """Decode an OTLP JSON request, from its text or bytes. Raises DecodeError when it is not one."""
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"the body is not JSON: {_short(error)}") from error
    return read_json_object(request)


def read_json_object(request: object) -> Decoded:
    """Decode an OTLP JSON request that is parsed already. Raises DecodeError when it is not an object."""
    if not isinstance(request, dict):
        raise DecodeError(f"an OTLP JSON request is an object, not {type(request).__name__}")
    out = Collector()
    for of_resource in _objects(_get(request, "resourceSpans")):
        resource = _json_attributes(_get(_object(_get(of_resource, "resource")), "attributes"))
        # instrumentationLibrarySpans is what scopeSpans was called before OTLP 0.15.
        groups = _get(of_resource, "scopeSpans") or _get(of_resource, "instrumentationLibrarySpans")
        for of_scope in _objects(groups):
            named = _object(_get(of_scope, "scope") or _get(of_scope, "instrumentationLibrary"))
            scope = scope_name(_text(_get(named, "name")), _text(_get(named, "version")))
            for span in _objects(_get(of_scope, "spans")):
                _add_json(out, span, resource, scope)
    return out.result()


def _add_json(out: Collector, span: Mapping[str, object], resource: dict[str, Value], scope: str) -> None:
    trace_id = valid_id(_text(_get(span, "traceId")), 32)
    span_id = valid_id(_text(_get(span, "spanId")), 16)
    if not trace_id or not span_id:
        out.reject("a span's traceId or spanId is missing, all zero, not hexadecimal or of the wrong length")
        return
    status = _object(_get(span, "status"))
    events: list[EventRecord] = [
        {
            "name": _text(_get(event, "name")),
            "time_ns": time_ns(_get(event, "timeUnixNano")),
            "attributes": _json_attributes(_get(event, "attributes")),
            "dropped_attributes": count(_get(event, "droppedAttributesCount")),
        }
        for event in _objects(_get(span, "events"))
    ]
    links: list[LinkRecord] = [
        {
            "trace_id": _text(_get(link, "traceId")).lower(),
            "span_id": _text(_get(link, "spanId")).lower(),
            "trace_state": _text(_get(link, "traceState")),
            "attributes": _json_attributes(_get(link, "attributes")),
            "dropped_attributes": count(_get(link, "droppedAttributesCount")),
        }
        for link in _objects(_get(span, "links"))
    ]
    out.spans.append(
        SpanRecord(
            trace_id=trace_id,
            span_id=span_id,
            parent_span_id=valid_id(_text(_get(span, "parentSpanId")), 16),
            name=_text(_get(span, "name")),
            kind=named(KINDS, _get(span, "kind"), "SPAN_KIND_"),
            start_ns=time_ns(_get(span, "startTimeUnixNano")),
            end_ns=time_ns(_get(span, "endTimeUnixNano")),
            status=named(STATUSES, _get(status, "code"), "STATUS_CODE_"),
            status_message=_text(_get(status, "message")),
            attributes=_json_attributes(_get(span, "attributes")),
            events=events,
            links=links,
            resource=resource,
            scope=scope,
            trace_state=_text(_get(span, "traceState")),
            dropped_attributes=count(_get(span, "droppedAttributesCount")),
            dropped_events=count(_get(span, "droppedEventsCount")),
            dropped_links=count(_get(span, "droppedLinksCount")),
        )
    )


def _json_attributes(pairs: object) -> dict[str, Value]:
    return {_text(_get(pair, "key")): _json_value(_get(pair, "value"), 0) for pair in _objects(pairs)}


def _json_value(value: object, depth: int) -> Value:
    value = _object(value)
    if depth > MAX_DEPTH:
        return None
    for kind, read in _JSON_VALUES.items():
        found = _get(value, kind)
        if found is not None:
            return read(found, depth + 1)
    return None


def _json_list(value: object, depth: int) -> Value:
    return [_json_value(item, depth) for item in _objects(_get(_object(value), "values"))]


def _json_map(value: object, depth: int) -> Value:
    pairs = _objects(_get(_object(value), "values"))
    return {_text(_get(pair, "key")): _json_value(_get(pair, "value"), depth) for pair in pairs}


def _json_bool(value: object, _depth: int) -> Value:
    return value if isinstance(value, bool) else None


def _json_int(value: object, _depth: int) -> Value:
    return integer(value)


def _json_double(value: object, _depth: int) -> Value:
    if isinstance(value, int | float | str):
        try:
            return float(value)  # takes OTLP JSON's "NaN", "Infinity" and "-Infinity" as they are
        except (ValueError, OverflowError):
            return None
    return None


def _json_bytes(value: object, _depth: int) -> Value:
    try:
        return base64.b64decode(
            _text(value), altchars=b"-_" if isinstance(value, str) and "-" in value else None
        )
    except (binascii.Error, ValueError):
        return None


_JSON_VALUES: dict[str, Callable[[object, int], Value]] = {
    "stringValue": lambda value, _depth: _text(value),
    "boolValue": _json_bool,
    "intValue": _json_int,
    "doubleValue": _json_double,
    "bytesValue": _json_bytes,
    "arrayValue": _json_list,
    "kvlistValue": _json_map,
}


def _get(of: Mapping[str, object], key: str) -> object:
    """Return a JSON field by its lowerCamelCase name, or by its snake_case one, as protobuf's parsers do."""
    if key in of:
        return of[key]
    return of.get("".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in key))


def _object(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _objects(value: object) -> Iterable[Mapping[str, object]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _text(value: object) -> str:
    """Return a string that UTF-8 can hold; JSON may carry half a surrogate pair."""
    if not isinstance(value, str):
        return "" if value is None else str(value)
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value


def _short(error: BaseException) -> str:
    return str(error).partition("\n")[0][:200]
