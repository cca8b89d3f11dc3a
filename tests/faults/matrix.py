"""The matrix: ways to deliver x ways to end x collectors, run in the lab with the real runtime client.

One environment a row of cells: a mode and a collector. In it the faults follow one another, so that each
meets a process as a function has it, some of them started anew in the same environment. What came of an
invocation is a `Cell`; what must come of it is said by `GOES_AT`, `FATAL` and `DELIVERING`.

Of every invocation it is known how many spans it makes; where it is killed, one of them is still open.
Each is then received, or said to be lost or kept in the log, with a reason, or gone with its process.
A row may be run without the watchdog and the flight recorder, or with them: to the `rescue`.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.faults.collector import BEHAVIOURS, DELIVERING, Collector

from lambent_lab import Lab

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lambent_lab.service import Function, Result

__all__ = ["BEHAVIOURS", "FAULTS", "MODES", "Cell", "run_row", "table", "verdict"]

FUNCTION = Path(__file__).with_name("function")
MODES = ("sync", "async", "finalize", "auto")
FAULTS = (
    "normal",
    "exception",
    "freeze",
    "timeout",
    "os._exit",
    "segfault",
    "SIGKILL",
    "out of memory",
    "shutdown",
)
"""How an invocation ends. "shutdown" is a normal one, after which the environment is ended with SIGTERM."""

FATAL = frozenset({"timeout", "os._exit", "segfault", "SIGKILL", "out of memory"})
BESIDE = 1
"""Of the spans of "freeze", the one that the function exports by itself."""
CALM = "calm"
CALMS = 5
"""Normal invocations between the last death and the end, with the rescue; they are one cell. What is
recovered leaves in time that exports leave.
"""
EXPORT_TIMEOUT_S = 0.4
FREEZE_S = 1.0
"""How long "freeze" stands still in the middle of an export: longer than the export may take."""
TIMEOUT_S = 5.0
"""At 256 MB's share of a CPU it takes a second to use up that memory, on a busy machine several."""
MEMORY_MB = 256

_LATE = "no complete answer in time"
_SAID = re.compile(r"lambent: (lost|dropped|kept) (\d+)(?: of \d+)? spans?(?: for another try)?: ")


@dataclass(slots=True)
class Cell:
    """What came of one invocation."""

    mode: str
    collector: str
    fault: str
    made: int
    received: int = 0
    twice: int = 0
    status: str = ""
    payload: Any = None
    response_ms: float = 0.0
    duration_ms: float = 0.0
    log: str = ""


@dataclass(slots=True)
class Row:
    """One environment's cells, and what its log said of lost spans in all."""

    mode: str
    collector: str
    rescue: bool = False
    cells: list[Cell] = field(default_factory=list)
    said: int = 0
    kept: int = 0
    """How many waited for another try, where there is somebody to take them."""
    reasons: set[str] = field(default_factory=set)

    @property
    def made(self) -> int:
        """How many spans were made."""
        return sum(cell.made for cell in self.cells)

    @property
    def received(self) -> int:
        """How many different ones were received."""
        return sum(cell.received for cell in self.cells)

    @property
    def gone(self) -> int:
        """How many are neither received nor said to be lost: gone with a process that was killed, or kept
        by the flight recorder for a collector that takes them.
        """
        return self.made - self.received - self.said


def made_spans(fault: str) -> int:
    """Return how many spans an invocation makes: two, the handler's own, and the one beside."""
    if fault == CALM:
        return CALMS * made_spans("normal")
    return 4 if fault == "freeze" else 3


def run_row(
    mode: str,
    behaviour: str,
    faults: Sequence[str] = FAULTS,
    *,
    rescue: bool = False,
    freeze_s: float = FREEZE_S,
) -> Row:
    """Run the faults in one environment with one collector. `mode` "off" is the function untraced."""
    row = Row(mode, behaviour, rescue)
    lines: list[str] = []
    with Collector(behaviour) as collector, Lab() as lab:
        function = lab.function(
            "faults",
            code=FUNCTION,
            handler="app.handler",
            memory=MEMORY_MB,
            timeout=TIMEOUT_S,
            env=_environment(mode, collector.url, rescue),
            on_line=lines.append,
        )
        for fault in faults:
            if fault == "shutdown" and rescue:
                row.cells += [_cell(function, mode, behaviour, CALM) for _ in range(CALMS)][:1]
                row.cells[-1].made = made_spans(CALM)
            row.cells.append(_cell(function, mode, behaviour, fault))
            if fault == "freeze":
                time.sleep(freeze_s)
        function.stop()
        for cell in row.cells:
            spans = collector.spans(cell.fault)
            cell.received = len(spans)
            cell.twice = sum(times - 1 for times in spans.values())
    for line in lines:
        found = _SAID.search(line)
        if found is not None:
            row.reasons.add(re.sub(r"https?://[\d.:]+: ", "", line[found.end() :]))
            if found[1] == "kept" and behaviour in DELIVERING:
                row.kept += int(found[2])
            else:
                row.said += int(found[2])
    return row


