"""Environments with the real runtime client: what functions see, callers get and logs say."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lambent_lab.environment import Environment, Invocation
from lambent_lab.errors import LabError, UsageError
from lambent_lab.function import FunctionSpec
from lambent_lab.http import Later, Request
from lambent_lab.protocol import Event
from lambent_lab.runtime import Conversation, Exited

Make = Callable[..., FunctionSpec]


@pytest.fixture
def make(write_function: Make) -> Make:
    """Describe functions with this module's defaults."""
    return functools.partial(write_function, name="shop", memory_mb=256)


def value(result: Invocation) -> Any:
    return json.loads(result.payload)


def open_files() -> set[str]:
    """What this process holds open."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.add(str(entry.readlink()))
    return found


async def once(spec: FunctionSpec, payload: object = None) -> Invocation:
    async with Environment(spec) as environment:
        return await environment.invoke(json.dumps(payload).encode())


async def test_cold_then_warm(make: Make) -> None:
    spec = make("n = 0\ndef handler(event, context):\n    global n\n    n += 1\n    return [n, event]\n")
    lines: list[str] = []
    async with Environment(spec, on_line=lines.append) as environment:
        first = environment.warm
        cold = await environment.invoke(b'{"a":1}')
        then = environment.warm
        warm = await environment.invoke(b'"two"')
    assert (first, then) == (False, True)
    assert value(cold) == [1, {"a": 1}]
    assert value(warm) == [2, "two"]
    assert (cold.cold, warm.cold) == (True, False)
    assert (cold.status, cold.function_error) == ("success", None)
    assert cold.init_ms is not None
    assert warm.init_ms is None
    assert cold.billed_ms >= cold.init_ms + cold.duration_ms > cold.billed_ms - 1
    assert warm.billed_ms >= warm.duration_ms
    assert cold.max_memory_mb is not None
    assert 5 < cold.max_memory_mb < 100
    assert cold.cpu_ms is not None
    assert warm.cpu_ms is not None
    assert cold.cpu_ms > warm.cpu_ms > 0
    assert tuple(lines) == cold.log + warm.log
    assert cold.started_ns < cold.ended_ns <= warm.started_ns
    assert cold.request_id != warm.request_id


async def test_log_lines_have_lambdas_form(make: Make) -> None:
    spec = make(
        "import sys\nprint('loading')\ndef handler(event, context):\n"
        "    print('one'); sys.stderr.write('two\\n'); sys.stdout.write('three')\n"
        "    return context.aws_request_id\n"
    )
    result = await once(spec)
    start, loading, *rest = result.log
    assert re.fullmatch(
        r"INIT_START Runtime Version: python:3\.\d+\.v\d+\t"
        r"Runtime Version ARN: arn:aws:lambda:us-east-1::runtime:\w{64}",
        start,
    )
    assert loading == "loading"
    identity = result.request_id
    assert rest[:5] == [
        f"START RequestId: {identity} Version: $LATEST",
        "one",
        "two",
        "three",
        f"END RequestId: {identity}",
    ]
    assert value(result) == identity
    assert re.fullmatch(
        rf"REPORT RequestId: {identity}\tDuration: \d+\.\d\d ms\tBilled Duration: {result.billed_ms} ms\t"
        rf"Memory Size: 256 MB\tMax Memory Used: {result.max_memory_mb} MB\tInit Duration: \d+\.\d\d ms\t",
        rest[5],
    )
    assert len(rest) == 6


async def test_output_of_every_kind_is_in_the_log(make: Make) -> None:
    spec = make(
        "import os\ndef handler(event, context):\n    os.write(1, b'\\xff\\xfe binary\\r\\n')\n"
        "    os.write(2, b'x' * 700000)\n    os.write(1, b'\\n\\nend without newline')\n"
    )
    result = await once(spec)
    body = result.log[2:-2]
    assert body[0] == "�� binary"
    assert "".join(body[1:-2]) == "x" * 700000
    assert max(map(len, body)) <= 256 * 1024
    assert body[-2:] == ("", "end without newline")


ENVIRON = """
import os
first = dict(os.environ)
def handler(event, context):
    links = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            links[name] = os.readlink("/proc/self/fd/" + name)
        except OSError:
            pass
    return {"env": first, "fds": links, "cwd": os.getcwd(), "trace": os.environ["_X_AMZN_TRACE_ID"],
            "arn": context.invoked_function_arn, "left": context.get_remaining_time_in_millis()}
