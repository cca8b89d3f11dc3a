"""From raw samples to the summary that reports print. Pure: the same samples give the same summary.

Only pairs whose two samples both have a value are compared. Each side's own median uses the samples of
those pairs too, so that the table's columns speak of the same environments; A/A samples are kept apart.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from lambent_lab.measure import stats
from lambent_lab.measure.results import METRICS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Literal

    from lambent_lab.measure.results import (
        Counts,
        Figure,
        InvocationRecord,
        Metric,
        PairValue,
        Percentiles,
        Sample,
        SideCounts,
        SizeSummary,
        SpanCount,
    )


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
    """The pairs among complete samples of one kind, in their order: (candidate, baseline), or for A/A
    (first, second).
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
        elif sample["side"] == "candidate":
            found.append((sample, other))
        else:
            found.append((other, sample))
    return found


def pair_values(pairs: Iterable[tuple[Sample, Sample]], name: str) -> list[PairValue]:
    """The differences and ratios of the pairs that have this value on both sides."""
    found: list[PairValue] = []
    for upper, lower in pairs:
        if name not in upper["values"] or name not in lower["values"]:
            continue
        candidate, baseline = upper["values"][name], lower["values"][name]
        value: PairValue = {
            "pair": lower["pair"] if lower["pair"] is not None else -1,
            "candidate": candidate,
            "baseline": baseline,
            "difference": candidate - baseline,
        }
        if baseline > 0:
            value["ratio"] = candidate / baseline
        found.append(value)
    return found


def metric(name: str, ab: Sequence[tuple[Sample, Sample]], aa: Sequence[tuple[Sample, Sample]]) -> Metric:
    """One quantity over the pairs of one memory size."""
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
    successful = [invocation for invocation in invocations if invocation["counted_as"] != "failed"]
    counted = [invocation["spans"] for invocation in successful]
    per = Counter(counted)
    said = [(i["spans_made"], i["spans"]) for i in successful if "spans_made" in i]
    return {
        "invocations": len(counted),
        "made": sum(made for made, _ in said) if said else None,
        "lost": sum(max(0, made - received) for made, received in said) if said else None,
        "delivered": sum(counted),
        "without": per.get(0, 0),
        "per_invocation": {str(spans): per[spans] for spans in sorted(per)},
        "uniform": len(per) <= 1,
    }


def side_counts(samples: Sequence[Sample], side: Literal["candidate", "baseline"]) -> SideCounts:
    """What one side's samples (of A/B pairs, complete or not) ran and delivered."""
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


def summarize(samples: Sequence[Sample]) -> list[SizeSummary]:
    """The summary of every memory size that has samples, smallest first."""
    measured = [sample for sample in samples if sample["kind"] != "preflight"]
    found: list[SizeSummary] = []
    for size in sorted({sample["memory_mb"] for sample in measured}):
        ab = [sample for sample in measured if sample["memory_mb"] == size and sample["kind"] == "ab"]
        aa = [sample for sample in measured if sample["memory_mb"] == size and sample["kind"] == "aa"]
        ab_pairs, aa_pairs = couples(ab), couples(aa)
        found.append(
            {
                "memory_mb": size,
                "pairs": len(ab_pairs),
                "aa_pairs": len(aa_pairs),
                "metrics": {name: metric(name, ab_pairs, aa_pairs) for name in METRICS},
                "candidate": side_counts(ab, "candidate"),
                "baseline": side_counts(ab, "baseline"),
            }
        )
    return found


def count(samples: Sequence[Sample]) -> Counts:
    """What was run in all, preflight included."""
    kinds = {kind: [sample for sample in samples if sample["kind"] == kind] for kind in ("ab", "aa")}
    invocations = [invocation for sample in samples for invocation in sample["invocations"]]
    return {
        "samples": len(samples),
        "pairs": len(couples(kinds["ab"])),
        "aa_pairs": len(couples(kinds["aa"])),
        "invocations": len(invocations),
        "failed": sum(1 for invocation in invocations if invocation["counted_as"] == "failed"),
    }
