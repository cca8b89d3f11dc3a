"""`lambent bench` with real processes in a real box. The function writes its spans without an SDK."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from lambent_lab.measure import read
from lambent_lab.measure.importtree import flat

if TYPE_CHECKING:
    from pathlib import Path

FUNCTION = """
import json, os

OFF = os.environ.get("OTEL_SDK_DISABLED") == "true"


def span(context, number):
    return {
        "traceId": context.aws_request_id.replace("-", ""),
        "spanId": f"{number:016x}",
        "name": "work",
        "startTimeUnixNano": "1",
        "endTimeUnixNano": "2",
    }


def handler(event, context):
    if event.get("fail"):
        raise ValueError("as asked")
    if not OFF:
        spans = [span(context, 1), span(context, 2)]
        payload = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]})
        line = {"__otel_otlp_stdout": "test", "source": "test", "method": "POST", "payload": payload}
        line |= {"content-type": "application/json", "base64": False, "endpoint": "http://localhost/v1/traces"}
        print(json.dumps(line))
    return event
"""
COMMAND = [
    sys.executable,
    "-c",
    "import sys; from lambent_lab.commands import main; sys.exit(main())",
    "bench",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "spoken").mkdir()
    (tmp_path / "spoken" / "app.py").write_text(FUNCTION)
    return tmp_path


def bench(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "spoken/app.handler", *options],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_a_real_function_is_measured_cold_and_warm(folder: Path) -> None:
    options = ["--cold", "2", "--warm", "3", "--aa", "1", "--memory", "512", "--json"]
    done = bench(folder, *options)
    assert done.returncode == 0, done.stderr
    results = read(folder / "performance-results.json")
    assert json.loads(done.stdout) == results
    assert results["counts"] == {"samples": 8, "pairs": 2, "aa_pairs": 1, "invocations": 28, "failed": 0}
    for sample in results["samples"]:
        assert [invocation["cold"] for invocation in sample["invocations"]][:2] == [True, False]
        expected = 2 if sample["side"] == "candidate" else 0
        assert {invocation["spans"] for invocation in sample["invocations"]} == {expected}
        assert sample["values"]["init_ms"] > 1
        assert 0 < sample["values"]["warm_ms"] < sample["values"]["cold_ms"]
    for tree in (results["imports"]["candidate"], results["imports"]["baseline"]):
        assert {"app", "awslambdaric.bootstrap"} <= flat(tree).keys()
    [size] = results["summary"]
    assert size["phases"]["candidate"]["handler_ms"] is not None
    assert size["candidate"]["spans"]["delivered"] == 2 * 2 * 4
    assert size["baseline"]["spans"]["delivered"] == 0
    assert size["metrics"]["cold_ms"]["ratio"] is not None
    assert results["box"] is not None
    assert "spoken/app.handler" in (folder / "performance-report.html").read_text()


def test_a_failing_function_gets_no_speed(folder: Path) -> None:
    (folder / "event.json").write_text('{"fail": true}')
    done = bench(folder, "--event", "event.json")
    assert done.returncode == 1
    assert "ValueError: as asked" in " ".join(done.stdout.split())
    assert "cost (99% interval)" not in done.stdout


def test_ctrl_c_leaves_a_result_file_and_nothing_else(folder: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "spoken/app.handler", "--cold", "500", "--aa", "0"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            assert process.stderr.readline() == "bench: 1002 environments, 21004 invocations\n"
            assert process.stderr.readline().startswith("bench: environment 1 of 1002")
            process.send_signal(signal.SIGINT)
            stdout, stderr = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130, stderr
    assert "Interrupted after" in stdout
    results = read(folder / "performance-results.json")
    assert results["interrupted"]
    assert results["counts"]["pairs"] == 0
    assert sorted(path.name for path in folder.iterdir()) == [
        "performance-report.html",
        "performance-results.json",
        "spoken",
    ]
