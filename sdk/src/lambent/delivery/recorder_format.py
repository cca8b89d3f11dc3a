"""What a flight recorder's file looks like, and its reader: bytes in, spans out; pure, safe with any bytes.

    file     := head (HEAD_SIZE bytes), two numbers, shapes from SHAPES_AT on, zeros up to FIRST, segments
    head     := magic, Python version, segment size, file size, fingerprint, time of creation, check
    segment  := "SEGM", zeros, number, check, records, zeros; all zeros while it is empty
    shape    := (number, name, kind, [names of attributes]), check (8 bytes)
    record   := value, check (8 bytes); or the short form of an end: 255, span id, end, both xor (25 bytes)
    value    := what `marshal.dumps(..., 2)` makes of one of these:
                (trace id, span id, parent id, kind, name, start, attributes)            a start
                (trace id, span id, parent id, kind, name, start, end, attributes, rare) anything of a span
                (the same, deadline)                                                     an invocation's root
                (shape, trace id, span id, parent id, start, [values of attributes])     a start
                (the same, deadline, 0)                                                  a root's
                (span id, end)                                                           an end
                (span id, end, attributes)                                               with some set since
                ((span id, ...),)                                                        acknowledged
                ("invocation", span id of the root, deadline, now)
                ("note", what, when, value)

Rules:

* A record's check covers its value. It is the keyed hash (SipHash) that Python makes for its own .pyc files:
  part of every interpreter, less than a tenth of a microsecond, 64 bits wide. It depends on the version of
  Python, and so does the file.
* The short form's check is the exclusive or of its numbers: it shows what was written in part, and any one
  damaged field. Nothing but zeros behind a mark is no end, and one that names no open span is not believed.
* A start that names a shape is only written after the shape. Shapes stay as long as the file.
* An end is believed when it names a span that is open, and a time not before its start.
* A value says itself where it ends. After one that is damaged the reader looks for the next that is not.
* Numbers put segments into order. Within a segment records lie in the order of their writing. One that is
  used again is filled with zeros before: behind its last record there is nothing.
* A record that is not complete fails its check: a process may be killed between any two instructions.
* Of marshal's format the reader knows the few plain types that a span can hold. `marshal.loads` is not used:
  it trusts its input with the interpreter's memory. Nothing raises, nothing is believed that fails its check.
"""

from __future__ import annotations

from _struct import Struct
from _struct import error as struct_error  # type: ignore[attr-defined]  # as `struct` has it

