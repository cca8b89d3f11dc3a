"""A running benchmark: the functions it made and the samples it has so far.

It knows the service only by what it asks of it (`LabLike`), so tests give it another. Before measuring, one
preflight sample of each side, size and Python shows that the function works, fills the file cache and writes
bytecode; it is kept in the result file and is in no figure. A cold start is therefore one whose files the
machine has read before. What fails there is not measured; the rest is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lambent_lab.errors import LabError
from lambent_lab.measure.plan import BASELINE, schedule
from lambent_lab.measure.sampler import empty_sample, fill

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambent_lab.measure.bench import Benchmark
    from lambent_lab.measure.plan import Block
    from lambent_lab.measure.progress import Progress
    from lambent_lab.measure.results import Box, Sample, SampleKind
    from lambent_lab.measure.sampler import FunctionLike, LabLike

    Place = tuple[int, str | None]

_BROKEN_IN_A_ROW = 3


class Run:
    """A running benchmark."""

    def __init__(self, benchmark: Benchmark, lab: LabLike, progress: Progress) -> None:
        self.benchmark = benchmark
        self.samples: list[Sample] = []
        self.box: Box | None = None
        self._lab = lab
        self._progress = progress
        self._sides = benchmark.sides
        self._variants = [side for side in self._sides if side != BASELINE]
        self._planned = 0
        self._functions: dict[tuple[str, Place], FunctionLike] = {}
        self._broken: set[tuple[str, Place]] = set()

    def measure(self) -> None:
        """Preflight, then all blocks. Raises LabError when environments keep breaking."""
        benchmark = self.benchmark
        plan = self.plan(benchmark.pairs, benchmark.aa)
        self.preflight(plan)
        self.run(plan)

    def plan(self, pairs: int, aa: int) -> list[Block]:
        """The next blocks, numbered on from those that were planned before."""
        benchmark = self.benchmark
        planned = schedule(
            seed=benchmark.seed + self._planned,  # further blocks are not in the order of the first ones
            memory_mb=benchmark.sizes,
            pairs=pairs,
            aa=aa,
            pythons=tuple(benchmark.interpreters),
            variants=self._variants,
            first=self._planned,
        )
        self._planned += len(planned)
        return planned

    def preflight(self, plan: Sequence[Block]) -> None:
        """Show that each side works everywhere, before these blocks. Raises LabError when nothing does."""
        benchmark = self.benchmark
        places = [(size, python) for size in benchmark.sizes for python in benchmark.interpreters]
        flights = len(self._sides) * len(places)
        flight = 1 + min(1, benchmark.warm)
        environments, invocations = self._size(plan)
        self._progress.begin(flights + environments, flights * flight + invocations)
        for place in places:
            for side in (BASELINE, *self._variants):
                self._sample(None, "preflight", side, place, min(1, benchmark.warm))
                self._must_work(self.samples[-1], places, self._variants)

    def run(self, plan: Sequence[Block], *, more: bool = False) -> None:
        """Run these blocks; `more`: they come on top of what was announced."""
        if more:
            environments, invocations = self._size(plan)
            done = sum(len(sample["invocations"]) for sample in self.samples)
            self._progress.begin(len(self.samples) + environments, done + invocations)
        for block in plan:
            self._block(block)

    def _size(self, plan: Sequence[Block]) -> tuple[int, int]:
        environments = sum(len(block.order) for block in plan)
        return environments, environments * (1 + self.benchmark.warm)

    def _block(self, block: Block) -> None:
        place = (block.memory_mb, block.python)
        works = [side for side in block.order if (side, place) not in self._broken]
        if BASELINE not in works or len(works) == 1:
            works = []
        self._progress.skip((len(block.order) - len(works)) * (1 + self.benchmark.warm))
        for side in works:
            self._sample(block.number, block.kind, side, place, self.benchmark.warm)

    def _sample(self, pair: int | None, kind: SampleKind, side: str, place: Place, warm: int) -> None:
        size, python = place
        self._progress.environment(self._sides[side].label, size)
        function = self._function(side, place)
        sample = empty_sample(
            len(self.samples), pair=pair, kind=kind, side=side, memory_mb=size, python=python
        )
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

    def _must_work(self, sample: Sample, places: list[Place], variants: list[str]) -> None:
        """A side that fails from the first to the last preflight invocation is not worth an hour."""
        reason = broken(sample)
        if reason is None:
            return
        place = (sample["memory_mb"], sample["python"])
        self._broken.add((sample["side"], place))
        possible = any(
            (BASELINE, each) not in self._broken and (variant, each) not in self._broken
            for each in places
            for variant in variants
        )
        if not possible:
            hint = ". Give it more time with --timeout." if "imed" in reason else ""
            label = self._sides[sample["side"]].label
            raise LabError(f"Nothing was measured: {label}, {where(*place)}, failed: {reason}{hint}")

    def _function(self, side: str, place: Place) -> FunctionLike:
        made = self._functions.get((side, place))
        if made is None:
            target, (size, python) = self._sides[side], place
            # The function says how many spans it made, so that lost ones are seen. A tracer that does
            # not know the variable says nothing.
            env = {"LAMBENT_COUNT_SPANS": "true", **target.env}
            if self.benchmark.otlp:
                env.setdefault("OTEL_TRACES_EXPORTER", "otlp")
                env.setdefault("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
                env.setdefault("OTEL_EXPORTER_OTLP_ENDPOINT", self._lab.otlp_url)
            made = self._lab.function(
                _name(side, size, python),
                code=target.code,
                handler=target.handler,
                memory=size,
                timeout=self.benchmark.timeout_s,
                env=env,
                python=self.benchmark.interpreters[python],
                bytecode=self.benchmark.bytecode,
                init_cpu=self.benchmark.init_cpu,
            )
            self._functions[side, place] = made
        return made


def _name(side: str, memory_mb: int, python: str | None) -> str:
    """A name that Lambda takes: of letters, digits and dashes, at most 64 of them."""
    parts = ["bench", re.sub(r"[^A-Za-z0-9]+", "-", side).strip("-")[:32], str(memory_mb)]
    if python is not None:
        parts.append(re.sub(r"[^A-Za-z0-9]+", "-", python).strip("-")[-16:])
    return "-".join(parts)


def where(memory_mb: int, python: str | None) -> str:
    """A place of the matrix in words."""
    return f"at {memory_mb} MB" + ("" if python is None else f" on Python {python}")


def broken(sample: Sample) -> str | None:
    """Why no invocation of a sample was a success; None when one was."""
    reasons = [invocation["error"] for invocation in sample["invocations"]]
    if sample["error"] is None and not all(reasons):
        return None
    return sample["error"] or reasons[0]


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
