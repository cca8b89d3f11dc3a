"""What `lambent serve` does once it is known what is asked for: it sets up, and writes what happens."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from lambent_lab.commands import sources
from lambent_lab.commands.feed import Feed
from lambent_lab.environ import exporting
from lambent_lab.errors import UsageError
from lambent_lab.service import setup
from lambent_lab.service.api.desk import Desk
from lambent_lab.service.revise import revise
from lambent_lab.service.serving import Endpoint
from lambent_lab.service.urls.doors import urls_of
from lambent_lab.service.watch import watch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from concurrent.futures import Future

    from lambent_lab.commands.events import Printer
    from lambent_lab.commands.origin import Origin
    from lambent_lab.function import FunctionSpec
    from lambent_lab.invocation import Invocation
    from lambent_lab.service import Lab
    from lambent_lab.service.catalog import Version
    from lambent_lab.service.core import Deployed
    from lambent_lab.service.files import Configuration
    from lambent_lab.service.policy import Outcome
    from lambent_lab.service.urls.doors import Door

_SAVE_S = 0.5  # how often received spans are stored


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


def serve(lab: Lab, origin: Origin, configuration: Configuration, plan: Plan, printer: Printer) -> None:
    """Set everything up, say so, and write what happens until somebody ends it."""
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
            if origin.file is not None:
                origin.file.revise = _revision(origin, configuration, desk, endpoints, on_line, tell)
            watching = lab.begin(
                watch(
                    lab.core,
                    functions,
                    lambda name: happened.tell(partial(printer.changed, name)),
                    seen,
                    origin.file,
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
    before = exporting(lab.otlp_url) if plan.otlp else {}

    def adjust(spec: FunctionSpec) -> FunctionSpec:
        return replace(spec, env={**before, **spec.env, **plan.env}, freeze=spec.freeze and plan.freeze)

    return adjust


def _other_names(configuration: Configuration) -> dict[str, str]:
    return {one.other_name: one.name for one in configuration.definitions if one.other_name}


def _revision(
    origin: Origin,
    configuration: Configuration,
    desk: Desk,
    endpoints: list[tuple[Endpoint, dict[str, str]]],
    on_line: Callable[[str], Callable[[str], None]],
    tell: Callable[[str, str], None],
) -> Callable[[], Awaitable[Iterable[Deployed]]]:
    """Return what follows a change of the file, in the lab's event loop."""

    async def follow() -> Iterable[Deployed]:
        nonlocal configuration
        core = desk.core
        try:
            after = await asyncio.to_thread(origin.read)
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
