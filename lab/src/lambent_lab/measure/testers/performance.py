"""Timing functions of a program's own, traced and not: the tester of specification 001.

Names, arguments and result keys are the specification's; what is measured follows `docs/design/measuring.md`:

- Baseline and traced calls are interleaved in pairs, their order within a pair random. `overhead_ratio` is
  the median of the pairwise ratios (`median_ratio`, which has an interval), not the ratio of the averages:
  that is `average_ratio`. A call that waited for the processor moves an average.
- A function that raises is counted and gets no figures; see `measure.timing`.
- Memory is resident memory after collecting garbage; in a comparison it is attributed call by call.
- All of it is one process: for what varies from process to process there are `lambent quick` and
  `lambent bench`.
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lambent_lab.measure.machine import load_average
from lambent_lab.measure.testers import timing
from lambent_lab.measure.testers.memory_probe import MemoryProbe, collect
from lambent_lab.measure.testers.timing import Calls, at_least

if TYPE_CHECKING:
    from collections.abc import Callable

    from lambent_lab.measure.results import IntervalInfo
    from lambent_lab.measure.testers.memory_probe import Memory
    from lambent_lab.measure.testers.timing import Clock

ACCEPTABLE_RATIO = 2.0
"""How many times as long as untraced calls the traced ones may take (specification 001)."""


@dataclass
class PerformanceMetrics:
    """What the calls of one function came to. Times in milliseconds, memory in MB; None is absent.

    n: the calls that went well; failed, warmup_failed: those that raised (any of them leaves the figures
    None); median_interval: the exact 99% interval of the median, from 8 calls on; memory_usage_mb: growth of
    resident memory over the run, after collecting garbage; peak_memory_mb: the most that it was above its
    beginning, known as memory_source says; outliers: positions in times_ms that are far from the rest.
    """

    avg_time_ms: float | None
    std_dev_ms: float | None
    min_time_ms: float | None
    max_time_ms: float | None
    p95_time_ms: float | None
    p99_time_ms: float | None
    throughput_ops_per_sec: float | None
    memory_usage_mb: float | None
    n: int = 0
    failed: int = 0
    warmup_failed: int = 0
    errors: list[str] = field(default_factory=list)
    median_time_ms: float | None = None
    median_interval: IntervalInfo | None = None
    peak_memory_mb: float | None = None
    memory_source: str = ""
    outliers: list[int] = field(default_factory=list)
    times_ms: list[float] = field(default_factory=list)
    failed_times_ms: list[float] = field(default_factory=list)


class PerformanceTester:
    """Measures functions, traced and untraced, in this process.

    tracer: what the traced functions record with; it is asked how many spans they made, if it can say.
    acceptable_ratio: the limit of a comparison. clock, memory, seed: for tests of tests; a clock returns
    nanoseconds, the seed is that of the order in a comparison (kept in its result).
    """

    def __init__(
        self,
        tracer: object = None,
        *,
        acceptable_ratio: float = ACCEPTABLE_RATIO,
        clock: Clock = time.perf_counter_ns,
        memory: Memory | None = None,
        seed: int | None = None,
    ) -> None:
        at_least("acceptable_ratio", acceptable_ratio, 1)
        self.tracer = tracer
        self.acceptable_ratio = acceptable_ratio
        self.results: dict[str, PerformanceMetrics | dict[str, Any]] = {}
        self._clock = clock
        self._memory = MemoryProbe() if memory is None else memory
        self._seed = seed

    def measure_function_performance(
        self,
        func: Callable[[], Any],
        iterations: int = 100,
        warmup_iterations: int = 10,
        name: str | None = None,
    ) -> PerformanceMetrics:
        """Call a function `iterations` times, after some calls that do not count.

        Raises UsageError for fewer than one iteration.
        """
        at_least("iterations", iterations, 1)
        at_least("warmup_iterations", warmup_iterations, 0)
        warmup, calls = Calls(), Calls()
        for _ in range(warmup_iterations):
            warmup.call(func, self._clock)
        collect()
        self._memory.begin_peak()
        before = self._memory.rss_mb()
        for _ in range(iterations):
            calls.call(func, self._clock)
        peak = self._memory.peak_mb() - before
        collect()
        grown = self._memory.rss_mb() - before
        metrics = self._metrics(calls, warmup, grown, peak)
        self.results[_name_of(func, name)] = metrics
        return metrics

    def compare_performance(
        self,
        baseline_func: Callable[[], Any],
        traced_func: Callable[[], Any],
        iterations: int = 100,
        name: str = "comparison",
        warmup_iterations: int = 10,
    ) -> dict[str, Any]:
        """Call both functions in `iterations` pairs, in random order within each.

        The result has the documented keys, and `median_ratio` with its interval, `verdict`, every pair, the
        spans that were made, the seed and the machine. When a call raised, there is no ratio and
        `is_acceptable` is false. Raises UsageError for fewer than one iteration.
        """
        at_least("iterations", iterations, 1)
        at_least("warmup_iterations", warmup_iterations, 0)
        # Not a secret: the order of a measurement.
        seed = random.randrange(2**32) if self._seed is None else self._seed  # noqa: S311
        order = random.Random(seed)  # noqa: S311
        functions = (baseline_func, traced_func)
        load = load_average()
        warmups, sides = (Calls(), Calls()), (Calls(), Calls())
        for _ in range(warmup_iterations):
            for function, warmup in zip(functions, warmups, strict=True):
                warmup.call(function, self._clock)
        spans = timing.spans_started(self.tracer)
        collect()
        grown = [0.0, 0.0]
        pairs: list[tuple[float, float] | None] = []
        traced_first: list[bool] = []
        before = self._memory.rss_mb()
        for _ in range(iterations):
            first = order.randrange(2)
            traced_first.append(first == 1)
            taken: dict[int, float | None] = {}
            for side in (first, 1 - first):
                taken[side] = sides[side].call(functions[side], self._clock)
                now = self._memory.rss_mb()
                grown[side] += now - before
                before = now
            baseline, traced = taken[0], taken[1]
            pairs.append(None if baseline is None or traced is None else (baseline, traced))
        made = _since(spans, timing.spans_started(self.tracer))
        metrics = [self._metrics(sides[i], warmups[i], grown[i], None) for i in (0, 1)]
        comparison = self._comparison(metrics[0], metrics[1], pairs, made)
        comparison |= {
            "traced_first": traced_first,
            "seed": seed,
            "environment": timing.environment(load),
        }
        self.results[f"{name}_baseline"], self.results[f"{name}_traced"] = metrics
        self.results[f"{name}_comparison"] = comparison
        return comparison

    def measure_concurrent_performance(
        self, func: Callable[[], Any], num_threads: int = 10, operations_per_thread: int = 50
    ) -> dict[str, Any]:
        """Call a function in several threads that begin together. Errors are counted by operation.

        The time is that from the common beginning to the end of the last operation; the throughput is that of
        the operations that went well. Raises UsageError for less than one thread or operation.
        """
        at_least("num_threads", num_threads, 1)
        at_least("operations_per_thread", operations_per_thread, 1)
        workers = [Calls() for _ in range(num_threads)]
        started, ended = _together(func, workers, operations_per_thread, self._clock)
        calls = Calls()
        calls.extend(workers)
        n, total = len(calls.times_ms), (ended - started) / 1e9
        found: dict[str, Any] = {
            "num_threads": num_threads,
            "operations_per_thread": operations_per_thread,
            "total_operations": n,
            "total_time_s": total,
            "throughput_ops_per_sec": n / total if n and total > 0 else None,
            "error_count": calls.failed,
            "error_rate": calls.failed / (n + calls.failed),
            "errors": calls.errors,
            **timing.describe(calls.times_ms),
            "n": n,
            "times_ms": calls.times_ms,
            "failed_times_ms": calls.failed_times_ms,
        }
        self.results["concurrent_performance"] = found
        return found

    def generate_report(self) -> str:
        """What was measured so far, as text. A figure that is absent is a dash, and says why."""
        from lambent_lab.measure.testers.performance_report import render

        return render(self.results)

    def _metrics(
        self, calls: Calls, warmup: Calls, grown: float | None, peak: float | None
    ) -> PerformanceMetrics:
        well = not (calls.failed or warmup.failed)
        total = sum(calls.times_ms) / 1000
        figures = timing.describe(calls.times_ms if well else ())
        return PerformanceMetrics(
            **figures,
            throughput_ops_per_sec=len(calls.times_ms) / total if well and total > 0 else None,
            memory_usage_mb=grown,
            n=len(calls.times_ms),
            failed=calls.failed,
            warmup_failed=warmup.failed,
            errors=calls.errors or warmup.errors,
            peak_memory_mb=peak,
            memory_source=(
                "RSS, call by call" if peak is None else f"RSS after gc; peak: {self._memory.peak_source}"
            ),
            times_ms=calls.times_ms,
            failed_times_ms=calls.failed_times_ms,
        )

    def _comparison(
        self,
        baseline: PerformanceMetrics,
        traced: PerformanceMetrics,
        pairs: list[tuple[float, float] | None],
        spans: int | None,
    ) -> dict[str, Any]:
        failed = any(side.failed or side.warmup_failed for side in (baseline, traced))
        found = timing.compare([] if failed else pairs)
        typical = found["median_ratio"]
        named = (("baseline", baseline), ("traced", traced))
        warnings = [f"{side} raised: {metrics.errors[0]}" for side, metrics in named if metrics.errors]
        if spans == 0:
            warnings.append("the tracer started no span in the traced calls: this is not the cost of tracing")
        return {
            "baseline": baseline,
            "traced": traced,
            "overhead_ratio": typical,
            "throughput_ratio": timing.ratio(traced.throughput_ops_per_sec, baseline.throughput_ops_per_sec),
            "is_acceptable": typical is not None and typical < self.acceptable_ratio,
            "memory_overhead_mb": (traced.memory_usage_mb or 0.0) - (baseline.memory_usage_mb or 0.0),
            **found,
            "average_ratio": timing.ratio(traced.avg_time_ms, baseline.avg_time_ms),
            "n": len(found["pairs"]),
            "limit": self.acceptable_ratio,
            "verdict": timing.verdict(found, self.acceptable_ratio, failed=failed, silent=spans == 0),
            "spans": spans,
            "warnings": warnings,
        }


def _name_of(func: Callable[[], Any], name: str | None) -> str:
    return name or getattr(func, "__name__", None) or type(func).__name__


def _since(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before


def _together(
    func: Callable[[], Any], workers: list[Calls], operations: int, clock: Clock
) -> tuple[int, int]:
    """Have each worker call the function in a thread of its own; return the times of beginning and end."""
    begun: list[int] = []
    ended: list[int] = []
    stop = threading.Event()
    gate = threading.Barrier(len(workers), action=lambda: begun.append(clock()))

    def work(calls: Calls) -> None:
        try:
            gate.wait()
        except threading.BrokenBarrierError:
            return
        for _ in range(operations):
            if stop.is_set():
                break
            started = clock()
            try:
                calls.call(func, clock)
            except BaseException as error:  # noqa: BLE001 - in a thread, `SystemExit` is a failure like others
                calls.fail(started, clock(), error)
        ended.append(clock())

    threads = [threading.Thread(target=work, args=(calls,), daemon=True) for calls in workers]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        stop.set()  # interrupted, or out of threads: what runs ends after its operation
        gate.abort()
    return begun[0], max(ended)
