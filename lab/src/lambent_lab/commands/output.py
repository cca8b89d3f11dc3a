"""How commands write: width, colour and glyphs that standard output takes; progress on standard error."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from lambent_lab.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from lambent_lab.measure.results import Results
    from lambent_lab.traces import SpanRecord
    from lambent_lab.traces.waterfall import Style

_COLOURS: dict[Style, dict[str, str | bool]] = {
    "title": {"bold": True},
    "bar": {"fg": "cyan"},
    "error": {"fg": "red", "bold": True},
    "dim": {"dim": True},
}


@dataclass(frozen=True, slots=True)
class Look:
    """What the standard output can show."""

    width: int
    color: bool
    ascii_only: bool

    @classmethod
    def of_stdout(cls, width: int | None = None) -> Look:
        """Look at the standard output: 80 columns and no colour when it is no terminal."""
        from lambent_lab.traces.waterfall import encodable

        terminal = sys.stdout.isatty()
        plain = not terminal or bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
        return cls(
            width=width or (shutil.get_terminal_size((80, 24)).columns if terminal else 80),
            color=not plain,
            ascii_only=not encodable(getattr(sys.stdout, "encoding", None)),
        )


def draw(spans: Sequence[SpanRecord], look: Look, *, attributes: bool = False) -> str:
    """Return the waterfall of one trace, ready to be written."""
    from lambent_lab.traces.waterfall import plain, render

    lines = render(spans, width=look.width, ascii_only=look.ascii_only, attributes=attributes)
    if not look.color:
        return plain(lines)
    return "".join(
        "".join(
            click.style(segment.text, **_COLOURS[segment.style])  # type: ignore[arg-type]  # names of click's own
            if segment.style in _COLOURS
            else segment.text
            for segment in line
        )
        + "\n"
        for line in lines
    )


def print_report(results: Results) -> None:
    """Print the report of a result file, as wide as the terminal is, from 80 to 100 columns."""
    from lambent_lab.report import terminal

    look = Look.of_stdout()
    width = max(80, min(look.width, 100))
    text = terminal.render(results, width=width, color=look.color, ascii_only=look.ascii_only)
    click.echo(text, nl=False, color=look.color)


def writable(*paths: Path | None) -> None:
    """Say before an hour of measuring that its result could not be written. Raises UsageError."""
    for path in paths:
        if path is None:
            continue
        if str(path) == "-":
            raise UsageError("'-' is no name for this file: --json prints what was measured.")
        if path.is_dir() or not path.parent.is_dir():
            raise UsageError(f"Cannot write {path}: {path.parent} is not a folder, or {path.name} is one.")
        # A file is put in the place of an older one; a link, a device or a pipe is written itself.
        itself = path.exists() and (path.is_symlink() or not path.is_file())
        where = path if itself else path.resolve().parent
        if not os.access(where, os.W_OK):
            raise UsageError(f"Cannot write {path}: {where} is not writable. Name a file in another folder.")


@contextmanager
def waiting(text: str) -> Iterator[None]:
    """Show that something goes on, and for how long, while it does; on a terminal's standard error only."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    # The standard output is not redirected: it may be a file.
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    ) as progress:
        progress.add_task(text, total=None)
        yield
