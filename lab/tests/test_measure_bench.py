from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lambent_lab.commands.inputs import locate
from lambent_lab.errors import LabError
from lambent_lab.measure import Benchmark, dumps, exit_code, loads, machine, run
from lambent_lab.measure.progress import Silence
from lambent_lab.measure.target import sides
from lambent_lab.measure.testing import FakeBox, FakeFunction, FakeLab, FakeReport, FakeResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from lambent_lab.measure.results import Machine, Results

    Change = Callable[[FakeFunction, int, int, FakeResult], None]

STORED = Path(__file__).parent / "data" / "performance-results.json"
FACTS: Machine = {
    "cpu_model": "Example CPU",
    "architecture": "x86_64",
    "cores": 4,
    "cores_usable": 2,
    "memory_mb": 8192,
    "governor": None,
    "system": "Linux",
    "kernel": "6.0",
    "python": "3.12.0",
    "function_python": "3.12.0",
}


@pytest.fixture(autouse=True)
def _known_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def describe(_python: Path | None = None) -> Machine:
        return FACTS

    monkeypatch.setattr(machine, "describe", describe)
    monkeypatch.setattr(machine, "load_average", lambda: [0.25, 0.5, 0.75])
    (tmp_path / "hello").mkdir()
    (tmp_path / "hello" / "app.py").touch()
    monkeypatch.chdir(tmp_path)


def benchmark(
    *,
    memory_mb: tuple[int, ...] = (128,),
    pairs: int = 8,
    aa: int = 0,
    warm: int = 2,
    otlp: bool = False,
    seed: int = 3,
) -> Benchmark:
    candidate, baseline = sides("hello/app.handler", None, {}, locate)
    return Benchmark(
        candidate=candidate,
        baseline=baseline,
        memory_mb=memory_mb,
        pairs=pairs,
        aa=aa,
        warm=warm,
        otlp=otlp,
        seed=seed,
        command=("lambent", "bench", "hello/app.handler"),
    )


def codes(results: Results) -> set[str]:
    return {doubt["code"] for doubt in results["warnings"]}


def test_the_stored_results_are_what_the_benchmark_makes() -> None:
    """The reports' tests read this file; with LAMBENT_STORE_RESULTS=1 this writes it anew."""
    lab = FakeLab(seed=11, box=FakeBox(cannot=("limit the size of /tmp",)))
    results = run(benchmark(memory_mb=(128, 512), pairs=10, aa=3, warm=4), lab)
    results["started"] = results["ended"] = "2026-01-02T03:04:05+00:00"
    results["elapsed_s"] = 61.5
    for sample in results["samples"]:
        sample["started"] = "2026-01-02T03:04:05.678+00:00"
    if os.environ.get("LAMBENT_STORE_RESULTS"):
        STORED.write_text(dumps(results), encoding="utf-8")
    assert loads(STORED.read_bytes()) == results
    assert exit_code(results) == 0


def test_environments_are_fresh_and_pairs_adjacent() -> None:
    lab = FakeLab()
    results = run(benchmark(memory_mb=(128, 512), pairs=4, aa=1), lab)
    samples = results["samples"]
    assert [sample["id"] for sample in samples] == list(range(len(samples)))
    assert len(lab.environments) == len(samples) == 4 + 2 * 2 * 5
    measured = [sample for sample in samples if sample["kind"] != "preflight"]
    for first, second in zip(measured[::2], measured[1::2], strict=True):
        assert first["pair"] == second["pair"]
        assert first["memory_mb"] == second["memory_mb"]
        expected = {"baseline"} if first["kind"] == "aa" else {"baseline", "candidate"}
        assert {first["side"], second["side"]} == expected
    assert all(sample["invocations"][0]["cold"] for sample in samples)
    assert results["counts"] == {"samples": 24, "pairs": 8, "aa_pairs": 2, "invocations": 68, "failed": 0}


def test_the_sides_of_a_pair_take_turns_in_random_order() -> None:
    ran: list[tuple[int, int]] = []

    def change(_f: FakeFunction, environment: int, index: int, _r: FakeResult) -> None:
        ran.append((index, environment))

    results = run(benchmark(pairs=8, warm=30), FakeLab(change=change))
    pairs = [ran[i : i + 62] for i in range(4, len(ran), 62)]  # after what the preflight did
    assert len(pairs) == 8
    for turns in pairs:
        assert [index for index, _ in turns] == sorted([*range(31)] * 2), "cold, cold, then step by step"
        environments = {environment for _, environment in turns}
        firsts = [environment for _, environment in turns[2::2]]
        assert len(environments) == 2
        assert set(firsts) == environments, "neither is always the first"
        assert all({turns[i][1], turns[i + 1][1]} == environments for i in range(0, 62, 2))
    marks = [sample.get("alternating") for sample in results["samples"]]
    assert marks == [None, None, *[True] * 16]


