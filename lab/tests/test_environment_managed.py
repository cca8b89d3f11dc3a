"""Managed instances: several invocations at once in one environment, with the official client."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from lambent_lab.environment import Environment, Invocation
from lambent_lab.function import FunctionSpec

if TYPE_CHECKING:
    from pathlib import Path

Make = Callable[..., FunctionSpec]

MEETING = """
import logging, os, pathlib, tempfile, time
place = pathlib.Path(tempfile.gettempdir())
def handler(event, context):
    logging.warning("working on %s", event["name"])
    (place / event["name"]).touch()
    for other in event["waits_for"]:
        while not (place / other).exists():
            time.sleep(0.005)
    if event.get("exit"):
        os.kill(os.getppid(), 9)
        time.sleep(60)
    if event.get("hang"):
        time.sleep(event["hang"])
    return [event["name"], os.getpid(), os.environ["AWS_LAMBDA_MAX_CONCURRENCY"],
            os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"], context.aws_request_id]
"""


@pytest.fixture
def make(write_function: Make) -> Make:
    return functools.partial(
        write_function, MEETING, name="shop", memory_mb=512, timeout_s=20, max_concurrency=3
    )


def event(name: str, *waits_for: str, **more: object) -> bytes:
    return json.dumps({"name": name, "waits_for": waits_for, **more}).encode()


def records(result: Invocation) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.log if line.startswith("{")]


async def test_invocations_run_at_once_and_keep_apart(make: Make) -> None:
    async with Environment(make()) as environment:
        assert environment.capacity == 3
        names = ["a", "b", "c"]
        # Each waits for all of them: they end only if they run at the same time.
        results = await asyncio.gather(*(environment.invoke(event(name, *names)) for name in names))
        over = await asyncio.gather(*(environment.invoke(event(f"late{n}")) for n in range(9)))
        assert not environment.frozen
        assert not await environment.wait_frozen(0.2)
    for name, result in zip(names, results, strict=True):
        said, _, limit, kind, identity = json.loads(result.payload)
        assert (said, limit, kind) == (name, "3", "lambda-managed-instances")
        assert identity == result.request_id
        mine = records(result)
        assert [record["requestId"] for record in mine if "requestId" in record] == [result.request_id]
        assert [record["message"] for record in mine if "message" in record] == [f"working on {name}"]
        kinds = [record["type"] for record in mine if "type" in record]
        assert kinds[-2:] == ["platform.start", "platform.report"]
        report = next(r["record"] for r in mine if r.get("type") == "platform.report")
        assert report["status"] == "success"
        assert set(report["metrics"]) == {"durationMs"}
        assert not result.cold
    assert len({json.loads(result.payload)[1] for result in results}) == 3
    assert [json.loads(result.payload)[0] for result in over] == [f"late{n}" for n in range(9)]


async def test_a_timeout_is_one_invocations_own(make: Make) -> None:
    async with Environment(make(timeout_s=1.0)) as environment:
        late, good = await asyncio.gather(
            environment.invoke(event("late", hang=1.5)), environment.invoke(event("good", "late"))
        )
        worker = json.loads(good.payload)[1]
        # The late worker is still there, and works again when it is done.
        again = [
            await asyncio.gather(*(environment.invoke(event(f"{turn}{n}")) for n in range(3)))
            for turn in range(2)
        ]
    assert late.status == "timeout"
    assert json.loads(late.payload)["errorType"] == "Sandbox.Timedout"
    assert good.status == "success"
    assert worker in {json.loads(result.payload)[1] for result in again[0]}
    assert all(result.status == "success" for turn in again for result in turn)


async def test_a_crash_fails_all_and_the_next_one_begins_anew(make: Make) -> None:
    async with Environment(make()) as environment:
        results = await asyncio.gather(
            environment.invoke(event("a", "b", exit=True)), environment.invoke(event("b", "never"))
        )
        after = await environment.invoke(event("c"))
    for result in results:
        assert result.status == "error"
        assert json.loads(result.payload)["errorType"] == "Runtime.ExitError"
        assert "signal: killed" in json.loads(result.payload)["errorMessage"]
    assert json.loads(after.payload)[0] == "c"
    assert after.cold


async def test_an_init_that_fails_is_told_and_tried_again(make: Make) -> None:
    spec = make()
    (spec.code / "app.py").write_text("raise RuntimeError('broken')\n")
    async with Environment(spec) as environment:
        failure = environment.init_failure
        result = await environment.invoke(event("a"))
    assert failure is not None
    assert json.loads(failure.body)["errorMessage"] == "broken"
    assert json.loads(result.payload)["errorMessage"] == "broken"
    assert result.status == "error"


EXTENSION = f"""#!{os.path.realpath(sys.executable)} -S
import http.client, json, os
def call(method, path, body=None, **headers):
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    connection.request(method, "/2020-01-01/extension/" + path, body, headers)
    answer = connection.getresponse()
    return answer.status, dict(answer.getheaders()), json.loads(answer.read() or b"null")
name = {{"Lambda-Extension-Name": "watcher"}}
status, _, text = call("POST", "register", '{{"events": ["INVOKE", "SHUTDOWN"]}}', **name)
print("first", status, text["errorType"], flush=True)
_, headers, _ = call("POST", "register", '{{"events": ["SHUTDOWN"]}}', **name)
me = {{"Lambda-Extension-Identifier": headers["Lambda-Extension-Identifier"]}}
print("then", call("GET", "event/next", **me)[2]["shutdownReason"], flush=True)
"""


async def test_extensions_may_have_shutdown_only(make: Make, tmp_path: Path) -> None:
    file = tmp_path / "watcher"
    file.write_text(EXTENSION)
    file.chmod(0o755)
    lines: list[str] = []
    async with Environment(make(extensions=(file,)), on_line=lines.append) as environment:
        result = await environment.invoke(event("a"))
    assert result.status == "success"
    assert "first 403 Extension.InvalidEventType" in lines
    assert lines[-1] == "then SPINDOWN"
