"""Trace context into what is sent, and out of what came: `lambent.inject` and `lambent.extract`.

The formats are those of the tracer's `propagators`. What a helper is given stays as it is; it returns what is
to be sent, where the service carries context. Nothing that came from elsewhere makes any of them fail.
"""

from __future__ import annotations

from lambent import propagation
from lambent.config import trace_header
from lambent.context import CURRENT, SpanContext
from lambent.propagation import KNOWN, baggage, flat
from lambent.span import Span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
    from typing import Any, TypeVar

    from lambent.context import AnySpan

    C = TypeVar("C", dict[str, str], dict[str, Any], MutableMapping[str, str])
    P = TypeVar("P", dict[str, Any], str, bytes)

__all__ = [
    "client_context",
    "extract",
    "extract_baggage",
    "inject",
    "message_attributes",
    "message_system_attributes",
    "payload",
    "record_headers",
]

_MAX_ATTRIBUTES = 10
_MAX_CLIENT_CONTEXT = 3583
_RANDOM = 2


def inject(carrier: C, context: object = None) -> C:
    """Write the current span's context, and the baggage, into a mapping such as HTTP headers; return it.

    `context`: another span than the current one, or a `SpanContext`. Without any there is only baggage to
    write. A header that is there already is replaced, however its name is written.
    """
    for fields in _fields(context):
        _take_out(carrier, fields)
        for name, value in fields.items():
            carrier[name] = value
    return carrier


def extract(carrier: object) -> SpanContext | None:
    """Return the context that a carrier holds, for `context=` of a new span; None without one.

    `carrier`: headers, message attributes, Kafka headers, a payload as JSON, a client context, a record of a
    batch, a whole event, or the context object of an invocation.
    """
    names = _propagators(CURRENT.get())
    every = not KNOWN.keys() >= {*names}
    environment = trace_header() if "xray-lambda" in names else ""
    return propagation.extract(_open(carrier, every), names, environment)


def extract_baggage(carrier: object) -> dict[str, str]:
    """Return the baggage that a carrier holds; `lambent.propagation.baggage.attach` makes it current."""
    return baggage.parse(_open(carrier, False).get("baggage", ""))


