"""docs/reference/testers.md names every key of the testers' results, and none that is not there."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lambent_lab.measure import (
    AsyncPerformanceTester,
    LambdaPerformanceTester,
    LoadTester,
    MemoryTester,
    PerformanceBenchmark,
    PerformanceMetrics,
    PerformanceTester,
)
from lambent_lab.measure.testers import quick
from lambent_lab.measure.testing import FakeLab, FakeMemory

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "testers.md"


def sections() -> dict[str, set[str]]:
    """The keys in the first column of each section's table, by the method that its heading names."""
    found: dict[str, set[str]] = {}
    for part in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        name = re.findall(r"`(\w+)`", part.splitlines()[0])[0]
        rows = [line.split("|")[1] for line in part.splitlines() if line.startswith("| ")]
        found[name] = {key for row in rows for key in re.findall(r"`(\w+)`", row)}
    return found


def _tester() -> PerformanceTester:
    return PerformanceTester(memory=FakeMemory())


def _memory() -> MemoryTester:
    return MemoryTester(memory=FakeMemory())


def _starts() -> LambdaPerformanceTester:
    return LambdaPerformanceTester(lab=FakeLab())


def _checked(folder: Path) -> set[str]:
    benchmark = PerformanceBenchmark(folder / "baselines.json", version="v")
    recorded = benchmark.check_regression("t", {"ms": 1.0})
    return {*recorded, *benchmark.check_regression("t", {"ms": 1.0})}


def _quick() -> dict[str, Any]:
    def run(pairs: int, seed: int) -> dict[str, Any]:
        side = {"median_time_ms": 1.0, "times_ms": [1.0]}
        return {"verdict": "pass", "spans": 1, "seed": seed, "traced_first": [True]} | {
            "baseline": side,
            "traced": side,
        }

    return quick.measure(processes=1, run=run)


async def _measure_async() -> dict[str, Any]:
    async def nothing() -> None: ...

    return await AsyncPerformanceTester().measure_async_function(nothing, iterations=1)


def _load() -> set[str]:
    found = LoadTester().run_load_test(int, 1, 0.01, 0)
    return {*found, *found["results"]}


def _invoked() -> set[str]:
    well = _starts().invoke_lambda({})

    def fail(_function: object, _environment: int, _index: int, result: Any) -> None:
        result.status, result.payload = "error", "no object"

    failed = LambdaPerformanceTester(lab=FakeLab(change=fail)).invoke_lambda({})
    return {*failed, *well} - {"statusCode"}


RESULTS: dict[str, Callable[[], Any]] = {
    "measure_function_performance": lambda: [field.name for field in fields(PerformanceMetrics)],
    "compare_performance": lambda: _tester().compare_performance(int, int, iterations=1),
    "measure_concurrent_performance": lambda: _tester().measure_concurrent_performance(int, 1, 1),
    "test_tracer_memory_usage": lambda: _memory().test_tracer_memory_usage(1),
    "test_span_memory_growth": lambda: _memory().test_span_memory_growth(1),
    "test_long_running_memory_stability": lambda: _memory().test_long_running_memory_stability(0.01),
    "run_load_test": _load,
    "invoke_lambda": _invoked,
    "test_cold_start_performance": lambda: _starts().test_cold_start_performance(1),
    "test_warm_start_performance": lambda: _starts().test_warm_start_performance(1),
    "quick_performance_test": _quick,
}


@pytest.mark.parametrize("method", RESULTS)
def test_the_page_names_every_key(method: str) -> None:
    assert sections()[method] == set(RESULTS[method]())


async def test_the_page_names_every_key_of_the_others(tmp_path: Path) -> None:
    found = sections()
    assert found["measure_async_function"] == set(await _measure_async())
    assert found["check_regression"] == _checked(tmp_path)
    assert found.keys() == {*RESULTS, "measure_async_function", "check_regression"}


async def test_a_comparison_of_coroutines_has_the_keys_that_the_page_says() -> None:
    async def nothing() -> None: ...

    compared = await AsyncPerformanceTester().compare_async_performance(nothing, nothing, iterations=1)
    plain = set(_tester().compare_performance(int, int, iterations=1))
    assert set(compared) == plain - {"memory_overhead_mb"}
