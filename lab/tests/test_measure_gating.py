"""A whole gate over a lab that runs nothing: when it goes on, what it says, what it ends with."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import jsonschema
import pytest

from lambent_lab import report
from lambent_lab.errors import LabError, UsageError
from lambent_lab.measure import dumps, loads, machine
from lambent_lab.measure.bench import Benchmark
from lambent_lab.measure.conforming import schema
from lambent_lab.measure.gate import gating
from lambent_lab.measure.gate.config import GateConfig, Growth
from lambent_lab.measure.gate.section import section
from lambent_lab.measure.target import Target
from lambent_lab.measure.testing import FakeFunction, FakeLab, FakeResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from lambent_lab.measure.results import ImportNode, Results
    from lambent_lab.measure.results_gate import Check, GateSection

    Change = Callable[[FakeFunction, int, int, FakeResult], None]


def is_candidate(function: FakeFunction) -> bool:
    return "candidate" in function.name


def slower(factor: float) -> Change:
    """The candidate takes longer, cold and warm."""

    def change(function: FakeFunction, _environment: int, _index: int, result: FakeResult) -> None:
        if is_candidate(function):
            init = result.report.init_ms
            result.report = replace(
                result.report,
                duration_ms=result.report.duration_ms * factor,
                init_ms=None if init is None else init * factor,
            )

    return change


def fails(when: Callable[[FakeFunction, int, int], bool]) -> Change:
    def change(function: FakeFunction, environment: int, index: int, result: FakeResult) -> None:
        if when(function, environment, index):
            result.status, result.error, result.function_error = "error", "ValueError", "Unhandled"
            result.payload = {"errorMessage": "no such order"}

    return change


def run(
    change: Change | None = None,
    *,
    config: GateConfig | None = None,
    spread: float = 0.01,
    seed: int = 1,
    lab: FakeLab | None = None,
    memory_mb: tuple[int, ...] = (128,),
    switch: str | None = None,
    history: tuple[tuple[str, Results], ...] = (),
) -> Results:
    folder = Path("unused")
    asked = gating.Gate(
        benchmark=Benchmark(
            baseline=Target(
                text="old/app.handler",
                code=folder,
                handler="app.handler",
                label="baseline",
                switch=switch,
                mode="off" if switch == "OTEL_SDK_DISABLED=true" else None,
            ),
            candidate=Target(text="new/app.handler", code=folder, handler="app.handler", label="candidate"),
            memory_mb=memory_mb,
            seed=seed,
            command=("lambent", "gate"),
        ),
        config=config or GateConfig(warm=5),
        history=history,
    )
    return gating.run(asked, lab or FakeLab(seed=seed, spread=spread, change=change))


def found(results: Results) -> GateSection:
    assert "gate" in results
    return cast("GateSection", results["gate"])


def checks(results: Results, rule: str, subject: str | None = None) -> list[Check]:
    return [
        check
        for check in found(results)["checks"]
        if check["rule"] == rule and subject in {None, check["subject"]}
    ]


def quiet(_function: FakeFunction, _environment: int, _index: int, result: FakeResult) -> None:
    """No noise at all."""
    init = None if result.report.init_ms is None else 90.0
    result.report = replace(result.report, duration_ms=5.0, init_ms=init)


def test_no_change_passes_at_the_first_look() -> None:
    results = run(quiet)
    gate = found(results)
    assert gate["verdict"] == "PASS"
    assert gating.exit_code(results) == 0
    assert gate["looks"] == [{"pairs": 10, "verdict": "PASS"}]
    assert results["counts"]["pairs"] == 10
    assert results["counts"]["aa_pairs"] == 3
    assert [check["subject"] for check in checks(results, "regression")] == [
        "cold_ms",
        "warm_ms",
        "memory_mb",
    ]
    assert gate["gated"] == 3
    assert gate["reason"].startswith("All 11 checks hold; the closest comparison: The candidate's ")
    assert gate["decided_by"] is not None


def test_a_slower_candidate_fails_and_the_rule_is_named() -> None:
    results = run(slower(1.2))
    gate = found(results)
    assert gate["verdict"] == "FAIL"
    assert gating.exit_code(results) == 1
    assert gate["decided_by"] is not None
    decided = gate["checks"][gate["decided_by"]]
    assert (decided["rule"], decided["subject"]) == ("regression", "cold_ms")
    assert decided["text"] == gate["reason"]
    ratio = decided.get("ratio")
    assert ratio is not None
    assert ratio["interval"] is not None
    assert ratio["interval"]["low"] > 1.05
    assert ratio["interval"]["confidence"] > 1 - 0.01 / 3


def test_an_open_question_gets_more_pairs_and_then_no_answer() -> None:
    results = run(slower(1.05), spread=0.04)
    gate = found(results)
    assert gate["verdict"] == "INCONCLUSIVE"
    assert gating.exit_code(results) == 3
    assert [look["pairs"] for look in gate["looks"]] == [10, 20, 40, 60]
    assert results["counts"]["pairs"] == 60
    assert results["counts"]["aa_pairs"] == 15
    numbers = [sample["pair"] for sample in results["samples"] if sample["pair"] is not None]
    assert sorted(set(numbers)) == list(range(75))
    assert all(numbers.count(number) == 2 for number in set(numbers))


def test_it_stops_as_soon_as_it_knows() -> None:
    config = GateConfig(warm=5, metrics=("warm",), pairs=(8, 30))
    results = run(slower(1.5), config=config)
    assert results["counts"]["pairs"] == 8
    assert found(results)["gated"] == 1


def test_the_order_within_pairs_is_random() -> None:
    results = run(slower(1.05), spread=0.04)
    firsts = [s["side"] for s in results["samples"] if s["kind"] == "ab"][::2]
    assert 15 < firsts.count("candidate") < 45


def test_a_machine_that_differs_from_itself_has_no_verdict() -> None:
    def change(function: FakeFunction, _environment: int, _index: int, result: FakeResult) -> None:
        if function.name.startswith("again"):
            result.report = replace(result.report, duration_ms=result.report.duration_ms * 1.3)

    lab = FakeLab(seed=1, spread=0.01, change=change)
    results = run(lab=lab, config=GateConfig(warm=5, metrics=("warm",)))
    gate = found(results)
    assert gate["verdict"] == "INCONCLUSIVE"
    assert "This machine is unfit" in gate["reason"]
    assert "A/A pairs" in gate["reason"]


@pytest.mark.parametrize("index", [0, 3])
def test_a_failing_candidate_fails_and_has_no_speed(index: int) -> None:
    results = run(
        fails(lambda function, environment, i: is_candidate(function) and i == index and environment > 5)
    )
    gate = found(results)
    assert gate["verdict"] == "FAIL"
    assert "failed: ValueError: no such order" in gate["reason"]
    assert "It has no speed." in gate["reason"]
    assert checks(results, "regression") == []
    assert checks(results, "limit") == []


def test_a_candidate_that_never_works_fails_before_anything_is_timed() -> None:
    results = run(fails(lambda function, _environment, _index: is_candidate(function)))
    assert found(results)["verdict"] == "FAIL"
    assert results["counts"]["pairs"] == 0
    assert "2 of 2 invocations of the candidate at 128 MB failed" in found(results)["reason"]


def test_a_base_that_fails_leaves_nothing_to_compare_with() -> None:
    results = run(fails(lambda function, _environment, _index: not is_candidate(function)))
    assert found(results)["verdict"] == "INCONCLUSIVE"
    assert "base" in found(results)["reason"]
    assert gating.exit_code(results) == 3


def test_a_broken_lab_is_not_the_candidates_fault() -> None:
    def change(_function: FakeFunction, _environment: int, _index: int, _result: FakeResult) -> None:
        raise LabError("the cgroup is gone")

    results = run(change)
    assert found(results)["verdict"] == "INCONCLUSIVE"
    assert "the cgroup is gone" in found(results)["reason"]


def test_what_an_interruption_leaves_is_judged() -> None:
    def change(_function: FakeFunction, environment: int, _index: int, _result: FakeResult) -> None:
        if environment == 20:
            raise KeyboardInterrupt

    results = run(change)
    assert results["interrupted"]
    assert gating.exit_code(results) == 130
    assert found(results)["verdict"] == "INCONCLUSIVE"
    assert found(results)["reason"].startswith("Interrupted")


@pytest.mark.parametrize("interrupted", [False, True])
def test_impatience_at_the_very_end_costs_no_result(
    interrupted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was measured is there, even where something outside the lab was not put back as it was."""

    def close(_run: object) -> None:
        raise KeyboardInterrupt if interrupted else LabError("aws:orders keeps its new memory")

    monkeypatch.setattr("lambent_lab.measure.runner.Run.close", close)
    results = run()
    assert results["interrupted"] is interrupted
    undone = "Interrupted before all was as it had been found."
    assert results["error"] == (undone if interrupted else "aws:orders keeps its new memory")
    assert results["counts"]["pairs"] >= 30


