"""Traces as a test expects them, beside those that were recorded.

What an expectation leaves out is not compared. A tree is compared as a whole: a span too many is a difference
as well, unless `...` stands for others. Spans may be lambent's, OpenTelemetry's ReadableSpan, or the lab's.
The difference is told as one tree, the expected lines marked `-`, those found `+`.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from types import EllipsisType
    from typing import Any, TypeAlias

    Line: TypeAlias = tuple[str, str]
    Child: TypeAlias = "Expected | str | EllipsisType"
    Pairs: TypeAlias = "list[tuple[int | None, int | None]]"

__all__ = ["Expected", "assert_trace", "expect", "show_trace"]


class Expected:
    """One span of an expected trace; made with `expect`."""

    def __init__(self, name: object, children: Iterable[Child], **fields: Any) -> None:
        self.name = name
        self.open = any(each is ... for each in children)
        self.children = [
            each if isinstance(each, Expected) else expect(each) for each in children if each is not ...
        ]
        self.fields = fields


def expect(
    name: Any,
    *children: Child,
    attributes: Mapping[str, Any] | None = None,
    kind: str | None = None,
    status: str | tuple[str, Any] | None = None,
    events: Sequence[Any] | None = None,
    links: Sequence[Any] | None = None,
    scope: Any = None,
    seconds: Any = None,
) -> Expected:
    """Return an expected span, its children in the order in which they start; a text is one with that name.

    A value is expected by `==`, as a regular expression (`re.compile`) that is found in it, as a function
    that returns whether it will do, as `...` for any value, and None for an attribute that is not there.

    `events`: all of them, names or `(name, attributes)`. `links`: all of them, each a span, a span's
    context or `...`, or `(one of these, attributes)`. `status`: `"ERROR"`, or `("ERROR", message)`.
    `seconds`: from its start to its end.
    """
    fields = {"kind": kind, "status": status, "scope": scope, "seconds": seconds}
    lists = {"attributes": attributes or {}, "events": events, "links": links}
    return Expected(name, children, **fields, **lists)


def assert_trace(spans: Any, *roots: Child, ordered: bool = True, exact: bool = False) -> None:
    """Assert that the spans are these trees, one for each root; `...` stands for any others.

    `spans`: a list, or what has one as `spans`: a tracer of `lambent.testing`, a MemoryExporter, the lab's
    result. `ordered=False`: children may start in any order, as in threads. `exact`: no attributes but the
    expected ones.

    Raises AssertionError with both trees in one, `-` before what was expected and `+` before what was found.
    """
    __tracebackhide__ = True  # pytest shows the line of the test
    wanted = Expected("", roots)
    lines = _children(wanted, _trees(spans), ordered, exact)
    if any(mark != " " for mark, _ in lines):
        told = "\n".join(f"{mark} {text}" for mark, text in lines)
        raise AssertionError(f"not the trace that was expected (- expected, + found):\n{told}")


def show_trace(spans: Any, *, attributes: bool = True) -> str:
    """Return the trees of these spans as text."""
    shown = (line for tree in _trees(spans) for line in _lines(tree, attributes))
    return "\n".join(text for _, text in shown)


class _Found:
    """A span that was recorded, whoever recorded it."""

    def __init__(self, span: Any) -> None:
        self.children: list[_Found] = []
        self.name = span.name
        self.attributes: dict[str, Any] = dict(span.attributes or {})
        if hasattr(span, "parent_span_id"):  # the lab's
            self.key = span.trace_id, span.span_id
            self.parent = span.trace_id, span.parent_span_id
            self.kind, code, message = span.kind, span.status, span.status_message
            self.start, end = span.start_ns, span.end_ns
            self.scope = span.scope.partition(" ")[0]  # its version comes after it
            self.events = [(each["name"], each["attributes"]) for each in span.events]
            self.links = [((each["trace_id"], each["span_id"]), each["attributes"]) for each in span.links]
        else:
            self.key = _ids(span)
            parent = span.parent
            self.parent = _ids(parent) if parent is not None else (self.key[0], "")
            self.kind, code = span.kind.name, span.status.status_code.name
            message = span.status.description
            self.start, end = span.start_time, span.end_time or span.start_time
            self.scope = span.instrumentation_scope.name
            self.events = [(each.name, each.attributes or {}) for each in span.events]
            self.links = [(_ids(each.context), each.attributes or {}) for each in span.links]
        self.status = code, message or ""
        self.seconds = (end - self.start) / 1_000_000_000


def _ids(span: Any) -> tuple[str, str]:
    """Return the ids, in hex, of a span or a span's context."""
    if not hasattr(span, "trace_id"):
        span = span.context if hasattr(span, "context") else span.get_span_context()
    trace_id, span_id = span.trace_id, span.span_id
    return (trace_id, span_id) if isinstance(trace_id, str) else (f"{trace_id:032x}", f"{span_id:016x}")


