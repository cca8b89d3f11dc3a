from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner

from lambent_lab.commands import bench, gate
from lambent_lab.errors import LabError, UsageError
from lambent_lab.measure import read
from lambent_lab.measure.testing import FakeFunction, FakeLab, FakeResult

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click.testing import Result


def slower(function: FakeFunction, _environment: int, _index: int, result: FakeResult) -> None:
    if "candidate" in function.name:
        result.report = replace(result.report, duration_ms=result.report.duration_ms * 1.4)


class Gate:
    """The command with a lab that runs nothing."""

    def __init__(self, lab: FakeLab) -> None:
        self.lab = lab

    @contextmanager
    def make(self) -> Iterator[FakeLab]:
        yield self.lab

    def __call__(self, *arguments: str) -> Result:
        # The made-up times depend on the order of the environments: always the same one.
        given = ("--base", "old/app.handler", "--candidate", "new/app.handler", "--seed", "1", *arguments)
        result = CliRunner().invoke(gate.command, given)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gate:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "app.py").touch()
    monkeypatch.chdir(tmp_path)
    made = Gate(FakeLab(spread=0.01))
    monkeypatch.setattr(bench, "make_lab", made.make)
    return made


def test_a_pass_ends_with_0_and_says_which_rule_decided(run: Gate) -> None:
    done = run()
    assert done.exit_code == 0
    assert "PASS: All " in done.stdout
    assert "\nDecided by: regression, " in done.stdout
    assert "99." in done.stdout
    assert "interval" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert sorted(path.name for path in Path().iterdir()) == ["new", "old"]


def test_a_fail_ends_with_1_and_writes_what_it_was_asked_for(run: Gate) -> None:
    run.lab.change = slower
    done = run(
        "--json", "g.json", "--markdown", "g.md", "--junit", "g.xml", "--html", "g.html", "--warm", "5"
    )
    assert done.exit_code == 1
    assert "Wrote g.json, g.md, g.xml and g.html." in done.stderr
    results = read(Path("g.json"))
    assert results["kind"] == "gate"
    assert results["gate"]["verdict"] == "FAIL"
    assert "FAIL: The candidate's " in Path("g.md").read_text().replace("\\", "")
    suite = ET.parse("g.xml").getroot()
    assert int(suite.attrib["failures"]) >= 1


def test_an_open_question_ends_with_3(run: Gate) -> None:
    run.lab.spread = 0.3
    done = run("--metric", "warm", "--pairs", "8,9")
    assert done.exit_code == 3
    assert "INCONCLUSIVE: " in done.stdout
    assert "INCONCLUSIVE after 8 pairs, INCONCLUSIVE after 9 pairs" in done.stdout.replace("\n", " ")


def test_json_can_go_to_standard_output(run: Gate) -> None:
    document = json.loads(run("--json", "-").stdout)
    assert document["gate"]["verdict"] == "PASS"
    assert json.loads(run("--json").stdout)["kind"] == "gate"
    assert document["command"][0] == "lambent"


def test_options_and_the_table_make_the_limits(run: Gate) -> None:
    Path("pyproject.toml").write_text(
        '[tool.lambent.gate]\nmax-regression = "50%"\nmetrics = ["warm"]\nwarm = 3\nmemory = 256\n'
    )
    run.lab.change = slower
    assert run().exit_code == 0
    document = json.loads(run("--json", "-", "--max-regression", "2%", "--metric", "cold,warm").stdout)
    assert document["gate"]["verdict"] == "FAIL"
    assert document["gate"]["config"]["metrics"] == ["cold", "warm"]
    assert document["settings"]["memory_mb"] == [256]
    assert document["settings"]["warm_per_sample"] == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--max-regression", "5"], "write 5%"),
        (["--metric", "wram"], "did you mean 'warm'"),
        (["--pairs", "3"], "fewer than 8"),
        (["--pairs", "a,b"], "not a list of numbers"),
        (["--memory", "1"], "from 128 to 10240"),
    ],
)
def test_wrong_usage_is_said_in_a_line(run: Gate, arguments: list[str], said: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert said in done.stderr


@pytest.mark.parametrize("base", ["main", "origin/main"])
def test_a_revision_without_its_prefix_is_told_apart(run: Gate, base: str) -> None:
    with pytest.raises(UsageError, match=f"write git:{base} for a revision"):
        run("--base", base)


def test_a_slip_in_the_table_is_said_before_anything_runs(run: Gate) -> None:
    Path("pyproject.toml").write_text("[tool.lambent.gate]\ncold-max = 900\n")
    with pytest.raises(UsageError, match="did you mean 'cold-max-ms'"):
        run()
    assert not run.lab.functions


def test_a_file_that_cannot_be_written_is_said_before_anything_runs(run: Gate) -> None:
    with pytest.raises(UsageError, match="Cannot write"):
        run("--json", "absent/g.json")
    assert not run.lab.functions


def test_the_comment_can_be_printed(run: Gate) -> None:
    done = run("--markdown", "-")
    assert done.stdout.startswith("#")
    assert not Path("-").exists()
    with pytest.raises(UsageError, match="both go to the standard output"):
        run("--markdown", "-", "--json")


@pytest.mark.parametrize("kind", [LabError, OSError])
def test_what_ends_the_measurement_is_no_fail(
    run: Gate, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    def broken() -> FakeLab:
        raise kind("no room for a lab")

    monkeypatch.setattr(bench, "make_lab", broken)
    done = run()
    assert done.exit_code == 3
    refused = "The operating system refused: " if kind is OSError else ""
    assert f"lambent: INCONCLUSIVE: {refused}no room for a lab\n" in done.stderr


def test_history_is_read_beside_the_table(run: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("--json", "main.json")
    Path("pyproject.toml").write_text('[tool.lambent.gate]\nhistory = "main.json"\n')
    inner = tmp_path / "inner"
    inner.mkdir()
    monkeypatch.chdir(inner)
    given = ("--base", "../old/app.handler", "--candidate", "../new/app.handler", "--seed", "1")
    done = CliRunner().invoke(gate.command, given)
    assert "another run, no verdict" in done.stdout.replace("\n", " ")


def test_a_real_import_and_real_counts(tmp_path: Path) -> None:
    """Two bundles in the real lab: one more package file, a failing candidate."""
    for name, source in (("old", "def handler(e, c): return e"), ("new", "def handler(e, c): return 1 / 0")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "app.py").write_text(source)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "lambent_lab", "gate", "--memory", "512"),
            *("--base", "old/app.handler", "--candidate", "new/app.handler"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "FAIL: 2 of 2 invocations of the candidate at 512 MB failed" in done.stdout
    assert "ZeroDivisionError" in done.stdout
