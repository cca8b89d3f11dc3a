"""The span: what one operation did, from when to when, and where it belongs.

Recording is the hot path. A span is one object; what is rare (events, links) has a module of its own; an
attribute of a plain type under its limits costs one dictionary entry.
A finished span reads like OpenTelemetry's `ReadableSpan`.
"""

from __future__ import annotations

from lambent.context import CURRENT, EMPTY_TRACE_STATE, NonRecordingSpan, SpanContext, deactivate
from lambent.limits import SCALARS, clean_name, clean_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextvars import Token
    from types import TracebackType
    from typing import Any, Self

    from lambent.codes import SpanKind, Status
    from lambent.context import AnySpan, TraceState
    from lambent.limits import Attributes
    from lambent.parts import Event, Link
    from lambent.resource import InstrumentationScope, Resource
    from lambent.tracer import Tracer

__all__ = ["NonRecordingSpan", "Span"]

_set_current = CURRENT.set
_reset_current = CURRENT.reset
_SAMPLED = 1


class Span:
    """A recording span; also a context manager that activates it, ends it and keeps its exception.

    Made by a tracer, never directly. After `end` it does not change any more.
    """

    _status_code = 0
    _status_message: str | None = None
    _events: list[Event] | None = None
    _links: Sequence[Link] = ()
    _trace_state: TraceState = EMPTY_TRACE_STATE
    _outer_tokens: list[Token[AnySpan | None]] | None = None
    _recorded_exception: BaseException | None = None
    _passed: BaseException | None = None
    """The last exception that left a child, recorded there: see `lambent.decorators`."""
    _session: Any = None
    """What begins and ends with this span: see `lambent.session`."""
    _end_on_exit = True
    _record_exception = True
    _set_status_on_exception = True
    dropped_attributes = dropped_events = dropped_links = 0

    def __init__(
        self,
        tracer: Tracer,
        name: str,
        trace_id: int,
        span_id: int,
        parent: Span | SpanContext | None,
        kind: int,
        start_time: int,
        attributes: dict[str, object] | None = None,
        recorded: int = 0,
    ) -> None:
        self._tracer = tracer
        self.name = name
        self._trace_id = trace_id
        self._span_id = span_id
        self._parent = parent
        self._kind = kind
        self._attributes: dict[str, object] = {} if attributes is None else attributes
        self.start_time = start_time
        # Not defaults of the class: to find one of those takes as long as setting five attributes.
        self.end_time: int | None = None
        """Nanoseconds since the epoch; None while the span is open."""
        self._token: Token[AnySpan | None] | None = None
        self._recorded = recorded
        """How many attributes the flight recorder has noted; -1 with anything rare: what the class has
        defaults for, or a value that was replaced. Only then these are looked at."""

    # Reading: the names of OpenTelemetry's ReadableSpan.

    @property
    def context(self) -> SpanContext:
        """What identifies this span elsewhere."""
        return SpanContext(self._trace_id, self._span_id, False, _SAMPLED, self._trace_state)

    def get_span_context(self) -> SpanContext:
        """Return what identifies this span elsewhere."""
        return self.context

    @property
    def parent(self) -> SpanContext | None:
        """The context of the span that this one is a child of."""
        parent = self._parent
        return parent.context if isinstance(parent, Span) else parent

    @property
    def kind(self) -> SpanKind:
        """The part this span plays."""
        from lambent.codes import SpanKind

        return SpanKind.of(self._kind)

    @property
    def attributes(self) -> Mapping[str, object]:
        """The attributes, oldest first."""
        return self._attributes

    @property
    def events(self) -> tuple[Event, ...]:
        """The events, oldest first."""
        return tuple(self._events or ())

    @property
    def links(self) -> tuple[Link, ...]:
        """The links, oldest first."""
        return tuple(self._links)

    @property
    def status(self) -> Status:
        """How it ended."""
        from lambent.codes import Status

        return Status(self._status_code, self._status_message)

    @property
    def resource(self) -> Resource:
        """Who made it."""
        return self._tracer.resource

    @property
    def instrumentation_scope(self) -> InstrumentationScope:
        """Which library made it."""
        return self._tracer.scope

    def to_json(self, indent: int | None = 4) -> str:
        """Return the span as JSON for people, in the shape that OpenTelemetry's SDK prints."""
        from lambent.readable import to_json

        return to_json(self, indent)

    def is_recording(self) -> bool:
        """Return whether the span is still open."""
        return self.end_time is None

    # Writing. Each of these survives any argument: a bad one is counted as dropped.

    def set_attribute(self, key: str, value: object) -> None:
        """Set one attribute: text, number, bool, bytes, or sequences and mappings of these.

        A value of another type is kept as its text. Ignored after the end.
        """
        attributes = self._attributes
        tracer = self._tracer
        if (
            type(value) in SCALARS
            and type(key) is str
            and key
            and tracer.plain_limits
            and len(attributes) < tracer.attribute_count
            and key not in attributes
            and self.end_time is None
        ):
            attributes[key] = value
        else:
            self._put_attribute(key, value)

    def _put_attribute(self, key: object, value: object) -> None:
        if self.end_time is not None:
            self._refuse("an attribute")
            return
        limits = self._tracer.limits
        self._recorded = -1
        try:
            from lambent.cleaning import put_attribute

            self.dropped_attributes += put_attribute(
                self._attributes, key, value, limits.attributes, limits.span_attribute_length
            )
        except Exception as error:  # noqa: BLE001  # a value whose __str__ fails is not the function's problem
            self._drop_attribute(error)

    def _drop_attribute(self, error: Exception) -> None:
        self.dropped_attributes += 1
        self._recorded = -1
        self._complain("an attribute", error)

    def _complain(self, what: str, error: Exception) -> None:
        from lambent.diagnostics import say_once

        say_once(what, f"{what} of span {self.name!r} was dropped: {type(error).__name__}")

    def set_attributes(self, attributes: Attributes) -> None:
        """Set several attributes. A key that is no text is replaced by its text."""
        try:
            for key, value in attributes.items():
                self.set_attribute(key if not key or type(key) is str else clean_name(key), value)
        except Exception as error:  # noqa: BLE001  # not a mapping, or one that fails
            self._drop_attribute(error)

    def _start_attributes(self, attributes: Attributes) -> None:
        """Take attributes that are not all plain, or more than the limits allow."""
        limits = self._tracer.limits
        self._recorded = -1
        try:
            from lambent.cleaning import clean_attributes

            self._attributes, self.dropped_attributes = clean_attributes(
                attributes, limits.attributes, limits.span_attribute_length
            )
        except Exception:  # noqa: BLE001  # one bad value must not take the good ones along
            self.set_attributes(attributes)

    def _start_rarely(
        self, added: Attributes | None, links: Sequence[Link] | None, record: bool, set_status: bool
    ) -> None:
        """Take what few spans are started with, and the attributes that a sampler adds."""
        if added:
            self.set_attributes(added)
        if links is not None:
            self._add_links(links)
        if not record:
            self._record_exception = False
        if not set_status:
            self._set_status_on_exception = False

    def add_event(
        self, name: str, attributes: Attributes | None = None, timestamp: int | None = None
    ) -> None:
        """Add an event, now or at `timestamp` nanoseconds since the epoch."""
        if self.end_time is not None:
            self._refuse("an event")
            return
        from lambent.parts import add_event

        self._recorded = -1
        add_event(self, name, attributes, timestamp)

    def add_link(self, context: SpanContext, attributes: Attributes | None = None) -> None:
        """Add a link to another span. A context that names no span and says nothing is left out."""
        if self.end_time is not None:
            self._refuse("a link")
            return
        from lambent.parts import Link

        self._add_links((Link(context, attributes),))

    def _add_links(self, links: Sequence[Link]) -> None:
        from lambent.parts import add_links

        self._recorded = -1
        add_links(self, links)

    def set_status(self, status: object, description: str | None = None) -> None:
        """Set how the span ended: a `StatusCode` or `Status`, ours or OpenTelemetry's, or "ERROR".

        OK is final; UNSET changes nothing; the description counts for errors only
        (OpenTelemetry's Trace API, "Set Status").
        """
        if self.end_time is not None:
            self._refuse("a status")
            return
        from lambent.codes import set_status

        set_status(self, status, description)

    def update_name(self, name: str) -> None:
        """Replace the name."""
        if self.end_time is not None:
            self._refuse("a name")
            return
        self._recorded = -1
        self.name = clean_name(name)

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes | None = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Add an `exception` event with type, message and stack trace. The same one only once."""
        if self.end_time is not None:
            self._refuse("an exception")
            return
        from lambent.exceptions import record_exception

        record_exception(self, exception, attributes, timestamp, escaped)

    def _refuse(self, what: str) -> None:
        from lambent.diagnostics import say_once

        say_once("ended", f"{what} came after the end of span {self.name!r} and was left out")

    # Ending.

    def end(self, end_time: int | None = None) -> None:
        """End the span, now or at `end_time` nanoseconds since the epoch, and hand it over."""
        if self.end_time is not None:
            return
        tracer = self._tracer
        if end_time is None:
            now = tracer.clock()  # set back, as after a freeze, it must not make a negative duration
            self.end_time = now if now > self.start_time else self.start_time  # noqa: FURB136  # max() takes thrice as long
        else:
            self.end_time = clean_time(end_time, tracer.clock)
        if self._recorded < 0:
            self._recorded_exception = self._passed = None
        tracer.on_end(self)

    def __enter__(self) -> Self:
        if self._token is not None:
            # Entered twice, as a shared span may be: the outer activation is undone after this one.
            if self._outer_tokens is None:
                self._outer_tokens = []
                self._recorded = -1
            self._outer_tokens.append(self._token)
        self._token = _set_current(self)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        token = self._token
        if exc is None and token is not None and self._recorded >= 0 and self.end_time is None:
            self._token = None  # the usual way, without a call that can be spared
            tracer = self._tracer
            try:
                _reset_current(token)
            except ValueError:  # left in another context than it was entered in: see `deactivate`
                self._token = None
            now = tracer.clock()
            self.end_time = end = now if now > self.start_time else self.start_time  # noqa: FURB136  # as in `end`
            straight = tracer.straight
            if straight is None or self._recorded != len(self._attributes):
                tracer.on_end(self)
                return
            recorder, pack, queue, delivery = straight  # as in `Recorder.ended` and `SyncDelivery.on_end`
            span_id = self._span_id
            try:
                recorder._write(pack(255, span_id, end, span_id ^ end))
            except Exception:  # noqa: BLE001  # no room in the segment
                tracer.on_end(self)
                return
            if len(queue) < delivery._room:
                queue.append(self)
            else:
                delivery._crowded(self)
            return
        if token is not None:
            outer = self._outer_tokens
            if outer:
                outer.append(token)
                deactivate(outer)
                self._token = outer.pop()
            else:
                self._token = None
                try:
                    _reset_current(token)
                except ValueError:  # as above
                    self._token = None
        if exc is not None and self.end_time is None:
            self.fail(exc)
        if self._end_on_exit:
            self.end()

    def fail(self, exc: BaseException) -> None:
        """Keep an exception that leaves the span. A closed generator is no failure."""
        if not issubclass(type(exc), GeneratorExit):  # an exception's `__class__` may fail
            try:
                from lambent.exceptions import fail
            except Exception:  # noqa: BLE001  # no file can be opened any more, and that is what leaves the span
                self._status_code, self._recorded = 2, -1
                return
            fail(self, exc)

    def __repr__(self) -> str:
        return f"Span({self.name!r}, trace_id=0x{self._trace_id:032x}, span_id=0x{self._span_id:016x})"
