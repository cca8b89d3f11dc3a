"""Functions outside the lab: REPORT lines, URLs in RIE's form, containers, AWS's API."""

from __future__ import annotations

import gc
import json
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent_lab.errors import LabError, UsageError
from lambent_lab.measure import Benchmark, LambdaPerformanceTester, exit_code, run
from lambent_lab.measure.load.calls import at_url
from lambent_lab.measure.remote import kind_of
from lambent_lab.measure.remote.aws import COLD, Account, split
from lambent_lab.measure.remote.containers import Engine
from lambent_lab.measure.remote.reportline import parse
from lambent_lab.measure.remote.rie import PATH, Caller, Emulator, address, outcome
from lambent_lab.measure.target import Target
from lambent_lab.measure.testing import FakeLab
from lambent_lab.service import Lab
from lambent_lab.service.testing import FakeInvocation, World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

milliseconds = st.decimals(0, 900_000, places=2)


# --- REPORT lines


@given(
    st.uuids().map(str),
    milliseconds,
    st.integers(1, 900_000),
    st.integers(1, 10_240),
    st.none() | milliseconds,
    st.sampled_from(["\t", "  "]),
)
def test_any_report_line_is_read(
    request_id: str, duration: Any, billed: int, memory: int, init: Any, gap: str
) -> None:
    fields = [
        f"REPORT RequestId: {request_id}",
        f"Duration: {duration} ms",
        f"Billed Duration: {billed} ms",
        "Memory Size: 10240 MB",
        f"Max Memory Used: {memory} MB",
        *([] if init is None else [f"Init Duration: {init} ms"]),
    ]
    log = ["START RequestId: x", "Duration: 1 ms, says the function", gap.join(fields) + gap]
    figures = parse([*log, "XRAY TraceId: 1-2-3"], request_id)
    assert figures is not None
    assert figures.duration_ms == float(duration)
    assert (figures.billed_ms, figures.max_memory_mb) == (billed, memory)
    assert figures.init_ms == (None if init is None else float(init))
    assert (figures.cpu_ms, figures.extension_ms) == (None, None)
    assert parse(log, "another") is None


@given(st.lists(st.text(max_size=80)))
def test_what_is_no_report_is_none(lines: list[str]) -> None:
    assert parse(lines, "id") is None


def test_a_log_in_json_is_read() -> None:
    metrics = {"durationMs": 1.5, "billedDurationMs": 102, "maxMemoryUsedMB": 40, "initDurationMs": 99.25}
    record = {"type": "platform.report", "record": {"requestId": "a", "metrics": metrics}}
    figures = parse(["{", "{}", "[1]", json.dumps({"type": "platform.report"}), json.dumps(record)], "a")
    assert figures is not None
    assert (figures.duration_ms, figures.billed_ms, figures.init_ms) == (1.5, 102, 99.25)
    record["record"] = {"requestId": "a", "metrics": {"durationMs": True}}
    assert parse([json.dumps(record)], "a") is None


def test_a_restore_is_what_the_caller_waited_for() -> None:
    line = (
        "REPORT RequestId: a\tDuration: 2.00 ms\tBilled Duration: 140 ms\tMemory Size: 128 MB\t"
        "Max Memory Used: 40 MB\tRestore Duration: 300.50 ms\tBilled Restore Duration: 138 ms\t"
    )
    figures = parse([line], "a")
    assert figures is not None
    assert (figures.duration_ms, figures.billed_ms, figures.init_ms) == (2.0, 140, 300.5)


# --- URLs in RIE's form


class Function(BaseHTTPRequestHandler):
    """Answers as RIE does; its state is the class's own, one for each server."""

    state: ClassVar[dict[str, Any]]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._say(404, b"404 page not found")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.state["events"].append((self.path, json.loads(body)))
        code, answer = self.state["answer"](self.state)
        self._say(code, answer)

    def _say(self, code: int, body: bytes) -> None:
        if self.state.get("nagle"):
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def well(_state: dict[str, Any]) -> tuple[int, bytes]:
    return 200, b'{"statusCode": 200}'


