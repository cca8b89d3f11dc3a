"""What tracing costs in Lambda, held against the thresholds of the specification and, beside them, ours.

The specification's are for any machine and easily met. Ours are about tracing alone, and about what does not
depend on what else runs: CPU time, memory, spans. Of several environments the best one counts: what the code
costs when nothing disturbs. A regression of a few percent is for `lambent gate` to find.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lambent_lab import Lab
    from lambent_lab.fixtures.recorder import Recorder
    from lambent_lab.measure import LambdaPerformanceTester
    from lambent_lab.measure.results import Cell, Results

pytestmark = [pytest.mark.lambda_, pytest.mark.benchmark]

REAL_API = bool(os.environ.get("HH_API_KEY")) and os.environ.get("HH_TEST_MODE", "true").lower() == "false"
HANDLER = "cold_start_test.lambda_handler"
PAIRS = int(os.environ.get("LAMBDA_PAIRS", "3"))
WARM = int(os.environ.get("LAMBDA_WARM", "8"))

ATTEMPTS = 4
"""How often a mean time may be measured on a machine that others use as well."""

# The specification's targets, and where they differ from it, what blocks a merge.
SDK_IMPORT_MS, TRACER_INIT_MS, TOTAL_MS = 200, 300, 2000
COLD_MS, COLD_BLOCKS_MS = 500, 1000
WARM_MS, WARM_BLOCKS_MS = 100, 200
MEMORY_MB, MEMORY_BLOCKS_MB = 50, 100
SUCCESS, SUCCESS_BLOCKS = 0.95, 0.90

# Ours: what tracing adds, several times the budget.
OUR_START_MS = 25
OUR_COLD_CPU_MS = 30
OUR_WARM_CPU_MS = 5
OUR_MEMORY_MB = 3
OUR_SPANS = 2
"""How many spans each invocation makes, all of which arrive."""


@pytest.fixture(scope="module")
def measured(
    request: pytest.FixtureRequest,
    lab: Lab,
    package: Path,
    options: dict[str, Any],
    lambda_results: Recorder,
) -> Results:
    """The function traced and untraced, in pairs of new environments."""
    if request.config.getoption("--lambda-target") != "lab":
        pytest.skip("compared in the lab; elsewhere with `lambent bench TARGET`")
    sizes = request.config.getoption("--lambda-memory") or [256]
    return lambda_results.bench(
        lab,
        code=package,
        handler=HANDLER,
        env={name: value for name, value in options["env"].items() if name != "LAMBENT_COUNT_SPANS"},
        memory_mb=sizes,
        pairs=PAIRS,
        warm=WARM,
        python=interpreter(options.get("runtime")),
    )


def interpreter(runtime: str | None) -> Path | None:
    """The interpreter of a runtime as in python3.12."""
    if runtime is None:
        return None
    from lambent_lab.staging.pythons import find

    return find(runtime.removeprefix("python")).path


def until_met(measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Measure until the target is met, a few times; what fails or loses spans is not tried again."""
    for _ in range(ATTEMPTS):
        results = measure()
        if results["meets_target"]:
            return results
        assert results["failed"] == 0, results
        assert results["spans_lost"] in {0, None}, results
    load, processors = os.getloadavg()[0], os.cpu_count() or 1
    if load > processors:
        pytest.xfail(f"this measures time, and {load:.1f} processes want {processors} processors")
    pytest.fail(f"the target was not met in {ATTEMPTS} attempts: {results}")


def best(results: Results, cell: Cell, side: str, name: str) -> float:
    """The smallest value of one side: what is left when nothing disturbs."""
    return min(
        sample["values"][name]
        for sample in results["samples"]
        if sample["kind"] == "ab" and (sample["side"], sample["memory_mb"]) == (side, cell["memory_mb"])
    )


def added(results: Results, cell: Cell, name: str) -> float:
    """How much more the best traced environment took than the best untraced one; 0 where it is not known."""
    if cell["metrics"][name]["difference"] is None:
        return 0.0  # no box of this machine counts CPU time
    return best(results, cell, "candidate", name) - best(results, cell, "baseline", name)


def median(cell: Cell, name: str) -> float:
    """The median of the traced side."""
    figure = cell["metrics"][name]["candidate"]
    assert figure is not None, f"{name} was not measured"
    return figure["median"]


