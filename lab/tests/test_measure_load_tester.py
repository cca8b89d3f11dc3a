"""Load tests of functions: the loops, what they count, and the result of spec 001."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent_lab.errors import UsageError
from lambent_lab.measure import LambdaPerformanceTester, LoadTester, PerformanceTester
from lambent_lab.measure.load import figures
from lambent_lab.measure.load.loops import Load, Log, Outcome, Run, planned_arrivals
from lambent_lab.measure.testing import FakeLab

SPEC_RESULTS = {
    "total_operations",
    "total_errors",
    "error_rate",
    "avg_duration_ms",
    "p95_duration_ms",
    "p99_duration_ms",
    "throughput_ops_per_sec",
}


def log_of(*operations: tuple[int, float, float, float, Outcome]) -> Log:
    log = Log()
    for user, intended, started, ended, outcome in operations:
        log.add(user, intended, started, ended, outcome)
    return log


# -- spec 001's result


def test_the_result_has_the_keys_of_the_specification() -> None:
    result = LoadTester(object()).run_load_test(
        lambda: None, num_threads=3, duration_seconds=0.5, ramp_up_seconds=0.1
    )
    assert set(result) == {"test_config", "results", "raw_data"}
    assert result["test_config"].items() >= {
        ("num_threads", 3), ("duration_seconds", 0.5), ("ramp_up_seconds", 0.1),
    }  # fmt: skip
    figures = result["results"]
    assert set(figures) >= SPEC_RESULTS | {"n", "elapsed_seconds", "latency", "ramp_up", "steady"}
    operations = result["raw_data"]["operations"]
    assert figures["total_operations"] == len(operations) == figures["n"] > 0
    assert {"worker_id", "timestamp", "duration_ms"} <= set(operations[0])
    assert (figures["total_errors"], figures["error_rate"]) == (0, 0.0)
    assert abs(operations[0]["timestamp"] - time.time()) < 60
    elapsed = figures["elapsed_seconds"]
    assert elapsed >= 0.5
    assert figures["throughput_ops_per_sec"] == pytest.approx(len(operations) / elapsed)


def test_ramp_up_and_steady_part_stand_apart() -> None:
    result = LoadTester().run_load_test(lambda: None, 4, 0.8, 0.4)["results"]
    ramp, steady = result["ramp_up"], result["steady"]
    assert ramp["attempted"] + steady["attempted"] == result["n"]
    assert (ramp["from_s"], steady["from_s"]) == (0.0, 0.4)
    assert steady["throughput"]["n"] == 8
    assert steady["throughput"]["interval"] is not None
    assert LoadTester().run_load_test(lambda: None, 1, 0.1, 0)["results"]["ramp_up"] is None


def test_errors_are_counted_per_operation_and_their_times_kept_apart() -> None:
    numbers = itertools.count()

    def sometimes() -> None:
        if next(numbers) % 4 == 0:
            raise ValueError("as asked")

    result = LoadTester().run_load_test(sometimes, 1, 0.5, 0)
    figures = result["results"]
    assert figures["total_errors"] == (figures["n"] + 3) // 4
    assert figures["error_rate"] == figures["total_errors"] / figures["n"]
    assert figures["error_rate_interval"]["low"] < figures["error_rate"]
    assert len(result["raw_data"]["errors"]) == 10
    first = result["raw_data"]["errors"][0]
    assert (first["error"], first["type"], first["worker_id"]) == ("as asked", "ValueError", 0)
    assert figures["latency"]["n"] == figures["total_operations"]
    assert figures["steady"]["failed_latency"]["n"] == figures["total_errors"]
    assert figures["errors_by_kind"][0]["error"] == "ValueError: as asked"


def test_a_function_that_always_fails_has_no_speed() -> None:
    def broken() -> None:
        raise RuntimeError

    figures = LoadTester().run_load_test(broken, 2, 0.1, 0)["results"]
    assert (figures["error_rate"], figures["total_operations"]) == (1.0, 0)
    assert figures["avg_duration_ms"] is None
    assert figures["p95_duration_ms"] is None
    assert figures["latency"]["p50_ms"] is None


def test_coroutine_functions_are_awaited() -> None:
    seen: set[int] = set()

    async def work() -> None:
        seen.add(id(asyncio.get_running_loop()))
        await asyncio.sleep(0)

    figures = LoadTester().run_load_test(work, 3, 0.3, 0)["results"]
    assert figures["total_errors"] == 0
    assert len(seen) == 3


class Fetching:
    async def __call__(self) -> None:
        await asyncio.sleep(0.001)


def _generator() -> object:
    yield 1


async def _asynchronous_generator() -> object:
    yield 1


def test_what_runs_nothing_is_no_success() -> None:
    quick = {"num_threads": 1, "duration_seconds": 0.05, "ramp_up_seconds": 0.0}
    for making in (Fetching(), lambda: asyncio.sleep(0.001)):
        results = LoadTester().run_load_test(making, **quick)["results"]  # type: ignore[arg-type]
        assert (results["total_errors"], results["total_operations"] > 0) == (0, True)
        assert results["latency"]["min_ms"] >= 1  # it was awaited
    for running_nothing in (_generator, _asynchronous_generator):
        results = LoadTester().run_load_test(running_nothing, **quick)["results"]  # type: ignore[arg-type]
        assert (results["total_operations"], results["error_rate"]) == (0, 1.0)
        assert "generator" in results["errors_by_kind"][0]["error"]


def test_an_invocation_that_failed_is_an_error() -> None:
    def fail(_function: object, _environment: int, _index: int, result: Any) -> None:
        result.status, result.error = "timeout", "Sandbox.Timedout"

    lab = FakeLab(change=fail)
    function = lab.function("f", code=Path(), handler="app.handler")
    tester = LambdaPerformanceTester(lab=lab)

    async def in_a_coroutine() -> object:
        return function.invoke({})

    for invoke in (lambda: function.invoke({}), lambda: tester.invoke_lambda({}), in_a_coroutine):
        results = LoadTester().run_load_test(invoke, 1, 0.02, 0)["results"]
        assert (results["total_operations"], results["error_rate"]) == (0, 1.0)
        assert results["errors_by_kind"][0]["error"] == "InvocationFailedError: Sandbox.Timedout"
    metrics = PerformanceTester().measure_function_performance(lambda: function.invoke({}), 3)
    assert (metrics.failed, metrics.avg_time_ms) == (3, None)
    well = FakeLab().function("f", code=Path(), handler="app.handler")
    assert LoadTester().run_load_test(lambda: well.invoke({}), 1, 0.02, 0)["results"]["total_errors"] == 0


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), BaseException("odd")])
def test_whatever_is_raised_is_an_error_and_no_thread_dies_of_it(error: BaseException) -> None:
    def leaves() -> None:
        raise error

    results = LoadTester().run_load_test(leaves, 2, 0.05, 0)["results"]
    assert results["error_rate"] == 1.0
    assert results["total_errors"] > 2
    assert results["avg_duration_ms"] is None


def test_a_ramp_up_longer_than_the_test_is_not_waited_for() -> None:
    began = time.monotonic()
    results = LoadTester().run_load_test(lambda: None, 3, 0.05, 300)["results"]
    assert time.monotonic() - began < 60
    assert results["total_operations"] > 0


def test_a_flush_that_raises_costs_no_results() -> None:
    class Gone:
        def force_flush(self) -> bool:
            raise OSError("no collector")

    results = LoadTester(Gone()).run_load_test(lambda: None, 1, 0.05, 0)["results"]
    assert (results["flushed"], results["total_operations"] > 0) == (False, True)


def test_the_tracer_is_flushed_when_it_can_be() -> None:
    class Tracer:
        flushes = 0

        def force_flush(self) -> bool:
            self.flushes += 1
            return False

    tracer = Tracer()
    figures = LoadTester(tracer).run_load_test(lambda: None, 1, 0.05, 0)["results"]
    assert (tracer.flushes, figures["flushed"]) == (1, False)
    assert LoadTester(object()).run_load_test(lambda: None, 1, 0.05, 0)["results"]["flushed"] is None


@pytest.mark.parametrize(
    "options",
    [
        {"num_threads": 0},
        {"duration_seconds": 0},
        {"ramp_up_seconds": -1},
        {"rate": 0},
        {"pause_seconds": float("nan")},
        {"arrivals": "often"},
    ],
)
def test_what_makes_no_load_test_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        LoadTester().run_load_test(lambda: None, **options)


# -- the open loop


@given(st.floats(1, 500), st.floats(0.2, 20), st.floats(0, 10), st.sampled_from(["constant", "poisson"]))
def test_arrivals_come_at_the_rate(rate: float, duration: float, ramp: float, kind: str) -> None:
    load = Load(rate=rate, duration_s=duration, ramp_up_s=ramp, arrivals=kind, seed=7)  # type: ignore[arg-type]
    times = list(planned_arrivals(load))
    assert times == sorted(times)
    assert all(0 < at < duration for at in times)
    assert times == list(planned_arrivals(load))
    inside = min(ramp, duration)
    expected = rate * inside**2 / (2 * ramp) if ramp else 0.0
    expected += rate * max(0.0, duration - ramp)
    if kind == "constant":
        assert len(times) == pytest.approx(expected, abs=1.01)
    else:
        assert len(times) == pytest.approx(expected, abs=1 + 6 * expected**0.5)


def test_an_open_loop_asks_at_its_rate_and_counts_the_wait_for_a_user() -> None:
    stalled = threading.Event()

    def stalls_once() -> None:
        if not stalled.is_set():
            stalled.set()
            time.sleep(0.3)

    result = LoadTester().run_load_test(stalls_once, 1, 0.6, 0, rate=100)["results"]
    assert result["n"] + result["unstarted"] == pytest.approx(59, abs=1)
    # Everything that came during the stall waited for its end, though the calls themselves took no time.
    waited = result["latency"]["curve"]
    assert max(ms for _, ms in waited) >= 250
    assert sum(1 for _, ms in waited if ms > 50) >= 3
    assert result["latency"]["corrected"] is False


def test_arrivals_that_nobody_was_free_for_are_counted() -> None:
    result = LoadTester().run_load_test(lambda: time.sleep(0.1), 1, 0.5, 0, rate=100)
    figures = result["results"]
    assert figures["unstarted"] > 30
    assert figures["n"] + figures["unstarted"] == pytest.approx(49, abs=1)


def test_an_overload_looks_no_faster_than_it_is() -> None:
    # Of a hundred arrivals ten are served before everybody is busy: the others wait for the end.
    log = log_of(*[(0, i / 10, i / 10, i / 10 + 0.001, Outcome()) for i in range(10)])
    log.unstarted.extend(1 + i / 10 for i in range(90))
    log.given_up_s = 10.0
    load = Load(users=1, rate=10, duration_s=10, ramp_up_s=0)
    whole = figures.parts(log, load, 10.0).whole
    assert (whole["latency"]["n"], whole["service"]["n"], whole["attempted"]) == (100, 10, 10)
    assert whole["latency"]["p50_ms"] == pytest.approx(4100, rel=0.1)
    assert whole["latency"]["max_ms"] == pytest.approx(9000)
    # What only fails has no speed: neither has the wait for it.
    failing = log_of((0, 0.0, 0.0, 0.001, Outcome("failed", "E")))
    failing.unstarted.append(1.0)
    failing.given_up_s = 10.0
    assert figures.parts(failing, load, 10.0).whole["latency"]["n"] == 0


def test_a_closed_loop_fills_in_what_a_stall_left_out() -> None:
    calls = itertools.count()

    def stalls() -> None:
        time.sleep(0.3 if next(calls) == 50 else 0.002)

    figures = LoadTester().run_load_test(stalls, 1, 1.0, 0)["results"]
    latency = figures["latency"]
    assert latency["corrected"]
    assert latency["expected_interval_ms"] < 100
    assert figures["steady"]["service"]["corrected"] is False
    # Many answers were missed in 300 ms, so more than one in a hundred is slow.
    assert latency["p99_ms"] is None or latency["p99_ms"] > 50


def test_ctrl_c_stops_and_keeps_what_was_measured() -> None:
    interrupting = itertools.count()

    def call(_: int) -> Outcome:
        return Outcome()

    def interrupt(_: Outcome) -> None:
        if next(interrupting) == 5:
            run.stop()

    run = Run(Load(users=1, duration_s=60, ramp_up_s=0), call, on_done=interrupt)
    run.run()
    assert len(run.log) == 6
    assert run.elapsed_s < 30


# -- what the figures are made from


def test_cold_throttled_and_failed_operations_are_counted_apart() -> None:
    log = log_of(
        (0, 0.0, 0.0, 0.5, Outcome(cold=True, spans=3, made=3)),
        (0, 0.5, 0.5, 0.51, Outcome(cold=False, spans=2, made=3)),
        (0, 0.6, 0.6, 0.61, Outcome(cold=False, spans=0)),
        (0, 0.7, 0.7, 0.70, Outcome("throttled", "TooManyRequestsException")),
        (0, 0.8, 0.8, 0.90, Outcome("failed", "ValueError: no")),
    )
    whole = figures.parts(log, Load(users=1, duration_s=1, ramp_up_s=0), 1.0).whole
    assert (whole["attempted"], whole["succeeded"], whole["cold"]) == (5, 3, 1)
    assert (whole["failed"], whole["throttled"]) == (1, 1)
    assert whole["error_rate"]["share"] == whole["throttle_rate"]["share"] == 0.2
    assert whole["service"]["max_ms"] == 500
    assert whole["cold_latency"]["n"] == whole["failed_latency"]["n"] == whole["throttled_latency"]["n"] == 1
    totals = figures.spans(log)
    assert totals == {
        "invocations": 3, "made": 6, "received": 5, "lost": 1, "without": 1, "unsaid": 0,
    }  # fmt: skip
    assert figures.errors(log) == [
        {"error": "TooManyRequestsException", "count": 1, "kind": "throttled"},
        {"error": "ValueError: no", "count": 1, "kind": "failed"},
    ]
    assert figures.raw(log)["outcome"] == [1, 0, 0, 3, 2]
    assert figures.raw(log, kept=2)["kept"] == 2


def test_nobody_who_says_whether_it_was_cold_is_no_zero() -> None:
    log = log_of((0, 0.0, 0.0, 0.5, Outcome()))
    assert figures.parts(log, Load(users=1, duration_s=1, ramp_up_s=0), 1.0).whole["cold"] is None
    assert figures.spans(log) is None


def test_a_series_is_bounded() -> None:
    log = log_of(*((0, i / 10, i / 10, i / 10 + 0.01, Outcome()) for i in range(50_000)))
    log.worked(0, 5000)
    found = figures.series(log, 5000)
    assert len(found) == figures.MOST_SLICES
    assert sum(each["succeeded"] for each in found) == 50_000
    assert {each["users"] for each in found} == {1}
    assert found[-1]["to_s"] == pytest.approx(5000)
    assert len(figures.series(log, 30)) == 30


def test_many_different_errors_take_no_endless_memory() -> None:
    log = log_of(*((0, 0, 0, 0, Outcome("failed", f"number {i}")) for i in range(3000)))
    assert len(log.errors) <= 1002
    assert figures.errors(log)[0] == {"error": "other errors", "count": 2000, "kind": "failed"}
