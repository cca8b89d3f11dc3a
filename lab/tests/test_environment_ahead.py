"""Inits that run ahead of the invocations: provisioned concurrency, and SnapStart with its hooks."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lambent
from lambent_lab.environment import Environment
from lambent_lab.function import FunctionSpec

Make = Callable[..., FunctionSpec]


@pytest.fixture
def make(write_function: Make) -> Make:
    return functools.partial(write_function, name="shop", memory_mb=256)


STAGES = """
import os, time
print("init", flush=True)
begun = time.monotonic()
def handler(event, context):
    return [os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"], time.monotonic() - begun]
"""


async def test_provisioned_concurrency_inits_before_the_first_invocation(make: Make) -> None:
    lines: list[str] = []
    spec = make(STAGES, initialization="provisioned-concurrency")
    async with Environment(spec, on_line=lines.append) as environment:
        assert environment.init_failure is None
        before = list(lines)
        assert await environment.wait_frozen()
        first = await environment.invoke(b"{}")
        second = await environment.invoke(b"{}")
    assert [line.split()[0] for line in before] == ["INIT_START", "init", "INIT_REPORT"]
    assert re.fullmatch(r"INIT_REPORT Init Duration: \d+\.\d\d ms\tPhase: init", before[2])
    kind, age = json.loads(first.payload)
    assert kind == "provisioned-concurrency"
    assert age > 0
    assert first.log[:3] == tuple(before)
    assert (first.cold, second.cold) == (False, False)
    assert first.init_ms is not None
    assert second.init_ms is None
    assert f"\tInit Duration: {first.init_ms:.2f} ms\t" in first.log[-1]
    assert first.billed_ms < first.duration_ms + 1  # that init is billed by itself
    assert "Init Duration" not in second.log[-1]
    assert b"INIT_REPORT" not in first.tail


async def test_an_init_ahead_that_fails_is_run_again_by_the_invocation(make: Make) -> None:
    spec = make(
        "import os, tempfile, pathlib\nmark = pathlib.Path(tempfile.gettempdir()) / 'tried'\n"
        "if not mark.exists():\n    mark.touch()\n    raise RuntimeError('not yet')\n"
        "def handler(event, context):\n    return 'now'\n",
        initialization="provisioned-concurrency",
    )
    async with Environment(spec) as environment:
        failure = environment.init_failure
        result = await environment.invoke(b"{}")
    assert failure is not None
    assert (failure.error_type, json.loads(failure.body)["errorMessage"]) == ("Runtime.Unknown", "not yet")
    assert json.loads(result.payload) == "now"
    assert result.cold
    reports = [line for line in result.log if line.startswith("INIT_REPORT")]
    assert reports[0].endswith("\tPhase: init\tStatus: error\tError Type: Runtime.Unknown")
    assert reports[1].endswith("\tPhase: invoke")


HOOKS = """
import os, time, uuid
from snapshot_restore_py import register_after_restore, register_before_snapshot
steps = ["init"]
@register_before_snapshot
def before():
    steps.append("before snapshot")
    print("before snapshot", flush=True)
@register_after_restore
def after():
    steps.append("after restore")
    print("after restore", flush=True)
    AFTER
def handler(event, context):
    return [steps, sorted(name for name in os.environ if "LOG_" in name),
            os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]]
