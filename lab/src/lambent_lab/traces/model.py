"""What the lab knows about one span, whichever way it arrived."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass, field
from typing import TypeAlias, TypedDict

Value: TypeAlias = "str | bool | int | float | bytes | list[Value] | dict[str, Value] | None"
"""An attribute's value: OTLP's AnyValue as Python objects."""

Json: TypeAlias = "str | bool | int | float | list[Json] | dict[str, Json] | None"

KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
"""Span kinds by their OTLP number."""

STATUSES = ("UNSET", "OK", "ERROR")
"""Status codes by their OTLP number."""

INVOCATION_ID_KEYS = ("faas.invocation_id", "faas.execution")
"""The attribute that names the invocation; the second is its name before semantic conventions 1.19."""

PARTIAL_KEY = "lambent.partial"
"""True on a span that was exported before it ended."""


class EventRecord(TypedDict):
    """Something that happened during a span; `time_ns` is in Unix nanoseconds."""

    name: str
    time_ns: int
    attributes: dict[str, Value]
    dropped_attributes: int


class LinkRecord(TypedDict):
    """Another span that this one points to."""

    trace_id: str
    span_id: str
    trace_state: str
    attributes: dict[str, Value]
    dropped_attributes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanRecord:
    """One span as it was received: ids in lower-case hex, times in Unix nanoseconds.

    `parent_span_id` is empty for a root. `end_ns` is 0 for a span that had not ended.
    """

    trace_id: str
    span_id: str
    parent_span_id: str = ""
    name: str = ""
    kind: str = "INTERNAL"
    start_ns: int = 0
    end_ns: int = 0
    status: str = "UNSET"
    status_message: str = ""
    attributes: dict[str, Value] = field(default_factory=dict)
    events: list[EventRecord] = field(default_factory=list)
    links: list[LinkRecord] = field(default_factory=list)
    resource: dict[str, Value] = field(default_factory=dict)
    scope: str = ""
    trace_state: str = ""
    dropped_attributes: int = 0
    dropped_events: int = 0
    dropped_links: int = 0

    @property
    def duration_ms(self) -> float:
        """Milliseconds from start to end; 0 when the span had not ended, negative when clocks lied."""
        return (self.end_ns - self.start_ns) / 1e6 if self.end_ns else 0.0

    @property
    def unfinished(self) -> bool:
        """Whether the span was delivered before it ended."""
        return self.end_ns == 0 or self.attributes.get(PARTIAL_KEY) is True

    @property
    def service(self) -> str:
        """The resource's service name, or an empty string."""
        name = self.resource.get("service.name", "")
        return name if isinstance(name, str) else str(name)

    @property
    def invocation_id(self) -> str:
        """The request id of the invocation that the span says it belongs to, or an empty string."""
        for key in INVOCATION_ID_KEYS:
            value = self.attributes.get(key)
            if isinstance(value, str) and value:
                return value
        return ""

    def to_json(self) -> dict[str, Json]:
        """Return the span as strict JSON: bytes as base64, non-finite numbers as their OTLP JSON names."""
        return {
            "trace_id": self.trace_id,
            "span_id": self.span_id,
            "parent_span_id": self.parent_span_id,
            "name": self.name,
            "kind": self.kind,
            "start_ns": self.start_ns,
            "end_ns": self.end_ns,
            "duration_ms": self.duration_ms,
            "status": self.status,
            "status_message": self.status_message,
            "attributes": json_value(self.attributes),
            "events": [
                {
                    "name": event["name"],
                    "time_ns": event["time_ns"],
                    "attributes": json_value(event["attributes"]),
                    "dropped_attributes": event["dropped_attributes"],
                }
                for event in self.events
            ],
            "links": [
                {
                    "trace_id": link["trace_id"],
                    "span_id": link["span_id"],
                    "trace_state": link["trace_state"],
                    "attributes": json_value(link["attributes"]),
                    "dropped_attributes": link["dropped_attributes"],
                }
                for link in self.links
            ],
            "resource": json_value(self.resource),
            "scope": self.scope,
            "trace_state": self.trace_state,
            "dropped_attributes": self.dropped_attributes,
            "dropped_events": self.dropped_events,
            "dropped_links": self.dropped_links,
        }


def json_value(value: Value) -> Json:
    """Return an attribute value as strict JSON can hold it."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, list):
        return [json_value(item) for item in value]
    if isinstance(value, dict):
        return {key: json_value(item) for key, item in value.items()}
    return value
