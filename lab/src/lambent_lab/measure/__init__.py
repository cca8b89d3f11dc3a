"""Measuring in the lab: pairs of fresh environments, exact intervals, every raw value kept.

Every public name is loaded from its module when it is first used: a test that wants `PerformanceTester` does
not load the bench, and the bench does not load what tests of functions use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lambent_lab.measure.bench import Benchmark, Progress, exit_code, run
    from lambent_lab.measure.results import SCHEMA, Results, dumps, loads, read
    from lambent_lab.measure.testers.async_performance import AsyncPerformanceTester
    from lambent_lab.measure.testers.baselines import PerformanceBenchmark
    from lambent_lab.measure.testers.lambda_tester import LambdaPerformanceTester
    from lambent_lab.measure.testers.load_tester import LoadTester
    from lambent_lab.measure.testers.memory_tester import MemoryTester
    from lambent_lab.measure.testers.monitor import PerformanceMonitor
    from lambent_lab.measure.testers.performance import PerformanceMetrics, PerformanceTester
    from lambent_lab.measure.testers.quick import quick_performance_test

__all__ = [
    "SCHEMA",
    "AsyncPerformanceTester",
    "Benchmark",
    "LambdaPerformanceTester",
    "LoadTester",
    "MemoryTester",
    "PerformanceBenchmark",
    "PerformanceMetrics",
    "PerformanceMonitor",
    "PerformanceTester",
    "Progress",
    "Results",
    "dumps",
    "exit_code",
    "loads",
    "quick_performance_test",
    "read",
    "run",
]

_HOMES = {
    "SCHEMA": "results",
    "AsyncPerformanceTester": "testers.async_performance",
    "Benchmark": "bench",
    "LambdaPerformanceTester": "testers.lambda_tester",
    "LoadTester": "testers.load_tester",
    "MemoryTester": "testers.memory_tester",
    "PerformanceBenchmark": "testers.baselines",
    "PerformanceMetrics": "testers.performance",
    "PerformanceMonitor": "testers.monitor",
    "PerformanceTester": "testers.performance",
    "Progress": "bench",
    "Results": "results",
    "dumps": "results",
    "exit_code": "bench",
    "loads": "results",
    "quick_performance_test": "testers.quick",
    "read": "results",
    "run": "bench",
}
"""Each public name, and the module of this room that has it."""


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
