"""Progress of runs that count invocations or seconds: a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Meter:
    """Counts towards a total that may be known later. `show` is called with what to draw."""

    def __init__(
        self,
        what: str,
        say: Callable[[str], None],
        *,
        unit: str = "",
        every: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.done = 0.0
        self.total: float | None = None
        self.note = ""
        self._what, self._say, self._every, self._clock = what, say, every, clock
        self._unit = f" {unit}" if unit else ""
        self._began = self._said = clock()

    def begin(self, total: float) -> None:
        """The counting begins."""
        self.total = total
        self._began = self._said = self._clock()
        self._say(f"{self._what}: {total:,.0f}{self._unit} to do")

    def advance(self, amount: float = 1.0) -> None:
        """So much more is done."""
        self.reach(self.done + amount)

    def reach(self, done: float) -> None:
        """So much is done in all; say so when it is time to."""
        self.done = done
        now = self._clock()
        if now - self._said >= self._every:
            self._said = now
            note = f", {self.note}" if self.note else ""
            self._say(
                f"{self._what}: {done:,.0f} of {self.total or 0:,.0f}{self._unit}{note}, {self.left(now)}"
            )

    def left(self, now: float) -> str:
        """How long it may still take, in words."""
        if not self.done or self.total is None:
            return "time left unknown"
        left = (now - self._began) / self.done * max(0.0, self.total - self.done)
        return f"about {left:.0f} s left" if left < 90 else f"about {left / 60:.0f} min left"


class BarMeter(Meter):
    """Moves a rich bar, and no more often than four times a second: what is measured shares the machine."""

    def __init__(self, what: str, bar: object) -> None:
        from rich.progress import Progress

        assert isinstance(bar, Progress)
        super().__init__(what, lambda _: None, every=0.25)
        self._bar = bar
        self._task = bar.add_task(what, total=None)
        self._say = lambda _: self._draw()

    def begin(self, total: float) -> None:
        """Show the plan."""
        self._bar.update(self._task, total=total)
        super().begin(total)

    def _draw(self) -> None:
        self._bar.update(self._task, completed=self.done, description=f"{self._what} {self.note}".strip())


@contextmanager
def meter(what: str, unit: str = "") -> Iterator[Meter]:
    """A bar on a terminal's standard error; elsewhere a line every 10 seconds. unit: of what is counted."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield Meter(what, lambda line: click.echo(line, err=True), unit=unit)
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=False),
    )
    with Progress(
        *columns,
        console=console,
        transient=True,
        refresh_per_second=2,
        redirect_stdout=False,
        redirect_stderr=False,
    ) as bar:
        yield BarMeter(what, bar)