def _trees(spans: Any) -> list[_Found]:
    found = [_Found(each) for each in getattr(spans, "spans", spans)]
    # Where a clock stands, the ids that were counted tell who came first.
    found.sort(key=lambda each: (each.start, each.key[1]))
    by_key = {each.key: each for each in found}
    roots: list[_Found] = []
    for each in found:
        parent = by_key.get(each.parent)
        (parent.children if parent is not None else roots).append(each)
    return roots


def _will_do(wanted: Any, found: Any) -> bool:
    if wanted is ...:
        return True
    if isinstance(wanted, re.Pattern):
        return wanted.search(str(found)) is not None
    if callable(wanted) and not isinstance(wanted, type):
        return bool(wanted(found))
    if isinstance(wanted, (list, tuple)) and isinstance(found, (list, tuple)):
        return len(wanted) == len(found) and all(map(_will_do, wanted, found))
    if isinstance(wanted, dict) and isinstance(found, dict):
        return wanted.keys() == found.keys() and all(_will_do(wanted[key], found[key]) for key in wanted)
    return bool(wanted == found) and isinstance(wanted, bool) == isinstance(found, bool)


def _shown(value: Any) -> str:
    if value is ...:
        return "…"
    if isinstance(value, re.Pattern):
        return f"/{value.pattern}/"
    return getattr(value, "__name__", "") or repr(list(value) if isinstance(value, tuple) else value)


def _has(wanted: Mapping[str, Any], found: Mapping[str, Any], exact: bool = False) -> list[Line]:
    """Return the lines for attributes, of which only the expected ones are told."""
    lines = []
    for key, value in wanted.items():
        if value is None and key not in found:
            continue
        if key in found and value is not None and _will_do(value, found[key]):
            lines.append((" ", f"{key} = {_shown(found[key])}"))
            continue
        lines.append(("-", f"{key} = {_shown(value)}" if value is not None else f"no {key}"))
        if key in found:
            lines.append(("+", f"{key} = {_shown(found[key])}"))
    if exact:
        lines += [("+", f"{key} = {_shown(value)}") for key, value in found.items() if key not in wanted]
    return lines


def _span(wanted: Expected, found: _Found, ordered: bool, exact: bool) -> list[Line]:
    fields = wanted.fields
    head = [(wanted.name if isinstance(wanted.name, str) else _shown(wanted.name), found.name)]
    same = _will_do(wanted.name, found.name)
    for name in ("kind", "status", "scope", "seconds"):
        value, got = fields[name], getattr(found, name)
        if value is None:
            continue
        if name == "status":
            value = (value, ...) if isinstance(value, str) else value
            got_text = ": ".join(filter(None, got))
            text = value[0] if value[1] is ... else f"{value[0]}: {_shown(value[1])}"
        else:
            text, got_text = (str(value), str(got)) if isinstance(value, str) else (_shown(value), repr(got))
        unit = " s" if name == "seconds" else ""
        head.append((f"[{text}{unit}]", f"[{got_text}{unit}]"))
        same = same and _will_do(value, got)
    expected, got_head = (" ".join(str(part) for part in side) for side in zip(*head, strict=True))
    lines = [(" ", got_head)] if same else [("-", expected), ("+", got_head)]
    inner = _has(fields["attributes"], found.attributes, exact)
    inner += _listed("*", fields["events"], found.events, lambda name: (name, name))
    inner += _listed("→", fields["links"], found.links, _link)
    inner += _children(wanted, found.children, ordered, exact)
    return lines + [(mark, f"  {text}") for mark, text in inner]


def _link(target: Any) -> tuple[Any, str]:
    ids = target if target is ... or isinstance(target, tuple) else _ids(target)
    return ids, "…" if ids is ... else f"{ids[0]}/{ids[1]}"


def _listed(sign: str, wanted: Any, found: list[tuple[Any, Any]], of: Any) -> list[Line]:
    """Return the lines for events or links: all of them are expected, each in its place."""
    if wanted is None:
        return []
    lines: list[Line] = []
    for number in range(max(len(wanted), len(found))):
        each = wanted[number] if number < len(wanted) else None
        target, attributes = each if isinstance(each, tuple) and isinstance(each[1], dict) else (each, {})
        got = found[number] if number < len(found) else None
        if got is None:
            lines.append(("-", f"{sign} {of(target)[1]}"))
            lines += [("-", f"    {key} = {_shown(value)}") for key, value in attributes.items()]
        elif number >= len(wanted) or not _will_do(of(target)[0], got[0]):
            if number < len(wanted):
                lines.append(("-", f"{sign} {of(target)[1]}"))
            lines.append(("+", f"{sign} {of(got[0])[1]}"))
        else:
            lines.append((" ", f"{sign} {of(got[0])[1]}"))
            lines += [(mark, f"    {text}") for mark, text in _has(attributes, got[1])]
    return lines


