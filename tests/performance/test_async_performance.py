"""What a span costs a coroutine, and the event loop: specification 001's async test."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.performance.performance_utils import OURS, SPECIFIED, settled_async, shown

from lambent.compat.honeyhive import EventType, HoneyHiveTracer, atrace
from lambent_lab.measure import AsyncPerformanceTester

pytestmark = pytest.mark.benchmark


async def _operation() -> int:
    await asyncio.sleep(0.01)
    return sum(range(100))


async def test_async_performance(tracer: HoneyHiveTracer) -> None:
    tester = AsyncPerformanceTester(tracer)
    traced = atrace(tracer=tracer, event_type=EventType.tool)(_operation)

    async def compare() -> dict[str, Any]:
        # Ten batches: eight pairs make an interval.
        return await tester.compare_async_performance(_operation, traced, iterations=100, concurrent_tasks=10)

    found = await settled_async(compare, lambda each: each["overhead_ratio"] < OURS["async_overhead_ratio"])
    assert found["overhead_ratio"] < SPECIFIED["async_overhead_ratio"], shown(found)
    assert found["overhead_ratio"] < OURS["async_overhead_ratio"], shown(found)
    assert found["traced"]["throughput_ops_per_sec"] > SPECIFIED["async_throughput_ops_per_sec"]
    assert (found["spans"], found["traced"]["error_count"]) == (100, 0)
    # Ten at once: by the sum of the times it would be a tenth of that.
    assert found["traced"]["sum_of_times_s"] > 3 * found["traced"]["total_time_s"]
    assert found["traced"]["event_loop_lag_ms"]["n"] > 0
