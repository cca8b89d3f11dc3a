from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from click.testing import CliRunner, Result

from lambent_lab.commands import compare
from lambent_lab.errors import UsageError
from lambent_lab.measure import comparison

if TYPE_CHECKING:
    from lambent_lab.measure import Results

DATA = Path(__file__).parent / "data"
STORED = json.loads((DATA / "performance-results.json").read_bytes())


@pytest.fixture
def document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    Path("a.json").write_text(json.dumps(STORED))
    return copy.deepcopy(STORED)


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(compare.command, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def scale(document: Any, key: str, factor: float) -> None:
    for cell in document["summary"]:
        cell["metrics"][key]["candidate"]["median"] *= factor


def flat(text: str) -> str:
    return " ".join(text.split())


def test_one_form_can_be_printed_in_place_of_the_tables(document: Any) -> None:
    Path("b.json").write_text(json.dumps(document))
    done = run("a.json", "b.json", "--md", "-", "--json", "c.json")
    assert done.stdout.startswith("#")
    assert Path("c.json").exists()
    assert not Path("-").exists()
    with pytest.raises(UsageError, match="both go to the standard output"):
        run("a.json", "b.json", "--md", "-", "--json")


def test_it_says_what_changed_and_that_it_is_no_verdict(document: Any) -> None:
    scale(document, "warm_ms", 1.25)
    scale(document, "cold_ms", 1.1)
    document["settings"]["warm_per_sample"] += 1
    document["targets"]["candidate"]["env"] = {"LAMBENT_DELIVERY": "async"}
    Path("b.json").write_text(json.dumps(document))
    done = run("a.json", "b.json")
    assert done.exit_code == 0
    said = flat(done.stdout)
    assert "Beyond ±20% on the same machine: warm call of the candidate" in said
    assert "+25.0%" in said
    assert "+10.0%" in said
    assert "B differs in warm per sample" in said
    assert "B differs in candidate variables: none → LAMBENT_DELIVERY=async" in said
    assert "for a verdict, run both in one go with `lambent gate`" in said
    assert not {"PASS", "FAIL", "interval"} & set(said.split())
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_equal_files_have_no_change(document: Any) -> None:
    Path("b.json").write_text(json.dumps(document))
    said = flat(run("a.json", "b.json").stdout)
    assert "Nothing changed by more than ±20% on the same machine." in said
    assert "differs" not in said


def test_another_machine_is_called_that_and_has_no_change(document: Any) -> None:
    Path("b.json").write_text(json.dumps(document))
    scale(document, "warm_ms", 9)
    document["machine"]["cpu_model"] = "Another CPU"
    Path("c.json").write_text(json.dumps(document))
    done = run("a.json", "b.json", "c.json", "--json", "d.json", "--markdown", "d.md")
    said = flat(done.stdout)
    assert "C: other machine than A's, so no change is told and there is no verdict." in said
    assert "C other machine: cpu model: Example CPU → Another CPU" in said
    assert "+800" not in said
    assert "other machine" in Path("d.md").read_text()
    found = json.loads(Path("d.json").read_bytes())
    assert found["schema"] == "lambent.comparison/1"
    assert [bool(file["other_machine"]) for file in found["files"]] == [False, False, True]
    assert all(row["changes"][2] is None for row in found["rows"])
    assert all(row["changes"][1] == 0 for row in found["rows"] if row["values"][0]["median"])
    assert "Wrote d.json and d.md." in done.stderr


def test_json_can_be_printed(document: Any) -> None:
    Path("b.json").write_text(json.dumps(document))
    assert json.loads(run("a.json", "b.json", "--json").stdout)["files"][0]["name"] == "a.json"


def test_a_file_of_version_1_can_be_compared(document: Any) -> None:
    del document
    done = run(str(DATA / "performance-results-1.json"), "a.json")
    assert "cold start" in done.stdout


def test_cells_that_one_file_has_not_are_shown_without_a_change(document: Any) -> None:
    for part in (document["summary"], document["samples"]):
        for each in part:
            each["memory_mb"] = 3008 if each["memory_mb"] == 512 else each["memory_mb"]
    Path("b.json").write_text(json.dumps(document))
    assert "3,008 MB" in run("a.json", "b.json").stdout


@pytest.mark.usefixtures("document")
def test_one_file_is_not_enough() -> None:
    with pytest.raises(UsageError, match="two result files or more"):
        run("a.json")


@pytest.mark.usefixtures("document")
def test_what_is_no_result_file_is_refused() -> None:
    Path("b.json").write_text("{}")
    with pytest.raises(UsageError, match="lambent bench"):
        run("a.json", "b.json")


def test_load_tests_are_compared_by_their_steady_part(document: Any) -> None:
    latency = {"n": 500, "p50_ms": 6.0, "p95_ms": 9.0, "p99_ms": None}
    part = {
        "latency": latency,
        "per_second": 300.0,
        "succeeded": 500,
        "error_rate": {"share": 0.01, "n": 505},
    }
    document |= {"kind": "load", "summary": [], "samples": []}
    document["load"] = {
        "headline": "300 a second.",
        "steady": part,
        "all": None,
        "config": {"memory_mb": 512},
    }
    slower = copy.deepcopy(document)
    slower["load"]["steady"]["latency"]["p95_ms"] = 18.0
    found = comparison.compare([("a", document), ("b", slower)])
    changes = {row["name"]: row["changes"][1] for row in found["rows"]}
    assert changes == {
        "latency p50": 0,
        "latency p95": 1,
        "invocations a second": 0,
        "failed share": 0,
    }
    assert found["files"][0]["said"] == "300 a second."


def test_what_fails_has_no_speed_beside_what_works(document: Any) -> None:
    document["warnings"].append(
        {"code": "failed", "severity": "failure", "memory_mb": 512, "text": "9 of 200 failed: ValueError."}
    )
    Path("b.json").write_text(json.dumps(document))
    done = run("a.json", "b.json", "--json")
    found = json.loads(done.stdout)
    values = {(row["memory_mb"], row["values"][1] is None) for row in found["rows"] if row["unit"] == "ms"}
    assert values == {(128, False), (512, True)}
    assert found["files"][1]["said"] == "9 of 200 failed: ValueError."


def test_soaks_and_tunings_are_compared_by_their_figures(tmp_path: Path) -> None:
    figure = {"n": 9, "median": 20.0, "interval": None}
    absent = dict.fromkeys(("baseline", "candidate"))
    trend = {"rss_mb": {"per_1000": 1.0, "blocks": 8}}
    soak = {
        "headline": "memory: no growth.",
        "memory_mb": 512,
        "sides": {"baseline": {"trends": trend}, "candidate": {"trends": trend}},
        "differences": {
            "rss_mb": {"unit": "MB", "baseline": figure, "candidate": {**figure, "median": 30.0}},
            "high_water_mb": {"unit": "MB", **absent},
            "cpu_ms": {"unit": "ms", **absent},
            "duration_ms": {"unit": "ms", **absent},
        },
    }
    cost = {"x86_64": {"mixed": {**figure, "median": 0.25}}}
    tune = {"sizes": [{"memory_mb": 256, "cold_ms": figure, "warm_ms": None, "cost": cost}]}
    files = [
        (kind, cast("Results", {**STORED, "kind": kind, kind: section, "summary": [], "samples": []}))
        for kind, section in (("soak", soak), ("tune", tune))
    ]
    for file in files:
        found = comparison.compare([file, file])
        rows = {(row["side"], row["memory_mb"], row["name"]): row for row in found["rows"] if row["unit"]}
        assert all(row["changes"] == [0.0, 0.0] for row in rows.values())
        if file[0] == "soak":
            assert len(rows) == 4
            [grown, _] = rows["candidate", 512, "growth an invocation"]["values"]
            assert grown is not None
            assert grown["median"] == 1048.576
        else:
            assert {name for _, _, name in rows} == {"cold_ms", "cost on x86_64"}