from lambent.delivery.recorder import (
    CHECK_SIZE,
    END,
    END_MARK,
    FIRST,
    HEAD,
    HEAD_SIZE,
    KEY,
    MAGIC,
    SEGMENT_HEAD,
    SEGMENT_HEAD_SIZE,
    SHAPES_AT,
    check,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Content", "Recorded", "decode", "read", "unpack_head"]

_DEEPEST = 64
_INT = Struct("<i").unpack_from
_SIZE = Struct("<I").unpack_from
_SHORT = Struct("<H").unpack_from
_FLOAT = Struct("<d").unpack_from
_LARGEST = 1 << 64
_LONGEST = 1 << 56  # nanoseconds, two years: longer than any span
_END_MARK = bytes((END_MARK,))
_SEARCHES = 200
"""So often a sound record is looked for in a segment behind damaged ones: what harms must not take long."""


class Recorded:
    """A span as the ring holds it. `end_time` is 0 while it is open; `order` counts starts."""

    __slots__ = (
        "attributes",
        "dropped",
        "end_time",
        "events",
        "kind",
        "links",
        "name",
        "parent_id",
        "parent_is_remote",
        "span_id",
        "start_time",
        "status",
        "trace_id",
        "trace_state",
    )

    def __init__(self, fields: object) -> None:
        """Take the fields of a record. Raises ValueError for what no span of ours can be."""
        match fields:
            case (trace, span, parent, role, text, begin, attributes):
                fields = (trace, span, parent, role, text, begin, 0, attributes, None)
        match fields:
            case (
                int(trace_id), int(span_id), int(parent_id), int(kind), str(name), int(start), int(end),
                dict(attributes), rare,
            ):  # fmt: skip
                pass
            case _:
                raise ValueError("no span")
        if not (0 < trace_id < 1 << 128 and 0 < span_id < _LARGEST and 0 <= parent_id < _LARGEST):
            raise ValueError("ids out of range")
        if not (0 <= kind < 32 and kind & 15 < 5 and 0 <= start < _LARGEST and 0 <= end < _LARGEST):
            raise ValueError("numbers out of range")
        self.trace_id, self.span_id, self.parent_id = trace_id, span_id, parent_id
        self.kind, self.parent_is_remote = kind & 15, kind >= 16
        self.name, self.start_time, self.end_time = name, start, end
        self.attributes = _attributes(attributes)
        self.status: tuple[int, str | None] = (0, None)
        self.trace_state = ""
        self.events: list[tuple[str, int, dict[str, object], int]] = []
        self.links: list[tuple[int, int, bool, str, dict[str, object], int]] = []
        self.dropped: tuple[int, int, int] = (0, 0, 0)
        if rare is not None:
            self._take_rare(rare)

    def _take_rare(self, rare: object) -> None:
        match rare:
            case (
                int(code), str() | None as message, str(trace_state), tuple(events), tuple(links),
                (int(first), int(second), int(third)),
            ) if 0 <= code <= 2 and min(first, second, third) >= 0:  # fmt: skip
                self.status, self.trace_state = (code, message), trace_state
                self.dropped = first, second, third
            case _:
                raise ValueError("no span")
        for event in events:
            match event:
                case (str(name), int(timestamp), dict(attributes), int(dropped)) if dropped >= 0:
                    self.events.append((name, timestamp, _attributes(attributes), dropped))
                case _:
                    raise ValueError("no event")
        for link in links:
            match link:
                case (int(trace), int(span), bool(remote), str(state), dict(attributes), int(dropped)) if (
                    min(trace, span, dropped) >= 0
                ):
                    self.links.append((trace, span, remote, state, _attributes(attributes), dropped))
                case _:
                    raise ValueError("no link")


def _attributes(found: dict[object, object]) -> dict[str, object]:
    if not all(isinstance(key, str) for key in found):
        raise ValueError("a key that is no text")
    return found  # type: ignore[return-value]  # checked in the line above


class Content:
    """What a ring holds and nobody has acknowledged."""

    def __init__(self) -> None:
        self.spans: dict[int, Recorded] = {}
        """By span id, those started first first; finished and open ones."""
        self.deadlines: dict[int, int] = {}
        """Of invocations, by the id of their root span; nanoseconds since the epoch."""
        self.taken: dict[int, int] = {}
        """Of spans that went to several exporters, who has taken them: one bit each."""
        self.unconfirmed: set[int] = set()
        """Spans that were sent, and may have arrived."""
        self.notes: list[tuple[str, int, object]] = []
        """What, when (nanoseconds since the epoch), and a value."""
        self.last_sign = 0
        """When the process is known to have been alive last; nanoseconds since the epoch."""
        self.shapes: dict[int, tuple[str, int, tuple[str, ...]]] = {}
        """Name, kind and names of attributes that starts refer to."""
        self.damaged = 0
        """How many segments ended in something else than their end: cut, or damaged."""

    @property
    def finished(self) -> list[Recorded]:
        """The spans that have ended."""
        return [span for span in self.spans.values() if span.end_time]

    @property
    def unfinished(self) -> list[Recorded]:
        """The spans that were open when the process died."""
        return [span for span in self.spans.values() if not span.end_time]


def read(data: bytes, segment: int) -> Content:
    """Return the content of a file whose segments are of this size. Never raises."""
    content = Content()
    acknowledged: set[int] = set()
    if segment <= SEGMENT_HEAD_SIZE:
        return content
    for value in _records(data[:FIRST], content, SHAPES_AT):
        match value:
            case (int(shape), str(name), int(kind), tuple(names)) if all(
                isinstance(each, str) for each in names
            ):
                content.shapes[shape] = name, kind, names
            case _:
                content.damaged += 1
    found = []
    for start in range(FIRST, len(data) - SEGMENT_HEAD_SIZE + 1, segment):
        number = _number_of(data, start)
        if number is not None:
            found.append((number, start))
    for _, start in sorted(found):
        for value in _records(data[start : start + segment], content):
            try:
                _take(_whole(value, content), content, acknowledged)
            except ValueError:
                content.damaged += 1
    for span_id in acknowledged:
        content.spans.pop(span_id, None)
    return content


def unpack_head(data: bytes) -> tuple[int, int, int, bytes, int] | None:
    """Return version, segment size, size, fingerprint and time of creation; None for no head of ours."""
    head = data[: HEAD.size]
    if len(data) < HEAD_SIZE or data[HEAD.size : HEAD_SIZE] != check(KEY, head):
        return None
    magic, version, segment, size, fingerprint, created = HEAD.unpack(head)
    return (version, segment, size, fingerprint, created) if magic == MAGIC else None


def _number_of(data: bytes, start: int) -> int | None:
    """Return the number of the segment that begins there, None when it is empty or damaged."""
    head = data[start : start + SEGMENT_HEAD.size]
    end = start + SEGMENT_HEAD_SIZE
    if len(data) < end or data[start + SEGMENT_HEAD.size : end] != check(KEY, head):
        return None
    magic, _, number = SEGMENT_HEAD.unpack(head)
    return int(number) if magic == b"SEGM" else None


def _records(segment: bytes, content: Content, position: int = SEGMENT_HEAD_SIZE) -> Iterator[object]:
    """Yield the values of a segment's records that pass their check. Damaged ones are stepped over."""
    searches = 0
    broken = False
    while 0 < position < len(segment):
        value, after = _record(segment, position)
        if after:
            if broken:
                content.damaged += 1  # it was in the middle, not at the end
                broken = False
            yield value
            position = after
        else:
            broken = True
            searches += 1
            if searches > _SEARCHES:
                break
            begins = [segment.find(first, position + 1) for first in (b"(", _END_MARK)]
            position = min([begin for begin in begins if begin > 0], default=-1)


def _record(segment: bytes, position: int) -> tuple[object, int]:
    """Return the value of the record that begins there, and what comes after it: 0 if it fails its check."""
    after = position + END.size
    if segment[position] == END_MARK and after <= len(segment):
        _, span_id, time, found = END.unpack_from(segment, position)
        return (span_id, time), after if span_id and found == span_id ^ time else 0
    try:
        value, after = _value(segment, position, 0)
    except (ValueError, IndexError, struct_error):
        return None, 0
    sound = segment[after : after + CHECK_SIZE] == check(KEY, segment[position:after])
    return value, after + CHECK_SIZE if sound else 0


def _ids(found: tuple[object, ...]) -> list[int]:
    ids = [each for each in found if isinstance(each, int)]
    if len(ids) < len(found):
        raise ValueError("no ids")
    return ids


def _take(value: object, content: Content, acknowledged: set[int]) -> None:
    match value:
        case (int(span_id), int(time)) | (int(span_id), int(time), dict()):
            span = content.spans.get(span_id)
            if span is None or span.end_time or not span.start_time <= time < span.start_time + _LONGEST:
                return
            if isinstance(value[-1], dict):
                span.attributes = _attributes(value[-1])
            span.end_time = time
        case (_, _, _, _, _, _, _, *more) if len(more) in {0, 2, 3}:
            span = Recorded(value[:9])
            match more:
                case (_, _, int(deadline)) if 0 < deadline < _LARGEST:
                    content.deadlines[span.span_id] = deadline
            before = content.spans.get(span.span_id)
            if before is None or not before.end_time:
                content.spans[span.span_id] = span
            time = max(span.start_time, span.end_time)
        case (tuple(ids),):
            acknowledged.update(_ids(ids))
            return
        case ("marked", int(lane), tuple(ids)) if -1 <= lane < 32:
            if lane < 0:
                content.unconfirmed.update(_ids(ids))
            for span_id in _ids(ids) if lane >= 0 else ():
                content.taken[span_id] = content.taken.get(span_id, 0) | 1 << lane
            return
        case ("invocation", int(span_id), int(deadline), int(time)) if 0 < deadline < _LARGEST:
            content.deadlines[span_id] = deadline
        case ("note", str(what), int(time), noted):
            content.notes.append((what, time, noted))
        case _:
            raise ValueError("nothing that we write")
    if time < _LARGEST:
        content.last_sign = max(content.last_sign, time)


def _whole(value: object, content: Content) -> object:
    """Return a start that refers to a shape as one that says everything itself, and all else as it is."""
    if not isinstance(value, tuple) or len(value) not in {6, 8}:
        return value
    number, trace_id, span_id, parent_id, start, values, *due = value
    shape = content.shapes.get(number) if isinstance(number, int) else None
    if shape is None or not isinstance(values, tuple) or len(values) != len(shape[2]):
        raise ValueError("no shape")
    name, kind, names = shape
    attributes = dict(zip(names, values, strict=True))
    if due:
        return trace_id, span_id, parent_id, kind, name, start, 0, attributes, None, due[0]
    return trace_id, span_id, parent_id, kind, name, start, attributes


# Python's marshal format, version 2, of the types that attributes can have.


def decode(data: bytes) -> object:
    """Return the value that these bytes hold. Raises ValueError for anything but one whole value."""
    try:
        value, position = _value(data, 0, 0)
    except (struct_error, IndexError) as error:
        raise ValueError("cut") from error
    if position != len(data):
        raise ValueError("more than one value")
    return value


def _value(data: bytes, at: int, depth: int) -> tuple[object, int]:
    if depth > _DEEPEST:
        raise ValueError("nested too deeply")
    kind, at = data[at], at + 1
    if kind == 0x69:  # i
        return _INT(data, at)[0], at + 4
    if kind in (0x75, 0x74):  # u, t
        raw, at = _sized(data, at)
        return raw.decode("utf-8", "surrogatepass"), at
    if kind == 0x54:  # T
        return True, at
    if kind == 0x46:  # F
        return False, at
    if kind == 0x4E:  # N
        return None, at
    if kind == 0x67:  # g
        return _FLOAT(data, at)[0], at + 8
    if kind == 0x6C:  # l
        return _long(data, at)
    if kind == 0x73:  # s
        return _sized(data, at)
    if kind in (0x28, 0x5B):  # ( and [
        count, at = _size(data, at)
        items = []
        for _ in range(count):
            item, at = _value(data, at, depth + 1)
            items.append(item)
        return tuple(items), at
    if kind == 0x7B:  # {
        return _dict(data, at, depth)
    raise ValueError("a type that no span holds")


def _dict(data: bytes, at: int, depth: int) -> tuple[dict[object, object], int]:
    found: dict[object, object] = {}
    while data[at] != 0x30:
        key, at = _value(data, at, depth + 1)
        if not isinstance(key, str):
            raise ValueError("a key that is no text")
        found[key], at = _value(data, at, depth + 1)
    return found, at + 1


def _size(data: bytes, at: int) -> tuple[int, int]:
    (size,) = _SIZE(data, at)
    at += 4
    if size > len(data) - at:  # each item takes a byte at least
        raise ValueError("longer than there is")
    return size, at


def _sized(data: bytes, at: int) -> tuple[bytes, int]:
    size, at = _size(data, at)
    return data[at : at + size], at + size


def _long(data: bytes, at: int) -> tuple[int, int]:
    (digits,) = _INT(data, at)
    at += 4
    count = abs(digits)
    if 2 * count > len(data) - at:
        raise ValueError("longer than there is")
    value = 0
    for number in range(count):
        (digit,) = _SHORT(data, at + 2 * number)
        if digit >= 1 << 15:
            raise ValueError("no digit")
        value |= digit << (15 * number)
    return (-value if digits < 0 else value), at + 2 * count
