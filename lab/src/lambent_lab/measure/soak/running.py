"""A soak: very many invocations in one environment a side, untraced and traced in turns.

Rules
- Each side has one environment for the whole study, as a function with a concurrency of one has. The sides
  take turns in blocks, in random order inside each pair of blocks, so a machine that drifts touches both.
- What is kept is bounded: one record a block and side, and one histogram a side, however long it goes on.
- Memory is what is resident after an invocation, and, kept apart, the most that ever was, and the
  high-water mark of all that was charged to the environment, the page cache included (Lambda's own figure).
- Whether something grows is told by the trends of the blocks (see `trends`): of each side, and of the
  difference between the two, which is what tracing alone leaves behind.
- One environment a side is one sample: what tracing costs is for `bench` to say, with its intervals over many
  environments. The intervals here are those of this pair of environments over time.
"""

from __future__ import annotations

import random
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, cast

from lambent_lab.errors import LabError
from lambent_lab.measure import header
from lambent_lab.measure.accounting import SpanCounter
from lambent_lab.measure.ending import Ending
from lambent_lab.measure.late import MOST, add_late
from lambent_lab.measure.load.latency import Latencies
from lambent_lab.measure.machine import box_info
from lambent_lab.measure.records import reason
from lambent_lab.measure.remarks import with_next_step
from lambent_lab.measure.soak.blocks import Block
from lambent_lab.measure.soak.resume import left
from lambent_lab.measure.soak.summary import summarize

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from lambent_lab.measure.records import ResultLike
    from lambent_lab.measure.results import Box, Results
    from lambent_lab.measure.results_load import SoakBlock, SoakSection
    from lambent_lab.measure.sampler import FunctionLike
    from lambent_lab.measure.target import Target

SIDES = ("baseline", "candidate")

MAX_BLOCKS = 200

