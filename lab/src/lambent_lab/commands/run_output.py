"""How `lambent load`, `soak` and `tune` end: the file, its report, the exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import TypeVar

    from lambent_lab.measure.results import Results

    F = TypeVar("F", bound=Callable[..., object])


def output(default: str) -> Callable[[F], F]:
    """Give a command --output, --html and --json."""
    from pathlib import Path

    def decorate(command: F) -> F:
        command = click.option("--json", "as_json", is_flag=True, help="Print the result file's content.")(
            command
        )
        command = click.option(
            "--html",
            "page",
            metavar="FILE",
            type=click.Path(dir_okay=False, path_type=Path),
            help="The page with the plots.",
        )(command)
        return click.option(
            "--output",
            metavar="FILE",
            type=click.Path(dir_okay=False, path_type=Path),
            default=Path(default),
            show_default=True,
            help="The result file.",
        )(command)

    return decorate


def finish(results: Results, path: Path, page: Path | None, *, as_json: bool) -> int:
    """Write the file and the page, print what was found, and return the exit code.

    0: measured; 1: something failed, or what was found is a failure; 130: interrupted, and written.
    """
    from lambent_lab import report
    from lambent_lab.commands.output import print_report
    from lambent_lab.measure.bench import exit_code
    from lambent_lab.measure.results import dumps, write_text

    text = dumps(results)
    write_text(path, text)
    if page is not None:
        write_text(page, report.render(results, "html"))
    if as_json:
        click.echo(text, nl=False)
    else:
        print_report(results)
    click.echo(f"Wrote {path}{f' and {page}' if page is not None else ''}.", err=True)
    return exit_code(results)
