"""`lambent trace`: the stored traces, listed and drawn."""

from __future__ import annotations

import json

import click


@click.group(name="trace", short_help="List and draw the traces that were received.")
def command() -> None:
    """Show the traces that `lambent invoke` and `lambent serve` have kept.

    They are in .lambent/traces.db under the current folder, or where $LAMBENT_TRACES says; with /dev/null
    none are kept.
    """


@command.command(name="ls")
@click.option("--limit", metavar="N", type=click.IntRange(1), default=20, show_default=True, help="How many.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_traces(limit: int, as_json: bool) -> None:
    """List traces, the latest first."""
    from lambent_lab.commands.output import Look
    from lambent_lab.traces import Store
    from lambent_lab.traces.listing import table

    with Store.default() as store:
        traces = store.traces(limit)
        path = store.path
    if as_json:
        for trace in traces:
            click.echo(json.dumps(trace.to_json()))
    elif traces:
        look = Look.of_stdout()
        for line in table(traces, look.width, ascii_only=look.ascii_only):
            click.echo(line)
    else:
        click.echo(f"No traces in {path} yet: run `lambent invoke FOLDER/module.function`.", err=True)


@command.command(name="show")
@click.argument("trace_id", metavar="ID")
@click.option("-a", "--attributes", is_flag=True, help="Attributes, events and links as well.")
@click.option("--json", "as_json", is_flag=True, help="The trace as one JSON object.")
@click.option(
    "--width", metavar="N", type=click.IntRange(40, 1000), help="Columns (default: the terminal's, or 80)."
)
def show_trace(trace_id: str, attributes: bool, as_json: bool, width: int | None) -> None:
    """Draw a trace as a waterfall.

    ID is a trace id, the beginning of one, or `last`. Exit code 1 when there is no such trace.
    """
    from lambent_lab.commands.output import Look, draw
    from lambent_lab.traces import Store

    with Store.default() as store:
        spans = store.trace(trace_id)
    if as_json:
        found = {"trace_id": spans[0].trace_id, "spans": [span.to_json() for span in spans]}
        click.echo(json.dumps(found, allow_nan=False))
        return
    look = Look.of_stdout(width)
    click.echo(draw(spans, look, attributes=attributes), nl=False, color=look.color)
