"""`lambent tune` as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


def tune(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "code").mkdir()
    (folder / "code" / "app.py").write_text(
        "def handler(event, context):\n    return sum(i * i for i in range(150000))\n"
    )
    return subprocess.run(
        [
            sys.executable, "-c", "import sys; from lambent_lab.commands import main; sys.exit(main())",
            "tune", "code/app.handler", *options,
        ],
        cwd=folder, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


def test_more_memory_is_faster_and_the_table_says_so(tmp_path: Path) -> None:
    done = tune(tmp_path, "--memory", "128,1769", "--cold", "2", "--warm", "3", "--timeout", "30")
    assert done.returncode == 0, done.stderr
    section = json.loads((tmp_path / "tune-results.json").read_text())["tune"]
    small, large = section["sizes"]
    # 128 MB come with a fourteenth of the CPU time; much of that is left to a busy machine.
    assert small["warm_ms"]["median"] > 1.5 * large["warm_ms"]["median"]
    assert section["choices"]["x86_64"]["fastest"]["memory_mb"] == 1769
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.split()[:1] == ["1769"] and " f" in line for line in lines)
    assert "There are no intervals" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--region", "mars-1"], "No prices are known of 'mars-1'"),
        (["--memory", "64"], "memory sizes from 128 to 10240"),
        (["--warm", "0"], "--warm 0 measures cold starts only"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(tmp_path: Path, options: list[str], message: str) -> None:
    done = tune(tmp_path, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