def test_what_a_failing_base_did_not_do_is_no_growth_of_its_repair() -> None:
    def change(function: FakeFunction, environment: int, index: int, result: FakeResult) -> None:
        if not is_candidate(function):
            result.made = 1
            del result.spans[1:]
            fails(lambda *_: environment == 10 and index == 2)(function, environment, index, result)

    results = run(change)
    assert found(results)["verdict"] == "INCONCLUSIVE"
    assert {check["verdict"] for check in checks(results, "count", "spans-made")} == {"INFO"}


def test_a_lost_span_fails() -> None:
    def change(function: FakeFunction, environment: int, index: int, result: FakeResult) -> None:
        if is_candidate(function) and environment in {10, 11} and index == 2:  # one of the two is
            result.spans.pop()

    results = run(change)
    gate = found(results)
    assert gate["verdict"] == "FAIL"
    assert "1 of " in gate["reason"]
    assert "were not received" in gate["reason"]


@pytest.mark.parametrize("uncounted", [True, False])
def test_a_lost_trace_fails(uncounted: bool) -> None:
    def change(function: FakeFunction, environment: int, index: int, result: FakeResult) -> None:
        if uncounted:
            result.made = None
        if is_candidate(function) and environment in {10, 11} and index == 2:
            result.spans.clear()

    results = run(change)
    assert found(results)["verdict"] == "FAIL"
    assert "delivered no trace" in found(results)["reason"]
    allowed = run(
        change, config=GateConfig(warm=5, spans_missing_max=None, counts={"spans-delivered": Growth()})
    )
    assert found(allowed)["verdict"] == "PASS"


