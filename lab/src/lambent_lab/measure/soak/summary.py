"""From the blocks of a soak to trends, differences and sentences. Pure."""

from __future__ import annotations

import itertools
import math
import statistics
from typing import TYPE_CHECKING, Any, Protocol, cast

from lambent_lab.measure.accounting import incomplete
from lambent_lab.measure.remarks import Remarks, target_info
from lambent_lab.measure.results import no_sections
from lambent_lab.measure.soak.trends import SKIPPED, trend
from lambent_lab.measure.soak.words import conclude
from lambent_lab.measure.summary import figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lambent_lab.measure.accounting import SpanCounter
    from lambent_lab.measure.load.latency import Latencies
    from lambent_lab.measure.results import Doubt, Header, Results
    from lambent_lab.measure.results_load import (
        Growth,
        SoakBlock,
        SoakDifference,
        SoakSection,
        SoakSide,
        Trend,
    )
    from lambent_lab.measure.soak.running import Soak

VALUES = {
    "rss_mb": "MB",
    "peak_rss_mb": "MB",
    "high_water_mb": "MB",
    "cpu_ms": "ms",
    "duration_ms": "ms",
}
"""The values of a block that have a trend and a difference, and their units."""

_DRIFT = 0.05
"""How much of their median durations and CPU may change over a soak before they are said to grow."""

SETTLING_MB = 2.0
"""How much a process may fill up while it settles, after the first fifth, without being said to grow: more
than twice what was seen of functions that keep nothing.
"""

_MB = 2**20


class Measured(Protocol):
    """What a soak has measured."""

    blocks: list[SoakBlock]
    durations: dict[str, Latencies]
    spans: dict[str, SpanCounter]
    errors: dict[str, str]


def summarize(soak: Soak, study: Measured, head: Header) -> Results:
    """The result file's content."""
    sides = {side: _side(soak, study, side) for side in soak.targets}
    differences = {name: _difference(soak, sides, name) for name in VALUES}
    if any(side["failed"] for side in sides.values()):
        for name in ("cpu_ms", "duration_ms"):  # what fails has no speed
            differences[name] |= {"baseline": None, "candidate": None, "difference": None, "ratio": None}
    done = sum(side["invocations"] for side in sides.values())
    section: SoakSection = {
        "headline": "",
        "conclusion": [],
        "invocations": soak.invocations,
        "done": done,
        "blocks": len(soak.sizes),
        "memory_mb": soak.memory_mb,
        "freeze": soak.freeze,
        "seed": soak.seed,
        "sides": sides,
        "differences": differences,
        "memory_verdict": memory_verdict(sides, differences),
    }
    section["headline"], section["conclusion"] = conclude(section)
    sections = no_sections()
    sections["settings"] = {
        **sections["settings"],
        "memory_mb": [soak.memory_mb],
        "timeout_s": soak.timeout_s,
        "event": soak.event_name,
        "otlp": soak.otlp,
    }
    sections["counts"] |= {
        "invocations": done,
        "failed": sum(side["failed"] for side in sides.values()),
    }
    content = {
        **head,
        **sections,
        "seed": soak.seed,
        "targets": {side: target_info(target) for side, target in soak.targets.items()},
        "warnings": _doubts(soak, section, study, head),
        "soak": section,
    }
    return cast("Results", content)


def _side(soak: Soak, study: Measured, side: str) -> SoakSide:
    mine = [block for block in study.blocks if block["side"] == side]
    at = [block["first"] + block["n"] / 2 for block in mine]
    process = _environments(mine)
    cold = sum(block["cold"] for block in mine)
    found: SoakSide = {
        "label": soak.targets[side].label,
        "invocations": sum(block["n"] for block in mine),
        "failed": sum(block["failed"] for block in mine),
        "cold": cold,
        "environments": cold,
        "blocks": mine,
        "trends": {
            name: _trend(soak, at, [_value(block, name) for block in mine], name, process) for name in VALUES
        },
        "durations": study.durations[side].describe(),
        "spans": study.spans[side].totals(),
    }
    if side in study.errors:
        found["first_error"] = study.errors[side]
    return found


def _environments(blocks: Sequence[SoakBlock]) -> list[int]:
    """The number of the environment that each block ended in."""
    return [*itertools.accumulate(block["cold"] for block in blocks)]


