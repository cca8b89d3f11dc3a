"""Logs in JSON, their levels, and the tail that a caller may ask for."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent_lab.environment import Environment, Invocation
from lambent_lab.function import FunctionSpec
from lambent_lab.journal import level_of

Make = Callable[..., FunctionSpec]

LOGS = """
import json, logging, os
logger = logging.getLogger()
def handler(event, context):
    print("plain text")
    print(json.dumps({"level": "debug", "message": "printed"}))
    logger.debug("too quiet")
    logger.info("an order of %s", 3, extra={"order": 7})
    logger.warning("careful")
    if event.get("fail"):
        raise ValueError("no such order")
    if event.get("exit"):
        os._exit(3)
    if event.get("hang"):
        import time; time.sleep(60)
    return [os.environ.get("AWS_LAMBDA_LOG_FORMAT"), os.environ.get("AWS_LAMBDA_LOG_LEVEL")]
"""


@pytest.fixture
def make(write_function: Make) -> Make:
    return functools.partial(write_function, LOGS, name="shop", memory_mb=256, log_format="JSON")


def events(result: Invocation) -> list[dict[str, Any]]:
    """The platform's records in a log, without their times."""
    found = [json.loads(line) for line in result.log if line.startswith('{"time":')]
    for record in found:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record.pop("time"))
    return found


def said(result: Invocation, name: str) -> list[dict[str, Any]]:
    return [event["record"] for event in events(result) if event["type"] == f"platform.{name}"]


async def test_platform_and_application_in_json(make: Make) -> None:
    async with Environment(make()) as environment:
        cold = await environment.invoke(b"{}")
        warm = await environment.invoke(b"{}")
    assert json.loads(cold.payload) == ["JSON", "INFO"]
    assert [event["type"] for event in events(cold)] == [
        "platform.initStart",
        "platform.start",
        "platform.report",
    ]
    assert [event["type"] for event in events(warm)] == ["platform.start", "platform.report"]
    (begun,) = said(cold, "initStart")
    assert (begun["initializationType"], begun["phase"]) == ("on-demand", "init")
    assert said(warm, "start") == [
        {
            "requestId": warm.request_id,
            "version": "$LATEST",
            "tracing": {"type": "X-Amzn-Trace-Id", "value": warm.trace_header},
        }
    ]
    (report,) = said(cold, "report")
    assert report["status"] == "success"
    assert report["metrics"] == {
        "durationMs": pytest.approx(cold.duration_ms, abs=0.001),
        "billedDurationMs": cold.billed_ms,
        "memorySizeMB": 256,
        "maxMemoryUsedMB": cold.max_memory_mb,
        "initDurationMs": pytest.approx(cold.init_ms, abs=0.001),
    }
    between = list(warm.log[1:-1])
    assert between[0] == "plain text"
    first, second = (json.loads(line) for line in between[1:])
    assert (first["level"], first["message"], first["order"]) == ("INFO", "an order of 3", 7)
    assert first["requestId"] == second["requestId"] == warm.request_id
    assert (second["level"], second["message"]) == ("WARNING", "careful")
    assert not any(line.startswith(("START", "END", "REPORT", "INIT_START")) for line in cold.log)


async def test_errors_crashes_and_timeouts_in_json(make: Make) -> None:
    async with Environment(make(timeout_s=1.0)) as environment:
        failed = await environment.invoke(b'{"fail": true}')
        crashed = await environment.invoke(b'{"exit": true}')
        late = await environment.invoke(b'{"hang": true}')
    (report,) = said(failed, "report")
    assert report["status"] == "error"
    error = next(json.loads(line) for line in failed.log if "no such order" in line)
    assert (error["level"], error["errorType"], error["requestId"]) == (
        "ERROR",
        "ValueError",
        failed.request_id,
    )
    (report,) = said(crashed, "report")
    assert (report["status"], report["errorType"]) == ("failure", "Runtime.ExitError")
    crash = json.loads(crashed.log[-2])
    assert (crash["level"], crash["requestId"], crash["errorType"], crash["message"]) == (
        "ERROR",
        crashed.request_id,
        "Runtime.ExitError",
        "Runtime exited with error: exit status 3",
    )
    (report,) = said(late, "report")
    assert report["status"] == "timeout"
    assert json.loads(late.log[-2])["message"] == "Task timed out after 1.00 seconds"
    for result in (failed, crashed, late):
        assert all(line.startswith("{") or line == "plain text" for line in result.log), result.log


async def test_the_levels_choose(make: Make) -> None:
    loud = make(application_log_level="DEBUG", system_log_level="DEBUG")
    async with Environment(loud) as environment:
        result = await environment.invoke(b"{}")
    assert json.loads(result.payload) == ["JSON", "DEBUG"]
    assert [event["type"].removeprefix("platform.") for event in events(result)] == [
        "initStart",
        "initRuntimeDone",
        "initReport",
        "start",
        "runtimeDone",
        "report",
    ]
    assert any("too quiet" in line for line in result.log)
    assert any("printed" in line for line in result.log)
    quiet = make(application_log_level="WARN", system_log_level="WARN")
    async with Environment(quiet) as environment:
        good = await environment.invoke(b"{}")
        bad = await environment.invoke(b'{"exit": true}')
    assert [json.loads(line)["message"] for line in good.log] == ["careful"]
    assert [event["type"] for event in events(bad)] == ["platform.runtimeDone", "platform.report"]


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ('{"level": "debug"}', "DEBUG"),
        ('{"level": "Trace", "a": 1}', "TRACE"),
        ('{"level": "WARNING"}', "WARN"),
        ('{"level": "CRITICAL"}', "FATAL"),
        ('{"level": 3}', "INFO"),
        ('{"level": "NOTICE"}', "INFO"),
        ('{"message": "x"}', "INFO"),
        ('{"level": "ERROR"', "INFO"),
        ('["level", "ERROR"]', "INFO"),
        ("ERROR", "INFO"),
        ("", "INFO"),
    ],
)
def test_the_level_of_a_line(line: str, level: str) -> None:
    assert level_of(line) == level_of(json.dumps({"level": level}))


@given(st.text())
def test_any_line_has_a_level(line: str) -> None:
    assert 0 <= level_of(line) <= 5
    assert 0 <= level_of("{" + line) <= 5


async def test_the_tail_is_the_last_4_kb_from_start_to_report(write_function: Make) -> None:
    source = (
        "print('loading')\ndef handler(event, context):\n"
        "    for n in range(event): print(f'line {n} ' + 'ä' * 100)\n"
    )
    async with Environment(write_function(source, name="shop", memory_mb=256)) as environment:
        short = await environment.invoke(b"1")
        long = await environment.invoke(b"1000")
    text = short.tail.decode()
    assert text.startswith(f"START RequestId: {short.request_id} Version: $LATEST\nline 0 ")
    assert text.endswith("\t\n")
    assert text.splitlines() == list(short.log[2:])
    assert short.log[1] == "loading"
    assert len(long.tail) == 4096
    assert "".join(f"{line}\n" for line in long.log).encode().endswith(long.tail)
    assert f"REPORT RequestId: {long.request_id}".encode() in long.tail
