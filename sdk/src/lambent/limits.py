"""Limits of what one span may hold, and the cleaning of attributes that keeps them.

The rules are OpenTelemetry's (Common specification, "Attribute"), with the choices that its
Python SDK makes where the text leaves one: a full collection gives up its oldest entry, a value of
another type is turned into text, a string is cut to the limit, and every loss is counted.
"""

from __future__ import annotations

from _operator import itemgetter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeAlias

    from lambent.span import NonRecordingSpan, Span
    from lambent.tracer import Tracer

    Attributes: TypeAlias = Mapping[str, object]
    Values: TypeAlias = tuple[Any, ...]
    Shape: TypeAlias = tuple[str, int, Callable[[dict[str, object]], Values], int, int]

__all__ = [
    "DEFAULT_LIMITS",
    "NAMES",
    "NO_SHAPES",
    "SCALARS",
    "Limits",
    "are_plain",
    "clean_attributes",
    "clean_name",
    "clean_time",
    "clean_value",
    "learn_names",
    "learn_shape",
    "put_attribute",
]

SCALARS = frozenset({str, int, float, bool})
NAMES: set[str] = set()
"""Names that attributes have had, each a text that is not empty: these need not be looked at again."""
_MOST_NAMES = 1024
NO_SHAPES: dict[str, Shape] = {}
"""Of a tracer that has none, and learns none: others watch its spans start, or a sampler decides."""
_MOST_SHAPES = 256
_seen: set[str] = set()  # names of spans that have come once
_DEEPEST = 24
"""How deep values may lie in each other: decoders of protobuf refuse a whole request beyond 100
messages, and each list or mapping is two or three."""


