"""How `lambent load`, `soak` and `tune` end: the file, the sentences in 80 columns, the exit code."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import click

from lambent_lab.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import TypeVar

    from lambent_lab.measure.results import Results

    F = TypeVar("F", bound=Callable[..., object])

WIDTH = 80


def output(default: str) -> Callable[[F], F]:
    """Give a command --output and --json."""
    from pathlib import Path

    def decorate(command: F) -> F:
        command = click.option("--json", "as_json", is_flag=True, help="Print the result file's content.")(
            command
        )
        return click.option(
            "--output",
            metavar="FILE",
            type=click.Path(dir_okay=False, path_type=Path),
            default=Path(default),
            show_default=True,
            help="The result file.",
        )(command)

    return decorate


def writable(path: Path) -> None:
    """Say before an hour of measuring that its result could not be written. Raises UsageError."""
    if path.is_dir() or not path.parent.is_dir():
        raise UsageError(f"Cannot write {path}: {path.parent} is not a folder, or {path.name} is one.")


def finish(results: Results, path: Path, *, as_json: bool, table: list[str]) -> int:
    """Write the file, print what was found, and return the exit code.

    0: measured; 1: something failed, or what was found is a failure; 130: interrupted, and written.
    """
    from lambent_lab.measure.bench import exit_code
    from lambent_lab.measure.results import dumps, write_text

    text = dumps(results)
    write_text(path, text)
    if as_json:
        click.echo(text, nl=False)
    else:
        click.echo("\n".join(summary(results, table)))
    click.echo(f"Wrote {path}.", err=True)
    return exit_code(results)


def summary(results: Results, table: list[str]) -> list[str]:
    """The lines of a summary: the headline, a table, the sentences, and what a reader must be told."""
    document: dict[str, Any] = {**results}
    section = document[document["kind"]]
    lines = wrap(section["headline"])
    if document["error"]:
        lines += wrap(document["error"], "! ")
    if document["interrupted"]:
        lines += wrap("Interrupted: these are the figures until then.", "! ")
    if table:
        lines += ["", *table]
    lines += ["", *(line for each in section["conclusion"] for line in wrap(each, "- "))]
    for doubt in results["warnings"]:
        lines += wrap(doubt["text"], "! ")
    return lines


def wrap(text: str, mark: str = "") -> list[str]:
    """Text in lines of at most 80 columns. What cannot be printed is escaped: it may come from a function."""
    clean = "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
    return textwrap.wrap(
        clean, WIDTH, initial_indent=mark, subsequent_indent=" " * len(mark), break_on_hyphens=False
    ) or [mark.rstrip()]


def columns(rows: list[list[str]], *, left: int = 1) -> list[str]:
    """Rows as a table: the first `left` columns flush left, the others flush right; cut at 80 columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip()[:WIDTH])
    return lines


def number(value: float | None, digits: int = 2) -> str:
    """A number, or a dash where there is none."""
    return "-" if value is None else f"{value:,.{digits}f}"
