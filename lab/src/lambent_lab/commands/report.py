"""`lambent report`: a performance result file, shown again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lambent_lab.errors import UsageError

if TYPE_CHECKING:
    from lambent_lab.measure.results import Results


@click.command(name="report", short_help="Show a result file: terminal, page, Markdown, CSV, JUnit.")
@click.argument("file", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--html", metavar="FILE", help="Write the page with the plots: one file, without network.")
@click.option("--md", "markdown", metavar="FILE", help="Write Markdown for a comment on a pull request.")
@click.option("--csv", metavar="FILE", help="Write every raw value: one row an invocation.")
@click.option("--junit", metavar="FILE", help="Write JUnit XML.")
@click.option(
    "--json",
    metavar="[FILE]",
    is_flag=False,
    flag_value="-",
    help="Write the result file itself, brought to the newest format.",
)
@click.option(
    "--format",
    "fmt",
    type=click.Choice(["terminal", "html", "markdown", "csv", "junit", "json"]),
    help="What to print or write to --output (default: terminal, when no file is asked for).",
)
@click.option("-o", "--output", metavar="FILE", help="Where to write what --format says (default: -).")
def command(
    file: Path,
    html: str | None,
    markdown: str | None,
    csv: str | None,
    junit: str | None,
    json: str | None,
    fmt: str | None,
    output: str | None,
) -> None:
    """Show a result file that `lambent bench` or another command wrote. Nothing is measured again.

    Several files can be written at once; - is the standard output. Exit code 0: written, whatever the result
    says; 1: a file could not be written; 2: it is not a result file, or bad usage.
    """
    from lambent_lab.measure.results import read

    named = {"html": html, "markdown": markdown, "csv": csv, "junit": junit, "json": json}
    wanted = [(each, place) for each, place in named.items() if place is not None]
    if fmt is not None or output is not None or not wanted:
        wanted.append((fmt or "terminal", output or "-"))
    places = [place for _, place in wanted]
    for place in places:
        if places.count(place) > 1:
            where = "the standard output" if place == "-" else place
            raise UsageError(f"Two reports cannot both go to {where}: give one of them another file.")
    results = read(file)
    for form, place in wanted:
        _write(results, form, place)


def _write(results: Results, form: str, place: str) -> None:
    from lambent_lab import report
    from lambent_lab.commands.output import print_report
    from lambent_lab.measure.results import write_text

    if place == "-":
        if form == "terminal":
            print_report(results)
        else:
            click.echo(report.render(results, form), nl=False)
    else:
        write_text(Path(place), report.render(results, form))
        click.echo(f"Wrote {place}.", err=True)
