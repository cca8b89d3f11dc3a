"""Timing coroutine functions, traced and not: the asynchronous tester of specification 001.

Rules
- Operations run in batches of `concurrent_tasks`. Their times overlap: throughput and `total_time_s` are by
  the clock on the wall, from the beginning of each batch to its end; the sum of the times is kept apart.
- In a comparison a pair is a batch of each function, one after the other in random order; a batch's value is
  the median of its operations.
- The event loop's lag is how much later than asked for a timer fires while operations run: what hooks that
  block the loop do to everybody else in it.
- Failures, percentiles and verdicts are those of `measure.timing`.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Any

from lambent_lab.measure import stats
from lambent_lab.measure.machine import load_average
from lambent_lab.measure.summary import figure
from lambent_lab.measure.testers import timing
from lambent_lab.measure.testers.performance import ACCEPTABLE_RATIO
from lambent_lab.measure.testers.timing import Calls, at_least

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from lambent_lab.measure.testers.timing import Clock

    AsyncFunction = Callable[[], Awaitable[Any]]

LAG_EVERY_S = 0.005
"""How often the event loop's lag is looked at."""


class AsyncPerformanceTester:
    """Measures coroutine functions in the event loop that runs.

    tracer: what the traced functions record with; it is asked how many spans they made, if it can say.
    acceptable_ratio: the limit of a comparison. clock and seed: for tests of tests.
    """

    def __init__(
        self,
        tracer: object = None,
        *,
        acceptable_ratio: float = ACCEPTABLE_RATIO,
        clock: Clock = time.perf_counter_ns,
        seed: int | None = None,
    ) -> None:
        at_least("acceptable_ratio", acceptable_ratio, 1)
        self.tracer = tracer
        self.acceptable_ratio = acceptable_ratio
        self._clock = clock
        self._seed = seed

    async def measure_async_function(
        self,
        async_func: AsyncFunction,
        iterations: int = 100,
        concurrent_tasks: int = 1,
        warmup_iterations: int = 1,
    ) -> dict[str, Any]:
        """Await a function `iterations` times, `concurrent_tasks` at once.

        Raises UsageError for fewer than one of either.
        """
        _check(iterations, concurrent_tasks, warmup_iterations)
        side = _Side(async_func, self._clock)
        await side.warm_up(warmup_iterations)
        lag = _Lag(self._clock)
        async with lag:
            for size in _batches(iterations, concurrent_tasks):
                await side.batch(size)
        return side.result(concurrent_tasks, lag)

    async def compare_async_performance(
        self,
        baseline_func: AsyncFunction,
        traced_func: AsyncFunction,
        iterations: int = 50,
        concurrent_tasks: int = 5,
        warmup_iterations: int = 1,
    ) -> dict[str, Any]:
        """Await both functions `iterations` times each, in pairs of batches in random order.

        The result has the documented keys, and what `PerformanceTester.compare_performance` adds to them; the
        interval needs eight batches. Raises UsageError for fewer than one iteration or task.
        """
        _check(iterations, concurrent_tasks, warmup_iterations)
        # Not a secret: the order of a measurement.
        seed = random.randrange(2**32) if self._seed is None else self._seed  # noqa: S311
        order = random.Random(seed)  # noqa: S311
        sides = (_Side(baseline_func, self._clock), _Side(traced_func, self._clock))
        for side in sides:
            await side.warm_up(warmup_iterations)
        load = load_average()
        spans = timing.spans_started(self.tracer)
        lags = (_Lag(self._clock), _Lag(self._clock))
        pairs: list[tuple[float, float] | None] = []
        traced_first: list[bool] = []
        for size in _batches(iterations, concurrent_tasks):
            first = order.randrange(2)
            traced_first.append(first == 1)
            taken: dict[int, float | None] = {}
            for which in (first, 1 - first):
                async with lags[which]:
                    taken[which] = await sides[which].batch(size)
            baseline, traced = taken[0], taken[1]
            pairs.append(None if baseline is None or traced is None else (baseline, traced))
        after = timing.spans_started(self.tracer)
        made = None if spans is None or after is None else after - spans
        results = [side.result(concurrent_tasks, lag) for side, lag in zip(sides, lags, strict=True)]
        failed = any(result["error_count"] or result["warmup_failed"] for result in results)
        found = timing.compare([] if failed else pairs)
        typical = found["median_ratio"]
        named = zip(("baseline", "traced"), results, strict=True)
        warnings = [f"{name} raised: {result['errors'][0]}" for name, result in named if result["errors"]]
        if made == 0:
            warnings.append("the tracer started no span in the traced calls: this is not the cost of tracing")
        return {
            "baseline": results[0],
            "traced": results[1],
            "overhead_ratio": typical,
            "is_acceptable": typical is not None and typical < self.acceptable_ratio,
            "throughput_ratio": timing.ratio(
                results[1]["throughput_ops_per_sec"], results[0]["throughput_ops_per_sec"]
            ),
            **found,
            "average_ratio": timing.ratio(results[1]["avg_time_ms"], results[0]["avg_time_ms"]),
            "n": len(found["pairs"]),
            "limit": self.acceptable_ratio,
            "verdict": timing.verdict(found, self.acceptable_ratio, failed=failed, silent=made == 0),
            "spans": made,
            "traced_first": traced_first,
            "seed": seed,
            "environment": timing.environment(load),
            "warnings": warnings,
        }


