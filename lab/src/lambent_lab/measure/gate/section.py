"""The `gate` section of a result file: its verdict, which rule decided, and every check. Pure.

The section follows from the rest of the file and the limits: whoever has both can judge again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lambent_lab.measure.gate import counts, decision
from lambent_lab.measure.gate.checks import decisive, gated, judged, verdict
from lambent_lab.measure.gate.config import as_json, looks_of
from lambent_lab.measure.gate.words import percent
from lambent_lab.measure.plan import BASELINE
from lambent_lab.measure.results import COLD

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lambent_lab.measure.gate.config import GateConfig
    from lambent_lab.measure.results import Results
    from lambent_lab.measure.results_gate import Check, GateSection, Grown, Look, Verdict


def section(
    results: Results,
    config: GateConfig,
    *,
    looks: Sequence[Look] = (),
    counts: Mapping[str, Mapping[str, float]] | None = None,
    history: Sequence[Check] = (),
) -> GateSection:
    """Judge a file's measurements. `counts` are those that are not in its samples, by side."""
    comparisons = len(gated(results, config))
    counted = _counted(results, counts or {})
    imports = _imports(results)
    checks = judged(results, config)
    # Of a base that failed not everything was counted: a repair is no growth.
    failed = any(check["rule"] == "failures" and check["subject"] == BASELINE for check in checks)
    checks += _count_checks(results, counted, config, judge=not failed)
    checks += history
    _name_culprit(checks, imports)
    outcome = verdict(checks)
    if results["interrupted"] and outcome == "PASS":
        outcome = "INCONCLUSIVE"  # not all that was asked has been looked at
    deciding = decisive(checks, outcome)
    return {
        "verdict": outcome,
        "reason": _reason(results, checks, deciding, outcome),
        "decided_by": None if deciding is None else checks.index(deciding),
        "max_regression": config.max_regression,
        "gated": comparisons,
        "confidence": decision.confidence_for(max(1, comparisons), config.looks()),
        "looks": [*looks],
        "checks": checks,
        "counts": counted,
        "imports": imports,
        "config": as_json(config),
    }


def undecided(found: GateSection) -> bool:
    """Whether more pairs may change the verdict from INCONCLUSIVE: something compared is still open."""
    return found["verdict"] == "INCONCLUSIVE" and not any(
        check["rule"] == "failures" for check in found["checks"]
    )


def only_cold_open(found: GateSection) -> bool:
    """Whether what is still open is about cold starts only, so that further pairs need nothing else."""
    subjects = {check["subject"] for check in found["checks"] if check["verdict"] == "INCONCLUSIVE"}
    return bool(subjects) and subjects <= COLD


def _counted(results: Results, taken: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for side in results["targets"]:
        tree = results["imports"].get(side)
        found[side] = {
            **({} if tree is None else {"modules": float(counts.modules(tree))}),
            **taken.get(side, {}),
            **counts.from_samples(results["samples"], side),
        }
    return found


def _count_checks(
    results: Results, counted: Mapping[str, Mapping[str, float]], config: GateConfig, *, judge: bool
) -> list[Check]:
    base = counted.get(BASELINE, {})
    other = results["targets"].get(BASELINE)
    untraced = other is not None and other["mode"] == "off"
    found: list[Check] = []
    for side, mine in counted.items():
        if side == BASELINE:
            continue
        # Tracing against no tracing: of course it loads and exports more.
        found += counts.compare(base, mine, config, growth_counts=judge and not untraced)
    return found


def _imports(results: Results) -> list[Grown]:
    trees = results["imports"]
    others = [side for side in trees if side != BASELINE]
    if BASELINE not in trees or not others:
        return []
    return counts.grown(trees[BASELINE], trees[others[0]])[:10]


def _name_culprit(checks: Sequence[Check], imports: Sequence[Grown]) -> None:
    said = counts.culprit(imports)
    for check in checks:
        cold = check["rule"] == "regression" and check["subject"] in {"cold_ms", "init_ms", "cold_cpu_ms"}
        if said and check["verdict"] == "FAIL" and (cold or check["subject"] == "modules"):
            check["culprit"] = said


def _reason(results: Results, checks: Sequence[Check], deciding: Check | None, outcome: Verdict) -> str:
    if results["interrupted"] and outcome == "INCONCLUSIVE":
        return "Interrupted: not everything was measured."
    if deciding is None:
        return results["error"] or "Nothing was measured that could be judged."
    text = " ".join(part for part in (deciding["text"], deciding.get("culprit", "")) if part)
    if outcome == "PASS":
        held = sum(1 for check in checks if check["verdict"] == "PASS")
        return f"All {held} checks hold; the closest comparison: {text}" if held > 1 else text
    return text


def error_text(found: GateSection) -> str:
    """How probable a wrong FAIL is at most, as a sentence."""
    config: Any = found["config"]
    looks = looks_of(config["pairs"], config["metrics"])
    chance = decision.chances(0.5, looks, found["confidence"]).fail * max(1, found["gated"])
    metrics = f"{found['gated']} gated metric{'s' if found['gated'] != 1 else ''}"
    asked = f"up to {len(looks)} looks" if len(looks) > 1 else "one look"
    return (
        f"With {metrics} and {asked}, the chance to fail a candidate that is slower by exactly "
        f"{percent(found['max_regression'])} is {percent(round(chance, 4))} at most."
    )