@contextmanager
def served(answer: Any = well) -> Iterator[tuple[str, dict[str, Any]]]:
    state: dict[str, Any] = {"events": [], "answer": answer}
    handler = type("One", (Function,), {"state": state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", state
    finally:
        server.shutdown()
        server.server_close()


def side(text: str, **changes: Any) -> Target:
    return Target(text=text, label=text, kind=kind_of(text), **changes)


def test_two_urls_are_compared_warm_and_nothing_is_made_up() -> None:
    with served() as (one, state), served() as (two, _):
        benchmark = Benchmark(baseline=side(one), candidate=side(two), pairs=8, aa=1, warm=2, event={"n": 1})
        results = run(benchmark, FakeLab())
    assert exit_code(results) == 0
    assert set(map(str, state["events"])) == {str((PATH, {"n": 1}))}
    [cell] = results["summary"]
    assert cell["pairs"] == 8
    assert cell["metrics"]["warm_ms"]["ratio"] is not None
    for absent in ("cold_ms", "init_ms", "memory_mb", "warm_cpu_ms"):
        assert cell["metrics"][absent]["candidate"] is None
    assert "peak_rss_mb" not in cell["metrics"]
    assert cell["candidate"]["spans"]["invocations"] == 0
    assert {i["spans"] for s in results["samples"] for i in s["invocations"]} == {None}
    assert {doubt["code"] for doubt in results["warnings"]} >= {"not-cold", "spans-unseen", "memory-unset"}
    assert [results["targets"][name]["kind"] for name in ("baseline", "candidate")] == ["http", "http"]


def test_a_restart_command_makes_cold_starts(tmp_path: Path) -> None:
    mark = tmp_path / "restarts"
    restart = f"{sys.executable} -c \"open('{mark}', 'a').write('{{port}},')\""
    with served() as (url, state):
        own = side(url, reach={"restart": restart})
        results = run(Benchmark(baseline=own, candidate=own, pairs=2, aa=0, warm=1), FakeLab())
    samples = results["samples"]
    assert len(samples) == 6
    assert mark.read_text() == f"{url.rpartition(':')[2]}," * 6
    assert all([i["cold"] for i in sample["invocations"]] == [True, False] for sample in samples)
    # What the caller waits for a cold start has the init in it: it is not the first invocation's own time.
    assert all("cold_ms" in sample["values"] and "first_ms" not in sample["values"] for sample in samples)
    assert len(state["events"]) == 12, "being ready is asked for without an invocation"


def test_a_restart_command_that_fails_breaks_the_environment() -> None:
    with served() as (url, _):
        own = side(url, reach={"restart": f"{sys.executable} -c 1/0"})
        results = run(Benchmark(baseline=own, candidate=own, pairs=2), FakeLab())
    assert "The restart command" in str(results["error"])
    assert exit_code(results) == 1


def test_a_function_behind_a_url_takes_no_variables_and_that_is_said_before_measuring() -> None:
    off = side("http://127.0.0.1:9", env={"OTEL_SDK_DISABLED": "true"})
    with pytest.raises(UsageError, match="cannot be set from here"):
        run(Benchmark(baseline=off, candidate=side("http://127.0.0.1:9")), FakeLab())


def test_what_a_place_has_by_itself_is_no_axis() -> None:
    url = side("http://127.0.0.1:9")
    with pytest.raises(UsageError, match=r"memory of http.* cannot be set"):
        Benchmark(baseline=url, candidate=url, memory_mb=(128, 256))
    with pytest.raises(UsageError, match="Python of aws:hello is its own"):
        Benchmark(baseline=side("aws:hello"), candidate=side("aws:hello"), pythons={"3.12": None})


def test_nothing_that_answers_is_an_error_that_names_the_address() -> None:
    with pytest.raises(LabError, match=r"http://127\.0\.0\.1:9 does not answer"):
        Caller(address("http://127.0.0.1:9"), 1.0).invoke({})


def test_an_address_that_cannot_be_reached_in_time_is_no_timeout_of_the_function(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(self: Caller, timeout_s: float) -> Any:
        raise TimeoutError("timed out")

    monkeypatch.setattr(Caller, "_connect", never)
    with pytest.raises(LabError, match=r"http://10\.0\.0\.1:9 does not answer: timed out"):
        Caller(address("http://10.0.0.1:9"), 1.0).invoke({})


def test_threads_invoke_at_the_same_time() -> None:
    together = threading.Barrier(4)

    def answer(state: dict[str, Any]) -> tuple[int, bytes]:
        together.wait(30)  # nobody is answered before four are there
        return well(state)

    with served(answer) as (url, state), LambdaPerformanceTester(target=url) as it:
        with ThreadPoolExecutor(4) as executor:
            answers = list(executor.map(lambda n: it.invoke_lambda({"n": n}), range(12)))
        assert [each["statusCode"] for each in answers] == [200] * 12
    assert sorted(event["n"] for _, event in state["events"]) == list(range(12))


def test_a_server_that_answers_in_two_parts_does_not_wait_for_us() -> None:
    # Nagle's algorithm there and a delayed acknowledgement here make 40 ms of nothing, each time.
    with served() as (url, state):
        state["nagle"] = True
        caller = Caller(address(url), 30.0)
        loading = at_url(url, None, timeout_s=30)
        took: list[list[float]] = [[], []]
        with loading as call:
            for _ in range(21):
                took[0].append(caller.invoke({}).report.duration_ms)
                begun = time.perf_counter()
                assert call(0).kind == "ok"
                took[1].append((time.perf_counter() - begun) * 1000)
        caller.disconnect()
    assert [sorted(each)[10] < 35 for each in took] == [True, True], took


ERROR = {"errorMessage": "no", "errorType": "ValueError", "requestId": "a", "stackTrace": []}


@pytest.mark.parametrize(
    ("code", "header", "payload", "expected"),
    [
        (200, None, {"statusCode": 200}, ("success", None)),
        (200, None, ERROR, ("error", "ValueError")),
        (200, None, {**ERROR, "more": 1}, ("success", None)),  # an answer that only resembles one
        (200, "Unhandled", {"errorType": "Sandbox.Timedout"}, ("timeout", "Sandbox.Timedout")),
        (200, "Unhandled", "text", ("error", "Unhandled")),
        (200, None, "Task timed out after 3.00 seconds", ("timeout", "Sandbox.Timedout")),
        (502, None, "", ("error", "HTTP 502")),
        (404, None, "404 page not found", ("error", "HTTP 404")),
    ],
)
def test_what_rie_answers_is_understood(
    code: int, header: str | None, payload: object, expected: tuple[str, str | None]
) -> None:
    assert outcome(code, header, payload) == expected


def test_a_function_that_fails_behind_a_url_has_no_speed() -> None:
    with served(lambda _state: (200, json.dumps(ERROR).encode())) as (url, _):
        results = run(Benchmark(baseline=side(url), candidate=side(url), pairs=2), FakeLab())
    assert "ValueError: no" in str(results["error"])
    assert results["summary"] == []


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("http://localhost:9000", (False, "localhost", 9000, PATH)),
        ("https://example.org/", (True, "example.org", 443, PATH)),
        ("http://[::1]/own/path", (False, "::1", 80, "/own/path")),
        ("http://host/own?code=x&y", (False, "host", 80, "/own?code=x&y")),
        ("http://host?code=x", (False, "host", 80, f"{PATH}?code=x")),
    ],
)
def test_addresses(url: str, parts: tuple[bool, str, int, str]) -> None:
    assert address(url) == parts


@pytest.mark.parametrize("url", ["http://:80", "http://host:port", "http://host:99999"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match=r"is no URL|names no host"):
        Emulator(url, {})


def test_a_password_is_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError, match=r"write http://host\.$") as caught:
        Emulator("http://me:hidden@host:9000", {})
    assert "hidden" not in str(caught.value)


# --- AWS's API


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("hello", ("hello", None)),
        ("hello:live", ("hello", "live")),
        ("hello:$LATEST", ("hello", None)),
        ("arn:aws:lambda:eu-west-1:1:function:hello", ("arn:aws:lambda:eu-west-1:1:function:hello", None)),
        ("arn:aws:lambda:eu-west-1:1:function:hello:7", ("arn:aws:lambda:eu-west-1:1:function:hello", "7")),
    ],
)
def test_names_of_functions(text: str, parts: tuple[str, str | None]) -> None:
    assert split(text) == parts


