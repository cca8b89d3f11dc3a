"""Running a gate: base and candidate in one run, in interleaved pairs, until the verdict is known.

The benchmark's own runner starts the environments; a gate asks after each look whether it knows, and goes on
when it does not. What is counted (imports, bytes, system calls) is counted before the pairs, in
environments of its own. Also what Ctrl-C or a broken lab leaves is judged and returned.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

from lambent_lab.errors import LabError, UsageError
from lambent_lab.measure import header
from lambent_lab.measure.bench import assemble
from lambent_lab.measure.ending import UNDONE, Ending
from lambent_lab.measure.gate import counting, decision
from lambent_lab.measure.gate.config import GateConfig
from lambent_lab.measure.gate.history import against
from lambent_lab.measure.gate.section import only_cold_open, section, undecided
from lambent_lab.measure.progress import Silence
from lambent_lab.measure.runner import Run

if TYPE_CHECKING:
    from lambent_lab.measure.bench import Benchmark
    from lambent_lab.measure.progress import Progress
    from lambent_lab.measure.results import Results
    from lambent_lab.measure.results_gate import GateSection, Look
    from lambent_lab.measure.sampler import LabLike


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What to compare (the benchmark's numbers of pairs are the gate's to choose), and with which limits.

    history: earlier result files by their names, to compare with in words; count: whether to count what takes
    runs of its own.
    """

    benchmark: Benchmark
    config: GateConfig = field(default_factory=GateConfig)
    history: tuple[tuple[str, Results], ...] = ()
    count: bool = True

    def __post_init__(self) -> None:
        """Refuse a question that so few pairs can never answer. Raises UsageError."""
        cells = len(self.benchmark.sizes) * len(self.benchmark.interpreters)
        comparisons = len(self.config.metric_names()) * cells
        looks = self.config.looks()
        confidence = decision.confidence_for(comparisons, looks)
        if decision.first_look(looks, confidence) is None:
            each = 1 - (1 - decision.CONFIDENCE) / comparisons
            wanted = decision.first_look(range(decision.MIN_PAIRS, 1000), each)
            raise UsageError(
                f"With {comparisons} comparisons {looks[-1]} pairs have no interval: ask for {wanted} or "
                "more (--pairs), or for fewer metrics (--metric)."
            )


class _Gating:
    """A gate under way."""

    def __init__(self, asked: Gate, lab: LabLike, progress: Progress) -> None:
        first = asked.config.pairs[0]
        self.benchmark = replace(
            asked.benchmark,
            pairs=first,
            aa=decision.aa_pairs(first),
            warm=asked.config.warm,
            imports=asked.benchmark.imports or asked.count,
        )
        self.run = Run(self.benchmark, lab, progress)
        self.looks: list[Look] = []
        self._counts: dict[str, dict[str, float]] = {}
        self._asked, self._lab = asked, lab
        self._beginning = header.begin(
            "gate", self.benchmark.command, next(iter(self.benchmark.interpreters.values()))
        )

    def measure(self) -> None:
        """Preflight, counts, and as many pairs as it takes. Raises LabError when environments break."""
        done = 0
        config = self._asked.config
        for look in config.looks():
            planned = self.run.plan(
                look - done, decision.aa_pairs(look) - (decision.aa_pairs(done) if done else 0)
            )
            if not done:
                self.run.preflight(planned)
                self.run.look_ahead(planned)
                if self._asked.count:
                    self._counts = counting.count(self.benchmark, self.benchmark.sides, self._lab)
            self.run.run(planned, more=bool(done))
            done = look
            found = self.judge(self.results())
            self.looks.append({"pairs": look, "verdict": found["verdict"]})
            cold = only_cold_open(found)
            if not undecided(found) or (look >= config.pairs[-1] and not cold):
                return
            self.run.warm = 0 if cold else self.benchmark.warm

    def results(self, ending: Ending | None = None) -> Results:
        """The file's content so far, without its verdict."""
        head = header.finish(self._beginning, ending, box=self.run.box)
        results = assemble(self.run, head)
        # Two functions are compared; that neither is traced is nothing to warn of.
        results["warnings"] = [each for each in results["warnings"] if each["code"] != "no-spans"]
        return results

    def judge(self, results: Results) -> GateSection:
        """The verdict on what has been measured."""
        config = self._asked.config
        past = [each for name, old in self._asked.history for each in against(results, old, name, config)]
        return section(results, config, looks=self.looks, counts=self._counts, history=past)


def run(asked: Gate, lab: LabLike, progress: Progress | None = None) -> Results:
    """Measure until the verdict is known, and return the result file's content, its `gate` section included.

    An interruption is marked (`interrupted`), a LabError recorded (`error`); neither is raised. Raises
    UsageError for what cannot be measured as it was asked for.
    """
    going = _Gating(asked, lab, progress or Silence())
    ending = Ending()
    with ending.noted(usage=False):
        going.run.open()
        going.measure()
    with ending.noted(interruption=UNDONE):
        going.run.close()
    results = going.results(ending)
    results["gate"] = dict(going.judge(results))
    return results


def verdict_of(results: Results) -> GateSection:
    """The `gate` section of a file. Raises LabError when it has none."""
    found = results.get("gate")
    if found is None:
        raise LabError("This file has no gate: it was not written by `lambent gate`.")
    return cast("GateSection", found)


def exit_code(results: Results) -> int:
    """0 PASS, 1 FAIL, 3 INCONCLUSIVE, 130 interrupted."""
    if results["interrupted"]:
        return 130
    return decision.EXIT_CODES[verdict_of(results)["verdict"]]
