"""The commands that the examples' READMEs name, as their readers run them."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = [
    (readme.parent.name, line.strip().removeprefix(".venv/bin/"))
    for readme in sorted((ROOT / "examples").glob("*/README.md"))
    for line in readme.read_text().splitlines()
    if line.strip().startswith(".venv/bin/lambent invoke") and "--runtime" not in line and "sk-" not in line
]
FAILING = ("damaged-order", "unknown-model")


def test_every_example_with_python_says_how_it_is_run() -> None:
    with_app = {path.parent.name for path in (ROOT / "examples").glob("*/app.py")}
    assert with_app <= {name for name, _ in COMMANDS}


@pytest.mark.parametrize("command", [command for _, command in COMMANDS])
def test_a_command(command: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lambent_lab", *shlex.split(command)[1:]],
        cwd=ROOT,
        env={**os.environ, "NO_COLOR": "1", "LAMBENT_TRACES": str(tmp_path / "traces.db")},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == int(any(event in command for event in FAILING)), done.stdout + done.stderr
    assert "\ntrace " in done.stdout
