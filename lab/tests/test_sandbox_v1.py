"""Version 1 of cgroups where the lab itself is limited, as it is in a container."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from lambent_lab.sandbox import hierarchies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def limited() -> Iterator[Callable[[int], Path]]:
    """Make a cgroup below this process's own that has so many µs of the CPU in each tenth of a second."""
    own = hierarchies.read().v1.get("cpu")
    if own is None:
        pytest.skip("no cgroup of version 1 with the cpu controller")
    folder = own / f"lambent-test-{os.getpid()}"

    def make(quota: int) -> Path:
        try:
            folder.mkdir()
            (folder / "cpu.cfs_period_us").write_text("100000")
            (folder / "cpu.cfs_quota_us").write_text(str(quota))
        except OSError as error:
            pytest.skip(f"no cgroup of version 1 can be made here: {error}")
        return folder

    yield make
    with contextlib.suppress(FileNotFoundError):
        folder.rmdir()


BOX = """
import sys
from pathlib import Path
Path(sys.argv[1], "cgroup.procs").write_text("0")
from lambent_lab.sandbox import make_box
box = make_box("box", memory_mb=1769, mark="-" * 32, record=lambda _: None, kind="cgroup-v1")
try:
    for vcpus in (2.0, 0.145, 0.5):
        box.cpu.limit(vcpus)
        print(Path(sys.argv[1], "box", "cpu.cfs_quota_us").read_text().strip())
    print(*box.cannot)
finally:
    box.destroy()
"""


@pytest.mark.parametrize(
    ("quota", "written"), [(40_000, ["8000", "2900", "8000"]), (150_000, ["30000", "2900", "10000"])]
)
def test_a_limited_lab_gives_what_it_has(
    limited: Callable[[int], Path], quota: int, written: list[str]
) -> None:
    command = [sys.executable, "-c", BOX, str(limited(quota))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    *quotas, cannot = done.stdout.splitlines()
    assert quotas == written
    assert f"cpu: the lab itself is limited to {quota / 100_000:.3g} vCPUs" in cannot


def test_the_least_of_all_that_are_above_counts(tmp_path: Path) -> None:
    two, one = tmp_path / "two", tmp_path / "two" / "one"
    one.mkdir(parents=True)
    assert hierarchies.allowance(one / "box") is None
    (two / "cpu.max").write_text("300000 100000\n")
    (one / "cpu.max").write_text("max 100000\n")
    assert hierarchies.allowance(one / "box") == 3
    for folder, quota in ((two, -1), (one, 25_000)):
        (folder / "cpu.cfs_quota_us").write_text(f"{quota}\n")
        (folder / "cpu.cfs_period_us").write_text("50000\n")
    assert hierarchies.allowance(one / "box") == 0.5