def test_fewer_spans_than_the_bases_fail() -> None:
    def change(function: FakeFunction, _environment: int, _index: int, result: FakeResult) -> None:
        if is_candidate(function):
            result.made = 2
            result.spans.pop()

    assert "spans an invocation" in found(run(change))["reason"]


def test_more_spans_than_the_bases_are_a_count_that_grew() -> None:
    def change(function: FakeFunction, _environment: int, _index: int, result: FakeResult) -> None:
        if is_candidate(function):
            result.made = 4
            result.spans.append(object())

    results = run(change)
    assert [check["verdict"] for check in checks(results, "count", "spans-made")] == ["FAIL"]
    one_more = GateConfig(warm=5, counts={"spans-made": Growth(more=1), "spans-delivered": Growth(more=1)})
    assert found(run(change, config=one_more))["verdict"] == "PASS"


def test_tracing_that_the_base_has_not_is_no_growth() -> None:
    def change(function: FakeFunction, _environment: int, _index: int, result: FakeResult) -> None:
        quiet(function, _environment, _index, result)
        if not is_candidate(function):
            result.made = None
            result.spans.clear()

    results = run(change)
    assert found(results)["verdict"] == "PASS"
    assert [check["verdict"] for check in checks(results, "count", "spans-delivered")] == ["INFO"]


def test_the_limits_of_the_quality_gates() -> None:
    def change(function: FakeFunction, _environment: int, _index: int, result: FakeResult) -> None:
        init = result.report.init_ms
        result.report = replace(
            result.report,
            init_ms=None if init is None else init + 1000,
            duration_ms=result.report.duration_ms + 120,
            peak_rss=(result.report.peak_rss or 0) + (150 * 2**20 if is_candidate(function) else 0),
        )

    results = run(change, config=GateConfig(warm=5, metrics=("cold", "warm")))
    outcomes = {
        (check["rule"], check["subject"], check.get("limit")): check["verdict"]
        for check in found(results)["checks"]
    }
    assert outcomes["limit", "cold_ms", 1000] == "FAIL"
    assert outcomes["limit", "warm_ms", 100] == "WARN"
    assert outcomes["overhead", "memory_mb", 100] == "FAIL"
    off = GateConfig(warm=5, metrics=("cold", "warm"), cold_max_ms=None, memory_overhead_max_mb=None)
    allowed = run(change, config=off)
    assert found(allowed)["verdict"] == "PASS"
    assert "warm" in " ".join(
        check["text"] for check in found(allowed)["checks"] if check["verdict"] == "WARN"
    )