"""


async def test_snap_start_freezes_after_init_and_restores_with_hooks(make: Make) -> None:
    lines: list[str] = []
    spec = make(HOOKS.replace("AFTER", "time.sleep(0.05)"), initialization="snap-start", version="3")
    async with Environment(spec, on_line=lines.append) as environment:
        assert await environment.wait_frozen()
        before = list(lines)
        first = await environment.invoke(b"{}")
        second = await environment.invoke(b"{}")
        assert await environment.wait_frozen()
    assert [line.split("\t")[0][:15] for line in before] == [
        "INIT_START Runt",
        "before snapshot",
        "INIT_REPORT Ini",
    ]
    steps, log_names, kind = json.loads(first.payload)
    assert steps == ["init", "before snapshot", "after restore"]
    assert (log_names, kind) == ([], "snap-start")
    assert json.loads(second.payload)[0] == steps
    rest = first.log[3:]
    assert re.fullmatch(r"RESTORE_START Runtime Version: python:\S+\tRuntime Version ARN: arn:\S+", rest[0])
    assert rest[1] == "after restore"
    assert first.restore_ms is not None
    assert first.restore_ms >= 50
    assert rest[2] == f"RESTORE_REPORT Restore Duration: {first.restore_ms:.2f} ms"
    assert rest[3] == f"START RequestId: {first.request_id} Version: 3"
    found = re.search(r"\tRestore Duration: \S+ ms\tBilled Restore Duration: (\d+) ms\t$", first.log[-1])
    assert found is not None
    billed = int(found[1])
    assert 50 <= billed <= first.restore_ms + 1
    assert first.duration_ms + billed <= first.billed_ms < first.duration_ms + billed + 1
    assert "Init Duration" not in first.log[-1]
    assert (first.cold, first.init_ms) == (True, None)
    assert (second.cold, second.restore_ms) == (False, None)
    assert "Restore" not in second.log[-1]


@pytest.mark.parametrize(
    ("after", "kind", "status"),
    [
        ("raise RuntimeError('no entropy')", "Runtime.AfterRestoreError", "error"),
        ("os._exit(9)", "Runtime.ExitError", "error"),
        ("time.sleep(60)", "Sandbox.Timedout", "timeout"),
    ],
)
async def test_a_restore_that_fails(
    make: Make, monkeypatch: pytest.MonkeyPatch, after: str, kind: str, status: str
) -> None:
    if status == "timeout":
        monkeypatch.setattr("lambent_lab.initphase.RESTORE_LIMIT_S", 0.5)
    async with Environment(make(HOOKS.replace("AFTER", after), initialization="snap-start")) as environment:
        result = await environment.invoke(b"{}")
    assert result.function_error == "Unhandled"
    report = next(line for line in result.log if line.startswith("RESTORE_REPORT"))
    ends = "\tStatus: timeout" if status == "timeout" else f"\tStatus: error\tError Type: {kind}"
    assert report.endswith(ends)
    assert result.status == ("timeout" if status == "timeout" else "error")
    document: dict[str, Any] = json.loads(result.payload)
    expected = {"Runtime.AfterRestoreError": "RuntimeError"}.get(kind, kind)
    assert document["errorType"] == expected


async def test_a_before_snapshot_hook_that_fails_fails_the_init(make: Make) -> None:
    source = HOOKS.replace('print("before snapshot", flush=True)', "raise RuntimeError('not ready')")
    async with Environment(make(source, initialization="snap-start")) as environment:
        failure = environment.init_failure
    assert failure is not None
    assert failure.error_type == "Runtime.BeforeSnapshotError"


# A real snapshot is restored many times. Here the process is forked at the moment of the snapshot, in the
# hook that runs last before it: both have one memory image, and each goes on as a restored copy does.
TWINS = """
import json, os
import lambent
from snapshot_restore_py import register_after_restore, register_before_snapshot
tracer = lambent.init(exporter="memory")
with tracer.trace("during init"):
    pass
go, come = os.pipe(), os.pipe()

def fresh():
    with tracer.trace("after the restore") as span:
        own = span.context
    return {"trace": format(own.trace_id, "032x"), "span": format(own.span_id, "016x"),
            "naive": naive.random()}

import random
naive = random.Random(7)

@register_before_snapshot
def twin():
    if os.fork() == 0:
        os.read(go[0], 1)
        os.write(come[1], json.dumps(fresh()).encode())
        os._exit(0)

def handler(event, context):
    os.write(go[1], b"x")
    mine = fresh()
    return [mine, json.loads(os.read(come[0], 4096))]
"""


async def test_two_restores_of_one_snapshot_make_different_ids(make: Make) -> None:
    spec = make(
        TWINS,
        initialization="snap-start",
        timeout_s=10,
        env={"PYTHONPATH": str(Path(lambent.__file__).parent.parent)},
    )
    async with Environment(spec) as environment:
        result = await environment.invoke(b"{}")
    mine, twins = json.loads(result.payload)
    assert mine["naive"] == twins["naive"]  # they do share what was in memory
    assert mine["trace"] != twins["trace"]
    assert mine["span"] != twins["span"]
