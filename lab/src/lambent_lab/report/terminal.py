"""The result in a terminal: 80 columns, readable without colour and in a log."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.padding import Padding

from lambent_lab.report.document import mapped
from lambent_lab.report.grid import grid, text
from lambent_lab.report.view import page
from lambent_lab.report.words import plural

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lambent_lab.measure.results import Results
    from lambent_lab.report.document import Document, Section, Table

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
_WARNINGS = 10
_FACTS = ("Measured", "CPU", "Box")


def composed(document: Document, width: int = 80) -> RenderableType:
    """A document as something a rich console prints."""
    parts: list[RenderableType] = [text(document.title, style="bold")]
    if document.subtitle:
        parts.append(text(document.subtitle))
    parts += ["", text(document.verdict, style=_STYLES[document.state])]
    parts += [text(f"! {reason}", style=_STYLES[document.state]) for reason in document.reasons]
    for section in document.sections:
        if document.kind != "gate" or section.key == "gate":  # the page has what a gate rests on
            parts += _section(section, width)
    return Group(*parts, *_notes(document))


def printed(content: RenderableType, *, width: int, color: bool) -> str:
    """What rich prints of this, without the spaces at the ends of lines and without the last line's end."""
    file = io.StringIO()
    console = Console(
        file=file,
        width=width,
        force_terminal=color,
        color_system="standard" if color else None,
        legacy_windows=False,
    )
    console.print(content, highlight=False)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def render(results: Results, *, width: int = 80, color: bool = False, ascii_only: bool = False) -> str:
    """The report as text, `width` columns wide; of all signs, those that ASCII has if asked to."""
    return write(page(results), width=width, color=color, ascii_only=ascii_only)


def write(document: Document, *, width: int = 80, color: bool = False, ascii_only: bool = False) -> str:
    """A document as text; see `render`."""
    # Before it is laid out: what is written otherwise may be longer.
    content = composed(mapped(document, _ascii) if ascii_only else document, width)
    lines = printed(content, width=width, color=color)
    while "\n\n\n" in lines:
        lines = lines.replace("\n\n\n", "\n\n")
    return (lines.translate(_LAID_OUT) if ascii_only else lines) + "\n"


def _ascii(words: str) -> str:
    """Text in ASCII: our own signs by others, and everything else (a name may have it) as it is escaped."""
    return words.translate(_ASCII).encode("ascii", "backslashreplace").decode("ascii")


def _section(section: Section, width: int) -> list[RenderableType]:
    tables = [table for table in section.tables if table.shown]
    if not tables and not section.lines:
        return []
    parts: list[RenderableType] = []
    for table in tables:
        parts += _table(table, width)
    if section.lines:
        parts += ["", *(text(line) for line in section.lines)]
    return parts


def _table(table: Table, width: int) -> list[RenderableType]:
    lines = [Padding(text(line), (0, 0, 0, 1)) for line in table.lines]
    if not table.rows:
        return ["", text(f"{table.title}.", style="bold"), *lines]
    short = len(table.title) <= 16 and not table.columns[0].name
    head = [] if short or not table.title else [text(table.title, style="bold")]
    return ["", *head, grid(table, width, title=table.title if short else ""), *lines]


def _notes(document: Document) -> list[RenderableType]:
    parts: list[RenderableType] = []
    if document.warnings:
        parts.append("")
        parts += [text(f"! {warning}", style="yellow") for warning in document.warnings[:_WARNINGS]]
        more = len(document.warnings) - _WARNINGS
        if more > 0:
            parts.append(text(f"! {plural(more, 'more warning')}: the page has them all.", style="yellow"))
    facts = dict(document.facts)
    parts.append("")
    parts += [text(f"{name}: {facts[name]}") for name in _FACTS if name in facts]
    parts += [text(f"! The box cannot: {each}") for each in document.cannot]
    return parts
