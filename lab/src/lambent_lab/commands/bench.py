"""`lambent bench`: what tracing (or another bundle) costs, in pairs of fresh environments."""

from __future__ import annotations

import random
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from lambent_lab.commands import options
from lambent_lab.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from lambent_lab.measure.bench import Progress
    from lambent_lab.measure.results import Results
    from lambent_lab.measure.sampler import LabLike

_SIZES = range(128, 10241)

if TYPE_CHECKING:
    _SizesType = click.ParamType[tuple[int, ...]]
else:
    _SizesType = click.ParamType  # generic in the newest releases of click only


def _make_lab() -> AbstractContextManager[LabLike]:
    """The real lab; tests put another one in its place."""
    from lambent_lab.service import Lab

    return Lab()


make_lab: Callable[[], AbstractContextManager[LabLike]] = _make_lab


class MemorySizes(_SizesType):
    """A list of memory sizes in MB, as 128,256,512."""

    name = "MB,…"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """The sizes, each once and in order."""
        if isinstance(value, tuple):
            return value
        try:
            sizes = sorted({int(part) for part in str(value).split(",")})
        except ValueError:
            self.fail(f"{value!r} is not a list of megabytes such as 128,256,512.", param, ctx)
        for size in sizes:
            if size not in _SIZES:
                self.fail(f"Lambda has memory sizes from 128 to 10240 MB, not {size}.", param, ctx)
        return tuple(sizes)


@click.command(name="bench", short_help="Measure what tracing costs, cold and warm.")
@options.target
@click.option(
    "--baseline",
    metavar="TARGET|K=V",
    help="Another bundle's FOLDER/module.function, or the variable that switches tracing off in the same one "
    "(default: OTEL_SDK_DISABLED=true).",
)
@options.event
@click.option(
    "--memory", "memory_mb", type=MemorySizes(), default=(128,), help="Memory sizes in MB (default: 128)."
)
@click.option(
    "--cold",
    "pairs",
    metavar="N",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="Fresh environments a side and memory size; 8 or more give an interval.",
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
    "--aa",
    metavar="N",
    type=click.IntRange(0),
    help="Pairs of the baseline against itself (default: 3 when there are 8 pairs or more, else 0).",
)
@options.timeout
@options.env
@options.python
@options.init_cpu
@click.option(
    "--no-bytecode", is_flag=True, help="Run without .pyc files, as a bundle made without them does."
)
@click.option(
    "--otlp", is_flag=True, help="Send spans over OTLP/HTTP to the lab instead of to standard output."
)
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("performance-results.json"),
    show_default=True,
    help="The result file, with every raw value.",
)
@click.option(
    "--html",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("performance-report.html"),
    show_default=True,
    help="The page with the plots.",
)
@click.option("--no-html", is_flag=True, help="Write no page.")
@click.option("--json", "as_json", is_flag=True, help="Print the result file's content instead of the table.")
@click.option(
    "--seed", metavar="N", type=int, help="Seed of the order (default: a new one, kept in the result)."
)
@click.pass_context
def command(
    context: click.Context,
    target: str,
    baseline: str | None,
    event: str | None,
    memory_mb: tuple[int, ...],
    pairs: int,
    warm: int,
    aa: int | None,
    timeout: float,
    env: tuple[str, ...],
    python: Path | None,
    init_cpu: Literal["boost", "share"],
    no_bytecode: bool,
    otlp: bool,
    output: Path,
    html: Path,
    no_html: bool,
    as_json: bool,
    seed: int | None,
) -> None:
    """Measure a function traced against itself untraced, or one bundle against another.

    Both run in fresh environments, in pairs, in random order. Exit code 0: measured; 1: something failed,
    or no spans arrived; 2: bad usage; 130: interrupted, what was measured so far is written.
    """
    from lambent_lab import measure, report
    from lambent_lab.commands.inputs import load_event, locate, parse_env
    from lambent_lab.measure.plan import default_aa
    from lambent_lab.measure.results import write_text
    from lambent_lab.measure.target import sides
    from lambent_lab.service.function import encode_event

    candidate, base = sides(target, baseline, parse_env(env), locate)
    payload = load_event(event)
    encode_event(payload)  # an event that Lambda would not take is said before anything runs
    outputs = [output] if no_html else [output, html]
    for path in outputs:
        writable(path)
    benchmark = measure.Benchmark(
        candidate=candidate,
        baseline=base,
        event=payload,
        event_name=event,
        memory_mb=memory_mb,
        pairs=pairs,
        aa=default_aa(pairs) if aa is None else aa,
        warm=warm,
        timeout_s=timeout,
        python=python,
        bytecode=not no_bytecode,
        init_cpu=init_cpu,
        otlp=otlp,
        # Not a secret: the order of a measurement.
        seed=random.randrange(2**32) if seed is None else seed,  # noqa: S311
        command=("lambent", *sys.argv[1:]),
    )
    with make_lab() as lab:
        with progress() as bar:
            results = measure.run(benchmark, lab, bar)
        # Before the lab ends: nothing that goes wrong there may cost the results.
        write_text(output, report.render(results, "json"))
        if not no_html:
            write_text(html, report.render(results, "html"))
    _print(results, as_json=as_json)
    written = " and ".join(str(path) for path in outputs)
    click.echo(f"Wrote {written}.", err=True)
    context.exit(measure.exit_code(results))