class _Side:
    """One function, its operations and the time on the wall that they took."""

    def __init__(self, function: AsyncFunction, clock: Clock) -> None:
        self._function = function
        self._clock = clock
        self._calls = Calls()
        self._warm_up = Calls()
        self._wall = 0

    async def warm_up(self, number: int) -> None:
        for _ in range(number):
            await self._operation(self._warm_up)

    async def batch(self, size: int) -> float | None:
        """Run a batch; return the median of its times, None when an operation failed."""
        mine = Calls()
        started = self._clock()
        await asyncio.gather(*(self._operation(mine) for _ in range(size)))
        self._wall += self._clock() - started
        self._calls.extend([mine])
        return None if mine.failed else stats.median(mine.times_ms)

    async def _operation(self, calls: Calls) -> None:
        started = self._clock()
        try:
            result = await self._function()
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise  # it is the measurement that is cancelled
            calls.fail(started, self._clock(), error)
        except Exception as error:  # noqa: BLE001 - whatever the function raises is its result here
            calls.fail(started, self._clock(), error)
        else:
            ended = self._clock()
            wrong = timing.failure_in(result)
            if wrong is None:
                calls.keep(started, ended)
            else:
                calls.fail(started, ended, wrong)

    def result(self, concurrent_tasks: int, lag: _Lag) -> dict[str, Any]:
        calls, warmup = self._calls, self._warm_up
        well = not (calls.failed or warmup.failed)
        total = self._wall / 1e9
        n = len(calls.times_ms)
        return {
            **timing.describe(calls.times_ms if well else ()),
            "total_time_s": total,
            "throughput_ops_per_sec": n / total if well and total > 0 else None,
            "n": n,
            "concurrent_tasks": concurrent_tasks,
            "error_count": calls.failed,
            "error_rate": calls.failed / (n + calls.failed),
            "warmup_failed": warmup.failed,
            "errors": calls.errors or warmup.errors,
            "sum_of_times_s": sum(calls.times_ms) / 1000,
            "event_loop_lag_ms": lag.figures(),
            "times_ms": calls.times_ms,
            "failed_times_ms": calls.failed_times_ms,
        }


class _Lag:
    """Watches how late the event loop's timers are, as long as its block lasts."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._late_ms: list[float] = []
        self._due = 0
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> None:
        self._begin()

    async def __aexit__(self, *_: object) -> None:
        # A timer that is overdue is late already: an operation that never yielded is over before it fires.
        if self._clock() > self._due:
            self._keep()
        if self._timer is not None:
            self._timer.cancel()

    def _begin(self) -> None:
        self._due = self._clock() + round(LAG_EVERY_S * 1e9)
        self._timer = asyncio.get_running_loop().call_later(LAG_EVERY_S, self._fire)

    def _fire(self) -> None:
        self._keep()
        self._begin()

    def _keep(self) -> None:
        self._late_ms.append(max(0.0, (self._clock() - self._due) / 1e6))

    def figures(self) -> dict[str, Any]:
        """Median with its n and interval, the 95th percentile, the largest and every value."""
        return {
            **(figure(self._late_ms) or {"n": 0, "median": None, "interval": None}),
            "p95": stats.percentile(self._late_ms, 95),
            "max": max(self._late_ms, default=None),
            "values": list(self._late_ms),
        }


def _batches(iterations: int, at_once: int) -> list[int]:
    whole, rest = divmod(iterations, at_once)
    return [at_once] * whole + [rest] * bool(rest)


def _check(iterations: int, concurrent_tasks: int, warmup_iterations: int) -> None:
    at_least("iterations", iterations, 1)
    at_least("concurrent_tasks", concurrent_tasks, 1)
    at_least("warmup_iterations", warmup_iterations, 0)