def test_fewer_successes_than_asked_for_fail() -> None:
    results = run(
        fails(
            lambda function, environment, index: is_candidate(function) and environment > 3 and index % 2 == 1
        )
    )
    assert [check["verdict"] for check in checks(results, "success")] == ["FAIL"]
    assert "90% must" in checks(results, "success")[0]["text"]


def test_each_memory_size_is_a_comparison_of_its_own() -> None:
    results = run(memory_mb=(128, 512), config=GateConfig(warm=5, metrics=("cold", "warm")))
    assert found(results)["gated"] == 4
    assert len(checks(results, "regression")) == 4
    assert found(results)["confidence"] >= 1 - 0.01 / 4


def test_a_metric_that_was_asked_for_and_not_measured_is_no_pass() -> None:
    results = run(config=GateConfig(warm=0, metrics=("cold", "warm")))
    assert found(results)["verdict"] == "INCONCLUSIVE"
    assert "was not measured" in found(results)["reason"]
    assert found(run(config=GateConfig(warm=0)))["verdict"] == "PASS"


def test_too_few_pairs_for_so_many_metrics_are_refused() -> None:
    with pytest.raises(UsageError, match=r"With 3 comparisons 9 pairs have no interval: ask for 10 or more"):
        run(config=GateConfig(pairs=(8, 9)))
    assert found(run(quiet, config=GateConfig(pairs=(8, 9), metrics=("warm",))))["verdict"] == "PASS"


def tree(name: str, self_us: int, *children: ImportNode) -> ImportNode:
    cumulative = self_us + sum(child["cumulative_us"] for child in children)
    return {"name": name, "self_us": self_us, "cumulative_us": cumulative, "children": list(children)}


def test_the_import_that_made_a_cold_start_slower_is_named() -> None:
    results = run(slower(1.2))
    results["imports"] = {
        "baseline": tree("", 0, tree("app", 900, tree("json", 1500))),
        "candidate": tree(
            "", 0, tree("app", 1000, tree("pricing", 400, tree("tables", 5000)), tree("json", 1600))
        ),
    }
    gate = section(results, GateConfig(warm=5))
    assert gate["imports"][0] == {"name": "pricing", "more_us": 5400, "new": True, "parent": "app"}
    assert gate["counts"]["baseline"]["modules"] == 2
    assert gate["counts"]["candidate"]["modules"] == 4
    assert (
        "The import of pricing (imported by app), a module that the base does not load, takes 5.4 ms."
        in gate["reason"]
    )
    modules = [check for check in gate["checks"] if check["subject"] == "modules"]
    assert [check["verdict"] for check in modules] == ["FAIL"]


def test_a_known_import_that_got_slower_is_named() -> None:
    results = run(slower(1.2))
    results["imports"] = {
        "baseline": tree("", 0, tree("app", 900, tree("json", 1500))),
        "candidate": tree("", 0, tree("app", 950, tree("json", 7500))),
    }
    assert (
        "The import of json (imported by app), which the base loads faster, takes 6.0 ms longer."
        in (section(results, GateConfig(warm=5))["reason"])
    )


def test_what_an_import_only_brings_forward_does_not_count() -> None:
    """`json` was loaded by app; now a new module loads it first."""
    results = run(slower(1.2))
    results["imports"] = {
        "baseline": tree("", 0, tree("app", 900, tree("json", 9500))),
        "candidate": tree("", 0, tree("app", 900, tree("small", 700, tree("json", 9500)))),
    }
    assert section(results, GateConfig())["imports"] == [
        {"name": "small", "more_us": 700, "new": True, "parent": "app"}
    ]


@pytest.mark.parametrize(("switch", "verdict"), [("OTEL_SDK_DISABLED=true", "INFO"), ("CACHE=no", "FAIL")])
def test_only_against_the_same_function_untraced_more_modules_are_no_fault(switch: str, verdict: str) -> None:
    results = run(switch=switch)
    results["imports"] = {
        "baseline": tree("", 0, tree("app", 9)),
        "candidate": tree("", 0, tree("app", 9), tree("b", 9)),
    }
    gate = section(results, GateConfig())
    assert [check["verdict"] for check in gate["checks"] if check["subject"] == "modules"] == [verdict]
    most = section(results, GateConfig(counts={"modules": Growth(most=1)}))
    assert [check["verdict"] for check in most["checks"] if check["subject"] == "modules"] == ["FAIL"]