def writable(path: Path) -> None:
    """Say before an hour of measuring that its result could not be written."""
    if path.is_dir() or not path.parent.is_dir():
        raise UsageError(f"Cannot write {path}: {path.parent} is not a folder, or {path.name} is one.")


def _print(results: Results, *, as_json: bool) -> None:
    from lambent_lab import report

    if as_json:
        click.echo(report.render(results, "json"), nl=False)
        return
    from lambent_lab.commands.output import Look
    from lambent_lab.report import terminal

    look = Look.of_stdout()
    width = max(80, min(look.width, 100))
    text = terminal.render(results, width=width, color=look.color, ascii_only=look.ascii_only)
    click.echo(text, nl=False, color=look.color)


@contextmanager
def progress(name: str = "bench") -> Iterator[Progress]:
    """A progress bar on a terminal's standard error; elsewhere a line every 10 seconds."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield LogProgress(name)
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=False),
    )
    # Drawn seldom: the measured function shares the machine. The standard output may be a file: left alone.
    bar = Bar(
        *columns,
        console=console,
        transient=True,
        refresh_per_second=2,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    with bar:
        yield BarProgress(bar)


class BarProgress:
    """Progress as a rich bar over environments, moving with every invocation."""

    def __init__(self, bar: object) -> None:
        from rich.progress import Progress as Bar

        assert isinstance(bar, Bar)
        self._bar = bar
        self._task = bar.add_task("starting", total=None)

    def begin(self, environments: int, invocations: int) -> None:  # noqa: ARG002 - the bar counts invocations
        """Show the plan."""
        self._bar.update(self._task, total=invocations)

    def environment(self, side: str, memory_mb: int) -> None:
        """Name what runs now."""
        self._bar.update(self._task, description=f"{side} {memory_mb} MB")

    def invocation(self) -> None:
        """Move on."""
        self._bar.advance(self._task)

    def skip(self, invocations: int) -> None:
        """Move over what will not happen."""
        self._bar.advance(self._task, invocations)


class LogProgress:
    """Progress as lines in a log: two at the beginning, then one every `every` seconds."""

    def __init__(
        self,
        name: str = "bench",
        every: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
        say: Callable[[str], None] = lambda line: click.echo(line, err=True),
    ) -> None:
        self._name, self._every, self._clock, self._say = name, every, clock, say
        self._planned = self._environments = self._done = self._begun = 0
        self._started = self._last = clock()

    def begin(self, environments: int, invocations: int) -> None:
        """Say what is planned; a gate may plan more on the way."""
        if not self._planned:
            self._started = self._last = self._clock()
        self._environments, self._planned = environments, invocations
        self._say(f"{self._name}: {environments} environments, {invocations} invocations")

    def environment(self, side: str, memory_mb: int) -> None:
        """Say where it is, when it is time to."""
        self._begun += 1
        now = self._clock()
        if self._begun == 1 or now - self._last >= self._every:
            self._last = now
            self._say(
                f"{self._name}: environment {self._begun} of {self._environments} ({side}, {memory_mb} MB), "
                f"{self._left(now)}"
            )

    def invocation(self) -> None:
        """Count."""
        self._done += 1

    def skip(self, invocations: int) -> None:
        """Plan less."""
        self._planned -= invocations

    def _left(self, now: float) -> str:
        if not self._done:
            return "time left unknown"
        left = (now - self._started) / self._done * (self._planned - self._done)
        return f"about {left:.0f} s left" if left < 90 else f"about {left / 60:.0f} min left"