def test_an_environment_is_compared_with_another_one_of_the_same_function() -> None:
    lab = FakeLab()
    run(benchmark(pairs=2, aa=2), lab)
    again = next(each for each in lab.functions if each.name == "again-baseline-128")
    first = next(each for each in lab.functions if each.name == "bench-baseline-128")
    assert (again.env, again.code, again.handler) == (first.env, first.code, first.handler)
    assert len(again.events) == 2 * 3


def test_neither_of_two_alike_is_always_started_first() -> None:
    lab = FakeLab()
    results = run(benchmark(pairs=8, aa=8), lab)
    started = [function.name for function in lab.environments if function.name.endswith("baseline-128")]
    alike = [name for name in started if name == "again-baseline-128"]
    assert len(alike) == 8
    blocks = [lab.environments[i : i + 2] for i in range(2, len(lab.environments), 2)]
    firsts = {block[0].name for block in blocks if {each.name for each in block} == {alike[0], started[0]}}
    assert firsts == {"again-baseline-128", "bench-baseline-128"}
    assert results["counts"]["aa_pairs"] == 8


def test_a_slow_moment_of_the_machine_is_in_no_warm_figure() -> None:
    turns = 0

    def change(function: FakeFunction, _e: int, index: int, result: FakeResult) -> None:
        nonlocal turns
        turns += 1
        slow = 1 + ((turns - 1) // 54) % 3  # for 27 turns of both sides at a time
        own = 1.2 if function.traced else 1.0
        init = None if index else 50.0
        result.report = FakeReport(2.0 * slow * own, 1, init, 40, 1.0 * slow * own)

    results = run(benchmark(pairs=8, warm=20), FakeLab(change=change))
    for name in ("warm_ms", "warm_cpu_ms"):
        pairs = results["summary"][0]["metrics"][name]["pairs"]
        assert [pair["ratio"] for pair in pairs] == pytest.approx([1.2] * 8)
        assert len({pair["baseline"] for pair in pairs}) > 1, "the medians of the sides do change"


def test_turns_that_only_one_side_has_are_in_no_difference() -> None:
    def change(function: FakeFunction, _e: int, index: int, result: FakeResult) -> None:
        if function.traced and index == 1:
            result.status, result.error = "error", "KeyError"
        duration = {1: 900.0}.get(index, 2.0 * index)
        result.report = FakeReport(duration + function.traced, 1, None if index else 9.0, 40, None)

    results = run(benchmark(pairs=8, warm=3), FakeLab(change=change))
    pairs = results["summary"][0]["metrics"]["warm_ms"]["pairs"]
    assert len(pairs) == 8
    for pair in pairs:
        assert pair["difference"] == 1
        assert pair["ratio"] == pytest.approx((5 / 4 + 7 / 6) / 2)
        assert (pair["candidate"], pair["baseline"]) == (6, 6)


def test_one_variable_tells_the_sides_apart() -> None:
    lab = FakeLab()
    run(benchmark(otlp=True), lab)
    by_side = {function.name: function for function in lab.functions}
    traced, untraced = by_side["bench-candidate-128"], by_side["bench-baseline-128"]
    assert untraced.env == {**traced.env, "OTEL_SDK_DISABLED": "true"}
    assert traced.env["OTEL_EXPORTER_OTLP_ENDPOINT"] == lab.otlp_url
    assert (traced.code, traced.handler, traced.memory) == (untraced.code, untraced.handler, untraced.memory)


def test_the_cost_is_found_within_its_interval() -> None:
    results = run(benchmark(pairs=40, warm=5), FakeLab(cost=(1.2, 1.5), spread=0.01))
    metrics = results["summary"][0]["metrics"]
    for name, expected in (("init_ms", 1.2), ("warm_ms", 1.5)):
        ratio = metrics[name]["ratio"]
        assert ratio is not None
        assert ratio["interval"] is not None
        assert ratio["interval"]["low"] <= expected <= ratio["interval"]["high"]
        assert ratio["n"] == 40
    assert exit_code(results) == 0


def test_without_eight_pairs_there_is_no_interval() -> None:
    results = run(benchmark(pairs=7), FakeLab())
    warm = results["summary"][0]["metrics"]["warm_ms"]
    assert warm["ratio"] is not None
    assert warm["ratio"]["interval"] is None
    assert "few-pairs" in codes(results)
    assert exit_code(results) == 0


def test_without_warm_invocations_their_figures_are_absent() -> None:
    results = run(benchmark(warm=0), FakeLab())
    warm = results["summary"][0]["metrics"]["warm_ms"]
    assert (warm["candidate"], warm["difference"], warm["ratio"]) == (None, None, None)
    assert results["summary"][0]["metrics"]["cold_ms"]["difference"] is not None
    assert results["summary"][0]["candidate"]["warm_percentiles"] == {
        "n": 0,
        "p50": None,
        "p95": None,
        "p99": None,
    }


def test_a_tracer_that_records_nothing_is_a_failure() -> None:
    results = run(benchmark(), FakeLab(spans=0))
    assert exit_code(results) == 1
    texts = [doubt["text"] for doubt in results["warnings"] if doubt["code"] == "no-spans"]
    assert texts[0].startswith("0 of 24 invocations delivered a trace at 128 MB")


@pytest.mark.parametrize(
    ("baseline", "base_spans", "severity"),
    [
        (None, 0, "failure"),
        ("DD_TRACE_ENABLED=false", 0, "failure"),  # any variable may be the switch of somebody's tracing
        ("LAMBDA_EXTENSION_SPAN_PROCESSOR_MODE=sync", 0, "failure"),
        ("other/app.handler", 0, "warning"),  # two functions are compared as what they are
        ("other/app.handler", 2, "failure"),  # the candidate's tracing is what is missing
    ],
)
def test_how_severe_it_is_that_no_spans_arrive_depends_on_what_is_compared(
    baseline: str | None, base_spans: int, severity: str, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "app.py").touch()

    def change(function: FakeFunction, _environment: int, _index: int, result: FakeResult) -> None:
        base = function.name.startswith("bench-baseline")
        result.spans = [object()] * base_spans if base else []

    candidate, other = sides("hello/app.handler", baseline, {}, locate)
    results = run(replace(benchmark(), candidate=candidate, baseline=other), FakeLab(change=change))
    said = [doubt["severity"] for doubt in results["warnings"] if doubt["code"] == "no-spans"]
    assert said == [severity]
    assert exit_code(results) == (severity == "failure")


def test_a_baseline_that_traces_although_switched_off_is_a_failure() -> None:
    def change(function: FakeFunction, _e: int, _i: int, result: FakeResult) -> None:
        result.spans = [object()]

    results = run(benchmark(), FakeLab(change=change))
    assert codes(results) >= {"baseline-traced"}
    assert exit_code(results) == 1


def test_a_lost_trace_is_said_but_the_rest_stands() -> None:
    def change(function: FakeFunction, environment: int, index: int, result: FakeResult) -> None:
        if function.traced and environment in {3, 4} and index == 1:
            result.spans = []

    results = run(benchmark(), FakeLab(change=change))
    spans = results["summary"][0]["candidate"]["spans"]
    assert spans == {
        "invocations": 24,
        "made": 69,  # a trace that is lost whole takes its count along: it is `without` that tells
        "lost": 0,
        "delivered": 69,
        "without": 1,
        "per_invocation": {"0": 1, "3": 23},
        "uniform": False,
    }
    assert {"spans-missing", "spans-vary"} <= codes(results)
    assert exit_code(results) == 0


def test_a_span_that_was_made_and_not_received_is_a_failure() -> None:
    def change(function: FakeFunction, environment: int, index: int, result: FakeResult) -> None:
        if function.traced and environment in {3, 4} and index == 1:
            result.spans = result.spans[:-1]

    results = run(benchmark(), FakeLab(change=change))
    spans = results["summary"][0]["candidate"]["spans"]
    assert (spans["made"], spans["delivered"], spans["lost"]) == (72, 71, 1)
    assert "spans-lost" in {doubt["code"] for doubt in results["warnings"]}
    assert exit_code(results) == 1


@pytest.mark.parametrize(("spans", "hint"), [(3, False), (3000, True)])
def test_many_spans_that_are_lost_point_to_the_queue(spans: int, hint: bool) -> None:
    def change(function: FakeFunction, _environment: int, _index: int, result: FakeResult) -> None:
        if function.traced:
            result.made, result.spans = spans, result.spans[:2]

    results = run(benchmark(), FakeLab(change=change))
    [text] = [doubt["text"] for doubt in results["warnings"] if doubt["code"] == "spans-lost"]
    assert ("LAMBDA_SPAN_PROCESSOR_QUEUE_SIZE" in text) is hint


def test_spans_that_could_not_be_read_are_said() -> None:
    def change(_f: FakeFunction, environment: int, index: int, result: FakeResult) -> None:
        if (environment, index) == (4, 2):
            result.problems = ("its payload is not base64",)

    results = run(benchmark(), FakeLab(change=change))
    [text] = [doubt["text"] for doubt in results["warnings"] if doubt["code"] == "unreadable"]
    assert text == "Spans in the log could not be read, 1 times: its payload is not base64"
    assert results["samples"][4]["invocations"][2]["problems"] == ["its payload is not base64"]


def failing(environments: set[int], index: int = 1) -> Change:
    def change(_f: FakeFunction, environment: int, at: int, result: FakeResult) -> None:
        if environment in environments and at == index:
            result.status, result.error, result.function_error = "error", "ValueError", "Unhandled"
            result.payload = {"errorType": "ValueError", "errorMessage": "no"}

    return change


def test_a_failed_invocation_makes_the_run_fail_and_is_counted() -> None:
    results = run(benchmark(), FakeLab(change=failing({5})))
    assert exit_code(results) == 1
    assert results["counts"]["failed"] == 1
    [text] = [doubt["text"] for doubt in results["warnings"] if doubt["severity"] == "failure"]
    assert "1 of 24 invocations at 128 MB" in text
    assert "ValueError: no." in text
    kept = [results["summary"][0][side]["invocations"] for side in ("candidate", "baseline")]
    assert sorted(len(counts["failed_durations_ms"]) for counts in kept) == [0, 1]


def test_a_function_that_always_fails_is_not_measured_for_long() -> None:
    lab = FakeLab()

    def change(_f: FakeFunction, _e: int, _i: int, result: FakeResult) -> None:
        result.status, result.error = "timeout", "Sandbox.Timedout"

    lab.change = change
    results = run(benchmark(pairs=50), lab)
    assert len(lab.environments) == 1
    assert results["error"] is not None
    assert "Nothing was measured: untraced, at 128 MB, failed: Sandbox.Timedout" in results["error"]
    assert "--timeout" in results["error"]
    assert exit_code(results) == 1
    assert results["summary"] == []


def test_environments_that_keep_breaking_end_the_run() -> None:
    lab = FakeLab()

    def change(_f: FakeFunction, environment: int, _i: int, _r: FakeResult) -> None:
        if environment > 3:
            raise LabError("No more processes.")

    lab.change = change
    results = run(benchmark(pairs=50), lab)
    assert len(lab.environments) == 8, "the block in which it is noticed is run to its end"
    assert results["error"] == "3 environments in a row broke; the last: No more processes."
    assert results["counts"]["pairs"] == 1
    assert exit_code(results) == 1


def test_one_broken_environment_costs_its_pair_only() -> None:
    def change(_f: FakeFunction, environment: int, index: int, _r: FakeResult) -> None:
        if environment == 6 and index == 1:
            raise LabError("It slipped.")

    results = run(benchmark(pairs=10), FakeLab(change=change))
    assert results["counts"]["pairs"] == 9
    assert "environment" in codes(results)
    assert exit_code(results) == 1


def test_an_interrupted_run_keeps_what_it_has() -> None:
    def change(_f: FakeFunction, environment: int, index: int, _r: FakeResult) -> None:
        if environment == 9 and index == 1:
            raise KeyboardInterrupt

    results = run(benchmark(pairs=10), FakeLab(change=change))
    assert results["interrupted"]
    assert results["counts"]["pairs"] == 3
    assert [len(sample["invocations"]) for sample in results["samples"][-2:]] == [1, 1]
    assert not any(sample["complete"] for sample in results["samples"][-2:])
    assert exit_code(results) == 130


def test_a_run_that_is_told_to_end_keeps_what_it_has() -> None:
    def change(_f: FakeFunction, environment: int, _i: int, _r: FakeResult) -> None:
        if environment == 6:
            raise SystemExit(143)

    results = run(benchmark(), FakeLab(change=change))
    assert results["interrupted"]
    assert results["counts"]["pairs"] == 2


def test_noise_and_load_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "load_average", lambda: [1.6, 1, 1])

    def change(_f: FakeFunction, environment: int, _i: int, result: FakeResult) -> None:
        old = result.report
        longer = 1 + environment / 10  # a machine that grows slower all the time
        result.report = FakeReport(old.duration_ms * longer, 1, old.init_ms, old.max_memory_mb, None)

    results = run(benchmark(pairs=8, aa=3), FakeLab(change=change, spread=0))
    assert {"load", "noise", "wide"} <= codes(results)
    assert exit_code(results) == 0


