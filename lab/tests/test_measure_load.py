"""Load tests of functions: what one call is told, what is concluded, and the file."""

from __future__ import annotations

import asyncio
import http.server
import itertools
import json
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lambent_lab.errors import LabError, UsageError
from lambent_lab.measure import dumps, exit_code, load, loads
from lambent_lab.measure.load import calls
from lambent_lab.measure.load.figures import part
from lambent_lab.measure.load.loops import Load, Log, Outcome
from lambent_lab.measure.testing import FakeLab, FakeResult
from lambent_lab.service import Lab
from lambent_lab.service.api.desk import Desk
from lambent_lab.service.serving import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from lambent_lab.measure.results import TargetInfo
    from lambent_lab.service.testing import FakeInvocation, World

TARGET: TargetInfo = {
    "target": "app/app.handler",
    "label": "candidate",
    "handler": "app.handler",
    "env": {},
    "switch": None,
    "kind": "lab",
    "python": None,
    "mode": None,
}


REFUSED = Outcome("throttled", "TooManyRequestsException")


def run(call: Callable[[int], Outcome], *, max_error_rate: float = 0.01, **options: Any) -> Any:
    plan = Load(**{"users": 2, "duration_s": 0.5, "ramp_up_s": 0.1, "pause_s": 0.001, **options})
    return load.run(load.LoadTest(load=plan, target=TARGET, max_error_rate=max_error_rate), call)


# -- conclusions and the file


def test_nobody_pauses_beyond_the_end() -> None:
    section = run(lambda _: Outcome(), pause_s=60.0)["load"]
    assert section["all"]["succeeded"] == 2
    assert section["elapsed_s"] < 30


def test_the_file_says_in_words_what_happened() -> None:
    results = run(lambda _: Outcome(cold=False, spans=2, made=2))
    section = results["load"]
    assert section["headline"].startswith("2 users, 0.5 s: ")
    assert "0 of " in section["headline"]
    assert section["headline"].endswith(", 0 cold starts.")
    assert section["config"]["mode"] == "closed"
    assert section["raw"]["of"] == section["all"]["attempted"] == results["counts"]["invocations"]
    assert section["spans"]["received"] == 2 * section["all"]["succeeded"]
    assert section["ramp_up"]["attempted"] + section["steady"]["attempted"] == section["all"]["attempted"]
    assert exit_code(results) == 0
    assert loads(dumps(results)) == json.loads(dumps(results))


def test_an_open_loop_says_its_rate() -> None:
    section = run(lambda _: Outcome(), rate=100.0, arrivals="poisson", pause_s=0.0)["load"]
    assert section["headline"].startswith("100 arrivals a second, at most 2 at once, ")
    assert "cold" not in section["headline"]
    assert section["config"]["arrivals"] == "poisson"
    assert section["all"]["latency"]["corrected"] is False


@pytest.mark.parametrize(("allowed", "code"), [(0.05, 1), (0.2, 0)])
def test_errors_fail_it_when_there_are_more_than_are_allowed(allowed: float, code: int) -> None:
    numbers = itertools.count()

    def sometimes(_: int) -> Outcome:
        return Outcome("failed", "ValueError: no") if next(numbers) % 10 == 0 else Outcome()

    results = run(sometimes, max_error_rate=allowed)
    assert exit_code(results) == code
    assert results["load"]["errors"][0]["error"] == "ValueError: no"
    assert "10." in results["warnings"][0]["text"] or "9." in results["warnings"][0]["text"]


def test_throttles_are_no_errors() -> None:
    numbers = itertools.count()

    def sometimes(_: int) -> Outcome:
        return Outcome("throttled", "TooManyRequestsException") if next(numbers) % 2 else Outcome()

    results = run(sometimes)
    section = results["load"]
    assert section["all"]["throttled"] > 0
    assert section["all"]["error_rate"]["share"] == 0
    assert "throttled (429)" in section["headline"]
    assert exit_code(results) == 0


