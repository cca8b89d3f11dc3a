"""`lambent report`: a performance result file, shown again."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(name="report", short_help="Show a result file in the terminal or as a page.")
@click.argument("file", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["terminal", "html", "json"]),
    default="terminal",
    show_default=True,
    help="What to make of it.",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write it (default: standard output).",
)
def command(file: Path, form: str, output: Path | None) -> None:
    """Show a result file that `lambent bench` wrote. Nothing is measured or computed again."""
    from lambent_lab import report
    from lambent_lab.measure.results import read, write_text

    text = report.render(read(file), form)
    if output is None:
        click.echo(text, nl=False)
    else:
        write_text(output, text)
        click.echo(f"Wrote {output}.", err=True)