@pytest.mark.parametrize("text", ["", ":live", "a:b:c", "hello:", "arn:aws:lambda"])
def test_what_names_no_function_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="names no function"):
        split(text)


def reported(world: World, invocation: FakeInvocation) -> None:
    """Give an invocation the log that the lab's real environments write."""
    invocation.request_id = world.environments[-1].calls[-1]["request_id"]
    init = "\tInit Duration: 100.00 ms" if invocation.cold else ""
    duration = 12.0 if invocation.cold else 1.5
    invocation.log = (
        f"START RequestId: {invocation.request_id}",
        f"REPORT RequestId: {invocation.request_id}\tDuration: {duration:.2f} ms\tBilled Duration: 2 ms"
        f"\tMemory Size: 128 MB\tMax Memory Used: 40 MB{init}\t",
    )


@pytest.fixture
def world() -> World:
    made = World()

    async def work(invocation: FakeInvocation) -> None:
        reported(made, invocation)

    made.work = work
    return made


@pytest.fixture
def api(world: World, tmp_path: Path) -> Iterator[tuple[str, Any]]:
    (tmp_path / "app.py").write_text("def handler(event, context): return event")
    with Lab(environment=world) as lab:
        function = lab.function("hello", code=tmp_path, handler="app.handler", memory=256, env={"OWN": "1"})
        yield lab.serve().url, function


