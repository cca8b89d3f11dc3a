"""A trace as lines of text: one span a line, with a bar on a time axis that all share.

The result is plain data, lines of styled segments, so the same drawing serves a terminal with colour, a log
and a test. Nothing is said by colour alone.
"""

from __future__ import annotations

import json
import math
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from lambent_lab.traces.model import Value, json_value
from lambent_lab.traces.text import cells, cut, duration, escape, pad, timestamp, wrap
from lambent_lab.traces.tree import Placed, arrange

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lambent_lab.traces.model import SpanRecord

Style: TypeAlias = Literal["", "title", "name", "bar", "error", "dim"]

MIN_WIDTH = 40
MAX_VALUE_CHARACTERS = 4000

_START_WIDTH = 8
_DURATION_WIDTH = 9
_MIN_BAR_WIDTH = 8


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a line, and what kind of thing it is."""

    text: str
    style: Style = ""


Line: TypeAlias = "list[Segment]"


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The characters that a drawing uses."""

    bar: str
    short: str
    instant: str
    open: str
    ellipsis: str
    separator: str
    event: str
    link: str


UNICODE = Glyphs("█", "▌", "│", "┄", "…", " · ", "•", "→")
ASCII = Glyphs("#", "#", "|", ".", "...", " - ", "*", "->")


def encodable(encoding: str | None) -> bool:
    """Whether an output with this encoding can show the Unicode glyphs."""
    try:
        f"{UNICODE}µ".encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def plain(lines: Sequence[Line]) -> str:
    """Return lines as text without styles, each ended by a newline."""
    return "".join("".join(segment.text for segment in line).rstrip() + "\n" for line in lines)


def render(
    spans: Sequence[SpanRecord], *, width: int = 80, ascii_only: bool = False, attributes: bool = False
) -> list[Line]:
    """Draw one trace.

    `width` is in terminal cells, at least 40; no line is wider. `attributes` adds what each span carries:
    attributes, events and links.
    """
    if not spans:
        return []
    drawing = _Drawing(arrange(spans), max(MIN_WIDTH, width), ascii_only=ascii_only)
    lines = [*drawing.title(), drawing.heading()]
    for placed in drawing.placed:
        lines.append(drawing.row(placed))
        if attributes:
            lines += drawing.details(placed)
    return lines + drawing.legend(attributes=attributes)


