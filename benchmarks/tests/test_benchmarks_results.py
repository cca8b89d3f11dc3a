from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from benchmarks.harness import plan, report, results, rounds
from benchmarks.harness.peers_file import Peer
from benchmarks.harness.venvs import Installed

if TYPE_CHECKING:
    from pathlib import Path

IMPORT = next(measure for measure in plan.MEASURES if measure.name == "import_lambda")
COLLECTOR = next(probe for probe in plan.PROBES if probe.name == "lambda_collector")


def sample(number: int, peer: str, init_ms: float, **more: Any) -> dict[str, Any]:
    outcome = {"init_ns": init_ms * 1e6}
    base = {"round": number, "probe": "lambda", "peer": peer, "valid": True, "outcome": outcome}
    return {**base, **more}


def row(rows: list[dict[str, Any]], peer: str) -> dict[str, Any]:
    return next(one for one in rows if one["peer"] == peer)


def peer(name: str, **more: Any) -> Peer:
    return Peer(name=name, title=name.upper(), module=f"{name}.py", requirements=(), **more)


def content(tmp_path: Path, samples: list[dict[str, Any]], names: tuple[str, ...]) -> dict[str, Any]:
    installed = {
        name: Installed(
            peer=peer(name),
            python=tmp_path,
            python_nopyc=tmp_path,
            versions={name: "1.2"},
            zipped_bytes=80_000,
            distributions=1,
        )
        for name in names
    }
    return results.document(
        plan=plan.Plan.make(peers=names, names=("import_lambda",), rounds=2, seed=1),
        installed=installed,
        absent={"gone": "could not be installed: no such version"},
        share={"wanted": False},
        python="3.13.0",
        samples=samples,
        interrupted=False,
        started=0.0,
    )


def test_marginal_values_and_ratios_pair_samples_of_the_same_round() -> None:
    samples = [
        sample(0, "none", 1.0),
        sample(0, "lambent", 3.0),
        sample(0, "heavy", 21.0),
        sample(1, "none", 2.0),
        sample(1, "lambent", 4.0),
        sample(1, "heavy", 42.0),
    ]
    rows = results.summarise([IMPORT], ["none", "lambent", "heavy"], samples)
    assert row(rows, "lambent")["values"] == [2.0, 2.0]
    assert row(rows, "heavy")["values"] == [20.0, 40.0]
    assert row(rows, "heavy")["ratio"]["median"] == 15.0  # of 10 and 20, not 30 / 2 of the medians
    assert row(rows, "lambent")["ratio"] is None


def test_a_round_without_a_baseline_gives_no_marginal_value() -> None:
    samples = [sample(0, "lambent", 3.0), sample(1, "none", 1.0), sample(1, "lambent", 3.0)]
    assert row(results.summarise([IMPORT], ["none", "lambent"], samples), "lambent")["values"] == [2.0]


def test_rejected_samples_are_counted_with_their_reason_and_not_measured() -> None:
    bad = sample(0, "lambent", 3.0, valid=False, reason="4 of 5 spans arrived")
    rows = results.summarise([IMPORT], ["none", "lambent"], [sample(0, "none", 1.0), bad])
    found = row(rows, "lambent")
    assert (found["values"], found["rejected"], found["reason"]) == ([], 1, "4 of 5 spans arrived")
    assert found["estimate"] is None


@pytest.mark.parametrize(("lost", "valid"), [(0, True), (1, False)])
def test_a_sample_counts_when_all_its_spans_arrived(lost: int, valid: bool) -> None:
    arrived = Counter(rounds.CHILDREN * 60)
    arrived["bench.tax"] -= lost
    found = rounds.verdict(COLLECTOR, peer("x"), {"invocations": 60}, {"spans": dict(arrived)})
    assert found["valid"] is valid
    assert (found["spans_made"], found["spans_arrived"]) == (300, 300 - lost)


def test_spans_written_to_the_standard_output_arrived_too() -> None:
    outcome = {"invocations": 1, "stdout_spans": dict.fromkeys(rounds.CHILDREN, 1)}
    assert rounds.verdict(COLLECTOR, peer("x"), outcome, {"spans": {}})["valid"]


def test_a_tool_that_records_nothing_is_expected_to_send_nothing() -> None:
    quiet = peer("api", records=False)
    assert rounds.verdict(COLLECTOR, quiet, {"invocations": 60}, {"spans": {}})["valid"]


def test_a_sample_without_bytecode_is_rejected_when_some_was_there() -> None:
    probe = next(probe for probe in plan.PROBES if probe.name == "lambda_nopyc")
    outcome = {"bytecode": {"with_pyc": 1, "first": ["json"]}}
    assert not rounds.verdict(probe, peer("x"), outcome, {"spans": {}})["valid"]


def test_spans_that_did_not_record_are_rejected() -> None:
    probe = next(probe for probe in plan.PROBES if probe.name == "record")
    assert not rounds.verdict(probe, peer("x"), {"recording": False}, {"spans": {}})["valid"]


def test_every_measure_comes_from_a_probe_and_has_its_own_name() -> None:
    names = [measure.name for measure in plan.MEASURES]
    assert len(set(names)) == len(names)
    assert {measure.probe for measure in plan.MEASURES} == {probe.name for probe in plan.PROBES}


