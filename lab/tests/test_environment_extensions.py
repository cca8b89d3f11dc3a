"""Environments with extensions: real processes and threads that speak the Extensions API."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lambent_lab.environment import Environment, Invocation
from lambent_lab.errors import UsageError
from lambent_lab.function import FunctionSpec

if TYPE_CHECKING:
    from lambent_lab.sandbox import Process

Make = Callable[..., FunctionSpec]

CLIENT = """
import http.client, json, os, sys, time
def call(method, path, body=None, **headers):
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    connection.request(method, "/2020-01-01/extension/" + path, body, headers)
    answer = connection.getresponse()
    text = answer.read()
    return answer.status, dict(answer.getheaders()), json.loads(text) if text else None
def register(name, *events, **headers):
    status, headers, about = call("POST", "register", json.dumps({"events": events}),
                                  **{"Lambda-Extension-Name": name, **headers})
    return status, headers.get("Lambda-Extension-Identifier", ""), about
def next_event(identifier):
    return call("GET", "event/next", **{"Lambda-Extension-Identifier": identifier})[2]
def say(*words):
    print(*words, flush=True)
"""

# The official client waits inside C before Python 3.12, where no handler of Python's runs: a thread waits
# for the signal.
TERMINATED = """
import os, signal, threading
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
def terminated():
    signal.sigwait({signal.SIGTERM})
    print("SIGTERM at the runtime", flush=True)
    LEAVE
threading.Thread(target=terminated, daemon=True).start()
"""
GOING = TERMINATED.replace("LEAVE", "os._exit(0)")
STAYING = TERMINATED.replace("LEAVE", "pass")

INTERNAL = (
    CLIENT
    + """
import threading
seen = []
_, me, about = register("inside", "INVOKE")
refused = register("inside-2", "SHUTDOWN")[0], register("inside", "INVOKE")[2]["errorType"]
def work():
    while True:
        event = next_event(me)
        seen.append(event)
        time.sleep(DELAY)
        say("extension done with", event["requestId"])
DELAY = 0.2
threading.Thread(target=work, daemon=True).start()
"""
)

EXTERNAL = (
    f"#!{Path(sys.executable).resolve()} -S\n"
    + CLIENT
    + """
name = os.path.basename(sys.argv[0])
status, me, about = register(name, "INVOKE", "SHUTDOWN")
say(name, "registered")
while True:
    event = next_event(me)
    say(name, event["eventType"], event.get("requestId", event.get("shutdownReason")))
    if event["eventType"] == "SHUTDOWN":
        say(name, "has", round(event["deadlineMs"] - time.time() * 1000), "ms")
        break
"""
)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write a module and the extensions beside it, and describe the function."""

    def build(source: str, extensions: dict[str, str] | None = None, **options: Any) -> FunctionSpec:
        code, opt = tmp_path / "code", tmp_path / "opt"
        for folder in (code, opt):
            folder.mkdir(exist_ok=True)
        (code / "app.py").write_text(source)
        files = []
        for name, text in (extensions or {}).items():
            (opt / name).write_text(text)
            (opt / name).chmod(0o755)
            files.append(opt / name)
        return FunctionSpec(
            **{
                "name": "shop",
                "code": code,
                "handler": "app.handler",
                "memory_mb": 512,
                "timeout_s": 10,
                "extensions": tuple(files),
                **options,
            }
        )

    return build


def value(result: Invocation) -> Any:
    assert result.status == "success", result.log
    return json.loads(result.payload)


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def runtime(environment: Environment) -> Process:
    """The process of the runtime."""
    assert environment._instance is not None
    process = environment._instance.process
    assert process is not None
    return process


async def closed(environment: Environment) -> float:
    """Close an environment and return how long that took, in seconds."""
    before = time.perf_counter()
    await environment.close()
    return time.perf_counter() - before


