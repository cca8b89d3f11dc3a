"""`lambent load`: many users, or many arrivals, on a function in the lab, in AWS, or behind a URL."""

from __future__ import annotations

import random
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import click

from lambent_lab.commands import options, run_output
from lambent_lab.commands.output import writable
from lambent_lab.errors import LabError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from lambent_lab.commands.axes import Chosen
    from lambent_lab.commands.run_progress import Meter
    from lambent_lab.measure.load.calls import Call
    from lambent_lab.measure.results import TargetInfo


def _make_lab(concurrency: int | None) -> AbstractContextManager[Any]:
    """The real lab; tests put another one in its place."""
    from lambent_lab.service import Lab
    from lambent_lab.traces.forgetful import Forgetful

    return Lab(store=Forgetful(), max_environments=concurrency or 1000)


make_lab: Callable[[int | None], AbstractContextManager[Any]] = _make_lab


@click.command(name="load", short_help="Put a function under load.")
@click.argument("target", metavar="TARGET")
@options.event
@click.option(
    "--users",
    "--threads",
    "users",
    metavar="N",
    type=click.IntRange(1, 1000),
    default=10,
    show_default=True,
    help="How many invoke at once; of an open loop, at most.",
)
@click.option(
    "--duration",
    metavar="S",
    type=options.Seconds(0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds, the ramp-up among them.",
)
@click.option(
    "--ramp-up",
    metavar="S",
    type=options.Seconds(0),
    help="Seconds until all users are there, or the rate is reached (default: 10, or a sixth of the "
    "duration if that is less).",
)
@click.option(
    "--rate",
    metavar="N",
    type=click.FloatRange(0, 100_000, min_open=True),
    help="An open loop: begin so many a second, however slow the answers are.",
)
@click.option(
    "--arrivals",
    type=click.Choice(["constant", "poisson"]),
    default="constant",
    show_default=True,
    help="Whether those come evenly, or by chance as callers do.",
)
@options.pause
@click.option(
    "--concurrency",
    metavar="N",
    type=click.IntRange(1, 1000),
    help="Environments at most, in the lab; more invocations at once are throttled (429).",
)
@options.memory
@options.max_error_rate
@options.timeout
@options.env
@options.one_python
@options.otlp
@options.aws_place
@run_output.output("load-results.json")
@click.option(
    "--seed", metavar="N", type=int, help="Seed of the arrivals (default: a new one, kept in the result)."
)
@click.pass_context
def command(
    context: click.Context,
    target: str,
    event: str | None,
    users: int,
    duration: float,
    ramp_up: float | None,
    rate: float | None,
    arrivals: Literal["constant", "poisson"],
    pause: float,
    concurrency: int | None,
    memory_mb: int,
    max_error_rate: float,
    timeout: float,
    env: tuple[str, ...],
    python: Chosen | None,
    otlp: bool,
    region: str | None,
    endpoint_url: str | None,
    output: Path,
    page: Path | None,
    as_json: bool,
    seed: int | None,
) -> None:
    """Put TARGET under load: FOLDER/module.function in the lab, aws:FUNCTION[:QUALIFIER], or a URL in the
    form of AWS's interface emulator (http://127.0.0.1:9000).

    Users invoke again when they have their answer (a closed loop; its latency is corrected for coordinated
    omission), or with --rate invocations begin when they are due (an open loop). Exit code 0: measured; 1:
    more failed than are allowed, or spans were lost; 2: bad usage; 130: interrupted, what was measured until
    then is written.
    """
    from lambent_lab.commands.inputs import load_event
    from lambent_lab.commands.run_progress import meter
    from lambent_lab.measure import load
    from lambent_lab.measure.load.loops import Load
    from lambent_lab.service.function import encode_event

    ramp_up = ramp_up_s(ramp_up, duration)
    remote = is_remote(target)
    if remote and (env or python or otlp or concurrency):
        raise UsageError(
            f"{target} is not in the lab: --env, --python, --otlp and --concurrency cannot be set there."
        )
    payload = load_event(event)
    encode_event(payload)
    writable(output, page)
    plan = Load(
        users=users,
        duration_s=duration,
        ramp_up_s=ramp_up,
        rate=rate,
        arrivals=arrivals,
        pause_s=pause,
        # Not a secret: the order of a measurement.
        seed=random.randrange(2**32) if seed is None else seed,  # noqa: S311
    )
    with _calls(
        target, payload, plan.users, region=region, endpoint_url=endpoint_url, concurrency=concurrency,
        memory_mb=memory_mb, timeout=timeout, env=env, python=python, otlp=otlp,
    ) as (call, info, box):  # fmt: skip
        test = load.LoadTest(
            load=plan,
            target=info,
            concurrency=concurrency,
            memory_mb=None if remote else memory_mb,
            timeout_s=timeout,
            event_name=event,
            otlp=otlp,
            max_error_rate=max_error_rate,
            python=None if python is None else python.path,
            command=("lambent", *sys.argv[1:]),
        )
        with meter("load", "s") as bar:
            results = load.run(test, call, _Progress(bar), box=box)
        code = run_output.finish(results, output, page, as_json=as_json)
    context.exit(code)


def ramp_up_s(given: float | None, duration: float) -> float:
    """The seconds of a ramp-up, of which something has to be left. Raises UsageError."""
    ramp_up = min(10.0, duration / 6) if given is None else given
    if ramp_up >= duration:
        raise UsageError(
            f"A ramp-up of {ramp_up:g} s leaves nothing of {duration:g} s: choose a shorter one."
        )
    return ramp_up


def is_remote(target: str) -> bool:
    """Whether a target is not a folder, for the lab to run."""
    return target.startswith(("aws:", "http://", "https://"))


@contextmanager
def _calls(
    target: str,
    event: object,
    users: int,
    *,
    region: str | None,
    endpoint_url: str | None,
    concurrency: int | None,
    memory_mb: int,
    timeout: float,
    env: tuple[str, ...],
    python: Chosen | None,
    otlp: bool,
) -> Iterator[tuple[Call, TargetInfo, Callable[[], Any]]]:
    """What a user calls, what the file says of it, and what tells how it is held."""
    from lambent_lab.commands.inputs import locate, parse_env
    from lambent_lab.measure.accounting import counting
    from lambent_lab.measure.load import calls
    from lambent_lab.measure.machine import box_info
    from lambent_lab.measure.remarks import target_info
    from lambent_lab.measure.target import Target

    if is_remote(target):
        aws = target.startswith("aws:")
        calling = (
            calls.in_aws(target[4:], event, region=region, endpoint_url=endpoint_url, users=users)
            if aws
            else calls.at_url(target, event, timeout_s=timeout + 30)
        )
        info: TargetInfo = {
            "target": target, "label": target, "handler": "", "env": {}, "switch": None,
            "kind": "aws" if aws else "http", "python": None, "mode": None,
        }  # fmt: skip
        with calling as call:
            yield call, info, lambda: None
        return
    if region is not None or endpoint_url is not None:
        raise UsageError(f"{target} runs in the lab: --region and --endpoint-url are for aws:FUNCTION.")
    place = locate(target)
    variables = parse_env(env)
    with make_lab(concurrency) as lab:
        function = lab.function(
            "load",
            code=place.code,
            handler=place.handler,
            memory=memory_mb,
            timeout=timeout,
            env=counting(variables, lab.otlp_url if otlp else None),
            **({} if python is None else python.given),
        )
        must_work(function, event, target)
        about = Target(text=target, code=place.code, handler=place.handler, label="candidate", env=variables)
        yield calls.InLab(function, event), target_info(about), lambda: box_info(function.box)


def must_work(function: Any, event: object, target: str) -> None:
    """One invocation in an environment of its own: a function that fails is not worth a minute of load.

    Raises LabError for one that does.
    """
    from lambent_lab.measure.records import reason
    from lambent_lab.measure.remarks import with_next_step

    failure = reason(function.invoke(event))
    function.stop()
    if failure is not None:
        raise LabError(f"Nothing was measured: {target} failed: {with_next_step(failure)}")


class _Progress:
    def __init__(self, bar: Meter) -> None:
        self._bar = bar
        self._total = 0.0

    def begin(self, seconds: float) -> None:
        self._total = seconds
        self._bar.begin(seconds)

    def at(self, seconds: float, succeeded: int, failed: int, throttled: int) -> None:
        self._bar.note = f"{succeeded:,} ok, {failed:,} failed, {throttled:,} throttled"
        self._bar.reach(min(seconds, self._total))
