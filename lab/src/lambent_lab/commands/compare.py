"""`lambent compare`: what changed between result files."""

from __future__ import annotations

import json
from pathlib import Path

import click

from lambent_lab.commands import bench
from lambent_lab.errors import UsageError

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(name="compare", short_help="Show what changed between result files.")
@click.argument(
    "files",
    metavar="A.json B.json [C.json …]",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option(
    "--json",
    "json_file",
    metavar="[FILE]",
    is_flag=False,
    flag_value="-",
    help="Write the comparison as JSON; without FILE it is printed.",
)
@click.option(
    "--markdown", "--md", "markdown_file", metavar="FILE", type=_FILE, help="A comment for a pull request."
)
def command(files: tuple[Path, ...], json_file: str | None, markdown_file: Path | None) -> None:
    """Show the numbers of result files side by side, and what else was different between their runs.

    This is history, not a gate: separate runs have no common interval and no verdict. What was measured on
    another machine is shown and called that. Exit code 0: shown; 2: bad usage, or not a result file.
    """
    from lambent_lab.commands.output import Look
    from lambent_lab.measure.comparison import compare
    from lambent_lab.measure.results import read, write_text
    from lambent_lab.report import compared, markdown, terminal

    if len(files) < 2:
        raise UsageError("There is one file only: name two result files or more, the oldest first.")
    outputs = [Path(each) for each in (json_file, markdown_file) if each is not None and str(each) != "-"]
    for path in outputs:
        bench.writable(path)
    found = compare([(str(path), read(path)) for path in files])
    document = compared.document(found)
    if markdown_file is not None:
        write_text(markdown_file, markdown.write(document))
    if json_file is not None:
        text = json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        if json_file == "-":
            click.echo(text, nl=False)
        else:
            write_text(Path(json_file), text)
    if json_file != "-":
        look = Look.of_stdout()
        width = max(80, min(look.width, 120))
        shown = terminal.write(document, width=width, color=look.color, ascii_only=look.ascii_only)
        click.echo(shown, nl=False, color=look.color)
    if outputs:
        click.echo(f"Wrote {' and '.join(str(path) for path in outputs)}.", err=True)