async def test_an_internal_extension_gets_events_and_holds_the_freeze(make: Make) -> None:
    spec = make(INTERNAL + "def handler(event, context): return [about, refused, list(seen)]\n")
    told: list[tuple[float, bytes, str | None]] = []
    async with Environment(spec) as environment:
        began = time.perf_counter()
        first = await environment.invoke(
            b"{}", on_answer=lambda *answer: told.append((time.perf_counter() - began, *answer))
        )
        assert await environment.wait_frozen()
        second = await environment.invoke(b"{}")
    about, refused, _ = value(first)
    assert about == {"functionName": "shop", "functionVersion": "$LATEST", "handler": "app.handler"}
    assert refused == [403, "Extension.InvalidExtensionState"]
    event = value(second)[2][0]
    assert event == {
        "eventType": "INVOKE",
        "deadlineMs": event["deadlineMs"],
        "requestId": first.request_id,
        "invokedFunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:shop",
        "tracing": {"type": "X-Amzn-Trace-Id", "value": first.trace_header},
    }
    assert 0 <= event["deadlineMs"] - first.started_ns // 10**6 - 10_000 <= 5
    assert f"extension done with {first.request_id}" in first.log  # not frozen before it was done
    assert "EXTENSION\tName: inside\tState: Ready\tEvents: [INVOKE]" in first.log
    assert first.extension_overhead_ms is not None
    assert 150 < first.extension_overhead_ms < first.duration_ms
    assert first.response_ms == pytest.approx(first.duration_ms - first.extension_overhead_ms)
    assert first.init_ms is not None
    assert first.billed_ms >= first.duration_ms + first.init_ms
    [(after_s, payload, error)] = told
    assert (payload, error) == (first.payload, None)
    assert after_s * 1000 < first.init_ms + first.duration_ms


async def test_a_runtime_that_ends_after_its_answer_takes_its_internal_extension_along(make: Make) -> None:
    source = INTERNAL.replace("DELAY = 0.2", "DELAY = 600") + "def handler(event, context): return 'fine'\n"
    answered = asyncio.Event()
    async with Environment(make(source, timeout_s=300)) as environment, asyncio.timeout(60):
        going = asyncio.create_task(environment.invoke(b"{}", on_answer=lambda *_: answered.set()))
        await answered.wait()
        assert environment._instance is not None
        assert environment._instance.conversation is not None
        assert await environment._instance.conversation.wait_ready(60)  # it has asked for the next event
        os.kill(runtime(environment).pid, signal.SIGKILL)
        first = await going  # now, and not when the function's time is over
        assert environment._instance.gone
    assert value(first) == "fine"


async def test_an_extension_over_the_timeout_ends_the_invocation_after_its_answer(make: Make) -> None:
    spec = make(
        GOING
        + INTERNAL.replace("DELAY = 0.2", "DELAY = 60")
        + "def handler(event, context): return 'given'\n",
        timeout_s=0.8,
    )
    async with Environment(spec) as environment:
        result = await environment.invoke(b"{}")
        assert not environment.warm
        again = await environment.invoke(b"{}")
    assert result.status == "timeout"
    assert (result.payload, result.function_error) == (b'"given"', None)
    assert result.response_ms < 800 <= result.duration_ms < 10_000
    assert result.log[-1].endswith("\tStatus: timeout\t")
    assert result.log[-3].endswith("Task timed out after 0.80 seconds")
    assert "SIGTERM at the runtime" not in result.log
    assert again.cold


@pytest.mark.parametrize("leaves", [True, False])
async def test_sigterm_with_an_internal_extension_and_300_ms(make: Make, *, leaves: bool) -> None:
    source = (GOING if leaves else STAYING) + INTERNAL
    lines: list[str] = []
    environment = Environment(make(source + "def handler(event, context): pass\n"), on_line=lines.append)
    async with environment:
        await environment.invoke(b"{}")
        assert await environment.wait_frozen()
        process = runtime(environment)
        took = await closed(environment)
    assert lines[-1] == "SIGTERM at the runtime"
    assert process.exited.result() == (0 if leaves else -9)
    assert leaves or took >= 0.3
    assert took < 10