def test_history_is_told_and_never_decides() -> None:
    before = run()
    after = run(slower(1.0), history=(("main.json", before),))
    told = checks(after, "history")
    assert {check["verdict"] for check in told} == {"INFO"}
    assert "another run, no verdict" in told[0]["text"]
    much = run(history=(("main.json", scaled(before, 0.5)),))
    assert {check["verdict"] for check in checks(much, "history")} == {"WARN"}
    assert "beyond ±20%" in checks(much, "history")[0]["text"]
    assert found(much)["verdict"] == "PASS"


def test_history_of_another_machine_says_so() -> None:
    before = run()
    before["machine"] = {**before["machine"], "cpu_model": "Another CPU"}
    told = checks(run(history=(("main.json", before),)), "history")
    assert len(told) == 1
    assert "another machine (cpu model: Another CPU → " in told[0]["text"]


def scaled(results: Results, factor: float) -> Results:
    copy: Any = loads(dumps(results))
    for cell in copy["summary"]:
        for metric in cell["metrics"].values():
            if metric["candidate"] is not None:
                metric["candidate"]["median"] *= factor
    return cast("Results", copy)


def test_the_file_keeps_everything_and_says_the_same_again() -> None:
    results = run(slower(1.2))
    jsonschema.validate(json.loads(dumps(results)), schema())
    again = loads(dumps(results))
    assert again == results
    assert again["kind"] == "gate"
    old = found(again)
    assert section(again, GateConfig(warm=5), looks=old["looks"], counts=old["counts"]) == old


@pytest.mark.parametrize("change", [None, slower(1.2), fails(lambda f, _e, _i: is_candidate(f))])
def test_every_report_of_it_says_the_verdict(change: Change | None) -> None:
    results = run(change)
    verdict = found(results)["verdict"]
    terminal = report.render(results, "terminal")
    assert f"\n{verdict}: " in terminal
    assert max(map(len, terminal.splitlines())) <= 80
    for fmt in ("markdown", "junit"):
        assert f"{verdict}: " in report.render(results, fmt)
    assert f'<span class="badge">{verdict.capitalize()}</span>' in report.render(results, "html")
    junit = report.render(results, "junit")
    assert junit.count("<testcase ") == len(found(results)["checks"])
    assert junit.count("<failure ") == sum(check["verdict"] == "FAIL" for check in found(results)["checks"])


def test_a_file_whose_deciding_check_is_not_there_is_still_reported() -> None:
    results = run()
    found(results)["decided_by"] = 999
    assert "PASS: " in report.render(results, "terminal")


@pytest.fixture(autouse=True)
def _known_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = machine.describe()
    monkeypatch.setattr(machine, "describe", lambda _python=None: facts)


def test_cold_starts_alone_get_further_looks_without_warm_invocations() -> None:
    """Warm invocations and memory are decided by the whole pairs; what only starts is in neither."""

    def change(function: FakeFunction, environment: int, index: int, result: FakeResult) -> None:
        old = result.report
        swing = (environment // 2 % 10 - 4.5) / 30  # of cold starts only: too wide to tell
        cold = 50 * (1.05 + swing) if is_candidate(function) else 50.0
        memory = 2**20 * (40 + 5 * index)
        duration = 1.0 if index == 0 else 3.0
        result.report = replace(
            old,
            init_ms=None if index else cold,
            duration_ms=duration,
            peak_rss=memory,
            peak_with_cache=memory,
        )

    config = GateConfig(warm=4, metrics=("cold", "warm", "memory"))
    results = run(lab=FakeLab(seed=2, spread=0, change=change), config=config)
    gate = found(results)
    assert [look["pairs"] for look in gate["looks"]] == [10, 20, 40, 60, 120, 240]
    assert results["counts"]["pairs"] == 240
    metrics = results["summary"][0]["metrics"]
    assert len(metrics["cold_ms"]["pairs"]) == 240
    assert len(metrics["warm_ms"]["pairs"]) == len(metrics["memory_mb"]["pairs"]) == 10
    assert {pair["baseline"] for pair in metrics["memory_mb"]["pairs"]} == {60}
    assert {check["verdict"] for check in checks(results, "regression")} == {"PASS", "INCONCLUSIVE"}


def test_who_says_how_many_pairs_there_are_gets_those() -> None:
    config = GateConfig(warm=2, metrics=("cold",), pairs=(8, 12))
    results = run(slower(1.05), spread=0.2, config=config)
    assert [look["pairs"] for look in found(results)["looks"]] == [8, 12]
