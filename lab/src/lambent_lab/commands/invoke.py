"""`lambent invoke`: run a function in a local execution environment, cold and then warm."""

from __future__ import annotations

import json
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import click

from lambent_lab.commands import options
from lambent_lab.errors import UsageError
from lambent_lab.identifiers import RUNTIMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lambent_lab.commands.axes import Chosen
    from lambent_lab.commands.output import Look
    from lambent_lab.sandbox import BoxReport
    from lambent_lab.service import Function, Result
    from lambent_lab.traces import SpanRecord

_NO_SPANS = "No spans: the function makes none, or sends them elsewhere, or later."
_NO_SPANS_YET = (
    "No spans: the process ended before it sent any. Those that it made are sent in\n"
    "one of the next invocations, by the flight recorder: try --repeat 3."
)
_LOOKED_AT = 100  # invocations back: what came later comes with one of the next, or at the end
_MOMENT_S = 0.5
_ENDED = {"Runtime.ExitError", "Runtime.OutOfMemory", "Sandbox.Timedout"}


def _list_events(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if not wanted:
        return
    from lambent_lab import events

    for name in events.names():
        click.echo(f"{name:<16} {events.describe(name)}")
    context.exit(0)


@click.command(name="invoke", short_help="Run a function in a local Lambda environment.")
@options.target
@options.event
@click.option(
    "--list-events",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_events,
    help="Name the built-in samples and leave.",
)
@click.option(
    "--memory",
    metavar="MB",
    type=click.IntRange(128, 10240),
    default=128,
    show_default=True,
    help="Memory, and with it the CPU share.",
)
@click.option(
    "--tmp",
    metavar="MB",
    type=click.IntRange(512, 10240),
    default=512,
    show_default=True,
    help="The size of /tmp.",
)
@click.option(
    "--network",
    type=click.Choice(["host", "private"]),
    default="host",
    show_default=True,
    help="The host's network, or one of the environment's own that has only a loopback.",
)
@options.timeout
@click.option(
    "--repeat",
    metavar="N",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="How many invocations; those after the first are warm.",
)
@click.option(
    "--interval",
    metavar="S",
    type=options.Seconds(0),
    default=0.0,
    help="Seconds between invocations.",
)
@options.env
@options.one_python
@click.option(
    "--runtime",
    metavar="NAME",
    type=click.Choice(RUNTIMES),
    help="Lambda's name of the runtime, as in python3.12, nodejs20.x or provided.al2023.",
)
@click.option(
    "--handler",
    metavar="TEXT",
    help="The handler, where it is not the end of the target: the target is the folder or zip file then.",
)
@click.option(
    "--layer",
    "layers",
    metavar="PATH",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="A folder or zip file to find in /opt; may be repeated, a later one comes before an earlier one.",
)
@click.option(
    "--extension",
    "extensions",
    metavar="FILE",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="An executable to run as an external extension; may be repeated.",
)
@options.life
@click.option("--otlp", is_flag=True, help="Have the function send its spans to the lab over OTLP/HTTP.")
@click.option("-a", "--attributes", is_flag=True, help="Draw the spans with their attributes.")
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object a line for each invocation, and nothing else."
)
@click.pass_context
def command(
    context: click.Context,
    /,
    target: str,
    event: str | None,
    memory: int,
    tmp: int,
    network: Literal["host", "private"],
    timeout: float,
    repeat: int,
    interval: float,
    env: tuple[str, ...],
    python: Chosen | None,
    runtime: str | None,
    handler: str | None,
    layers: tuple[Path, ...],
    extensions: tuple[Path, ...],
    otlp: bool,
    attributes: bool,
    as_json: bool,
    **life: Any,
) -> None:
    """Run a function in a local Lambda environment and show its log, its response, its cost and its trace.

    Exit code 0: every invocation succeeded; 1: one failed; 2: wrong usage; 130: interrupted.
    """
    from lambent_lab.commands.inputs import load_event, locate, parse_env, store_of
    from lambent_lab.commands.output import Look, waiting
    from lambent_lab.environ import exporting
    from lambent_lab.service import Lab
    from lambent_lab.service.function import encode_event

    interpreter: dict[str, Any] = {} if python is None else python.given
    if runtime is not None and interpreter.setdefault("runtime", runtime) != runtime:
        named = interpreter["runtime"].removeprefix("python")
        raise UsageError(f"--python {named} and --runtime {runtime} name different ones: give one of them.")
    location = locate(target, handler=handler, runtime=interpreter.get("runtime"))
    variables = parse_env(env)
    payload = load_event(event)
    encode_event(payload)  # an event that Lambda would not take is said before anything runs
    look = Look.of_stdout()
    failed = 0
    earlier: deque[Result] = deque(maxlen=_LOOKED_AT)
    shown: set[tuple[str, str]] = set()
    with store_of(None) as store, Lab(store=store) as lab:
        if otlp:
            variables = {**exporting(lab.otlp_url), **variables}
        function = lab.function(
            location.name,
            code=location.code,
            handler=location.handler,
            memory=memory,
            tmp_mb=tmp,
            network=network,
            timeout=timeout,
            env=variables,
            **interpreter,
            layers=layers,
            extensions=extensions,
            **life,
        )
        with waiting(f"preparing {target}"):
            function.start()
        if function.box is not None and not as_json:
            click.echo(_describe(function.box))
        for number in range(1, repeat + 1):
            count = f" ({number} of {repeat})" if repeat > 1 else ""
            if number > 1 and interval:
                between = "frozen" if life["freeze"] and not life["max_concurrency"] else "idle"
                with waiting(f"{between} for {interval:g} s, then {target}{count}"):
                    time.sleep(interval)
            with waiting(f"{target}{count}, timeout {timeout:g} s"):
                result = function.invoke(payload)
            failed += not result.ok
            for problem in result.problems:
                click.echo(f"lambent: warning: {problem}", err=True)
            if as_json:
                click.echo(json.dumps(result.to_json(), allow_nan=False))
            else:
                later = _show(result, look, attributes=attributes)
                _show_later([*later, *function.late(earlier).items()], shown, look, attributes=attributes)
                earlier.append(result)
        if not as_json:
            if not result.spans and (life["max_concurrency"] or not life["freeze"]):
                _show_later(_soon(function, earlier), shown, look, attributes=attributes)
            function.stop()  # some tracers send the last, or all, when their environment ends
            _show_later(function.late(earlier).items(), shown, look, attributes=attributes)
    if repeat > 1 and not as_json:
        click.echo(f"{repeat} invocations, {failed or 'none'} failed.")
    context.exit(1 if failed else 0)


