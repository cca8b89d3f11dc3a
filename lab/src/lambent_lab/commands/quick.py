"""`lambent quick`: is the overhead of tracing acceptable on this machine? A second or two."""

from __future__ import annotations

import click

from lambent_lab.commands.output import waiting


@click.command(name="quick", short_help="Say in a few seconds whether tracing's overhead is acceptable.")
@click.option(
    "--limit",
    metavar="RATIO",
    type=click.FloatRange(1, min_open=True),
    default=2.0,
    show_default=True,
    help="How many times as long as an untraced call a traced one may take.",
)
@click.option(
    "--processes",
    metavar="N",
    type=click.IntRange(1),
    default=8,
    show_default=True,
    help="Fresh processes; 8 or more give an interval.",
)
@click.option(
    "--pairs",
    metavar="N",
    type=click.IntRange(1),
    default=200,
    show_default=True,
    help="Calls of each kind in a process.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result with every time, as JSON.")
@click.pass_context
def command(context: click.Context, limit: float, processes: int, pairs: int, as_json: bool) -> None:
    """Time a small operation untraced and traced, in pairs, in fresh processes of this Python.

    The operation takes some ten microseconds: the ratio is that of a function which does little. What
    tracing costs a Lambda function is measured by `lambent bench`. Exit code 0: the overhead is below the
    limit; 1: it is not, or it could not be measured; 2: bad usage; 130: interrupted,
    what was measured so far is printed.
    """
    import json

    from lambent_lab.measure.testers import quick

    with waiting("measuring"):
        result = quick.measure(limit, processes=processes, pairs=pairs)
    click.echo(
        json.dumps(result, indent=1, allow_nan=False) + "\n" if as_json else quick.render(result), nl=False
    )
    context.exit(130 if result["interrupted"] else 0 if result["is_acceptable"] else 1)
