"""A span of ours as one of OpenTelemetry's SDK: what its exporters and processors are given.

`Translator.finished` makes a real `ReadableSpan`, a copy. `Translator.live` makes an object that is an
OpenTelemetry `Span` and a `ReadableSpan` at once and passes everything on to ours: for `on_start`.
"""

from __future__ import annotations

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from lambent.otel.provider import api_context
from lambent.span import Span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from lambent import resource as ours

__all__ = ["Translator"]

_MOST_KEPT = 16  # resources; a tracer has one


class _Attributes(dict[str, object]):
    """Attributes, and how many were dropped: where exporters look for that before version 1.26."""

    dropped = 0


class _Part:
    """An event or a link that knows how many attributes it lost."""

    _attributes: Any

    @property
    def dropped_attributes(self) -> int:
        """How many attributes were dropped."""
        lost: int = self._attributes.dropped
        return lost


class _Event(_Part, Event):
    pass


class _Link(_Part, trace.Link):
    def __init__(self, context: trace.SpanContext, attributes: _Attributes) -> None:
        super().__init__(context)
        self._attributes = attributes  # of which some versions make a copy


class _Readable(ReadableSpan):
    """A finished span, with the numbers of what it lost."""

    lost = (0, 0, 0)

    @property
    def dropped_attributes(self) -> int:
        """How many attributes were dropped."""
        return self.lost[0]

    @property
    def dropped_events(self) -> int:
        """How many events were dropped."""
        return self.lost[1]

    @property
    def dropped_links(self) -> int:
        """How many links were dropped."""
        return self.lost[2]


class _Live(ReadableSpan, trace.Span):
    """An open span. Reading looks at ours, writing goes there."""

    def __init__(self, span: Span, translator: Translator) -> None:
        self._span = span
        self._translator = translator

    def __getattribute__(self, name: str) -> Any:
        if name in _READ:
            translator = object.__getattribute__(self, "_translator")
            return getattr(translator.finished(object.__getattribute__(self, "_span")), name)
        return object.__getattribute__(self, name)

    def get_span_context(self) -> trace.SpanContext:
        """Return what identifies the span."""
        return api_context(self._span.context)

    def is_recording(self) -> bool:
        """Return whether the span is still open."""
        return self._span.is_recording()

    def set_attribute(self, key: str, value: Any) -> None:
        """Set one attribute."""
        self._span.set_attribute(key, value)

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Set several attributes."""
        self._span.set_attributes(attributes)

    def add_event(self, name: str, attributes: Any = None, timestamp: int | None = None) -> None:
        """Add an event."""
        self._span.add_event(name, attributes, timestamp)

    def add_link(self, context: Any, attributes: Any = None) -> None:
        """Add a link."""
        self._span.add_link(context, attributes)

    def update_name(self, name: str) -> None:
        """Replace the name."""
        self._span.update_name(name)

    def set_status(self, status: Any, description: str | None = None) -> None:
        """Set how the span ended."""
        self._span.set_status(status, description)

    def record_exception(
        self,
        exception: BaseException,
        attributes: Any = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Add an exception's event."""
        self._span.record_exception(exception, attributes, timestamp, escaped)

    def end(self, end_time: int | None = None) -> None:
        """End the span."""
        self._span.end(end_time)


# What the base class reads, its own private fields among it: `to_json` does.
_PUBLIC = (
    "name",
    "context",
    "kind",
    "parent",
    "start_time",
    "end_time",
    "status",
    "attributes",
    "events",
    "links",
    "resource",
    "instrumentation_scope",
    "instrumentation_info",
)
_LOST = ("dropped_attributes", "dropped_events", "dropped_links")
_READ = frozenset([*_PUBLIC, *[f"_{name}" for name in _PUBLIC], *_LOST])


class Translator:
    """Translates spans. Keeps the resources that it has translated: exporters group spans by them."""

    def __init__(self) -> None:
        self._resources: dict[int, tuple[ours.Resource, Resource]] = {}
        self._scopes: dict[int, tuple[ours.InstrumentationScope, InstrumentationScope]] = {}

    def finished(self, span: Span) -> ReadableSpan:
        """Return a copy of the span as it is now."""
        readable = _Readable(
            name=span.name,
            context=api_context(span.context),
            parent=None if span.parent is None else api_context(span.parent),
            resource=self._resource(span.resource),
            attributes=_values(span.attributes),
            events=tuple(_Event(event.name, _attributes(event), event.timestamp) for event in span.events),
            links=tuple(_Link(api_context(link.context), _attributes(link)) for link in span.links),
            kind=trace.SpanKind(int(span.kind)),
            status=trace.Status(
                trace.StatusCode(int(span.status.status_code)), span.status.description or None
            ),
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=self._scope(span.instrumentation_scope),
        )
        readable.lost = (span.dropped_attributes, span.dropped_events, span.dropped_links)
        return readable

    def live(self, span: Span) -> _Live:
        """Return the open span, to be read and written."""
        return _Live(span, self)

    def parent_context(self, span: Span, given: object) -> otel_context.Context:
        """Return the OpenTelemetry context that the span was started in, its parent the current span there.

        `given` is what its starter passed as `context`; with none it is the thread's own.
        """
        base = given if isinstance(given, otel_context.Context) else otel_context.get_current()
        parent = span._parent  # noqa: SLF001  # the span itself, where it is one of ours
        if parent is None:
            return base
        if isinstance(parent, Span):
            return trace.set_span_in_context(self.live(parent), base)
        return trace.set_span_in_context(trace.NonRecordingSpan(api_context(parent)), base)

    def _resource(self, resource: ours.Resource) -> Resource:
        kept = self._resources.get(id(resource))
        if kept is None:
            if len(self._resources) >= _MOST_KEPT:
                self._resources.clear()
            kept = resource, Resource(_values(resource.attributes), resource.schema_url)
            self._resources[id(resource)] = kept
        return kept[1]

    def _scope(self, scope: ours.InstrumentationScope) -> InstrumentationScope:
        kept = self._scopes.get(id(scope))
        if kept is None:
            if len(self._scopes) >= _MOST_KEPT:
                self._scopes.clear()
            given: Any = scope.name, scope.version, scope.schema_url, _values(scope.attributes) or None
            try:
                kept = scope, InstrumentationScope(*given)
            except TypeError:  # before version 1.26 there were none with attributes
                kept = scope, InstrumentationScope(*given[:3])
            self._scopes[id(scope)] = kept
        return kept[1]


def _attributes(part: Any) -> Any:
    attributes = _Attributes(part.attributes)
    attributes.dropped = part.dropped_attributes
    return attributes


def _values(attributes: Mapping[str, object]) -> dict[str, Any]:
    return dict(attributes)
