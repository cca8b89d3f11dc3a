"""A load test of a function that is invoked, into a result file. See `loops` for what users do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, cast

from lambent_lab.measure import header
from lambent_lab.measure.accounting import incomplete
from lambent_lab.measure.ending import Ending
from lambent_lab.measure.load import figures
from lambent_lab.measure.load.calls import InLab
from lambent_lab.measure.load.loops import Load, Run
from lambent_lab.measure.load.words import conclude
from lambent_lab.measure.remarks import Remarks
from lambent_lab.measure.results import no_sections

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lambent_lab.measure.load.calls import Call
    from lambent_lab.measure.load.loops import Outcome
    from lambent_lab.measure.results import Box, Doubt, Header, Results, TargetInfo
    from lambent_lab.measure.results_load import LoadSection

_HOPELESS = 50
"""After how many failures, and nothing else, a load test is given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTest:
    """What to do. max_error_rate: the share of invocations that may fail before the test has failed; python:
    the interpreter of a function in the lab, if not ours.
    """

    load: Load
    target: TargetInfo
    concurrency: int | None = None
    memory_mb: int | None = None
    timeout_s: float = 3.0
    event_name: str | None = None
    otlp: bool = False
    max_error_rate: float = 0.01
    python: Path | None = None
    command: tuple[str, ...] = ()


class LoadProgress(Protocol):
    """Who is told how far the load test is."""

    def begin(self, seconds: float) -> None:
        """It begins, and is to take so long."""

    def at(self, seconds: float, succeeded: int, failed: int, throttled: int) -> None:
        """So much has happened until now."""


class Silence:
    """A LoadProgress that says nothing."""

    def begin(self, seconds: float) -> None:
        """Say nothing."""

    def at(self, seconds: float, succeeded: int, failed: int, throttled: int) -> None:
        """Say nothing."""


@dataclass(slots=True)
class _Watch:
    """Counts outcomes, tells progress, and gives up when nothing but failures come."""

    progress: LoadProgress
    run: Run | None = None
    counts: dict[str, int] = field(default_factory=lambda: {"ok": 0, "failed": 0, "throttled": 0})
    hopeless: str | None = None

    def hear(self, outcome: Outcome) -> None:
        assert self.run is not None
        counts = self.counts
        counts[outcome.kind] += 1  # of several threads: near enough for progress
        if counts["failed"] >= _HOPELESS and not counts["ok"] + counts["throttled"]:
            self.hopeless = outcome.error
            self.run.stop()
        self.progress.at(self.run.now, counts["ok"], counts["failed"], counts["throttled"])


def run(
    test: LoadTest,
    call: Call,
    progress: LoadProgress | None = None,
    *,
    box: Callable[[], Box | None] = lambda: None,
) -> Results:
    """Load, and return the result file's content; also what was measured until Ctrl-C or a broken lab.

    `box` is asked at the end how the function was held.
    """
    beginning = header.begin("load", test.command, test.python)
    if test.target["kind"] != "lab":
        beginning.machine["function_python"] = None  # it runs elsewhere
    watch = _Watch(progress or Silence())
    going = watch.run = Run(test.load, call, on_done=watch.hear)
    ending = Ending()
    with ending.noted():
        watch.progress.begin(test.load.duration_s)
        going.run()
    if watch.hopeless is not None:
        ending.error = f"Given up: the first {watch.counts['failed']} invocations failed: {watch.hopeless}."
    held = box()  # it can be asked only while there are environments
    with ending.noted():  # what was measured is worth more than impatience
        if isinstance(call, InLab):
            call.end(going.log.spans)
    head = header.finish(beginning, ending, box=held)
    return content(test, section_of(test, going), head)


def section_of(test: LoadTest, going: Run) -> LoadSection:
    """The load section of a run."""
    load, log = test.load, going.log
    parts = figures.parts(log, load, going.elapsed_s)
    section: LoadSection = {
        "headline": "",
        "conclusion": [],
        "config": {
            "mode": "closed" if load.rate is None else "open",
            "engine": "threads",
            "users": load.users,
            "duration_s": load.duration_s,
            "ramp_up_s": load.ramp_up_s,
            "rate": load.rate,
            "arrivals": None if load.rate is None else load.arrivals,
            "pause_s": load.pause_s,
            "concurrency": test.concurrency,
            "memory_mb": test.memory_mb,
        },
        "elapsed_s": parts.whole["to_s"],
        "all": parts.whole,
        "ramp_up": parts.ramp_up,
        "steady": parts.steady,
        "series": figures.series(log, parts.whole["to_s"]),
        "errors": figures.errors(log),
        "unstarted": going.unstarted,
        "spans": figures.spans(log),
        "raw": figures.raw(log),
    }
    section["headline"], section["conclusion"] = conclude(section)
    return section


def content(test: LoadTest, section: LoadSection, head: Header) -> Results:
    """The result file's content."""
    whole = section["all"]
    sections = no_sections()
    sections["settings"] = {
        **sections["settings"],
        "memory_mb": [] if test.memory_mb is None else [test.memory_mb],
        "timeout_s": test.timeout_s,
        "event": test.event_name,
        "otlp": test.otlp,
    }
    sections["counts"] |= {"invocations": whole["attempted"], "failed": whole["failed"]}
    made = {
        **head,
        **sections,
        "seed": test.load.seed,
        "targets": {"candidate": test.target},
        "warnings": _doubts(test, section, head),
        "load": section,
    }
    return cast("Results", made)


def _doubts(test: LoadTest, section: LoadSection, head: Header) -> list[Doubt]:
    said = Remarks(head)
    whole = section["all"]
    share = whole["error_rate"]["share"]
    if whole["attempted"] and not whole["succeeded"]:
        said.fail("failed", "No invocation succeeded: there is no speed to report.")
    elif share is not None and whole["failed"]:
        text = f"{share:.2%} of the invocations failed; {test.max_error_rate:.2%} are allowed."
        (said.fail if share > test.max_error_rate else said.warn)("failed", text)
    if whole["throttled"]:
        text = f"{whole['throttled']:,} invocations were throttled: there were more at once than are allowed."
        said.warn("throttled", text)
    if section["unstarted"]:
        text = f"{section['unstarted']:,} arrivals were not begun: they count with what they had waited."
        said.warn("unstarted", text)
    missing = None if section["spans"] is None else incomplete(section["spans"])
    if missing is not None:
        said.fail("spans-lost", f"{missing[:1].upper()}{missing[1:]}.")
    return said.all()