@pytest.mark.parametrize(("cost", "wide"), [(1, True), (3, False)])
def test_how_wide_an_interval_may_be_depends_on_the_cost(cost: int, wide: bool) -> None:
    def change(function: FakeFunction, environment: int, _i: int, result: FakeResult) -> None:
        noise = 1 + (environment * 7 % 11 - 5) / 100
        taken = 10 * noise * (cost if function.traced else 1)
        result.report = FakeReport(taken, 1, result.report.init_ms, result.report.max_memory_mb, None)

    results = run(benchmark(pairs=8), FakeLab(change=change, spread=0))
    warm = results["summary"][0]["metrics"]["warm_ms"]["ratio"]
    assert warm is not None
    interval = warm["interval"]
    assert interval is not None
    assert interval["high"] - interval["low"] > 0.1
    assert ("wide" in codes(results)) is wide


def test_without_a_cost_hardly_any_interval_shows_one_on_a_drifting_machine() -> None:
    def change(_f: FakeFunction, environment: int, _i: int, result: FakeResult) -> None:
        old = result.report
        result.report = FakeReport(old.duration_ms * (1 + environment / 50), 1, old.init_ms, 40, None)

    alarms = 0
    for seed in range(150):
        results = run(benchmark(pairs=9, seed=seed), FakeLab(seed=seed, change=change, cost=(1, 1)))
        difference = results["summary"][0]["metrics"]["warm_ms"]["difference"]
        assert difference is not None
        assert difference["interval"] is not None
        alarms += not difference["interval"]["low"] <= 0 <= difference["interval"]["high"]
    # 9 pairs: one in 256 is expected, 0.6 of 150; six or more have a probability below 1 in 10,000.
    assert alarms < 6


