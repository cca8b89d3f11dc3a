"""From raw samples to the summary that reports print. Pure: the same samples give the same summary.

Only pairs whose two samples both have a value are compared. Each side's own median uses the samples of
those pairs too, so that the table's columns speak of the same environments; A/A samples are kept apart.
"""

from __future__ import annotations

import statistics
from collections import Counter
from typing import TYPE_CHECKING, Literal

from lambent_lab.measure import stats
from lambent_lab.measure.results import METRICS, OPTIONAL_METRICS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lambent_lab.measure.results import (
        Cell,
        Counts,
        Figure,
        InvocationRecord,
        Metric,
        PairValue,
        Percentiles,
        Phases,
        Sample,
        SideCounts,
        SpanCount,
    )

PHASES = (
    "init_ms",
    "handler_ms",
    "flush_ms",
    "extension_ms",
    "cold_handler_ms",
    "cold_flush_ms",
    "cold_extension_ms",
)
"""The phases of a cell, as keys of a sample's values."""


_MEMORY = frozenset({"memory_mb", "peak_rss_mb", "page_cache_mb"})
_STEPWISE: dict[str, Literal["duration_ms", "cpu_ms"]] = {"warm_ms": "duration_ms", "warm_cpu_ms": "cpu_ms"}


def figure(values: Sequence[float]) -> Figure | None:
    """The median of the values with n and its 99% interval; None of nothing."""
    middle = stats.median(values)
    if middle is None:
        return None
    interval = stats.median_interval(values)
    return {
        "n": len(values),
        "median": middle,
        "interval": None
        if interval is None
        else {
            "low": interval.low,
            "high": interval.high,
            "confidence": interval.confidence,
            "coverage": interval.coverage,
        },
    }


def couples(samples: Iterable[Sample]) -> list[tuple[Sample, Sample]]:
    """The pairs among complete samples of one cell and kind, in their order: (candidate, baseline), or for
    A/A (second, first).
    """
    waiting: dict[int, Sample] = {}
    found: list[tuple[Sample, Sample]] = []
    for sample in samples:
        number = sample["pair"]
        if number is None or not sample["complete"]:
            continue
        other = waiting.pop(number, None)
        if other is None:
            waiting[number] = sample
        elif sample["side"] == "baseline" and other["side"] != "baseline":
            found.append((other, sample))
        else:
            found.append((sample, other))
    return found


def cells(samples: Sequence[Sample]) -> list[tuple[int, str | None, str]]:
    """The (memory size, Python, variant) that were measured, the variants in the order in which they first
    ran.
    """
    order: dict[str, int] = {}
    for sample in samples:
        order.setdefault(sample["side"], len(order))
    found = {
        (sample["memory_mb"], sample["python"], sample["side"])
        for sample in samples
        if sample["kind"] == "ab" and sample["side"] != "baseline"
    }
    return sorted(found, key=lambda cell: (cell[0], _version(cell[1]), order[cell[2]]))


def _version(python: str | None) -> tuple[tuple[int, ...], str]:
    """Versions in the order of their numbers: 3.9 before 3.12."""
    text = python or ""
    numbers = tuple(int(part) for part in text.split(".") if part.isdigit())
    return numbers, text


def pair_values(pairs: Iterable[tuple[Sample, Sample]], name: str) -> list[PairValue]:
    """The differences and ratios of the pairs that have this value on both sides."""
    pairs = [(upper, lower) for upper, lower in pairs if name in upper["values"] and name in lower["values"]]
    if name in _MEMORY and pairs:
        # Of environments that ran as long: what only starts takes less.
        longest = max(_ran(pair) for pair in pairs)
        pairs = [pair for pair in pairs if _ran(pair) == longest]
    found: list[PairValue] = []
    for upper, lower in pairs:
        candidate, baseline = upper["values"][name], lower["values"][name]
        steps = _steps(upper, lower, name) or [(candidate, baseline)]
        value: PairValue = {
            "pair": lower["pair"] if lower["pair"] is not None else -1,
            "candidate": candidate,
            "baseline": baseline,
            "difference": statistics.median(above - below for above, below in steps),
        }
        if baseline > 0 and all(below > 0 for _, below in steps):
            value["ratio"] = statistics.median(above / below for above, below in steps)
        found.append(value)
    return found


def _ran(pair: tuple[Sample, Sample]) -> int:
    return min(len(sample["invocations"]) for sample in pair)


def _steps(upper: Sample, lower: Sample, name: str) -> list[tuple[float, float]]:
    """The warm invocations of two samples that ran next to each other, where they took turns.

    The machine's speed changes within a tenth of a second by more than there is to find, and hits both alike.
    """
    field = _STEPWISE.get(name)
    if field is None or not (upper.get("alternating") and lower.get("alternating")):
        return []
    warm: list[dict[int, float]] = []
    for sample in (upper, lower):
        mine = [each for each in sample["invocations"] if each["counted_as"] == "warm"]
        known = [(each["index"], each[field]) for each in mine]
        warm.append({index: value for index, value in known if value is not None})
    above, below = warm
    return [(above[index], below[index]) for index in above if index in below]


