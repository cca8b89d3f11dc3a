from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner, Result

from lambent_lab import report as reports
from lambent_lab.commands import report
from lambent_lab.errors import LabError, UsageError
from lambent_lab.measure import loads, read

STORED = Path(__file__).parent / "data" / "performance-results.json"
OLD = Path(__file__).parent / "data" / "performance-results-1.json"


def run(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(report.command, [str(each) for each in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_it_prints_the_report() -> None:
    result = run(STORED)
    assert result.exit_code == 0
    assert result.stdout == reports.render(read(STORED), "terminal")


def test_it_writes_several_files_at_once_and_prints_nothing(tmp_path: Path) -> None:
    names = {"html": "a.html", "md": "a.md", "csv": "a.csv", "junit": "a.xml", "json": "a.json"}
    options = [part for option, name in names.items() for part in (f"--{option}", tmp_path / name)]
    result = run(STORED, *options)
    assert result.exit_code == 0
    assert result.stdout == ""
    assert result.stderr.splitlines() == [f"Wrote {tmp_path / name}." for name in names.values()]
    assert (tmp_path / "a.html").read_text().startswith("<!DOCTYPE html>")
    assert (tmp_path / "a.md").read_text().startswith("### ")
    assert len(list(csv.reader((tmp_path / "a.csv").read_text().splitlines()))) == 269
    assert ET.parse(tmp_path / "a.xml").getroot().tag == "testsuites"
    assert read(tmp_path / "a.json") == read(STORED)


@pytest.mark.parametrize("option", ["html", "md", "csv", "junit", "json"])
def test_a_dash_is_the_standard_output(option: str) -> None:
    form = {"md": "markdown"}.get(option, option)
    assert run(STORED, f"--{option}", "-").stdout_bytes.decode() == reports.render(read(STORED), form)


def test_json_without_a_file_is_printed_in_the_newest_format() -> None:
    assert loads(run(OLD, "--json").stdout) == read(OLD)
    assert json.loads(run(OLD, "--json").stdout)["schema"] == "lambent.performance-results/2"


@pytest.mark.parametrize("form", reports.FORMATS)
def test_a_format_can_be_named(tmp_path: Path, form: str) -> None:
    assert run(STORED, "--format", form).stdout_bytes.decode() == reports.render(read(STORED), form)
    run(STORED, "--format", form, "-o", tmp_path / "out")
    assert (tmp_path / "out").read_bytes().decode() == reports.render(read(STORED), form)


def test_two_reports_cannot_go_to_one_place(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="both go to the standard output"):
        run(STORED, "--md", "-", "--csv", "-")
    with pytest.raises(UsageError, match=r"both go to .*x"):
        run(STORED, "--md", tmp_path / "x", "--csv", tmp_path / "x")


def test_what_cannot_be_written_or_read_is_said_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="Could not write"):
        run(STORED, "--md", tmp_path / "none" / "x")
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(UsageError, match="not a lambent"):
        run(tmp_path / "bad.json")


def test_half_a_surrogate_pair_in_a_name_can_be_written(tmp_path: Path) -> None:
    document = json.loads(STORED.read_bytes())
    document["targets"]["candidate"]["label"] = "a\ud800b"
    path = tmp_path / "half.json"
    path.write_text(json.dumps(document))
    options = [f"--{each}={tmp_path / each}" for each in ("html", "md", "csv", "junit", "json")]
    assert run(path, *options).exit_code == 0
    assert read(tmp_path / "json") == read(path)


def test_a_terminal_that_knows_only_ascii_gets_only_ascii() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lambent_lab", "report", str(STORED)],
        env={**os.environ, "PYTHONIOENCODING": "ascii", "COLUMNS": "80"},
        capture_output=True,
        check=True,
        timeout=100,
    )
    text = done.stdout.decode("ascii")
    assert "cold start" in text
    assert max(map(len, text.splitlines())) <= 80
