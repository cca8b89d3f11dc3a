"""`lambent serve`: AWS's Lambda API on this machine, for the functions of a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lambent_lab.commands import options
from lambent_lab.errors import UsageError

if TYPE_CHECKING:
    from lambent_lab.commands.events import Printer
    from lambent_lab.service.files import Configuration


@click.command(name="serve", short_help="Serve AWS's Lambda API for the functions of a file.")
@click.argument("file", metavar="[FILE|FOLDER/module.function]", required=False)
@click.option(
    "--host", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="The address to listen on."
)
@click.option(
    "--port",
    metavar="N",
    type=click.IntRange(0, 65535),
    default=3001,
    show_default=True,
    help="The port; 0 takes a free one.",
)
@click.option(
    "--rie",
    metavar="[NAME]",
    is_flag=False,
    flag_value="",
    help="Answer the URL of AWS's interface emulator too: its `function` is NAME, or the only one.",
)
@click.option(
    "--rie-port",
    metavar="N",
    type=click.IntRange(0, 65535),
    default=9000,
    show_default=True,
    help="The port for that.",
)
@click.option(
    "--watch", "watching", is_flag=True, help="Follow changes of the code, of layers and of the file itself."
)
@click.option(
    "--max-environments",
    metavar="N",
    type=click.IntRange(1),
    default=1000,
    show_default=True,
    help="As many at once; more invocations are answered 429.",
)
@click.option(
    "--idle-timeout",
    metavar="S",
    type=options.Seconds(0, min_open=True),
    default=600.0,
    show_default=True,
    help="Seconds after which an idle environment is ended.",
)
@click.option(
    "--event-retry-wait",
    metavar="S",
    type=options.Seconds(0),
    default=60.0,
    show_default=True,
    help="Seconds until an asynchronous event is tried again that the function failed on; the second time it "
    "is twice as long.",
)
@click.option(
    "--aws-endpoint-url",
    metavar="URL",
    help="Where queues, topics, buckets and event buses are: an emulator's address (default: as "
    "AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_SQS and their like say it; else nothing is called).",
)
@click.option(
    "--no-freeze", "freeze", is_flag=True, flag_value=False, default=True, help="Environments run on."
)
@click.option("--otlp", is_flag=True, help="Have the functions send their spans to the lab over OTLP/HTTP.")
@click.option(
    "--store",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where traces are kept (default: as for `lambent trace`).",
)
@click.option(
    "--url", "urls", is_flag=True, help="Give every function an HTTP endpoint, as `url: true` in a file does."
)
@options.env
@click.option(
    "--parameter", "parameters", metavar="K=V", multiple=True, help="A template's parameter; may be repeated."
)
@click.option(
    "--layer", "layers", metavar="ARN=PATH", multiple=True, help="What a layer's ARN means; may be repeated."
)
@click.option("--empty", is_flag=True, help="Start without functions: they are made over the API.")
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object a line for each event, and nothing else."
)
def command(
    file: str | None,
    host: str,
    port: int,
    rie: str | None,
    rie_port: int,
    watching: bool,
    max_environments: int,
    idle_timeout: float,
    event_retry_wait: float,
    aws_endpoint_url: str | None,
    freeze: bool,
    otlp: bool,
    store: Path | None,
    urls: bool,
    env: tuple[str, ...],
    parameters: tuple[str, ...],
    layers: tuple[str, ...],
    empty: bool,
    as_json: bool,
) -> None:
    """Serve AWS's Lambda API for the functions of a file, until Ctrl-C or SIGTERM.

    FILE is the lab's own (lambent.yaml, lambent.toml) or a SAM or CloudFormation template; without it, the
    first of these in the current folder. boto3 takes the URL as endpoint_url, the aws CLI as --endpoint-url,
    and both as AWS_ENDPOINT_URL_LAMBDA. Requests are not authenticated.

    Exit code 0: ended by Ctrl-C or a signal; 1: it could not start; 2: wrong usage.
    """
    from lambent_lab.commands.events import JsonLines, Lines
    from lambent_lab.commands.inputs import parse_env, store_of
    from lambent_lab.commands.origin import Origin, path_of
    from lambent_lab.commands.serving import Plan, serve
    from lambent_lab.service import Lab

    path = None if empty else path_of(file)
    origin = Origin(path, file, parameters, layers, urls=urls)
    configuration = origin.read()
    plan = Plan(
        host=host,
        port=port,
        rie=None if rie is None else _rie_name(rie, configuration),
        rie_port=rie_port,
        watching=watching,
        freeze=freeze,
        otlp=otlp,
        env=parse_env(env),
    )
    printer: Printer = JsonLines() if as_json else Lines(one.name for one in configuration.definitions)
    try:
        with (
            store_of(store) as kept,
            Lab(
                store=kept,
                max_environments=max_environments,
                idle_timeout=idle_timeout,
                event_retry_wait=event_retry_wait,
                aws_endpoint_url=aws_endpoint_url,
            ) as lab,
        ):
            serve(lab, origin, configuration, plan, printer)
    except (KeyboardInterrupt, SystemExit):
        printer.ended()


def _rie_name(wanted: str, configuration: Configuration) -> str:
    """Return the function that RIE's URL means."""
    names = [one.name for one in configuration.definitions]
    names += [one.other_name for one in configuration.definitions if one.other_name]
    if wanted:
        if wanted not in names and configuration.definitions:
            raise UsageError(f"--rie names {wanted}, which is none of {', '.join(names)}.")
        return next((one.name for one in configuration.definitions if one.other_name == wanted), wanted)
    if len(configuration.definitions) != 1:
        raise UsageError(
            f"--rie needs a name where there is not one function: {', '.join(names) or 'none yet'}."
        )
    return names[0]
