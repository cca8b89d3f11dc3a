"""What a reader of the numbers must be told: failures, missing spans, an unfit machine. Pure.

A `failure` means that what was asked for was not measured (the run exits with 1); a `warning` says why a
number may be unstable or may not mean what it seems to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambent_lab.measure.results import Doubt, Metric, Results, Sample, SizeSummary, SpanCount

TOLERANCE = 0.05
"""An A/A ratio further than this from 1 makes the machine unfit for small effects (a gate's delta)."""

WIDE = 0.10
"""An interval of the ratio is called wide when it is wider than this and than half of the effect."""

_HEADLINE = {"cold_ms": "cold start", "warm_ms": "warm invocation"}


def doubts(results: Results) -> list[Doubt]:
    """All warnings about a run, failures first."""
    found = [
        *_errors(results["samples"]),
        *_problems(results["samples"]),
        *_load(results),
        *_box(results),
    ]
    for size in results["summary"]:
        found += _invocations(results, size)
        found += _spans(results, size)
        found += _stability(size)
    explained = results["interrupted"] or results["error"] is not None
    if not explained and not any(size["pairs"] for size in results["summary"]):
        found.append(_failure("no-pairs", "No pair was measured completely: there is nothing to compare."))
    return sorted(found, key=lambda warning: warning["severity"] != "failure")


def _failure(code: str, text: str, size: int | None = None) -> Doubt:
    return {"code": code, "severity": "failure", "memory_mb": size, "text": text}


def _warning(code: str, text: str, size: int | None = None) -> Doubt:
    return {"code": code, "severity": "warning", "memory_mb": size, "text": text}


def _errors(samples: Sequence[Sample]) -> list[Doubt]:
    broken = [sample for sample in samples if sample["error"] is not None]
    if not broken:
        return []
    text = f"{len(broken)} of {len(samples)} environments broke; the first: {broken[0]['error']}"
    return [_failure("environment", text)]


def _problems(samples: Sequence[Sample]) -> list[Doubt]:
    found = [each for sample in samples for i in sample["invocations"] for each in i.get("problems", [])]
    if not found:
        return []
    return [_warning("unreadable", f"Spans in the log could not be read, {len(found)} times: {found[0]}")]


def _load(results: Results) -> list[Doubt]:
    before, usable = results["load_before"], results["machine"]["cores_usable"]
    if before is None or before[0] <= usable / 2:
        return []
    text = (
        f"This result may be unstable: the load average was {before[0]:.1f} on {usable} cores before it "
        "began. Measure again on a quiet machine."
    )
    return [_warning("load", text)]


def _box(results: Results) -> list[Doubt]:
    box = results["box"]
    if box is None or not box["cannot"]:
        return []
    text = f"The box ({box['kind']}) cannot do everything on this machine: {'; '.join(box['cannot'])}."
    return [_warning("box", text)]


def _invocations(results: Results, size: SizeSummary) -> list[Doubt]:
    found: list[Doubt] = []
    sides: tuple[Literal["candidate", "baseline"], ...] = ("candidate", "baseline")
    for side in sides:
        counts = size[side]["invocations"]
        where = f"at {size['memory_mb']} MB ({results['targets'][side]['label']})"
        total = counts["cold"] + counts["warm"] + counts["failed"]
        if counts["failed"]:
            text = (
                f"{counts['failed']} of {total} invocations {where} failed: "
                f"{_first_error(results, size, side)} They are in no figure."
            )
            found.append(_failure("failed", text, size["memory_mb"]))
        if counts["unexpectedly_cold"]:
            text = (
                f"{counts['unexpectedly_cold']} invocations {where} were cold though a warm one was expected."
            )
            found.append(_warning("cold-again", text, size["memory_mb"]))
        first_warm = [
            sample["id"]
            for sample in results["samples"]
            if (sample["memory_mb"], sample["side"]) == (size["memory_mb"], side)
            and sample["invocations"]
            and not sample["invocations"][0]["cold"]
        ]
        if first_warm:
            text = f"{len(first_warm)} environments {where} were not new: they have no cold start."
            found.append(_warning("not-cold", text, size["memory_mb"]))
    return found


def _first_error(results: Results, size: SizeSummary, side: str) -> str:
    for sample in results["samples"]:
        if sample["memory_mb"] == size["memory_mb"] and sample["side"] == side:
            for invocation in sample["invocations"]:
                if invocation["error"]:
                    return f"{invocation['error'].rstrip('.')}."
    return "unknown."


def _spans(results: Results, size: SizeSummary) -> list[Doubt]:
    found: list[Doubt] = []
    candidate, baseline = size["candidate"]["spans"], size["baseline"]["spans"]
    where = f"at {size['memory_mb']} MB"
    switch = results["targets"]["baseline"]["switch"]
    turned_off = results["targets"]["baseline"]["label"] == "untraced"
    if candidate["invocations"]:
        if candidate["delivered"] == 0:
            text = (
                f"0 of {candidate['invocations']} invocations delivered a trace {where}: what was measured "
                "is not tracing. Is the handler decorated, an exporter set, OTEL_SDK_DISABLED unset?"
            )
            found.append(_failure("no-spans", text, size["memory_mb"]))
        elif not candidate["uniform"]:
            found.append(
                _warning("spans-vary", f"Spans differ between invocations {where}: {_spread(candidate)}.")
            )
        if 0 < candidate["without"] < candidate["invocations"]:
            text = (
                f"{candidate['without']} of {candidate['invocations']} invocations delivered no trace "
                f"{where}: they were sampled out, or their spans were lost."
            )
            found.append(_warning("spans-missing", text, size["memory_mb"]))
    if candidate.get("lost"):
        text = (
            f"{candidate['lost']} of {candidate.get('made')} spans that the function made were not received "
            f"{where}: what was measured is not all of tracing."
        )
        found.append(_failure("spans-lost", text, size["memory_mb"]))
    if turned_off and baseline["delivered"]:
        text = (
            f"The baseline delivered {baseline['delivered']} spans {where} although {switch} was set: "
            "its tracing was not off, and the difference is not the cost of tracing."
        )
        found.append(_failure("baseline-traced", text, size["memory_mb"]))
    return found


def _spread(spans: SpanCount) -> str:
    return ", ".join(f"{per} in {count}" for per, count in spans["per_invocation"].items())


def _stability(size: SizeSummary) -> list[Doubt]:
    found: list[Doubt] = []
    for name, word in _HEADLINE.items():
        metric = size["metrics"][name]
        where = f"{word} at {size['memory_mb']} MB"
        found += _wide(metric, where, size["memory_mb"])
        same = metric["aa_ratio"]
        if same is not None and abs(same["median"] - 1) > TOLERANCE:
            text = (
                f"This machine is noisy: the baseline against itself differed by {same['median'] - 1:+.1%} "
                f"({where}, {same['n']} A/A pairs)."
            )
            found.append(_warning("noise", text, size["memory_mb"]))
    return found


def _wide(metric: Metric, where: str, size: int) -> list[Doubt]:
    ratio = metric["ratio"]
    if ratio is None:
        return []
    if ratio["interval"] is None:
        text = f"No interval for the {where}: it takes 8 pairs, there are {ratio['n']} (--cold 8 or more)."
        return [_warning("few-pairs", text, size)]
    width = ratio["interval"]["high"] - ratio["interval"]["low"]
    if width <= max(WIDE, abs(ratio["median"] - 1) / 2):
        return []
    text = (
        f"The interval of the {where} is wide ({width:.0%} of the baseline): more pairs (--cold) narrow it."
    )
    return [_warning("wide", text, size)]
