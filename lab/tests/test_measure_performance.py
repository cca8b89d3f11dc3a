"""`PerformanceTester`: with a clock and a memory that the test moves, so that every figure is exact."""

from __future__ import annotations

import json
import mmap
import random
import statistics
import threading
from collections import Counter
from dataclasses import asdict, fields
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

import lambent
from lambent.compat.honeyhive import HoneyHiveTracer
from lambent_lab.errors import UsageError
from lambent_lab.measure import PerformanceMetrics, PerformanceTester
from lambent_lab.measure.testers import memory_probe
from lambent_lab.measure.testers.memory_probe import KERNEL, LOOKS, MB, MemoryProbe
from lambent_lab.measure.testing import FakeMemory, HandClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

SPECIFIED = [
    "avg_time_ms",
    "std_dev_ms",
    "min_time_ms",
    "max_time_ms",
    "p95_time_ms",
    "p99_time_ms",
    "throughput_ops_per_sec",
    "memory_usage_mb",
]


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def memory() -> FakeMemory:
    return FakeMemory()


@pytest.fixture
def tester(clock: HandClock, memory: FakeMemory) -> PerformanceTester:
    return PerformanceTester(None, clock=clock, memory=memory, seed=7)


def taking(clock: HandClock, *milliseconds: float) -> Callable[[], None]:
    """Return a function whose calls take these times, over and over."""
    times = list(milliseconds)

    def function() -> None:
        clock.advance_ms(times[0])
        times.append(times.pop(0))

    return function


def test_the_fields_are_the_specified_ones_first() -> None:
    assert [field.name for field in fields(PerformanceMetrics)][:8] == SPECIFIED
    assert PerformanceMetrics(1.0, 0.1, 0.9, 1.1, None, None, 1000.0, 0.0).n == 0


def test_a_function_s_figures(tester: PerformanceTester, clock: HandClock, memory: FakeMemory) -> None:
    memory.values = [100.0, 103.5]
    memory.peak = 120.0
    metrics = tester.measure_function_performance(
        taking(clock, 1, 2, 3, 4), iterations=400, warmup_iterations=4, name="f"
    )
    assert metrics is tester.results["f"]
    assert (metrics.n, metrics.failed, len(metrics.times_ms)) == (400, 0, 400)
    assert metrics.avg_time_ms == 2.5
    assert metrics.std_dev_ms == statistics.stdev([1, 2, 3, 4] * 100)
    assert (metrics.min_time_ms, metrics.max_time_ms) == (1, 4)
    assert (metrics.p95_time_ms, metrics.p99_time_ms) == (4, 4)
    assert metrics.median_time_ms == 2.5
    assert metrics.median_interval is not None
    assert (metrics.median_interval["low"], metrics.median_interval["high"]) == (2, 3)
    assert metrics.throughput_ops_per_sec == pytest.approx(400)
    assert (metrics.memory_usage_mb, metrics.peak_memory_mb) == (3.5, 20)
    json.dumps(asdict(metrics), allow_nan=False)


@pytest.mark.parametrize(
    ("n", "p95", "p99"), [(58, False, False), (59, True, False), (298, True, False), (299, True, True)]
)
def test_percentiles_are_absent_below_their_least_n(
    tester: PerformanceTester, clock: HandClock, n: int, p95: bool, p99: bool
) -> None:
    metrics = tester.measure_function_performance(taking(clock, 1), iterations=n)
    assert (metrics.p95_time_ms is not None, metrics.p99_time_ms is not None) == (p95, p99)


def test_warm_up_is_not_measured(tester: PerformanceTester, clock: HandClock) -> None:
    calls: list[None] = []

    def function() -> None:
        calls.append(None)
        clock.advance_ms(1000 if len(calls) <= 3 else 1)

    metrics = tester.measure_function_performance(function, iterations=5, warmup_iterations=3)
    assert (len(calls), metrics.max_time_ms) == (8, 1)
    assert tester.results["function"] is metrics


