"""Version 2 of cgroups by its files: what is written to them and what is made of what they say.

The files are ordinary ones here, as most machines that run these tests have no version 2 with controllers to
give away; `tools/cgroup2_vm.py` runs the other tests of boxes on a kernel that has.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lambent_lab.sandbox import hierarchies, make_box, v2

MB = 1 << 20


def box_folder(path: Path, **texts: str) -> Path:
    """A cgroup as the kernel makes it: with its files in it."""
    os.makedirs(path, exist_ok=True)  # noqa: PTH103 - a test replaces Path.mkdir by this
    files = {
        "cgroup.procs": "", "cgroup.freeze": "0\n", "cgroup.events": "populated 1\nfrozen 0\n",
        "cpu.max": "max 100000\n", "cpu.stat": "usage_usec 1500\nuser_usec 1000\nnr_periods 3\n",
        "memory.max": "max\n", "memory.swap.max": "max\n", "memory.oom.group": "0\n",
        "memory.peak": "20971520\n", "memory.events": "low 0\nhigh 0\nmax 7\noom 2\noom_kill 1\n",
        "pids.max": "max\n", "cgroup.kill": "",
    }  # fmt: skip
    for name, text in {**files, **texts}.items():
        (path / name).write_text(text)
    return path


@pytest.mark.parametrize(
    ("memory_mb", "written"), [(128, "1447 20000"), (1769, "20000 20000"), (10_240, "115772 20000")]
)
def test_the_share_is_written_as_a_quota_of_20_ms(tmp_path: Path, memory_mb: int, written: str) -> None:
    folder = box_folder(tmp_path)
    cpu = v2.V2Cpu(folder)
    cpu.limit(memory_mb / 1769)
    assert (folder / "cpu.max").read_text().rstrip("\n") == written
    assert cpu.used_ns() == 1_500_000


def test_the_memory_limit_takes_swap_away_and_kills_the_whole_box(tmp_path: Path) -> None:
    folder = box_folder(tmp_path)
    memory = v2.V2Memory(folder, 256 * MB)
    texts = [(folder / f"memory.{name}").read_text()[:9].strip() for name in ("max", "swap.max", "oom.group")]
    assert texts == [str(256 * MB), "0ax", "1"]  # a file of the kernel is replaced, these are written over
    assert (memory.peak(), memory.kills()) == (20 * MB, 1)
    for name in ("memory.peak", "memory.swap.max", "memory.oom.group"):
        (folder / name).unlink()
    assert v2.V2Memory(folder, MB).peak() is None  # before Linux 5.19


def test_a_freeze_is_what_the_kernel_confirms(tmp_path: Path) -> None:
    folder = box_folder(tmp_path)
    freezer = v2.V2Freezer(folder)
    freezer.begin()
    assert (folder / "cgroup.freeze").read_text().startswith("1")
    assert not freezer.frozen()
    (folder / "cgroup.events").write_text("populated 1\nfrozen 1\n")
    assert freezer.frozen()
    freezer.thaw()
    assert (folder / "cgroup.freeze").read_text().startswith("0")


@pytest.mark.parametrize("at_once", [True, False])
def test_a_tree_is_killed_at_once_or_one_by_one(tmp_path: Path, at_once: bool) -> None:
    folder = box_folder(tmp_path)
    if not at_once:
        (folder / "cgroup.kill").unlink()  # before Linux 5.14
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as child:
        try:
            (folder / "cgroup.procs").write_text(f"{child.pid}\n")
            tree = v2.V2Tree(folder)
            assert tree.pids() == [child.pid]
            tree.kill()
            if at_once:
                assert (folder / "cgroup.kill").read_text() == "1"
            else:
                assert child.wait(30) == -signal.SIGKILL
        finally:
            child.kill()


def test_a_box_takes_from_each_version_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd often delegates memory and pids, but not cpu."""
    parent = tmp_path / "slice"
    parent.mkdir()
    make = Path.mkdir

    def mkdir(self: Path, *args: object, **kwargs: object) -> None:
        make(self, *args, **kwargs)  # type: ignore[arg-type]
        box_folder(self)
        for name in ("cpu.max", "cpu.stat"):
            (self / name).unlink()

    found = hierarchies.Hierarchies(parent, frozenset({"memory", "pids"}), {})
    monkeypatch.setattr(hierarchies, "read", lambda: found)
    recorded: list[Path] = []
    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", mkdir)
        box = make_box("lambent-x", memory_mb=300, mark="-" * 32, record=recorded.append)
    assert recorded == [parent / "lambent-x"]
    assert box.kind == "cgroup-v2"
    assert box.memory.how == "cgroup v2 (memory.max)"
    assert box.freezer.how == "cgroup v2 (cgroup.freeze)"
    assert "SIGSTOP" in box.cpu.how
    assert box.counts_processes
    assert (parent / "lambent-x" / "pids.max").read_text().startswith("1024")
    assert box.entrances == ()  # the lab itself puts processes in
    assert [text.split(":")[0] for text in box.cannot] == ["cpu"]