"""


async def test_environment_variables_are_lambdas_and_the_functions_own_only(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_HOST", "leak")
    spec = make(ENVIRON, env={"TABLE": "orders", "PYTHONPATH": "/elsewhere"}, timeout_s=7)
    async with Environment(spec) as environment:
        seen = value(
            await environment.invoke(b"{}", trace_header="Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1")
        )
        stream = environment.log_stream
        held = open_files()
    env = seen["env"]
    minor = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert set(env) - {"TMPDIR"} == {
        "AWS_LAMBDA_RUNTIME_API", "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_EXECUTION_ENV", "AWS_REGION", "AWS_DEFAULT_REGION",
        "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR", "_HANDLER", "TZ", "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "LANG", "PATH", "LD_LIBRARY_PATH", "PYTHONPATH",
        "TABLE",
    }  # fmt: skip
    assert env["AWS_EXECUTION_ENV"] == f"AWS_Lambda_python{minor}"
    assert env["AWS_LAMBDA_LOG_STREAM_NAME"] == stream
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", stream)
    assert env["TABLE"] == "orders"
    assert env["PYTHONPATH"].startswith("/elsewhere:")
    assert (env["_HANDLER"], env["TZ"]) == ("app.handler", ":UTC")
    assert env["LAMBDA_TASK_ROOT"] == seen["cwd"]
    assert re.fullmatch(
        r"Root=1-5759e988-bd862e3fe1be46a994272793;Parent=[0-9a-f]{16};Sampled=1", seen["trace"]
    )
    assert seen["arn"] == "arn:aws:lambda:us-east-1:123456789012:function:shop"
    assert 6000 < seen["left"] <= 7000
    assert seen["fds"]["0"] == "/dev/null"
    inherited = {link for number, link in seen["fds"].items() if number not in {"0", "1", "2"}} & held
    assert inherited <= {"anon_inode:[eventpoll]", "anon_inode:[eventfd]"}


async def test_client_context_and_a_new_trace_header(make: Make) -> None:
    spec = make("def handler(event, context):\n    return context.client_context.custom\n")
    async with Environment(spec) as environment:
        result = await environment.invoke(b"{}", client_context='{"custom": {"a": "b"}}')
    assert value(result) == {"a": "b"}
    assert re.fullmatch(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=0", result.trace_header)


async def test_timeout_in_time_and_tmp_survives_the_reset(make: Make) -> None:
    spec = make(
        "import tempfile, pathlib, time\nplace = pathlib.Path(tempfile.gettempdir()) / 'kept'\n"
        "def handler(event, context):\n    if event: place.write_text('here'); time.sleep(60)\n"
        "    return place.exists() and place.read_text()\n",
        timeout_s=1.0,
    )
    async with Environment(spec) as environment:
        result = await environment.invoke(b"1")
        again = await environment.invoke(b"0")
        third = await environment.invoke(b"0")
    identity = result.request_id
    assert result.status == "timeout"
    assert result.function_error == "Unhandled"
    assert value(result) == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {identity} Error: Task timed out after 1.00 seconds",
    }
    assert 1000 <= result.duration_ms < 10_000
    assert result.log[-1].endswith("\tStatus: timeout\t")
    assert result.log[-3].endswith(f"{identity} Task timed out after 1.00 seconds")
    assert value(again) == "here"
    assert again.cold
    assert again.init_ms is not None
    assert "Init Duration" not in again.log[-1]
    assert again.duration_ms > again.init_ms
    assert not third.cold


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("os._exit(0)", "Runtime exited without providing a reason"),
        ("os._exit(127)", "Runtime exited with error: exit status 127"),
        ("os.kill(os.getpid(), 9)", "Runtime exited with error: signal: killed"),
        ("os.kill(os.getpid(), 11)", "Runtime exited with error: signal: segmentation fault"),
    ],
)
async def test_a_crash_is_an_exit_error(make: Make, statement: str, said: str) -> None:
    spec = make(
        "import os\ndef handler(event, context):\n    print('last words')\n"
        f"    if event: {statement}\n    return 'fine'\n"
    )
    async with Environment(spec) as environment:
        result = await environment.invoke(b"1")
        again = await environment.invoke(b"0")
    assert result.status == "error"
    assert value(result) == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: {result.request_id} Error: {said}",
    }
    assert "last words" in result.log
    assert result.log[-1].endswith("Status: error\tError Type: Runtime.ExitError\t")
    assert (value(again), again.cold) == ("fine", True)


async def test_a_process_that_ends_after_its_response_is_replaced(make: Make) -> None:
    spec = make(
        "import os, threading\ndef handler(event, context):\n"
        "    if event: threading.Timer(0.05, os._exit, (1,)).start()\n    return os.getpid()\n",
        timeout_s=20,
    )
    async with Environment(spec) as environment:
        first = await environment.invoke(b"1")
        assert environment._instance is not None
        process = environment._instance.process
        assert await environment.wait_frozen()
        await environment._instance.thaw()
        assert process is not None
        await asyncio.wait_for(asyncio.shield(process.exited), 10)
        assert not environment.warm
        second = await environment.invoke(b"0")
    assert (first.status, second.status, second.cold) == ("success", "success", True)
    assert second.duration_ms < 5000


async def test_an_exception_is_a_function_error(make: Make) -> None:
    spec = make("def handler(event, context):\n    raise ValueError('no such order')\n")
    async with Environment(spec) as environment:
        result = await environment.invoke(b"{}")
        assert environment.warm
    assert (result.status, result.function_error) == ("error", "Unhandled")
    document = value(result)
    assert document["errorType"] == "ValueError"
    assert document["errorMessage"] == "no such order"
    assert document["stackTrace"]
    assert "Status:" not in result.log[-1]


@pytest.mark.parametrize(
    ("source", "handler", "kind"),
    [
        ("import no_such_module_anywhere", "app.handler", "Runtime.ImportModuleError"),
        ("x = 1", "app.handler", "Runtime.HandlerNotFound"),
        ("def handler(", "app.handler", "Runtime.UserCodeSyntaxError"),
        ("raise RuntimeError('at import')", "app.handler", "RuntimeError"),
    ],
)
async def test_an_init_error_is_told_to_the_caller(make: Make, source: str, handler: str, kind: str) -> None:
    result = await once(make(source, handler=handler))
    assert (result.status, result.function_error) == ("error", "Unhandled")
    assert value(result)["errorType"] == kind
    reports = [line for line in result.log if line.startswith("INIT_REPORT")]
    assert [re.search(r"Phase: (\w+)\tStatus: error", line)[1] for line in reports] == ["init", "invoke"]  # type: ignore[index]
    assert result.log[-1].startswith("REPORT")


async def test_init_that_exits_runs_again_in_the_invocation(make: Make) -> None:
    spec = make(
        "import os, pathlib, tempfile\nmark = pathlib.Path(tempfile.gettempdir()) / 'mark'\n"
        "if not mark.exists():\n    mark.touch()\n    os._exit(3)\n"
        "def handler(event, context):\n    return 'second try'\n"
    )
    result = await once(spec)
    assert value(result) == "second try"
    assert result.cold
    assert any("Phase: init\tStatus: error\tError Type: Runtime.ExitError" in line for line in result.log)


async def test_an_init_that_exits_in_the_invocation_says_how(make: Make) -> None:
    result = await once(make("import os\nos._exit(3)\n"))
    said = "Runtime exited with error: exit status 3"
    assert value(result)["errorMessage"].endswith(said)
    at = result.log.index(f"START RequestId: {result.request_id} Version: $LATEST")
    assert result.log[at + 1 : at + 4] == (
        f"RequestId: {result.request_id} Error: {said}",
        "Runtime.ExitError",
        f"END RequestId: {result.request_id}",
    )


async def test_init_over_its_limit_runs_again_under_the_functions_timeout(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lambent_lab.initphase.INIT_LIMIT_S", 0.3)
    spec = make("import time\ntime.sleep(30)\ndef handler(event, context): pass\n", timeout_s=0.5)
    before = time.monotonic()
    result = await once(spec)
    assert time.monotonic() - before < 20
    reports = [line for line in result.log if line.startswith("INIT_REPORT")]
    assert ["Phase: init\tStatus: timeout" in reports[0], "Phase: invoke\tStatus: timeout" in reports[1]] == [
        True,
        True,
    ]
    assert result.status == "timeout"
    assert value(result)["errorMessage"].endswith("Task timed out after 0.50 seconds")
    assert 500 <= result.duration_ms < 10_000
    assert any(
        line.endswith(f"Z {result.request_id} Task timed out after 0.50 seconds") for line in result.log
    )


async def test_a_response_over_six_megabytes_is_refused(make: Make) -> None:
    spec = make("def handler(event, context):\n    return 'x' * event\n")
    async with Environment(spec) as environment:
        fits = await environment.invoke(str(6 * 1024 * 1024 - 2).encode())
        over = await environment.invoke(str(6 * 1024 * 1024 + 200).encode())
        after = await environment.invoke(b"3")
    assert len(fits.payload) == 6 * 1024 * 1024
    assert fits.status == "success"
    assert value(over)["errorType"] == "Function.ResponseSizeTooLarge"
    assert over.function_error == "Unhandled"
    assert value(after) == "xxx"


async def test_the_users_folder_is_not_touched_and_bytecode_is_beside_the_copy(make: Make) -> None:
    source = (
        "import os, sys, lambent, awslambdaric\n"
        "def cached(module): return os.path.exists(module.__cached__ or '')\n"
        "def handler(event, context):\n"
        "    wrote = []\n"
        "    for place in (os.getcwd(), os.path.dirname(lambent.__file__)):\n"
        "        try: open(os.path.join(place, 'written'), 'w').close(); wrote.append(place)\n"
        "        except OSError: pass\n"
        "    modules = sys.modules['app'], lambent, awslambdaric\n"
        "    return {'pyc': [cached(m) for m in modules], 'wrote': wrote}\n"
    )
    for bytecode in (True, False):
        spec = make(source, bytecode=bytecode)
        before = {path: path.stat() for path in spec.code.parent.rglob("*")}
        async with Environment(spec) as environment:
            seen = value(await environment.invoke(b"{}"))
            mounted = not any(text.startswith("files") for text in environment.box.cannot)
        assert seen["pyc"] == [bytecode] * 3
        if mounted:
            assert seen["wrote"] == []
        after = {path: path.stat() for path in spec.code.parent.rglob("*")}
        assert {p: (s.st_mtime_ns, s.st_size) for p, s in before.items()} == {
            p: (s.st_mtime_ns, s.st_size) for p, s in after.items()
        }


async def test_changed_code_is_seen_by_the_next_environment(make: Make) -> None:
    spec = make("def handler(event, context): return 1\n")
    assert value(await once(spec)) == 1
    make("def handler(event, context): return 'two'\n")
    assert value(await once(spec)) == "two"


async def test_code_that_brings_its_own_sdk_gets_no_layer(make: Make) -> None:
    spec = make("import lambent\ndef handler(event, context): return lambent.WHOSE\n")
    (spec.code / "lambent.py").write_text("WHOSE = 'mine'\n")
    assert value(await once(spec)) == "mine"


async def test_the_default_interpreter_has_no_packages_of_the_machine(make: Make) -> None:
    spec = make(
        "import sys, importlib.util\nearly = 'certifi' in sys.modules or 'pip' in sys.modules\n"
        "def handler(event, context):\n"
        "    names = 'pip', 'setuptools', 'httptools', 'click'\n"
        "    found = [importlib.util.find_spec(n) is not None for n in names]\n"
        "    return [early, found, sys.prefix == sys.base_prefix, sys.executable]\n"
    )
    early, found, bare, executable = value(await once(spec))
    assert (early, found, bare) == (False, [False] * 4, False)
    assert executable.endswith(f"/bin/python{sys.version_info[0]}.{sys.version_info[1]}")


async def test_a_virtual_environments_python_is_run_as_it_is(make: Make) -> None:
    spec = make(
        "import sys\ndef handler(event, context): return [sys.prefix, sys.base_prefix]\n",
        python=Path(sys.executable),
    )
    assert value(await once(spec)) == [sys.prefix, sys.base_prefix]


def test_impossible_functions_are_refused(make: Make, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a folder"):
        FunctionSpec(name="f", code=tmp_path / "missing", handler="a.b")
    for options in ({"memory_mb": 64}, {"timeout_s": 0}, {"handler": "nothing"}, {"env": {"A=B": "c"}}):
        with pytest.raises(UsageError):
            make("", **options)


async def test_a_python_that_is_none_is_refused(make: Make, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be run"):
        await once(make("", python=tmp_path / "python"))
    false = tmp_path / "false"
    false.write_text("#!/bin/sh\nexit 1\n")
    false.chmod(0o755)
    with pytest.raises(UsageError, match="does not run"):
        await once(make("", python=false))


async def test_cancelling_an_invocation_resets_the_environment(make: Make) -> None:
    spec = make(
        "import time\ndef handler(event, context):\n    time.sleep(event)\n    return 'done'\n", timeout_s=30
    )
    async with Environment(spec) as environment:
        await environment.invoke(b"0")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(environment.invoke(b"25"), 0.3)
        again = await environment.invoke(b"0")
        assert (value(again), again.cold) == ("done", True)
    with pytest.raises(LabError, match="not running"):
        await environment.invoke(b"0")


async def test_a_crash_is_timed_by_the_process_end() -> None:
    conversation = Conversation(lambda: None)
    before = time.perf_counter()
    conversation.process_ended(3)
    after = time.perf_counter()
    outcome, at = await asyncio.wait_for(conversation.init, 10)
    assert outcome == Exited(3)
    assert before <= at <= after  # not later, when its last bytes have been waited for


@pytest.mark.parametrize("known", [False, True])
async def test_an_event_for_a_runtime_that_has_just_ended_ends_with_it(*, known: bool) -> None:
    conversation = Conversation(lambda: None)
    poll = conversation.handle(Request("GET", "/2018-06-01/runtime/invocation/next"))
    assert isinstance(poll, Later)
    poll.drop()  # as when it was killed while it was frozen
    if known:
        conversation.process_ended(-9)
        async with asyncio.timeout(20):
            while conversation._exit is None:  # noqa: ASYNC110  # nobody is told of it
                await asyncio.sleep(0.001)
    result = conversation.hand_over(Event("id", b"{}", 1))
    if not known:
        conversation.process_ended(-9)
    ended = await asyncio.wait_for(result, 20)
    assert ended is not None
    assert ended.outcome == Exited(-9)


@pytest.mark.parametrize(("before", "least"), [("pass", 10), ("x = bytearray(b'x' * (60 << 20))", 60)])
async def test_a_crash_keeps_the_memory_that_was_used(make: Make, before: str, least: int) -> None:
    body = f"    {before}\n    time.sleep(0.2)\n    os._exit(1)\n"  # a sampling box has to see it
    result = await once(make(f"import os, time\ndef handler(event, context):\n{body}"))
    assert value(result)["errorType"] == "Runtime.ExitError"
    assert result.max_memory_mb is not None
    assert least <= result.max_memory_mb < 200


async def test_a_cache_that_cannot_be_written_is_no_obstacle(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    result = await once(make("def handler(event, context): return 'ran'\n"))
    assert value(result) == "ran"


async def test_what_a_dead_lab_was_making_in_the_cache_is_removed(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    runtimes = tmp_path / "lambent" / "runtimes"
    stale = runtimes / "lambent-4194304-1-abc"  # no process has so high an id
    stale.mkdir(parents=True)
    await once(make("def handler(event, context): pass\n"))
    assert not stale.exists()
    assert len(list(runtimes.iterdir())) == 1
