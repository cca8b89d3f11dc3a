"""`lambent compare`: what changed between result files."""

from __future__ import annotations

import json
from pathlib import Path

import click

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
    from lambent_lab.commands.output import Look, writable
    from lambent_lab.measure.comparison import compare
    from lambent_lab.measure.results import read, write_text
    from lambent_lab.report import compared, markdown, terminal

    if len(files) < 2:
        raise UsageError("There is one file only: name two result files or more, the oldest first.")
    files_of = {"json": json_file, "markdown": markdown_file}
    printed = [form for form, file in files_of.items() if str(file) == "-"]
    if len(printed) > 1:
        raise UsageError("Two reports cannot both go to the standard output: give one of them a file.")
    outputs = [Path(file) for form, file in files_of.items() if file is not None and form not in printed]
    writable(*outputs)
    found = compare([(str(path), read(path)) for path in files])
    document = compared.document(found)
    for form, file in files_of.items():
        if file is None:
            continue
        text = markdown.write(document)
        if form == "json":
            text = json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        if form in printed:
            click.echo(text, nl=False)
        else:
            write_text(Path(file), text)
    if not printed:
        look = Look.of_stdout()
        width = max(80, min(look.width, 120))
        shown = terminal.write(document, width=width, color=look.color, ascii_only=look.ascii_only)
        click.echo(shown, nl=False, color=look.color)
    if outputs:
        click.echo(f"Wrote {' and '.join(str(path) for path in outputs)}.", err=True)
