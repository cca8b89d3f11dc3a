"""Events and links: what few spans have. Loaded with the first of them."""

from __future__ import annotations

from lambent.cleaning import clean_attributes
from lambent.context import SpanContext, adopt
from lambent.limits import clean_name, clean_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambent.limits import Attributes
    from lambent.span import Span

__all__ = ["Event", "Link", "add_event", "add_links"]


class Event:
    """Something that happened within a span, at `timestamp` nanoseconds since the epoch."""

    __slots__ = ("attributes", "dropped_attributes", "name", "timestamp")

    def __init__(
        self, name: str, attributes: dict[str, object], timestamp: int, dropped_attributes: int = 0
    ) -> None:
        self.name = name
        self.attributes = attributes
        self.timestamp = timestamp
        self.dropped_attributes = dropped_attributes


class Link:
    """A span of this or another trace that this one has to do with."""

    __slots__ = ("attributes", "context", "dropped_attributes")

    def __init__(
        self, context: SpanContext, attributes: Attributes | None = None, dropped_attributes: int = 0
    ) -> None:
        self.context = context
        self.attributes: Attributes = {} if attributes is None else attributes
        self.dropped_attributes = dropped_attributes


def add_event(span: Span, name: str, attributes: Attributes | None, timestamp: int | None) -> None:
    """Add an event to a span that is open."""
    limits, clock = span._tracer.limits, span._tracer.clock
    try:
        cleaned, dropped = clean_attributes(
            attributes or {}, limits.event_attributes, limits.attribute_length
        )
    except Exception:  # noqa: BLE001  # the event matters even where its attributes cannot be read
        cleaned, dropped = {}, len(attributes) if type(attributes) is dict else 1
    timestamp = clock() if timestamp is None else clean_time(timestamp, clock)
    events = span._events
    if events is None:
        events = span._events = []
    events.append(Event(clean_name(name), cleaned, timestamp, dropped))
    if limits.events is not None and len(events) > limits.events:
        del events[0]
        span.dropped_events += 1


def add_links(span: Span, links: Sequence[Link]) -> None:
    """Add links to a span that is open. Those that name no span and say nothing are left out."""
    limits = span._tracer.limits
    kept = list(span._links)
    try:
        given = list(links)
    except Exception as error:  # noqa: BLE001  # one link, say, where several belong
        span.dropped_links += 1
        span._complain("a link", error)
        return
    for link in given:
        try:
            context = link.context if isinstance(link.context, SpanContext) else adopt(link.context)
            if not context.is_valid and not link.attributes and not context.trace_state:
                continue
            cleaned, dropped = clean_attributes(
                link.attributes or {}, limits.link_attributes, limits.attribute_length
            )
            dropped += getattr(link, "dropped_attributes", 0)  # another span's, or another SDK's
        except Exception as error:  # noqa: BLE001  # no link, or attributes that cannot be read
            span.dropped_links += 1
            span._complain("a link", error)
            continue
        kept.append(Link(context, cleaned, dropped))
    if limits.links is not None and len(kept) > limits.links:
        surplus = len(kept) - limits.links
        del kept[:surplus]
        span.dropped_links += surplus
    span._links = kept
