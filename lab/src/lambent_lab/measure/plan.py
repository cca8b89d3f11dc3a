"""The order in which environments are started: blocks, interleaved, random inside, reproducible by a seed.

Rules
- The unit is a block of fresh environments, one of the baseline and one of each variant, started in random
  order. With one variant a block is a pair; with several they share the block's baseline. In the lab the
  environments of a block live at the same time and take turns, one invocation each, in random order.
- All memory sizes and interpreters are visited in every round, in random order, so that a drifting machine
  touches all alike and an interrupted run has (almost) equally many blocks of each.
- A/A pairs (baseline against itself) are spread evenly over the rounds.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

BASELINE = "baseline"
CANDIDATE = "candidate"

Kind = Literal["ab", "aa"]


@dataclass(frozen=True, slots=True)
class Block:
    """Environments to run together. In an A/A block both sides are the baseline."""

    number: int
    kind: Kind
    memory_mb: int
    python: str | None
    order: tuple[str, ...]


def default_aa(pairs: int) -> int:
    """How many A/A pairs accompany so many pairs, when nobody says: 3, or none of a handful."""
    return 3 if pairs >= 8 else 0


def where(memory_mb: int, python: str | None) -> str:
    """A place of the matrix in words."""
    return f"at {memory_mb} MB" + ("" if python is None else f" on Python {python}")


def schedule(
    *,
    seed: int,
    memory_mb: Sequence[int],
    pairs: int,
    aa: int,
    pythons: Sequence[str | None] = (None,),
    variants: Sequence[str] = (CANDIDATE,),
    first: int = 0,
) -> list[Block]:
    """All blocks in the order in which they run, numbered from `first`; equal arguments, equal order."""
    # Not for secrets: the order must be reproducible from the seed in the result file.
    source = random.Random(seed)  # noqa: S311
    kinds: list[tuple[float, Kind]] = [((i + 0.5) / pairs, "ab") for i in range(pairs)]
    kinds += [((i + 0.5) / aa, "aa") for i in range(aa)]
    kinds.sort()
    planned: list[Block] = []
    for _, kind in kinds:
        places = [(size, python) for size in memory_mb for python in pythons]
        source.shuffle(places)
        for size, python in places:
            order = [*variants, BASELINE]
            source.shuffle(order)
            sides = (BASELINE, BASELINE) if kind == "aa" else tuple(order)
            planned.append(Block(first + len(planned), kind, size, python, sides))
    return planned
