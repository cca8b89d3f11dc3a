"""Asynchronous delivery with the real runtime client: after the response, whatever goes wrong on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.faults.collector import Collector

from lambent_lab.environment import Environment
from lambent_lab.function import FunctionSpec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lambent_lab.environment import Invocation

HEAD = """
import os, sys, threading, time
import lambent
tracer = lambent.init()
"""
SILENT = """
from lambent.delivery import runtime
runtime.tell = lambda told: None
"""
"""A runtime client that does not say when it is done, as one that is not known."""

HANDLER = """
@tracer.handler
def handler(event, context):
    with tracer.trace("work", attributes={"case": "x"}):
        pass
    lambent.current_span().set_attribute("case", "x")
    return {"mode": tracer.delivery.mode, "alive": tracer.delivery._extension is not None}
"""


@pytest.fixture(params=["", SILENT], ids=["telling", "silent"])
def head(request: pytest.FixtureRequest) -> str:
    return f"{request.param}{HEAD}"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector("fine") as made:
        yield made


def spec(folder: Path, code: str, collector: Collector, **env: str) -> FunctionSpec:
    (folder / "app.py").write_text(code)
    return FunctionSpec(
        name="f",
        code=folder,
        handler="app.handler",
        memory_mb=512,
        timeout_s=20,
        env={
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "LAMBENT_MODE": "async",
            "LAMBENT_RECORDER": "off",
            **env,
        },
    )


async def run(made: FunctionSpec, times: int = 2) -> list[Invocation]:
    async with Environment(made) as environment:
        return [await environment.invoke(b"{}") for _ in range(times)]


def said(invocations: list[Invocation]) -> list[str]:
    return [line for each in invocations for line in each.log if line.startswith("lambent: ")]


async def test_the_export_comes_after_the_response(head: str, tmp_path: Path) -> None:
    with Collector("slow") as collector:
        _, second = await run(spec(tmp_path, head + HANDLER, collector))
        assert second.payload == b'{"mode": "async", "alive": true}'
        assert second.response_ms is not None
        # The collector takes 100 ms: they are in the duration, and not in the response's time.
        assert second.duration_ms - second.response_ms > 80
        assert len(collector.spans("x")) == 4


async def test_a_handler_that_is_not_decorated_does_not_hold_up_the_environment(
    head: str, tmp_path: Path, collector: Collector
) -> None:
    code = """
def handler(event, context):
    with tracer.trace("work", attributes={"case": "x"}):
        return "plain"
"""
    invocations = await run(spec(tmp_path, head + code, collector), 3)
    assert [each.payload for each in invocations] == [b'"plain"'] * 3
    assert max(each.duration_ms for each in invocations) < 10_000  # of 20 s
    assert len(collector.spans("x")) == 3


async def test_an_invocation_that_is_never_ended_does_not_hold_up_the_environment(
    head: str, tmp_path: Path, collector: Collector
) -> None:
    code = """
kept = []
def handler(event, context):
    invocation = tracer.invocation(event, context)
    invocation.__enter__()
    kept.append(invocation)
    tracer.start_span("work", attributes={"case": "x"}).end()
    return "left open"
"""
    invocations = await run(spec(tmp_path, head + code, collector), 3)
    assert [each.payload for each in invocations] == [b'"left open"'] * 3
    assert max(each.duration_ms for each in invocations) < 10_000
    assert len(collector.spans("x")) == 3


async def test_the_thread_sleeps_while_the_function_runs(tmp_path: Path, collector: Collector) -> None:
    code = """
from pathlib import Path
from lambent.delivery import extension
extension._SILENCE_S = 60
def status():
    # Which thread is the last one but the watchdog's: the extension's.
    tasks = sorted(Path("/proc/self/task").iterdir(), key=lambda task: int(task.name))
    return dict(line.split(":\\t", 1) for line in (tasks[1] / "status").read_text().splitlines())
