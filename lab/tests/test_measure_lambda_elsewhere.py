"""LambdaPerformanceTester outside the lab: containers, URLs in the form of AWS's emulator, AWS itself."""

from __future__ import annotations

import json
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from lambent_lab.errors import LabError, UsageError
from lambent_lab.measure import LambdaPerformanceTester
from lambent_lab.measure.remote.answer import Answer, Figures
from lambent_lab.measure.testers import lambda_tester
from lambent_lab.service.api.desk import Desk
from lambent_lab.service.serving import Endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lambent_lab.measure.target import Target
    from lambent_lab.service import Lab

SOURCE = """
import json, os
calls = 0

def handler(event, context):
    global calls
    calls += 1
    body = {"cold_start": calls == 1, "calls": calls, "size": os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"],
            "mode": os.environ.get("MODE"), "timings": {"sdk_import_ms": 1.5, "handler_total_ms": 2.5}}
    return {"statusCode": 500 if event.get("fail") else 200, "body": json.dumps(body)}
"""


@pytest.fixture
def served(lab: Lab, tmp_path: Path) -> Iterator[tuple[str, Any]]:
    """The URL of AWS's API, which is that of the emulator too, and the function behind it."""
    (tmp_path / "app.py").write_text(SOURCE)
    function = lab.function("own", code=tmp_path, handler="app.handler", memory=512, timeout=30)
    endpoint = Endpoint(Desk(lab.core), {"function": "own"})
    server = lab.listen(endpoint, "127.0.0.1", 0)
    yield server.url, function
    server.close()
    function.stop()


def test_a_url_is_measured_warm(served: tuple[str, Any]) -> None:
    url, _ = served
    with LambdaPerformanceTester(target=url) as it:
        found = it.test_warm_start_performance(iterations=3)
        assert (found["n"], found["not_warm"], found["target"], found["memory_mb"]) == (3, 0, url, None)
        assert all(each["handler_total_ms"] == 2.5 for each in found["raw_measurements"])
        assert all(each["init_ms"] is None for each in found["raw_measurements"])
        answer = it.invoke_lambda({"fail": True})
        assert "it answered with statusCode 500" in answer["_error"]
        with pytest.raises(UsageError, match=r"Nothing makes http.* start anew"):
            it.test_cold_start_performance(1)


def test_a_url_that_can_be_restarted_is_measured_cold(served: tuple[str, Any], tmp_path: Path) -> None:
    url, function = served
    # The command tells this test, which ends the function's environment, and waits until it has.
    asked, done = tmp_path / "asked", tmp_path / "done"
    code = (
        f"import pathlib, time; pathlib.Path({str(asked)!r}).touch()\n"
        f"while not pathlib.Path({str(done)!r}).exists(): time.sleep(0.01)\n"
        f"pathlib.Path({str(done)!r}).unlink()"
    )
    over = threading.Event()

    def restart() -> None:
        while not over.wait(0.01):
            if asked.exists():
                asked.unlink()
                function.stop()
                done.touch()

    thread = threading.Thread(target=restart)
    thread.start()
    try:
        script = tmp_path / "restart.py"
        script.write_text(code)
        with LambdaPerformanceTester(target=url, restart=f"{sys.executable} {script}") as it:
            found = it.test_cold_start_performance(iterations=2)
    finally:
        over.set()
        thread.join()
    assert (found["n"], found["not_cold"], found["errors"]) == (2, 0, [])
    assert [each["sdk_import_ms"] for each in found["raw_measurements"]] == [1.5, 1.5]


def test_a_function_in_aws_is_measured_and_given_back(served: tuple[str, Any]) -> None:
    url, function = served
    with LambdaPerformanceTester(target="aws:own", endpoint_url=url, env={"MODE": "test"}) as it:
        cold = it.test_cold_start_performance(iterations=2)
        warm = it.test_warm_start_performance(iterations=2)
        body = json.loads(it.invoke_lambda({})["body"])
        assert (body["size"], body["mode"]) == ("512", "test")
        it.start_lambda_container(memory_size=256)
        assert json.loads(it.invoke_lambda({})["body"])["size"] == "256"
    assert (cold["n"], cold["not_cold"], cold["errors"], cold["memory_mb"]) == (2, 0, [], 512)
    assert (warm["n"], warm["not_warm"], warm["errors"]) == (2, 0, [])
    for each in cold["raw_measurements"]:
        assert each["total_time_ms"] == each["init_ms"] + each["duration_ms"]
    assert (function.spec.memory_mb, function.spec.env) == (512, {})


class Containers:
    """A container engine in which time stands still; the first invocation in each container is cold."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.made: list[dict[str, Any]] = []
        self.closed = False
        self._cold = True

    def function(self, **options: Any) -> Containers:
        self.made.append(options)
        return self

    def stop(self) -> None:
        self._cold = True

    def invoke(self, event: Any = None) -> Answer:
        cold, self._cold = self._cold, False
        return Answer(
            request_id="r",
            cold=cold,
            report=Figures(duration_ms=300.0 if cold else 3.0),
            payload={"statusCode": 200, "body": "{}"},
            init_included=cold,
        )

    @property
    def box(self) -> None:
        return None

    def close(self) -> None:
        self.closed = True


def test_an_image_is_measured_by_what_its_caller_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    engines: list[Containers] = []

    def open_remote(target: Target) -> Containers:
        engines.append(Containers(target))
        return engines[-1]

    monkeypatch.setattr(lambda_tester, "open_remote", open_remote)
    with LambdaPerformanceTester(target="docker") as it:
        found = it.test_cold_start_performance(iterations=3)
        assert it.test_warm_start_performance(2)["avg_warm_start_ms"] == 3
        it.start_lambda_container(memory_size=1024)
    assert (found["avg_cold_start_ms"], found["meets_target"], found["memory_mb"]) == (300, True, 256)
    assert found["target"] == "docker:honeyhive-lambda:bundle-native"
    assert [engine.target.text for engine in engines] == [found["target"]] * 2
    assert [engine.made[0]["memory"] for engine in engines] == [256, 1024]
    assert all(engine.closed for engine in engines)
    LambdaPerformanceTester("mine:2", target="docker").invoke_lambda({})
    assert engines[-1].target.text == "docker:mine:2"


def test_without_an_engine_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    with pytest.raises(LabError, match="No Docker engine answers"):
        LambdaPerformanceTester(target="docker:some:1").start_lambda_container()


@pytest.mark.parametrize("target", ["", "Lab", "podman", "/tmp/app.handler"])
def test_what_is_no_target_is_refused(target: str) -> None:
    with pytest.raises(UsageError, match="choose lab, docker"):
        LambdaPerformanceTester(target=target)
