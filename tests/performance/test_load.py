"""A steady rate of traced operations: one second of it, or --duration seconds.

An open loop: operations begin when they are due, whether or not others are done, as requests do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.performance.performance_utils import ATTEMPTS, LONG_S, SPECIFIED, settled, squares

from lambent.compat.honeyhive import HoneyHiveTracer, trace
from lambent_lab.measure import LoadTester

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.load

RATE = 200


def test_a_steady_rate(tracer: HoneyHiveTracer, duration: Callable[[float], float]) -> None:
    seconds = duration(1)

    def load() -> dict[str, Any]:
        found = LoadTester(tracer).run_load_test(
            trace(tracer=tracer)(squares),
            num_threads=10,
            duration_seconds=seconds,
            ramp_up_seconds=0,
            rate=RATE,
        )
        results: dict[str, Any] = found["results"]
        assert results["total_errors"] == 0
        return results

    results = settled(
        load,
        lambda each: each["p95_duration_ms"] < SPECIFIED["load_p95_ms"],
        attempts=1 if seconds >= LONG_S else ATTEMPTS,
    )
    print(f"{results['total_operations']} operations, {results['throughput_ops_per_sec']:.0f} a second")
    assert results["throughput_ops_per_sec"] > SPECIFIED["throughput_ops_per_sec"], results
    assert results["throughput_ops_per_sec"] < RATE * 1.2, results
    assert results["p95_duration_ms"] < SPECIFIED["load_p95_ms"], results
