"""Earlier result files beside a new one: history to look at, never a gate. Pure.

Two runs are not a pair: between them lie another day, another load, another state of the machine. So there is
no interval here and no verdict; a change beyond the tolerance is worth a WARN on the same machine, and on
another machine it says that it was another machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambent_lab.measure.gate.words import amount, change, metric_name, percent, place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lambent_lab.measure.gate.config import GateConfig
    from lambent_lab.measure.results import Cell, Machine, Results
    from lambent_lab.measure.results_gate import Check

FINGERPRINT = (
    "cpu_model",
    "architecture",
    "cores",
    "cores_usable",
    "memory_mb",
    "governor",
    "system",
    "kernel",
)
"""The facts that make a machine another one. The interpreter is the function's, not the machine's."""


def differences(one: Machine, other: Machine) -> list[str]:
    """What tells two machines apart, as `cpu_model: A → B`; empty for the same machine."""
    return [
        f"{name.replace('_', ' ')}: {one.get(name)} → {other.get(name)}"
        for name in FINGERPRINT
        if one.get(name) != other.get(name) and not _nearly(one.get(name), other.get(name))
    ]


def _nearly(one: object, other: object) -> bool:
    """Whether two sizes of memory are the same: what the kernel keeps for itself varies."""
    return isinstance(one, int) and isinstance(other, int) and one > 1024 and abs(one - other) < one / 50


def same_cells(new: Results, old: Results) -> Iterator[tuple[Cell, Cell]]:
    """The cells that both files have: of the same memory size and Python, (new, old)."""
    for cell in new["summary"]:
        for other in old["summary"]:
            alike = (cell["memory_mb"], cell["python"]) == (other["memory_mb"], other["python"])
            if alike and (cell["variant"] == other["variant"] or len(old["targets"]) == 2):
                yield cell, other
                break


def against(new: Results, old: Results, name: str, config: GateConfig) -> list[Check]:
    """What became of the candidate since an earlier file: a WARN beyond the tolerance, else INFO."""
    apart = differences(old["machine"], new["machine"])
    if apart:
        text = f"{name} was measured on another machine ({'; '.join(apart)}): no verdict."
        return [_check(None, "history", text)]
    found: list[Check] = []
    tolerance = percent(config.history_tolerance)
    for cell, other in same_cells(new, old):
        for metric in config.metric_names():
            was, now = _candidate(other, metric), _candidate(cell, metric)
            if was is None or now is None or was <= 0:
                continue
            unit = cell["metrics"][metric]["unit"]
            moved = abs(now / was - 1) > config.history_tolerance
            text = (
                f"Since {name} ({old['started'][:10]}) the {metric_name(metric)} "
                f"{place(cell['memory_mb'], cell['python'])} went from {amount(was, unit)} to "
                f"{amount(now, unit)} ({change(now / was)}"
                f"{f', beyond ±{tolerance}' if moved else ''}); another run, no verdict."
            )
            check = _check(cell, metric, text)
            check["verdict"] = "WARN" if moved else "INFO"
            check["baseline"], check["candidate"], check["unit"] = was, now, unit
            found.append(check)
    if not found:
        found.append(_check(None, "history", f"{name} has nothing that could be compared with this run."))
    return found


def _candidate(cell: Cell, metric: str) -> float | None:
    found = cell["metrics"].get(metric)
    figure = None if found is None else found["candidate"]
    return None if figure is None else figure["median"]


def _check(cell: Cell | None, subject: str, text: str) -> Check:
    return {
        "rule": "history",
        "subject": subject,
        "memory_mb": None if cell is None else cell["memory_mb"],
        "python": None if cell is None else cell["python"],
        "verdict": "INFO",
        "text": text,
    }
