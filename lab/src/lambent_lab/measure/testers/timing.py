"""Timing calls of a function, and what a list of times comes to. Shared by the testers of this room.

Rules
- A call that raises is counted as failed, its time is kept apart, and the function has no speed: none of its
  figures is given, though the times of the calls that went well are. So is one that makes a coroutine or a
  generator, of which nobody runs anything, and one that returns an invocation of a Lambda that failed.
- Nothing is dropped: outliers are flagged by their position.
- What was not measured is None, never 0.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import TYPE_CHECKING, Any, TypedDict

from lambent_lab.errors import LabError, UsageError
from lambent_lab.measure import machine, stats
from lambent_lab.measure.records import reason
from lambent_lab.measure.summary import figure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lambent_lab.measure.results import Figure, IntervalInfo, PairValue

    Clock = Callable[[], int]
    """Nanoseconds from any beginning, as `time.perf_counter_ns`."""

KEPT_ERRORS = 5
"""The messages of so many failures are kept; all are counted."""


class Times(TypedDict):
    """What a list of times comes to, in milliseconds; None is absent."""

    avg_time_ms: float | None
    std_dev_ms: float | None
    min_time_ms: float | None
    max_time_ms: float | None
    p95_time_ms: float | None
    p99_time_ms: float | None
    median_time_ms: float | None
    median_interval: IntervalInfo | None
    outliers: list[int]


@dataclass
class Calls:
    """The calls of one function: their times, those of failed calls apart, and the first errors."""

    times_ms: list[float] = field(default_factory=list)
    failed_times_ms: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def failed(self) -> int:
        """How many calls raised."""
        return len(self.failed_times_ms)

    def call(self, function: Callable[[], Any], clock: Clock) -> float | None:
        """Call the function and keep its time in milliseconds; None when it raised."""
        started = clock()
        try:
            result = function()
        except Exception as error:  # noqa: BLE001 - whatever the function raises is its result here
            self.fail(started, clock(), error)
            return None
        ended = clock()
        wrong = failure_in(result)
        if wrong is not None:
            self.fail(started, ended, wrong)
            return None
        return self.keep(started, ended)

    def keep(self, started: int, ended: int) -> float:
        """Keep the time of a call that went well."""
        taken = (ended - started) / 1e6
        self.times_ms.append(taken)
        return taken

    def fail(self, started: int, ended: int, error: BaseException) -> None:
        """Count a call that raised."""
        self.failed_times_ms.append((ended - started) / 1e6)
        if len(self.errors) < KEPT_ERRORS:
            text = str(error)
            self.errors.append(f"{type(error).__name__}: {text}" if text else type(error).__name__)

    def extend(self, others: Sequence[Calls]) -> None:
        """Add what others counted."""
        for other in others:
            self.times_ms += other.times_ms
            self.failed_times_ms += other.failed_times_ms
            self.errors = (self.errors + other.errors)[:KEPT_ERRORS]


def describe(times_ms: Sequence[float]) -> Times:
    """The figures of these times. Percentiles are those of `measure.stats`, None below their minimum n."""
    interval = figure(times_ms)
    return {
        "avg_time_ms": statistics.fmean(times_ms) if times_ms else None,
        "std_dev_ms": statistics.stdev(times_ms) if len(times_ms) > 1 else None,
        "min_time_ms": min(times_ms, default=None),
        "max_time_ms": max(times_ms, default=None),
        "p95_time_ms": stats.percentile(times_ms, 95),
        "p99_time_ms": stats.percentile(times_ms, 99),
        "median_time_ms": stats.median(times_ms),
        "median_interval": interval["interval"] if interval else None,
        "outliers": stats.outliers(times_ms),
    }


def ratio(upper: float | None, lower: float | None) -> float | None:
    """One through the other; None when either is absent or the lower one is not positive."""
    return None if upper is None or lower is None or lower <= 0 else upper / lower


class InvocationFailedError(LabError):
    """A function of Lambda's was invoked, and failed: its caller is told so without an exception."""