def test_what_is_throttled_at_once_is_no_measure_of_how_often_users_ask() -> None:
    log = Log()
    at = 0.0
    for _ in range(200):
        log.add(0, at, at, at + 0.004, Outcome())
        for number in range(9):  # refused in no time, again and again
            log.add(0, at + 0.005 + number / 1000, at + 0.005 + number / 1000, at + 0.006, REFUSED)
        at += 0.015
    found = part(log, 0.0, at, at, corrected=True)
    assert found["latency"]["expected_interval_ms"] == pytest.approx(15)
    assert found["latency"]["p50_ms"] == found["service"]["p50_ms"]


def test_what_only_fails_is_given_up_and_has_no_speed() -> None:
    started = time.monotonic()
    results = run(lambda _: Outcome("failed", "HTTP 502"), duration_s=100.0)
    assert time.monotonic() - started < 60
    assert "Given up: the first 5" in results["error"]
    assert "no invocation succeeded" in results["load"]["headline"]
    assert exit_code(results) == 1


def test_lost_spans_fail_it() -> None:
    numbers = itertools.count()
    results = run(lambda _: Outcome(spans=2 if next(numbers) == 50 else 3, made=3))
    assert results["warnings"][0]["code"] == "spans-lost"
    assert "1 of " in results["warnings"][0]["text"]
    assert exit_code(results) == 1


def test_spans_that_leave_with_the_environment_are_counted() -> None:
    class Finalizing:
        box = None

        def __init__(self) -> None:
            self.inner = FakeLab().function("load", code=Path("unused"), handler="app.handler")
            self.kept: dict[str, list[object]] = {}
            self.stopped = False

        def invoke(self, event: object = None) -> FakeResult:
            result = self.inner.invoke(event)
            self.kept[result.request_id], result.spans, result.made = result.spans, [], None
            return result

        def stop(self) -> None:
            self.stopped = True

        def late(self, results: Sequence[FakeResult]) -> dict[str, list[object]]:
            assert self.stopped
            return {result.request_id: self.kept[result.request_id] for result in results}

    found = run(calls.InLab(Finalizing(), {}), users=1, duration_s=0.2, ramp_up_s=0.0)["load"]
    assert found["spans"]["received"] == 3 * found["all"]["succeeded"] > 0
    assert found["spans"]["without"] == 0


def test_a_call_that_raises_is_a_failure_of_that_call() -> None:
    numbers = itertools.count()

    def breaks(_: int) -> Outcome:
        if next(numbers) == 3:
            raise LabError("no box can be made")
        return Outcome()

    section = run(breaks)["load"]
    assert (section["all"]["failed"], section["errors"][0]["error"]) == (1, "LabError: no box can be made")


def test_arrivals_that_nobody_began_are_said() -> None:
    def slow(_: int) -> Outcome:
        time.sleep(0.1)
        return Outcome()

    results = run(slow, rate=200.0, pause_s=0.0)
    assert any(warning["code"] == "unstarted" for warning in results["warnings"])


# -- one call, in the lab and through AWS's API


@pytest.fixture
def lab(world: World, tmp_path: Path) -> Iterator[Lab]:
    (tmp_path / "app.py").write_text("")
    with Lab(environment=world, max_environments=1) as opened:
        yield opened


def fail(invocation: FakeInvocation) -> None:
    invocation.status, invocation.function_error = "error", "Unhandled"
    invocation.payload = b'{"errorType": "ValueError", "errorMessage": "as asked"}'


@contextmanager
def made(lab: Lab, tmp_path: Path, way: str) -> Iterator[Callable[[int], Outcome]]:
    function = lab.function("hello", code=tmp_path, handler="app.handler")
    if way == "lab":
        yield calls.InLab(function, {"n": 1})
        return
    if way == "url":
        url = lab.listen(Endpoint(Desk(lab.core), {"function": "hello"}), "127.0.0.1", 0).url
        calling = calls.at_url(url, {"n": 1}, timeout_s=10)
    else:
        calling = calls.in_aws("hello", {"n": 1}, region=None, endpoint_url=lab.serve().url, users=2)
    with calling as call:
        yield call


