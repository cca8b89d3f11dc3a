"""Files, processes, threads and core dumps: Lambda's numbers, and a lab that survives what runs into them."""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Callable

import pytest
from lab.tests.processes import marked

from lambent_lab.environment import Environment
from lambent_lab.function import FunctionSpec

Make = Callable[..., FunctionSpec]


@pytest.fixture(params=["", "signal"])
def box(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With the pids controller where there is one, and without."""
    monkeypatch.setenv("LAMBENT_LAB_BOX", str(request.param))
    return str(request.param)


@pytest.fixture
def make(write_function: Make) -> Make:
    return functools.partial(write_function, name="limits", timeout_s=60, memory_mb=1769)


FILES = """
import errno, os, resource
def handler(event, context):
    kept = []
    try:
        for _ in range(2000): kept.append(os.open("/dev/null", os.O_RDONLY))
        outcome = "done"
    except OSError as error:
        outcome = errno.errorcode[error.errno]
    highest = kept[-1]
    for fd in kept: os.close(fd)
    try: resource.setrlimit(resource.RLIMIT_NOFILE, (2048, 2048)); raised = True
    except (ValueError, OSError): raised = False
    return {"outcome": outcome, "count": len(kept), "highest": highest, "raised": raised,
            "files": resource.getrlimit(resource.RLIMIT_NOFILE),
            "core": resource.getrlimit(resource.RLIMIT_CORE)}
"""


async def test_a_function_has_1024_files_and_dumps_no_core(make: Make, box: str) -> None:
    async with Environment(make(FILES)) as environment:
        seen = json.loads((await environment.invoke(b"{}")).payload)
        assert "1024 files" in environment.box.limits
    assert (seen["outcome"], seen["highest"]) == ("EMFILE", 1023)
    assert 1000 <= seen["count"] < 1024
    assert seen["files"] == [1024, 1024]
    assert seen["core"] == [0, 0]
    assert not seen["raised"]


THREADS = """
import threading
stop = threading.Event()
def handler(event, context):
    threads, error = [], None
    threading.stack_size(65536)
    try:
        for _ in range(event):
            thread = threading.Thread(target=stop.wait, daemon=True)
            thread.start()
            threads.append(thread)
    except RuntimeError as caught:
        error = str(caught)
    stop.set()
    for thread in threads: thread.join()
    return [len(threads), error]
"""


async def test_threads_end_at_about_a_thousand(make: Make, box: str) -> None:
    async with Environment(make(THREADS)) as environment:
        if "any number" in environment.box.limits:
            pytest.skip(environment.box.limits)
        count, error = json.loads((await environment.invoke(b"3000")).payload)
        assert "1024" in environment.box.limits
    assert 900 <= count <= 1024 or os.geteuid() != 0
    assert error == "can't start new thread"


BOMB = """
import os, time
def handler(event, context):
    while True:
        try:
            pid = os.fork()
        except OSError:
            time.sleep(5)  # the machine has others to serve
"""


async def test_a_fork_bomb_is_contained_and_cleaned_up(make: Make, box: str) -> None:
    async with Environment(make(BOMB, timeout_s=2)) as environment:
        if "any number" in environment.box.limits:
            pytest.skip(environment.box.limits)
        stream = environment.log_stream
        result = await environment.invoke(b"{}")
        assert result.status == "timeout"
        assert left(stream) == []
        # The environment is whole: the next process comes up in it, and meets the same end.
        again = await environment.invoke(b"{}")
        assert again.status == "timeout"
        assert again.cold
    assert left(stream) == []


def left(stream: str) -> list[int]:
    """The processes that are there even after a while: what was killed may still be taken apart."""
    limit = time.monotonic() + 10
    while (found := marked(stream)) and time.monotonic() < limit:
        time.sleep(0.01)
    return found
