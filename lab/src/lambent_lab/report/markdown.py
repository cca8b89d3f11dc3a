"""The result as Markdown for a comment on a pull request: the verdict, the tables, the rest folded away.

GitHub's Markdown. Names and messages are text: what Markdown or HTML would read is escaped, a line break is
a space, and an `@name` does not call anybody.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lambent_lab.report.grid import printable
from lambent_lab.report.view import page

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from lambent_lab.measure.results import Results
    from lambent_lab.report.document import Cell, Document, Section, Table

_SIGNS = {
    "measured": "\U0001f4cf",
    "passed": "\u2705",
    "failed": "\u274c",
    "unsure": "\u2754",
    "interrupted": "\u23f8\ufe0f",
}
_SPECIAL = re.compile(r"([\\`*_\[\]|~$])|^(>|[+=-]+(?=\s|$)|\d+(?=[.)](?:\s|$)))")
_LINKS = re.compile(r"(?<=[@#])(?=\w)|(?<=:)(?=//)|(?<=\bwww)(?=\.)", re.IGNORECASE)
"""Where GitHub would find a person, an issue or an address."""
_OPEN = {"numbers", "matrix", "gate", "load", "soak", "tune", "compare"}
"""The sections that are shown at once; the others are folded."""


def escaped(text: str) -> str:
    """Text as Markdown shows it unchanged, on one line."""
    flat = printable(" ".join(text.split()))
    flat = flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    flat = _SPECIAL.sub(_guarded, flat)
    return _LINKS.sub("<!-- -->", flat)


def _guarded(match: re.Match[str]) -> str:
    """A sign with what makes it one only; the number of a list item with that before its point."""
    return f"{match[0]}<!-- -->" if match[0].isdigit() else f"\\{match[0]}"


def render(results: Results) -> str:
    """The whole comment."""
    return write(page(results))


def write(document: Document) -> str:
    """A document as a comment."""
    title = escaped(document.title)
    parts = [f"### {_SIGNS[document.state]} {title}", f"**{escaped(document.verdict)}**"]
    parts += [f"- {escaped(reason)}" for reason in document.reasons]
    if document.subtitle:
        parts.append(escaped(document.subtitle))
    if document.warnings:
        parts.append("\n".join(f"> \u26a0\ufe0f {escaped(warning)}  " for warning in document.warnings))
    opened = {"gate"} if document.kind == "gate" else _OPEN
    for section in document.sections:
        parts += _section(section, opened)
    if document.facts:
        parts.append(_folded("Where and how", [_facts(document)]))
    return "\n\n".join(_joined(parts)) + "\n"


def _joined(parts: list[str]) -> list[str]:
    """Paragraphs; the lines of one list stay together."""
    found: list[str] = []
    for part in parts:
        if found and part.startswith("- ") and found[-1].startswith("- "):
            found[-1] += f"\n{part}"
        else:
            found.append(part)
    return found


def _section(section: Section, opened: AbstractSet[str]) -> list[str]:
    tables = [part for table in section.tables for part in _table(table)]
    lines = [f"- {escaped(line)}" for line in section.lines]
    if not tables and not lines:
        return []
    content = [*tables, "\n".join(lines)] if lines else tables
    return content if section.key in opened else [_folded(section.title, content)]


def _folded(title: str, content: list[str]) -> str:
    inner = "\n\n".join(content)
    return f"<details><summary>{escaped(title)}</summary>\n\n{inner}\n\n</details>"


def _table(table: Table) -> list[str]:
    lines = [f"- {escaped(line)}" for line in table.lines]
    parts = [f"**{escaped(table.title)}**"] if table.title else []
    if table.rows:
        heads = [escaped(column.name) or "&nbsp;" for column in table.columns]
        marks = ["---" if column.words else "---:" for column in table.columns]
        rows = [
            [_cell(cell, strong=row.main and i == 0) for i, cell in enumerate(row.cells)]
            for row in table.rows
        ]
        parts.append("\n".join(f"| {' | '.join(cells)} |" for cells in (heads, marks, *rows)))
    if lines:
        parts.append("\n".join(lines))
    return parts


def _cell(cell: Cell, *, strong: bool) -> str:
    text = escaped(cell.text)
    if strong and text:
        text = f"**{text}**"
    return f"{text} ({escaped(cell.range)})" if cell.range else text


def _facts(document: Document) -> str:
    lines = [f"- {escaped(name)}: {escaped(value)}" for name, value in document.facts]
    return "\n".join([*lines, *(f"- The box cannot: {escaped(each)}" for each in document.cannot)])