async def test_no_sigterm_without_extensions(make: Make) -> None:
    lines: list[str] = []
    environment = Environment(make(GOING + "def handler(event, context): pass\n"), on_line=lines.append)
    async with environment:
        result = await environment.invoke(b"{}")
        assert await environment.wait_frozen()
        process = runtime(environment)
        await environment.close()
    assert process.exited.result() == -9
    assert "SIGTERM at the runtime" not in lines
    assert result.extension_overhead_ms is None
    assert result.response_ms == result.duration_ms


async def test_external_extensions_live_beside_the_runtime(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lambent_lab.shutdown.EXTERNAL_S", 30.0)
    spec = make(
        GOING + "print('runtime starts')\ndef handler(event, context): return 'fine'\n",
        {"one": EXTERNAL, "two": EXTERNAL},
    )
    lines: list[str] = []
    environment = Environment(spec, on_line=lines.append)
    async with environment:
        first = await environment.invoke(b"{}")
        assert await environment.wait_frozen()
        second = await environment.invoke(b"{}")
        pids = [p.pid for p in environment._instance.extensions.processes.values()]  # type: ignore[union-attr]
        assert await environment.wait_frozen()
        took = await closed(environment)
    assert (value(first), value(second)) == ("fine", "fine")
    at = first.log.index("runtime starts")
    assert {"one registered", "two registered"} <= set(first.log[:at])
    start = next(i for i, line in enumerate(first.log) if line.startswith("START"))
    assert sorted(line for line in first.log[at:start] if line.startswith("EXTENSION")) == [
        "EXTENSION\tName: one\tState: Ready\tEvents: [INVOKE,SHUTDOWN]",
        "EXTENSION\tName: two\tState: Ready\tEvents: [INVOKE,SHUTDOWN]",
    ]
    assert f"two INVOKE {second.request_id}" in second.log
    after = lines[lines.index(second.log[-1]) + 1 :]
    assert after[0] == "SIGTERM at the runtime"
    assert {"one SHUTDOWN SPINDOWN", "two SHUTDOWN SPINDOWN"} <= set(after[1:])
    left = [int(match[1]) for line in after if (match := re.fullmatch(r"\w+ has (-?\d+) ms", line))]
    assert len(left) == 2
    assert all(10_000 < ms <= 30_000 for ms in left)
    assert took < 20  # nobody waits for those who have left
    assert not any(map(alive, pids))


STUBBORN = EXTERNAL.replace("        break", "        time.sleep(60)")


async def test_what_does_not_leave_is_killed_after_two_seconds(make: Make) -> None:
    spec = make(STAYING + "def handler(event, context): pass\n", {"one": STUBBORN})
    lines: list[str] = []
    environment = Environment(spec, on_line=lines.append)
    async with environment:
        await environment.invoke(b"{}")
        assert await environment.wait_frozen()
        took = await closed(environment)
    assert 2.0 <= took < 20
    assert [line for line in lines if line in {"SIGTERM at the runtime", "one SHUTDOWN SPINDOWN"}] == [
        "SIGTERM at the runtime",
        "one SHUTDOWN SPINDOWN",
    ]
    [left] = [int(match[1]) for line in lines if (match := re.fullmatch(r"one has (-?\d+) ms", line))]
    assert 0 < left <= 1500  # the runtime used its 500 ms


@pytest.mark.parametrize(
    ("statement", "reason", "kind"),
    [
        ("time.sleep(60)", "TIMEOUT", "Sandbox.Timedout"),
        ("os._exit(4)", "FAILURE", "Runtime.ExitError"),
    ],
)
async def test_a_reset_tells_external_extensions_and_keeps_tmp(
    make: Make, statement: str, reason: str, kind: str
) -> None:
    spec = make(
        "import os, pathlib, tempfile, time\nplace = pathlib.Path(tempfile.gettempdir()) / 'kept'\n"
        f"def handler(event, context):\n    if event:\n        place.touch()\n        {statement}\n"
        "    return place.exists()\n",
        {"one": STUBBORN if reason == "TIMEOUT" else EXTERNAL},
        timeout_s=1.0,
    )
    told: list[float] = []
    async with Environment(spec) as environment:
        await environment.invoke(b"0")
        began = time.perf_counter()
        result = await environment.invoke(b"1", on_answer=lambda *_: told.append(time.perf_counter() - began))
        again = await environment.invoke(b"0")
    assert json.loads(result.payload)["errorType"] == kind
    assert f"one SHUTDOWN {reason}" in result.log
    # The stubborn one's shutdown takes two seconds, for which nobody waits.
    assert result.duration_ms < 2500
    assert told[0] < 2.5
    assert (value(again), again.cold) == (True, True)
    assert "one registered" in again.log


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (EXTERNAL.replace("while True:", "sys.exit(3)\nwhile True:"), "Extension.Crash"),
        ("#!/no/such/interpreter\n", "Extension.LaunchError"),
        (
            EXTERNAL.replace(
                "while True:",
                "call('POST', 'init/error', '{}', **{'Lambda-Extension-Identifier': me,"
                " 'Lambda-Extension-Function-Error-Type': 'Extension.NoKey'})\ntime.sleep(9)\nwhile True:",
            ),
            "Extension.InitError",
        ),
    ],
)
async def test_an_extension_that_fails_in_init_fails_the_init(make: Make, script: str, kind: str) -> None:
    spec = make("def handler(event, context): pass\n", {"one": script})
    async with Environment(spec) as environment:
        result = await environment.invoke(b"{}")
    assert result.status == "error"
    assert json.loads(result.payload)["errorType"] == kind
    reports = [line for line in result.log if line.startswith("INIT_REPORT")]
    assert [line.rsplit("\t", 1)[1] for line in reports] == [f"Error Type: {kind}"] * 2
    assert any(line.startswith("EXTENSION\tName: one\tState: ") for line in result.log)


