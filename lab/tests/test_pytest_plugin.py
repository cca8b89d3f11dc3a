"""The fixture `lab`, in a pytest of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

LAB = Path(__file__).resolve().parents[1]
TESTS = """
import pytest

@pytest.fixture
def hello(lab, tmp_path):
    (tmp_path / "app.py").write_text("def handler(event, context): return {'got': event}")
    return lab.function("hello", code=tmp_path, handler="app.handler", memory=256, timeout=30)

def test_a_function_runs(hello):
    cold, warm = hello.invoke({"n": 1}), hello.invoke([2])
    assert (cold.payload, warm.payload) == ({"got": {"n": 1}}, {"got": [2]})
    assert (cold.cold, warm.cold, warm.error) == (True, False, None)
    assert warm.report.memory_mb == 256
    assert "REPORT" in warm.log
    assert warm.spans == []

def test_another_test_has_another_function(hello, lab):
    assert hello.invoke().cold
    assert lab.otlp_url.startswith("http://127.0.0.1")
"""


def test_the_fixture_gives_a_lab(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(TESTS)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "lambent_lab.pytest_plugin", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env={**os.environ, "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_loading_the_plugin_loads_nothing_else() -> None:
    program = (
        "import sys, pytest; before = set(sys.modules); import lambent_lab.pytest_plugin;"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["lambent_lab", "lambent_lab.pytest_plugin"]


def test_pytest_finds_the_plugin_by_its_entry_point() -> None:
    project = tomllib.loads((LAB / "pyproject.toml").read_text())["project"]
    # The same name as with `-p`: pytest does not load it twice.
    assert project["entry-points"]["pytest11"] == {"lambent_lab.pytest_plugin": "lambent_lab.pytest_plugin"}
