"""`AsyncPerformanceTester`: with a clock that the test moves, so that every figure is exact."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

import pytest

import lambent
from lambent.compat.honeyhive import EventType, HoneyHiveTracer, atrace
from lambent_lab.errors import UsageError
from lambent_lab.measure import AsyncPerformanceTester
from lambent_lab.measure.testing import HandClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

SPECIFIED = {
    "avg_time_ms",
    "std_dev_ms",
    "min_time_ms",
    "max_time_ms",
    "p95_time_ms",
    "total_time_s",
    "throughput_ops_per_sec",
}


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def tester(clock: HandClock) -> AsyncPerformanceTester:
    return AsyncPerformanceTester(None, clock=clock, seed=7)


def taking(clock: HandClock, *milliseconds: float) -> Callable[[], Awaitable[None]]:
    times = list(milliseconds)

    async def function() -> None:
        clock.advance_ms(times[0])
        times.append(times.pop(0))

    return function


async def test_one_at_a_time(tester: AsyncPerformanceTester, clock: HandClock) -> None:
    found = await tester.measure_async_function(taking(clock, 1, 3), iterations=60, warmup_iterations=2)
    assert found.keys() >= SPECIFIED
    assert (found["avg_time_ms"], found["min_time_ms"], found["max_time_ms"]) == (2, 1, 3)
    assert (found["n"], found["p95_time_ms"], found["p99_time_ms"]) == (60, 3, None)
    assert found["total_time_s"] == found["sum_of_times_s"] == pytest.approx(0.12)
    assert found["throughput_ops_per_sec"] == pytest.approx(500)
    assert len(found["times_ms"]) == 60
    json.dumps(found, allow_nan=False)


async def test_throughput_is_by_the_wall_clock_where_operations_overlap(
    tester: AsyncPerformanceTester, clock: HandClock
) -> None:
    async def function() -> None:
        entered = len(waiting)
        waiting.append(entered)
        if entered % 10 == 9:
            clock.advance_ms(10)
            gate.set()
        await gate.wait()
        if len(waiting) % 10 == 0:
            await asyncio.sleep(0)
            gate.clear()

    waiting: list[int] = []
    gate = asyncio.Event()
    found = await tester.measure_async_function(
        function, iterations=100, concurrent_tasks=10, warmup_iterations=0
    )
    # Ten batches of ten that overlap, 10 ms each: 0.1 s, not ten times as long.
    assert found["total_time_s"] == pytest.approx(0.1)
    assert found["throughput_ops_per_sec"] == pytest.approx(1000)
    assert found["sum_of_times_s"] == pytest.approx(1.0)
    assert (found["avg_time_ms"], found["concurrent_tasks"]) == (10, 10)


async def test_the_last_batch_is_what_is_left(tester: AsyncPerformanceTester) -> None:
    running, most, calls = 0, 0, 0

    async def function() -> None:
        nonlocal running, most, calls
        running, calls = running + 1, calls + 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    await tester.measure_async_function(function, iterations=23, concurrent_tasks=5, warmup_iterations=0)
    assert (calls, most) == (23, 5)


async def test_a_blocked_loop_is_seen(tester: AsyncPerformanceTester, clock: HandClock) -> None:
    found = await tester.measure_async_function(taking(clock, 50), iterations=1, warmup_iterations=0)
    lag = found["event_loop_lag_ms"]
    assert (lag["n"], lag["median"], lag["max"], lag["values"]) == (1, 45, 45, [45])
    assert (lag["p95"], lag["interval"]) == (None, None)


async def test_the_lag_of_a_real_loop() -> None:
    async def blocking() -> None:
        time.sleep(0.03)  # noqa: ASYNC251 - what it is about
        await asyncio.sleep(0)

    async def waiting() -> None:
        await asyncio.sleep(0.03)

    tester = AsyncPerformanceTester()
    blocked = await tester.measure_async_function(blocking, iterations=5)
    free = await tester.measure_async_function(waiting, iterations=5)
    assert blocked["event_loop_lag_ms"]["max"] >= 20
    assert free["event_loop_lag_ms"]["n"] >= 5


@pytest.mark.parametrize("broken", [[1], range(1, 100)])
async def test_failures_have_no_speed(
    tester: AsyncPerformanceTester, clock: HandClock, broken: range | list[int]
) -> None:
    calls: list[None] = []

    async def function() -> None:
        calls.append(None)
        clock.advance_ms(1)
        if len(calls) in broken:
            raise ConnectionError("gone")

    found = await tester.measure_async_function(function, iterations=40, warmup_iterations=0)
    assert found["error_count"] == min(40, len(broken))
    assert found["n"] == 40 - found["error_count"]
    assert found["errors"][0] == "ConnectionError: gone"
    for name in SPECIFIED - {"total_time_s"}:
        assert found[name] is None, name
    compared = await tester.compare_async_performance(taking(clock, 1), function, iterations=40)
    assert (compared["overhead_ratio"] is None) == (len(broken) > 1)
    if len(broken) > 1:
        assert (compared["is_acceptable"], compared["verdict"]) == (False, "failed")
        assert compared["warnings"] == ["traced raised: ConnectionError: gone"]


async def test_an_invocation_that_failed_is_a_failure(tester: AsyncPerformanceTester) -> None:
    async def invoke() -> dict[str, object]:
        return {"_total_time_ms": None, "_error": "ValueError: no", "_failed_after_ms": 3.0}

    found = await tester.measure_async_function(invoke, iterations=2)
    assert (found["error_count"], found["avg_time_ms"]) == (2, None)
    assert found["errors"] == ["InvocationFailedError: ValueError: no"] * 2


async def test_an_operation_that_is_cancelled_is_a_failure(tester: AsyncPerformanceTester) -> None:
    async def function() -> None:
        raise asyncio.CancelledError

    found = await tester.measure_async_function(function, iterations=3)
    assert (found["error_count"], found["errors"][0]) == (3, "CancelledError")


async def test_a_measurement_can_be_cancelled(tester: AsyncPerformanceTester) -> None:
    started = asyncio.Event()

    async def function() -> None:
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(tester.measure_async_function(function, concurrent_tasks=2))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_cannot_be_awaited_is_a_failure(tester: AsyncPerformanceTester) -> None:
    found = await tester.measure_async_function(lambda: 3, iterations=2)  # type: ignore[arg-type,return-value]
    assert found["error_count"] == 2
    assert "TypeError" in found["errors"][0]


async def test_comparison(tester: AsyncPerformanceTester, clock: HandClock) -> None:
    found = await tester.compare_async_performance(
        taking(clock, 2), taking(clock, 3), iterations=40, concurrent_tasks=2
    )
    assert {"baseline", "traced", "overhead_ratio", "is_acceptable"} <= found.keys()
    assert (found["median_ratio"], found["n"], found["limit"]) == (1.5, 20, 2.0)
    assert found["median_ratio_interval"]["low"] == found["median_ratio_interval"]["high"] == 1.5
    assert (found["is_acceptable"], found["verdict"]) == (True, "pass")
    assert found["throughput_ratio"] == pytest.approx(2 / 3)
    assert (len(found["traced_first"]), len(set(found["traced_first"])), found["seed"]) == (20, 2, 7)
    assert found["baseline"]["n"] == found["traced"]["n"] == 40
    json.dumps(found, allow_nan=False)


async def test_a_drifting_machine_does_not_look_like_overhead(
    tester: AsyncPerformanceTester, clock: HandClock
) -> None:
    speed = [1.0]

    async def function() -> None:
        speed[0] *= 1.01
        clock.advance_ms(speed[0])

    found = await tester.compare_async_performance(function, function, iterations=100, concurrent_tasks=1)
    assert 0.98 < found["median_ratio"] < 1.02


async def test_too_few_batches_decide_nothing(tester: AsyncPerformanceTester, clock: HandClock) -> None:
    found = await tester.compare_async_performance(
        taking(clock, 1), taking(clock, 1), iterations=30, concurrent_tasks=10
    )
    assert (found["n"], found["median_ratio_interval"]) == (3, None)
    assert (found["is_acceptable"], found["verdict"]) == (True, "inconclusive")


@pytest.mark.parametrize("make", ["lambent", "honeyhive", "other"])
async def test_tracers(make: str) -> None:
    if make == "honeyhive":
        tracer = HoneyHiveTracer.init(api_key="k", project="p", test_mode=True)
        traced = atrace(tracer=tracer, event_type=EventType.tool)(_work)
    elif make == "lambent":
        tracer = lambent.init(test_mode=True)  # type: ignore[assignment]
        traced = lambent.atrace(tracer=tracer)(_work)
    else:
        tracer, traced = object(), _work  # type: ignore[assignment]
    try:
        found = await AsyncPerformanceTester(tracer).compare_async_performance(_work, traced, iterations=40)
        assert found["spans"] == (None if make == "other" else 40)
        assert found["warnings"] == []
        if make != "other":
            silent = await AsyncPerformanceTester(tracer).compare_async_performance(_work, _work)
            assert (silent["spans"], silent["verdict"]) == (0, "inconclusive")
    finally:
        if make != "other":
            tracer.close()


async def _work() -> int:
    await asyncio.sleep(0)
    return sum(range(100))


async def test_nothing_to_measure_is_wrong_usage(tester: AsyncPerformanceTester) -> None:
    with pytest.raises(UsageError, match="iterations must be at least 1"):
        await tester.measure_async_function(_work, iterations=0)
    with pytest.raises(UsageError, match="concurrent_tasks must be at least 1"):
        await tester.compare_async_performance(_work, _work, concurrent_tasks=0)
    with pytest.raises(UsageError, match="acceptable_ratio"):
        AsyncPerformanceTester(acceptable_ratio=0)
