"""Boxes with real processes in them: freezing, limits, counting, killing, in every kind there is here."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from lab.tests.processes import marked

from lambent_lab.environment import Environment
from lambent_lab.errors import UsageError
from lambent_lab.function import FunctionSpec
from lambent_lab.sandbox import Box, hierarchies, make_box, signals

Make = Callable[..., FunctionSpec]


def possible(kind: str) -> bool:
    """Try it: make a box of this kind and take it apart."""
    if kind == "signal":
        return True
    try:
        make_box("lambent-probe", memory_mb=128, mark="-" * 32, record=lambda _: None, kind=kind).destroy()
    except (UsageError, OSError):
        return False
    return True


KINDS = ["cgroup-v2", "cgroup-v1", "signal"]
best = next(kind for kind in KINDS if possible(kind))


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    chosen = str(request.param)
    if not possible(chosen):
        pytest.skip(f"no {chosen} box on this machine: its hierarchies are not there or not writable")
    monkeypatch.setenv("LAMBENT_LAB_BOX", chosen)
    return chosen


@pytest.fixture
def make(write_function: Make) -> Make:
    """Describe functions with this module's defaults."""
    return functools.partial(write_function, name="box", timeout_s=20)


TICKS = """
import threading, time
ticks = []
def tick():
    while True:
        ticks.append(time.monotonic())
        time.sleep(0.002)
threading.Thread(target=tick, daemon=True).start()
def handler(event, context):
    goal = len(ticks) + 3
    while len(ticks) < goal:
        time.sleep(0.001)
    gaps = [b - a for a, b in zip(ticks, ticks[1:])]
    return {"count": len(ticks), "gap": max(gaps, default=0)}
"""


def box_of(environment: Environment) -> Box:
    assert environment._premises is not None
    assert environment._premises.box is not None
    return environment._premises.box


async def test_a_background_thread_stands_still_between_invocations(make: Make, kind: str) -> None:
    async with Environment(make(TICKS, memory_mb=1769)) as environment:
        await environment.invoke(b"{}")
        assert await environment.wait_frozen()
        frozen_from = time.monotonic()
        box = box_of(environment)
        before = box.cpu.used_ns()
        await asyncio.sleep(0.4)  # the subject of the test: time passes, and nothing may happen in it
        after = box.cpu.used_ns()
        seen = json.loads((await environment.invoke(b"{}")).payload)
        assert environment.box.kind == kind
    assert before == after
    assert seen["gap"] >= 0.39
    assert seen["gap"] <= time.monotonic() - frozen_from


CHILDREN = """
import os, subprocess, sys, time
code = "import time\\nwhile True: time.sleep(0.01)"
a = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
orphan = f"setsid {sys.executable} -c '{code}' >/dev/null 2>&1 &"
subprocess.run(["sh", "-c", orphan], check=True)
def handler(event, context):
    return [os.getpid(), a.pid]
"""


async def test_close_ends_the_whole_tree_even_frozen(make: Make, kind: str) -> None:
    environment = Environment(make(CHILDREN, memory_mb=512))
    async with environment:
        await environment.invoke(b"{}")
        assert await environment.wait_frozen()
        stream = environment.log_stream
        assert len(marked(stream)) >= 3
    assert marked(stream) == []
    assert [folder for folder in box_of(environment)._folders if folder.exists()] == []
    await environment.close()


async def test_out_of_memory_is_told_and_the_next_invocation_works(make: Make, kind: str) -> None:
    spec = make(
        "def handler(event, context):\n    data = bytearray(event * 1024 * 1024)\n    return len(data)\n",
        memory_mb=128,
    )
    async with Environment(spec) as environment:
        result = await environment.invoke(b"600")
        again = await environment.invoke(b"1")
    assert json.loads(result.payload) == {
        "errorType": "Runtime.OutOfMemory",
        "errorMessage": f"RequestId: {result.request_id} Error: Runtime exited with error: signal: killed",
    }
    assert result.log[-1].endswith(
        "Max Memory Used: 128 MB\t" + result.log[-1].split("Max Memory Used: 128 MB\t")[1]
    )
    assert "Status: error\tError Type: Runtime.OutOfMemory" in result.log[-1]
    assert result.max_memory_mb == 128
    assert again.status == "success"
    assert again.cold


