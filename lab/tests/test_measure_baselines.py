"""`PerformanceBenchmark`: recorded, read again, compared; directions, the other machine, the broken file."""

from __future__ import annotations

import json
import math
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent_lab.errors import LabError, UsageError
from lambent_lab.measure import PerformanceBenchmark
from lambent_lab.measure.testers.baselines import direction, fingerprint

if TYPE_CHECKING:
    from pathlib import Path

HERE = {
    "cpu_model": "Example 3000",
    "architecture": "x86_64",
    "cores_usable": 2,
    "memory_gb": 8,
    "system": "Linux",
    "python": "3.11",
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "performance_baselines.json"


def benchmark(file: Path, **options: Any) -> PerformanceBenchmark:
    return PerformanceBenchmark(str(file), **{"version": "v1", "machine": HERE, **options})


def checked(file: Path, baseline: dict[str, Any], now: dict[str, Any], **options: Any) -> dict[str, Any]:
    made = benchmark(file, **options)
    made.record_baseline("t", baseline)
    return made.check_regression("t", now)


def test_the_first_check_records(file: Path) -> None:
    made = benchmark(file)
    before = time.time()
    found = made.check_regression("t", {"avg_time_ms": 10.0})
    assert (found["status"], found["message"]) == ("baseline_recorded", "Baseline recorded for t")
    assert not file.exists()  # until it is saved
    made.save_baselines()
    again = benchmark(file)
    assert again.baselines == made.baselines
    entry = again.baselines["t"]
    assert (entry["metrics"], entry["version"], entry["machine"]) == ({"avg_time_ms": 10.0}, "v1", HERE)
    assert before <= entry["timestamp"] <= time.time()
    assert again.check_regression("t", {"avg_time_ms": 10.0})["status"] == "pass"


def test_statuses_and_their_documented_keys(file: Path) -> None:
    worse = checked(file, {"avg_time_ms": 10.0}, {"avg_time_ms": 13.0})
    assert worse["status"] == "regression"
    (each,) = worse["regressions"]
    assert each == {
        "metric": "avg_time_ms",
        "baseline": 10.0,
        "current": 13.0,
        "change_percent": pytest.approx(30),
        "direction": "lower is better",
    }
    assert worse["baseline"] == {"avg_time_ms": 10.0}
    assert worse["current"] == {"avg_time_ms": 13.0}
    assert "avg_time_ms 10 to 13 (+30.0%)" in worse["message"]
    better = checked(file, {"avg_time_ms": 10.0}, {"avg_time_ms": 9.0})
    assert (better["status"], len(better["improvements"]), better["regressions"]) == ("improvement", 1, [])
    assert checked(file, {"avg_time_ms": 10.0}, {"avg_time_ms": 11.9})["status"] == "pass"
    json.dumps([worse, better], allow_nan=False)


def test_more_throughput_is_no_regression(file: Path) -> None:
    name = "throughput_ops_per_sec"
    assert checked(file, {name: 100.0}, {name: 200.0})["status"] == "improvement"
    fallen = checked(file, {name: 100.0}, {name: 70.0})
    assert fallen["status"] == "regression"
    assert fallen["regressions"][0]["change_percent"] == -30
    assert fallen["regressions"][0]["direction"] == "higher is better"


def test_one_regression_outweighs_improvements(file: Path) -> None:
    found = checked(file, {"a_ms": 10, "b_ms": 10}, {"a_ms": 1, "b_ms": 20})
    assert found["status"] == "regression"
    assert [each["metric"] for each in found["improvements"]] == ["a_ms"]


def test_the_threshold(file: Path) -> None:
    made = benchmark(file)
    made.record_baseline("t", {"ms": 100.0})
    assert made.check_regression("t", {"ms": 115.0}, threshold_percent=15.0)["status"] == "pass"
    assert made.check_regression("t", {"ms": 115.1}, 15.0)["status"] == "regression"
    for wrong in (-1, math.nan):
        with pytest.raises(UsageError, match="threshold_percent"):
            made.check_regression("t", {"ms": 1}, wrong)


@pytest.mark.parametrize(
    ("name", "better", "sure"),
    [
        ("avg_time_ms", "lower", True),
        ("p95_time_ms", "lower", True),
        ("throughput_ops_per_sec", "higher", True),
        ("throughput_ratio", "higher", True),
        ("overhead_ratio", "lower", True),
        ("error_rate", "lower", True),
        ("errors_per_second", "lower", True),
        ("success_rate", "higher", True),
        ("spans_per_second", "higher", True),
        ("requestsPerSecond", "higher", True),
        ("rps", "higher", True),
        ("cache.hits", "higher", True),
        ("memory_leak_mb", "lower", True),
        ("memory_usage_mb", "lower", True),
        ("spans_dropped", "lower", True),
        ("total_operations", "higher", True),
        ("latency", "lower", True),
        ("wibble", "lower", False),
    ],
)
def test_directions(name: str, better: str, sure: bool) -> None:
    assert direction(name) == (better, sure)


def test_a_direction_can_be_given(file: Path) -> None:
    assumed = checked(file, {"wibble": 10}, {"wibble": 20})
    assert assumed["regressions"][0]["direction"] == "lower is better (assumed)"
    assert checked(file, {"wibble": 10}, {"wibble": 20}, directions={"wibble": "higher"})["status"] == (
        "improvement"
    )
    with pytest.raises(UsageError, match="'lower' or 'higher', not 'up'"):
        benchmark(file, directions={"wibble": "up"})


def test_another_machine_is_no_regression(file: Path) -> None:
    benchmark_there = benchmark(file)
    benchmark_there.record_baseline("t", {"ms": 10.0})
    benchmark_there.save_baselines()
    here = benchmark(file, machine={**HERE, "cpu_model": "Example 9000", "python": "3.13"})
    found = here.check_regression("t", {"ms": 50.0})
    assert (found["status"], found["regressions"], found["improvements"]) == ("other machine", [], [])
    assert found["machine"] == {
        "same": False,
        "differs": {"cpu_model": ["Example 3000", "Example 9000"], "python": ["3.11", "3.13"]},
    }
    assert found["changes"][0]["change_percent"] == 400
    assert "cpu_model Example 3000 there, Example 9000 here" in found["message"]
    assert "other machine" in found["message"]


def test_a_baseline_that_names_no_machine_is_compared(file: Path) -> None:
    # As the specification's own class writes it.
    file.write_text('{"t": {"metrics": {"ms": 10.0}, "timestamp": 1.0, "version": "current"}}')
    found = benchmark(file).check_regression("t", {"ms": 20.0})
    assert (found["status"], found["machine"]) == ("regression", {"same": None, "differs": {}})


def test_a_machine_that_is_told_otherwise_is_another(file: Path) -> None:
    file.write_text('{"t": {"metrics": {"ms": 10.0}, "machine": "the old laptop"}}')
    found = benchmark(file).check_regression("t", {"ms": 20.0})
    assert (found["status"], found["machine"]["same"]) == ("other machine", False)
    assert "the old laptop" in found["message"]


def test_this_machine_is_itself(file: Path) -> None:
    made = PerformanceBenchmark(file)
    made.record_baseline("t", {"ms": 1.0})
    made.save_baselines()
    assert PerformanceBenchmark(file).check_regression("t", {"ms": 1.0})["machine"]["same"] is True
    assert fingerprint() == fingerprint()
    assert made.baselines["t"]["version"]


def test_what_cannot_be_compared_is_listed(file: Path) -> None:
    found = checked(
        file,
        {
            "gone_ms": 1.0,
            "zero_ms": 0,
            "absent_ms": None,
            "text": "x",
            "flag": True,
            "grown_mb": -1.0,
            "ms": 2,
        },
        {"new_ms": 1.0, "zero_ms": 5, "absent_ms": 3.0, "text": "x", "flag": True, "grown_mb": 1.0, "ms": 2},
    )
    assert found["status"] == "pass"
    assert {each["metric"]: each["reason"] for each in found["not_compared"]} == {
        "gone_ms": "it was not measured now",
        "new_ms": "it is not in the baseline",
        "zero_ms": "its baseline is 0",
        "absent_ms": "it is absent in the baseline",
        "text": "it is no number in the baseline",
        "flag": "it is no number in the baseline",
        "grown_mb": "it is below 0 in the baseline",
    }


def test_figures_without_names_are_refused(file: Path) -> None:
    made = benchmark(file)
    with pytest.raises(UsageError, match="not list"):
        made.check_regression("t", [1.0, 2.0])  # type: ignore[arg-type]
    made.record_baseline("t", {"ms": 1.0})
    with pytest.raises(UsageError, match="not NoneType"):
        made.check_regression("t", None)  # type: ignore[arg-type]


def test_nothing_compared_is_no_pass(file: Path) -> None:
    assert checked(file, {"a_ms": 1.0}, {"b_ms": 1.0})["status"] == "nothing compared"
    assert checked(file, {"p95_ms": 1.0}, {"p95_ms": None})["status"] == "nothing compared"


@pytest.mark.parametrize("metric", ["error_rate", "results.error_rate", "http-errors", "errorCount"])
def test_the_first_error_is_a_regression(file: Path, metric: str) -> None:
    found = checked(file, {metric: 0.0}, {metric: 0.02})
    assert (found["status"], found["regressions"][0]["change_percent"]) == ("regression", None)
    assert checked(file, {metric: 0.0}, {metric: 0.0})["status"] == "pass"


def test_a_nan_is_absent(file: Path) -> None:
    made = benchmark(file)
    made.record_baseline("t", {"ms": math.nan, "other_ms": 1.0})
    made.save_baselines()
    assert benchmark(file).baselines["t"]["metrics"] == {"ms": None, "other_ms": 1.0}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "it is not JSON"),
        (b'{"t": {"metrics": {"ms"', "it is not JSON"),
        (b"\xff\xfe", "it is not UTF-8 text"),
        (b"[1, 2]", "it holds no object"),
        (b'{"t": 3}', "the baseline 't' has no metrics"),
        (b'{"t": {"metrics": []}}', "the baseline 't' has no metrics"),
    ],
)
def test_a_broken_file_is_a_clear_error(file: Path, content: bytes, says: str) -> None:
    file.write_bytes(content)
    with pytest.raises(UsageError, match=says) as caught:
        benchmark(file)
    assert str(file) in str(caught.value)
    assert file.read_bytes() == content  # it is left for whoever can mend it


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Could not read the baselines"):
        benchmark(tmp_path)


