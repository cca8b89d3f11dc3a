"""What a flight recorder writes of a span with everything that it can have. Loaded with the first one."""

from __future__ import annotations

from marshal import dumps

from lambent.delivery.recorder import KEY, check, fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambent.span import Span

__all__ = ["plainly", "rarely_there", "record_of"]

_BIG = 1 << 64


def rarely_there(span: Span) -> tuple[object, ...] | None:
    """Return what few spans have: a status, events, links, a trace state, anything dropped."""
    if not (
        span._status_code
        or span._events
        or span._links
        or span._trace_state
        or span.dropped_attributes
        or span.dropped_events
        or span.dropped_links
    ):
        return None
    events = [
        (event.name, event.timestamp, event.attributes, event.dropped_attributes)
        for event in span._events or ()
    ]
    links = [
        (
            link.context.trace_id,
            link.context.span_id,
            link.context.is_remote,
            link.context.trace_state.to_header() if link.context.trace_state else "",
            link.attributes,
            link.dropped_attributes,
        )
        for link in span._links
    ]
    return (
        span._status_code,
        span._status_message,
        span._trace_state.to_header() if span._trace_state else "",
        tuple(events),
        tuple(links),
        (span.dropped_attributes, span.dropped_events, span.dropped_links),
    )


def record_of(span: Span) -> bytes:
    """Return the whole record of a span."""
    data = plainly(span)
    return data + check(KEY, data)


def plainly(span: Span, *, cut: bool = False) -> bytes:
    """Return the record of a span that has values of unusual types, or too much of everything."""
    every = (*fields(span)[:8], rarely_there(span))
    if cut:
        # What identifies it, and the beginning of its texts: better than no trace of it.
        kept = {
            key[:128]: value[:128] if isinstance(value, str) else value
            for key, value in list(span._attributes.items())[:32]
            if isinstance(value, (str, int, float, bool))
            and (not isinstance(value, int) or -_BIG < value < _BIG)
        }
        kept["lambent.recorder.cut"] = True
        message = (span._status_message or "")[:512] or None
        rare = (span._status_code, message, "", (), (), (span.dropped_attributes, span.dropped_events, 0))
        every = (*every[:4], span.name[:512], *every[5:7], kept, rare)
    return dumps(_plain(every), 2)  # type: ignore[arg-type]  # plain, as it says


def _plain(value: object) -> object:
    """Return the value made of Python's own types only, for subclasses of them are refused."""
    kind = type(value)
    if value is None or kind in (str, int, float, bool, bytes):
        return value
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return tuple([_plain(item) for item in value])
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    return bytes(value) if isinstance(value, bytes) else str(value)
