"""Counting in the real lab, apart from what is timed."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest

from lambent_lab.measure.bench import Benchmark
from lambent_lab.measure.gate.counting import count, package_bytes
from lambent_lab.measure.target import Target
from lambent_lab.measure.testing import FakeLab
from lambent_lab.service import Lab

HELLO = Path(__file__).resolve().parents[2] / "examples" / "hello"


def target(code: Path, **env: str) -> Target:
    return Target(text="hello", code=code, handler="app.handler", label="hello", env=env)


def test_the_size_of_a_package_leaves_out_what_python_caches(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_bytes(b"x" * 100)
    (tmp_path / "inner" / "__pycache__").mkdir(parents=True)
    (tmp_path / "inner" / "data").write_bytes(b"y" * 11)
    (tmp_path / "inner" / "__pycache__" / "app.pyc").write_bytes(b"z" * 1000)
    (tmp_path / ".lambent").mkdir()
    (tmp_path / ".lambent" / "traces.db").write_bytes(b"z" * 1000)
    assert package_bytes(tmp_path) == 111
    with zipfile.ZipFile(tmp_path / "code.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("app.py", "x" * 100)
    assert package_bytes(tmp_path / "code.zip") == 100
    assert package_bytes(tmp_path / "absent") is None
    (tmp_path / "broken.zip").write_text("no zip")
    assert package_bytes(tmp_path / "broken.zip") is None


def test_equal_runs_have_equal_counts_and_a_failing_function_has_few(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("def handler(event, context):\n    return 1 / 0\n")
    benchmark = Benchmark(baseline=target(HELLO), candidate=target(tmp_path))
    sides = {
        "first": target(HELLO),
        "second": target(HELLO),
        "untraced": target(HELLO, OTEL_SDK_DISABLED="true"),
        "failing": target(tmp_path),
    }
    steps: list[str] = []
    with Lab() as lab:
        found = count(benchmark, sides, lab, steps.append)
    assert steps == list(sides)
    assert found["first"]["package-bytes"] == found["second"]["package-bytes"] > 500
    # Identifiers and times are compressed to a few bytes more or less.
    assert found["second"]["exported-bytes"] == pytest.approx(found["first"]["exported-bytes"], rel=0.05)
    assert found["first"]["exported-bytes"] > 300
    assert found["untraced"]["exported-bytes"] == 0
    assert found["failing"].keys() == {"package-bytes"}
    if shutil.which("strace") and "system-calls" in found["first"]:
        assert found["second"]["system-calls"] == pytest.approx(found["first"]["system-calls"], rel=0.05)
        assert found["untraced"]["system-calls"] < found["first"]["system-calls"]


def test_where_there_is_no_lab_the_package_is_counted_alone() -> None:
    benchmark = Benchmark(baseline=target(HELLO), candidate=target(HELLO))
    assert count(benchmark, {"only": target(HELLO)}, FakeLab())["only"].keys() == {"package-bytes"}
