"""Does the gate hold what it promises? `python benchmarks/gates.py`, in a quiet hour.

Each experiment is a number of whole gates in the real lab, over functions made here:

    aa       a function against a copy of itself, cold, warm, memory and counts: no FAIL, PASS in most
    aa-warm  the same, warm invocations and their CPU time only
    slower   a handler that does 10% more work: FAIL
    import   a cold start that one import makes 5 ms slower: FAIL, and the import is named
    spans    an exporter that drops one span in a thousand: FAIL by the accounting

The work is CPU work, counted, not "until the clock says so". Results go to .bench/gates.json after every
gate (Ctrl-C loses one), with `--doc` also to docs/reference/gates.md. Exit code 1 when a promise is not held.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, cast

from lambent_lab.measure import machine
from lambent_lab.measure.bench import Benchmark
from lambent_lab.measure.gate import gating
from lambent_lab.measure.gate.config import GateConfig
from lambent_lab.measure.target import Target
from lambent_lab.service import Lab

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lambent_lab.measure.results_gate import GateSection

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "gates.md"

_PLAIN = """
def handler(event, context):
    total = 0
    for number in range({work}):
        total += number * number
    return total
"""
_TABLES = """
# CPU work of about 5 ms, as a module that builds tables has it.
SQUARES = 0
for number in range(55_000):
    SQUARES += number * number
"""
_TRACED = """
import random

import lambent
from lambent.exporters.stdout import StdoutExporter


class Leaky(StdoutExporter):
    def export(self, spans, timeout=0.0):
        return super().export([span for span in spans if random.random() >= {lost}], timeout)


tracer = lambent.init(exporter=Leaky(source="gates"))


@tracer.handler
def handler(event, context):
    for number in range(49):
        with tracer.trace("step", attributes={{"number": number}}):
            pass
    return "done"
