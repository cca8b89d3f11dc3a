from __future__ import annotations

import os
import platform
import socket
import sys
from typing import TYPE_CHECKING

from lambent_lab.measure.machine import describe, load_average

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_the_machine_is_described_without_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    named = os.uname_result(["Linux", "canary-host", *os.uname()[2:]])
    monkeypatch.setattr(os, "uname", lambda: named)
    monkeypatch.setattr(socket, "gethostname", lambda: "canary-host")
    monkeypatch.setattr(platform, "_uname_cache", None)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 2, 5})
    assert platform.node() == "canary-host"
    facts = describe()
    assert facts["cores_usable"] == 3
    assert facts["kernel"] == platform.release()
    assert facts["python"] == facts["function_python"] == platform.python_version()
    assert facts["memory_mb"] > 100
    assert "canary" not in str(facts)


def test_another_interpreter_is_asked_for_its_version(tmp_path: Path) -> None:
    link = tmp_path / "python"
    link.symlink_to(sys.executable)
    assert describe(link)["function_python"] == platform.python_version()


def test_an_interpreter_that_does_not_run_has_no_version(tmp_path: Path) -> None:
    assert describe(tmp_path / "none")["function_python"] is None


def test_a_system_that_does_not_say_what_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.delattr(os, "getloadavg")
    assert describe()["cores_usable"] == os.cpu_count()
    assert load_average() is None


def test_load_averages_are_three_numbers() -> None:
    load = load_average()
    assert load is not None
    assert len(load) == 3
