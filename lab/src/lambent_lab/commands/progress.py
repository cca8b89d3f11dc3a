"""How far a long measurement is: a bar on a terminal, lines in a log."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lambent_lab.measure.progress import Progress


_WORTH_SAYING_S = 2.0


def in_words(seconds: float) -> str:
    """A time as a person would say it."""
    if seconds < 90:
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"


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
        yield BarProgress(bar, name)


class BarProgress:
    """Progress as a rich bar over environments, moving with every invocation."""

    def __init__(self, bar: object, name: str = "bench") -> None:
        from rich.progress import Progress as Bar

        assert isinstance(bar, Bar)
        self._bar, self._name = bar, name
        self._task = bar.add_task("starting", total=None)

    def begin(self, environments: int, invocations: int) -> None:  # noqa: ARG002 - the bar counts invocations
        """Show the plan."""
        self._bar.update(self._task, total=invocations)

    def estimate(self, seconds: float) -> None:
        """Say it above the bar."""
        if seconds >= _WORTH_SAYING_S:
            self._bar.console.print(f"{self._name}: this will take {in_words(seconds)}", highlight=False)

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

    def estimate(self, seconds: float) -> None:
        """Say it, when it is long enough to matter."""
        if seconds >= _WORTH_SAYING_S:
            self._say(f"{self._name}: this will take {in_words(seconds)}")

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
        return f"{in_words(left)} left"