def failure_in(result: object) -> Exception | None:
    """Why a call that raised nothing is a failure all the same, None when it is none.

    It made a coroutine or a generator and ran nothing of it, or returned a failed invocation: as a function's
    `invoke` or `LambdaPerformanceTester.invoke_lambda` do.
    """
    if isinstance(result, CoroutineType):
        result.close()  # nobody will await it, and Python would complain
        return TypeError("the call made a coroutine and ran nothing: measure it with AsyncPerformanceTester")
    if isinstance(result, GeneratorType | AsyncGeneratorType):
        return TypeError("the call made a generator and ran nothing: measure a function that goes through it")
    if isinstance(result, dict):
        why = result.get("_error") if "_failed_after_ms" in result else None
    else:
        # By its type: nothing of what a program's own function returns is touched.
        invocation: Any = result if hasattr(type(result), "function_error") else None
        why = None if invocation is None else reason(invocation)
    return None if why is None else InvocationFailedError(str(why))


class RatioFigures(TypedDict):
    """What pairs of (baseline, traced) come to.

    median_ratio: the median of the pairwise ratios traced / baseline, with its exact 99% interval (None below
    8 pairs); aa_ratio: the same of successive baseline values, which says what the machine is worth.
    """

    median_ratio: float | None
    median_ratio_interval: IntervalInfo | None
    median_difference_ms: float | None
    median_difference_interval: IntervalInfo | None
    aa_ratio: Figure | None
    pairs: list[PairValue]


def compare(pairs: Sequence[tuple[float, float] | None]) -> RatioFigures:
    """The figures of pairs (baseline, traced) of times in milliseconds; None is a pair that failed."""
    values: list[PairValue] = []
    for number, pair in enumerate(pairs):
        if pair is None:
            continue
        value: PairValue = {
            "pair": number,
            "candidate": pair[1],
            "baseline": pair[0],
            "difference": pair[1] - pair[0],
        }
        if pair[0] > 0:
            value["ratio"] = pair[1] / pair[0]
        values.append(value)
    whole = figure([value["ratio"] for value in values if "ratio" in value])
    difference = figure([value["difference"] for value in values])
    same = [value["baseline"] for value in values]
    alike = [second / first for first, second in zip(same[::2], same[1::2], strict=False) if first > 0]
    return {
        "median_ratio": whole["median"] if whole else None,
        "median_ratio_interval": whole["interval"] if whole else None,
        "median_difference_ms": difference["median"] if difference else None,
        "median_difference_interval": difference["interval"] if difference else None,
        "aa_ratio": figure(alike),
        "pairs": values,
    }


def verdict(found: RatioFigures, limit: float, *, failed: bool, silent: bool) -> str:
    """Whether the ratio is below the limit: "pass", "fail", "inconclusive", or "failed" (calls raised).

    It is decided by the interval: "pass" when it ends at or below the limit, "fail" when it begins above it.
    A machine whose A/A ratio exceeds the limit, and a tracer that made no spans (`silent`), decide nothing.
    """
    if failed:
        return "failed"
    interval = found["median_ratio_interval"]
    same = found["aa_ratio"]
    unfit = same is not None and not 1 / limit <= same["median"] <= limit
    if interval is None or unfit or silent:
        return "inconclusive"
    if interval["low"] > limit:
        return "fail"
    return "pass" if interval["high"] <= limit else "inconclusive"


def spans_started(tracer: object) -> int | None:
    """How many spans a tracer has started, None when it does not say (`stats().started`, as lambent's)."""
    account = getattr(tracer, "stats", None)
    if not callable(account):
        return None
    try:
        started = getattr(account(), "started", None)
    except Exception:  # noqa: BLE001 - somebody else's `stats` may be anything
        return None
    return started if type(started) is int else None


def environment(load_before: list[float] | None) -> dict[str, Any]:
    """Where it was measured: the machine, its load before and now."""
    return {"machine": machine.describe(), "load_before": load_before, "load_after": machine.load_average()}


def at_least(name: str, value: float, least: float) -> None:
    """Raise UsageError when an argument is too small to measure anything."""
    if not value >= least:  # so that NaN is too small as well
        raise UsageError(f"{name} must be at least {least}, got {value}.")