def waits():
    for frame in sys._current_frames().values():
        if frame.f_code.co_name == "wait_for" and frame.f_back.f_code.co_name == "_slept":
            return status()["State"].startswith("S")
    return False
def handler(event, context):
    limit = time.monotonic() + 15
    while not waits() and time.monotonic() < limit:  # it has just asked for this event
        time.sleep(0.001)
    before = int(status()["voluntary_ctxt_switches"])
    with tracer.invocation(event, context, attributes={"case": "x"}):
        time.sleep(0.1)
    return int(status()["voluntary_ctxt_switches"]) - before
"""
    settings = {"LAMBENT_WATCHDOG": "off"}
    invocations = await run(spec(tmp_path, HEAD + code, collector, **settings), 4)
    assert [each.payload for each in invocations] == [b"0"] * 4  # it has not woken up once
    assert len(collector.spans("x")) == 4


async def test_a_runtime_client_that_says_nothing_any_more_is_looked_at(
    tmp_path: Path, collector: Collector
) -> None:
    code = """
from awslambdaric import lambda_runtime_client as client
from lambent.delivery import extension
extension._SILENCE_S = 0.05
count = 0
def handler(event, context):
    global count
    count += 1
    if count == 2:
        for each in vars(client).values():
            if hasattr(each, "wait_next_invocation"):
                said = each.wait_next_invocation
                each.wait_next_invocation = getattr(said, "__wrapped__", said)
    tracer.start_span("work", attributes={"case": "x"}).end()
    return count
"""
    invocations = await run(spec(tmp_path, HEAD + code, collector), 4)
    assert [each.payload for each in invocations] == [b"1", b"2", b"3", b"4"]
    assert max(each.duration_ms for each in invocations) < 10_000  # of 20 s
    assert len(collector.spans("x")) == 4


async def test_several_invocations_in_one(head: str, tmp_path: Path, collector: Collector) -> None:
    code = """
def handler(event, context):
    for number in range(3):
        with tracer.invocation({}, context, attributes={"case": "x"}):
            pass
    time.sleep(0.2)
    with tracer.invocation({}, context, attributes={"case": "x"}):
        pass
    return "done"
"""
    invocations = await run(spec(tmp_path, head + code, collector))
    assert [each.payload for each in invocations] == [b'"done"'] * 2
    assert len(collector.spans("x")) == 8


REFUSED = """
import http.client, json, os
connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
connection.request("POST", "/2020-01-01/extension/register", json.dumps({"events": []}),
                   {"Lambda-Extension-Name": "lambent"})
answer = connection.getresponse()
answer.read()
identifier = answer.headers["Lambda-Extension-Identifier"]
headers = {"Lambda-Extension-Identifier": identifier}
connection.request("GET", "/2020-01-01/extension/event/next", headers=headers)
"""


async def test_refused_it_delivers_before_the_response_and_says_so_once(
    tmp_path: Path, collector: Collector
) -> None:
    invocations = await run(spec(tmp_path, REFUSED + HEAD + HANDLER, collector), 3)
    assert invocations[-1].payload == b'{"mode": "async", "alive": false}'
    (line,) = said(invocations)
    assert "was not taken on by Lambda (403" in line
    assert "before the response" in line
    assert len(collector.spans("x")) == 6


async def test_registered_too_late_it_delivers_before_the_response(
    tmp_path: Path, collector: Collector
) -> None:
    code = """
import time
import lambent
traced = None
def handler(event, context):
    global traced, tracer
    if traced is None:
        tracer = lambent.init()
        traced = tracer.handler(inner)
    return traced(event, context)
def inner(event, context):
    lambent.current_span().set_attribute("case", "x")
    return "late"
