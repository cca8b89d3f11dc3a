"""Trace context in and out of carriers: one module for each format.

A carrier is whatever holds names and values: HTTP headers (names in any case, one value or several), message
attributes of SQS and SNS, header arrays of Kafka and RabbitMQ. The formats are asked in the order that
`OTEL_PROPAGATORS` names them; the first that finds a valid context wins. A name that is not known here is a
propagator of another package, found by OpenTelemetry's entry point.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, MutableMapping, Sequence
    from typing import Any

    from lambent.config import Config
    from lambent.context import SpanContext
    from lambent.propagation import b3, baggage, tracecontext, xray
    from lambent.sampling import Sampler

__all__ = [
    "FIELDS",
    "KNOWN",
    "b3",
    "baggage",
    "extract",
    "flat",
    "parent_of",
    "tracecontext",
    "write",
    "xray",
]

_TRACECONTEXT = ("traceparent", "tracestate")
_XRAY = ("x-amzn-trace-id", "awstraceheader")
_B3 = ("b3", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "x-b3-flags")
KNOWN: dict[str, tuple[str, tuple[str, ...]]] = {
    "tracecontext": ("tracecontext", _TRACECONTEXT),
    "baggage": ("baggage", ("baggage",)),
    "xray": ("xray", _XRAY),
    "xray-lambda": ("xray", _XRAY),
    "b3": ("b3", _B3),
    "b3multi": ("b3", _B3),
}
"""The formats that are built in: the module of each, and the names that it reads, in lower case."""

FIELDS = frozenset([field for _, fields in KNOWN.values() for field in fields])
"""All names that they read."""
_MODULES = frozenset([module for module, _ in KNOWN.values()])
_loaded: dict[str, Any] = {}
_TEXTS = ("stringValue", "StringValue", "Value", "binaryValue", "BinaryValue", "bytes")


def flat(carrier: object, every: bool = False) -> dict[str, str]:
    """Return what a carrier holds: names in lower case, each value as text.

    Several values of one name are joined as HTTP joins them, by a comma. Only what the built-in formats
    read is kept, unless it shall be `every` name. What cannot be read is left out.
    """
    found: dict[str, str] = {}
    for name, value in _pairs(carrier):
        if isinstance(name, (bytes, bytearray)):
            name = name.decode("latin-1")  # noqa: PLW2901  # the text stands for it from here on
        if not isinstance(name, str):
            continue
        key = name.lower()
        if every or key in FIELDS:
            text = value if type(value) is str else _text(value)
            if text is not None:
                found[key] = f"{found[key]},{text}" if found.get(key) else text
    return found


def _pairs(carrier: object) -> Iterable[tuple[object, object]]:
    if isinstance(carrier, dict):
        return carrier.items()
    pairs: list[tuple[object, object]] = []
    try:
        given: Any = carrier
        if isinstance(given, (str, bytes)) or given is None:
            return pairs
        for member in given.items() if hasattr(given, "items") else given:
            if isinstance(member, dict):
                pairs.extend(member.items())
            elif isinstance(member, (tuple, list)) and len(member) == 2:
                pairs.append((member[0], member[1]))
    except Exception:  # noqa: BLE001  # an object of the user's: what it does is no reason to fail
        return []
    return pairs


def _text(value: object) -> str | None:
    """Return the text of a value: of bytes, of a message attribute, of several values; None for no text."""
    if isinstance(value, str):
        return value
    if isinstance(value, (bytes, bytearray)):
        return value.decode("latin-1")
    if isinstance(value, (list, tuple)):
        if value and type(value[0]) is int:
            # The bytes of a Kafka header, which Java knows with a sign.
            return bytes([each & 255 for each in value if type(each) is int]).decode("latin-1")
        texts = [text for text in map(_text, value[:64]) if text is not None] if value else []
        return ",".join(texts) if texts else None
    if isinstance(value, dict):
        for key in _TEXTS:
            inner = value.get(key)
            if isinstance(inner, str) and (
                key == "binaryValue" or "Binary" in (value.get("Type"), value.get("dataType"))
            ):
                return _decoded(inner)
            if inner is not None and not isinstance(inner, dict):
                return _text(inner)
    return None


def _decoded(text: str) -> str:
    from binascii import a2b_base64

    try:
        return a2b_base64(text, strict_mode=True).decode("latin-1")
    except ValueError:  # what is not base64 is taken as it stands
        return text


def extract(carrier: object, propagators: Sequence[str], environment: str = "") -> SpanContext | None:
    """Return the remote parent that a carrier holds, None without one.

    `environment`: the X-Ray header that Lambda gives the process, which `xray-lambda` falls back on.
    """
    foreign = not KNOWN.keys() >= {*propagators}
    return _find(flat(carrier, every=foreign), propagators, environment)[0]


def _find(
    carrier: Mapping[str, str], names: Sequence[str], environment: str
) -> tuple[SpanContext | None, str]:
    """Return the context of a flat carrier, and the format that found it."""
    if "none" in names:
        return None, ""
    for name in names:
        if name == "baggage":
            continue
        context: SpanContext | None = None
        if name not in KNOWN:
            from lambent.propagation.foreign import extract as extract_foreign

            context = extract_foreign(name, carrier)
        elif carrier:
            context = (_loaded.get(name) or _module(name)).extract(carrier)
        if context is None and environment and name == "xray-lambda":
            context = _module(name).extract({"x-amzn-trace-id": environment})
        if context is not None:
            return context, name
    return None, ""


def _module(name: str) -> Any:
    module = _loaded.get(name)
    if module is None:
        module = _loaded[name] = __import__(f"lambent.propagation.{KNOWN[name][0]}", fromlist=["__name__"])
    return module


def write(name: str, context: SpanContext, carrier: MutableMapping[str, str]) -> None:
    """Write a valid context into a carrier in the format of this name."""
    if name not in KNOWN:
        from lambent.propagation.foreign import inject as inject_foreign

        inject_foreign(name, context, carrier)
    elif name == "b3multi":
        _module(name).inject_multi(context, carrier)
    elif name != "baggage":
        _module(name).inject(context, carrier)


def parent_of(
    carrier: Mapping[str, str],
    config: Config,
    sampler: Sampler | None,
    environment: str = "",
    message: bool = False,
) -> tuple[SpanContext | None, Mapping[str, str]]:
    """Return the parent that a flat carrier gives to a tracer's span, and the baggage that comes along.

    X-Ray samples for itself, and where it is switched off Lambda's header says "not sampled" as well. So its
    "no" is not taken for ours, unless `xray_sampling` asks for that: the trace goes on, and the tracer's own
    sampler decides about it. Of a `message` X-Ray's header counts whatever the propagators are, as
    OpenTelemetry's conventions for Lambda have it.
    """
    names: Sequence[str] = config.propagators
    context, name = _find(carrier, names, environment)
    if context is None and message and "x-amzn-trace-id" in carrier and "none" not in names:
        context, name = _find(carrier, ("xray",), "")
    if (
        context is not None
        and name.startswith("xray")
        and not (context.trace_flags & 1 or config.xray_sampling)
    ):
        from lambent.sampling import undecided

        context = undecided(context, sampler)
    if "baggage" in carrier and "baggage" in names:
        from lambent.propagation.baggage import parse

        return context, parse(carrier["baggage"])
    return context, {}


def __getattr__(name: str) -> object:
    # So that `import lambent` is enough to reach each of them.
    if name in _MODULES:
        return __import__(f"lambent.propagation.{name}", fromlist=["__name__"])
    raise AttributeError(f"module 'lambent.propagation' has no attribute {name!r}")