def test_one_call_has_no_deviation(tester: PerformanceTester, clock: HandClock) -> None:
    metrics = tester.measure_function_performance(taking(clock, 2), iterations=1)
    assert (metrics.avg_time_ms, metrics.std_dev_ms, metrics.median_interval) == (2, None, None)


@pytest.mark.parametrize("broken", [range(1, 1000), [13]])
def test_a_function_that_raises_has_no_speed(
    tester: PerformanceTester, clock: HandClock, broken: Any
) -> None:
    calls: list[None] = []

    def function() -> None:
        calls.append(None)
        clock.advance_ms(1)
        if len(calls) in broken:
            raise ValueError("no such order")

    metrics = tester.measure_function_performance(function, iterations=100, warmup_iterations=0)
    assert metrics.failed == min(100, len(broken))
    assert metrics.n == len(metrics.times_ms) == 100 - metrics.failed
    assert metrics.failed_times_ms == [1.0] * metrics.failed
    assert metrics.errors[0] == "ValueError: no such order"
    assert len(metrics.errors) <= 5
    for name in [*SPECIFIED[:7], "median_time_ms", "median_interval"]:
        assert getattr(metrics, name) is None, name
    report = tester.generate_report()
    assert "ValueError: no such order" in report
    assert "ops/sec" not in report


def test_a_failing_warm_up_counts(tester: PerformanceTester, clock: HandClock) -> None:
    calls: list[None] = []

    def function() -> None:
        calls.append(None)
        clock.advance_ms(1)
        if len(calls) == 1:
            raise KeyError

    metrics = tester.measure_function_performance(function, iterations=10)
    assert (metrics.failed, metrics.warmup_failed, metrics.avg_time_ms) == (0, 1, None)
    assert metrics.errors == ["KeyError"]


async def _coroutine() -> None: ...


def _generator() -> Iterator[int]:
    yield 1


async def _stream() -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("function", "says"),
    [(_coroutine, "AsyncPerformanceTester"), (_generator, "goes through it"), (_stream, "goes through it")],
)
def test_what_runs_nothing_is_a_failure(
    tester: PerformanceTester, function: Callable[[], Any], says: str
) -> None:
    metrics = tester.measure_function_performance(function, iterations=3)
    assert (metrics.failed, metrics.avg_time_ms) == (3, None)
    assert says in metrics.errors[0]
    found = tester.measure_concurrent_performance(function, num_threads=1, operations_per_thread=2)
    assert (found["error_count"], found["throughput_ops_per_sec"]) == (2, None)


def test_ctrl_c_is_not_a_failed_call(tester: PerformanceTester) -> None:
    def function() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tester.measure_function_performance(function)


def test_nothing_to_measure_is_wrong_usage(tester: PerformanceTester) -> None:
    with pytest.raises(UsageError, match="iterations must be at least 1"):
        tester.measure_function_performance(print, iterations=0)
    with pytest.raises(UsageError, match="iterations must be at least 1"):
        tester.compare_performance(print, print, iterations=0)
    with pytest.raises(UsageError, match="num_threads must be at least 1"):
        tester.measure_concurrent_performance(print, num_threads=0)
    with pytest.raises(UsageError, match="acceptable_ratio"):
        PerformanceTester(acceptable_ratio=0.5)


# Comparisons.