async def test_an_extension_that_crashes_in_an_invocation_fails_it(make: Make) -> None:
    crash = EXTERNAL.replace('    if event["eventType"]', '    sys.exit(9)\n    if event["eventType"]')
    spec = make(
        "import time\ndef handler(event, context):\n    time.sleep(event)\n    return 'fine'\n",
        {"one": crash},
    )
    async with Environment(spec) as environment:
        before = await environment.invoke(b"8")
        after = await environment.invoke(b"0")
    assert before.status == "error"
    assert before.duration_ms < 4000
    assert json.loads(before.payload) == {
        "errorType": "Extension.Crash",
        "errorMessage": f"RequestId: {before.request_id} Error: one ended: exit code 9",
    }
    assert before.log[-1].endswith("Status: error\tError Type: Extension.Crash\t")
    assert after.cold


async def test_an_extension_that_ends_between_invocations_is_replaced(make: Make) -> None:
    ending = EXTERNAL.replace(
        "while True:",
        "import pathlib, tempfile, threading\nmark = pathlib.Path(tempfile.gettempdir()) / 'ended'\n"
        "def end():\n    if not mark.exists():\n        mark.touch()\n        os._exit(5)\n"
        "while True:",
    ).replace("    if event", "    threading.Timer(0.05, end).start()\n    if event")
    spec = make("def handler(event, context): return 'fine'\n", {"one": ending})
    async with Environment(spec) as environment:
        first = await environment.invoke(b"{}")
        assert await environment.wait_frozen()
        assert environment._instance is not None
        assert environment._instance.extensions is not None
        [process] = environment._instance.extensions.processes.values()
        await environment._instance.thaw()
        assert await asyncio.wait_for(asyncio.shield(process.exited), 10) == 5
        await asyncio.wait_for(asyncio.shield(environment._instance.extensions.failed), 10)
        second = await environment.invoke(b"{}")
    assert (value(first), value(second), second.cold) == ("fine", "fine", True)
    assert second.duration_ms < 5000