_Later: TypeAlias = "tuple[str, list[SpanRecord]]"
"""A request id, and spans of its that came after its end: of an exporter that waits, or recovered."""


def _show(result: Result, look: Look, *, attributes: bool) -> list[_Later]:
    """Write one invocation for people; return the spans in its log that are of earlier ones."""
    from lambent_lab.traces.stdout import split_log

    log, _, _ = split_log(result.log.split("\n"))
    for line in log:
        # awslambdaric separates the lines of a traceback so; a terminal would write them over each other.
        click.echo(line.replace("\r", "\n"))
    click.echo()
    if result.ok:
        click.echo("Response:")
    else:
        text = f"FAILED: {result.error}"
        click.echo(click.style(text, fg="red") if look.color else text, color=look.color)
    click.echo(json.dumps(result.payload, indent=2, ensure_ascii=False))
    click.echo()
    click.echo(_summary(result))
    later: list[_Later] = []
    drawn = False
    for spans in _by_trace(result.spans):
        named = {span.invocation_id for span in spans} - {""}
        if named and result.request_id not in named:
            later.append((min(named), spans))
        else:
            _draw(spans, look, attributes=attributes)
            drawn = True
    if not drawn:
        click.echo(_NO_SPANS_YET if result.error in _ENDED else _NO_SPANS)
    click.echo()
    return later


def _show_later(
    found: Iterable[_Later], shown: set[tuple[str, str]], look: Look, *, attributes: bool
) -> None:
    """Write spans of earlier invocations, but for those that are shown already: a log's lines come twice."""
    for request_id, all_spans in found:
        spans = [span for span in all_spans if (span.trace_id, span.span_id) not in shown]
        shown.update((span.trace_id, span.span_id) for span in spans)
        if not spans:
            continue
        click.echo(f"Spans of an earlier invocation, RequestId: {request_id}")
        for trace in _by_trace(spans):
            _draw(trace, look, attributes=attributes)
        click.echo()


def _soon(function: Function, earlier: Iterable[Result]) -> Iterable[_Later]:
    """Return what comes within a moment: where nothing is frozen, tracers send in the background."""
    end = time.monotonic() + _MOMENT_S
    while not (found := function.late(earlier)) and time.monotonic() < end:
        time.sleep(0.02)
    return found.items()


def _by_trace(spans: Sequence[SpanRecord]) -> Iterable[list[SpanRecord]]:
    traces: dict[str, list[SpanRecord]] = {}
    for span in spans:
        traces.setdefault(span.trace_id, []).append(span)
    return traces.values()


def _draw(spans: Sequence[SpanRecord], look: Look, *, attributes: bool) -> None:
    from lambent_lab.commands.output import draw

    click.echo()
    click.echo(draw(spans, look, attributes=attributes), nl=False, color=look.color)


def _describe(box: BoxReport) -> str:
    """Return which box is in use, and what it cannot do, each in a line of its own."""
    how = (
        f"freeze: {box.freeze}, memory: {box.memory}, CPU: {box.cpu}, /tmp: {box.tmp}, user: {box.user}, "
        f"network: {box.network}, limits: {box.limits}"
    )
    missing = [f"! The box cannot: {each}" for each in box.cannot]
    return "\n".join([f"Box: {box.kind} ({how}){'' if missing else '; nothing is missing'}.", *missing])


def _summary(result: Result) -> str:
    report = result.report
    used = "not measured" if report.max_memory_mb is None else f"{report.max_memory_mb} MB used"
    init = "" if report.init_ms is None else f", init {report.init_ms:.1f} ms"
    if report.restore_ms is not None:
        init += f", restore {report.restore_ms:.1f} ms"
    start = "cold" if result.cold else "warm"
    return (
        f"{start}: duration {report.duration_ms:.2f} ms, billed {report.billed_ms} ms{init};"
        f" memory {report.memory_mb} MB, {used}"
    )
