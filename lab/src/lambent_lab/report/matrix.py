"""A matrix of memory sizes and Pythons as one table: what CI's jobs say one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from lambent_lab.report.grid import text
from lambent_lab.report.terminal import printed
from lambent_lab.report.words import ABSENT, number, plural, signed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from lambent_lab.measure.results import Cell, Metric, Results
    from lambent_lab.measure.results_gate import Check

    Place = tuple[int, str | None, str]


_SHOWN = ("cold_ms", "warm_ms")


def render(
    results: Results,
    checks: Sequence[Check] = (),
    *,
    width: int = 80,
    color: bool = False,
    ascii_only: bool = False,
) -> str:
    """The table, one line for each memory size, Python and variant, and what failed below it.

    `checks`: limits that were not kept.
    """
    several = len(results["targets"]) > 2
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), collapse_padding=True)
    table.add_column("MB", justify="right", no_wrap=True)
    table.add_column("Python", no_wrap=True)
    if several:
        table.add_column("variant")
    for name in ("cold ms", "cost", "warm ms", "cost"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for place in _places(results):
        memory_mb, python, variant = place
        cell = _cell(results, place)
        failed = _failures(results, place)
        row = [f"{memory_mb:,}", python or results["machine"]["function_python"] or ABSENT]
        if several:
            row.append(results["targets"][variant]["label"])
        for name in _SHOWN:
            row += [ABSENT, ABSENT] if failed or cell is None else _columns(cell["metrics"][name])
        row.append(_state(failed, cell, checks))
        table.add_row(*(Text("\n").join(map(text, each.split("\n"))) for each in row))
    baseline = results["targets"]["baseline"]
    first = next(info for name, info in results["targets"].items() if name != "baseline")
    other = f"the same with {baseline['switch']}" if baseline["switch"] else baseline["target"]
    shown: list[RenderableType] = [
        text(first["target"]),
        text(f"compared with {baseline['label']} ({other})"),
    ]
    if table.row_count:
        shown.append(table)
    if results["summary"]:
        pairs = sorted({cell["pairs"] for cell in results["summary"]})
        each = plural(pairs[0], "pair") if len(pairs) == 1 else f"{pairs[0]} to {pairs[-1]} pairs"
        what = f"Cold starts and warm calls are the candidate's; costs are medians of {each}, in ms"
        costs = [cell["metrics"][name]["difference"] for cell in results["summary"] for name in _SHOWN]
        known = any(cost is not None and cost["interval"] is not None for cost in costs)
        shown.append(text(f"{what}, with their 99% intervals." if known else f"{what}."))
    wrong = [*(f"! {check['text']}" for check in checks), *_said(results)]
    shown += [text(each, style="red" if color else "") for each in wrong]
    whole = printed(Group(*shown), width=width, color=color) + "\n"
    return whole.encode("ascii", "replace").decode() if ascii_only else whole


def _columns(metric: Metric) -> list[str]:
    candidate, difference = metric["candidate"], metric["difference"]
    value = ABSENT if candidate is None else number(candidate["median"])
    if difference is None:
        return [value, ABSENT]
    cost = signed(difference["median"])
    interval = difference["interval"]
    if interval is not None:
        cost += f"\n{signed(interval['low'])} to {signed(interval['high'])}"
    return [value, cost]


def _spans(results: Results) -> str:
    """What became of the spans, in all cells together."""
    counts = [cell["candidate"]["spans"] for cell in results["summary"]]
    made = [count["made"] for count in counts if count.get("made") is not None]
    delivered = sum(count["delivered"] for count in counts)
    if not any(count["invocations"] for count in counts):
        return ""
    if len(made) < len(counts):
        return f"Spans: {delivered:,} arrived."
    return f"Spans: {delivered:,} of {sum(each or 0 for each in made):,} arrived."


def _places(results: Results) -> list[Place]:
    """Every cell that was planned."""
    asked = results["settings"]["python"]
    pythons = (
        [None] if asked is None or not any(s["python"] for s in results["samples"]) else asked.split(",")
    )
    variants = [name for name in results["targets"] if name != "baseline"]
    return [
        (size, py, name) for size in results["settings"]["memory_mb"] for py in pythons for name in variants
    ]


def _cell(results: Results, place: Place) -> Cell | None:
    cells = {(cell["memory_mb"], cell["python"], cell["variant"]): cell for cell in results["summary"]}
    return cells.get(place)


def _state(failed: list[str], cell: Cell | None, checks: Sequence[Check]) -> str:
    if failed:
        return "failed"
    if cell is None or not cell["pairs"]:
        return "not measured"
    place = (cell["memory_mb"], cell["python"])
    outcomes = {check["verdict"] for check in checks if (check["memory_mb"], check["python"]) == place}
    return "over" if "FAIL" in outcomes else "warn" if outcomes else "ok"


def _failures(results: Results, place: Place) -> list[str]:
    return [
        doubt["text"]
        for doubt in results["warnings"]
        if doubt["severity"] == "failure"
        and all(
            there in {None, here}
            for here, there in zip(
                place, (doubt["memory_mb"], doubt.get("python"), doubt.get("variant")), strict=True
            )
        )
    ]


def _said(results: Results) -> list[str]:
    counts = results["counts"]
    said = [f"! {results['error']}"] if results["error"] else []
    said += [f"! {doubt['text']}" for doubt in results["warnings"] if doubt["severity"] == "failure"]
    codes = {"load", "noise", "few-pairs", "spans-unseen", "two-clocks"}
    seen: dict[str, str] = {}
    for doubt in results["warnings"]:
        if doubt["severity"] == "warning" and doubt["code"] in codes:
            seen.setdefault(doubt["code"], doubt["text"])
    said += [f"! {text}" for text in seen.values()]
    if results["interrupted"]:
        said.append("! Interrupted: what is above is what was measured until then.")
    if spans := _spans(results):
        said.append(spans)
    measured = (
        f"Measured: {plural(len(results['summary']), 'cell')}, {plural(counts['pairs'], 'pair')}, "
        f"{plural(counts['samples'], 'environment')}, {plural(counts['invocations'], 'invocation')}, "
        f"{counts['failed']:,} failed, in {results['elapsed_s']:,.0f} s."
    )
    return [*said, measured]