def test_a_comparison_is_exact(tester: PerformanceTester, clock: HandClock) -> None:
    found = tester.compare_performance(taking(clock, 2), taking(clock, 3), iterations=40, name="c")
    assert {
        "baseline",
        "traced",
        "overhead_ratio",
        "throughput_ratio",
        "is_acceptable",
        "memory_overhead_mb",
    } <= found.keys()
    assert (found["overhead_ratio"], found["median_ratio"], found["average_ratio"]) == (1.5, 1.5, 1.5)
    assert found["throughput_ratio"] == pytest.approx(2 / 3)
    assert (found["median_difference_ms"], found["n"], len(found["pairs"])) == (1, 40, 40)
    assert (found["median_ratio_interval"]["low"], found["median_ratio_interval"]["high"]) == (1.5, 1.5)
    assert found["median_ratio_interval"]["coverage"] >= 0.99
    assert (found["is_acceptable"], found["verdict"], found["limit"]) == (True, "pass", 2.0)
    assert (found["aa_ratio"]["median"], found["aa_ratio"]["n"]) == (1.0, 20)
    assert found["baseline"].avg_time_ms == 2
    assert found["traced"].avg_time_ms == 3
    assert tester.results == {
        "c_baseline": found["baseline"],
        "c_traced": found["traced"],
        "c_comparison": found,
    }
    assert found["environment"]["machine"]["cores"]
    json.dumps({**found, "baseline": None, "traced": None}, allow_nan=False)


def test_calls_are_interleaved_in_random_order(clock: HandClock, memory: FakeMemory) -> None:
    def order(seed: int) -> tuple[list[str], dict[str, Any]]:
        called: list[str] = []
        tester = PerformanceTester(None, clock=clock, memory=memory, seed=seed)
        found = tester.compare_performance(
            lambda: called.append("b"), lambda: called.append("t"), iterations=50, warmup_iterations=0
        )
        return called, found

    called, found = order(1)
    pairs = ["".join(called[i : i + 2]) for i in range(0, 100, 2)]
    assert set(pairs) == {"bt", "tb"}
    assert [pair == "tb" for pair in pairs] == found["traced_first"]
    assert found["seed"] == 1
    assert order(1)[0] == called != order(2)[0]


def test_a_drifting_machine_does_not_look_like_overhead(clock: HandClock, memory: FakeMemory) -> None:
    # Every call takes 1% longer than the one before. In two blocks the second would be 2.7 times as slow.
    speed = [1.0]

    def function() -> None:
        speed[0] *= 1.01
        clock.advance_ms(speed[0])

    found = PerformanceTester(clock=clock, memory=memory, seed=3).compare_performance(
        function, function, iterations=100, warmup_iterations=0
    )
    assert 0.98 < found["median_ratio"] < 1.02
    assert found["verdict"] == "pass"


def test_one_preempted_call_moves_the_average_not_the_verdict(
    tester: PerformanceTester, clock: HandClock
) -> None:
    slow = taking(clock, *[1.0] * 49, 500.0)
    found = tester.compare_performance(taking(clock, 1), slow, iterations=50, warmup_iterations=0)
    assert found["average_ratio"] > 10
    assert (found["overhead_ratio"], found["is_acceptable"], found["verdict"]) == (1, True, "pass")


def test_verdicts(clock: HandClock, memory: FakeMemory) -> None:
    def verdict(*traced: float, iterations: int = 40, baseline: tuple[float, ...] = (1,)) -> tuple[str, bool]:
        tester = PerformanceTester(clock=clock, memory=memory, seed=1)
        found = tester.compare_performance(
            taking(clock, *baseline), taking(clock, *traced), iterations=iterations, warmup_iterations=0
        )
        return found["verdict"], found["is_acceptable"]

    assert verdict(1.9) == ("pass", True)
    assert verdict(2.1) == ("fail", False)
    assert verdict(1.5, 2.4) == ("inconclusive", True)
    assert verdict(1.1, iterations=7) == ("inconclusive", True)  # too few for an interval
    assert verdict(1, baseline=(1, 3)) == ("inconclusive", True)  # the baseline differs that much from itself


