"""`lambent trace`: what is stored, listed and drawn."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from rich.cells import cell_len

from lambent_lab.commands import main
from lambent_lab.traces import SpanRecord, Store

if TYPE_CHECKING:
    from pathlib import Path

T0 = 1_795_253_400_123_000_000
FIRST, SECOND = "1" * 32, "2" * 32


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "traces.db"
    monkeypatch.setenv("LAMBENT_TRACES", str(path))
    return path


@pytest.fixture
def filled(path: Path) -> Path:
    with Store(path) as store:
        for trace, name in ((FIRST, "first"), (SECOND, "sécond\x1b[31m " + "x" * 60)):
            root = SpanRecord(
                trace_id=trace,
                span_id="a" * 16,
                name=name,
                start_ns=T0,
                end_ns=T0 + 20_000_000,
                attributes={"http.route": "/orders"},
                resource={"service.name": "orders"},
            )
            child = SpanRecord(
                trace_id=trace,
                span_id="b" * 16,
                parent_span_id="a" * 16,
                name="child",
                start_ns=T0,
                end_ns=T0 + 5_000_000,
                status="ERROR",
            )
            store.add([child, root])
    return path


def test_nothing_stored_yet(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "ls"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "No traces" in captured.err
    assert main(["trace", "ls", "--json"]) == 0
    assert capsys.readouterr() == ("", "")
    assert main(["trace", "show", "last"]) == 1
    assert "No trace is stored yet" in capsys.readouterr().err
    assert not path.exists()


def test_the_list(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "ls"]) == 0
    heading, second, first = capsys.readouterr().out.splitlines()
    assert heading.split() == ["trace", "started", "(UTC)", "duration", "spans", "errors", "what"]
    assert first == f"{'1' * 16} 11-21 09:30:00   20.0 ms     2      1 orders: first"
    assert second.startswith("2" * 16)
    assert r"\x1b" in second
    assert cell_len(second) <= 80
    assert main(["trace", "ls", "--limit", "1"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_the_list_as_json(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "ls", "--json"]) == 0
    second, first = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first == {
        "trace_id": FIRST, "name": "first", "service": "orders", "start_ns": T0, "duration_ms": 20.0,
        "spans": 2, "errors": 1,
    }  # fmt: skip
    assert second["trace_id"] == SECOND


def test_a_trace_is_drawn(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "show", "111"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"trace {FIRST}\n")
    assert "ERROR" in out
    assert "\x1b" not in out
    assert "http.route" not in out
    assert main(["trace", "show", "last", "-a", "--width", "60"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"trace {SECOND}\n")
    assert "http.route = /orders" in out
    assert max(cell_len(line) for line in out.splitlines()) <= 60


def test_a_trace_as_json(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "show", FIRST, "--json"]) == 0
    trace = json.loads(capsys.readouterr().out)
    assert trace["trace_id"] == FIRST
    assert {span["name"] for span in trace["spans"]} == {"first", "child"}


@pytest.mark.parametrize(
    ("wanted", "code", "said"), [("9", 1, "No stored trace begins with 9"), ("xyz", 1, "not a trace id")]
)
def test_traces_that_are_not_there(
    filled: Path, wanted: str, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["trace", "show", wanted]) == code
    assert said in capsys.readouterr().err


def test_a_file_that_is_not_ours(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_text("a letter\n" * 100)
    assert main(["trace", "ls"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert path.read_text() == "a letter\n" * 100


SHOW = "from lambent_lab.commands import main; raise SystemExit(main(['trace', 'show', 'last', '-a']))"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_an_output_that_cannot_show_blocks_gets_ascii(
    filled: Path, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    run = subprocess.run([sys.executable, "-c", SHOW], capture_output=True, timeout=60, check=True)
    text = run.stdout.decode(encoding)
    assert ("█" in text) == (encoding == "utf-8")
    assert ("##" in text) == (encoding != "utf-8")
