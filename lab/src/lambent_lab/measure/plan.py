"""The order in which environments are started: pairs, interleaved, random inside and reproducible by a seed.

Rules
- The unit is a pair of fresh environments, one of each side, run one after the other; which comes first is
  random.
- All memory sizes are visited in every round, in random order, so that a drifting machine touches all alike
  and an interrupted run has (almost) equally many pairs of each.
- A/A pairs (baseline against itself) are spread evenly over the rounds.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

Side = Literal["candidate", "baseline"]
Kind = Literal["ab", "aa"]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two environments to run one after the other. In an A/A pair both sides are the baseline."""

    number: int
    kind: Kind
    memory_mb: int
    order: tuple[Side, Side]


def default_aa(pairs: int) -> int:
    """How many A/A pairs accompany so many pairs, when nobody says: 3, or none of a handful."""
    return 3 if pairs >= 8 else 0


def schedule(*, seed: int, memory_mb: Sequence[int], pairs: int, aa: int) -> list[Pair]:
    """All pairs in the order in which they run; equal arguments give an equal order."""
    # Not for secrets: the order must be reproducible from the seed in the result file.
    source = random.Random(seed)  # noqa: S311
    kinds: list[tuple[float, Kind]] = [((i + 0.5) / pairs, "ab") for i in range(pairs)]
    kinds += [((i + 0.5) / aa, "aa") for i in range(aa)]
    kinds.sort()
    planned: list[Pair] = []
    for _, kind in kinds:
        sizes = list(memory_mb)
        source.shuffle(sizes)
        for size in sizes:
            first: Side = source.choice(("candidate", "baseline"))
            if kind == "aa":
                order: tuple[Side, Side] = ("baseline", "baseline")
            else:
                order = (first, "baseline" if first == "candidate" else "candidate")
            planned.append(Pair(len(planned), kind, size, order))
    return planned