async def test_peak_memory_is_what_was_resident(make: Make, kind: str) -> None:
    spec = make(
        "def handler(event, context):\n    return len(bytearray(event * 1024 * 1024))\n", memory_mb=256
    )
    async with Environment(spec) as environment:
        small = await environment.invoke(b"1")
        large = await environment.invoke(b"100")
    assert small.max_memory_mb is not None
    assert large.max_memory_mb is not None
    assert 90 <= large.max_memory_mb - small.max_memory_mb <= 105
    assert large.peak_rss is not None


BURN = """
import time
def handler(event, context):
    start, wall = time.process_time(), time.perf_counter()
    while time.process_time() - start < event: pass
    return time.perf_counter() - wall
"""


@pytest.mark.parametrize("memory_mb", [256, 884])
async def test_cpu_share_is_memory_by_1769(make: Make, kind: str, memory_mb: int) -> None:
    async with Environment(make(BURN, memory_mb=memory_mb)) as environment:
        await environment.invoke(b"0.01")
        work = 0.15
        wall = json.loads((await environment.invoke(str(work).encode())).payload)
    # Never more than the share (the first period is a bonus); less only if the machine has no CPU to give.
    expected = work * 1769 / memory_mb
    assert expected * 0.85 - 0.02 <= wall <= expected * 2.5 + 0.5


def periods(environment: Environment) -> tuple[int, int]:
    """How many periods the kernel has counted for a box's quota, and in how many it was used up."""
    for folder in box_of(environment)._folders:
        if (folder / "cpu.stat").exists():
            lines = (folder / "cpu.stat").read_text().splitlines()
            counted = dict(line.split() for line in lines)
            return int(counted["nr_periods"]), int(counted["nr_throttled"])
    pytest.skip("no cgroup limits the CPU here")


@pytest.mark.parametrize("memory_mb", [256, 442])
async def test_a_loop_takes_as_long_as_its_share_says(make: Make, memory_mb: int) -> None:
    work = 0.3
    expected = work * 1769 / memory_mb
    async with Environment(make(BURN, memory_mb=memory_mb)) as environment:
        await environment.invoke(b"0.01")
        walls = []
        for _ in range(5):
            all_before, full_before = periods(environment)
            walls.append(json.loads((await environment.invoke(str(work).encode())).payload))
            every, full = periods(environment)
            # Where others have the CPU, the quota is not used up, and the loop takes longer for their sake.
            if full - full_before >= 0.95 * (every - all_before):
                break
        else:
            assert min(walls) >= expected * 0.9
            pytest.skip("the machine has no CPU to give: the quota is not the limit")
    assert expected * 0.9 <= walls[-1] <= expected * 1.1


async def test_init_is_boosted_unless_the_share_is_asked_for(make: Make, kind: str) -> None:
    source = "import time\nwhile time.process_time() < 0.3: pass\ndef handler(event, context): pass\n"
    async with Environment(make(source, memory_mb=256, init_cpu="share")) as environment:
        shared = await environment.invoke(b"{}")
    assert shared.init_ms is not None
    assert shared.init_ms > 0.3 * 1000 * 1769 / 256 * 0.85
    for _ in range(5):  # others may have the CPU
        async with Environment(make(source, memory_mb=256)) as environment:
            boosted = await environment.invoke(b"{}")
        assert boosted.init_ms is not None
        if shared.init_ms > boosted.init_ms * 2:
            break
    else:
        pytest.fail(f"{boosted.init_ms} ms are not half of {shared.init_ms}")


async def test_cpu_time_counts_the_init_only_when_cold(make: Make, kind: str) -> None:
    source = "import time\nwhile time.process_time() < 0.2: pass\ndef handler(event, context): pass\n"
    async with Environment(make(source, memory_mb=1769)) as environment:
        cold = await environment.invoke(b"{}")
        warm = await environment.invoke(b"{}")
    assert cold.cpu_ms is not None
    assert warm.cpu_ms is not None
    assert 190 <= cold.cpu_ms < 400
    assert 0 < warm.cpu_ms < 100


async def test_the_report_says_what_the_box_cannot(make: Make, kind: str) -> None:
    async with Environment(make("def handler(event, context): pass\n")) as environment:
        report = environment.box
    assert report.kind == kind
    if kind == "signal":
        assert "SIGSTOP" in report.freeze
        assert any(text.startswith("cpu:") for text in report.cannot)
        assert any(text.startswith("memory:") for text in report.cannot)
    if kind == "cgroup-v1":
        assert "freezer.state" in report.freeze