_FAILED_IN_A_ROW = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Soak:
    """What to do. invocations: of each side; max_growth: bytes an invocation that are no growth; python: the
    functions' interpreter, if not ours.
    """

    targets: Mapping[str, Target]
    event: object = field(default_factory=dict)
    event_name: str | None = None
    invocations: int = 100_000
    blocks: int = 100
    memory_mb: int = 512
    timeout_s: float = 3.0
    freeze: bool = True
    otlp: bool = False
    max_growth: float = 256.0
    python: Path | None = None
    seed: int = 0
    command: tuple[str, ...] = ()

    @property
    def sizes(self) -> list[int]:
        """How many invocations each block of a side has: as equal as can be, and at least five."""
        number = max(1, min(self.blocks, MAX_BLOCKS, self.invocations // 5))
        least, more = divmod(self.invocations, number)
        return [least + (i < more) for i in range(number)]


class SoakProgress(Protocol):
    """Who is told how far the soak is."""

    def begin(self, invocations: int) -> None:
        """So many are planned, of both sides together."""

    def done(self, side: str) -> None:
        """One more is done."""


class Study:
    """A soak under way: the blocks it has so far."""

    def __init__(
        self,
        soak: Soak,
        functions: Mapping[str, FunctionLike],
        progress: SoakProgress,
        clock: Callable[[], float] = time.monotonic,
        earlier: SoakSection | None = None,
    ) -> None:
        self.soak = soak
        self.blocks: list[SoakBlock] = []
        self.durations = {side: Latencies() for side in SIDES}
        self.spans = {side: SpanCounter() for side in SIDES}
        self.errors: dict[str, str] = {}
        self.box: Box | None = None
        self._functions = functions
        self._progress = progress
        self._clock = clock
        self._zero = clock()
        self._done = dict.fromkeys(SIDES, 0)
        self._failing = 0
        # Those of which nothing has arrived yet; the last ones only, whatever the mode.
        self._silent: dict[str, deque[ResultLike]] = {side: deque(maxlen=MOST) for side in SIDES}
        if earlier is not None:
            self._go_on(earlier)

    def _go_on(self, earlier: SoakSection) -> None:
        """Take over what an earlier run has measured."""
        for side, found in earlier["sides"].items():
            self.blocks += found["blocks"]
            self.durations[side] = Latencies.of_described(found["durations"])
            self.spans[side] = SpanCounter.of_totals(found["spans"])
            self._done[side] = found["invocations"]
            if "first_error" in found:
                self.errors[side] = found["first_error"]
        self.blocks.sort(key=lambda block: block["from_s"])
        self._zero -= max((block["to_s"] for block in self.blocks), default=0.0)

    def measure(self) -> None:
        """Run all blocks. Raises LabError when invocations keep failing."""
        # Not a secret: the order of a measurement.
        source = random.Random(self.soak.seed)  # noqa: S311
        sizes = self.soak.sizes
        order = [(number, side) for number in range(len(sizes)) for side in source.sample(SIDES, 2)]
        plan = left(sizes, order, self.blocks)
        self._progress.begin(sum(size for _, _, size in plan))
        try:
            for function in self._functions.values():
                function.stop()
            for number, side, size in plan:
                self._block(number, side, size)
        finally:
            for side, function in self._functions.items():
                function.stop()
                self._add_late(side, function)

    def _block(self, number: int, side: str, size: int) -> None:
        block = Block(number, side, self._done[side], self._clock() - self._zero)
        try:
            for _ in range(size):
                self._one(block, side)
        finally:
            # What Ctrl-C cut short is a shorter block.
            if block.n:
                self.blocks.append(block.close(self._clock() - self._zero))

    def _one(self, block: Block, side: str) -> None:
        function = self._functions[side]
        result = function.invoke(self.soak.event)
        if block.add(result, self.durations[side], self.spans[side]):
            self._failing = 0
            if result.spans is not None and not result.spans:
                self._silent[side].append(result)
        else:
            self._fail(result, side)
        self._done[side] += 1
        if self.box is None:
            self.box = box_info(function.box)
        self._progress.done(side)

    def _add_late(self, side: str, function: FunctionLike) -> None:
        """Count spans that left with the environment's end, as `finalize` lets them."""
        if not self.soak.targets[side].switched_off:
            add_late(self.spans[side], function, self._silent[side])

    def _fail(self, result: ResultLike, side: str) -> None:
        said = str(reason(result))
        self.errors.setdefault(side, said)
        text = f"{self.soak.targets[side].label}: {said}"
        self._failing += 1
        if self._failing >= _FAILED_IN_A_ROW:
            raise LabError(
                f"{_FAILED_IN_A_ROW} invocations in a row failed; the last: {with_next_step(text)}"
            )


class Silence:
    """A SoakProgress that says nothing."""

    def begin(self, invocations: int) -> None:
        """Say nothing."""

    def done(self, side: str) -> None:
        """Say nothing."""


def run(
    soak: Soak,
    functions: Mapping[str, FunctionLike],
    progress: SoakProgress | None = None,
    earlier: Results | None = None,
) -> Results:
    """Soak, and return the result file's content; also what was measured until Ctrl-C or a broken lab.

    `functions` has one for "baseline" and one for "candidate". An interruption is marked (`interrupted`), a
    LabError recorded (`error`); neither is raised. `earlier` is what an interrupted run of the same soak has
    measured: this one goes on with it (see `soak.resume`).
    """
    beginning = header.begin("soak", soak.command, soak.python)
    before = None if earlier is None else cast("SoakSection", earlier.get("soak"))
    study = Study(soak, functions, progress or Silence(), earlier=before)
    ending = Ending()
    with ending.noted():
        study.measure()
    box = study.box or (None if earlier is None else earlier["box"])
    head = header.finish(beginning, ending, box=box)
    results = summarize(soak, study, head)
    return results if earlier is None else header.gone_on(results, earlier)
