"""Measuring in the lab: pairs of fresh environments, exact intervals, every raw value kept.

Every public name is loaded from its module when it is first used: a test that wants `PerformanceTester` does
not load the bench, and the bench does not load what tests of functions use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lambent_lab.measure.async_performance import AsyncPerformanceTester
    from lambent_lab.measure.baselines import PerformanceBenchmark
    from lambent_lab.measure.bench import Benchmark, Progress, exit_code, run
    from lambent_lab.measure.lambda_tester import LambdaPerformanceTester
    from lambent_lab.measure.load_tester import LoadTester
    from lambent_lab.measure.memory_tester import MemoryTester
    from lambent_lab.measure.monitor import PerformanceMonitor
    from lambent_lab.measure.performance import PerformanceMetrics, PerformanceTester
    from lambent_lab.measure.quick import quick_performance_test
    from lambent_lab.measure.results import SCHEMA, Results, dumps, loads, read

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
    "AsyncPerformanceTester": "async_performance",
    "Benchmark": "bench",
    "LambdaPerformanceTester": "lambda_tester",
    "LoadTester": "load_tester",
    "MemoryTester": "memory_tester",
    "PerformanceBenchmark": "baselines",
    "PerformanceMetrics": "performance",
    "PerformanceMonitor": "monitor",
    "PerformanceTester": "performance",
    "Progress": "bench",
    "Results": "results",
    "dumps": "results",
    "exit_code": "bench",
    "loads": "results",
    "quick_performance_test": "quick",
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
