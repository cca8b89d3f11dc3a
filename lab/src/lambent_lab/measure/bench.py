"""The benchmark: a baseline and its variants, in blocks of fresh environments, into a result file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, cast

from lambent_lab.errors import UsageError
from lambent_lab.measure import header, importtree
from lambent_lab.measure.doubts import doubts
from lambent_lab.measure.ending import UNDONE, Ending
from lambent_lab.measure.plan import BASELINE, CANDIDATE
from lambent_lab.measure.progress import Progress, Silence
from lambent_lab.measure.remarks import target_info
from lambent_lab.measure.runner import Run
from lambent_lab.measure.summary import count, summarize

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lambent_lab.measure.results import Header, Results, Settings, TargetInfo
    from lambent_lab.measure.sampler import LabLike
    from lambent_lab.measure.target import Target

__all__ = ["Benchmark", "Progress", "exit_code", "run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """What to measure.

    The baseline is compared with the candidate, or with each of `variants`, which have names of their own.
    `pairs`: environments a side in each cell; `warm`: warm invocations an environment. `pythons`: names of
    interpreters and their paths (None: the version of that name), the axis of the matrix; `python`: the one
    interpreter where there is no such axis (None: the lab's). `imports`: look at each side's import tree,
    in a cold start of its own.
    """

    baseline: Target
    candidate: Target | None = None
    variants: Mapping[str, Target] = field(default_factory=dict)
    event: object = field(default_factory=dict)
    event_name: str | None = None
    memory_mb: tuple[int, ...] = (128,)
    pairs: int = 10
    aa: int = 3
    warm: int = 20
    timeout_s: float = 3.0
    python: Path | None = None
    pythons: Mapping[str, Path | None] = field(default_factory=dict)
    bytecode: bool = True
    init_cpu: Literal["boost", "share"] = "boost"
    otlp: bool = False
    imports: bool = False
    seed: int = 0
    command: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a comparison of nothing. Raises UsageError."""
        if self.candidate is None and not self.variants:
            raise UsageError("There is nothing to compare the baseline with: name a candidate or variants.")
        outside = [side for side in self.sides.values() if side.kind != "lab"]
        if outside and self.pythons:
            raise UsageError(f"The Python of {outside[0].text} is its own: leave --python out.")
        fixed = [side for side in outside if side.kind == "http"]
        if fixed and len(self.sizes) > 1:
            raise UsageError(
                f"The memory of {fixed[0].text} cannot be set from here: name one --memory size."
            )
        if {BASELINE, CANDIDATE} & self.variants.keys():
            raise UsageError(f"A variant cannot be called {BASELINE} or {CANDIDATE}: choose another name.")

    @property
    def sides(self) -> dict[str, Target]:
        """Every side by its name in the result file, the baseline first."""
        own = {} if self.candidate is None else {CANDIDATE: self.candidate}
        return {BASELINE: self.baseline, **own, **self.variants}

    @property
    def sizes(self) -> list[int]:
        """The memory sizes, each once, smallest first."""
        return sorted(set(self.memory_mb))

    @property
    def interpreters(self) -> dict[str | None, Path | None]:
        """The interpreters by their names in the result file: None where they are no axis."""
        return dict(self.pythons.items()) if self.pythons else {None: self.python}


def run(
    benchmark: Benchmark, lab: LabLike, progress: Progress | None = None, earlier: Results | None = None
) -> Results:
    """Measure, and return the result file's content; also what was measured until Ctrl-C or a broken lab.

    An interruption is marked (`interrupted`), a LabError recorded (`error`); neither is raised, but that a
    target outside the lab cannot be reached at all. `earlier` is
    what an interrupted run of the same benchmark has measured: this one goes on with it (see `resume`).
    """
    beginning = header.begin("bench", benchmark.command, next(iter(benchmark.interpreters.values())))
    if benchmark.pythons:
        beginning.machine["function_python"] = ", ".join(benchmark.pythons)
    going = Run(benchmark, lab, progress or Silence(), earlier)
    going.open()
    ending = Ending()
    with ending.noted():
        going.measure()
    with ending.noted(interruption=UNDONE):
        going.close()
    results = assemble(going, header.finish(beginning, ending, box=going.box))
    return results if earlier is None else header.gone_on(results, earlier)


def assemble(going: Run, head: Header) -> Results:
    """The result file's content, of what has been measured so far."""
    benchmark = going.benchmark
    measured = {
        **head,
        "seed": benchmark.seed,
        "settings": settings(benchmark),
        "targets": targets(benchmark),
        "counts": count(going.samples),
        "samples": going.samples,
        "summary": summarize(going.samples),
        "warnings": [],
        "imports": going.imports,
    }
    results = cast("Results", measured)
    base = going.imports.get(BASELINE)
    if base is not None:
        results["imports_added"] = {
            side: importtree.added(base, tree) for side, tree in going.imports.items() if side != BASELINE
        }
    for side, info in results["targets"].items():
        info["python"] = info["python"] or going.runtime(side)
    results["warnings"] = doubts(results)
    return results


def settings(benchmark: Benchmark) -> Settings:
    """What was asked for."""
    asked: Settings = {
        "memory_mb": benchmark.sizes,
        "pairs": benchmark.pairs,
        "aa_pairs": benchmark.aa,
        "warm_per_sample": benchmark.warm,
        "timeout_s": benchmark.timeout_s,
        "event": benchmark.event_name,
        "python": _asked_python(benchmark),
        "bytecode": benchmark.bytecode,
        "otlp": benchmark.otlp,
    }
    if benchmark.init_cpu != "boost":
        asked["init_cpu"] = benchmark.init_cpu
    return asked


def targets(benchmark: Benchmark) -> dict[str, TargetInfo]:
    """The sides, as the result file has them."""
    found = {side: target_info(target) for side, target in benchmark.sides.items()}
    for info in found.values():
        info["python"] = _asked_python(benchmark) if info["kind"] == "lab" else None
    return found


def _asked_python(benchmark: Benchmark) -> str | None:
    named = benchmark.interpreters
    if None in named:
        return None if benchmark.python is None else str(benchmark.python)
    return ",".join(cast("dict[str, object]", named))


def exit_code(results: Results) -> int:
    """0 measured, 1 something failed, 130 interrupted."""
    if results["interrupted"]:
        return 130
    failed = any(warning["severity"] == "failure" for warning in results["warnings"])
    return 1 if failed or results["error"] else 0
