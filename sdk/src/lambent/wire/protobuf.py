"""OTLP's ExportTraceServiceRequest in protobuf, written by hand.

Rules (protobuf encoding; opentelemetry/proto/trace/v1/trace.proto):

* a message is a sequence of fields; a field is a tag (`number << 3 | wire type`) and its value;
  texts, bytes and inner messages carry their length as a varint before them;
* a scalar that has its default value is left out, except inside a `oneof` (an attribute's value),
  where presence says which type it is;
* times are fixed 64-bit, ids are bytes, big-endian.

A request is one flat list of byte strings, joined once. Since a length stands before what it
counts, a span reserves two places in the list and fills them when its size is known.
"""

from __future__ import annotations

from _struct import Struct

from lambent.span import Span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lambent.context import SpanContext
    from lambent.resource import InstrumentationScope, Resource
    from lambent.span import Event, Link

__all__ = ["encode"]

# One tag, one length byte: the prefixes of everything shorter than 128 bytes, made once.
_BYTE = [bytes((number,)) for number in range(128)]
_SHORT_ATTRIBUTE = [bytes((0x4A, length)) for length in range(128)]  # Span.attributes = 9
_SHORT_TEXT = [
    bytes((0x12, length + 2, 0x0A, length)) for length in range(126)
]  # KeyValue.value.string_value
_SMALL_INT = [bytes((0x12, 2, 0x18, number)) for number in range(128)]  # KeyValue.value.int_value
_TRUE, _FALSE = b"\x12\x02\x10\x01", b"\x12\x02\x10\x00"  # KeyValue.value.bool_value

# trace_id = 1 and span_id = 2, then parent_span_id = 4.
_IDS = Struct(">HQQHQ").pack
_PARENT = Struct(">HQ").pack
# kind = 6, start_time_unix_nano = 7, end_time_unix_nano = 8.
_TIMES = Struct("<BBBQBQ").pack
_LITTLE_64 = Struct("<Q").pack
_DOUBLE = Struct("<d").pack
_LINK_IDS = Struct(">HQQHQ").pack

# flags = 16, fixed32. Bit 8: it is known whether the parent is remote; bit 9: it is
# (opentelemetry-sdk leaves the W3C flags of bits 0 to 7 out, and so do we: messages stay equal).
_LOCAL_PARENT = b"\x85\x01\x00\x01\x00\x00"
_REMOTE_PARENT = b"\x85\x01\x00\x03\x00\x00"
_LINK_LOCAL = b"\x35\x00\x01\x00\x00"
_LINK_REMOTE = b"\x35\x00\x03\x00\x00"

_LOW_64 = (1 << 64) - 1
_MOST_KEYS = 1024
_keys: dict[str, bytes] = {}


def encode(spans: Sequence[Span]) -> bytes:
    """Return the request that carries these spans, grouped by resource and scope."""
    parts: list[bytes] = []
    groups: dict[tuple[int, int], list[Span]] = {}
    for span in spans:
        tracer = span._tracer
        key = (id(tracer.resource), id(tracer.scope))
        group = groups.get(key)
        if group is None:
            groups[key] = [span]
        else:
            group.append(span)
    resources: dict[int, list[list[Span]]] = {}
    for (resource, _), group in groups.items():
        resources.setdefault(resource, []).append(group)
    for scoped in resources.values():
        _resource_spans(parts, scoped)
    return b"".join(parts)


def _resource_spans(parts: list[bytes], scoped: list[list[Span]]) -> None:
    resource = scoped[0][0].resource
    place = len(parts)
    parts.append(b"")
    head = resource.encoded
    if head is None:
        head = resource.encoded = _resource(resource)
    parts.append(head)
    size = len(head)
    for group in scoped:
        size += _scope_spans(parts, group)
    if resource.schema_url:
        field = _text_field(0x1A, resource.schema_url)
        parts.append(field)
        size += len(field)
    parts[place] = b"\x0a" + _varint(size)


