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
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from lambent.resource import InstrumentationScope, Resource
    from lambent.tracer import Tracer

__all__ = ["encode"]

_BYTE = [bytes((number,)) for number in range(128)]  # the varints of one byte

# trace_id = 1 and the tag of span_id = 2; then that, alone or with parent_span_id = 4.
_TRACE = Struct(">HQQH").pack
_ROOT = Struct(">Q").pack
_CHILD = Struct(">QHQ").pack
# kind = 6, start_time_unix_nano = 7, end_time_unix_nano = 8.
_TIMES = Struct("<3sQBQ").pack
_KINDS = [bytes((0x30, kind + 1, 0x39)) for kind in range(5)]
_DOUBLE = Struct("<d").pack

# flags = 16, fixed32. Bit 8: it is known whether the parent is remote; bit 9: it is
# (opentelemetry-sdk leaves the W3C flags of bits 0 to 7 out, and so do we: messages stay equal).
_LOCAL_PARENT = b"\x85\x01\x00\x01\x00\x00"
_REMOTE_PARENT = b"\x85\x01\x00\x03\x00\x00"
_UNSET = b"\x7a\x00"  # status = 15: opentelemetry-sdk sends it always, an empty message for UNSET
_USUAL_END = _UNSET + _LOCAL_PARENT
_FLOAT = Struct("<3sd").pack  # KeyValue.value, nine bytes: double_value
_TEXTS = [bytes((0x12, size + 2, 0x0A, size)) for size in range(64)]
"""What comes before a short text as KeyValue.value's string_value."""

_LOW_64 = (1 << 64) - 1

# By type, since True, 1 and 1.0 are one key to a dictionary. What is cached first stays: the
# attributes that come again are there with the first invocation, those that never do fill the rest.
_MOST_CACHED, _LONGEST_CACHED = 512, 128
_cached: dict[type, dict[tuple[str, object], bytes]] = {str: {}, int: {}, bool: {}, float: {}}

_known: dict[type, Callable[[tuple[str, object]], bytes | None]] = {
    **{kind: cache.get for kind, cache in _cached.items()},
    **dict.fromkeys((type(None), bytes, tuple, dict), lambda _: None),
}
"""What looks an attribute up, by the type of its value; other types than these are no attributes'."""
_keys: dict[str, bytes] = {}
_names: dict[str, bytes] = {}
_prefixes: dict[int, bytes] = {}


def encode(spans: Sequence[Span]) -> bytes:
    """Return the request that carries these spans, grouped by resource and scope."""
    groups: dict[Tracer, list[bytes]] = {}
    tracer = trace_id = None
    for span in spans:
        if span._tracer is not tracer:
            tracer = span._tracer
            encoded = groups.setdefault(tracer, [])
        if span._trace_id != trace_id:
            trace_id = span._trace_id
            trace = _TRACE(0x0A10, trace_id >> 64, trace_id & _LOW_64, 0x1208)
        # A loop without calls that can be spared: most of what an export takes is here.
        parent = span._parent
        end = _USUAL_END
        if parent is None:
            fields = [trace, _ROOT(span._span_id)]
        elif type(parent) is Span:
            fields = [trace, _CHILD(span._span_id, 0x2208, parent._span_id)]
        else:
            parent = span.parent
            fields = [trace, _CHILD(span._span_id, 0x2208, parent.span_id)]  # type: ignore[union-attr]  # it has one
            if parent.is_remote:  # type: ignore[union-attr]  # as above
                end = _UNSET + _REMOTE_PARENT
        name = span.name
        fields.append(_names.get(name) or _name(name))
        try:
            fields.append(_TIMES(_KINDS[span._kind], span.start_time, 0x41, span.end_time))
        except Exception:  # noqa: BLE001  # an open span, or a clock that no fixed64 holds
            start, ended = span.start_time & _LOW_64, (span.end_time or 0) & _LOW_64
            fields.append(_TIMES(_KINDS[span._kind], start, 0x41, ended))
        try:
            fields += [_known[type(item[1])](item) or _attribute(item) for item in span._attributes.items()]
        except KeyError:
            fields += [_attribute(item) for item in span._attributes.items()]
        if span._recorded < 0:
            from lambent.wire.parts import add_rare

            end = add_rare(fields, span) + end[2:]
        fields.append(end)
        body = b"".join(fields)
        size = len(body)
        encoded.append(_prefixes.get(size) or _prefix(size))
        encoded.append(body)
    if len(groups) == 1 and tracer is not None:
        resource, scope = tracer._identify()
        return _resource_spans(resource, {scope: encoded})
    resources: dict[Resource, dict[InstrumentationScope, list[bytes]]] = {}
    for each, encoded in groups.items():
        resource, scope = each._identify()
        resources.setdefault(resource, {}).setdefault(scope, []).extend(encoded)
    return b"".join([_resource_spans(resource, scopes) for resource, scopes in resources.items()])


