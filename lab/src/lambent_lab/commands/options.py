"""The options that commands share: which event, which interpreter, how much time."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from lambent_lab.commands.axes import OnePython, Pythons
from lambent_lab.function import (
    MAX_CONCURRENCY,
    ApplicationLogLevel,
    Initialization,
    LogFormat,
    SystemLogLevel,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    F = TypeVar("F", bound=Callable[..., object])


class Seconds(click.FloatRange):
    """A number of seconds within a range; unlike click's, never NaN or infinite."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number."""
        seconds = float(super().convert(value, param, ctx))
        if not math.isfinite(seconds):
            self.fail(f"{value} is not a number of seconds.", param, ctx)
        return seconds


def target(command: F) -> F:
    """Give a command the function it is about."""
    return click.argument("target", metavar="FOLDER/module.function")(command)


def event(command: F) -> F:
    """Give a command --event."""
    return click.option(
        "--event",
        metavar="FILE|NAME|-",
        help="A file of JSON, a built-in sample, or standard input (default: {}).",
    )(command)


def timeout(command: F) -> F:
    """Give a command --timeout, with Lambda's range."""
    return click.option(
        "--timeout",
        metavar="S",
        type=Seconds(1, 900),
        default=3.0,
        show_default=True,
        help="Seconds that one invocation may take.",
    )(command)


def memory(command: F) -> F:
    """Give a command that invokes a function very often --memory."""
    return click.option(
        "--memory",
        "memory_mb",
        metavar="MB",
        type=click.IntRange(128, 10240),
        default=512,
        show_default=True,
        help="The function's memory, in the lab.",
    )(command)


def pause(command: F) -> F:
    """Give a command with users --pause."""
    return click.option(
        "--pause",
        metavar="S",
        type=Seconds(0),
        default=0.0,
        show_default=True,
        help="Seconds that a user waits after each answer.",
    )(command)


def max_error_rate(command: F) -> F:
    """Give a command that puts a function under load --max-error-rate."""
    return click.option(
        "--max-error-rate",
        metavar="SHARE",
        type=click.FloatRange(0, 1),
        default=0.01,
        show_default=True,
        help="The share of invocations that may fail.",
    )(command)


def aws_place(command: F) -> F:
    """Give a command that puts a function under load --region and --endpoint-url."""
    command = click.option(
        "--endpoint-url", metavar="URL", help="AWS's API elsewhere, as that of `lambent serve`."
    )(command)
    return click.option("--region", metavar="NAME", help="Of aws:FUNCTION, where the profile has none.")(
        command
    )


def env(command: F) -> F:
    """Give a command --env."""
    return click.option(
        "--env", metavar="K=V", multiple=True, help="A variable for the function; may be repeated."
    )(command)


def init_cpu(command: F) -> F:
    """Give a command --init-cpu."""
    return click.option(
        "--init-cpu",
        type=click.Choice(["boost", "share"]),
        default="boost",
        show_default=True,
        help="The CPU of the init phase: two vCPUs, or the share of the memory.",
    )(command)


def life(command: F) -> F:
    """Give a command the options for how an environment lives and logs."""
    for option in reversed(_LIFE):
        command = option(command)
    return command


_LIFE = (
    click.option(
        "--initialization",
        type=click.Choice(get_args(Initialization)),
        default="on-demand",
        show_default=True,
        help="When the init phase runs, and whether it is restored from a snapshot.",
    ),
    init_cpu,
    click.option(
        "--max-concurrency",
        metavar="N",
        type=click.IntRange(1, MAX_CONCURRENCY),
        help="Run on a managed instance, with N workers in one environment.",
    ),
    click.option(
        "--freeze/--no-freeze", default=True, help="Stand still between invocations (default), or run on."
    ),
    click.option(
        "--log-format",
        type=click.Choice(get_args(LogFormat)),
        default="Text",
        show_default=True,
        help="The form of the log's lines.",
    ),
    click.option(
        "--application-log-level",
        type=click.Choice(get_args(ApplicationLogLevel)),
        help="What of the function's own output a log in JSON has (INFO and above).",
    ),
    click.option(
        "--system-log-level",
        type=click.Choice(get_args(SystemLogLevel)),
        help="What of the platform's records a log in JSON has (INFO and above).",
    ),
)


def one_python(command: F) -> F:
    """Give a command --python for one interpreter."""
    return click.option(
        "--python",
        metavar="V|PATH",
        type=OnePython(),
        help="The interpreter that runs the function, as a version (3.12) or a path.",
    )(command)


def pythons(command: F) -> F:
    """Give a command --python for several interpreters."""
    return click.option(
        "--python",
        "pythons",
        metavar="V|PATH,…",
        type=Pythons(),
        help="Interpreters that run the function, as versions (3.11,3.12) or paths.",
    )(command)


def otlp(command: F) -> F:
    """Give a command that measures --otlp."""
    return click.option(
        "--otlp", is_flag=True, help="Send spans over OTLP/HTTP to the lab instead of to standard output."
    )(command)


def counts(command: F) -> F:
    """Give a command --cold, --warm and --aa."""
    for option in reversed(_COUNTS):
        command = option(command)
    return command


_COUNTS = (
    click.option(
        "--cold",
        "pairs",
        metavar="N",
        type=click.IntRange(1),
        default=10,
        show_default=True,
        help="Fresh environments a side, memory size and Python; 8 or more give an interval.",
    ),
    click.option(
        "--warm",
        metavar="N",
        type=click.IntRange(0),
        default=20,
        show_default=True,
        help="Warm invocations in each environment.",
    ),
    click.option(
        "--aa",
        metavar="N",
        type=click.IntRange(0),
        help="Pairs of the baseline against itself (default: 3 when there are 8 pairs or more, else 0).",
    ),
)


def reach(command: F) -> F:
    """Give a command the options for functions outside the lab."""
    for option in reversed(_REACH):
        command = option(command)
    return command


_REACH = (
    click.option("--region", metavar="NAME", help="The region of an aws: target (default: AWS's own)."),
    click.option(
        "--endpoint-url", metavar="URL", help="Where an aws: target's API is, for one that is not AWS's."
    ),
    click.option(
        "--restart",
        metavar="COMMAND",
        help="What makes an http: target new, for its cold starts; without it there are none. {port}, {host} "
        "and {url} in it are the target's.",
    ),
)


def results(command: F) -> F:
    """Give a command the options for what it writes, and the seed."""
    for option in reversed(_RESULTS):
        command = option(command)
    return command


_RESULTS = (
    click.option(
        "--output",
        metavar="FILE",
        type=click.Path(dir_okay=False, path_type=Path),
        default=Path("performance-results.json"),
        show_default=True,
        help="The result file, with every raw value.",
    ),
    click.option(
        "--html",
        metavar="FILE",
        type=click.Path(dir_okay=False, path_type=Path),
        default=Path("performance-report.html"),
        show_default=True,
        help="The page with the plots.",
    ),
    click.option("--no-html", is_flag=True, help="Write no page."),
    click.option(
        "--json", "as_json", is_flag=True, help="Print the result file's content instead of the table."
    ),
    click.option(
        "--seed", metavar="N", type=int, help="Seed of the order (default: a new one, kept in the result)."
    ),
)
