"""A document's table in a terminal: laid out for its width, so that no figure is cut.

Where the intervals do not fit beside their figures they stand below them, and where that is too wide as well
they are left out. What is too wide even then becomes several tables below each other, each with the names of
its rows. Columns of words wrap; those of figures never do.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Literal

from rich import box
from rich.cells import cell_len
from rich.console import Group
from rich.table import Table as Grid
from rich.text import Text

if TYPE_CHECKING:
    from lambent_lab.report.document import Cell, Column, Table

    Intervals = Literal["beside", "below", "none"]

_TONES = {"": "", "good": "green", "bad": "red", "warn": "yellow"}
_BETWEEN = 3
"""What stands between two columns."""

_WORDS = 14
"""A column of words may become as narrow as its longest word, and need not be wider than this."""


def printable(text: str) -> str:
    """Text whose control characters (a function's message may hold some) are shown, not sent."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def text(words: str, style: str = "") -> Text:
    """Text as text: markup is not read."""
    return Text(printable(words), style=style)


def grid(table: Table, width: int, *, title: str) -> Group:
    """The table, in so many columns. title: what stands in the corner, where the first column has no name."""
    places = [i for i, column in enumerate(table.columns) if column.narrow != "none"]
    return Group(
        *(_grid(table, some, form, width, title) for some, form in _divided(table, places, width, title))
    )


def _grid(table: Table, places: list[int], form: Intervals, width: int, title: str) -> Grid:
    widths = _widths(table, places, form, width, title)
    made = Grid(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for i, wide in zip(places, widths, strict=True):
        column = table.columns[i]
        made.add_column(
            text(column.name or (title if i == 0 else "")),
            justify="left" if column.words else "right",
            vertical="top",
            overflow="fold",
            width=wide,
        )
    for row in table.rows:
        shown = (_cell(row.cells[i], table.columns[i], form) for i in places)
        made.add_row(*shown, style="" if row.main else "dim")
    return made


def _divided(table: Table, places: list[int], width: int, title: str) -> list[tuple[list[int], Intervals]]:
    """The columns, in as few tables as they fit in, and of these the fullest way in which they do."""
    forms: tuple[Intervals, ...] = ("beside", "below", "none")
    ways: list[tuple[int, Intervals]]
    # Two tables with intervals rather than one without.
    ways = [(1, "beside"), (1, "below"), (2, "beside"), (2, "below")]
    ways += [(number, form) for number in range(1, len(places)) for form in forms]
    for number, form in ways:
        divided = _runs(places, min(number, max(1, len(places) - 1)))
        if all(_needed(table, some, form, title) <= width for some in divided):
            return [(some, form) for some in divided]
    return [(some, "none") for some in _runs(places, max(1, len(places) - 1))]


def _runs(places: list[int], number: int) -> list[list[int]]:
    """The columns in so many runs, as equal as can be, each with the first column before it."""
    first, *rest = places
    least, more = divmod(len(rest), number)
    ends = [least * i + min(i, more) for i in range(number + 1)]
    return [[first, *rest[begin:end]] for begin, end in itertools.pairwise(ends)]


def _needed(table: Table, places: list[int], form: Intervals, title: str) -> int:
    return sum(_least(table, i, form, title) + _BETWEEN for i in places)


def _widths(table: Table, places: list[int], form: Intervals, width: int, title: str) -> list[int]:
    """The width of each column: what its figures need, and of the rest what its words would have."""
    found = [_least(table, i, form, title) for i in places]
    room = width - sum(found) - _BETWEEN * len(places)
    for number, i in enumerate(places):
        column = table.columns[i]
        shown = [cell_len(_cell(row.cells[i], column, form).plain) for row in table.rows]
        heading = cell_len(printable(column.name or (title if i == 0 else "")))
        wanted = max([heading, *(shown if column.words else ())])
        more = max(0, min(room, wanted - found[number]))
        found[number] += more
        room -= more
    return found


def _least(table: Table, i: int, form: Intervals, title: str) -> int:
    """How narrow a column may be: its figures and the words of its heading whole, other words wrapped."""
    column = table.columns[i]
    shown = [_cell(row.cells[i], column, form).plain for row in table.rows]
    heading = printable(column.name or (title if i == 0 else ""))
    head = min(_WORDS, max((cell_len(word) for word in heading.split()), default=0))
    if not column.words:
        return max([head, *(cell_len(line) for each in shown for line in each.splitlines())])
    longest = max((cell_len(word) for each in shown for word in each.split()), default=0)
    widest = max((cell_len(each) for each in shown), default=0)
    return max(10 if i == 0 else head, widest if widest <= _WORDS else min(longest, _WORDS))


def _cell(cell: Cell, column: Column, form: Intervals) -> Text:
    shown = printable(cell.short or cell.text)
    if column.narrow == "all" and cell.range and form != "none":
        shown += f"{' ' if form == 'beside' else chr(10)}({printable(cell.range)})"
    return Text(shown, style=_TONES[cell.tone])
