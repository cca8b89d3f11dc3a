"""Fixtures of the performance tests: a tracer that sends nothing, how long to run, where results go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lambent.compat.honeyhive import HoneyHiveTracer
from lambent_lab.measure import PerformanceBenchmark, PerformanceTester

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def tracer() -> Iterator[HoneyHiveTracer]:
    """A tracer as the specification makes it: in test mode, it keeps its spans in memory."""
    made = HoneyHiveTracer.init(api_key="perf-test-key", project="perf-project", test_mode=True)
    yield made
    made.close()


@pytest.fixture
def tester(tracer: HoneyHiveTracer) -> PerformanceTester:
    """A tester of this tracer."""
    return PerformanceTester(tracer)


@pytest.fixture
def benchmarks(tmp_path: Path) -> PerformanceBenchmark:
    """Baselines in a file of the test's own."""
    return PerformanceBenchmark(tmp_path / "performance_baselines.json")


@pytest.fixture
def duration(request: pytest.FixtureRequest) -> Callable[[float], float]:
    """How long a test runs, in seconds: --duration, else what it says itself."""
    given: float | None = request.config.getoption("--duration")
    return lambda own: own if given is None else given


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give tests that were asked to take long the time for it."""
    given: float | None = config.getoption("--duration")
    if given is not None:
        for item in items:
            if "duration" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.timeout(120 + 2 * given))