def test_a_kind_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMBENT_LAB_BOX", "docker")
    from lambent_lab.sandbox import forced_kind

    with pytest.raises(UsageError, match="no kind of box"):
        forced_kind()


def test_hierarchies_are_read_from_proc(tmp_path: Path) -> None:
    v2, cpu, memory = tmp_path / "unified", tmp_path / "cpu", tmp_path / "memory"
    (v2 / "user.slice" / "lab").mkdir(parents=True)
    (v2 / "cgroup.subtree_control").write_text("cpu memory pids\n")
    (v2 / "user.slice" / "cgroup.subtree_control").write_text("cpu memory\n")
    (v2 / "user.slice" / "lab" / "cgroup.subtree_control").write_text("\n")
    (cpu / "jobs").mkdir(parents=True)
    memory.mkdir()
    proc = tmp_path / "proc"
    proc.mkdir()
    (proc / "cgroup").write_text(
        "3:cpu,cpuacct:/jobs\n2:memory:/docker/abc\n1:name=systemd:/\n0::/user.slice/lab\n"
    )
    (proc / "mountinfo").write_text(
        f"30 20 0:26 / {v2} rw - cgroup2 cgroup2 rw\n"
        f"31 20 0:27 / {cpu} rw shared:1 - cgroup cgroup rw,cpu,cpuacct\n"
        f"32 20 0:28 /docker/abc {memory} rw - cgroup cgroup rw,memory\n"
        "33 20 8:1 / / rw - ext4 /dev/sda1 rw\n"
    )
    found = hierarchies.read(proc)
    assert found.v2 == v2 / "user.slice"
    assert found.v2_controllers == {"cpu", "memory"}
    assert found.v1 == {"cpu": cpu / "jobs", "cpuacct": cpu / "jobs", "memory": memory}
    (v2 / "user.slice" / "cgroup.subtree_control").write_text("memory\n")
    (v2 / "cgroup.subtree_control").write_text("pids\n")
    assert hierarchies.read(proc).v2 == v2 / "user.slice"  # better than nothing
    assert hierarchies.read(proc).v2_controllers == {"memory"}
    (v2 / "user.slice" / "cgroup.subtree_control").write_text("io\n")
    assert hierarchies.read(proc).v2 == v2 / "user.slice" / "lab"
    assert hierarchies.read(proc).v2_controllers == frozenset()
    assert hierarchies.read(tmp_path / "none").v1 == {}


ORPHAN = """
import os, subprocess
loop = "while :; do :; done"
def handler(event, context):
    subprocess.run(["sh", "-c", f"setsid sh -c '{loop}' >/dev/null 2>&1 &"], check=True)
"""


def cpu_times(pids: list[int]) -> list[str]:
    return [Path(f"/proc/{pid}/schedstat").read_text() for pid in pids]


async def test_processes_without_their_parent_stand_still_too(make: Make, kind: str) -> None:
    async with Environment(make(ORPHAN, memory_mb=1769)) as environment:
        await environment.invoke(b"{}")
        assert await environment.wait_frozen()
        pids = marked(environment.log_stream)
        first = cpu_times(pids)
        await asyncio.sleep(0.2)  # the subject of the test: time passes, and nothing may happen in it
        assert cpu_times(pids) == first
    assert len(pids) >= 2


FORKS = """
import os, sys, time
block = b"x" * (60 << 20)
for _ in range(3):
    if os.fork() == 0:
        break
os.write(1, b"ready\\n")  # in one piece, however the interpreter buffers
sys.stdin.read()
"""


def test_shared_memory_counts_once_against_a_sampled_limit() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", FORKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as child:
        try:
            assert child.stdout is not None
            for _ in range(4):
                assert child.stdout.readline() == b"ready\n"
            tree = signals.MarkedTree("-" * 32)
            tree.root = child.pid
            assert len(tree.descendants()) == 4
            roomy, tight = (signals.SampledMemory(tree, limit << 20) for limit in (128, 32))
            roomy.sample()
            assert roomy.kills() == 0
            assert 60 << 20 < (roomy.peak() or 0) < 128 << 20
            assert sum(peak for peak, _ in signals.residents(tree.descendants())) > 240 << 20
            tight.sample()
            assert tight.kills() == 1
        finally:
            os.killpg(child.pid, signal.SIGKILL)
