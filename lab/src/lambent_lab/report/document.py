"""What a report says, before it has a form: the terminal, the page and Markdown all write this.

Texts are plain text, whatever is in them: escaping is the business of whoever writes them out.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

State = Literal["measured", "passed", "failed", "unsure", "interrupted"]
"""measured: there are numbers; passed, failed, unsure: a verdict about them; interrupted: there are some."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One place of a table. range: its interval, shown beside it; short: its text in a terminal."""

    text: str
    range: str = ""
    short: str = ""
    tone: Literal["", "good", "bad", "warn"] = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column's heading. narrow: what of it is left where there are 80 columns only."""

    name: str
    narrow: Literal["all", "text", "none"] = "all"
    words: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a table; a detail of the one above it when not `main`."""

    cells: tuple[Cell, ...]
    main: bool = True


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under columns; `lines` are said below them. The first column names the row."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    lines: tuple[str, ...] = ()

    @property
    def shown(self) -> bool:
        """Whether there is anything to show."""
        return bool(self.rows or self.lines)


@dataclass(frozen=True, slots=True)
class Section:
    """One subject. `key` is where charts about it are put; one with nothing in it is not shown."""

    key: str
    title: str
    note: str = ""
    tables: tuple[Table, ...] = ()
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure in large, with what belongs to it."""

    name: str
    value: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Document:
    """A whole report. `verdict` is one sentence; `reasons` say why there is no result, or what decided."""

    kind: str
    title: str
    subtitle: str
    state: State
    verdict: str
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    tiles: tuple[Tile, ...] = ()
    sections: tuple[Section, ...] = ()
    facts: tuple[tuple[str, str], ...] = field(default=())
    cannot: tuple[str, ...] = ()


def mapped(document: Document, change: Callable[[str], str]) -> Document:
    """The document with every text changed."""
    found = _mapped(document, change)
    assert isinstance(found, Document)
    return found


def _mapped(value: object, change: Callable[[str], str]) -> object:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, tuple):
        return tuple(_mapped(each, change) for each in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(
            value, **{each.name: _mapped(getattr(value, each.name), change) for each in fields(value)}
        )
    return value


def cells(*texts: str) -> tuple[Cell, ...]:
    """Texts as cells."""
    return tuple(Cell(text) for text in texts)
