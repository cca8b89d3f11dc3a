"""Functions that mean no good: the lab goes on, and their time is over when it is over."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lambent_lab.environment import Environment
from lambent_lab.errors import LabError
from lambent_lab.loglines import KeptLines

if TYPE_CHECKING:
    from collections.abc import Callable

    from lambent_lab.function import FunctionSpec

FLOOD = """
import os, subprocess
def handler(event, context):
    if event == "flood":
        while True:
            os.write(1, b"y\\n" * 30_000)
    if event == "child":
        subprocess.Popen(["/bin/sh", "-c", "while :; do echo yyyyyyyyyyyyyyyy; done"])
    return event
"""

PATIENCE_S = 60


async def test_a_function_that_floods_its_log_runs_out_of_time_all_the_same(
    write_function: Callable[..., FunctionSpec],
) -> None:
    spec = write_function(FLOOD, name="f", timeout_s=1, memory_mb=3538)
    async with asyncio.timeout(PATIENCE_S), Environment(spec) as environment:
        result = await environment.invoke(b'"flood"')
        assert result.status == "timeout"
        assert result.log[-1].startswith("REPORT")
        assert b"Task timed out" in result.tail
        assert json.loads((await environment.invoke(b'"next"')).payload) == "next"


async def test_a_child_that_floods_the_log_keeps_nobody_from_answering(
    write_function: Callable[..., FunctionSpec],
) -> None:
    spec = write_function(FLOOD, name="f", timeout_s=10, memory_mb=3538)
    async with asyncio.timeout(PATIENCE_S), Environment(spec) as environment:
        for event in ("child", "next", "next"):
            result = await environment.invoke(json.dumps(event).encode())
            assert json.loads(result.payload) == event


def test_a_long_log_is_kept_whole_up_to_a_size_and_of_more_its_ends() -> None:
    kept = KeptLines(first=1000, last=1000)
    lines = [f"line {number}" for number in range(1000)]
    for line in lines:
        kept.append(line)
    log = kept.lines()
    note = next(number for number, line in enumerate(log) if line.startswith("lambent-lab: "))
    left_out = int(log[note].split()[1])
    assert log[:note] == lines[:note]
    assert log[note + 1 :] == lines[note + left_out :]
    assert 0 < note < len(log) - 1 < len(lines)
    assert note + left_out + len(log) - note - 1 == len(lines)


def test_a_log_that_is_not_long_is_kept_whole() -> None:
    kept: Any = KeptLines(first=1000, last=1000)
    lines = [f"line {number}" for number in range(20)]
    for line in lines:
        kept.append(line)
    assert kept.lines() == lines
    assert len(kept) == len(lines)


GREEDY_CHILD = """
import os
def handler(event, context):
    child = os.fork()
    if child == 0:
        kept = []
        while True:
            kept.append(b"x" * 1_000_000)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
"""


async def test_memory_was_full_when_the_limit_killed_a_child(
    write_function: Callable[..., FunctionSpec],
) -> None:
    spec = write_function(GREEDY_CHILD, name="f", timeout_s=30)
    async with asyncio.timeout(PATIENCE_S), Environment(spec) as environment:
        result = await environment.invoke(b"{}")
    # Version 2 takes the parent along; elsewhere it lives and knows of the child's end.
    assert result.payload == b"-9" or b"Runtime.OutOfMemory" in result.payload
    assert result.max_memory_mb == spec.memory_mb


HALF_LINES = r"""#!/bin/bash
api="http://$AWS_LAMBDA_RUNTIME_API/2020-01-01/extension"
id=$(curl -s -D - -o /dev/null -H "Lambda-Extension-Name: halves" -d '{"events":["INVOKE"]}' "$api/register" |
  tr -d '\r' | sed -n 's/^lambda-extension-identifier: //Ip')
while true; do
  curl -s -o /dev/null -H "Lambda-Extension-Identifier: $id" "$api/event/next"
  printf 'first half, '
  sleep 0.3
  echo 'second half'
done
"""


async def test_a_line_that_an_extension_is_writing_is_not_cut_by_the_answer(
    write_function: Callable[..., FunctionSpec], tmp_path: Path
) -> None:
    extension = tmp_path / "halves"
    extension.write_text(HALF_LINES)
    extension.chmod(0o755)
    slow = "import time\ndef handler(event, context):\n    time.sleep(0.1)"
    spec = write_function(slow, name="f", timeout_s=30, extensions=(extension,))
    async with asyncio.timeout(PATIENCE_S), Environment(spec) as environment:
        for _ in range(2):
            result = await environment.invoke(b"{}")
            assert "first half, second half" in result.log


SLOW = """
import os, time
time.sleep(float(os.environ["INIT_S"]))
def handler(event, context):
    print("running")
    time.sleep(60)
"""


@pytest.mark.parametrize("init_s", [0, 60])
async def test_closing_an_environment_is_not_the_functions_failure(
    write_function: Callable[..., FunctionSpec], init_s: float
) -> None:
    running = asyncio.Event()
    spec = write_function(SLOW, name="f", timeout_s=60, env={"INIT_S": str(init_s)})
    answers: list[Any] = []
    async with asyncio.timeout(PATIENCE_S):
        environment = Environment(spec, on_line=lambda line: running.set() if line == "running" else None)
        async with environment:
            under_way = asyncio.create_task(
                environment.invoke(b"{}", on_answer=lambda *answer: answers.append(answer))
            )
            if init_s:
                await environment.wait_initialized(0.5)
            else:
                await running.wait()
        with pytest.raises(LabError, match="closed while"):
            await under_way
    assert answers == []


FORKS = """
import os, time
shared = bytearray(60_000_000)
def handler(event, context):
    for _ in range(20):
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
    time.sleep(0.2)
"""


async def test_memory_that_forked_processes_share_counts_once(
    write_function: Callable[..., FunctionSpec],
) -> None:
    spec = write_function(FORKS, name="f", timeout_s=30, memory_mb=2048)
    async with asyncio.timeout(PATIENCE_S), Environment(spec) as environment:
        if environment.box.memory.startswith("sampled"):
            pytest.skip("needs a memory cgroup")
        result = await environment.invoke(b"{}")
    assert result.max_memory_mb is not None
    assert 60 < result.max_memory_mb < 300


async def test_starts_that_are_given_up_leave_nothing_behind(
    write_function: Callable[..., FunctionSpec], capfd: pytest.CaptureFixture[str]
) -> None:
    spec = write_function("def handler(event, context): pass", name="f")
    async with asyncio.timeout(PATIENCE_S):
        async with Environment(spec) as environment:
            await environment.invoke(b"{}")
        gc.collect()
        before = _held()
        for step in range(25):
            environment = Environment(spec)
            start = asyncio.create_task(environment.start())
            await asyncio.sleep(step * 0.002)  # wherever it is then
            start.cancel()
            try:
                await start
            except asyncio.CancelledError:
                continue
            await environment.close()
        while _held() - before:  # noqa: ASYNC110 - disks that nobody came to are closed by threads
            await asyncio.sleep(0.01)
    assert not capfd.readouterr().err


def _held() -> Counter[str]:
    """What this process has open, and its loop devices."""
    held: Counter[str] = Counter()
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            held[re.sub(r"\d+", "N", str(entry.readlink()))] += 1
    for entry in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            held["loop device"] += f"lambent-{os.getpid()}-" in entry.read_text()
    return held
