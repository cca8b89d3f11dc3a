"""Tuning: how long a function takes and what it costs, at each of several memory sizes.

Rules
- A sample is a fresh environment: its cold start, and its warm invocations. In each round every size has
  one, in random order, so a machine that drifts touches all alike.
- Before, one preflight sample of each size shows that the function works there; it is in no figure. A size at
  which it fails is listed, and never chosen.
- What a mixed invocation takes and costs weighs cold and warm with the share of cold starts that was asked
  for.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from lambent_lab.errors import LabError
from lambent_lab.measure import header
from lambent_lab.measure.ending import Ending
from lambent_lab.measure.machine import box_info
from lambent_lab.measure.records import broken
from lambent_lab.measure.remarks import with_next_step
from lambent_lab.measure.sampler import empty_sample, fill
from lambent_lab.measure.tune.summary import summarize

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lambent_lab.measure.results import Box, Results, Sample, SampleKind
    from lambent_lab.measure.sampler import FunctionLike
    from lambent_lab.measure.target import Target
    from lambent_lab.measure.tune.prices import Prices

SIDE = "candidate"

_BROKEN_IN_A_ROW = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Tune:
    """What to do. rounds: environments of each size; cold_share: of all invocations, from 0 to 1; weight: of
    the cost in what is balanced, from 0 (only time counts) to 1 (only cost); measured: the architecture on
    which it runs, None for this machine's; python: the interpreter of a function in the lab, if not ours.
    """

    target: Target
    prices: Prices
    architectures: tuple[str, ...]
    memory_mb: tuple[int, ...]
    event: object = field(default_factory=dict)
    event_name: str | None = None
    rounds: int = 10
    warm: int = 20
    timeout_s: float = 3.0
    cold_share: float = 0.01
    weight: float = 0.5
    measured: str | None = None
    python: Path | None = None
    seed: int = 0
    command: tuple[str, ...] = ()


class TuneProgress(Protocol):
    """Who is told how far the tuning is."""

    def begin(self, invocations: int) -> None:
        """So many are planned."""

    def done(self, memory_mb: int, invocations: int) -> None:
        """So many more are done, or will not be."""


class Silence:
    """A TuneProgress that says nothing."""

    def begin(self, invocations: int) -> None:
        """Say nothing."""

    def done(self, memory_mb: int, invocations: int) -> None:
        """Say nothing."""


class _Run:
    """A tuning under way: the samples it has so far."""

    def __init__(self, tune: Tune, functions: Mapping[int, FunctionLike], progress: TuneProgress) -> None:
        self.samples: list[Sample] = []
        self.box: Box | None = None
        self._tune = tune
        self._functions = functions
        self._progress = progress

    def measure(self) -> None:
        """Preflight, then all rounds. Raises LabError when no size works, or environments keep breaking."""
        tune = self._tune
        sizes = sorted(self._functions)
        flight = 1 + min(1, tune.warm)
        self._progress.begin(len(sizes) * (flight + tune.rounds * (1 + tune.warm)))
        working: list[int] = []
        for size in sizes:
            self._sample(None, "preflight", size, min(1, tune.warm))
            if broken(self.samples[-1]) is None:
                working.append(size)
            else:
                self._progress.done(size, tune.rounds * (1 + tune.warm))
        if not working:
            reason = broken(self.samples[-1])
            raise LabError(
                f"Nothing was measured: the function failed at every size; at {sizes[-1]} MB: "
                f"{with_next_step(str(reason))}"
            )
        # Not a secret: the order of a measurement.
        source = random.Random(tune.seed)  # noqa: S311
        for number in range(tune.rounds):
            for size in source.sample(working, len(working)):
                self._sample(number, "ab", size, tune.warm)

    def _sample(self, number: int | None, kind: SampleKind, size: int, warm: int) -> None:
        function = self._functions[size]
        sample = empty_sample(
            len(self.samples), pair=number, kind=kind, side=SIDE, memory_mb=size, python=None
        )
        self.samples.append(sample)

        def done() -> None:
            self._progress.done(size, 1)
            if self.box is None:
                self.box = box_info(function.box)

        fill(sample, function, self._tune.event, warm, done)
        self._progress.done(size, 1 + warm - len(sample["invocations"]))
        last = self.samples[-_BROKEN_IN_A_ROW:]
        if len(last) == _BROKEN_IN_A_ROW and all(each["error"] for each in last):
            raise LabError(f"{_BROKEN_IN_A_ROW} environments in a row broke; the last: {sample['error']}")


def run(tune: Tune, functions: Mapping[int, FunctionLike], progress: TuneProgress | None = None) -> Results:
    """Measure at every size, and return the result file's content; also what was measured until Ctrl-C.

    `functions`: the function by its memory size. An interruption is marked, a LabError recorded.
    """
    beginning = header.begin("tune", tune.command, tune.python)
    if tune.target.kind != "lab":
        beginning.machine["function_python"] = None  # it runs elsewhere
    going = _Run(tune, functions, progress or Silence())
    ending = Ending()
    with ending.noted():
        going.measure()
    head = header.finish(beginning, ending, box=going.box)
    return summarize(tune, going.samples, head)
