"""`lambent serve`: AWS's Lambda API on this machine, for the functions of a file."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lambent_lab.commands import options, sources
from lambent_lab.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from concurrent.futures import Future

    from lambent_lab.commands.events import Printer
    from lambent_lab.commands.feed import Feed
    from lambent_lab.function import FunctionSpec
    from lambent_lab.invocation import Invocation
    from lambent_lab.service import Lab
    from lambent_lab.service.api.desk import Desk
    from lambent_lab.service.catalog import Version
    from lambent_lab.service.core import Deployed
    from lambent_lab.service.files import Configuration
    from lambent_lab.service.policy import Outcome
    from lambent_lab.service.serving import Endpoint
    from lambent_lab.service.urls.doors import Door
    from lambent_lab.service.watch import File

_SAVE_S = 0.5  # how often received spans are stored
_SUFFIXES = frozenset({".yaml", ".yml", ".toml", ".json", ".template"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the command line asks for."""

    host: str
    port: int
    rie: str | None
    rie_port: int
    watching: bool
    freeze: bool
    otlp: bool
    env: dict[str, str] = field(default_factory=dict)


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
    from lambent_lab.service import Lab

    path = None if empty else _path(file)
    source = _Source(path, file, parameters, layers)
    configuration = source.read()
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
            _serve(lab, source, configuration, plan, printer)
    except (KeyboardInterrupt, SystemExit):
        printer.ended()


def _serve(lab: Lab, source: _Source, configuration: Configuration, plan: Plan, printer: Printer) -> None:
    """Set everything up, say so, and write what happens until somebody ends it."""
    import asyncio

    from lambent_lab.commands.feed import Feed
    from lambent_lab.service import setup
    from lambent_lab.service.api.desk import Desk
    from lambent_lab.service.serving import Endpoint
    from lambent_lab.service.urls.doors import urls_of
    from lambent_lab.service.watch import watch

    happened = Feed()
    lab.core.adjust = _adjustment(lab, plan)

    def on_line(name: str) -> Callable[[str], None]:
        return lambda line: happened.tell(partial(printer.line, name, line))

    def tell(kind: str, what: str) -> None:
        happened.tell(partial(printer.revised, kind, what))

    urls_of(lab.core).host = plan.host
    made = [setup.deploy(lab, one, on_line(one.name)) for one in configuration.definitions]
    _hear(lab, happened, printer)  # not before: `ready` tells the URLs of these functions
    desk = Desk(lab.core, layers=configuration.layers, on_line=on_line)
    named: list[dict[str, str]] = [{}] if plan.rie is None else [{}, {"function": plan.rie}]
    endpoints = [(Endpoint(desk, {**_other_names(configuration), **names}), names) for names in named]
    ports = (plan.port, plan.rie_port)
    servers = [lab.listen(each, plan.host, port) for (each, _), port in zip(endpoints, ports, strict=False)]
    server, rie = servers[0], servers[1] if len(servers) > 1 else None
    with ExitStack() as stack:
        watching: Future[None] | None = None
        if plan.watching:
            functions = [lab.core.functions[one.name] for one in configuration.definitions]
            seen = asyncio.Event()
            if source.file is not None:
                source.file.revise = _revision(source, configuration, desk, endpoints, on_line, tell)
            watching = lab.begin(
                watch(
                    lab.core,
                    functions,
                    lambda name: happened.tell(partial(printer.changed, name)),
                    seen,
                    source.file,
                )
            )
            stack.callback(watching.cancel)
            lab.run(seen.wait())  # whoever reads that it is ready may change code at once
        own = {function.name: url for function in made if (url := function.url) is not None}
        rie_url = None if rie is None else rie.url
        printer.ready(server.url, rie_url, lab.otlp_url, list(lab.core.functions), own)
        _write(lab, happened, printer, watching)


def _write(lab: Lab, happened: Feed, printer: Printer, watching: Future[None] | None) -> None:
    """Write what happens, and store spans, until somebody ends it."""
    saved = time.monotonic()
    try:
        while True:
            if happened.wait(_SAVE_S):
                happened.write()
                printer.flush()
            if time.monotonic() - saved >= _SAVE_S:
                lab.save()
                saved = time.monotonic()
            if watching is not None and watching.done():
                watching.result()  # raises what keeps it from watching
    finally:
        happened.write()
        if lab.core.events.waiting:
            printer.left(lab.core.events.waiting)
        printer.flush()


