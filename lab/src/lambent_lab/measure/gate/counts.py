"""Counts as hard gates (equal runs have equal counts), and the import that made a cold start slower. Pure.

Both from what was counted apart from what is timed: an import tree of one cold start a side, the bytes of its
exports, the size of its package, its system calls where a tracer of them is at hand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambent_lab.measure.gate.words import metric_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lambent_lab.measure.gate.config import GateConfig
    from lambent_lab.measure.results_gate import Check, Grown, Outcome
    from lambent_lab.measure.shape import ImportNode, Sample

MIN_CULPRIT_US = 500
"""An import that costs less than this more than on the base is not named: one cold start varies as much."""


def from_samples(samples: Sequence[Sample], side: str) -> dict[str, float]:
    """The spans an invocation that a side made, as far as it says, and those that were received."""
    found: dict[str, float] = {}
    mine = [
        invocation
        for sample in samples
        if sample["side"] == side
        for invocation in sample["invocations"]
        if invocation["counted_as"] != "failed"
    ]
    said = [each["spans_made"] for each in mine if "spans_made" in each]
    seen = [each["spans"] for each in mine if each["spans"] is not None]
    if said:
        found["spans-made"] = sum(said) / len(said)
    if seen:
        found["spans-delivered"] = sum(seen) / len(seen)
    return found


def modules(tree: ImportNode) -> int:
    """How many modules an import tree has, each once; its root stands for the process and is none."""
    return len({name for name, _, _ in _walk(tree)})


def compare(
    base: Mapping[str, float],
    candidate: Mapping[str, float],
    config: GateConfig,
    *,
    growth_counts: bool = True,
) -> list[Check]:
    """The checks of the counts that both sides have (an upper limit needs the candidate's alone).

    growth_counts: whether more than the base has is a fault.
    """
    found: list[Check] = []
    for name, count in candidate.items():
        growth, was = config.growth(name), base.get(name)
        if not count and not was:
            continue  # neither side has any of it
        allowed = growth.allowed(was) if was is not None and growth_counts else None
        limits = [limit for limit in (allowed, growth.most) if limit is not None]
        limit = min(limits) if limits else None
        verdict: Outcome = "INFO" if limit is None else "PASS" if count <= limit else "FAIL"
        text = f"The {metric_name(name)} of the candidate: {_number(count)}"
        if was is not None:
            text += f", of the base: {_number(was)}"
        if limit is not None:
            text += f"; up to {_number(int(limit) if limit >= 100 else limit)} are allowed"
        if verdict == "FAIL":
            text += f" (counts.{name} in [tool.lambent.gate])"
        check: Check = {
            "rule": "count",
            "subject": name,
            "memory_mb": None,
            "python": None,
            "verdict": verdict,
            "text": f"{text}.",
            "baseline": was,
            "candidate": count,
            "limit": limit,
        }
        found.append(check)
    return found


def grown(base: ImportNode, candidate: ImportNode) -> list[Grown]:
    """The imports that cost more than on the base, the most expensive first.

    A module that the base does not import counts with all that it brings, and what it brings is not named
    again; one that both import counts by itself.
    """
    known: dict[str, int] = {}
    for name, node, _ in _walk(base):
        known[name] = known.get(name, 0) + node["self_us"]
    found: list[Grown] = []
    _grow(candidate, "", known, found)
    return sorted(
        (each for each in found if each["more_us"] >= MIN_CULPRIT_US), key=lambda each: -each["more_us"]
    )


def _grow(node: ImportNode, parent: str, known: Mapping[str, int], found: list[Grown]) -> None:
    for child in node["children"]:
        name = child["name"]
        if name in known:
            found.append(
                {"name": name, "more_us": child["self_us"] - known[name], "new": False, "parent": parent}
            )
            _grow(child, name, known, found)
        else:
            found.append({"name": name, "more_us": _new(child, known, found), "new": True, "parent": parent})


def _new(node: ImportNode, known: Mapping[str, int], found: list[Grown]) -> int:
    """What a module and those it brings cost, without those that the base loads too (perhaps for another)."""
    total = node["self_us"]
    for child in node["children"]:
        if child["name"] in known:
            _grow({**node, "children": [child]}, node["name"], known, found)
        else:
            total += _new(child, known, found)
    return total


def _walk(node: ImportNode, parent: str = "") -> Iterator[tuple[str, ImportNode, str]]:
    for child in node["children"]:
        yield child["name"], child, parent
        yield from _walk(child, child["name"])


def culprit(found: Sequence[Grown]) -> str:
    """The import that made a cold start slower, as a sentence; empty when none stands out."""
    if not found:
        return ""
    first = found[0]
    by = f" (imported by {first['parent']})" if first["parent"] else ""
    what = "a module that the base does not load" if first["new"] else "which the base loads faster"
    text = f"The import of {first['name']}{by}, {what}, takes {first['more_us'] / 1000:.1f} ms"
    text += "." if first["new"] else " longer."
    much = [each for each in found[1:4] if each["more_us"] * 4 >= first["more_us"]]
    others = [f"{each['name']} {each['more_us'] / 1000:+.1f} ms" for each in much]
    return f"{text} Also: {', '.join(others)}." if others else text


def _number(count: float) -> str:
    return f"{count:,.0f}" if float(count).is_integer() else f"{count:,.4g}"
