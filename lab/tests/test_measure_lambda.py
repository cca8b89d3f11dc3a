"""LambdaPerformanceTester: what it counts as a cold start, as a warm one, as a failure. And once for real."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lambent_lab.errors import LabError, UsageError
from lambent_lab.measure import LambdaPerformanceTester
from lambent_lab.measure.testing import FakeFunction, FakeLab, FakeResult

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
COLD_KEYS = {"iterations", "avg_cold_start_ms", "p95_cold_start_ms", "raw_measurements", "meets_target"}
WARM_KEYS = {"iterations", "avg_warm_start_ms", "std_dev_ms", "raw_measurements", "meets_target"}
"""The keys of spec 001."""


def made(change: Callable[[FakeFunction, int, int, FakeResult], None] | None = None) -> Any:
    return LambdaPerformanceTester(lab=FakeLab(change=change))


def answers(body: object, status: int = 200) -> Callable[..., None]:
    def change(function: FakeFunction, environment: int, index: int, result: FakeResult) -> None:
        result.payload = {"statusCode": status, "body": json.dumps(body)}

    return change


def test_the_documented_keys_and_each_cold_start_in_an_environment_of_its_own() -> None:
    fake = FakeLab()
    with LambdaPerformanceTester(lab=fake) as it:
        found = it.test_cold_start_performance(iterations=4)
    assert found.keys() >= COLD_KEYS
    assert (found["iterations"], found["n"], found["failed"], found["not_cold"]) == (4, 4, 0, 0)
    assert found["meets_target"] is True
    times = [each["total_time_ms"] for each in found["raw_measurements"]]
    assert found["avg_cold_start_ms"] == pytest.approx(sum(times) / 4)
    assert len(fake.environments) == 5  # one before, which is in no figure
    assert [function.memory for function in fake.functions] == [256]
    assert it.container is None


def test_percentiles_and_intervals_are_absent_until_there_are_enough() -> None:
    it = made()
    few, more = it.test_cold_start_performance(4), it.test_cold_start_performance(60)
    assert (few["p50_cold_start_ms"], few["p95_cold_start_ms"]) == (None, None)
    assert few["median_cold_start_ms"]["interval"] is None
    assert more["p95_cold_start_ms"] is not None
    assert more["p99_cold_start_ms"] is None
    interval = more["median_cold_start_ms"]["interval"]
    assert interval["low"] <= more["median_cold_start_ms"]["median"] <= interval["high"]
    warm = it.test_warm_start_performance(60)
    assert warm["p95_warm_start_ms"] is not None
    assert warm["median_warm_start_ms"]["interval"] is None  # of one environment


def test_warm_ones_have_the_documented_keys() -> None:
    fake = FakeLab()
    found = LambdaPerformanceTester(lab=fake).test_warm_start_performance(iterations=3)
    assert found.keys() >= WARM_KEYS
    assert (found["n"], found["not_warm"], found["meets_target"]) == (3, 0, True)
    assert len(fake.environments) == 1
    assert LambdaPerformanceTester(lab=fake).test_warm_start_performance(1)["std_dev_ms"] is None


@pytest.mark.parametrize("kind", ["cold", "warm"])
def test_what_fails_gives_no_time(kind: str) -> None:
    def change(function: FakeFunction, environment: int, index: int, result: FakeResult) -> None:
        result.status, result.function_error, result.error = "error", "Unhandled", "KeyError"
        result.payload = {"errorType": "KeyError", "errorMessage": "'id'"}

    it = made(change)
    found = getattr(it, f"test_{kind}_start_performance")(iterations=10)
    assert (found["iterations"], found["n"], found["failed"]) == (10, 0, 3)  # three in a row are enough
    assert found[f"avg_{kind}_start_ms"] is None
    assert found[f"median_{kind}_start_ms"] is None
    assert (found["raw_measurements"], found["meets_target"]) == ([], False)
    assert found["errors"][0]["error"] == "KeyError: 'id'"
    assert found["preflight"] == {"error": "KeyError: 'id'", "total_time_ms": None}
    answer = it.invoke_lambda({})
    assert answer["_error"] == "KeyError: 'id'"
    assert answer["_total_time_ms"] is None


@pytest.mark.parametrize("status", [500, 404, 302, "500", None])
def test_an_answer_that_is_no_success_gives_no_time(status: Any) -> None:
    found = made(answers({"error": "no tracer"}, status)).test_warm_start_performance(2)
    assert (found["n"], found["failed"], found["avg_warm_start_ms"]) == (0, 2, None)
    assert "no tracer" in found["errors"][0]["error"]


@pytest.mark.parametrize("payload", [None, "text", [1], {"statusCode": "201"}, {"other": 1}])
def test_an_answer_without_a_status_code_is_a_success(payload: Any) -> None:
    def change(function: FakeFunction, environment: int, index: int, result: FakeResult) -> None:
        result.payload = payload

    it = made(change)
    assert it.test_warm_start_performance(2)["n"] == 2
    answer = it.invoke_lambda({})
    assert answer.pop("_total_time_ms") > 0
    assert answer == (payload if isinstance(payload, dict) else {"payload": payload})


def test_one_failure_among_many_is_told_and_the_target_is_not_met() -> None:
    def change(function: FakeFunction, environment: int, index: int, result: FakeResult) -> None:
        if environment == 3:
            result.status, result.error = "timeout", "Sandbox.Timedout"

    found = made(change).test_cold_start_performance(5)
    assert (found["n"], found["failed"], found["meets_target"]) == (4, 1, False)
    assert found["errors"][0]["iteration"] == 2
    assert found["errors"][0]["failed_after_ms"] > 0


def test_a_warm_start_that_turns_out_cold_is_not_counted_as_warm() -> None:
    def change(function: FakeFunction, environment: int, index: int, result: FakeResult) -> None:
        if index == 2:
            function.stop()  # the next one is cold

    found = made(change).test_warm_start_performance(4)
    assert (found["n"], found["not_warm"], found["meets_target"]) == (3, 1, False)


@pytest.mark.parametrize(("kind", "said"), [("cold", False), ("warm", True)])
def test_a_function_that_says_otherwise_is_believed(kind: str, said: bool) -> None:
    found = getattr(made(answers({"cold_start": said})), f"test_{kind}_start_performance")(3)
    assert (found["n"], found[f"not_{kind}"], found["meets_target"]) == (0, 3, False)


def test_an_environment_that_cannot_be_made_is_a_failure() -> None:
    def change(function: FakeFunction, environment: int, index: int, result: FakeResult) -> None:
        raise LabError("no box")

    it = made(change)
    found = it.test_cold_start_performance(5)
    assert (found["n"], found["failed"]) == (0, 3)
    assert found["errors"][0] == {"iteration": 0, "error": "no box", "failed_after_ms": None}
    with pytest.raises(LabError, match="no box"):
        it.invoke_lambda({})


def test_spans_that_do_not_arrive_are_told() -> None:
    def change(function: FakeFunction, environment: int, index: int, result: FakeResult) -> None:
        result.spans = result.spans[: -1 if environment == 2 else None]

    found = made(change).test_cold_start_performance(4)
    assert (found["spans_made"], found["spans_lost"], found["meets_target"]) == (12, 1, False)


def test_what_a_function_says_of_its_parts_is_kept_and_what_it_does_not_is_absent() -> None:
    change = answers({"cold_start": True, "timings": {"sdk_import_ms": 1.5, "tracer_init_ms": -1}})
    (one,) = made(change).test_cold_start_performance(1)["raw_measurements"]
    assert (one["sdk_import_ms"], one["tracer_init_ms"], one["handler_total_ms"]) == (1.5, None, None)
    assert one["init_ms"] > 0


def test_usage() -> None:
    with pytest.raises(UsageError, match="handler="):
        LambdaPerformanceTester(code="/tmp")
    it = LambdaPerformanceTester(lab=FakeLab())
    it.start_lambda_container(memory_size=512)
    assert it.container is not None
    assert it.test_warm_start_performance(1)["memory_mb"] == 512
    it.stop_lambda_container()
    it.stop_lambda_container()
    assert it.container is None


def test_no_iterations_are_no_measurement() -> None:
    it = LambdaPerformanceTester(lab=FakeLab())
    with pytest.raises(UsageError, match="iterations"):
        it.test_warm_start_performance(0)
    with pytest.raises(UsageError, match="iterations"):
        it.test_cold_start_performance(-1)


def test_an_image_is_no_name_for_the_lab() -> None:
    assert LambdaPerformanceTester().target == "lab"
    assert LambdaPerformanceTester("honeyhive-lambda:bundle-native").target == "lab"
    assert LambdaPerformanceTester("mine:2").target == "docker:mine:2"
    assert LambdaPerformanceTester("mine:2", target="lab").target == "lab"
    assert LambdaPerformanceTester("mine:2", code="/tmp", handler="app.handler").target == "lab"


def test_the_event_is_the_specifications_unless_another_is_given() -> None:
    own, given = FakeLab(), FakeLab()
    LambdaPerformanceTester(lab=own).test_cold_start_performance(2)
    assert own.functions[0].events == [
        {"test": "warmup"},
        {"test": "cold_start_0", "iteration": 0},
        {"test": "cold_start_1", "iteration": 1},
    ]
    LambdaPerformanceTester(lab=given, event=[7]).test_warm_start_performance(1)
    assert given.functions[0].events == [[7], [7]]


def test_in_the_lab(tmp_path: Path) -> None:
    with LambdaPerformanceTester() as it:
        cold = it.test_cold_start_performance(iterations=2)
        warm = it.test_warm_start_performance(iterations=2)
    assert (cold["n"], cold["not_cold"], cold["spans_lost"], cold["errors"]) == (2, 0, 0, [])
    assert (warm["n"], warm["not_warm"], warm["spans_made"]) == (2, 0, 4)
    for each in cold["raw_measurements"]:
        assert each["total_time_ms"] >= each["init_ms"] > each["tracer_init_ms"] > 0
        assert each["handler_total_ms"] > 0


def test_the_function_that_is_shipped_is_the_one_that_the_suite_shows() -> None:
    name = "cold_start_test.py"
    shipped = ROOT / "lab" / "src" / "lambent_lab" / "measure" / "testers" / "functions" / name
    assert shipped.read_bytes() == (ROOT / "tests" / "lambda" / "lambda_functions" / name).read_bytes()
