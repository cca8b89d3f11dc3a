from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from lambent_lab.errors import LabError, UsageError
from lambent_lab.measure.results import SCHEMA, dumps, loads, read, write_text

STORED = Path(__file__).parent / "data" / "performance-results.json"


def test_a_file_comes_back_as_it_was_written(tmp_path: Path) -> None:
    results = read(STORED)
    write_text(tmp_path / "again.json", dumps(results))
    assert read(tmp_path / "again.json") == results
    assert results["schema"] == SCHEMA


def test_unknown_keys_of_a_later_minor_version_are_ignored() -> None:
    document = json.loads(STORED.read_bytes())
    document["schema"] = "lambent.performance-results/1.3"
    document["invented later"] = 1
    assert loads(json.dumps(document))["seed"] == document["seed"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "not JSON"),
        ("[]", "not a lambent.performance-results file"),
        ('{"schema": 1}', "not a lambent.performance-results file"),
        ('{"schema": "lambent.performance-results/2"}', "its schema is lambent.performance-results/2"),
        ('{"schema": "lambent.performance-results/1"}', "incomplete: .*samples.* missing"),
    ],
)
def test_other_files_are_refused_with_a_reason(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Could not read"):
        read(tmp_path / "none.json")


def test_numbers_that_json_does_not_have_are_refused() -> None:
    results = read(STORED)
    results["elapsed_s"] = float("nan")
    with pytest.raises(ValueError, match="JSON"):
        dumps(results)


def test_writing_replaces_the_file_in_one_step_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text("old")
    write_text(path, "new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]
    fresh = tmp_path / "plain"
    fresh.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(fresh.stat().st_mode)


def test_a_file_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(LabError, match=r"Could not write .*folder"):
        write_text(tmp_path / "folder", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    with pytest.raises(LabError, match="Could not write"):
        write_text(tmp_path / "missing" / "file", "text")
