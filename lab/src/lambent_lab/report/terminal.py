"""The result in a terminal: 80 columns, readable without colour and in a log."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lambent_lab.report.view import page

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lambent_lab.measure.results import Results
    from lambent_lab.report.view import Page, Row, SizeView

_NAMES = {
    "cold_ms": "cold start",
    "init_ms": "  init",
    "first_ms": "  first call",
    "warm_ms": "warm call",
    "memory_mb": "peak memory",
    "peak_rss_mb": "  resident",
    "page_cache_mb": "  with cache",
    "cold_cpu_ms": "CPU, cold",
    "warm_cpu_ms": "CPU, warm",
}


_ASCII = str.maketrans({"\u2500": "-", "\u2013": "-", "\u2026": "..."})
"""Line, dash and ellipsis, where a terminal or log does not have them."""


def renderable(results: Results) -> RenderableType:
    """The report as something a rich console prints."""
    view = page(results)
    parts: list[RenderableType] = [_text(view.title, style="bold"), _text(view.subtitle)]
    style = {"measured": "green", "failed": "bold red", "interrupted": "yellow"}[view.state]
    alone = len(view.sizes) == 1
    if view.state != "measured" or alone:
        parts += ["", _text(view.headline, style=style)]
    parts += [_text(f"! {failure}", style="red") for failure in view.failures]
    for size in view.sizes:
        parts += _size(size, view, alone=alone)
    parts += _notes(view)
    return Group(*parts)


def render(results: Results, *, width: int = 80, color: bool = False, ascii_only: bool = False) -> str:
    """The report as text, `width` columns wide; of the figures' signs, those that ASCII has if asked to."""
    file = io.StringIO()
    console = Console(
        file=file,
        width=width,
        force_terminal=color,
        color_system="standard" if color else None,
        legacy_windows=False,
    )
    console.print(renderable(results), highlight=False)
    text = "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"
    return text.translate(_ASCII) if ascii_only else text


def _text(text: str, style: str = "") -> Text:
    """Text as text: markup is not read, and control characters (a function's message may hold some) are
    shown.
    """
    return Text("".join(each if each.isprintable() else repr(each)[1:-1] for each in text), style=style)


def _size(size: SizeView, view: Page, *, alone: bool) -> list[RenderableType]:
    parts: list[RenderableType] = []
    if size.rows:
        if size.sentence and not alone:
            parts += ["", _text(size.sentence)]
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
        table.add_column(size.title, no_wrap=True, min_width=12)
        table.add_column(view.baseline, justify="right", no_wrap=True)
        table.add_column(view.candidate, justify="right", no_wrap=True)
        table.add_column("cost (99% interval)", no_wrap=True)
        table.add_column("ratio", justify="right", no_wrap=True)
        for row in size.rows:
            main = row.key in {"cold_ms", "warm_ms", "memory_mb"}
            cells = (_NAMES[row.key], row.baseline, row.candidate, _cost(row), row.ratio)
            table.add_row(*(_text(cell) for cell in cells), style="" if main else "dim")
        parts.append(table)
    else:
        parts += ["", _text(f"{size.title}: no cost is shown, because it was not measured.", style="bold")]
    parts += [Padding(_text(line), (0, 0, 0, 1)) for line in (*size.spans, *size.counts)]
    if size.rows:
        parts += [Padding(_text(f"warm, {line}"), (0, 0, 0, 1)) for line in size.percentiles]
    return parts


def _cost(row: Row) -> str:
    return f"{row.cost} ({row.cost_interval})" if row.cost_interval else row.cost


def _notes(view: Page) -> list[RenderableType]:
    parts: list[RenderableType] = []
    if view.warnings:
        parts.append("")
        parts += [_text(f"! {warning}", style="yellow") for warning in view.warnings]
    facts = dict(view.facts)
    parts.append("")
    parts += [_text(f"{name}: {facts[name]}") for name in ("Measured", "CPU", "Box") if name in facts]
    parts += [_text(f"! The box cannot: {each}") for each in view.cannot]
    return parts
