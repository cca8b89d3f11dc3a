"""The benchmark: candidate and baseline, in pairs of fresh environments, into a result file.

It knows the service only by what it asks of it (`LabLike`), so tests give it another. Before measuring, one
preflight sample of each side and size shows that the function works, fills the file cache and writes
bytecode; it is kept in the result file and is in no figure. A cold start is therefore one whose files the
machine has read before.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, Protocol

import lambent_lab
from lambent_lab.errors import LabError
from lambent_lab.measure import machine
from lambent_lab.measure.doubts import doubts
from lambent_lab.measure.plan import schedule
from lambent_lab.measure.results import SCHEMA
from lambent_lab.measure.sampler import empty_sample, fill
from lambent_lab.measure.summary import count, summarize
from lambent_lab.measure.target import masked, masked_command

if TYPE_CHECKING:
    from pathlib import Path

    from lambent_lab.measure.plan import Side
    from lambent_lab.measure.results import Box, Results, Sample, Settings, TargetInfo
    from lambent_lab.measure.sampler import FunctionLike, LabLike
    from lambent_lab.measure.target import Target

_BROKEN_IN_A_ROW = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """What to measure. `pairs`: environments a side and memory size; `warm`: warm invocations an
    environment.
    """

    candidate: Target
    baseline: Target
    event: object = field(default_factory=dict)
    event_name: str | None = None
    memory_mb: tuple[int, ...] = (128,)
    pairs: int = 10
    aa: int = 3
    warm: int = 20
    timeout_s: float = 3.0
    python: Path | None = None
    bytecode: bool = True
    init_cpu: Literal["boost", "share"] = "boost"
    otlp: bool = False
    seed: int = 0
    command: tuple[str, ...] = ()


class Progress(Protocol):
    """Who is told how far the benchmark is."""

    def begin(self, environments: int, invocations: int) -> None:
        """The plan, in environments and invocations."""

    def environment(self, side: str, memory_mb: int) -> None:
        """A fresh environment of this side begins."""

    def invocation(self) -> None:
        """One invocation is done."""

    def skip(self, invocations: int) -> None:
        """So many planned invocations will not happen: their environment broke."""


class Silence:
    """A Progress that says nothing."""

    def begin(self, environments: int, invocations: int) -> None:
        """Say nothing."""

    def environment(self, side: str, memory_mb: int) -> None:
        """Say nothing."""

    def invocation(self) -> None:
        """Say nothing."""

    def skip(self, invocations: int) -> None:
        """Say nothing."""


class _Run:
    """A running benchmark: the functions it made and the samples it has so far."""

    def __init__(self, benchmark: Benchmark, lab: LabLike, progress: Progress) -> None:
        self.benchmark = benchmark
        self.samples: list[Sample] = []
        self.box: Box | None = None
        self._lab = lab
        self._progress = progress
        self._functions: dict[tuple[Side, int], FunctionLike] = {}

    def measure(self) -> None:
        """Preflight, then all pairs. Raises LabError when environments keep breaking."""
        benchmark = self.benchmark
        sizes = sorted(set(benchmark.memory_mb))
        plan = schedule(seed=benchmark.seed, memory_mb=sizes, pairs=benchmark.pairs, aa=benchmark.aa)
        flights = 2 * len(sizes)
        self._progress.begin(flights + 2 * len(plan), 2 * flights + 2 * len(plan) * (1 + benchmark.warm))
        sides: tuple[Side, ...] = ("baseline", "candidate")
        for size in sizes:
            for side in sides:
                self._sample(None, "preflight", side, size, min(1, benchmark.warm))
                self._must_work(self.samples[-1])
        for pair in plan:
            for side in pair.order:
                self._sample(pair.number, pair.kind, side, pair.memory_mb, benchmark.warm)

    def _sample(
        self, pair: int | None, kind: Literal["ab", "aa", "preflight"], side: Side, size: int, warm: int
    ) -> None:
        self._progress.environment(self._target(side).label, size)
        function = self._function(side, size)
        sample = empty_sample(len(self.samples), pair=pair, kind=kind, side=side, memory_mb=size)
        self.samples.append(sample)

        def done() -> None:
            self._progress.invocation()
            if self.box is None:  # it can be asked only while there is one: before the sample's end
                self.box = box_info(function.box)

        fill(sample, function, self.benchmark.event, warm, done)
        self._progress.skip(1 + warm - len(sample["invocations"]))
        last = self.samples[-_BROKEN_IN_A_ROW:]
        if len(last) == _BROKEN_IN_A_ROW and all(each["error"] for each in last):
            raise LabError(f"{_BROKEN_IN_A_ROW} environments in a row broke; the last: {sample['error']}")

    def _must_work(self, sample: Sample) -> None:
        """A function that fails from the first to the last preflight invocation is not worth an hour."""
        reasons = [invocation["error"] for invocation in sample["invocations"]]
        if sample["error"] is None and not all(reasons):
            return
        reason = sample["error"] or reasons[0]
        hint = ". Give it more time with --timeout." if any("imed" in str(each) for each in reasons) else ""
        label = self._target(sample["side"]).label
        raise LabError(f"Nothing was measured: {label}, at {sample['memory_mb']} MB, failed: {reason}{hint}")

    def _target(self, side: Side) -> Target:
        return self.benchmark.candidate if side == "candidate" else self.benchmark.baseline

    def _function(self, side: Side, size: int) -> FunctionLike:
        made = self._functions.get((side, size))
        if made is None:
            target = self._target(side)
            # The function says how many spans it made, so that lost ones are seen. A tracer that does
            # not know the variable says nothing.
            env = {"LAMBENT_COUNT_SPANS": "true", **target.env}
            if self.benchmark.otlp:
                env.setdefault("OTEL_TRACES_EXPORTER", "otlp")
                env.setdefault("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
                env.setdefault("OTEL_EXPORTER_OTLP_ENDPOINT", self._lab.otlp_url)
            made = self._lab.function(
                f"bench-{side}-{size}",
                code=target.code,
                handler=target.handler,
                memory=size,
                timeout=self.benchmark.timeout_s,
                env=env,
                python=self.benchmark.python,
                bytecode=self.benchmark.bytecode,
                init_cpu=self.benchmark.init_cpu,
            )
            self._functions[side, size] = made
        return made


def box_info(box: object) -> Box | None:
    """What a box says of itself, as texts; None when there is none."""
    if box is None:
        return None

    def text(name: str) -> str | None:
        value = getattr(box, name, None)
        return None if value is None else str(value)

    return {
        "kind": text("kind") or "unknown",
        "freeze": text("freeze"),
        "memory": text("memory"),
        "cpu": text("cpu"),
        "kill": text("kill"),
        "tmp": text("tmp"),
        "user": text("user"),
        "network": text("network"),
        "limits": text("limits"),
        "cannot": [str(each) for each in getattr(box, "cannot", ())],
    }


def run(benchmark: Benchmark, lab: LabLike, progress: Progress | None = None) -> Results:
    """Measure, and return the result file's content; also what was measured until Ctrl-C or a broken lab.

    An interruption is marked (`interrupted`), a LabError recorded (`error`); neither is raised.
    """
    started, clock = datetime.now(UTC), time.monotonic()
    load_before = machine.load_average()
    facts = machine.describe(benchmark.python)
    going = _Run(benchmark, lab, progress or Silence())
    interrupted, error = False, None
    try:
        going.measure()
    except (KeyboardInterrupt, SystemExit):  # SystemExit: the process was told to end
        interrupted = True
    except LabError as trouble:
        error = str(trouble)
    asked: Settings = {
        "memory_mb": sorted(set(benchmark.memory_mb)),
        "pairs": benchmark.pairs,
        "aa_pairs": benchmark.aa,
        "warm_per_sample": benchmark.warm,
        "timeout_s": benchmark.timeout_s,
        "event": benchmark.event_name,
        "python": None if benchmark.python is None else str(benchmark.python),
        "bytecode": benchmark.bytecode,
        "otlp": benchmark.otlp,
    }
    if benchmark.init_cpu != "boost":
        asked["init_cpu"] = benchmark.init_cpu
    results: Results = {
        "schema": SCHEMA,
        "tool": f"lambent-lab {lambent_lab.__version__}",
        "command": masked_command(benchmark.command),
        "started": started.isoformat(timespec="seconds"),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "elapsed_s": round(time.monotonic() - clock, 3),
        "interrupted": interrupted,
        "error": error,
        "seed": benchmark.seed,
        "settings": asked,
        "targets": {"candidate": _info(benchmark.candidate), "baseline": _info(benchmark.baseline)},
        "machine": facts,
        "load_before": load_before,
        "load_after": machine.load_average(),
        "box": going.box,
        "counts": count(going.samples),
        "samples": going.samples,
        "summary": summarize(going.samples),
        "warnings": [],
    }
    results["warnings"] = doubts(results)
    return results


def exit_code(results: Results) -> int:
    """0 measured, 1 something failed, 130 interrupted."""
    if results["interrupted"]:
        return 130
    failed = any(warning["severity"] == "failure" for warning in results["warnings"])
    return 1 if failed or results["error"] else 0


def _info(target: Target) -> TargetInfo:
    return {
        "target": target.text,
        "label": target.label,
        "handler": target.handler,
        "env": masked(target.env),
        "switch": None if target.switch is None else masked_command([target.switch])[0],
    }
