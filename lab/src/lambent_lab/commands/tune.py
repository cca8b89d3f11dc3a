"""`lambent tune`: which memory size is the cheapest, the fastest, and a balance of both."""

from __future__ import annotations

import random
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lambent_lab.commands import options, run_output
from lambent_lab.commands.bench import MemorySizes
from lambent_lab.commands.output import writable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from lambent_lab.commands.axes import Chosen
    from lambent_lab.commands.run_progress import Meter
    from lambent_lab.measure.sampler import FunctionLike
    from lambent_lab.measure.target import Target
    from lambent_lab.measure.tune.running import Tune


def _make_lab() -> AbstractContextManager[Any]:
    """The real lab; tests put another one in its place."""
    from lambent_lab.service import Lab
    from lambent_lab.traces.forgetful import Forgetful

    return Lab(store=Forgetful())


make_lab: Callable[[], AbstractContextManager[Any]] = _make_lab


@click.command(name="tune", short_help="Find the memory size that is cheapest, or fastest.")
@click.argument("target", metavar="TARGET")
@options.event
@click.option(
    "--memory",
    "memory_mb",
    type=MemorySizes(),
    default=(128, 256, 512, 1024, 1769, 3008),
    help="Memory sizes in MB (default: 128,256,512,1024,1769,3008).",
)
@click.option(
    "--cold",
    "rounds",
    metavar="N",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="Fresh environments a memory size; 8 or more give an interval.",
)
@click.option(
    "--warm",
    metavar="N",
    type=click.IntRange(0),
    default=20,
    show_default=True,
    help="Warm invocations in each environment.",
)
@click.option(
    "--cold-share",
    metavar="SHARE",
    type=click.FloatRange(0, 1),
    default=0.01,
    show_default=True,
    help="The share of invocations that are cold starts, in cost and time.",
)
@click.option(
    "--weight",
    metavar="SHARE",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="How much cost weighs in what is balanced: 0 only time, 1 only cost.",
)
@click.option(
    "--region", metavar="NAME", help="Whose prices to reckon with, and where aws:FUNCTION is (us-east-1)."
)
@click.option("--endpoint-url", metavar="URL", help="AWS's API elsewhere, as that of `lambent serve`.")
@click.option(
    "--architecture",
    type=click.Choice(["x86_64", "arm64", "both"]),
    default="both",
    show_default=True,
    help="Whose prices; times are those of this machine.",
)
@click.option(
    "--prices",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A table of prices in place of the built-in one.",
)
@options.timeout
@options.env
@options.one_python
@options.init_cpu
@run_output.output("tune-results.json")
@click.option(
    "--seed", metavar="N", type=int, help="Seed of the order (default: a new one, kept in the result)."
)
@click.pass_context
def command(
    context: click.Context,
    target: str,
    event: str | None,
    memory_mb: tuple[int, ...],
    rounds: int,
    warm: int,
    cold_share: float,
    weight: float,
    region: str | None,
    endpoint_url: str | None,
    architecture: str,
    prices: Path | None,
    timeout: float,
    env: tuple[str, ...],
    python: Chosen | None,
    init_cpu: str,
    output: Path,
    page: Path | None,
    as_json: bool,
    seed: int | None,
) -> None:
    """Run a function at several memory sizes, and reckon what a million invocations cost at each.

    TARGET is FOLDER/module.function, in the lab, or aws:FUNCTION, whose memory is changed for it and put back
    at the end (a cold start is forced by a change of one of its variables).

    Exit code 0: measured; 1: something failed at a size; 2: bad usage; 130: interrupted, what was measured
    until then is written.
    """
    from lambent_lab.commands.inputs import load_event, parse_env
    from lambent_lab.commands.run_progress import meter
    from lambent_lab.errors import UsageError
    from lambent_lab.measure import tune
    from lambent_lab.measure.tune import prices as table
    from lambent_lab.service.function import encode_event

    at = _target(target, parse_env(env), region, endpoint_url)
    payload = load_event(event)
    encode_event(payload)
    writable(output, page)
    if warm == 0 and cold_share < 1:
        raise UsageError("--warm 0 measures cold starts only: say --cold-share 1, or more warm invocations.")
    plan = tune.Tune(
        target=at,
        prices=table.load(region or "us-east-1", prices),
        architectures=table.ARCHITECTURES if architecture == "both" else (architecture,),
        memory_mb=memory_mb,
        event=payload,
        event_name=event,
        rounds=rounds,
        warm=warm,
        timeout_s=timeout,
        cold_share=cold_share,
        weight=weight,
        python=None if python is None else python.path,
        # Not a secret: the order of a measurement.
        seed=random.randrange(2**32) if seed is None else seed,  # noqa: S311
        command=("lambent", *sys.argv[1:]),
    )
    with _functions(plan, python, init_cpu) as (functions, measured):
        with meter("tune") as bar:
            results = tune.run(replace(plan, measured=measured), functions, _Progress(bar))
        code = run_output.finish(results, output, page, as_json=as_json)
    context.exit(code)


def _target(text: str, env: dict[str, str], region: str | None, endpoint_url: str | None) -> Target:
    """The function that is meant. Raises UsageError."""
    from lambent_lab.commands.inputs import locate
    from lambent_lab.errors import UsageError
    from lambent_lab.measure.target import target

    found = {"region": region, "endpoint_url": endpoint_url}
    reach = {name: value for name, value in found.items() if value is not None}
    at = target(text, "candidate", env, locate, reach)
    if at.kind not in {"lab", "aws"}:
        raise UsageError(
            f"The memory of {text} cannot be changed: tune FOLDER/module.function, or aws:FUNCTION."
        )
    if at.kind == "lab" and endpoint_url is not None:
        raise UsageError(f"{text} runs in the lab: --endpoint-url is for aws:FUNCTION.")
    return at


@contextmanager
def _functions(
    plan: Tune, python: Chosen | None, init_cpu: str
) -> Iterator[tuple[dict[int, FunctionLike], str | None]]:
    """The function at each size, and its architecture where that is not this machine's."""
    at = plan.target
    if at.kind == "aws":
        from lambent_lab.measure.remote.aws import Account, split

        account = Account(at.text, at.reach)
        try:
            name, _ = split(at.text.removeprefix("aws:"))
            about = account.call("get_function_configuration", FunctionName=name)
            yield (
                {
                    size: account.function(memory=size, timeout=plan.timeout_s, env=at.env)
                    for size in plan.memory_mb
                },
                str((about.get("Architectures") or ["x86_64"])[0]),
            )
        finally:
            account.close()
        return
    with make_lab() as lab:
        yield (
            {
                size: lab.function(
                    f"tune-{size}",
                    code=at.code,
                    handler=at.handler,
                    memory=size,
                    timeout=plan.timeout_s,
                    env=at.env,
                    **({} if python is None else python.given),
                    init_cpu=init_cpu,
                )
                for size in plan.memory_mb
            },
            None,
        )


class _Progress:
    def __init__(self, bar: Meter) -> None:
        self._bar = bar

    def begin(self, invocations: int) -> None:
        self._bar.begin(invocations)

    def done(self, memory_mb: int, invocations: int) -> None:
        self._bar.note = f"{memory_mb} MB"
        self._bar.advance(invocations)