def test_a_function_in_aws_is_measured_cold_and_warm_and_given_back_as_it_was(
    api: tuple[str, Any], world: World
) -> None:
    url, function = api
    reach = {"endpoint_url": url}
    traced = side("aws:hello", reach=reach)
    untraced = traced.with_variable("OTEL_SDK_DISABLED=true", "untraced")
    results = run(
        Benchmark(baseline=untraced, candidate=traced, memory_mb=(512,), pairs=3, aa=0, warm=2), FakeLab()
    )
    assert exit_code(results) == 0, results["warnings"]
    for sample in results["samples"]:
        assert [i["cold"] for i in sample["invocations"]][:2] == [True, False]
        assert (sample["values"]["init_ms"], sample["values"]["warm_ms"]) == (100, 1.5)
        assert sample["values"]["cold_ms"] == 112
    used = [environment.spec for environment in world.environments]
    assert len({spec.env[COLD] for spec in used}) == len(used) == 8
    assert {spec.memory_mb for spec in used} == {512}
    assert {spec.env.get("OTEL_SDK_DISABLED") for spec in used} == {None, "true"}
    assert all(spec.env["OWN"] == "1" for spec in used)
    assert (function.spec.env, function.spec.memory_mb) == ({"OWN": "1"}, 256)
    assert results["targets"]["candidate"]["kind"] == "aws"


def test_after_an_interruption_too_the_function_is_given_back(api: tuple[str, Any], world: World) -> None:
    url, function = api
    target = side("aws:hello", reach={"endpoint_url": url})

    class Impatient:
        def __getattr__(self, name: str) -> Any:
            return self.stop if name == "invocation" else lambda *_: None

        def stop(self) -> None:
            raise KeyboardInterrupt

    results = run(Benchmark(baseline=target, candidate=target), FakeLab(), Impatient())
    assert results["interrupted"]
    assert len(world.environments) == 1
    assert function.spec.env == {"OWN": "1"}


def test_a_published_version_is_taken_as_it_is(api: tuple[str, Any]) -> None:
    url, function = api
    version = function.publish()
    published = side(f"aws:hello:{version}", reach={"endpoint_url": url})
    account = Account(published.text, published.reach)
    assert (account.memory_mb, account.runtime is None or account.runtime.startswith("python")) == (256, True)
    with pytest.raises(UsageError, match="is published and cannot be changed"):
        account.function(memory=512, timeout=3, env={})
    with pytest.raises(UsageError, match="is published and cannot be changed"):
        account.function(memory=256, timeout=3, env={"A": "1"})
    results = run(Benchmark(baseline=published, candidate=published, memory_mb=(256,), pairs=2), FakeLab())
    # Its first environment was new, as it happened; none could be forced after that.
    assert [sample["invocations"][0]["cold"] for sample in results["samples"]][:3] == [True, False, False]
    assert "not-cold" in {doubt["code"] for doubt in results["warnings"]}
    assert function.spec.env == {"OWN": "1"}


def test_what_a_killed_run_left_behind_is_taken_away(api: tuple[str, Any]) -> None:
    url, function = api
    account = Account("aws:hello", {"endpoint_url": url})
    account.configure(memory=128, env={})
    assert set(function.spec.env) == {"OWN", COLD}
    target = side("aws:hello", reach={"endpoint_url": url})
    run(Benchmark(baseline=target, candidate=target, pairs=1, aa=0, warm=0), FakeLab())
    assert function.spec.env == {"OWN": "1"}