async def test_extensions_that_never_register_time_the_init_out(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lambent_lab.initphase.INIT_LIMIT_S", 0.3)
    spec = make("def handler(event, context): pass\n", {"one": "#!/bin/sh\nsleep 60\n"}, timeout_s=0.5)
    async with Environment(spec) as environment:
        result = await environment.invoke(b"{}")
        assert await closed(environment) < 20
    assert result.status == "timeout"
    assert 500 <= result.duration_ms < 10_000
    assert "EXTENSION\tName: one\tState: Started\tEvents: []" in result.log


async def test_closing_while_extensions_start_leaves_nothing(make: Make) -> None:
    spec = make("def handler(event, context): pass\n", {"one": "#!/bin/sh\nsleep 60\n"})
    async with Environment(spec) as environment:
        [process] = environment._instance.extensions.processes.values()  # type: ignore[union-attr]
    assert not alive(process.pid)


async def test_registration_is_closed_once_the_runtime_asked_for_an_event(make: Make) -> None:
    spec = make(
        CLIENT + "def handler(event, context):\n    return register('late', 'INVOKE')[2]['errorType']\n"
    )
    async with Environment(spec) as environment:
        assert value(await environment.invoke(b"{}")) == "Extension.RegistrationClosed"


async def test_what_an_extension_sees(make: Make) -> None:
    script = EXTERNAL.replace(
        "while True:", "say('ENV', json.dumps(dict(os.environ)), sys.argv[0])\nwhile True:"
    )
    spec = make("def handler(event, context): pass\n", {"one": script}, env={"TABLE": "orders"})
    async with Environment(spec) as environment:
        result = await environment.invoke(b"{}")
        cannot = environment.box.cannot
    [line] = [line for line in result.log if line.startswith("ENV ")]
    text, _, path = line.removeprefix("ENV ").rpartition(" ")
    env = json.loads(text)
    assert path.endswith("/extensions/one")
    if not any(entry.startswith("files: no mounts") for entry in cannot):
        assert path == "/opt/extensions/one"
    assert (env["TABLE"], env["AWS_LAMBDA_FUNCTION_NAME"]) == ("orders", "shop")
    assert not {"_HANDLER", "LAMBDA_TASK_ROOT", "AWS_LAMBDA_LOG_STREAM_NAME", "AWS_EXECUTION_ENV"} & set(env)


def cpu_time(pid: int) -> dict[str, str]:
    """What the kernel says of the time that each thread has run."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return {thread.name: (thread / "schedstat").read_text().split()[0] for thread in threads}


async def test_signals_freeze_extensions_too(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMBENT_LAB_BOX", "signal")
    ticking = EXTERNAL.replace(
        "while True:",
        "import threading\ndef tick():\n    while True:\n        time.sleep(0.01)\n"
        "threading.Thread(target=tick, daemon=True).start()\nwhile True:",
    )
    spec = make("def handler(event, context): pass\n", {"one": ticking})
    lines: list[str] = []
    environment = Environment(spec, on_line=lines.append)
    async with environment:
        await environment.invoke(b"{}")
        assert await environment.wait_frozen()
        [process] = environment._instance.extensions.processes.values()  # type: ignore[union-attr]
        frozen = cpu_time(process.pid)
        assert len(frozen) == 2
        await asyncio.sleep(0.2)  # the subject of the test: time passes, and nothing may happen in it
        assert cpu_time(process.pid) == frozen
        await environment.invoke(b"{}")
        assert cpu_time(process.pid) != frozen
    assert lines.count("one SHUTDOWN SPINDOWN") == 1
    assert not alive(process.pid)


def test_extensions_that_cannot_be_run_are_refused(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("#!/bin/sh\n")
    for extensions in ((plain,), (tmp_path / "missing",)):
        with pytest.raises(UsageError, match="executable"):
            FunctionSpec(name="f", code=tmp_path, handler="a.b", extensions=extensions)
    plain.chmod(0o755)
    with pytest.raises(UsageError, match="same file name"):
        FunctionSpec(name="f", code=tmp_path, handler="a.b", extensions=(plain, plain))
    with pytest.raises(UsageError, match="too many"):
        FunctionSpec(name="f", code=tmp_path, handler="a.b", extensions=(plain,) * 11)
