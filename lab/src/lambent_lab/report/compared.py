"""Result files beside each other, as a document. Only rounded, nothing computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambent_lab.measure.comparison import NOTABLE
from lambent_lab.measure.gate.words import metric_name, percent
from lambent_lab.report import words
from lambent_lab.report.document import Cell, Column, Document, Row, Section, Table

if TYPE_CHECKING:
    from lambent_lab.measure.comparison import Compared, Comparison, FileInfo

_MAIN = {"cold_ms", "warm_ms", "memory_mb", "resident memory", "growth an invocation"}
_NAMES = {
    "first_ms": "first call",
    "warm_ms": "warm call",
    "cold_cpu_ms": "CPU, cold",
    "warm_cpu_ms": "CPU, warm",
}
_HIDDEN = {"peak_rss_mb", "page_cache_mb"}


def document(found: Comparison) -> Document:
    """All the words of a comparison."""
    files = found["files"]
    letters = [chr(ord("A") + i) if i < 26 else str(i) for i in range(len(files))]
    named = [
        f"{letter}: {file['name']} ({file['kind']}, {file['started'][:10]})"
        for letter, file in zip(letters, files, strict=True)
    ]
    tables = []
    for place in dict.fromkeys(map(_place, found["rows"])):
        rows = [row for row in found["rows"] if _place(row) == place and row["name"] not in _HIDDEN]
        memory, python, side = place
        where = "counts" if memory is None else f"{memory:,} MB" + (f", Python {python}" if python else "")
        tables.append(_table(f"{side}, {where}", rows, files, letters))
    lines = [f"{letter} {text}" for letter, file in zip(letters, files, strict=True) for text in _about(file)]
    return Document(
        kind="compare",
        title="Result files side by side",
        subtitle="; ".join(named),
        state="measured",
        verdict=_sentence(found, letters),
        sections=(Section("compare", "What changed", "", tuple(tables), tuple(lines)),),
    )


def _sentence(found: Comparison, letters: list[str]) -> str:
    others = [letter for letter, file in zip(letters, found["files"], strict=True) if file["other_machine"]]
    same = len(found["files"]) - 1 - len(others)
    parts = []
    if others:
        parts.append(
            f"{words.listed(others)}: other machine than A's, so no change is told and there is no verdict."
        )
    if same:
        notable = [row for row in found["rows"] if row["notable"]]
        if notable:
            names = [f"{_name(row)} of the {row['side']}" for row in notable[:3]]
            more = [f"{len(notable) - 3} more"] if len(notable) > 3 else []
            parts.append(f"Beyond ±{percent(NOTABLE)} on the same machine: {words.listed([*names, *more])}.")
        else:
            told = any(change is not None for row in found["rows"] for change in row["changes"][1:])
            nothing = f"Nothing changed by more than ±{percent(NOTABLE)} on the same machine."
            parts.append(nothing if told else "They have no number in common.")
        parts.append("Separate runs are history: for a verdict, run both in one go with `lambent gate`.")
    return " ".join(parts)


def _place(row: Compared) -> tuple[int | None, str | None, str]:
    return row["memory_mb"], row["python"], row["side"]


def _about(file: FileInfo) -> list[str]:
    found = [f"other machine: {'; '.join(file['other_machine'])}"] if file["other_machine"] else []
    found += [f"said {file['said']}"] if file["said"] else []
    return [*found, *(f"differs in {each}" for each in file["changed"])]


def _table(title: str, rows: list[Compared], files: list[FileInfo], letters: list[str]) -> Table:
    columns = [Column("", words=True), Column("A", narrow="text")]
    for letter in letters[1:]:
        columns += [Column(letter, narrow="text"), Column(f"{letter} / A")]
    lines = []
    for row in rows:
        cells = [Cell(_name(row)), _value(row, 0)]
        for i in range(1, len(letters)):
            cells += [_value(row, i), _change(row, i, files[i])]
        lines.append(Row(tuple(cells), main=row["name"] in _MAIN or row["memory_mb"] is None))
    return Table(title, tuple(columns), tuple(lines))


def _name(row: Compared) -> str:
    return _NAMES.get(row["name"]) or metric_name(row["name"])


def _value(row: Compared, i: int) -> Cell:
    figure = row["values"][i]
    if figure is None:
        return Cell(words.ABSENT)
    if not row["unit"]:
        value = figure["median"]
        return Cell(f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4g}")
    return Cell(words.quantity(figure["median"], row["unit"]), words.plain_range(figure, row["unit"]))


def _change(row: Compared, i: int, file: FileInfo) -> Cell:
    change = row["changes"][i]
    if file["other_machine"]:
        return Cell("other machine", tone="warn")
    if change is None:
        return Cell(words.ABSENT)
    return Cell(f"{change:+.1%}".replace("-0.0%", "+0.0%"), tone="warn" if abs(change) > NOTABLE else "")