def test_a_noisy_machine_is_judged_right(
    clock: HandClock, memory: FakeMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lambent_lab.measure.testers.performance.collect", lambda: None)
    monkeypatch.setattr("lambent_lab.measure.machine.describe", dict)

    # Calls differ by some 10%, the machine drifts, one call in fifty waits for the processor.
    def verdicts(slower: float) -> Counter[str]:
        found: Counter[str] = Counter()
        for seed in range(30):
            noise = random.Random(seed)
            drift = [1.0]

            def call(factor: float, noise: random.Random = noise, drift: list[float] = drift) -> None:
                drift[0] *= 1 + noise.gauss(0, 0.01)
                waited = 20 if noise.random() < 0.02 else 0
                clock.advance_ms(drift[0] * factor * noise.lognormvariate(0, 0.1) + waited)

            tester = PerformanceTester(clock=clock, memory=memory, seed=seed, acceptable_ratio=1.05)
            compared = tester.compare_performance(
                partial(call, 1.0), partial(call, slower), iterations=200, warmup_iterations=0
            )
            found[compared["verdict"]] += 1
        return found

    same = verdicts(1.0)
    assert same["fail"] == 0
    assert same["pass"] > 15
    assert verdicts(1.15)["fail"] >= 28


def test_a_failing_side_has_no_ratio(tester: PerformanceTester, clock: HandClock) -> None:
    def broken() -> None:
        raise OSError("no network")

    found = tester.compare_performance(taking(clock, 1), broken, iterations=20, name="f")
    assert (found["overhead_ratio"], found["median_ratio"], found["throughput_ratio"]) == (None, None, None)
    assert (found["is_acceptable"], found["verdict"], found["n"]) == (False, "failed", 0)
    assert found["warnings"] == ["traced raised: OSError: no network"]
    assert found["traced"].failed == 20
    assert (
        "Overhead Ratio: \u2013 (traced raised: OSError: no network), n=0 pairs" in tester.generate_report()
    )


def test_memory_is_attributed_to_the_side_that_took_it(clock: HandClock) -> None:
    memory = FakeMemory()
    held = [50.0]
    memory.read = lambda: held[0]

    def traced() -> None:
        clock.advance_ms(1)
        held[0] += 0.25

    tester = PerformanceTester(clock=clock, memory=memory)
    found = tester.compare_performance(taking(clock, 1), traced, iterations=20, warmup_iterations=0)
    assert (found["baseline"].memory_usage_mb, found["traced"].memory_usage_mb) == (0, 5)
    assert found["memory_overhead_mb"] == 5


class Other:
    """Somebody else's tracer."""


@pytest.mark.parametrize("make", ["lambent", "honeyhive", "other"])
def test_spans_are_counted_where_the_tracer_counts(make: str) -> None:
    made: dict[str, Callable[[], Any]] = {
        "lambent": lambda: lambent.init(test_mode=True),
        "honeyhive": lambda: HoneyHiveTracer.init(api_key="k", project="p", test_mode=True),
        "other": Other,
    }
    tracer = made[make]()
    try:
        tester = PerformanceTester(tracer)

        def traced() -> None:
            if make != "other":
                with tracer.trace("work"):
                    pass

        found = tester.compare_performance(lambda: None, traced, iterations=30)
        assert found["spans"] == (None if make == "other" else 30)
        assert found["warnings"] == []
        silent = tester.compare_performance(lambda: None, lambda: None, iterations=30)
        if make != "other":
            assert (silent["spans"], silent["verdict"]) == (0, "inconclusive")
            assert "no span" in silent["warnings"][0]
            assert "! the tracer started no span" in tester.generate_report()
    finally:
        if make != "other":
            tracer.close()


# Threads.


def test_errors_are_counted_by_operation(tester: PerformanceTester) -> None:
    lock, calls = threading.Lock(), [0]

    def function() -> None:
        with lock:
            calls[0] += 1
            number = calls[0]
        if number % 4 == 0:
            raise ValueError(f"operation {number}")

    found = tester.measure_concurrent_performance(function, num_threads=4, operations_per_thread=25)
    assert calls[0] == 100  # no thread ended at its first error
    assert (found["total_operations"], found["error_count"], found["error_rate"]) == (75, 25, 0.25)
    assert found["errors"][:1][0].startswith("ValueError: operation ")
    assert len(found["errors"]) == 5
    assert (found["num_threads"], found["operations_per_thread"], found["n"]) == (4, 25, 75)
    assert len(found["times_ms"]) == 75
    assert found["p99_time_ms"] is None
    assert tester.results["concurrent_performance"] is found


def test_throughput_is_by_the_wall_clock() -> None:
    tester = PerformanceTester()
    gate = threading.Barrier(4)
    found = tester.measure_concurrent_performance(
        lambda: gate.wait(20) and None, num_threads=4, operations_per_thread=50
    )
    assert found["total_operations"] == 200
    assert found["throughput_ops_per_sec"] == pytest.approx(200 / found["total_time_s"])
    assert found["total_time_s"] < sum(found["times_ms"]) / 1000  # they overlapped


def test_only_failures_have_no_speed(tester: PerformanceTester) -> None:
    def function() -> None:
        raise SystemExit(3)

    found = tester.measure_concurrent_performance(function, num_threads=2, operations_per_thread=3)
    assert (found["error_count"], found["error_rate"], found["total_operations"]) == (6, 1.0, 0)
    assert (found["avg_time_ms"], found["throughput_ops_per_sec"], found["errors"][0]) == (
        None,
        None,
        "SystemExit: 3",
    )
    assert "Errors: 6 (100.00%)" in tester.generate_report()


# The report.


def test_the_report(tester: PerformanceTester, clock: HandClock) -> None:
    assert tester.generate_report() == "Performance Test Report\n=========================\n"
    tester.measure_function_performance(taking(clock, 0.00125), iterations=50, name="small")
    tester.compare_performance(taking(clock, 2), taking(clock, 3), iterations=300, name="order")
    tester.measure_concurrent_performance(taking(clock, 1), num_threads=1, operations_per_thread=9)
    report = tester.generate_report()
    for line in (
        "## small",
        "Average Time: 0.00125ms",
        "P95: \u2013 (it takes 59 values, there are 50)",
        "P99: \u2013 (it takes 299 values, there are 50)",
        "## order_comparison",
        "Overhead Ratio: 1.50x (1.50 to 1.50x, 99% interval), n=300 pairs",
        "Average Ratio: 1.50x",
        "Acceptable: ✅ (limit 2.00x; by the interval: pass)",
        "P99: 3.00ms",
        "## concurrent_performance",
        "Errors: 0 (0.00%)",
    ):
        assert line in report.splitlines(), report
    assert max(map(len, report.splitlines())) <= 80


# The real probe.


def test_the_probe_sees_a_peak_between_two_looks() -> None:
    probe = MemoryProbe()
    probe.begin_peak()
    before = probe.rss_mb()
    with mmap.mmap(-1, 64 * MB) as held:  # not what the allocator may have left from other tests
        held[::4096] = b"x" * len(held[::4096])
        with_it = probe.rss_mb()
    assert with_it - before > 60
    assert probe.peak_mb() - before > 60
    if probe.peak_source == KERNEL:
        probe.begin_peak()
        assert probe.peak_mb() - before < 60


@pytest.mark.parametrize("refusal", ["missing", "ignored"])
def test_without_the_kernel_a_peak_is_the_highest_look(
    refusal: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmHWM:\t 9999999 kB\n")
    monkeypatch.setattr(memory_probe, "_STATUS", status)
    clear = tmp_path / "clear_refs" if refusal == "ignored" else tmp_path / "no" / "clear_refs"
    monkeypatch.setattr(memory_probe, "_CLEAR", clear)
    probe = MemoryProbe()
    probe.begin_peak()
    highest = max(probe.rss_mb() for _ in range(3))
    assert probe.peak_source == LOOKS
    assert highest <= probe.peak_mb() < 9000