def _environment(mode: str, url: str, rescue: bool) -> dict[str, str]:
    if mode == "off":
        return {"OTEL_SDK_DISABLED": "true"}
    return {
        "LAMBENT_MODE": mode,
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_EXPORTER_OTLP_TIMEOUT": str(int(EXPORT_TIMEOUT_S * 1000)),
        "LAMBENT_RECORDER": "on" if rescue else "off",
        "LAMBENT_WATCHDOG": "on" if rescue else "off",
    }


def _cell(function: Function, mode: str, behaviour: str, fault: str) -> Cell:
    result: Result = function.invoke({"case": fault, "fault": fault})
    payload = result.payload
    if isinstance(payload, dict):
        # What differs from one invocation to the next: ids, and lines of our frames, of which there are none.
        payload = {key: value for key, value in payload.items() if key != "requestId"}
        if "errorMessage" in payload:
            payload["errorMessage"] = re.sub(r"[0-9a-f-]{36}", "ID", str(payload["errorMessage"]))
    return Cell(
        mode=mode,
        collector=behaviour,
        fault=fault,
        made=made_spans(fault),
        status=result.status,
        payload=payload,
        duration_ms=result.report.duration_ms,
        log=result.log,
    )


# What must come of it.

GOES_AT = {"sync": "end", "async": "end", "auto": "end", "finalize": "SIGTERM"}
"""When a mode's spans leave: at an invocation's end, or when the environment is shut down."""


def expected_received(row: Row) -> dict[str, int]:
    """Return how many spans of each fault must be received."""
    mode, faults = row.mode, [cell.fault for cell in row.cells]
    expected = dict.fromkeys(faults, 0)
    if row.collector not in DELIVERING:
        return expected
    if row.rescue:
        return {fault: made_spans(fault) for fault in faults}
    waiting: list[str] = []
    for fault in faults:
        if fault in FATAL:
            # The process is gone, and with it what ended in this invocation or waited for SIGTERM.
            waiting.clear()
        elif GOES_AT[mode] == "end":
            expected[fault] = made_spans(fault)
        else:
            expected[fault] = BESIDE if fault == "freeze" else 0
            waiting.append(fault)
    for fault in waiting:
        expected[fault] = made_spans(fault)
    return expected


def expected_gone(row: Row) -> int:
    """Return how many spans may be gone with their process, neither received nor said to be lost."""
    if row.rescue:
        return 0
    mode, gone, waiting = row.mode, 0, 0
    for cell in row.cells:
        fault = cell.fault
        if fault in FATAL:
            gone += waiting + made_spans(fault)
            waiting = 0
        elif GOES_AT[mode] == "SIGTERM":
            waiting += made_spans(fault) - (BESIDE if fault == "freeze" else 0)
    return gone


def verdict(row: Row, untraced: Row) -> list[str]:
    """Return what is wrong with a row, in words; nothing when it is as it must be."""
    wrong = []
    expected = expected_received(row)
    plains = {plain.fault: plain for plain in untraced.cells}
    for cell in row.cells:
        plain = plains.get(cell.fault) or replace(plains["normal"], payload={"answer": cell.fault})
        where = f"{row.mode} x {cell.fault} x {row.collector}{' to the rescue' if row.rescue else ''}"
        if (cell.status, cell.payload) != (plain.status, plain.payload):
            wrong.append(f"{where}: answered {cell.status} {cell.payload}, untraced {plain.payload}")
        if cell.twice:
            wrong.append(f"{where}: {cell.twice} spans received twice")
        if cell.received != expected[cell.fault]:
            wrong.append(f"{where}: {cell.received} spans received, not {expected[cell.fault]}")
    gone = expected_gone(row)
    if row.rescue and row.collector not in DELIVERING:
        return wrong
    least = gone
    if row.rescue:
        least = min(0, row.gone)  # what was said to be lost may be recovered after all
    elif row.collector in DELIVERING and row.reasons == {_LATE}:
        least = min(gone, row.gone)  # on a busy machine: it had arrived, and the answer came too late
    if not least <= row.gone <= gone + row.kept:
        wrong.append(
            f"{row.mode} x {row.collector}: {row.made} spans made, {row.received} received, {row.said} "
            f"said to be lost: {row.gone} without a word, not {gone}"
        )
    return wrong


def table(rows: Iterable[Row]) -> str:
    """Return the rows as a Markdown table."""
    columns = [*FAULTS[:-1], CALM, FAULTS[-1]]
    lines = [
        "| mode | rescue | collector | "
        + " | ".join(columns)
        + " | made | received | lost, said | gone or kept | why |",
        "|---|---|---|" + "---|" * (len(columns) + 5),
    ]
    for row in rows:
        cells = {cell.fault: f"{cell.received}/{cell.made}" for cell in row.cells}
        counts = [cells.get(fault, "") for fault in columns]
        # What was said to be lost may have been recovered after all.
        totals = [str(number) for number in (row.made, row.received, row.said, max(0, row.gone))]
        why = "; ".join(sorted(row.reasons))
        lines.append(
            "| "
            + " | ".join([row.mode, "on" if row.rescue else "off", row.collector, *counts, *totals, why])
            + " |"
        )
    return "\n".join(lines) + "\n"