def _scope_spans(parts: list[bytes], spans: list[Span]) -> int:
    scope = spans[0].instrumentation_scope
    place = len(parts)
    parts.append(b"")
    head = scope.encoded
    if head is None:
        head = scope.encoded = _scope(scope)
    parts.append(head)
    size = len(head)
    for span in spans:
        size += _span(parts, span)
    if scope.schema_url:
        field = _text_field(0x1A, scope.schema_url)
        parts.append(field)
        size += len(field)
    prefix = parts[place] = b"\x12" + _varint(size)
    return len(prefix) + size


def _span(parts: list[bytes], span: Span) -> int:
    """Append one Span message; return its size with tag and length."""
    place = len(parts)
    trace_id = span._trace_id
    parts.append(b"")
    parts.append(_IDS(0x0A10, trace_id >> 64, trace_id & _LOW_64, 0x1208, span._span_id))
    size = 28
    if span._trace_state:
        field = _text_field(0x1A, span._trace_state.to_header())
        parts.append(field)
        size += len(field)
    flags = _LOCAL_PARENT
    parent = span._parent
    if parent is not None:
        if isinstance(parent, Span):
            parts.append(_PARENT(0x2208, parent._span_id))
        else:
            parts.append(_PARENT(0x2208, parent.span_id))
            if parent.is_remote:
                flags = _REMOTE_PARENT
        size += 10
    name = _utf8(span.name)
    length = len(name)
    if length:
        if length < 128:
            parts.append(b"\x2a" + _BYTE[length] + name)
            size += length + 2
        else:
            field = b"\x2a" + _varint(length) + name
            parts.append(field)
            size += len(field)
    parts.append(_TIMES(0x30, span._kind + 1, 0x39, _time(span.start_time), 0x41, _time(span.end_time)))
    size += 20
    if span._attributes:
        size += _attributes(parts, span._attributes)
    if span._events or span._links or span.dropped_attributes or span.dropped_events or span.dropped_links:
        size += _rare_fields(parts, span)
    # opentelemetry-sdk sends the status always, an empty message for UNSET.
    status = b""
    if span._status_code:
        if span._status_message:
            status = _text_field(0x12, span._status_message)
        status += b"\x18" + _BYTE[span._status_code]
    parts.append(b"\x7a" + _varint(len(status)) + status + flags)
    size += len(parts[-1])
    prefix = parts[place] = b"\x12" + (_BYTE[size] if size < 128 else _varint(size))
    return len(prefix) + size


def _rare_fields(parts: list[bytes], span: Span) -> int:
    """Append events, links and the counts of what was dropped; return their size."""
    before = len(parts)
    if span.dropped_attributes:
        parts.append(b"\x50" + _varint(span.dropped_attributes))
    parts.extend([_event(event) for event in span._events or ()])
    if span.dropped_events:
        parts.append(b"\x60" + _varint(span.dropped_events))
    parts.extend([_link(link) for link in span._links])
    if span.dropped_links:
        parts.append(b"\x70" + _varint(span.dropped_links))
    return sum(map(len, parts[before:]))


def _time(nanoseconds: int | None) -> int:
    """Return a time that fits; an open span's end is 0, which OTLP reads as unknown."""
    return nanoseconds & _LOW_64 if nanoseconds is not None else 0


def _attributes(parts: list[bytes], attributes: Mapping[str, object]) -> int:
    """Append Span.attributes; return their size. The hot loop of the encoder."""
    size = 0
    extend = parts.extend
    for key, value in attributes.items():
        head = _keys.get(key) or _key(key)
        kind = type(value)
        if kind is str:
            try:
                text = value.encode()  # type: ignore[attr-defined]  # a str
            except UnicodeEncodeError:
                text = _utf8(value)
            length = len(text)
            total = len(head) + length + 4
            if total < 128:
                extend((_SHORT_ATTRIBUTE[total], head, _SHORT_TEXT[length], text))
                size += total + 2
                continue
            tail = b"\x12" + _message(_field(0x0A, text))
        elif kind is int and 0 <= value < 128:  # type: ignore[operator]  # an int
            tail = _SMALL_INT[value]  # type: ignore[call-overload]  # an int
        elif value is True:
            tail = _TRUE
        elif value is False:
            tail = _FALSE
        else:
            tail = b"\x12" + _message(_any_value(value))
        total = len(head) + len(tail)
        prefix = _SHORT_ATTRIBUTE[total] if total < 128 else b"\x4a" + _varint(total)
        extend((prefix, head, tail))
        size += len(prefix) + total
    return size