def test_a_plan_runs_only_the_probes_that_its_measures_need() -> None:
    made = plan.Plan.make(peers=("none",), names=("span_recorded", "memory"), rounds=1, seed=0)
    assert [probe.name for probe in made.probes] == ["lambda_collector", "record"]


def test_the_slowest_measure_runs_only_when_named() -> None:
    made = plan.Plan.make(peers=("none",), names=(), rounds=1, seed=0)
    assert "lambda_share_nopyc" not in {probe.name for probe in made.probes}


@pytest.mark.parametrize(
    ("median", "high", "said"),
    [
        (2.0, 2.4, "met"),
        (2.0, None, "met"),
        (2.4, 2.6, "met, but its interval reaches over"),
        (2.6, 2.7, "NOT met"),
    ],
)
def test_a_budget_is_judged_by_the_median_and_its_interval(
    median: float, high: float | None, said: str
) -> None:
    assert report.budget_verdict(2.5, {"median": median, "high": high}) == said


def test_a_budget_without_a_value_is_not_met_silently() -> None:
    assert report.budget_verdict(2.5, None) == "not measured"


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(1536.4, 1, "1 536"), (12.34, 2, "12.3"), (1.934, 2, "1.93"), (-0.21, 2, "-0.21")],
)
def test_numbers_have_the_figures_they_deserve(value: float, digits: int, text: str) -> None:
    assert report.number(value, digits) == text


def test_the_terminal_names_the_absent_and_judges_the_budget(tmp_path: Path) -> None:
    samples = [sample(0, "none", 0.0), sample(0, "lambent", 3.0), sample(0, "heavy", 60.0)]
    text = report.terminal(content(tmp_path, samples, ("none", "lambent", "heavy")))
    assert "gone: could not be installed: no such version" in text
    assert "\u00d720.0" in text
    assert "NOT met" in text
    assert "\u2264 2.5 ms" in text


def test_the_table_has_a_column_for_each_tool_with_lambent_first(tmp_path: Path) -> None:
    samples = [sample(0, "none", 0.0), sample(0, "lambent", 2.0), sample(0, "heavy", 60.0)]
    table = report.markdown(content(tmp_path, samples, ("none", "heavy", "lambent"))).splitlines()
    assert table[0] == "| | **LAMBENT** | its budget | HEAVY |"
    assert table[2] == "| version | 1.2 |  | 1.2 |"
    assert (
        table[3]
        == "| import + init inside awslambdaric, ms | **2.00** | \u2264 2.5: met | 60.0 (\u00d730.0) |"
    )


def test_a_tool_whose_spans_got_lost_has_a_dash_in_the_table(tmp_path: Path) -> None:
    bad = sample(0, "heavy", 60.0, valid=False, reason="4 of 5 spans arrived")
    samples = [sample(0, "none", 0.0), sample(0, "lambent", 2.0), bad]
    found = content(tmp_path, samples, ("none", "lambent", "heavy"))
    assert report.markdown(found).splitlines()[3].endswith("| **2.00** | \u2264 2.5: met | \u2013 |")
    assert "4 of 5 spans arrived" in report.terminal(found)


def test_a_machine_without_cpu_limits_says_why_there_is_no_value() -> None:
    made = plan.Plan.make(peers=("none", "x"), names=("import_lambda_share",), rounds=1, seed=0)
    reason = {"wanted": True, "unavailable": "cgroup v1 is not writable for this user"}
    assert results.left_out(made, peer("x"), "import_lambda_share", reason) == reason["unavailable"]
    assert results.left_out(made, peer("x"), "import_lambda_share", {"wanted": True}) == ""


def test_a_tool_without_an_async_mode_is_left_out_with_that_reason() -> None:
    made = plan.Plan.make(peers=("none", "x"), names=("invocation_async",), rounds=1, seed=0)
    assert results.left_out(made, peer("x"), "invocation_async", {}) == "it has no async mode"


def test_the_readme_keeps_everything_around_the_table(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    report.write_readme(readme, "| new |")
    report.write_readme(readme, "| newer |")
    assert readme.read_text() == f"before\n{report.BEGIN}\n| newer |\n{report.END}\nafter\n"


def test_a_readme_without_markers_is_left_alone(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("text\n")
    with pytest.raises(report.MarkersMissingError, match="add the lines"):
        report.write_readme(readme, "| new |")
    assert readme.read_text() == "text\n"


def test_the_result_file_holds_raw_values_order_machine_and_versions(tmp_path: Path) -> None:
    samples = [sample(0, "none", 0.0, order=0), sample(0, "lambent", 2.0, order=1)]
    path = tmp_path / "deep" / "results.json"
    results.write(path, content(tmp_path, samples, ("none", "lambent")))
    written = json.loads(path.read_text())
    assert written["schema"] == results.SCHEMA
    assert [one["order"] for one in written["samples"]] == [0, 1]
    assert written["samples"][1]["outcome"]["init_ns"] == 2e6
    assert written["rounds_done"] == 1
    assert written["peers"]["lambent"]["versions"] == {"lambent": "1.2"}
    assert written["machine"]["cpus"] >= 1
    assert list(path.parent.iterdir()) == [path]
