"""`lambent load` as a user runs it: in the lab, and against the lab's own API."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from lambent_lab.commands import main
from lambent_lab.measure import read
from lambent_lab.service import Lab
from lambent_lab.service.testing import FakeInvocation, World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FUNCTION = """
import lambent

tracer = lambent.init(service_name="loaded")


@tracer.handler
def handler(event, context):
    if event.get("fail"):
        raise ValueError("as asked")
    with tracer.trace("work"):
        return None
"""


def command(*arguments: str, name: str = "load") -> list[str]:
    program = "import sys; from lambent_lab.commands import main; sys.exit(main())"
    return [sys.executable, "-c", program, name, *arguments]


def load(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    if not (folder / "code").exists():
        (folder / "code").mkdir()
        (folder / "code" / "app.py").write_text(FUNCTION)
    return subprocess.run(
        command(*arguments), cwd=folder, capture_output=True, text=True, timeout=100, check=False
    )


def test_users_in_the_lab(tmp_path: Path) -> None:
    options = ["--users", "2", "--duration", "1.5", "--ramp-up", "0.5", "--max-error-rate", "0.5"]
    done = load(tmp_path, "code/app.handler", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    results = read(tmp_path / "load-results.json")
    section = json.loads((tmp_path / "load-results.json").read_text())["load"]
    assert results["kind"] == "load"
    assert section["all"]["cold"] >= 2
    assert section["spans"]["received"] == 2 * section["all"]["succeeded"] > 0
    assert section["spans"]["lost"] == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "2 users, " in done.stdout
    assert "Wrote load-results.json." in done.stderr


def test_a_function_that_fails_is_not_put_under_load(tmp_path: Path) -> None:
    (tmp_path / "event.json").write_text('{"fail": true}')
    done = load(tmp_path, "code/app.handler", "--event", "event.json", "--duration", "30")
    assert done.returncode == 1
    assert "Nothing was measured: code/app.handler failed: ValueError: as asked" in done.stderr
    assert not (tmp_path / "load-results.json").exists()


def test_the_labs_api_and_ctrl_c(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("")
    with Lab(environment=World()) as lab:
        lab.function("hello", code=tmp_path, handler="app.handler")
        url = lab.serve().url
        done = load(
            tmp_path, "aws:hello", "--endpoint-url", url, "--rate", "50", "--users", "3", "--duration", "1.2",
            "--json",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        section = json.loads(done.stdout)["load"]
        assert section["all"]["attempted"] + section["unstarted"] == pytest.approx(55, abs=1.01)
        assert section["config"]["ramp_up_s"] == pytest.approx(0.2)
        arguments = ["aws:hello", "--endpoint-url", url, "--duration", "300", "--ramp-up", "1"]
        with subprocess.Popen(
            command(*arguments), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr is not None
            assert "300 s to do" in process.stderr.readline()
            os.kill(process.pid, signal.SIGINT)
            stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert read(tmp_path / "load-results.json")["interrupted"]
    assert "Interrupted" in stdout or "Nothing was invoked" in stdout


def test_locusts_master_and_two_workers(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("")
    world = World()

    async def work(_invocation: object) -> None:
        # The last ones end long after the three seconds: Locust's master gives its workers half a second.
        await asyncio.sleep(5 if world.count > 20 else 0)

    world.work = work
    with Lab(environment=world) as lab:
        lab.function("hello", code=tmp_path, handler="app.handler")
        done = subprocess.run(
            command(
                "aws:hello", "--endpoint-url", lab.serve().url, "--users", "4", "--workers", "2",
                "--duration", "3", "--ramp-up", "1", "--pause", "0.02",
                name="locust",
            ),
            cwd=tmp_path, capture_output=True, text=True, timeout=110, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads((tmp_path / "load-results.json").read_text())
    section = document["load"]
    assert read(tmp_path / "load-results.json")["kind"] == "load"
    assert (section["config"]["engine"], section["config"]["workers"]) == ("locust", 2)
    # What the workers counted is what was invoked: nothing of the last report is missing.
    assert section["all"]["attempted"] == section["raw"]["of"] == world.count > 0
    parts = (section["ramp_up"]["attempted"], section["steady"]["attempted"])
    assert sum(parts) == world.count
    assert max(each["users"] for each in section["series"]) == 4
    assert section["all"]["latency"]["corrected"]
    assert sum(each["succeeded"] for each in section["series"]) == section["all"]["succeeded"]
    assert not document["interrupted"]
    assert "LAMBDA" in done.stderr
    assert "4 users, " in done.stdout


def test_a_folders_function_under_locust_is_as_the_options_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "app.py").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAMBENT_LOAD_PLAN", "")
    world = World()
    monkeypatch.setattr("lambent_lab.commands.load.make_lab", lambda _: Lab(environment=world))
    options = ["--memory", "1024", "--timeout", "7", "--env", "TABLE=orders", "--env", "API_KEY=k"]
    options += ["--python", sys.executable, "--users", "1", "--duration", "1", "--pause", "0.05"]
    assert main(["locust", "./app.handler", *options]) == 0, capfd.readouterr().err
    assert {
        (each.spec.memory_mb, each.spec.timeout_s, str(each.spec.python), tuple(each.spec.env.items()))
        for each in world.environments
    } == {(1024, 7.0, sys.executable, (("TABLE", "orders"), ("API_KEY", "k")))}
    document = json.loads((tmp_path / "load-results.json").read_text())
    assert (document["settings"]["memory_mb"], document["settings"]["timeout_s"]) == ([1024], 7.0)
    assert document["load"]["config"]["memory_mb"] == 1024
    assert document["targets"]["candidate"]["env"] == {"TABLE": "orders", "API_KEY": "***"}
    assert document["machine"]["function_python"] == document["machine"]["python"]
    assert document["load"]["all"]["attempted"] == world.count - 1, "one before, to see that it works"


def test_locust_puts_no_function_under_load_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fail(invocation: FakeInvocation) -> None:
        invocation.status, invocation.function_error = "error", "Unhandled"

    (tmp_path / "app.py").write_text("")
    monkeypatch.chdir(tmp_path)
    world = World()
    world.work = fail
    monkeypatch.setattr("lambent_lab.commands.load.make_lab", lambda _: Lab(environment=world))
    assert main(["locust", "./app.handler"]) == 1
    assert "Nothing was measured: ./app.handler failed" in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--env", "A=b"], ["--python", sys.executable]])
def test_locust_sets_nothing_of_a_function_that_is_elsewhere(
    option: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["locust", "aws:name", *option]) == 2
    assert capsys.readouterr().err == (
        "lambent: aws:name is not in the lab: --env and --python cannot be set there.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["code/app.handler", "--ramp-up", "60"], "leaves nothing of 60 s"),
        (["aws:name", "--otlp", "--endpoint-url", "http://127.0.0.1:1"], "is not in the lab"),
        (["code/app.handler", "--region", "eu-west-1"], "are for aws:FUNCTION"),
        (["aws:", "--endpoint-url", "http://127.0.0.1:1"], "names no function"),
        (["http://"], "names no host"),
        (["code/app.handler", "--rate", "0"], "0"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    refused: Callable[..., str], arguments: list[str], message: str
) -> None:
    assert message in refused("load", *arguments)
