"""`lambent soak` with the real lab, small, and what it prints."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from lambent_lab.commands import main
from lambent_lab.commands import soak as soak_command
from lambent_lab.measure import read
from lambent_lab.measure.testing import FakeFunction, FakeLab, FakeResult

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FUNCTION = """
import os

import lambent

tracer = lambent.init(service_name="soaked")
KEPT = []


@tracer.handler
def handler(event, context):
    with tracer.trace("work"):
        if os.environ.get("OTEL_SDK_DISABLED") != "true":
            KEPT.append(bytearray(event["leak"]))
    return None
"""


def soak(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable, "-c", "import sys; from lambent_lab.commands import main; sys.exit(main())",
            "soak", "code/app.handler", "--event", "event.json", *options,
        ],
        cwd=folder, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(("leak", "code"), [(8192, 1), (0, 0)])
def test_a_leak_with_tracing_is_found_and_none_is_none(tmp_path: Path, leak: int, code: int) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "app.py").write_text(FUNCTION)
    (tmp_path / "event.json").write_text(json.dumps({"leak": leak}))
    done = soak(tmp_path, "--invocations", "400", "--blocks", "40", "--max-growth", "3000")
    assert done.returncode == code, done.stdout + done.stderr
    results = read(tmp_path / "soak-results.json")
    document = json.loads((tmp_path / "soak-results.json").read_text())
    side = document["soak"]["sides"]["candidate"]
    totals = side["spans"]
    assert (totals["made"], totals["received"], totals["lost"], totals["unsaid"]) == (800, 800, 0, 0)
    assert document["soak"]["sides"]["baseline"]["spans"]["received"] == 0
    assert (results["kind"], side["environments"]) == ("soak", 1)
    for block in side["blocks"]:
        assert block["rss_mb"] is None or 5 < block["rss_mb"] <= block["peak_rss_mb"] + 1 < 200
    assert ("grows by" in " ".join(done.stdout.split())) is bool(leak)
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "all 800 spans arrived" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--invocations", "3"], "3 is not in the range"),
        (["--output", "nowhere/file.json"], "Cannot write nowhere/file.json"),
        (["--env", "OTEL_SDK_DISABLED=true"], "Both sides would have"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    refused: Callable[..., str], options: list[str], message: str
) -> None:
    assert message in refused("soak", "code/app.handler", *options)


class _Lab(FakeLab):
    """A lab that runs nothing, and keeps what `freeze` was."""

    def function(self, name: str, *, freeze: bool = True, **options: Any) -> FakeFunction:
        assert not freeze
        return super().function(name, **options)


def test_an_interrupted_soak_is_gone_on_with_by_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(function: FakeFunction, _environment: int, index: int, _result: FakeResult) -> None:
        if function.traced and index == 33:
            raise KeyboardInterrupt

    lab = _Lab(change=interrupt)
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "app.py").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(soak_command, "make_lab", lambda: nullcontext(lab))
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    begun = ["soak", "code/app.handler", "--invocations", "100", "--no-freeze", "--output", "s.json"]
    begun += ["--python", version, "--html", "s.html"]
    monkeypatch.setattr("sys.argv", ["lambent", *begun])
    assert main(begun) == 130
    assert "Go on with it: lambent soak --resume s.json\n" in capsys.readouterr().err
    lab.change = None
    (tmp_path / "s.html").unlink()
    assert main(["soak", "--resume", "s.json"]) == 0
    assert "100 invocations traced" in (tmp_path / "s.html").read_text()
    results = read(tmp_path / "s.json")
    assert (results["interrupted"], results["counts"]["invocations"]) == (False, 200)
    assert results["command"] == ["lambent", *begun]
    assert {function.runtime for function in lab.functions} == {f"python{version}"}
    changed = ["soak", "code/app.handler", "--invocations", "50", "--no-freeze", "--resume", "s.json"]
    assert main(changed) == 2
    assert "(--invocations): 100 there, 50 now" in capsys.readouterr().err
    assert main(["soak"]) == 2
    assert "Name a function" in capsys.readouterr().err