def message_attributes(attributes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the `MessageAttributes` for SQS or SNS: those given, and the context.

    A message has 10 of them at most: what does not fit is left out, baggage first, and said once.
    """
    found = dict(attributes or {})
    for fields in _fields(None):
        _take_out(found, fields)
        room = _MAX_ATTRIBUTES - len(found)
        # A parent without its trace state is still one; half of B3's headers are nothing.
        names = list(fields)[: max(0, room) if "traceparent" in fields or room >= len(fields) else 0]
        for name in names:
            found[name] = {"DataType": "String", "StringValue": fields[name]}
        if len(names) < len(fields):
            from lambent.diagnostics import say_once

            missing = ", ".join(name for name in fields if name not in names)
            say_once("message attributes", f"a message with 10 attributes has no room for {missing}")
    return found


def message_system_attributes() -> dict[str, Any]:
    """Return the `MessageSystemAttributes` for SQS: X-Ray's header, which does not count among the 10."""
    for fields in _written(None, ("xray",)):
        return {"AWSTraceHeader": {"DataType": "String", "StringValue": fields["X-Amzn-Trace-Id"]}}
    return {}


def payload(data: P) -> P:
    """Return a JSON object with the context among its fields: EventBridge's detail, Kinesis' data, any body.

    Text and bytes come back as such. What is no JSON object comes back as it is.
    """
    if isinstance(data, dict):
        return inject(dict(data))
    from json import dumps, loads

    try:
        value = loads(data)
    except (ValueError, TypeError, RecursionError):
        return data
    if not isinstance(value, dict):
        return data
    text = dumps(inject(value))
    return text if isinstance(data, str) else text.encode()


def record_headers(headers: Iterable[tuple[str, bytes]] | None = None) -> list[tuple[str, bytes]]:
    """Return the headers of a Kafka record, as its clients take them: those given, and the context."""
    fields: dict[str, str] = inject({})
    names = {name.lower() for name in fields}
    kept = [header for header in headers or () if header[0].lower() not in names]
    return kept + [(name, value.encode()) for name, value in fields.items()]


def client_context(given: Mapping[str, Any] | str | None = None) -> str:
    """Return the `ClientContext` of a direct invocation, base64: the one given, and the context in `custom`.

    Lambda takes 3583 bytes: what would be more is left out, baggage first.
    """
    from base64 import b64encode
    from json import dumps

    whole = dict(_decoded(given) if isinstance(given, (str, bytes)) else given or {})
    encoded = b64encode(dumps(whole).encode()).decode()
    custom = whole.get("custom")
    custom = dict(custom) if isinstance(custom, dict) else {}
    for fields in _fields(None):
        _take_out(custom, fields)
        custom.update(fields)
        longer = b64encode(dumps({**whole, "custom": custom}).encode()).decode()
        if len(longer) > _MAX_CLIENT_CONTEXT:
            break
        encoded = longer
    return encoded


def _propagators(span: AnySpan | None) -> Sequence[str]:
    import lambent

    tracer = span._tracer if isinstance(span, Span) else lambent._default
    return tracer.config.propagators if tracer is not None else ("tracecontext", "baggage")


def _fields(given: object) -> Iterator[dict[str, str]]:
    """Give the fields of each format, baggage last: where there is little room it is what can be missed."""
    names = _propagators(given if isinstance(given, Span) else CURRENT.get())
    if "none" not in names:
        yield from _written(given, sorted(names, key=lambda name: name == "baggage"))


def _written(given: object, names: Sequence[str]) -> Iterator[dict[str, str]]:
    from lambent.ids import parent_in

    span = CURRENT.get() if given is None else parent_in(given)
    context = span if span is None or isinstance(span, SpanContext) else span.context
    if isinstance(span, Span):
        # Whether a trace id is random, who made it knows: what the caller said goes on.
        origin: object = span
        while isinstance(origin, Span):
            origin = origin._parent
        if isinstance(origin, SpanContext) and origin.trace_flags & _RANDOM and context is not None:
            context.trace_flags = type(context.trace_flags)(context.trace_flags | _RANDOM)
    for name in names:
        fields: dict[str, str] = {}
        if name == "baggage":
            header = baggage.to_header(baggage.current())
            if header:
                fields["baggage"] = header
        elif context is not None and context.is_valid:
            propagation.write(name, context, fields)
        if fields:
            yield fields


def _take_out(carrier: MutableMapping[str, Any], fields: Mapping[str, Any]) -> None:
    """Take fields out of a carrier, however their names are written there."""
    names = {name.lower() for name in fields}
    for name in [each for each in carrier if isinstance(each, str) and each.lower() in names]:
        del carrier[name]


def _open(carrier: object, every: bool) -> dict[str, str]:
    """Return the flat carrier that lies in whatever was given."""
    if isinstance(carrier, (str, bytes)):
        carrier = _decoded(carrier)
    fields = flat(carrier, every=every)
    if fields.keys() & propagation.FIELDS or not (
        isinstance(carrier, dict) or hasattr(carrier, "client_context")
    ):
        return fields
    from lambent.triggers import recognise, record

    if not isinstance(carrier, dict):
        return flat(recognise(None, carrier).carrier, every=every)
    message = record(carrier)
    if message is None:
        found = recognise(carrier)
        if len(found.records) != 1:  # of several senders none is the one
            return flat(found.carrier or carrier.get("custom"), every=every)
        message = found.records[0]
    return flat(message.carrier, every=every)


def _decoded(text: str | bytes) -> dict[str, Any]:
    """Return the JSON object that a text is, in base64 or not; an empty one for any other text."""
    from base64 import b64decode
    from json import loads

    for encoded in (False, True):
        try:
            value = loads(b64decode(text) if encoded else text)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            return value
    return {}