def test_variables_that_cannot_be_read_are_not_replaced(
    api: tuple[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def call(_self: Account, operation: str, **_: Any) -> Any:
        assert operation == "get_function_configuration", "nothing may be changed"
        return {"MemorySize": 128, "Environment": {"Error": {"Message": "KMS: access denied"}}}

    monkeypatch.setattr(Account, "call", call)
    target = side("aws:hello", reach={"endpoint_url": api[0]})
    with pytest.raises(UsageError, match=r"cannot be read \(KMS: access denied\)"):
        run(Benchmark(baseline=target, candidate=target), FakeLab())


def test_a_function_that_fails_in_aws_has_no_speed(api: tuple[str, Any], world: World) -> None:
    async def fail(invocation: FakeInvocation) -> None:
        reported(world, invocation)
        invocation.function_error, invocation.payload = "Unhandled", json.dumps(ERROR).encode()

    world.work = fail
    target = side("aws:hello", reach={"endpoint_url": api[0]})
    results = run(Benchmark(baseline=target, candidate=target), FakeLab())
    assert "ValueError: no" in str(results["error"])


def test_an_answer_without_a_report_is_no_measurement(api: tuple[str, Any], world: World) -> None:
    world.work = world.nothing
    target = side("aws:hello", reach={"endpoint_url": api[0]})
    results = run(Benchmark(baseline=target, candidate=target), FakeLab())
    assert "gave no REPORT line" in str(results["error"])


def test_what_aws_refuses_is_said_in_its_words(api: tuple[str, Any]) -> None:
    with pytest.raises(LabError, match=r"^aws:missing: Function not found: .*missing\.$"):
        Account("aws:missing", {"endpoint_url": api[0]})


# --- containers


class DockerEngine(BaseHTTPRequestHandler):
    """As much of Docker's HTTP API as its own SDK needs for a container; what runs in one is `served`."""

    state: ClassVar[dict[str, Any]]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.endswith("/version"):
            self._say({"ApiVersion": "1.45", "Version": "27.0"})
        elif path.endswith("/_ping"):
            self._say("OK")
        elif path.endswith("/stats"):
            self.state["cpu"] += 5_000_000
            self._say({"cpu_stats": {"cpu_usage": {"total_usage": self.state["cpu"]}}, "memory_stats": {}})
        elif "/containers/" in path:
            port = self.state["url"].rpartition(":")[2]
            bound = [{"HostIp": "127.0.0.1", "HostPort": port}]
            config = {"Image": "sha256:1"}
            self._say({"Id": "c1", "Config": config, "NetworkSettings": {"Ports": {"8080/tcp": bound}}})
        else:
            self._say({"Id": "sha256:1"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        if path.endswith("/containers/create"):
            self.state["created"].append(json.loads(body))
            self._say({"Id": "c1", "Warnings": []}, 201)
        else:
            self.state["started"] += path.endswith("/start")
            self._say("", 204)

    def do_DELETE(self) -> None:
        self.state["removed"] += 1
        self._say("", 204)

    def _say(self, body: object, code: int = 200) -> None:
        text = b"" if code == 204 else (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_an_image_is_measured_in_a_new_container_for_each_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    with served() as (url, _):
        state: dict[str, Any] = {"url": url, "created": [], "started": 0, "removed": 0, "cpu": 0}
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (DockerEngine,), {"state": state}))
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{server.server_address[1]}")
        monkeypatch.delenv("DOCKER_TLS_VERIFY", raising=False)
        try:
            image = side("docker:hello:1")
            untraced = image.with_variable("OTEL_SDK_DISABLED=true", "untraced")
            results = run(
                Benchmark(baseline=untraced, candidate=image, memory_mb=(512,), pairs=2, aa=0, warm=1),
                FakeLab(),
            )
        finally:
            server.shutdown()
            server.server_close()
    assert exit_code(results) == 0, results
    assert len(state["created"]) == state["started"] == state["removed"] == len(results["samples"]) == 6
    first = state["created"][0]
    assert first["Image"] == "hello:1"
    assert first["HostConfig"]["Memory"] == 512 * 2**20
    assert "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=512" in first["Env"]
    assert "OTEL_SDK_DISABLED=true" in first["Env"]
    for sample in results["samples"]:
        assert [i["cold"] for i in sample["invocations"]] == [True, False]
        assert "first_ms" not in sample["values"]
        assert sample["values"]["cold_cpu_ms"] == sample["values"]["warm_cpu_ms"] == 5


@pytest.mark.parametrize("host", ["tcp://127.0.0.1:9", "unix:///nowhere/docker.sock"])
def test_without_an_engine_one_line_says_what_to_do(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    with pytest.raises(LabError, match="No Docker engine answers, which docker:hello needs") as caught:
        Engine("docker:hello")
    assert "\n" not in str(caught.value)
    del caught
    gc.collect()  # no socket is left open: that would be a warning, and so an error
