"""From a result file to the checks of a gate: each rule, what it looked at, and its verdict. Pure.

Rules
- Failures come first. A candidate of which an invocation failed has no speed: the check FAILs and the cell's
  times are not judged. A base that failed leaves nothing to compare with: INCONCLUSIVE.
- Limits on medians (a cold start in ms, memory on top of the base) look at the median's 99% interval: all
  of it above FAILs, none of it above passes, neither is INCONCLUSIVE. Limits on counts and shares are exact.
- A WARN does not change the verdict, and an INFO judges nothing.
- Spans: those the candidate made and that were not received FAIL; so do invocations without any in a run
  whose others have some, and fewer spans an invocation than the base's when those are always the same number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambent_lab.measure import stats
from lambent_lab.measure.gate import decision
from lambent_lab.measure.gate.words import (
    amount,
    change,
    metric_name,
    of_limit,
    percent,
    place,
    quoted,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lambent_lab.measure.gate.config import GateConfig
    from lambent_lab.measure.results_gate import Check, Outcome, Verdict
    from lambent_lab.measure.shape import Cell, Figure, IntervalInfo, Results, Sample


def gated(results: Results, config: GateConfig) -> list[tuple[Cell, str]]:
    """The metrics to compare, by cell: those asked for, or the usual ones that were measured.

    Whether a target measures a thing at all, not how large it was, decides this: alpha may be divided by it.
    """
    return [
        (cell, name)
        for cell in results["summary"]
        for name in config.metric_names()
        if config.metrics is not None or _pairs(cell, name)
    ]


def judged(results: Results, config: GateConfig) -> list[Check]:
    """All checks of a file that pairs and invocations allow, in the order in which they are told."""
    checks = failures(results)
    silent = {(check["memory_mb"], check["python"]) for check in checks}
    everywhere = any(check["memory_mb"] is None for check in checks)
    several = len({cell["python"] for cell in results["summary"]}) > 1
    pairs = gated(results, config)
    confidence = decision.confidence_for(max(1, len(pairs)), config.looks())
    for cell in results["summary"]:
        checks += _success(cell, config, several=several)
        checks += _spans(results, cell, config, several=several)
        if everywhere or (cell["memory_mb"], cell["python"]) in silent:
            continue
        for name in (name for each, name in pairs if each is cell):
            checks.append(_regression(cell, name, config, confidence, several=several))
        checks += _limits(cell, config, several=several)
    return checks


def failures(results: Results) -> list[Check]:
    """What failed, by side and cell; an environment that broke, which is no fault of either side."""
    found: list[Check] = []
    cells = sorted({(s["memory_mb"], s["python"]) for s in results["samples"]}, key=str)
    several = len({python for _, python in cells}) > 1
    for size, python in cells:
        mine = [s for s in results["samples"] if (s["memory_mb"], s["python"]) == (size, python)]
        where = place(size, python if several else None)
        for side in sorted({sample["side"] for sample in mine}, key=lambda name: name == "baseline"):
            check = _failed([s for s in mine if s["side"] == side], side, where)
            if check is not None:
                found.append({**check, "memory_mb": size, "python": python})
    if results["error"] is not None and not found:
        text = f"Not everything was measured: {results['error']}"
        found.append(_check("failures", "run", None, "INCONCLUSIVE", text))
    return found


def _failed(samples: Sequence[Sample], side: str, where: str) -> Check | None:
    invocations = [invocation for sample in samples for invocation in sample["invocations"]]
    failed = [each for each in invocations if each["counted_as"] == "failed"]
    broken = [sample["error"] for sample in samples if sample["error"] is not None]
    who = "base" if side == "baseline" else "candidate"
    if failed:
        reason = quoted(failed[0]["error"] or failed[0]["status"])
        verdict: Outcome = "INCONCLUSIVE" if side == "baseline" else "FAIL"
        text = (
            f"{len(failed)} of {len(invocations)} invocations of the {who} {where} failed: {reason} "
            f"{'There is nothing to compare with.' if side == 'baseline' else 'It has no speed.'}"
        )
        return _check("failures", side, None, verdict, text)
    if broken:
        text = f"{len(broken)} environments of the {who} {where} broke; the first: {quoted(broken[0])}"
        return _check("failures", side, None, "INCONCLUSIVE", text)
    return None


def _regression(cell: Cell, name: str, config: GateConfig, confidence: float, *, several: bool) -> Check:
    metric = cell["metrics"].get(name)
    title = f"{metric_name(name)} {_at(cell, several=several)}"
    check = _check("regression", name, cell, "INCONCLUSIVE", f"The {title} was not measured on both sides.")
    if metric is None or not metric["pairs"]:
        return check
    ratios = [pair["ratio"] for pair in metric["pairs"] if pair.get("ratio", 0) > 0]
    decided = decision.decide(
        ratios,
        [] if metric["aa_ratio"] is None else [metric["aa_ratio"]["median"]],
        max_regression=config.max_regression,
        confidence=confidence,
    )
    check["verdict"] = decided.verdict
    check["unit"], check["limit"] = metric["unit"], decided.limit
    check["baseline"] = stats.median([pair["baseline"] for pair in metric["pairs"]])
    check["candidate"] = stats.median([pair["candidate"] for pair in metric["pairs"]])
    check["ratio"] = _figure(decided)
    check["aa_ratio"] = metric["aa_ratio"]
    check["text"] = _said(title, decided, metric["aa_ratio"])
    return check


def _said(title: str, decided: decision.Decision, same: Figure | None) -> str:
    if decided.ratio is None:
        return f"The {title} was 0 on the base: it has no ratio."
    if decided.fit is False and same is not None:
        return (
            f"This machine is unfit to judge the {title}: the base differed from itself by a "
            f"factor of {max(same['median'], 1 / same['median']):.3f} (median of {same['n']} A/A pairs), "
            "more than is to be told. Measure on a quiet machine, or compare CPU time (--metric warm-cpu)."
        )
    if decided.interval is None:
        return f"The {title} has {decided.n} pairs, too few for an interval (ratio {decided.ratio:.3f})."
    low, high = decided.interval.low, decided.interval.high
    measured = (
        f"The candidate's {title} is {change(decided.ratio, words=True)} "
        f"({change(low)} to {change(high)}, {percent(decided.interval.confidence)} interval, "
        f"{decided.n} pairs)"
    )
    allowed = of_limit(decided.limit)
    return {
        "FAIL": f"{measured}; all of the interval is above {allowed}.",
        "PASS": f"{measured}; none of the interval is above {allowed}.",
        "INCONCLUSIVE": f"{measured}; {allowed} lies within the interval.",
    }[decided.verdict]


def _limits(cell: Cell, config: GateConfig, *, several: bool) -> list[Check]:
    found: list[Check] = []
    at = _at(cell, several=several)
    for name, most, warn in (
        ("cold_ms", config.cold_max_ms, config.cold_warn_ms),
        ("warm_ms", config.warm_max_ms, config.warm_warn_ms),
    ):
        metric = cell["metrics"].get(name)
        if metric is None or metric["candidate"] is None:
            continue
        limited: list[tuple[float, Outcome]] = [(most, "FAIL")] if most is not None else []
        if warn is not None:
            limited.append((warn, "WARN"))
        for limit, worst in limited:
            check = _check("limit", name, cell, "INFO", "")
            title = f"candidate's {metric_name(name)} {at}"
            found.append(_limit(check, metric["candidate"], limit, worst, title, "ms"))
    memory = cell["metrics"].get("memory_mb")
    if config.memory_overhead_max_mb is not None and memory is not None and memory["difference"] is not None:
        title = f"candidate's memory {at} on top of the base's"
        check = _check("overhead", "memory_mb", cell, "INFO", "")
        found.append(_limit(check, memory["difference"], config.memory_overhead_max_mb, "FAIL", title, "MB"))
    return found


def _limit(check: Check, figure: Figure, limit: float, worst: Outcome, title: str, unit: str) -> Check:
    """One figure against one absolute limit; `worst`: what a figure above it comes to."""
    interval = figure["interval"]
    value = amount(figure["median"], unit)
    if interval is None:
        outcome: Outcome = "PASS" if figure["median"] <= limit else "INCONCLUSIVE"
        text = (
            f"The {title} is {value} ({figure['n']} pairs, no interval); {amount(limit, unit)} are allowed."
        )
    else:
        verdict = decision.judge(
            stats.Interval(interval["low"], interval["high"], interval["confidence"], interval["coverage"]),
            limit,
        )
        outcome = worst if verdict == "FAIL" else verdict
        relation = {"FAIL": "above", "PASS": "within", "INCONCLUSIVE": "astride"}[verdict]
        text = (
            f"The {title} is {value} ({amount(interval['low'], unit)} to {amount(interval['high'], unit)}), "
            f"{relation} the {amount(limit, unit)} "
            f"{'at which a warning is due' if worst == 'WARN' else 'that are allowed'}."
        )
    if worst == "WARN" and outcome == "INCONCLUSIVE":
        outcome = "PASS"
    check["verdict"], check["text"] = outcome, text
    check["unit"], check["candidate"], check["limit"] = unit, figure["median"], limit
    return check


def _success(cell: Cell, config: GateConfig, *, several: bool) -> list[Check]:
    counts = cell["candidate"]["invocations"]
    total = counts["cold"] + counts["warm"] + counts["failed"]
    if config.success_min is None or not total:
        return []
    rate = (total - counts["failed"]) / total
    verdict: Outcome = "PASS" if rate >= config.success_min else "FAIL"
    text = (
        f"{total - counts['failed']} of {total} invocations of the candidate {_at(cell, several=several)} "
        f"succeeded ({percent(rate)}); {percent(config.success_min)} must."
    )
    check = _check("success", "success", cell, verdict, text)
    check["candidate"], check["limit"] = rate, config.success_min
    return [check]


def _spans(results: Results, cell: Cell, config: GateConfig, *, several: bool) -> list[Check]:
    at = _at(cell, several=several)
    mine, base = cell["candidate"]["spans"], cell["baseline"]["spans"]
    found: list[Check] = []
    lost, made = mine.get("lost"), mine.get("made")
    if lost is not None and config.spans_lost_max is not None:
        verdict: Outcome = "PASS" if lost <= config.spans_lost_max else "FAIL"
        text = f"{lost:,} of {made:,} spans that the candidate made {at} were not received."
        check = _check("spans-lost", "spans-delivered", cell, verdict, text)
        check["candidate"], check["limit"] = lost, config.spans_lost_max
        found.append(check)
    if not mine["invocations"] or not mine["delivered"]:
        if base["delivered"] and not _untraced(results, cell["variant"]):
            text = f"The candidate delivered no span {at}; the base delivered {base['delivered']:,}."
            check = _check("spans-delivered", "spans-delivered", cell, "FAIL", text)
            check["candidate"] = 0
            check["baseline"] = check["limit"] = base["delivered"] / base["invocations"]
            found.append(check)
        return found
    if config.spans_missing_max is not None:
        verdict = "PASS" if mine["without"] <= config.spans_missing_max else "FAIL"
        text = (
            f"{mine['without']:,} of {mine['invocations']:,} invocations of the candidate {at} "
            "delivered no trace."
        )
        if verdict == "FAIL":
            text += " If they are sampled out on purpose, set spans-missing-max = false."
        check = _check("spans-missing", "spans-delivered", cell, verdict, text)
        check["candidate"], check["limit"] = mine["without"], config.spans_missing_max
        found.append(check)
    if base["delivered"] and base["uniform"]:
        each, was = mine["delivered"] / mine["invocations"], base["delivered"] / base["invocations"]
        if each < was and config.growth("spans-delivered").share is not None:
            text = (
                f"The candidate delivered {each:.4g} span{'s' * (each != 1)} an invocation {at}, the base "
                f"always {was:.4g}. "
                "If that is meant, set counts.spans-delivered = false."
            )
            check = _check("spans-delivered", "spans-delivered", cell, "FAIL", text)
            check["candidate"], check["baseline"], check["limit"] = each, was, was
            found.append(check)
    return found


def _untraced(results: Results, side: str) -> bool:
    info = results["targets"].get(side)
    return info is not None and info.get("mode") == "off"


def _pairs(cell: Cell, name: str) -> bool:
    metric = cell["metrics"].get(name)
    return metric is not None and bool(metric["pairs"])


def _at(cell: Cell, *, several: bool) -> str:
    return place(cell["memory_mb"], cell["python"] if several else None)


def _check(rule: str, subject: str, cell: Cell | None, verdict: Outcome, text: str) -> Check:
    return {
        "rule": rule,
        "subject": subject,
        "memory_mb": None if cell is None else cell["memory_mb"],
        "python": None if cell is None else cell["python"],
        "verdict": verdict,
        "text": text,
    }


def _figure(decided: decision.Decision) -> Figure | None:
    if decided.ratio is None:
        return None
    interval: IntervalInfo | None = None
    if decided.interval is not None:
        low, high = decided.interval.low, decided.interval.high
        interval = {
            "low": low,
            "high": high,
            "confidence": decided.interval.confidence,
            "coverage": decided.interval.coverage,
        }
    return {"n": decided.n, "median": decided.ratio, "interval": interval}


def verdict(checks: Iterable[Check]) -> Verdict:
    """The gate's verdict: FAIL before INCONCLUSIVE before PASS, and PASS only when something was judged."""
    outcomes: list[Verdict] = [
        check["verdict"] for check in checks if check["verdict"] in {"PASS", "FAIL", "INCONCLUSIVE"}
    ]
    return decision.overall(outcomes)


def decisive(checks: Sequence[Check], outcome: Verdict) -> Check | None:
    """The check that decided: the first with the verdict, and of a PASS the comparison that was closest."""
    with_it = [check for check in checks if check["verdict"] == outcome]
    if outcome != "PASS":
        return with_it[0] if with_it else None
    compared = [check for check in with_it if check["rule"] == "regression"]
    return max(compared, key=_closeness, default=with_it[0] if with_it else None)


def _closeness(check: Check) -> float:
    ratio = check.get("ratio")
    return ratio["interval"]["high"] if ratio and ratio["interval"] else 0.0