def _hear(lab: Lab, happened: Feed, printer: Printer) -> None:
    """Have invocations and events written down when they are over, and URLs when there are new ones."""
    from lambent_lab.service.urls.doors import urls_of

    def on_done(deployed: Deployed, version: Version, done: Invocation) -> None:
        happened.tell(partial(printer.done, deployed.name, version.number, done))

    def on_over(outcome: Outcome) -> None:
        happened.tell(partial(printer.over, outcome))

    def on_open(door: Door) -> None:
        happened.tell(partial(printer.opened, door.deployed.name, door.url))

    urls_of(lab.core).on_open.append(on_open)
    lab.core.on_done.append(on_done)
    lab.core.events.on_over.append(on_over)
    sources.hear(lab, happened, printer)


def _adjustment(lab: Lab, plan: Plan) -> Callable[[FunctionSpec], FunctionSpec]:
    """Return what every function's spec is changed by: the variables of the command line, and no freezing."""
    from lambent_lab.environ import exporting

    before = exporting(lab.otlp_url) if plan.otlp else {}

    def adjust(spec: FunctionSpec) -> FunctionSpec:
        return replace(spec, env={**before, **spec.env, **plan.env}, freeze=spec.freeze and plan.freeze)

    return adjust


def _other_names(configuration: Configuration) -> dict[str, str]:
    return {one.other_name: one.name for one in configuration.definitions if one.other_name}


def _revision(
    source: _Source,
    configuration: Configuration,
    desk: Desk,
    endpoints: list[tuple[Endpoint, dict[str, str]]],
    on_line: Callable[[str], Callable[[str], None]],
    tell: Callable[[str, str], None],
) -> Callable[[], Awaitable[Iterable[Deployed]]]:
    """Return what follows a change of the file, in the lab's event loop."""
    import asyncio

    from lambent_lab.service.revise import revise

    async def follow() -> Iterable[Deployed]:
        nonlocal configuration
        core = desk.core
        try:
            after = await asyncio.to_thread(source.read)
            changes = await revise(core, configuration, after, on_line)
        except UsageError as error:
            tell("problem", str(error))
        else:
            configuration = after
            desk.layers = dict(after.layers)
            for endpoint, meant in endpoints:
                endpoint.rename({**_other_names(after), **meant})
            for kind, what in changes:
                tell(kind, what)
        return [core.functions[one.name] for one in configuration.definitions if one.name in core.functions]

    return follow


class _Source:
    """Where the functions come from: a file, one function's place, or nothing at first."""

    def __init__(
        self, path: Path | None, given: str | None, parameters: tuple[str, ...], layers: tuple[str, ...]
    ) -> None:
        from lambent_lab.service.watch import File

        self._given = given
        pairs = (_pair(text, "--layer") for text in layers)
        self._mapped = {arn: Path(place).absolute() for arn, place in pairs}
        self._parameters = dict(_pair(text, "--parameter") for text in parameters)
        single = path is not None and not path.is_file() and path.suffix not in _SUFFIXES
        self.file: File | None = None if path is None or single else File(path.absolute())
        if path is None and (given is not None or parameters):
            raise UsageError("--empty starts without functions: leave it out, or the file.")

    def read(self) -> Configuration:
        """Return what there is now. Raises UsageError."""
        from lambent_lab.commands.inputs import locate
        from lambent_lab.service.files import Configuration, Definition, load

        if self.file is not None:
            configuration = load(self.file.path, parameters=self._parameters, layers=self._mapped)
            return replace(configuration, layers={**configuration.layers, **self._mapped})
        if self._given is None:
            return Configuration(definitions=(), layers=self._mapped)
        location = locate(self._given)
        chosen = {"name": location.name, "code": location.code.absolute(), "handler": location.handler}
        return Configuration(definitions=(Definition(options=chosen),), layers=self._mapped)


def _path(file: str | None) -> Path:
    """Return the file that is meant, which need not be there. Raises UsageError."""
    from lambent_lab.service.files import find

    path = Path(file) if file is not None else find(Path())
    if path is None:
        raise UsageError(
            "There is no lambent.yaml, lambent.toml or template.yaml here: name a file, "
            "a function as FOLDER/module.function, or say --empty."
        )
    if path.is_dir():
        found = find(path)
        if found is None:
            raise UsageError(f"There is no lambent.yaml, lambent.toml or template.yaml in {path}.")
        path = found
    return path


def _pair(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"{option} {text!r} has no '=': write NAME=VALUE.")
    return name, value


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
