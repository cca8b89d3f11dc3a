"""Nothing outlives the lab: not after Ctrl-C, not after SIGKILL, not after an exception."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lambent_lab.sandbox import hierarchies, leftovers

if TYPE_CHECKING:
    from collections.abc import Iterator

LAB = """
import asyncio, sys
from pathlib import Path
from lambent_lab.environment import Environment
from lambent_lab.function import FunctionSpec

async def main():
    code = Path(sys.argv[1])
    spec = FunctionSpec(name="victim", code=code, handler="app.handler", timeout_s=600, memory_mb=512)
    async with Environment(spec) as environment:
        await environment.invoke(b"0")
        frozen = await environment.wait_frozen()
        from lambent_lab.sandbox import workspace
        print("ready", frozen, workspace().folder, environment.log_stream, flush=True)
        if sys.argv[2] == "raise":
            raise RuntimeError("the lab's own mistake")
        if sys.argv[2] == "leave":
            import os; sys.exit(0)
        if sys.argv[2] == "busy":
            await environment.invoke(b"300")
        await asyncio.Event().wait()

asyncio.run(main())
"""
APP = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
def handler(event, context):
    time.sleep(event)
"""


class Victim:
    """A lab in a process of its own, started and ready."""

    def __init__(self, code: Path, what: str, **env: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", LAB, str(code), what],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **env},
            start_new_session=True,
        )
        assert self.process.stdout is not None
        _, frozen, folder, self.stream = self.process.stdout.readline().split()
        assert frozen == "True"
        self.folder = Path(folder)

    def left(self) -> dict[str, object]:
        """What is left of it: processes, cgroups, the folder."""
        return {
            "processes": processes(self.stream.encode()) + processes(str(self.folder).encode(), "cmdline"),
            "cgroups": cgroups(self.folder.name),
            "folder": self.folder.exists(),
        }

    def gone(self) -> dict[str, object]:
        """Wait a while until nothing is left; return what still is."""
        limit = time.monotonic() + 10
        while any(self.left().values()) and time.monotonic() < limit:
            time.sleep(0.02)
        return {key: value for key, value in self.left().items() if value}

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()
        self.gone()


def processes(mark: bytes, file: str = "environ") -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if mark in (entry / file).read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def cgroups(name: str) -> list[Path]:
    found = hierarchies.read()
    parents = {*found.v1.values(), *([found.v2] if found.v2 is not None else [])}
    return [path for parent in parents for path in parent.glob(f"{name}-*")]


@pytest.fixture
def code(tmp_path: Path) -> Path:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "app.py").write_text(APP)
    return tmp_path / "code"


@pytest.fixture
def victims() -> Iterator[list[Victim]]:
    made: list[Victim] = []
    yield made
    for victim in made:
        victim.end()


@pytest.mark.parametrize("box", ["", "signal"])
@pytest.mark.parametrize("what", ["idle", "busy"])
def test_ctrl_c_leaves_nothing(code: Path, victims: list[Victim], what: str, box: str) -> None:
    victim = Victim(code, what, LAMBENT_LAB_BOX=box)
    victims.append(victim)
    assert len(victim.left()["processes"]) >= 3  # type: ignore[arg-type]
    victim.process.send_signal(signal.SIGINT)
    victim.process.communicate(timeout=20)
    assert victim.left() == {"processes": [], "cgroups": [], "folder": False}
    assert victim.process.returncode != 0


@pytest.mark.parametrize("what", ["raise", "leave"])
def test_an_exception_or_an_exit_leaves_nothing(code: Path, victims: list[Victim], what: str) -> None:
    victim = Victim(code, what)
    victims.append(victim)
    _, stderr = victim.process.communicate(timeout=20)
    assert ("the lab's own mistake" in stderr) is (what == "raise")
    assert victim.left() == {"processes": [], "cgroups": [], "folder": False}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("box", ["", "signal"])
def test_a_killed_lab_is_cleaned_up_by_its_guard(
    code: Path, victims: list[Victim], number: signal.Signals, box: str
) -> None:
    victim = Victim(code, "idle", LAMBENT_LAB_BOX=box)
    victims.append(victim)
    victim.process.send_signal(number)
    victim.process.wait(timeout=20)
    assert victim.gone() == {}


@pytest.mark.usefixtures("mounts")
@pytest.mark.parametrize("box", ["", "signal"])
def test_a_lab_killed_with_its_guard_is_cleaned_up_by_the_next(
    code: Path, victims: list[Victim], box: str
) -> None:
    victim = Victim(code, "idle", LAMBENT_LAB_BOX=box)
    victims.append(victim)
    for pid in processes(str(victim.folder).encode(), "cmdline"):
        os.kill(pid, signal.SIGKILL)
    victim.process.kill()
    victim.process.wait(timeout=20)
    left = victim.left()
    assert left["folder"]
    assert len(left["processes"]) >= 2  # type: ignore[arg-type]
    following = Victim(code, "idle", LAMBENT_LAB_BOX=box)
    victims.append(following)
    assert victim.left() == {"processes": [], "cgroups": [], "folder": False}
    assert following.folder.exists()


def test_a_living_labs_folder_and_strangers_are_left_alone(tmp_path: Path) -> None:
    mine = leftovers.make(tmp_path)
    dead = tmp_path / "lambent-999999999-1-abc"
    dead.mkdir()
    (dead / "journal").write_text("cgroup /sys/fs/cgroup/somebody\nmark short\ncgroup /proc/self\n")
    other = tmp_path / "lambent-notes"
    other.mkdir()
    linked = tmp_path / "lambent-999999999-2-abc"
    linked.symlink_to(other)
    assert leftovers.sweep(tmp_path) == [dead]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([mine.name, other.name, linked.name])
    assert not leftovers.owner_is_dead(mine.name)
    assert leftovers.start_time(999999999) is None


def test_a_folder_that_is_still_written_to_goes_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "lambent-1-1-abc"
    folder.mkdir()
    remove, calls = shutil.rmtree, list[Path]()

    def late(path: Path, *, ignore_errors: bool) -> None:
        calls.append(path)
        if len(calls) == 1:
            (path / "late.pyc").touch()  # as a compiler does that was under way: the folder is not empty
        else:
            remove(path, ignore_errors=ignore_errors)

    monkeypatch.setattr(shutil, "rmtree", late)
    leftovers.clean(folder)
    assert calls == [folder, folder]
    assert not folder.exists()


TOOL = """
import subprocess, sys
from lambent_lab.sandbox import workspace
place = workspace()
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env=place.tool_environment())
print(place.folder.name, flush=True)
sys.stdin.read()
"""


def test_a_tool_does_not_outlive_a_killed_lab() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", TOOL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as lab:
        assert lab.stdout is not None
        mark = lab.stdout.readline().strip().encode()
        assert len(processes(mark)) == 1
        lab.kill()
    limit = time.monotonic() + 30
    while processes(mark) and time.monotonic() < limit:
        time.sleep(0.01)  # the guard is another process: nothing to await
    assert processes(mark) == []
