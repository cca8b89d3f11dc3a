"""Limits of what one span may hold, and what plain attributes are. `cleaning` is for all others."""

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
    "clean_name",
    "clean_time",
    "learn_names",
    "learn_shape",
]

SCALARS = frozenset({str, int, float, bool})
NAMES: set[str] = set()
"""Names that attributes have had, each a text that is not empty: these need not be looked at again."""
_MOST_NAMES = 1024
NO_SHAPES: dict[str, Shape] = {}
"""Of a tracer that has none, and learns none: others watch its spans start, or a sampler decides."""
_MOST_SHAPES = 256
_seen: set[str] = set()  # names of spans that have come once


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
