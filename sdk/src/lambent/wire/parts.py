"""What few spans have, in protobuf: status, events, links, what was dropped. Loaded with the first of them.

The rules are those of `protobuf`, and so are the helpers.
"""

from __future__ import annotations

from _struct import Struct

from lambent.wire import protobuf as pb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambent.parts import Event, Link
    from lambent.span import Span

__all__ = ["add_rare"]

_LITTLE_64 = Struct("<Q").pack
_LINK_IDS = Struct(">HQQHQ").pack
_LOCAL = b"\x35\x00\x01\x00\x00"  # flags = 6: see `protobuf`
_REMOTE = b"\x35\x00\x03\x00\x00"
_LOW_64 = (1 << 64) - 1


def add_rare(fields: list[bytes], span: Span) -> bytes:
    """Add to the fields of a span what few have; return its status."""
    if span._trace_state:
        fields.append(pb._text_field(0x1A, span._trace_state.to_header()))
    if span.dropped_attributes:
        fields.append(b"\x50" + pb._varint(span.dropped_attributes))
    fields += [_event(event) for event in span._events or ()]
    if span.dropped_events:
        fields.append(b"\x60" + pb._varint(span.dropped_events))
    fields += [_link(link) for link in span._links]
    if span.dropped_links:
        fields.append(b"\x70" + pb._varint(span.dropped_links))
    text = pb._text_field(0x12, span._status_message or "")
    code = b"\x18" + pb._BYTE[span._status_code] if span._status_code else b""
    return b"\x7a" + pb._message(text + code)


def _event(event: Event) -> bytes:
    body = b"\x09" + _LITTLE_64(event.timestamp & _LOW_64) + pb._text_field(0x12, event.name)
    body += pb._fields(b"\x1a", event.attributes)
    if event.dropped_attributes:
        body += b"\x20" + pb._varint(event.dropped_attributes)
    return b"\x5a" + pb._message(body)


def _link(link: Link) -> bytes:
    context = link.context
    trace_id = context.trace_id
    # Ids out of range are possible here: a link may say something though it names no span.
    high, low = trace_id >> 64 & _LOW_64, trace_id & _LOW_64
    body = _LINK_IDS(0x0A10, high, low, 0x1208, context.span_id & _LOW_64)
    if context.trace_state:
        body += pb._text_field(0x1A, context.trace_state.to_header())
    body += pb._fields(b"\x22", link.attributes)
    if link.dropped_attributes:
        body += b"\x28" + pb._varint(link.dropped_attributes)
    body += _REMOTE if context.is_remote else _LOCAL
    return b"\x6a" + pb._message(body)