def _resource_spans(resource: Resource, scopes: Mapping[InstrumentationScope, list[bytes]]) -> bytes:
    """Return one resource with its scopes. What stays the same of both comes first, schemas included."""
    fields = [resource.encoded or _resource(resource)]
    for scope, spans in scopes.items():
        body = b"".join([scope.encoded or _scope(scope), *spans])
        fields += [b"\x12", _varint(len(body)), body]
    body = b"".join(fields)
    return b"".join([b"\x0a", _varint(len(body)), body])


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


def _attribute(item: tuple[str, Any]) -> bytes:
    """Return Span.attributes' field of one attribute, and keep it for the next span."""
    key, value = item
    name = _keys.get(key) or _key(key)
    kind = type(value)
    if kind is str:
        data = _utf8(value)
        size = len(data)
        body = _TEXTS[size] + data if size < 64 else _any_field(value)
    elif kind is int and 0 <= value < 1 << 63:
        data = _varint(value)
        body = b"".join((b"\x12", _BYTE[len(data) + 1], b"\x18", data))
    elif kind is float:
        body = _FLOAT(b"\x12\x09\x21", value)
        if not value:
            return b"\x4a" + _message(name + body)  # 0.0 and -0.0 are one key to a dictionary
    else:
        body = _any_field(value)
    size = len(name) + len(body)
    field = b"".join((b"\x4a", _BYTE[size] if size < 128 else _varint(size), name, body))
    cache = _cached.get(kind)
    if cache is not None and len(cache) < _MOST_CACHED and size < _LONGEST_CACHED:
        cache[item] = field
    return field


def _key(key: str) -> bytes:
    """Return KeyValue.key's field, and keep it: names come again, whatever their values are."""
    field = _text_field(0x0A, key)
    if len(_keys) < _MOST_CACHED and len(field) <= _LONGEST_CACHED:
        _keys[key] = field
    return field


def _any_field(value: object) -> bytes:
    return b"\x12" + _message(_any_value(value))


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
    return _text_field(0x0A, str(key)) + _any_field(value)


def _fields(tag: bytes, attributes: Mapping[str, object]) -> bytes:
    return b"".join([tag + _message(_key_value(key, value)) for key, value in attributes.items()])


def _resource(resource: Resource) -> bytes:
    body = b"\x0a" + _message(_fields(b"\x0a", resource.attributes))
    resource.encoded = body + _text_field(0x1A, resource.schema_url)
    return resource.encoded


def _scope(scope: InstrumentationScope) -> bytes:
    body = _text_field(0x0A, scope.name) + _text_field(0x12, scope.version)
    body = b"\x0a" + _message(body + _fields(b"\x1a", scope.attributes))
    scope.encoded = body + _text_field(0x1A, scope.schema_url)
    return scope.encoded


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
    if number < 1 << 28:
        head = number & 0x7F | 0x80, number >> 7 & 0x7F | 0x80
        number >>= 14
        return bytes((*head, number) if number < 128 else (*head, number & 0x7F | 0x80, number >> 7))
    septets = bytearray()
    while number >= 128:
        septets.append(number & 0x7F | 0x80)
        number >>= 7
    septets.append(number)
    return bytes(septets)
