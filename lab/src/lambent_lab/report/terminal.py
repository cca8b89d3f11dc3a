"""The result in a terminal: 80 columns, readable without colour and in a log."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from lambent_lab.report.document import mapped
from lambent_lab.report.view import page
from lambent_lab.report.words import plural

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lambent_lab.measure.results import Results
    from lambent_lab.report.document import Cell, Document, Row, Section, Table

_ASCII = {
    **str.maketrans({"\u2013": "-", "\u2026": "...", "\u2192": "->", "\u00d7": "x", "\u00b5": "u"}),
    **str.maketrans({"\u2265": ">=", "\u2264": "<=", "\u00b1": "+/-", "\u2014": "-", "\u2212": "-"}),
}
"""What reports write that a terminal or log may not have."""

_LAID_OUT = str.maketrans({"\u2500": "-", "\u2026": "."})
"""What a table is drawn with: a sign for a sign, it has its place already."""

_STYLES = {
    "measured": "green",
    "passed": "bold green",
    "failed": "bold red",
    "unsure": "bold yellow",
    "interrupted": "yellow",
}
_TONES = {"": "", "good": "green", "bad": "red", "warn": "yellow"}
_WARNINGS = 10
_FACTS = ("Measured", "CPU", "Box")


def renderable(results: Results) -> RenderableType:
    """The report as something a rich console prints."""
    return composed(page(results))


def composed(document: Document) -> RenderableType:
    """A document as something a rich console prints."""
    parts: list[RenderableType] = [_text(document.title, style="bold")]
    if document.subtitle:
        parts.append(_text(document.subtitle))
    parts += ["", _text(document.verdict, style=_STYLES[document.state])]
    parts += [_text(f"! {reason}", style=_STYLES[document.state]) for reason in document.reasons]
    for section in document.sections:
        if document.kind != "gate" or section.key == "gate":  # the page has what a gate rests on
            parts += _section(section)
    return Group(*parts, *_notes(document))


def render(results: Results, *, width: int = 80, color: bool = False, ascii_only: bool = False) -> str:
    """The report as text, `width` columns wide; of all signs, those that ASCII has if asked to."""
    return write(page(results), width=width, color=color, ascii_only=ascii_only)


def write(document: Document, *, width: int = 80, color: bool = False, ascii_only: bool = False) -> str:
    """A document as text; see `render`."""
    file = io.StringIO()
    console = Console(
        file=file,
        width=width,
        force_terminal=color,
        color_system="standard" if color else None,
        legacy_windows=False,
    )
    # Before it is laid out: what is written otherwise may be longer.
    console.print(composed(mapped(document, _ascii) if ascii_only else document), highlight=False)
    lines = "\n".join(line.rstrip() for line in file.getvalue().splitlines())
    while "\n\n\n" in lines:
        lines = lines.replace("\n\n\n", "\n\n")
    return (lines.translate(_LAID_OUT) if ascii_only else lines) + "\n"


def _ascii(text: str) -> str:
    """Text in ASCII: our own signs by others, and everything else (a name may have it) as it is escaped."""
    return text.translate(_ASCII).encode("ascii", "backslashreplace").decode("ascii")


def printable(text: str) -> str:
    """Text whose control characters (a function's message may hold some) are shown, not sent."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def _text(text: str, style: str = "") -> Text:
    """Text as text: markup is not read."""
    return Text(printable(text), style=style)


def _section(section: Section) -> list[RenderableType]:
    tables = [table for table in section.tables if table.shown]
    if not tables and not section.lines:
        return []
    parts: list[RenderableType] = []
    for table in tables:
        parts += _table(table)
    if section.lines:
        parts += ["", *(_text(line) for line in section.lines)]
    return parts


def _table(table: Table) -> list[RenderableType]:
    lines = [Padding(_text(line), (0, 0, 0, 1)) for line in table.lines]
    if not table.rows:
        return ["", _text(f"{table.title}.", style="bold"), *lines]
    places = [i for i, column in enumerate(table.columns) if column.narrow != "none"]
    grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    short = len(table.title) <= 16 and not table.columns[0].name
    for i in places:
        column = table.columns[i]
        name = table.title if short and i == 0 else column.name
        grid.add_column(
            _text(name),
            justify="left" if column.words else "right",
            no_wrap=not column.words,
            overflow="fold" if column.words else "ellipsis",
            min_width=_least(table, i),
        )
    for row in table.rows:
        grid.add_row(*_row(table, row, places), style="" if row.main else "dim")
    return ["", *([] if short else [_text(table.title, style="bold")]), grid, *lines]


def _least(table: Table, i: int) -> int | None:
    """How narrow a column of words may become: its longest word, as far as that is not much."""
    if not table.columns[i].words:
        return None
    texts = [row.cells[i].short or row.cells[i].text for row in table.rows]
    longest = max((len(word) for text in texts for word in printable(text).split()), default=0)
    return max(10 if i == 0 else 0, min(longest, 14))


def _row(table: Table, row: Row, places: list[int]) -> list[Text]:
    return [_cell(row.cells[i], ranged=table.columns[i].narrow == "all") for i in places]


def _cell(cell: Cell, *, ranged: bool) -> Text:
    text = cell.short or cell.text
    if ranged and cell.range:
        text += f" ({cell.range})"
    return _text(text, style=_TONES[cell.tone])


def _notes(document: Document) -> list[RenderableType]:
    parts: list[RenderableType] = []
    if document.warnings:
        parts.append("")
        parts += [_text(f"! {warning}", style="yellow") for warning in document.warnings[:_WARNINGS]]
        more = len(document.warnings) - _WARNINGS
        if more > 0:
            parts.append(_text(f"! {plural(more, 'more warning')}: the page has them all.", style="yellow"))
    facts = dict(document.facts)
    parts.append("")
    parts += [_text(f"{name}: {facts[name]}") for name in _FACTS if name in facts]
    parts += [_text(f"! The box cannot: {each}") for each in document.cannot]
    return parts