"""
    invocations = await run(spec(tmp_path, code, collector))
    assert [each.payload for each in invocations] == [b'"late"'] * 2
    (line,) = said(invocations)
    assert "RegistrationClosed" in line
    assert len(collector.spans("x")) == 2


@pytest.mark.parametrize(
    ("where", "before"),
    [
        ("Extension._slept", ""),
        ("Extension._event", ""),
        ("Extension._export", ""),
        ("Extension._serve", ""),
        ("extension.where", SILENT),
        ("Extension._serve", SILENT),
    ],
)
async def test_a_failure_of_the_thread_is_survived(
    where: str, before: str, tmp_path: Path, collector: Collector
) -> None:
    # Each of the thread's steps fails at its second time; nothing is lost, and nobody waits for the dead.
    code = f"""
from lambent.delivery import extension
from lambent.delivery.extension import Extension
real = {where}
calls = []
def failing(*arguments):
    calls.append(1)
    if len(calls) == 2:
        raise SystemExit("as asked")
    return real(*arguments)
{where} = failing
"""
    invocations = await run(spec(tmp_path, before + HEAD + code + HANDLER, collector), 5)
    assert {each.status for each in invocations} == {"success"}
    assert invocations[-1].payload == b'{"mode": "async", "alive": false}'
    assert max(each.duration_ms for each in invocations) < 10_000
    (line,) = said(invocations)
    assert "SystemExit: as asked" in line
    assert len(collector.spans("x")) == 10


async def test_more_spans_than_half_a_queue_leave_while_the_function_runs(
    tmp_path: Path, collector: Collector
) -> None:
    code = """
@tracer.handler
def handler(event, context):
    for number in range(1000):
        with tracer.trace("work", attributes={"case": "x"}):
            if number % 50 == 49:
                time.sleep(0.05)
    return tracer.stats().dropped
"""
    invocations = await run(spec(tmp_path, HEAD + code, collector, LAMBDA_SPAN_PROCESSOR_QUEUE_SIZE="200"), 1)
    assert invocations[0].payload == b"{}"
    assert len(collector.spans("x")) == 1000


async def test_a_user_may_start_processes_and_threads(tmp_path: Path, collector: Collector) -> None:
    code = """
import asyncio, multiprocessing, subprocess
def child():
    with tracer.trace("childs", attributes={"case": "x"}):
        pass
    assert tracer.force_flush()
@tracer.handler
def handler(event, context):
    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join()
    sleeping = multiprocessing.get_context("fork").Process(target=time.sleep, args=(30,))
    sleeping.start()
    sleeping.terminate()
    sleeping.join()
    thread = threading.Thread(target=lambda: tracer.start_span("threads", attributes={"case": "x"}).end())
    thread.start()
    thread.join()
    async def work():
        with tracer.trace("tasks", attributes={"case": "x"}):
            await asyncio.sleep(0)
    asyncio.run(work())
    asyncio.run(work())
    output = subprocess.run(["echo", "hello"], capture_output=True, text=True).stdout
    return [process.exitcode, sleeping.exitcode, output]
"""
    invocations = await run(spec(tmp_path, HEAD + code, collector))
    assert [each.payload for each in invocations] == [b'[0, -15, "hello\\n"]'] * 2
    assert len(collector.spans("x")) == 8
    assert said(invocations) == []


@pytest.mark.parametrize("installs", [False, True])
async def test_sigterm_sends_what_there_was_no_time_for(
    installs: bool, tmp_path: Path, collector: Collector
) -> None:
    # Before 3.12 the runtime client waits in C, where no handler of Python's runs, traced or not.
    code = """
import signal
def user(signum, frame):
    print("the function's own handler", flush=True)
if os.environ["INSTALLS"] == "yes":
    signal.signal(signal.SIGTERM, user)
"""
    made = spec(
        tmp_path,
        HEAD + code + HANDLER,
        collector,
        LAMBENT_DEADLINE_MARGIN="60000",
        INSTALLS="yes" if installs else "no",
    )
    (only,) = await run(made, 1)
    assert "no time to export them" in said([only])[0]
    assert len(collector.spans("x")) == 2