def test_a_file_that_cannot_be_written_stays_as_it_was(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = benchmark(file)
    made.record_baseline("t", {"ms": 1.0})
    made.save_baselines()
    content = file.read_bytes()
    made.record_baseline("t", {"ms": 2.0})

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("pathlib.Path.replace", refuse)
        with pytest.raises(LabError, match="No space left"):
            made.save_baselines()
    assert file.read_bytes() == content
    assert list(file.parent.iterdir()) == [file]
    with pytest.raises(LabError, match="Could not write"):
        benchmark(file.parent / "missing" / "file.json").save_baselines()


@given(
    baseline=st.dictionaries(
        st.text(max_size=20), st.none() | st.floats() | st.integers() | st.text(max_size=5)
    ),
    now=st.dictionaries(st.text(max_size=20), st.none() | st.floats() | st.integers() | st.booleans()),
)
def test_any_figures_can_be_checked(
    baseline: dict[str, Any], now: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    made = PerformanceBenchmark(tmp_path_factory.getbasetemp() / "none.json", machine=HERE, version="v")
    made.record_baseline("t", baseline)
    found = made.check_regression("t", now)
    assert found["status"] in {"regression", "improvement", "pass", "nothing compared"}
    assert len(found["changes"]) + len(found["not_compared"]) == len({**baseline, **now})
