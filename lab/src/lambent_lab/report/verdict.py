"""The first sentence: what it costs, with its interval, and whether what was paid for arrived.

Several cells come to one sentence per variant, with the smallest and the largest of their costs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambent_lab.report import words
from lambent_lab.report.places import label, pythons, sizes, variants

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambent_lab.measure.results import Figure, Results, SpanCount
    from lambent_lab.report.places import Place

SUBJECTS = {"cold_ms": "a cold start", "warm_ms": "a warm invocation"}


def sentence(results: Results, shown: Sequence[Place]) -> str:
    """What the shown cells come to; empty when they hold no comparison."""
    names = variants(shown)
    told = [
        (text, _where([place for place in shown if place.variant == name]))
        for name in names
        if (text := _variant(results, shown, name, alone=len(names) == 1))
    ]
    if not told:
        return ""
    # Where all of them were measured is said once, after the last.
    same = len({where for _, where in told}) == 1
    said = [text if same and i < len(told) else text + where for i, (text, where) in enumerate(told, 1)]
    return words.capital(
        f"{'; '.join(said)}; {delivered([place.cell['candidate']['spans'] for place in shown])}."
    )


def _variant(results: Results, shown: Sequence[Place], name: str, *, alone: bool) -> str:
    mine = [place for place in shown if place.variant == name]
    parts = []
    for key, thing in SUBJECTS.items():
        having = [d for place in mine if (d := place.difference(key)) is not None]
        if having:
            parts.append(effect(having[0], thing) if len(having) == 1 else _effects(having, thing))
    if not parts:
        return ""
    first = parts[0].partition(" ")[0]
    rest = [part.removeprefix(f"{first} ") if first == "adds" else part for part in parts[1:]]
    return f"{subject(label(results, name), alone=alone)} {words.listed([parts[0], *rest])}"


def subject(name: str, *, alone: bool = True) -> str:
    """The side that costs something, as the beginning of a sentence."""
    if name == "traced":
        return "tracing"
    return f"the {name}" if alone and name == "candidate" else name


def _where(mine: Sequence[Place]) -> str:
    memory, versions = sizes(mine), pythons(mine)
    if len(memory) == 1:
        said = f" at {memory[0]:,} MB"
    else:
        said = f" at {len(memory)} memory sizes ({memory[0]:,}\u2013{memory[-1]:,} MB)"
    if versions:
        said += f" with Python {words.listed(versions)}"
    return said


def effect(difference: Figure, thing: str) -> str:
    """What one comparison came to, as its interval allows to say it."""
    middle, interval = difference["median"], difference["interval"]
    if interval is None:
        number = words.signed(middle)
        return f"changes {thing} by {number} ms (median of {difference['n']}, too few for an interval)"
    low, high = interval["low"], interval["high"]
    if low <= 0 <= high:
        span = f"{words.signed(low)} to {words.signed(high)}"
        return f"changes {thing} by less than the noise ({words.signed(middle)} ms, {span})"
    if low > 0:
        return f"adds {words.number(middle)} ms ({words.between(low, high)}) to {thing}"
    return f"takes {words.number(-middle)} ms ({words.between(-high, -low)}) off {thing}"


def _effects(having: Sequence[Figure], thing: str) -> str:
    """What several comparisons came to: from the smallest to the largest."""
    ends = [figure["interval"] for figure in having]
    low, high = min(figure["median"] for figure in having), max(figure["median"] for figure in having)
    known = [end for end in ends if end is not None]
    if len(known) == len(ends) and all(end["low"] > 0 for end in known):
        return f"adds {words.between(low, high)} ms to {thing}"
    if len(known) == len(ends) and all(end["high"] < 0 for end in known):
        return f"takes {words.between(-high, -low)} ms off {thing}"
    if len(known) == len(ends) and all(end["low"] <= 0 <= end["high"] for end in known):
        return f"changes {thing} by less than the noise ({words.signed(low)} to {words.signed(high)} ms)"
    return f"changes {thing} by {words.signed(low)} to {words.signed(high)} ms"


def delivered(spans: Sequence[SpanCount]) -> str:
    """What arrived, over all the cells."""
    without = sum(each["without"] for each in spans)
    if not any(each["invocations"] for each in spans):
        return "whether spans arrived cannot be seen from here"
    invocations = sum(each["invocations"] for each in spans)
    arrived = sum(each["delivered"] for each in spans)
    made = [each.get("made") for each in spans]
    lost = sum(each.get("lost") or 0 for each in spans)
    known = None not in made
    if lost:
        total = sum(count or 0 for count in made)
        return f"{lost:,} of {total:,} spans did not arrive"
    if without == invocations:
        return "no spans were received"
    if without:
        return f"{without:,} of {invocations:,} invocations delivered no trace"
    if known:
        return f"all {arrived:,} spans arrived"
    return f"all {invocations:,} invocations delivered a trace, {arrived:,} spans in all"