def metric(name: str, ab: Sequence[tuple[Sample, Sample]], aa: Sequence[tuple[Sample, Sample]]) -> Metric:
    """One quantity over the pairs of one cell."""
    compared = pair_values(ab, name)
    same = pair_values(aa, name)
    flagged: list[int] = []
    for position in (0, 1):
        having = [pair[position] for pair in ab if name in pair[position]["values"]]
        flagged += [having[i]["id"] for i in stats.outliers([sample["values"][name] for sample in having])]
    return {
        "unit": METRICS[name][1],
        "candidate": figure([value["candidate"] for value in compared]),
        "baseline": figure([value["baseline"] for value in compared]),
        "difference": figure([value["difference"] for value in compared]),
        "ratio": figure([value["ratio"] for value in compared if "ratio" in value]),
        "pairs": compared,
        "aa_difference": figure([value["difference"] for value in same]),
        "aa_ratio": figure([value["ratio"] for value in same if "ratio" in value]),
        "outliers": sorted(flagged),
    }


def span_count(invocations: Sequence[InvocationRecord]) -> SpanCount:
    """The spans delivered by the successful ones of these invocations."""
    seen = [(i, i["spans"]) for i in invocations if i["counted_as"] != "failed"]
    known = [(invocation, spans) for invocation, spans in seen if spans is not None]
    counted = [spans for _, spans in known]
    per = Counter(counted)
    said = [(invocation["spans_made"], spans) for invocation, spans in known if "spans_made" in invocation]
    return {
        "invocations": len(counted),
        "made": sum(made for made, _ in said) if said else None,
        "lost": sum(max(0, made - received) for made, received in said) if said else None,
        "delivered": sum(counted),
        "without": per.get(0, 0),
        "per_invocation": {str(spans): per[spans] for spans in sorted(per)},
        "uniform": len(per) <= 1,
    }


def side_counts(samples: Sequence[Sample], side: str) -> SideCounts:
    """What one side's samples (of blocks, not of A/A pairs; complete or not) ran and delivered."""
    mine = [sample for sample in samples if sample["side"] == side]
    invocations = [invocation for sample in mine for invocation in sample["invocations"]]
    by_class = Counter(invocation["counted_as"] for invocation in invocations)
    warm = [i["duration_ms"] for i in invocations if i["counted_as"] == "warm"]
    percentiles: Percentiles = {
        "n": len(warm),
        "p50": stats.percentile(warm, 50),
        "p95": stats.percentile(warm, 95),
        "p99": stats.percentile(warm, 99),
    }
    return {
        "invocations": {
            "samples": len(mine),
            "cold": by_class["cold"],
            "warm": by_class["warm"],
            "failed": by_class["failed"],
            "unexpectedly_cold": sum(1 for i in invocations if i["index"] > 0 and i["cold"]),
            "failed_durations_ms": [i["duration_ms"] for i in invocations if i["counted_as"] == "failed"],
        },
        "spans": span_count(invocations),
        "warm_percentiles": percentiles,
    }


def phases(samples: Iterable[Sample]) -> Phases:
    """Where the time of these samples goes."""
    complete = [sample["values"] for sample in samples if sample["complete"]]

    def over(name: str) -> Figure | None:
        return figure([values[name] for values in complete if name in values])

    return {
        "init_ms": over("init_ms"),
        "handler_ms": over("handler_ms"),
        "flush_ms": over("flush_ms"),
        "extension_ms": over("extension_ms"),
        "cold_handler_ms": over("cold_handler_ms"),
        "cold_flush_ms": over("cold_flush_ms"),
        "cold_extension_ms": over("cold_extension_ms"),
    }


def summarize(samples: Sequence[Sample]) -> list[Cell]:
    """The summary of every cell that has samples: by memory size, Python and variant."""
    return [_cell(samples, *place) for place in cells(samples)]


def _of_cell(samples: Iterable[Sample], memory_mb: int, python: str | None, variant: str) -> list[Sample]:
    """The samples of a cell's two sides, A/A pairs left out."""
    place, sides = (memory_mb, python), {variant, "baseline"}
    return [
        sample
        for sample in samples
        if sample["kind"] == "ab"
        and sample["side"] in sides
        and (sample["memory_mb"], sample["python"]) == place
    ]


def _cell(samples: Sequence[Sample], memory_mb: int, python: str | None, variant: str) -> Cell:
    ab = _of_cell(samples, memory_mb, python, variant)
    place = (memory_mb, python)
    aa = [each for each in samples if each["kind"] == "aa" and (each["memory_mb"], each["python"]) == place]
    ab_pairs, aa_pairs = couples(ab), couples(aa)
    measured = {name for sample in (*ab, *aa) for name in sample["values"]}
    return {
        "memory_mb": memory_mb,
        "python": python,
        "variant": variant,
        "pairs": len(ab_pairs),
        "aa_pairs": len(aa_pairs),
        "metrics": {
            name: metric(name, ab_pairs, aa_pairs)
            for name in METRICS
            if name not in OPTIONAL_METRICS or name in measured
        },
        "candidate": side_counts(ab, variant),
        "baseline": side_counts(ab, "baseline"),
        "phases": {
            side: phases([sample for sample in ab if sample["side"] == side])
            for side in (variant, "baseline")
        },
    }


def count(samples: Sequence[Sample]) -> Counts:
    """What was run in all, preflight included."""
    compared = 0
    compared = sum(len(couples(_of_cell(samples, *cell))) for cell in cells(samples))
    again = len(couples(sample for sample in samples if sample["kind"] == "aa"))
    invocations = [invocation for sample in samples for invocation in sample["invocations"]]
    return {
        "samples": len(samples),
        "pairs": compared,
        "aa_pairs": again,
        "invocations": len(invocations),
        "failed": sum(1 for invocation in invocations if invocation["counted_as"] == "failed"),
    }