@pytest.mark.parametrize("way", ["lab", "aws", "url"])
def test_each_way_tells_success_failure_and_throttle(
    lab: Lab, world: World, tmp_path: Path, way: str
) -> None:
    with made(lab, tmp_path, way) as call:
        tells(call, world)


def tells(call: Callable[[int], Outcome], world: World) -> None:
    assert call(0).kind == "ok"
    assert json.loads(world.payloads[-1]) == {"n": 1}

    async def failing(invocation: FakeInvocation) -> None:
        fail(invocation)

    world.work = failing
    failed = call(0)
    assert (failed.kind, failed.error) == ("failed", "ValueError: as asked")

    entered, release = threading.Event(), threading.Event()

    async def waits(_: FakeInvocation) -> None:
        entered.set()
        await asyncio.to_thread(release.wait, 60)

    world.work = waits
    other = threading.Thread(target=call, args=(1,))
    other.start()
    assert entered.wait(30)
    try:
        assert call(0).kind == "throttled"
    finally:
        release.set()
        other.join(30)


def test_a_cold_start_is_read_from_the_report(lab: Lab, world: World, tmp_path: Path) -> None:
    async def works(invocation: FakeInvocation) -> None:
        request_id = world.environments[-1].calls[-1]["request_id"]
        init = "\tInit Duration: 100.00 ms" if invocation.cold else ""
        invocation.log = (
            "START",
            "END",
            f"REPORT RequestId: {request_id}\tDuration: 1.00 ms{init}\t",
        )

    world.work = works
    with made(lab, tmp_path, "aws") as call:
        assert [call(0).cold, call(0).cold] == [True, False]


@pytest.mark.parametrize(
    ("body", "marked", "failure"),
    [
        (b'{"errorType": "E", "errorMessage": "m"}', None, "E: m"),
        (b'{"errorMessage": "m"}', "Unhandled", "Unhandled: m"),
        (
            b"2026-01-01 Task timed out after 3.00 seconds",
            None,
            "2026-01-01 Task timed out after 3.00 seconds",
        ),
        (b'{"statusCode": 502}', None, "it answered with statusCode 502"),
        (b'{"statusCode": 200}', None, None),
        (b'{"errorMessage": "my own field"}', None, None),
        (b"", None, None),
        (b"null", "Unhandled", "Unhandled"),
    ],
)
def test_answers_of_failed_invocations(body: bytes, marked: str | None, failure: str | None) -> None:
    assert calls.failure_of(body, marked) == failure


class Refusing(http.server.BaseHTTPRequestHandler):
    """Answers with the status in the path's last part; 0 hangs up."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        code = int(self.path.rpartition("/")[2])
        if code:
            self.send_response(code)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    ("code", "kind", "error"),
    [
        (200, "ok", None),
        (429, "throttled", "TooManyRequestsException"),
        (502, "failed", "HTTP 502"),
        (0, "failed", "RemoteDisconnected"),
    ],
)
def test_what_a_url_may_answer(code: int, kind: str, error: str | None) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            with calls.at_url(f"http://127.0.0.1:{server.server_port}/{code}", None, timeout_s=10) as call:
                for outcome in (call(0), call(0)):  # the connection is made anew when it has to be
                    assert outcome.kind == kind
                    assert (outcome.error or "").startswith(error or "")
        finally:
            server.shutdown()
            thread.join(10)


def test_a_url_that_is_none() -> None:
    for url in ("http://", "http://[::1", "http://host:port"):
        with (
            pytest.raises(UsageError, match=r"is no URL|names no host"),
            calls.at_url(url, None, timeout_s=1),
        ):
            pass
