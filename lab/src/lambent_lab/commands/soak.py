"""`lambent soak`: what very many invocations leave behind, untraced and traced."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lambent_lab.commands import going_on, options, run_output
from lambent_lab.commands.output import writable

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from lambent_lab.commands.axes import Chosen
    from lambent_lab.commands.run_progress import Meter
    from lambent_lab.measure.sampler import FunctionLike
    from lambent_lab.measure.target import Target


def _make_lab() -> AbstractContextManager[Any]:
    """The real lab; tests put another one in its place."""
    from lambent_lab.service import Lab
    from lambent_lab.traces.forgetful import Forgetful

    return Lab(store=Forgetful())


make_lab: Callable[[], AbstractContextManager[Any]] = _make_lab


@click.command(name="soak", short_help="Watch memory, CPU and time over very many invocations.")
@click.argument("target", metavar="[FOLDER/module.function]", required=False)
@click.option(
    "--baseline",
    metavar="TARGET|K=V",
    help="Another bundle's FOLDER/module.function, or the variable that switches tracing off in the same one "
    "(default: OTEL_SDK_DISABLED=true).",
)
@options.event
@click.option(
    "--invocations",
    metavar="N",
    type=click.IntRange(10),
    default=100_000,
    show_default=True,
    help="Invocations of each side.",
)
@click.option(
    "--blocks",
    metavar="N",
    type=click.IntRange(1, 200),
    default=100,
    show_default=True,
    help="Into how many blocks a side's invocations are divided; the file keeps one record for each.",
)
@options.memory
@click.option(
    "--max-growth",
    metavar="BYTES",
    type=click.FloatRange(0, min_open=True),
    default=256.0,
    show_default=True,
    help="Bytes an invocation that are no growth; AWS's own runtime client leaves some 150 behind.",
)
@options.timeout
@options.env
@options.one_python
@click.option("--no-freeze", is_flag=True, help="Do not freeze environments between invocations: quicker.")
@options.otlp
@run_output.output("soak-results.json")
@click.option(
    "--seed", metavar="N", type=int, help="Seed of the order (default: a new one, kept in the result)."
)
@click.option(
    "--resume",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Go on with a soak that was interrupted, by its result file; without TARGET with all its options.",
)
@click.pass_context
def command(context: click.Context, /, **given: Any) -> None:
    """Invoke a function very many times, untraced and traced in turns, each in one environment.

    Exit code 0: measured, and memory does not grow (or that cannot be told); 1: memory grows, spans were
    lost, or invocations failed; 2: bad usage; 130: interrupted, what was measured until then is written, and
    --resume goes on with it, in new environments.
    """
    source = context.get_parameter_source
    resume: Path | None = given["resume"]
    if resume is not None and given["target"] is None:
        before = going_on.again(command, "soak", resume)
        given, source = {**before.params, "resume": resume}, before.get_parameter_source
    if given["target"] is None:
        raise click.UsageError("Name a function: FOLDER/module.function.")
    if resume is not None and going_on.is_default(source, "output"):
        given["output"] = resume
    context.exit(_measure(**given))


def _measure(
    *,
    target: str,
    baseline: str | None,
    event: str | None,
    invocations: int,
    blocks: int,
    memory_mb: int,
    max_growth: float,
    timeout: float,
    env: tuple[str, ...],
    python: Chosen | None,
    no_freeze: bool,
    otlp: bool,
    output: Path,
    page: Path | None,
    as_json: bool,
    seed: int | None,
    resume: Path | None,
) -> int:
    from lambent_lab.commands.inputs import load_event, locate, parse_env
    from lambent_lab.commands.run_progress import meter
    from lambent_lab.errors import UsageError
    from lambent_lab.measure import soak
    from lambent_lab.measure.remarks import target_info
    from lambent_lab.measure.remote import kind_of
    from lambent_lab.measure.results import read
    from lambent_lab.measure.soak.resume import check
    from lambent_lab.measure.target import sides
    from lambent_lab.service.function import encode_event

    for each in (target, baseline or ""):
        if kind_of(each) != "lab":
            raise UsageError(
                f"{each} cannot be looked into: a soak needs FOLDER/module.function, in the lab."
            )
    candidate, base = sides(target, baseline, parse_env(env), locate)
    payload = load_event(event)
    encode_event(payload)
    writable(output, page)
    earlier = None if resume is None else read(resume)
    if seed is None:
        # Not a secret: the order of a measurement.
        seed = random.randrange(2**32) if earlier is None else earlier["seed"]  # noqa: S311
    study = soak.Soak(
        targets={"baseline": base, "candidate": candidate},
        event=payload,
        event_name=event,
        invocations=invocations,
        blocks=blocks,
        memory_mb=memory_mb,
        timeout_s=timeout,
        freeze=not no_freeze,
        otlp=otlp,
        max_growth=max_growth,
        python=None if python is None else python.path,
        seed=seed,
        command=("lambent", *sys.argv[1:]) if earlier is None else tuple(earlier["command"]),
    )
    if earlier is not None and resume is not None:
        named = {side: target_info(each) for side, each in study.targets.items()}
        check(earlier, study, named, resume)
    with make_lab() as lab:
        functions = {side: _function(lab, side, each, study, python) for side, each in study.targets.items()}
        with meter("soak") as bar:
            labels = {side: each.label for side, each in study.targets.items()}
            results = soak.run(study, functions, _Progress(bar, labels), earlier)
        code = run_output.finish(results, output, page, as_json=as_json)
    if results["interrupted"]:
        click.echo(f"Go on with it: {going_on.resumption(study.command, output, 'soak')}", err=True)
    return code


class _Progress:
    def __init__(self, bar: Meter, labels: dict[str, str]) -> None:
        self._bar = bar
        self._labels = labels

    def begin(self, invocations: int) -> None:
        self._bar.begin(invocations)

    def done(self, side: str) -> None:
        self._bar.note = self._labels[side]
        self._bar.advance()


def _function(lab: Any, side: str, target: Target, study: Any, python: Chosen | None) -> FunctionLike:
    from lambent_lab.measure.accounting import counting

    made: FunctionLike = lab.function(
        f"soak-{side}",
        code=target.code,
        handler=target.handler,
        memory=study.memory_mb,
        timeout=study.timeout_s,
        env=counting(target.env, lab.otlp_url if study.otlp else None),
        **({} if python is None else python.given),
        freeze=study.freeze,
    )
    return made
