"""Going on with a soak that Ctrl-C has cut short: what it had measured, and what is left of its plan.

Rules
- Only the same soak, on the same machine; what is different is said.
- The environments of the earlier run have ended: each side begins anew in one of its own, which its first
  block says with its cold start. Trends are those within an environment (see `trends`).
- A block that was cut short stays as it is. What it lacks is a block of its own, with a number beyond those
  of the plan and without a partner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from lambent_lab.errors import UsageError
from lambent_lab.measure import machine
from lambent_lab.measure.resume import other, said, same_machine, same_targets

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from lambent_lab.measure.results import Results, TargetInfo
    from lambent_lab.measure.results_load import SoakBlock, SoakSection
    from lambent_lab.measure.soak.running import Soak


def section_of(earlier: Results, path: Path) -> SoakSection:
    """The soak of a file. Raises UsageError when it has none."""
    if earlier["kind"] != "soak" or "soak" not in earlier:
        raise UsageError(f"{path} was written by `lambent {earlier['kind']}`: it cannot be gone on with.")
    return cast("SoakSection", earlier["soak"])


def check(earlier: Results, soak: Soak, targets: Mapping[str, TargetInfo], path: Path) -> None:
    """Raise UsageError when a result file is not of this soak, or of another machine."""
    section = section_of(earlier, path)
    if earlier["seed"] != soak.seed:
        raise UsageError(
            f"{path} has the seed {earlier['seed']}, not {soak.seed}: leave --seed out to go on with it."
        )
    settings = earlier["settings"]
    for words, before, now in (
        ("the number of invocations (--invocations)", section["invocations"], soak.invocations),
        ("the number of blocks (--blocks)", section["blocks"], len(soak.sizes)),
        ("the memory (--memory)", section["memory_mb"], soak.memory_mb),
        ("freezing (--no-freeze)", section["freeze"], soak.freeze),
        ("the timeout", settings["timeout_s"], soak.timeout_s),
        ("the event", settings["event"], soak.event_name),
        ("the exporter (--otlp)", settings["otlp"], soak.otlp),
    ):
        if before != now:
            raise other(path, f"{words}: {said(before)} there, {said(now)} now")
    same_targets(earlier, targets, path)
    same_machine(earlier, machine.describe(soak.python), path)


def left(
    sizes: Sequence[int], order: Sequence[tuple[int, str]], blocks: Sequence[SoakBlock]
) -> list[tuple[int, str, int]]:
    """What is left to do, in order: (number, side, invocations).

    `order`: the blocks of the plan; `blocks`: those that were run, as far as they came.
    """
    ran: dict[tuple[int, str], int] = {}
    for block in blocks:
        ran[block["number"], block["side"]] = block["n"]
    done = {side: sum(block["n"] for block in blocks if block["side"] == side) for _, side in order}
    rest = [(number, side, sizes[number]) for number, side in order if (number, side) not in ran]
    beyond = max([len(sizes) - 1, *(block["number"] for block in blocks)]) + 1
    found: list[tuple[int, str, int]] = []
    for side in dict.fromkeys(side for _, side in order):
        planned = done[side] + sum(size for _, own, size in rest if own == side)
        lacking = sum(sizes) - planned
        if lacking > 0:
            found.append((beyond, side, lacking))
            beyond += 1
    return [*found, *rest]