def _key(key: str) -> bytes:
    """Return KeyValue.key, kept for the next span: a program uses the same keys again and again."""
    field = _text_field(0x0A, key)
    if len(_keys) < _MOST_KEYS:
        _keys[key] = field
    return field


def _any_value(value: object) -> bytes:
    """Return the body of an AnyValue: empty for None, which OTLP reads as an empty value.

    An integer beyond 64 bits has no type in OTLP; its digits are sent as text rather than lost.
    """
    if value is None:
        return b""
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, str):
        return _field(0x0A, _utf8(value))
    if isinstance(value, int):
        if -(1 << 63) <= value < 1 << 63:
            return b"\x18" + _varint(value & _LOW_64)
        return _field(0x0A, _digits(value))
    if isinstance(value, float):
        return b"\x21" + _DOUBLE(value)
    if isinstance(value, bytes):
        return _field(0x3A, value)
    if isinstance(value, dict):
        pairs = [b"\x0a" + _message(_key_value(key, item)) for key, item in value.items()]
        return _field(0x32, b"".join(pairs))
    if isinstance(value, (tuple, list)):
        return _field(0x2A, b"".join([b"\x0a" + _message(_any_value(item)) for item in value]))
    return _field(0x0A, _utf8(str(value)))


def _digits(value: int) -> bytes:
    """Return a huge integer's digits; in hexadecimal where Python refuses to write decimals."""
    try:
        return str(value).encode()
    except ValueError:
        return hex(value).encode()


def _key_value(key: object, value: object) -> bytes:
    return _text_field(0x0A, str(key)) + b"\x12" + _message(_any_value(value))


def _fields(tag: bytes, attributes: Mapping[str, object]) -> bytes:
    return b"".join([tag + _message(_key_value(key, value)) for key, value in attributes.items()])


def _event(event: Event) -> bytes:
    body = b"\x09" + _LITTLE_64(_time(event.timestamp)) + _text_field(0x12, event.name)
    body += _fields(b"\x1a", event.attributes)
    if event.dropped_attributes:
        body += b"\x20" + _varint(event.dropped_attributes)
    return b"\x5a" + _message(body)


def _link(link: Link) -> bytes:
    context: SpanContext = link.context
    trace_id = context.trace_id
    body = _LINK_IDS(0x0A10, trace_id >> 64, trace_id & _LOW_64, 0x1208, context.span_id)
    if context.trace_state:
        body += _text_field(0x1A, context.trace_state.to_header())
    body += _fields(b"\x22", link.attributes)
    if link.dropped_attributes:
        body += b"\x28" + _varint(link.dropped_attributes)
    body += _LINK_REMOTE if context.is_remote else _LINK_LOCAL
    return b"\x6a" + _message(body)


def _resource(resource: Resource) -> bytes:
    return b"\x0a" + _message(_fields(b"\x0a", resource.attributes))


def _scope(scope: InstrumentationScope) -> bytes:
    body = _text_field(0x0A, scope.name) + _text_field(0x12, scope.version)
    return b"\x0a" + _message(body + _fields(b"\x1a", scope.attributes))


def _text_field(tag: int, text: str) -> bytes:
    """Return a text field, nothing for an empty text."""
    return _field(tag, _utf8(text)) if text else b""


def _field(tag: int, data: bytes) -> bytes:
    return _BYTE[tag] + _varint(len(data)) + data


def _message(body: bytes) -> bytes:
    return _varint(len(body)) + body


def _utf8(text: object) -> bytes:
    """Return valid UTF-8, which protobuf demands: a lone surrogate becomes U+FFFD."""
    if not isinstance(text, str):
        text = str(text)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace").encode()


def _varint(number: int) -> bytes:
    if number < 128:
        return _BYTE[number]
    if number < 16384:
        return bytes((number & 0x7F | 0x80, number >> 7))
    septets = bytearray()
    while number >= 128:
        septets.append(number & 0x7F | 0x80)
        number >>= 7
    septets.append(number)
    return bytes(septets)