def _children(wanted: Expected, found: list[_Found], ordered: bool, exact: bool) -> list[Line]:
    compared = [[_span(each, other, ordered, exact) for other in found] for each in wanted.children]
    wrong = [[sum(mark != " " for mark, _ in lines) for lines in row] for row in compared]
    # Spans of other names stand for each other only where all but the name agrees.
    for index, each in enumerate(wanted.children):
        for number, other in enumerate(found):
            if not _will_do(each.name, other.name):
                wrong[index][number] = _RENAMED if wrong[index][number] == 2 else _NEVER
    pairs = _in_order(wrong, len(found), wanted.open) if ordered else _in_any_order(wrong, len(found))
    lines: list[Line] = []
    for index_or_none, number_or_none in pairs:
        if number_or_none is None:
            assert index_or_none is not None
            lines += [("-", text) for text in _wanted_lines(wanted.children[index_or_none])]
        elif index_or_none is not None:
            lines += compared[index_or_none][number_or_none]
        elif not wanted.open:
            lines += _lines(found[number_or_none], attributes=False)
    return lines


_RENAMED, _ALONE, _NEVER = 15_000, 10_000, 1_000_000
"""The costs of pairing spans of two names (less than both alone), of one alone, of a pair never made."""


def _in_order(wrong: list[list[int]], count: int, others: bool) -> Pairs:
    """Pair expected spans with found ones so that the fewest lines differ, and the order is kept."""
    extra = 0 if others else _ALONE
    best = [[0] * (count + 1) for _ in range(len(wrong) + 1)]
    for index in range(len(wrong), -1, -1):
        for number in range(count, -1, -1):
            ways = []
            if index < len(wrong):
                ways.append(_ALONE + best[index + 1][number])
                if number < count:
                    ways.append(wrong[index][number] + best[index + 1][number + 1])
            if number < count:
                ways.append(extra + best[index][number + 1])
            best[index][number] = min(ways, default=0)
    pairs: Pairs = []
    index = number = 0
    while index < len(wrong) or number < count:
        cost = best[index][number]
        if (
            index < len(wrong)
            and number < count
            and cost == wrong[index][number] + best[index + 1][number + 1]
        ):
            pairs.append((index, number))
            index, number = index + 1, number + 1
        elif index < len(wrong) and cost == _ALONE + best[index + 1][number]:
            pairs.append((index, None))
            index += 1
        else:
            pairs.append((None, number))
            number += 1
    return pairs


def _in_any_order(wrong: list[list[int]], count: int) -> Pairs:
    """Pair those that agree in everything, as many as can be (augmenting paths), then the most alike."""
    owner: dict[int, int] = {}

    def place(index: int, tried: set[int]) -> bool:
        for number in range(count):
            if wrong[index][number] or number in tried:
                continue
            tried.add(number)
            if number not in owner or place(owner[number], tried):
                owner[number] = index
                return True
        return False

    placed = {index for index in range(len(wrong)) if place(index, set())}
    partner = {index: number for number, index in owner.items()}
    for index in sorted(set(range(len(wrong))) - placed):
        left = [n for n in range(count) if n not in owner and wrong[index][n] < _NEVER]
        if left:
            partner[index] = number = min(left, key=lambda n: wrong[index][n])
            owner[number] = index
    alone: Pairs = [(None, number) for number in range(count) if number not in owner]
    return [*((index, partner.get(index)) for index in range(len(wrong))), *alone]


def _wanted_lines(wanted: Expected) -> list[str]:
    fields = wanted.fields
    marks = [str(fields[name]) for name in ("kind", "status", "scope", "seconds") if fields[name] is not None]
    name = wanted.name if isinstance(wanted.name, str) else _shown(wanted.name)
    inner = [f"{key} = {_shown(value)}" for key, value in fields["attributes"].items() if value is not None]
    for child in wanted.children:
        inner += _wanted_lines(child)
    return [" ".join([name, *(f"[{mark}]" for mark in marks)]), *(f"  {text}" for text in inner)]


def _lines(found: _Found, attributes: bool) -> list[Line]:
    status = ": ".join(filter(None, found.status)) if found.status[0] != "UNSET" else ""
    marks = [f"[{mark}]" for mark in (found.kind if found.kind != "INTERNAL" else "", status) if mark]
    inner = [f"{key} = {_shown(value)}" for key, value in found.attributes.items()] if attributes else []
    inner += [f"* {name}" for name, _ in found.events]
    for child in found.children:
        inner += [text for _, text in _lines(child, attributes)]
    return [("+", " ".join([found.name, *marks])), *(("+", f"  {text}") for text in inner)]