class _Drawing:
    """The measures of one drawing, decided once from all its spans."""

    def __init__(self, placed: list[Placed], width: int, *, ascii_only: bool) -> None:
        self.placed = placed
        self.width = width
        self.ascii_only = ascii_only
        self.glyphs = ASCII if ascii_only else UNICODE
        # A time of 0 means that it is not known: it must not stretch the axis back to 1970.
        starts = [one.span.start_ns for one in placed if one.span.start_ns]
        self.begin = min(starts, default=0)
        self.total = max([max(one.span.end_ns, one.span.start_ns) for one in placed]) - self.begin
        self.status_width = max(6, *(len(_status(one)) for one in placed))
        fixed = _START_WIDTH + _DURATION_WIDTH + self.status_width + 3
        longest = max(cells(self.text(one.span.name)) + 2 * one.depth for one in placed)
        name = min(max(longest, 12), width * 2 // 5)
        bar = width - fixed - name - 1
        if bar >= _MIN_BAR_WIDTH:
            self.name_width, self.bar_width = name, bar
        else:
            self.name_width, self.bar_width = width - fixed, 0

    def text(self, value: str) -> str:
        return escape(value, ascii_only=self.ascii_only)

    def title(self) -> list[Line]:
        first = self.placed[0].span
        spans = len(self.placed)
        errors = sum(one.span.status == "ERROR" for one in self.placed)
        facts = [
            duration(self.total, ascii_only=self.ascii_only),
            f"{spans} span{'s' * (spans != 1)}",
            f"{errors} error{'s' * (errors != 1)}",
            timestamp(self.begin) if self.begin else "time not known",
        ]
        service = next((one.span.service for one in self.placed if one.span.service), "")
        if service:
            facts.insert(0, cut(self.text(service), 24, self.glyphs.ellipsis))
        trace = cut(f"trace {first.trace_id}", self.width, self.glyphs.ellipsis)
        summary = [facts[0]]
        for fact in facts[1:]:
            longer = summary[-1] + self.glyphs.separator + fact
            if cells(longer) <= self.width:
                summary[-1] = longer
            else:
                summary.append(fact)
        return [[Segment(trace, "title")], *([Segment(line)] for line in summary)]

    def heading(self) -> Line:
        bar = " " + " " * self.bar_width if self.bar_width else ""
        times = f"{'start':>{_START_WIDTH}} {'duration':>{_DURATION_WIDTH}}"
        return [Segment(f"{'span':<{self.name_width}}{bar} {times} status", "dim")]

    def row(self, placed: Placed) -> Line:
        span = placed.span
        error = span.status == "ERROR"
        start = duration(span.start_ns - self.begin, ascii_only=self.ascii_only) if span.start_ns else "?"
        took = duration(span.end_ns - span.start_ns, ascii_only=self.ascii_only) if span.end_ns else "?"
        line = [Segment(self.name(placed), "error" if error else "name")]
        if self.bar_width:
            line += [Segment(" "), Segment(self.bar(span), "error" if error else "bar")]
        line.append(Segment(f" {start:>{_START_WIDTH}} {took:>{_DURATION_WIDTH}} "))
        line.append(Segment(_status(placed), "error" if error else ""))
        return line

    def name(self, placed: Placed) -> str:
        # Very deep spans keep half of the column for their name; their depth is written instead of shown.
        indent = "  " * placed.depth
        if len(indent) > self.name_width // 2:
            indent = f"{placed.depth}> ".rjust(self.name_width // 2)
        name = self.text(placed.span.name) or "(no name)"
        return pad(cut(indent + name, self.name_width, self.glyphs.ellipsis), self.name_width)

    def bar(self, span: SpanRecord) -> str:
        if not span.start_ns:
            return " " * self.bar_width
        if span.end_ns:
            length, glyph = span.end_ns - span.start_ns, self.glyphs.bar
        else:
            length, glyph = self.begin + self.total - span.start_ns, self.glyphs.open
        cell = self.total / self.bar_width
        if cell == 0:
            return pad(self.glyphs.instant, self.bar_width)
        first = min(int((span.start_ns - self.begin) / cell), self.bar_width - 1)
        if length <= 0 and span.end_ns:
            drawn = self.glyphs.instant
        elif length < cell / 2 and span.end_ns:
            drawn = self.glyphs.short
        else:
            last = min(math.ceil((span.start_ns + length - self.begin) / cell), self.bar_width)
            drawn = glyph * max(1, last - first)
        return pad(" " * first + drawn, self.bar_width)

    def details(self, placed: Placed) -> list[Line]:
        span = placed.span
        indent = min(2 * placed.depth, self.width // 4) + 4
        lines: list[Line] = []
        if span.status_message:
            lines += self.pair(indent, "status message", span.status_message)
        lines += self.pairs(indent, {"kind": span.kind.lower(), "span id": span.span_id})
        lines += self.pairs(indent, span.attributes)
        for event in span.events:
            offset = duration(event["time_ns"] - span.start_ns, ascii_only=self.ascii_only)
            lines += self.wrapped(indent, f"{self.glyphs.event} {self.text(event['name'])} at {offset}")
            lines += self.pairs(indent + 2, event["attributes"])
        for link in span.links:
            to = f"{self.glyphs.link} linked to span {link['span_id']} of trace {link['trace_id']}"
            lines += self.wrapped(indent, self.text(to))
            lines += self.pairs(indent + 2, link["attributes"])
        dropped = {
            "attributes": span.dropped_attributes,
            "events": span.dropped_events,
            "links": span.dropped_links,
        }
        lost = ", ".join(f"{count} {what}" for what, count in dropped.items() if count)
        return lines + (self.wrapped(indent, f"dropped by limits: {lost}") if lost else [])

    def pairs(self, indent: int, values: Mapping[str, Value]) -> list[Line]:
        return [line for key, value in values.items() for line in self.pair(indent, key, value)]

    def pair(self, indent: int, key: str, value: Value) -> list[Line]:
        shown = value if isinstance(value, str) else json.dumps(json_value(value), ensure_ascii=False)
        more = len(shown) - MAX_VALUE_CHARACTERS
        if more > 0:
            shown = f"{shown[:MAX_VALUE_CHARACTERS]}{self.glyphs.ellipsis} ({more} more characters)"
        # A stack trace is read line by line.
        first, *rest = shown.split("\n")
        lines = self.wrapped(indent, f"{self.text(key)} = {self.text(first)}")
        for text in rest:
            lines += self.wrapped(indent + 4, self.text(text.rstrip("\r"))) if text.strip() else []
        return lines

    def wrapped(self, indent: int, text: str) -> list[Line]:
        first, *rest = wrap(text, self.width - indent)
        more = wrap("".join(rest), self.width - indent - 2) if rest else []
        pieces = [" " * indent + first, *(" " * (indent + 2) + piece for piece in more)]
        return [[Segment(piece, "dim")] for piece in pieces]

    def legend(self, *, attributes: bool) -> list[Line]:
        notes = []
        if any(one.span.unfinished for one in self.placed):
            notes.append("open: had not ended when it was sent")
        if any(one.orphan for one in self.placed):
            notes.append("?: its parent is not here: a caller elsewhere, or a span that has not arrived")
        if any(one.outside for one in self.placed):
            notes.append("~: outside its parent's time (clocks differ, or it outlived its parent)")
        if any(one.backwards for one in self.placed):
            notes.append("!: ends before it starts")
        if any(one.cycle for one in self.placed):
            notes.append("@: is its own ancestor; shown as a root")
        lines: list[Line] = [
            [Segment(piece, "dim")] for note in notes for piece in textwrap.wrap(note, self.width)
        ]
        if attributes and self.placed[0].span.resource:
            lines += [[Segment("resource", "title")], *self.pairs(2, self.placed[0].span.resource)]
        return lines


def _status(placed: Placed) -> str:
    span = placed.span
    words = [span.status if span.status == "ERROR" else span.status.lower() if span.status == "OK" else ""]
    words.append("open" if span.unfinished else "")
    marks = (placed.orphan, "?"), (placed.outside, "~"), (placed.backwards, "!"), (placed.cycle, "@")
    words.append("".join(mark for is_so, mark in marks if is_so))
    return " ".join(word for word in words if word)