def _value(block: SoakBlock, name: str) -> float | None:
    return cast("dict[str, Any]", block)[name]  # type: ignore[no-any-return]  # a number or None by its name


def _trend(
    soak: Soak,
    at: Sequence[float],
    values: Sequence[float | None],
    name: str,
    process: Sequence[object],
    usual: float | None = None,
) -> Trend:
    if VALUES[name] == "MB":
        return trend(at, values, "MB", soak.max_growth * 1000 / _MB, SETTLING_MB, process)
    known = [value for value in values if value is not None]
    middle = usual if usual is not None else statistics.median(known) if known else None
    allowed = None if middle is None else _DRIFT * middle / soak.invocations * 1000
    return trend(at, values, VALUES[name], allowed, process=process)


def _difference(soak: Soak, sides: Mapping[str, SoakSide], name: str) -> SoakDifference:
    """Candidate less baseline, pair of blocks by pair; the first fifth is left out, as of trends."""
    other = sides["baseline"]["blocks"]
    by_number = {
        block["number"]: (block, process) for block, process in zip(other, _environments(other), strict=True)
    }
    found: list[tuple[float, float, float]] = []
    processes: list[object] = []
    mine = sides["candidate"]["blocks"]
    for block, process in zip(mine, _environments(mine), strict=True):
        beside = by_number.get(block["number"])
        candidate = _value(block, name)
        baseline = None if beside is None else _value(beside[0], name)
        if beside is not None and candidate is not None and baseline is not None:
            found.append((block["first"] + block["n"] / 2, candidate, baseline))
            processes.append((process, beside[1]))
    counting = found[math.ceil(len(found) * SKIPPED) :]
    usual = statistics.median(baseline for _, _, baseline in counting) if counting else None
    return {
        "unit": VALUES[name],
        "baseline": figure([baseline for _, _, baseline in counting]),
        "candidate": figure([candidate for _, candidate, _ in counting]),
        "difference": figure([candidate - baseline for _, candidate, baseline in counting]),
        "ratio": figure([candidate / baseline for _, candidate, baseline in counting if baseline > 0]),
        "trend": _trend(
            soak,
            [at for at, _, _ in found],
            [candidate - baseline for _, candidate, baseline in found],
            name,
            processes,
            usual,
        ),
    }


def memory_verdict(sides: Mapping[str, SoakSide], differences: Mapping[str, SoakDifference]) -> Growth:
    """What became of the resident memory: the worst of what each side and their difference came to."""
    verdicts = [side["trends"]["rss_mb"]["verdict"] for side in sides.values()]
    verdicts.append(differences["rss_mb"]["trend"]["verdict"])
    order: tuple[Growth, ...] = ("grows", "absent", "inconclusive", "shrinks", "steady")
    return next(verdict for verdict in order if verdict in verdicts)


def _doubts(soak: Soak, section: SoakSection, study: Measured, head: Header) -> list[Doubt]:
    said = Remarks(head)
    if section["memory_verdict"] == "grows":
        said.fail("memory-grows", section["conclusion"][0])
    for name, side in section["sides"].items():
        label, total = side["label"], side["invocations"]
        if side["failed"]:
            first = study.errors.get(name, "unknown").rstrip(".")
            text = (
                f"{side['failed']:,} of {total:,} invocations ({label}) failed and are in no figure: {first}."
            )
            said.fail("failed", text)
        if side["environments"] > 1:
            text = (
                f"The environment ({label}) was replaced {side['environments'] - 1:,} "
                f"time{'s' * (side['environments'] > 2)}: memory began anew, and growth is that within one."
            )
            said.warn("cold-again", text)
        totals = side["spans"]
        missing = incomplete(totals)
        if missing is not None:
            said.fail("spans-lost", f"With {label}, {missing}.")
        elif name == "candidate" and total and not totals["received"]:
            said.fail("no-spans", f"No span arrived ({label}): what was measured is not tracing.")
        elif name == "candidate" and totals["without"]:
            text = f"{totals['without']:,} of {total:,} invocations ({label}) delivered no trace."
            said.warn("spans-missing", text)
        if name == "baseline" and totals["received"] and soak.targets[name].switched_off:
            text = (
                f"The baseline delivered {totals['received']:,} spans although its tracing was switched off."
            )
            said.fail("baseline-traced", text)
    return said.all()
