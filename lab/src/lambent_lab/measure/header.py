"""What every result file begins with, for the commands that write one: `begin`, then `finish`."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import lambent_lab
from lambent_lab.measure import machine
from lambent_lab.measure.ending import Ending
from lambent_lab.measure.results import SCHEMA
from lambent_lab.measure.target import masked_command

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from lambent_lab.measure.results import Box, FileKind, Header, Machine, Results


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """What is known before anything is measured: when, on which machine, under which load."""

    kind: FileKind
    command: tuple[str, ...]
    machine: Machine
    load_before: list[float] | None
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    clock: float = field(default_factory=time.monotonic)


def begin(kind: FileKind, command: Iterable[str] = (), python: Path | None = None) -> Beginning:
    """Look at the clock and the machine. `python` is the function's interpreter, if not ours."""
    return Beginning(
        kind=kind,
        command=tuple(command),
        load_before=machine.load_average(),
        machine=machine.describe(python),
    )


def finish(beginning: Beginning, ending: Ending | None = None, *, box: Box | None = None) -> Header:
    """The header of a file about what has been measured since `begin`; secrets in the command are masked."""
    cut = ending or Ending()
    return {
        "schema": SCHEMA,
        "kind": beginning.kind,
        "tool": f"lambent-lab {lambent_lab.__version__}",
        "command": masked_command(beginning.command),
        "started": beginning.started.isoformat(timespec="seconds"),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "elapsed_s": round(time.monotonic() - beginning.clock, 3),
        "interrupted": cut.interrupted,
        "error": cut.error,
        "machine": beginning.machine,
        "load_before": beginning.load_before,
        "load_after": machine.load_average(),
        "box": box,
    }


def gone_on(results: Results, earlier: Results) -> Results:
    """The file of a run that went on with an earlier one: when that was, and how long both took."""
    results["resumed"] = [*earlier.get("resumed", []), results["started"]]
    results["started"] = earlier["started"]
    results["elapsed_s"] = round(earlier["elapsed_s"] + results["elapsed_s"], 3)
    return results
