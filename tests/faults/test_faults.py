"""Modes of delivery x ways to end x collectors, with real processes and real kills.

What must hold: the function answers what it would answer untraced; no overhead beyond the time an export
may take; every span is received exactly once, or said to be lost, or gone with a process that was killed.
The whole matrix takes some minutes (`make faults`); here every mode meets every fault, and every collector.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.faults import matrix

if TYPE_CHECKING:
    from tests.faults.matrix import Row

pytestmark = pytest.mark.timeout(300)

SURVIVED = ("normal", "exception", "freeze", "shutdown")
SLACK_MS = 2000.0
"""For a machine that has other things to do; what hangs would take twenty times as long."""


def only(row: Row, faults: tuple[str, ...]) -> matrix.Row:
    """Return the row with some of its cells."""
    return matrix.Row(
        row.mode, row.collector, row.rescue, [cell for cell in row.cells if cell.fault in faults]
    )


@pytest.mark.parametrize("rescue", [False, True])
@pytest.mark.parametrize("mode", matrix.MODES)
def test_every_mode_meets_every_fault(mode: str, rescue: bool, untraced: Row, rows: list[Row]) -> None:
    row = matrix.run_row(mode, "fine", rescue=rescue)
    rows.append(row)
    assert matrix.verdict(row, untraced) == []


@pytest.mark.parametrize("collector", [each for each in matrix.BEHAVIOURS if each != "fine"])
@pytest.mark.parametrize("mode", [mode for mode in matrix.MODES if mode != "auto"])
def test_every_mode_meets_every_collector(mode: str, collector: str, untraced: Row, rows: list[Row]) -> None:
    row = matrix.run_row(mode, collector, SURVIVED)
    rows.append(row)
    plain = only(untraced, SURVIVED)
    assert matrix.verdict(row, plain) == []
    for cell, without in zip(row.cells, plain.cells, strict=True):
        # The first one loads what it needs at 256 MB's share of a CPU, TLS among it.
        allowed = matrix.EXPORT_TIMEOUT_S * 1000 + SLACK_MS
        assert cell.duration_ms - without.duration_ms < allowed, cell