"""
_WORK = 80_000


class Outcome(TypedDict):
    """One gate. ratios: by metric, the median of the pairs; found: whether it said what it should have."""

    experiment: str
    seed: int
    verdict: str
    found: bool
    pairs: int
    seconds: float
    reason: str
    ratios: dict[str, float]


@dataclass(frozen=True, slots=True)
class Experiment:
    """Two functions (file names and sources) and what the gate should say of them.

    gates: how many, when nobody says; least: how many of them must find it, as a share; never: the verdict
    that must not come at all.
    """

    name: str
    title: str
    base: dict[str, str]
    candidate: dict[str, str]
    config: GateConfig
    gates: int
    least: float
    found: Callable[[GateSection], bool]
    never: str
    count: bool = False


def _plain(work: int) -> dict[str, str]:
    return {"app.py": _PLAIN.format(work=work)}


EXPERIMENTS = (
    Experiment(
        name="aa",
        title="A function against a copy of itself",
        base=_plain(_WORK),
        candidate=_plain(_WORK),
        config=GateConfig(warm=25),
        gates=40,
        least=0.5,
        found=lambda gate: gate["verdict"] == "PASS",
        never="FAIL",
        count=True,
    ),
    Experiment(
        name="aa-warm",
        title="The same, warm invocations only",
        base=_plain(_WORK),
        candidate=_plain(_WORK),
        config=GateConfig(warm=25, metrics=("warm", "warm-cpu")),
        gates=40,
        least=0.5,
        found=lambda gate: gate["verdict"] == "PASS",
        never="FAIL",
    ),
    Experiment(
        name="slower",
        title="A handler that does 10% more work",
        base=_plain(_WORK),
        candidate=_plain(_WORK * 11 // 10),
        config=GateConfig(warm=25, metrics=("warm", "warm-cpu")),
        gates=20,
        least=0.95,
        found=lambda gate: gate["verdict"] == "FAIL" and "warm invocation" in gate["reason"],
        never="PASS",
    ),
    Experiment(
        name="import",
        title="A cold start that one import makes about 5 ms slower",
        base=_plain(1000),
        candidate={"app.py": f"import tables\n{_PLAIN.format(work=1000)}", "tables.py": _TABLES},
        config=GateConfig(warm=0, metrics=("cold", "cold-cpu")),
        gates=10,
        least=1.0,
        found=lambda gate: gate["verdict"] == "FAIL" and "The import of tables" in gate["reason"],
        never="PASS",
        count=True,
    ),
    Experiment(
        name="spans",
        title="An exporter that drops one span in a thousand",
        base={"app.py": _TRACED.format(lost=0)},
        candidate={"app.py": _TRACED.format(lost=0.001)},
        config=GateConfig(warm=20, metrics=("cold", "warm")),
        gates=10,
        least=1.0,
        found=lambda gate: any(
            check["verdict"] == "FAIL" and check["rule"] == "spans-lost" for check in gate["checks"]
        ),
        never="PASS",
    ),
)


def one(experiment: Experiment, seed: int, folder: Path) -> Outcome:
    """Run one whole gate, in a lab of its own."""
    sides = {}
    for side, files in (("base", experiment.base), ("candidate", experiment.candidate)):
        code = folder / experiment.name / side
        code.mkdir(parents=True, exist_ok=True)
        for name, source in files.items():
            (code / name).write_text(source)
        sides[side] = Target(text=f"{side}/app.handler", code=code, handler="app.handler", label=side)
    asked = gating.Gate(
        benchmark=Benchmark(
            baseline=sides["base"],
            candidate=sides["candidate"],
            # A whole vCPU: below it the share's periods of 20 ms would be measured.
            memory_mb=(1769,),
            seed=seed,
        ),
        config=experiment.config,
        count=experiment.count,
    )
    begun = time.monotonic()
    with Lab() as lab:
        results = gating.run(asked, lab)
    if results["interrupted"]:
        raise KeyboardInterrupt
    gate = gating.verdict_of(results)
    return {
        "experiment": experiment.name,
        "seed": seed,
        "verdict": gate["verdict"],
        "found": experiment.found(gate),
        "pairs": results["counts"]["pairs"],
        "seconds": round(time.monotonic() - begun, 1),
        "reason": gate["reason"],
        "ratios": {
            check["subject"]: round(ratio["median"], 4)
            for check in gate["checks"]
            if check["rule"] == "regression" and (ratio := check.get("ratio")) is not None
        },
    }


def held(experiment: Experiment, outcomes: Sequence[Outcome]) -> bool:
    """Whether the gates of an experiment said what they should have."""
    mine = [each for each in outcomes if each["experiment"] == experiment.name]
    wrong = any(each["verdict"] == experiment.never for each in mine)
    return bool(mine) and not wrong and sum(each["found"] for each in mine) >= experiment.least * len(mine)


def table(outcomes: Sequence[Outcome]) -> list[str]:
    """The outcomes of each experiment, as the rows of a Markdown table."""
    rows = [
        "| experiment | gates | PASS | FAIL | INCONCLUSIVE | found | pairs | seconds | held |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for experiment in EXPERIMENTS:
        mine = [each for each in outcomes if each["experiment"] == experiment.name]
        if not mine:
            continue
        verdicts = Counter(each["verdict"] for each in mine)
        cells = [
            experiment.title,
            len(mine),
            *(verdicts[name] for name in ("PASS", "FAIL", "INCONCLUSIVE")),
            sum(each["found"] for each in mine),
            f"{statistics.median(each['pairs'] for each in mine):g}",
            f"{statistics.median(each['seconds'] for each in mine):.0f}",
            "yes" if held(experiment, mine) else "**no**",
        ]
        rows.append(f"| {' | '.join(map(str, cells))} |")
    return rows


def page(document: dict[str, object]) -> str:
    """The page of the docs, from the content of the result file."""
    outcomes = cast("list[Outcome]", document["outcomes"])
    facts = cast("dict[str, object]", document["machine"])
    loads = cast("list[list[float] | None]", document["load"])
    lines = [
        "<!-- Made by `benchmarks/gates.py --doc`; run that, do not change this page. -->",
        "# Does the gate hold what it promises?",
        "",
        f"Measured {str(document['started'])[:16].replace('T', ' ')} UTC on {facts['cpu_model']}, "
        f"{facts['cores_usable']} cores, {facts['system']} {facts['kernel']}, Python {facts['python']}; load "
        f"average {_load(loads[0])} before, {_load(loads[1])} after. The command: `{document['command']}`.",
        "",
        "Each gate is a whole one, as `lambent gate` runs it: a lab of its own, pairs of fresh environments, "
        "A/A pairs, up to 60 pairs, and up to 240 of cold starts only. *Found* is a gate that said what "
        "there was to say: PASS for the copy; FAIL by the warm invocation; FAIL with the import's name; FAIL "
        "by the count of spans. *Held*: found as often as promised, and never the opposite verdict (no FAIL "
        "of a copy, no PASS of the others). "
        "Pairs and seconds are medians.",
        "",
        *table(outcomes),
        "",
        "What the gates said, the first of each kind:",
        "",
    ]
    seen: set[tuple[str, str]] = set()
    for each in outcomes:
        key = (each["experiment"], each["verdict"])
        if key not in seen:
            seen.add(key)
            lines.append(f"- `{each['experiment']}`, {each['verdict']}: {' '.join(each['reason'].split())}")
    lines += ["", "Ratios of the medians, smallest to largest of an experiment's gates:", ""]
    for experiment in EXPERIMENTS:
        mine = [each["ratios"] for each in outcomes if each["experiment"] == experiment.name]
        for name in dict.fromkeys(name for ratios in mine for name in ratios):
            values = sorted(ratios[name] for ratios in mine if name in ratios)
            middle = statistics.median(values)
            lines.append(
                f"- `{experiment.name}`, `{name}`: {values[0]:.3f} to {values[-1]:.3f}, median {middle:.3f}"
            )
    return "\n".join(lines) + "\n"


def _load(load: list[float] | None) -> str:
    return "unknown" if load is None else f"{load[0]:.1f}"


def main(given: Sequence[str] | None = None) -> int:
    """Run the experiments that are asked for."""
    parser = argparse.ArgumentParser(prog="benchmarks/gates.py", description=(__doc__ or "").splitlines()[0])
    names = [experiment.name for experiment in EXPERIMENTS]
    parser.add_argument(
        "experiments", nargs="*", metavar="EXPERIMENT", help=f"{', '.join(names)} (default: all)"
    )
    parser.add_argument("--gates", type=int, metavar="N", help="so many gates of each experiment")
    parser.add_argument("--seed", type=int, default=1, help="of the first gate; the next have the next ones")
    parser.add_argument("--output", type=Path, default=ROOT / ".bench" / "gates.json", metavar="FILE")
    parser.add_argument("--doc", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    asked = parser.parse_args(given)
    unknown = [name for name in asked.experiments if name not in names]
    if unknown:
        parser.error(f"there is no experiment {unknown[0]!r}; there are {', '.join(names)}")
    chosen = [each for each in EXPERIMENTS if not asked.experiments or each.name in asked.experiments]
    options = " ".join(sys.argv[1:] if given is None else given)
    outcomes: list[Outcome] = []
    document: dict[str, object] = {
        "command": f"python benchmarks/gates.py {options}".strip(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine.describe(),
        "load": [machine.load_average(), None],
        "outcomes": outcomes,
    }
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    code = 0
    with tempfile.TemporaryDirectory(prefix="lambent-gates-") as folder:
        Path(folder).chmod(0o755)  # functions may run as another user
        try:
            for experiment in chosen:
                for i in range(asked.gates or experiment.gates):
                    outcome = one(experiment, asked.seed + i, Path(folder))
                    outcomes.append(outcome)
                    print(
                        f"{experiment.name} {i + 1}: {outcome['verdict']} after {outcome['pairs']} pairs, "
                        f"{outcome['seconds']:.0f} s{'' if outcome['found'] else ': ' + outcome['reason']}",
                        flush=True,
                    )
                    cast("list[object]", document["load"])[1] = machine.load_average()
                    asked.output.write_text(json.dumps(document, indent=1) + "\n")
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            code = 130
    print("\n".join(table(outcomes)))
    if asked.doc and not code:
        PAGE.write_text(page(document))
    if not code and not all(held(experiment, outcomes) for experiment in chosen):
        code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
