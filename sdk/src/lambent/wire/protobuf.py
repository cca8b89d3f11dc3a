"""OTLP's ExportTraceServiceRequest in protobuf, written by hand.

Rules (protobuf encoding; opentelemetry/proto/trace/v1/trace.proto):

* a message is a sequence of fields; a field is a tag (`number << 3 | wire type`) and its value;
  texts, bytes and inner messages carry their length as a varint before them;
* a scalar that has its default value is left out, except inside a `oneof` (an attribute's value),
  where presence says which type it is;
* times are fixed 64-bit, ids are bytes, big-endian.

An attribute whose text, number or flag has been sent before is taken from a cache: most of what a
function says of itself it says again with the next invocation.
"""

from __future__ import annotations

from _struct import Struct

from lambent.span import Span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lambent.context import SpanContext
    from lambent.parts import Event, Link
    from lambent.resource import InstrumentationScope, Resource
    from lambent.tracer import Tracer

__all__ = ["encode"]

_BYTE = [bytes((number,)) for number in range(128)]  # the varints of one byte

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
_UNSET = b"\x7a\x00"  # status = 15
_DOUBLE_HEAD = b"\x12\x09\x21"  # KeyValue.value, nine bytes: double_value

_LOW_64 = (1 << 64) - 1

# By type, since True, 1 and 1.0 are one key to a dictionary. What is cached first stays: the
# attributes that come again are there with the first invocation, those that never do fill the rest.
_MOST_CACHED, _LONGEST_CACHED = 512, 128
_cached: dict[type, dict[tuple[str, object], bytes]] = {str: {}, int: {}, bool: {}, float: {}}
_names: dict[str, bytes] = {}
_prefixes: dict[int, bytes] = {}


def encode(spans: Sequence[Span]) -> bytes:
    """Return the request that carries these spans, grouped by resource and scope."""
    by_tracer: dict[Tracer, list[Span]] = {}
    for span in spans:
        by_tracer.setdefault(span._tracer, []).append(span)
    resources: dict[Resource, dict[InstrumentationScope, list[bytes]]] = {}
    for tracer, group in by_tracer.items():
        scopes = resources.setdefault(tracer.resource, {})
        scopes.setdefault(tracer.scope, []).extend([_span(span) for span in group])
    return b"".join([_resource_spans(resource, scopes) for resource, scopes in resources.items()])


def _resource_spans(resource: Resource, scopes: Mapping[InstrumentationScope, list[bytes]]) -> bytes:
    if resource.encoded is None:
        resource.encoded = _resource(resource)
    fields = [resource.encoded]
    fields += [_scope_spans(scope, spans) for scope, spans in scopes.items()]
    fields.append(_text_field(0x1A, resource.schema_url))
    return b"\x0a" + _message(b"".join(fields))


def _scope_spans(scope: InstrumentationScope, spans: list[bytes]) -> bytes:
    if scope.encoded is None:
        scope.encoded = _scope(scope)
    return b"\x12" + _message(b"".join([scope.encoded, *spans, _text_field(0x1A, scope.schema_url)]))


def _span(span: Span) -> bytes:
    trace_id = span._trace_id
    fields = [_IDS(0x0A10, trace_id >> 64, trace_id & _LOW_64, 0x1208, span._span_id)]
    append = fields.append
    rare = span._recorded < 0
    if rare and span._trace_state:
        append(_text_field(0x1A, span._trace_state.to_header()))
    flags = _LOCAL_PARENT
    parent = span._parent
    if parent is not None:
        if isinstance(parent, Span):
            append(_PARENT(0x2208, parent._span_id))
        else:
            append(_PARENT(0x2208, parent.span_id))
            if parent.is_remote:
                flags = _REMOTE_PARENT
    append(_names.get(span.name) or _name(span.name))
    append(
        _TIMES(0x30, span._kind + 1, 0x39, span.start_time & _LOW_64, 0x41, (span.end_time or 0) & _LOW_64)
    )
    for item in span._attributes.items():
        cache = _cached.get(type(item[1]))
        append((cache.get(item) if cache is not None else None) or _attribute(item, cache))
    if rare:
        fields += _rare_fields(span)
        # opentelemetry-sdk sends the status always, an empty message for UNSET.
        append(_status(span._status_code, span._status_message) if span._status_code else _UNSET)
    else:
        append(_UNSET)
    append(flags)
    body = b"".join(fields)
    size = len(body)
    return (_prefixes.get(size) or _prefix(size)) + body


def _name(name: str) -> bytes:
    field = _text_field(0x2A, name)
    if len(_names) < _MOST_CACHED and len(field) <= _LONGEST_CACHED:
        _names[name] = field
    return field


def _prefix(size: int) -> bytes:
    """Return ScopeSpans.spans' tag and length; those of everyday sizes are kept."""
    prefix = b"\x12" + _varint(size)
    if size < 4096:
        _prefixes[size] = prefix
    return prefix


def _attribute(item: tuple[str, object], cache: dict[tuple[str, object], bytes] | None) -> bytes:
    """Return Span.attributes' field of one attribute, and keep it for the next span."""
    key, value = item
    if type(value) is float:
        pair = _text_field(0x0A, key) + _DOUBLE_HEAD + _DOUBLE(value)
    else:
        pair = _key_value(key, value)
    field = b"\x4a" + _message(pair)
    if type(value) is float and not value:
        return field  # 0.0 and -0.0 are one key to a dictionary
    if cache is not None and len(cache) < _MOST_CACHED and len(field) <= _LONGEST_CACHED:
        cache[item] = field
    return field


def _rare_fields(span: Span) -> list[bytes]:
    fields = []
    if span.dropped_attributes:
        fields.append(b"\x50" + _varint(span.dropped_attributes))
    fields += [_event(event) for event in span._events or ()]
    if span.dropped_events:
        fields.append(b"\x60" + _varint(span.dropped_events))
    fields += [_link(link) for link in span._links]
    if span.dropped_links:
        fields.append(b"\x70" + _varint(span.dropped_links))
    return fields


def _status(code: int, message: str | None) -> bytes:
    return b"\x7a" + _message(_text_field(0x12, message or "") + b"\x18" + _BYTE[code])


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
    body = b"\x09" + _LITTLE_64(event.timestamp & _LOW_64) + _text_field(0x12, event.name)
    body += _fields(b"\x1a", event.attributes)
    if event.dropped_attributes:
        body += b"\x20" + _varint(event.dropped_attributes)
    return b"\x5a" + _message(body)


def _link(link: Link) -> bytes:
    context: SpanContext = link.context
    trace_id = context.trace_id
    # Ids out of range are possible here: a link may say something though it names no span.
    high, low = trace_id >> 64 & _LOW_64, trace_id & _LOW_64
    body = _LINK_IDS(0x0A10, high, low, 0x1208, context.span_id & _LOW_64)
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
