"""The edges of an invocation: when the caller has its answer, whose memory ran out, and what runs between."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lambent_lab.environment import Environment
from lambent_lab.function import FunctionSpec
from lambent_lab.service import Lab

Make = Callable[..., FunctionSpec]

EXTENSION = f"""#!{Path(sys.executable).resolve()} -S
import http.client, json, os, time
def call(method, path, body=None, **headers):
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    connection.request(method, "/2020-01-01/extension/" + path, body, headers)
    answer = connection.getresponse()
    return answer.headers, json.loads(answer.read())
headers, _ = call("POST", "register", '{{"events": ["INVOKE", "SHUTDOWN"]}}',
                  **{{"Lambda-Extension-Name": "beside"}})
me = {{"Lambda-Extension-Identifier": headers["Lambda-Extension-Identifier"]}}
while True:
    event = call("GET", "event/next", **me)[1]
    print("beside", event["eventType"], event.get("shutdownReason", ""), flush=True)
"""


@pytest.fixture
def make(write_function: Make, tmp_path: Path) -> Make:
    """Describe a function, with an extension beside it if its text is given."""

    def build(source: str, extension: str | None = None, **options: object) -> FunctionSpec:
        files: tuple[Path, ...] = ()
        if extension is not None:
            file = tmp_path / "beside"
            file.write_text(extension)
            file.chmod(0o755)
            files = (file,)
        return write_function(source, name="shop", extensions=files, **{"memory_mb": 256, **options})

    return build


async def test_the_caller_has_a_timeout_at_the_deadline_and_not_after_the_shutdown(make: Make) -> None:
    stubborn = EXTENSION + '    if event["eventType"] == "SHUTDOWN": time.sleep(60)\n'
    spec = make("import time\ndef handler(event, context): time.sleep(60)\n", stubborn, timeout_s=1.0)
    answered: list[tuple[float, bytes, str | None]] = []
    lines: list[tuple[float, str]] = []
    environment = Environment(spec, on_line=lambda line: lines.append((time.perf_counter(), line)))
    async with environment:
        result = await environment.invoke(
            b"{}", on_answer=lambda body, error: answered.append((time.perf_counter(), body, error))
        )
        ended = time.perf_counter()
    [(at, body, error)] = answered
    assert (body, error) == (result.payload, "Unhandled")
    assert json.loads(body)["errorType"] == "Sandbox.Timedout"
    assert 1000 <= result.response_ms < 10_000
    # The extension had the two seconds of its shutdown, and the caller did not wait for them.
    told = next(when for when, line in lines if line == "beside SHUTDOWN TIMEOUT")
    assert at < told
    assert ended - at > 1.5
    assert result.duration_ms == result.response_ms


async def test_a_crash_is_told_before_the_shutdown_too(make: Make) -> None:
    spec = make("import os\ndef handler(event, context): os._exit(3)\n", EXTENSION + "    time.sleep(0)\n")
    order: list[str] = []
    async with Environment(spec, on_line=order.append) as environment:
        await environment.invoke(b"{}", on_answer=lambda _body, _error: order.append("answered"))
    assert order.index("answered") < order.index("beside SHUTDOWN FAILURE")


HUNGRY = """
def eat():
    held = []
    while True:
        held.append(bytearray(8 << 20))
        for n in range(0, 8 << 20, 4096):
            held[-1][n] = 1
"""


async def test_an_extension_out_of_memory_is_a_crash_of_the_extension(make: Make) -> None:
    eater = EXTENSION.replace("while True:", HUNGRY + "while True:", 1) + (
        '    if event["eventType"] == "INVOKE": eat()\n'
    )
    spec = make(
        "import time\ndef handler(event, context): time.sleep(event)\n", eater, memory_mb=128, timeout_s=30
    )
    async with Environment(spec) as environment:
        if "no limit" in environment.box.memory:
            pytest.skip("this box has no memory limit")
        result = await environment.invoke(b"25")
    document = json.loads(result.payload)
    assert document["errorType"] == "Extension.Crash"
    assert document["errorMessage"].endswith("beside ended: signal 9")
    assert result.log[-1].endswith("\tStatus: error\tError Type: Extension.Crash\t")
    assert result.max_memory_mb is not None
    assert result.max_memory_mb > 100


async def test_a_runtime_out_of_memory_beside_an_extension(make: Make) -> None:
    spec = make(HUNGRY + "def handler(event, context): eat()\n", EXTENSION, memory_mb=128, timeout_s=30)
    lines: list[str] = []
    async with Environment(spec, on_line=lines.append) as environment:
        result = await environment.invoke(b"{}")
    assert json.loads(result.payload)["errorType"] == "Runtime.OutOfMemory"
    assert result.max_memory_mb == 128
    assert "beside SHUTDOWN FAILURE" in lines


TICKING = """
import threading, time
ticks = []
def tick():
    while True:
        time.sleep(0.002)
        ticks.append(time.monotonic())
threading.Thread(target=tick, daemon=True).start()
def handler(event, context):
    if event: return time.monotonic()
    asked = time.monotonic()
    while not ticks or ticks[-1] < asked: time.sleep(0.001)
    return ticks
"""


@pytest.mark.parametrize("freeze", [False, True])
async def test_threads_run_between_invocations_only_without_freezing(make: Make, *, freeze: bool) -> None:
    async with Environment(make(TICKING, freeze=freeze)) as environment:
        first = await environment.invoke(b"true")
        assert await environment.wait_frozen(20.0 if freeze else 0.1) is freeze
        await asyncio.sleep(0.5)  # the subject of the test: time passes
        assert environment.frozen is freeze
        second = await environment.invoke(b"false")
    began = json.loads(first.payload)
    between = [began, *[at for at in json.loads(second.payload) if at > began]]
    longest = max(later - at for at, later in itertools.pairwise(between))
    assert (longest >= 0.49) if freeze else (len(between) > 25)


async def test_what_a_function_writes_between_invocations_belongs_to_the_next(make: Make) -> None:
    spec = make(
        "import threading\nwritten = threading.Event()\n"
        "def late():\n    print('afterwards', flush=True); written.set()\n"
        "def handler(event, context):\n"
        "    if event: threading.Timer(0.1, late).start()\n    else: written.wait(10)\n",
        freeze=False,
        timeout_s=20,
    )
    seen = asyncio.Event()
    async with Environment(spec, on_line=lambda line: seen.set() if line == "afterwards" else None) as env:
        first = await env.invoke(b"1")
        await asyncio.wait_for(seen.wait(), 10)
        second = await env.invoke(b"0")
    assert "afterwards" not in first.log
    assert second.log[0] == "afterwards"
    assert b"afterwards" not in second.tail


def test_one_caller_after_another_finds_the_same_environment(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("import os\ndef handler(event, context): return os.getpid()\n")
    pids = set()
    with Lab() as lab:
        lab.function("shop", code=tmp_path, handler="app.handler", memory=1024, freeze=False)
        host, _, port = lab.serve().url.removeprefix("http://").partition(":")
        connection = http.client.HTTPConnection(host, int(port))
        for _ in range(60):
            # The answer comes before the invocation is written up; the next one is asked for at once.
            connection.request("POST", "/2015-03-31/functions/shop/invocations", b"{}")
            answer = connection.getresponse()
            assert answer.status == 200
            pids.add(answer.read())
        connection.close()
    assert len(pids) == 1