def three_sides(**changes: Any) -> Benchmark:
    own, baseline = sides("hello/app.handler", None, {}, locate)
    variants = {
        name: replace(own, label=name, env={"SIDE": name}, mode=name) for name in ("sync", "async", "late")
    }
    made = Benchmark(
        baseline=baseline, variants=variants, memory_mb=(128, 512), pairs=8, aa=1, warm=1, seed=4
    )
    return replace(made, **changes)


def test_every_variant_is_compared_with_the_baseline_of_its_block() -> None:
    def change(function: FakeFunction, environment: int, _i: int, result: FakeResult) -> None:
        slower = {"async": 2.0, "late": 3.0}.get(function.env.get("SIDE", ""), 1.0)
        # Each environment of a block is slower than that of the block before: only pairs show the cost.
        result.report = FakeReport((environment // 4 + 1) * slower, 1, 5.0 if result.cold else None, 40, None)

    results = run(three_sides(), FakeLab(change=change))
    assert [(cell["memory_mb"], cell["variant"]) for cell in results["summary"]] == [
        (size, name) for size in (128, 512) for name in ("sync", "async", "late")
    ]
    for cell in results["summary"]:
        assert cell["pairs"] == 8
        assert cell["aa_pairs"] == 1
        numbers = {pair["pair"] for pair in cell["metrics"]["warm_ms"]["pairs"]}
        assert len(numbers) == 8
        blocks = [s for s in results["samples"] if s["pair"] in numbers]
        assert len(blocks) == 8 * 4
        assert {(s["memory_mb"], s["kind"]) for s in blocks} == {(cell["memory_mb"], "ab")}
    assert results["counts"]["pairs"] == 6 * 8
    assert exit_code(results) == 0


def test_what_fails_in_one_place_is_not_measured_there_and_the_rest_is() -> None:
    def change(function: FakeFunction, _e: int, _i: int, result: FakeResult) -> None:
        if (function.env.get("SIDE"), function.memory) == ("async", 128):
            result.payload = {"statusCode": 502, "body": "no"}
        if function.memory == 512 and not function.traced:
            result.status, result.error = "timeout", "Sandbox.Timedout"

    lab = FakeLab(change=change)
    results = run(three_sides(), lab)
    assert [(cell["memory_mb"], cell["variant"]) for cell in results["summary"]] == [
        (128, "sync"),
        (128, "late"),
    ]
    assert [cell["pairs"] for cell in results["summary"]] == [8, 8]
    texts = [doubt["text"] for doubt in results["warnings"] if doubt["code"] == "preflight"]
    assert texts == [
        "async failed at 128 MB and was not measured there: it answered with statusCode 502: no.",
        "untraced failed at 512 MB and was not measured there: Sandbox.Timedout.",
    ]
    assert exit_code(results) == 1
    # Without its baseline nothing of 512 MB is run, but A/A pairs neither.
    measured = [sample for sample in results["samples"] if sample["kind"] != "preflight"]
    assert {sample["memory_mb"] for sample in measured} == {128}


def test_what_the_baseline_did_is_said_once() -> None:
    def change(function: FakeFunction, _e: int, _i: int, result: FakeResult) -> None:
        result.spans = [object()]

    results = run(three_sides(memory_mb=(128,)), FakeLab(change=change))
    assert [d["code"] for d in results["warnings"]].count("baseline-traced") == 1


def test_import_trees_come_from_environments_of_their_own() -> None:
    line = "import time:      {} |       {} | slow_module"

    def change(function: FakeFunction, environment: int, _i: int, result: FakeResult) -> None:
        if "PYTHONPROFILEIMPORTTIME" in function.env:
            result.log = line.format(900 - environment, 900 - environment)

    lab = FakeLab(change=change)
    results = run(replace(benchmark(pairs=8), imports=True), lab)
    profiled = [function for function in lab.functions if "PYTHONPROFILEIMPORTTIME" in function.env]
    assert {function.name for function in profiled} == {"imports-baseline-1769", "imports-candidate-1769"}
    # Two preflights, then three each: the cheapest of the three is kept.
    assert results["imports"]["baseline"]["cumulative_us"] == 900 - 4
    assert results["imports"]["candidate"]["cumulative_us"] == 900 - 7
    assert [child["name"] for child in results["imports"]["candidate"]["children"]] == ["slow_module"]
    assert results["imports_added"] == {"candidate": []}
    assert len(results["samples"]) == 2 + 16


def test_the_file_says_what_each_variant_loads_that_the_baseline_does_not() -> None:
    line = "import time:      {0} |       {0} | {1}"

    def change(function: FakeFunction, _environment: int, _i: int, result: FakeResult) -> None:
        if "PYTHONPROFILEIMPORTTIME" in function.env:
            mine = [line.format(100, "app")]
            if "baseline" not in function.name:
                mine.append(line.format(300, f"only_{function.name.split('-')[1]}"))
            result.log = "\n".join(mine)

    results = run(replace(three_sides(memory_mb=(128,)), imports=True), FakeLab(change=change))
    added = results["imports_added"]
    assert {side: [each["name"] for each in found] for side, found in added.items()} == {
        side: [f"only_{side}"] for side in results["imports"] if side != "baseline"
    }
    assert added.keys() == {"sync", "async", "late"}
    assert loads(dumps(results))["imports_added"] == added


def test_without_import_times_there_is_no_tree() -> None:
    def change(function: FakeFunction, environment: int, _i: int, _r: FakeResult) -> None:
        if environment in {3, 6}:
            raise LabError("It slipped.")

    results = run(replace(benchmark(pairs=8), imports=True), FakeLab(change=change))
    assert results["imports"] == {}
    assert "imports_added" not in results
    assert results["counts"]["pairs"] == 8


def test_the_time_it_will_take_is_estimated_from_the_preflight() -> None:
    said: list[float] = []

    class Told(Silence):
        def estimate(self, seconds: float) -> None:
            said.append(seconds)

    def change(_f: FakeFunction, _e: int, index: int, _r: FakeResult) -> None:
        now[0] += 2.0 if index == 0 else 0.5

    now = [100.0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lambent_lab.measure.runner.time.monotonic", lambda: now[0])
        run(benchmark(pairs=10, aa=2, warm=4), FakeLab(change=change), Told())
    assert said == [(10 + 2) * 2 * (2.0 + 4 * 0.5)]