@pytest.fixture(scope="class")
def performance_container(
    request: pytest.FixtureRequest, package: Path, options: dict[str, Any]
) -> Iterator[LambdaPerformanceTester]:
    """The function of the cold start test, not yet invoked: in the lab, or where --lambda-target says."""
    from lambent_lab.measure import LambdaPerformanceTester

    target = request.config.getoption("--lambda-target")
    chosen: dict[str, Any] = {"target": target}
    if target == "lab":
        python = interpreter(options.get("runtime"))
        chosen |= {"lab": request.getfixturevalue("lab"), "python": python, "env": options["env"]}
    with LambdaPerformanceTester(code=package, handler=HANDLER, **chosen) as container:
        yield container


class TestLambdaPerformance:
    """The specification's class: one container, its times told by the function itself."""

    def test_cold_start_performance(self, performance_container: LambdaPerformanceTester) -> None:
        results = until_met(lambda: performance_container.test_cold_start_performance(iterations=3))
        assert (results["n"], results["errors"], results["not_cold"]) == (3, [], 0)
        for each in results["raw_measurements"]:
            assert each["sdk_import_ms"] < SDK_IMPORT_MS
            assert each["tracer_init_ms"] < TRACER_INIT_MS
            assert each["total_time_ms"] < TOTAL_MS
        starts = [each["sdk_import_ms"] + each["tracer_init_ms"] for each in results["raw_measurements"]]
        assert min(starts) < OUR_START_MS
        assert not results["spans_lost"]

    def test_warm_start_performance(self, performance_container: LambdaPerformanceTester) -> None:
        results = until_met(lambda: performance_container.test_warm_start_performance(iterations=10))
        assert (results["n"], results["errors"], results["not_warm"]) == (10, [], 0)
        assert all(each["handler_total_ms"] is not None for each in results["raw_measurements"])

    def test_memory_efficiency(self, performance_container: LambdaPerformanceTester) -> None:
        result = performance_container.invoke_lambda({"test": "memory_test"})
        body = json.loads(result["body"])
        assert result["statusCode"] == 200
        assert "error" not in body
        assert body["peak_rss_mb"] < 128  # it fits the smallest function that there is


class TestCostOfTracing:
    """The same function, traced and untraced: the differences are what tracing costs."""

    def test_cold_start(self, measured: Results) -> None:
        for cell in measured["summary"]:
            cold = median(cell, "cold_ms")
            assert cold < COLD_BLOCKS_MS
            assert best(measured, cell, "candidate", "cold_ms") < COLD_MS
            assert added(measured, cell, "cold_cpu_ms") < OUR_COLD_CPU_MS

    def test_warm_start(self, measured: Results) -> None:
        for cell in measured["summary"]:
            warm = median(cell, "warm_ms")
            assert warm < WARM_BLOCKS_MS
            assert best(measured, cell, "candidate", "warm_ms") < WARM_MS
            assert added(measured, cell, "warm_cpu_ms") < OUR_WARM_CPU_MS

    def test_memory_overhead(self, measured: Results) -> None:
        for cell in measured["summary"]:
            difference = cell["metrics"]["memory_mb"]["difference"]
            assert difference is not None
            assert difference["median"] < OUR_MEMORY_MB < MEMORY_MB < MEMORY_BLOCKS_MB

    def test_success_rate(self, measured: Results) -> None:
        for cell in measured["summary"]:
            for side in (cell["candidate"], cell["baseline"]):
                count = side["invocations"]
                total = count["cold"] + count["warm"] + count["failed"]
                assert total == PAIRS * (1 + WARM)
                assert (total - count["failed"]) / total > SUCCESS > SUCCESS_BLOCKS

    @pytest.mark.skipif(REAL_API, reason="HH_TEST_MODE=false: the spans go to HoneyHive")
    def test_every_span_arrives_and_untraced_there_are_none(self, measured: Results) -> None:
        for cell in measured["summary"]:
            traced, untraced = cell["candidate"]["spans"], cell["baseline"]["spans"]
            assert traced["made"] == traced["delivered"] == OUR_SPANS * PAIRS * (1 + WARM)
            assert (traced["lost"], untraced["delivered"]) == (0, 0)
