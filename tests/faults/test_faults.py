"""Modes of delivery x ways to end x collectors, with real processes and real kills.

What must hold: the function answers what it would answer untraced; no overhead beyond the time an export
may take; every span is received exactly once, or said to be lost, or gone with a process that was killed.
The whole matrix takes some minutes (`make faults`); here every mode meets every fault, and every collector.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from tests.faults import matrix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.faults.matrix import Row

pytestmark = pytest.mark.timeout(300)

SURVIVED = ("normal", "exception", "freeze", "shutdown")
SLACK_MS = 2000.0
"""For a machine that has other things to do; what hangs would take twenty times as long."""


@pytest.mark.parametrize("rescue", [False, True])
def test_every_mode_meets_every_fault(rescue: bool, rows: list[Row]) -> None:
    untraced, *traced = beside_each_other(matrix.MODES, "fine", matrix.FAULTS, rescue)
    rows += traced
    assert [matrix.verdict(row, untraced) for row in traced] == [[]] * len(matrix.MODES)


@pytest.mark.parametrize("collector", [each for each in matrix.BEHAVIOURS if each != "fine"])
def test_every_mode_meets_every_collector(collector: str, rows: list[Row]) -> None:
    modes = [mode for mode in matrix.MODES if mode != "auto"]
    untraced, *traced = beside_each_other(modes, collector, SURVIVED)
    rows += traced
    assert [matrix.verdict(row, untraced) for row in traced] == [[]] * len(modes)
    for row in traced:
        for cell, without in zip(row.cells, untraced.cells, strict=True):
            # The first one loads what it needs at 256 MB's share of a CPU, TLS among it.
            allowed = matrix.EXPORT_TIMEOUT_S * 1000 + SLACK_MS
            assert cell.duration_ms - without.duration_ms < allowed, cell


def beside_each_other(
    modes: Sequence[str], collector: str, faults: Sequence[str], rescue: bool = False
) -> list[Row]:
    """Run the function untraced and in each mode, every one in its own lab: nearly all of it is waiting."""
    with ThreadPoolExecutor(1 + len(modes)) as threads:
        started = [threads.submit(matrix.run_row, "off", "fine", faults)]
        started += [threads.submit(matrix.run_row, mode, collector, faults, rescue=rescue) for mode in modes]
        return [each.result() for each in started]
