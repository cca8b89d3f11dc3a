from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from lambent_lab import report
from lambent_lab.errors import LabError, UsageError
from lambent_lab.measure.results import SCHEMA, dumps, loads, no_sections, read, write_text

STORED = Path(__file__).parent / "data" / "performance-results.json"
OLD = Path(__file__).parent / "data" / "performance-results-1.json"


def test_a_file_comes_back_as_it_was_written(tmp_path: Path) -> None:
    results = read(STORED)
    write_text(tmp_path / "again.json", dumps(results))
    assert read(tmp_path / "again.json") == results
    assert results["schema"] == SCHEMA


def test_a_file_of_version_1_is_brought_into_the_shape_of_version_2() -> None:
    written = json.loads(OLD.read_bytes())
    assert written["schema"] == "lambent.performance-results/1"
    results = read(OLD)
    assert results["schema"] == SCHEMA
    assert results["kind"] == "bench"
    assert results["imports"] == {}
    assert {each["kind"] for each in results["targets"].values()} == {"lab"}
    assert {sample["python"] for sample in results["samples"]} == {None}
    assert [(cell["memory_mb"], cell["variant"]) for cell in results["summary"]] == [
        (128, "candidate"),
        (512, "candidate"),
    ]
    for cell, before in zip(results["summary"], written["summary"], strict=True):
        assert cell["metrics"] == before["metrics"]
        assert set(cell["phases"]) == {"candidate", "baseline"}
        # What version 1 did not record is absent, not 0.
        assert all(figure is None for side in cell["phases"].values() for figure in side.values())
    assert loads(dumps(results)) == results


@pytest.mark.parametrize("form", report.FORMATS)
def test_a_file_of_version_1_can_still_be_reported(form: str) -> None:
    results = read(OLD)
    text = report.render(results, form)
    assert ("hello/app.handler" in text) == (form != "csv")
    if form == "terminal":
        assert "all 300 spans arrived" in text


def test_a_file_of_another_kind_needs_the_header_only() -> None:
    document = json.loads(STORED.read_bytes())
    for section in no_sections():
        del document[section]
    document["kind"] = "gate"
    results = loads(json.dumps(document))
    assert results["kind"] == "gate"
    assert results["samples"] == []
    assert results["targets"] == {}


def test_unknown_keys_of_a_later_minor_version_are_ignored() -> None:
    document = json.loads(STORED.read_bytes())
    document["schema"] = "lambent.performance-results/2.3"
    document["invented later"] = 1
    assert loads(json.dumps(document))["seed"] == document["seed"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "not JSON"),
        ("[]", "not a lambent.performance-results file"),
        ('{"schema": 1}', "not a lambent.performance-results file"),
        ('{"schema": "lambent.performance-results/3"}', "its schema is lambent.performance-results/3"),
        ('{"schema": "lambent.performance-results/2", "kind": "bench"}', "incomplete: .*samples.* missing"),
        ('{"schema": "lambent.performance-results/2", "kind": "soak"}', "incomplete: .*machine.* missing"),
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


def test_what_is_no_file_of_its_own_is_written_to_and_stays_what_it_is(tmp_path: Path) -> None:
    """As root, a file in the place of /dev/null would be everybody's."""
    kept, link, fifo = tmp_path / "kept", tmp_path / "link", tmp_path / "fifo"
    kept.write_text("something longer")
    link.symlink_to(kept)
    write_text(link, "new")
    assert link.is_symlink()
    assert kept.read_text() == "new"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_text(fifo, "through the pipe")
        assert os.read(reader, 100) == b"through the pipe"
    finally:
        os.close(reader)
    assert fifo.is_fifo()
    with pytest.raises(LabError, match=r"Could not write /dev/full: No space left"):
        write_text(Path("/dev/full"), "text")
    assert Path("/dev/full").is_char_device()
    assert {path.name for path in tmp_path.iterdir()} == {"kept", "link", "fifo"}


def test_a_file_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(LabError, match=r"Could not write .*folder"):
        write_text(tmp_path / "folder", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    with pytest.raises(LabError, match="Could not write"):
        write_text(tmp_path / "missing" / "file", "text")
