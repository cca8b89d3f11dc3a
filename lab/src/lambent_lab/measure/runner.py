"""A running benchmark: what it does in which order, and the samples it has so far.

It knows the service only by what it asks of it (`LabLike`), so tests give it another. Before measuring, one
preflight sample of each side, size and Python shows that the function works, fills the file cache and writes
bytecode; it is kept in the result file and is in no figure. A cold start is therefore one whose files the
machine has read before. What fails there is not measured; the rest is. A run that goes on with an earlier one
has its samples, its plan, and leaves out the blocks that are done.
"""

from __future__ import annotations

import contextlib
import random
import time
from typing import TYPE_CHECKING, Any

from lambent_lab.errors import LabError
from lambent_lab.measure.machine import box_info
from lambent_lab.measure.plan import BASELINE, schedule, where
from lambent_lab.measure.records import broken
from lambent_lab.measure.sampler import empty_sample, fill_together
from lambent_lab.measure.sides import Sides

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lambent_lab.measure.bench import Benchmark
    from lambent_lab.measure.plan import Block
    from lambent_lab.measure.progress import Progress
    from lambent_lab.measure.results import Box, ImportNode, Results, Sample, SampleKind
    from lambent_lab.measure.sampler import FunctionLike, LabLike
    from lambent_lab.measure.sides import Place

_BROKEN_IN_A_ROW = 3