class Limits:
    """How much a span may hold. None means no limit; lengths count characters.

    The defaults are those of OpenTelemetry: 128 of everything, strings of any length.
    `attribute_length` holds for spans too where `span_attribute_length` is not given.

    Raises ValueError for a limit that is no number of things.
    """

    __slots__ = (
        "attribute_length",
        "attributes",
        "event_attributes",
        "events",
        "link_attributes",
        "links",
        "span_attribute_length",
    )

    def __init__(
        self,
        *,
        attributes: int | None = 128,
        attribute_length: int | None = None,
        span_attribute_length: int | None = None,
        events: int | None = 128,
        links: int | None = 128,
        event_attributes: int | None = 128,
        link_attributes: int | None = 128,
    ) -> None:
        self.attributes = attributes
        self.attribute_length = attribute_length
        self.span_attribute_length = (
            attribute_length if span_attribute_length is None else span_attribute_length
        )
        self.events = events
        self.links = links
        self.event_attributes = event_attributes
        self.link_attributes = link_attributes
        for name in self.__slots__:
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 0):
                raise ValueError(f"the limit {name} is a whole number, 0 or more, or None, not {value!r}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Limits):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]  # comparable, not a key

    def __repr__(self) -> str:
        return "Limits(" + ", ".join(f"{name}={getattr(self, name)}" for name in self.__slots__) + ")"


DEFAULT_LIMITS = Limits()


def _has_text(value: object) -> bool:
    """Whether `str(value)` says more than where the object lies in memory."""
    kind = type(value)
    return kind.__str__ is not object.__str__ or kind.__repr__ is not object.__repr__


def clean_name(name: object) -> str:
    """Return the text that stands for a name, whatever was given as one."""
    try:
        return str.__str__(name) if isinstance(name, str) else str(name)
    except Exception:  # noqa: BLE001  # user code: anything may happen in it
        return type(name).__name__


def clean_time(given: object, clock: Callable[[], int]) -> int:
    """Return nanoseconds since the epoch, the clock's where none were given that OTLP can hold."""
    try:
        nanoseconds = int(given)  # type: ignore[call-overload]  # or TypeError
    except (TypeError, ValueError, OverflowError):
        return clock()
    return nanoseconds if 0 <= nanoseconds < 1 << 64 else clock()


def clean_value(value: object, length: int | None, depth: int = 0) -> object:
    """Return the value as OpenTelemetry's attribute types hold it.

    Strings are cut to `length` characters, sequences become tuples, mappings new dicts with text
    keys, both cleaned all the way down; anything else becomes its text, or None when it has none. No type of
    the user's is left: what its methods do would be done in the middle of an export.
    Raises ValueError for what lies too deep to be decoded again.
    """
    if value is None or type(value) in SCALARS:
        return value if type(value) is not str or length is None else value[:length]
    if isinstance(value, (str, int, float, bytes)):
        return _plain(value, length)
    if depth > _DEEPEST:
        raise ValueError("nested too deeply")
    if isinstance(value, (list, tuple, range)):
        return tuple([clean_value(item, length, depth + 1) for item in value])
    if isinstance(value, dict):
        return _clean_mapping(value, length, depth + 1)
    # Loaded by every interpreter; only unusual values come this far.
    from collections.abc import Mapping, Sequence

    if isinstance(value, Mapping):
        return _clean_mapping(value, length, depth + 1)
    if isinstance(value, Sequence) and not isinstance(value, (bytearray, memoryview)):
        return tuple([clean_value(item, length, depth + 1) for item in value])
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    return str(value) if _has_text(value) else None


def _plain(value: object, length: int | None) -> object:
    """Return what a value of a subclass is as one of Python's own type, whatever the subclass says it is."""
    if isinstance(value, str):
        text = str.__str__(value)
        return text if length is None else text[:length]
    if isinstance(value, int):
        return int.__int__(value)
    return float.__float__(value) if isinstance(value, float) else b"".join([value])  # type: ignore[list-item]  # bytes


def _clean_mapping(mapping: Mapping[object, object], length: int | None, depth: int = 0) -> dict[str, object]:
    cleaned: dict[str, object] = {}
    for key, value in mapping.items():
        if not key:
            continue
        if not isinstance(key, str) and not _has_text(key):
            continue
        key = clean_name(key)  # noqa: PLW2901  # the text stands for the key from here on
        cleaned[key] = clean_value(value, length, depth)
    return cleaned


def are_plain(attributes: Attributes) -> bool:
    """Return whether there is nothing to clean: keys are text, values plain scalars."""
    for key, value in attributes.items():
        if type(value) not in SCALARS or type(key) is not str or not key:
            return False
    return True


def learn_names(attributes: Attributes) -> bool:
    """Return whether every name is one; remember them if so."""
    for name in attributes:
        if type(name) is not str or not name:
            return False
    if len(NAMES) < _MOST_NAMES:
        NAMES.update(attributes)
    return True


def learn_shape(shapes: dict[str, Shape], span: Span | NonRecordingSpan, tracer: Tracer) -> None:
    """Remember, the second time, what spans of this name are started with: the next ones are quick then.

    A shape is name, kind, what picks the attributes' values (KeyError where one has another name), how many
    they are, and under which number the flight recorder has noted their names, to write the number only. A
    name that comes once may be made of a value.
    """
    if span._recorded < 0 or len(shapes) >= _MOST_SHAPES:
        return
    name = span.name  # type: ignore[union-attr]  # it is no other, as the line above says
    if name not in _seen:
        if len(_seen) >= _MOST_SHAPES:
            _seen.clear()
        _seen.add(name)
        return
    _seen.discard(name)
    names = [*span._attributes]  # type: ignore[union-attr]  # as above
    place = 0
    if tracer.recorder is not None:
        place = tracer.recorder.define(name, span._kind, names)  # type: ignore[union-attr]  # as above
        if not place:
            return
    shapes[name] = name, span._kind, _picking(names), len(names), place  # type: ignore[union-attr]  # as above


def _picking(names: list[str]) -> Callable[[dict[str, object]], Values]:
    if len(names) == 1:  # else it would be the value itself
        (name,) = names
        return lambda attributes: (attributes[name],)
    return itemgetter(*names) if names else lambda _: ()


def clean_attributes(
    attributes: Attributes, count: int | None, length: int | None
) -> tuple[dict[str, object], int]:
    """Return a clean copy of the attributes and how many of them were dropped."""
    if length is None and are_plain(attributes):
        cleaned = dict(attributes)
    else:
        cleaned = _clean_mapping(attributes, length)  # type: ignore[arg-type]  # keys are checked there
    dropped = len(attributes) - len(cleaned)
    if count is not None and len(cleaned) > count:
        surplus = len(cleaned) - count
        for key in list(cleaned)[:surplus]:
            del cleaned[key]
        dropped += surplus
    return cleaned, dropped


def put_attribute(
    attributes: dict[str, object], key: object, value: object, count: int | None, length: int | None
) -> int:
    """Set one attribute, the slow and complete way; return how many were dropped for it."""
    if count == 0 or not key or not isinstance(key, str):
        return 1
    cleaned = clean_value(value, length)
    key = clean_name(key)
    attributes.pop(key, None)  # a value set again moves to the end, as in OpenTelemetry's SDK
    dropped = 0
    if count is not None and len(attributes) >= count:
        del attributes[next(iter(attributes))]
        dropped = 1
    attributes[key] = cleaned
    return dropped


def limits_of(values: dict[str, object]) -> Limits:
    """Take the limits out of the options; a narrow one wins over the general one, that over the default."""
    names = [option for option in values if option.endswith("_limit")]
    found: dict[str, int | None] = {name: values.pop(name) for name in names}  # type: ignore[misc]  # parsed as counts
    if not any(value is not None for value in found.values()):
        return DEFAULT_LIMITS

    def choose(narrow: str, general: int | None, default: int | None) -> int | None:
        value = found[narrow]
        return value if value is not None else general if general is not None else default

    count, length = found["attribute_count_limit"], found["attribute_length_limit"]
    return Limits(
        attributes=choose("span_attribute_count_limit", count, 128),
        attribute_length=length,
        span_attribute_length=choose("span_attribute_length_limit", length, None),
        events=choose("span_event_count_limit", None, 128),
        links=choose("span_link_count_limit", None, 128),
        event_attributes=choose("event_attribute_count_limit", count, 128),
        link_attributes=choose("link_attribute_count_limit", count, 128),
    )
