"""Many threads that trace: specification 001's load test. Two seconds of it, or --duration seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.performance.performance_utils import ATTEMPTS, LONG_S, SPECIFIED, settled

from lambent.compat.honeyhive import EventType, HoneyHiveTracer, trace
from lambent_lab.measure import LoadTester

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.load


def test_high_load_performance(tracer: HoneyHiveTracer, duration: Callable[[float], float]) -> None:
    @trace(tracer=tracer, event_type=EventType.tool)
    def load_test_operation() -> int:
        data = list(range(50))
        return sum(x * x for x in data)

    seconds = duration(1.5)

    def load() -> dict[str, Any]:
        found = LoadTester(tracer).run_load_test(
            load_test_operation, num_threads=20, duration_seconds=seconds, ramp_up_seconds=min(5, seconds / 4)
        )
        results: dict[str, Any] = found["results"]
        assert results["error_rate"] < SPECIFIED["error_rate"]
        assert results["total_errors"] == 0
        return results

    results = settled(load, _fast, attempts=1 if seconds >= LONG_S else ATTEMPTS)
    assert results["throughput_ops_per_sec"] > SPECIFIED["throughput_ops_per_sec"], results
    assert results["p95_duration_ms"] < SPECIFIED["load_p95_ms"], results
    stats = tracer.stats()
    assert stats.started == stats.ended >= results["total_operations"]


def _fast(results: dict[str, Any]) -> bool:
    return bool(
        results["throughput_ops_per_sec"] > SPECIFIED["throughput_ops_per_sec"]
        and results["p95_duration_ms"] < SPECIFIED["load_p95_ms"]
    )