class Run:
    """A running benchmark. `earlier` is what an interrupted run of the same benchmark has measured."""

    def __init__(
        self, benchmark: Benchmark, lab: LabLike, progress: Progress, earlier: Results | None = None
    ) -> None:
        self.benchmark = benchmark
        self.samples: list[Sample] = [] if earlier is None else earlier["samples"]
        self.imports: dict[str, ImportNode] = {} if earlier is None else earlier["imports"]
        self.box: Box | None = None if earlier is None else earlier["box"]
        self.warm = benchmark.warm
        """Warm invocations of the environments that come; none where only cold starts are still asked for."""
        self._progress = progress
        self._targets = benchmark.sides
        self._variants = [side for side in self._targets if side != BASELINE]
        self._sides = Sides(benchmark, lab)
        self._planned = 0
        self._broken: set[tuple[str, Place]] = set()
        self._seconds: dict[tuple[str, Place], tuple[float, float]] = {}  # a cold, a warm invocation

    def open(self) -> None:
        """Reach what is outside the lab, before anything is measured. Raises LabError, UsageError."""
        self._sides.open()

    def runtime(self, side: str) -> str | None:
        """The runtime of a function outside the lab, where it says so."""
        return self._sides.runtime(side)

    def measure(self) -> None:
        """Preflight, then all blocks. Raises LabError when environments keep breaking."""
        benchmark = self.benchmark
        whole = self.plan(benchmark.pairs, benchmark.aa)
        done = finished(self.samples, whole)
        plan = [block for block in whole if block.number not in done]
        if not plan:
            return
        self.preflight(plan)
        self.look_ahead(plan)
        self.run(plan)

    def look_ahead(self, plan: Sequence[Block]) -> None:
        """Say how long these blocks will take, and look at the import trees where that was asked for."""
        self._progress.estimate(self._estimate(plan))
        if self.benchmark.imports:
            self._import_trees()

    def close(self) -> None:
        """Leave what is outside the lab as it was found. Raises LabError when that cannot be done."""
        self._sides.close()

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
        flights = len(self._targets) * len(places)
        flight = 1 + min(1, benchmark.warm)
        environments, invocations = self._size(plan)
        self._progress.begin(flights + environments, flights * flight + invocations)
        for place in places:
            for side in (BASELINE, *self._variants):
                self._samples(None, "preflight", [side], place, min(1, benchmark.warm))
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
        return environments, environments * (1 + self.warm)

    def _block(self, block: Block) -> None:
        place = (block.memory_mb, block.python)
        works = [side for side in block.order if (side, place) not in self._broken]
        if BASELINE not in works or len(works) == 1:
            works = []
        self._progress.skip((len(block.order) - len(works)) * (1 + self.warm))
        # What is outside the lab has one environment at a time, or none of its own for each side.
        together = all(self._targets[side].kind == "lab" for side in works)
        turns = random.Random(f"{self.benchmark.seed}/{block.number}")  # noqa: S311  # as in `plan`
        for sides in [works] if together else [[side] for side in works]:
            self._samples(block.number, block.kind, sides, place, self.warm, turns.shuffle)

    def _samples(
        self,
        pair: int | None,
        kind: SampleKind,
        sides: Sequence[str],
        place: Place,
        warm: int,
        shuffle: Callable[[list[Any]], object] = list,
    ) -> None:
        """Run samples whose invocations take turns."""
        size, python = place
        together: list[tuple[Sample, FunctionLike]] = []
        for i, side in enumerate(sides):
            self._progress.environment(self._targets[side].label, size)
            sample = empty_sample(
                len(self.samples) + i, pair=pair, kind=kind, side=side, memory_mb=size, python=python
            )
            together.append((sample, self._sides.function(side, place, again=side in sides[:i])))
        self.samples += [sample for sample, _ in together]
        if kind == "aa":
            # Who starts second finds another machine. Candidate and base are in random order already.
            shuffle(together)
        times = [time.monotonic()]

        def done(function: FunctionLike) -> None:
            times.append(time.monotonic())
            self._progress.invocation()
            if self.box is None:  # it can be asked only while there is one: before the sample's end
                self.box = box_info(function.box)

        fill_together(together, self.benchmark.event, warm, done, shuffle)
        if kind == "preflight" and len(times) > 1:
            # Stopping the environment is a part of each sample: it goes with the cold start.
            last = times[-1] - times[-2] if len(times) > 2 else 0.0
            self._seconds[sides[0], place] = (time.monotonic() - times[0] - last, last)
        ran = sum(len(sample["invocations"]) for sample, _ in together)
        self._progress.skip(len(together) * (1 + warm) - ran)
        newest = self.samples[-_BROKEN_IN_A_ROW:]
        if len(newest) == _BROKEN_IN_A_ROW and all(each["error"] for each in newest):
            raise LabError(f"{_BROKEN_IN_A_ROW} environments in a row broke; the last: {newest[-1]['error']}")

    def _must_work(self, sample: Sample, places: list[Place], variants: list[str]) -> None:
        """A side that fails from the first to the last preflight invocation is not worth an hour."""
        why = broken(sample)
        if why is None:
            return
        place = (sample["memory_mb"], sample["python"])
        self._broken.add((sample["side"], place))
        possible = any(
            (BASELINE, each) not in self._broken and (variant, each) not in self._broken
            for each in places
            for variant in variants
        )
        if not possible:
            hint = ". Give it more time with --timeout." if "imed" in why else ""
            label = self._targets[sample["side"]].label
            raise LabError(f"Nothing was measured: {label}, {where(*place)}, failed: {why}{hint}")

    def _estimate(self, plan: Sequence[Block]) -> float:
        """How many seconds these blocks will take, by what the preflight took."""
        seconds = 0.0
        for block in plan:
            place = (block.memory_mb, block.python)
            known = [seen for (_, there), seen in self._seconds.items() if there == place]
            # The first environment of all prepares what the others find: the fastest is the rule.
            cold = min((each for each, _ in known), default=0.0)
            warm = min((each for _, each in known), default=0.0)
            seconds += len(block.order) * (cold + warm * self.benchmark.warm)
        return seconds

    def _import_trees(self) -> None:
        """The import tree of each side in the lab, from a place where it works."""
        for side, target in self._targets.items():
            places = [place for each, place in self._seconds if each == side]
            place = next((each for each in places if (side, each) not in self._broken), None)
            if place is None or target.kind != "lab" or side in self.imports:
                continue
            # What cannot be shown is absent: the speed is measured all the same.
            with contextlib.suppress(LabError):
                tree = self._sides.import_tree(side, place)
                if tree is not None:
                    self.imports[side] = tree


def finished(samples: Sequence[Sample], plan: Sequence[Block]) -> set[int]:
    """The planned blocks that an earlier run has finished; samples of one that it has not become partial.

    A block is finished when it has all its sides, but for those that failed in the preflight, and none was
    cut short: one that broke of itself was not.
    """
    fails = {
        (sample["side"], sample["memory_mb"], sample["python"])
        for sample in samples
        if sample["kind"] == "preflight" and broken(sample) is not None
    }
    blocks: dict[int, list[Sample]] = {}
    for sample in samples:
        if sample["pair"] is not None:
            blocks.setdefault(sample["pair"], []).append(sample)
    done: set[int] = set()
    for block in plan:
        have = blocks.get(block.number, [])
        wanted = [side for side in block.order if (side, block.memory_mb, block.python) not in fails]
        whole = all(sample["complete"] or sample["error"] for sample in have)
        if have and whole and sorted(sample["side"] for sample in have) == sorted(wanted):
            done.add(block.number)
            continue
        for sample in have:
            sample["kind"], sample["pair"] = "partial", None
    return done
