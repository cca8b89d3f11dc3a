"""The blocking façade, with environments that run nothing: which one, which spans, what is closed."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
import time
from typing import TYPE_CHECKING, Any, cast

import pytest
import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from lambent_lab.errors import LabError, UsageError
from lambent_lab.service import Lab
from lambent_lab.service.collect import Arrival, Arrivals, divide
from lambent_lab.service.result import parse_payload
from lambent_lab.traces import SpanRecord, Store
from lambent_lab.traces.stdout import MARKER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lambent_lab.service import Function
    from lambent_lab.service.testing import FakeInvocation, World

TRACE = "5b8efff798038103d269b633813fc60c"


@pytest.fixture
def lab(world: World) -> Iterator[Lab]:
    with Lab(environment=world) as opened:
        yield opened


def test_the_second_invocation_is_warm_and_stop_makes_the_next_one_cold(
    lab: Lab, world: World, tmp_path: Path
) -> None:
    function = lab.function(
        "hello", code=tmp_path, handler="app.handler", memory=256, timeout=7, env={"A": "b"}
    )
    assert function.box is None
    results = [function.invoke({"n": 1}), function.invoke()]
    function.stop()
    results.append(function.invoke("text"))
    assert [result.cold for result in results] == [True, False, True]
    assert world.payloads == [b'{"n": 1}', b"{}", b'"text"']
    assert [environment.closed for environment in world.environments] == [1, 0]
    assert function.box is world.environments[1].box
    spec = world.environments[0].spec
    assert (spec.memory_mb, spec.timeout_s, spec.env, spec.code) == (256, 7, {"A": "b"}, tmp_path)
    assert function.name == "hello"


def test_starting_ahead_makes_one_environment(lab: Lab, world: World, tmp_path: Path) -> None:
    function = lab.function("hello", code=tmp_path, handler="app.handler")
    function.start()
    function.start()
    assert function.invoke().cold
    assert len(world.environments) == 1


def test_invocations_at_once_have_environments_of_their_own(lab: Lab, world: World, tmp_path: Path) -> None:
    together = threading.Barrier(2, timeout=20)

    async def meet(invocation: FakeInvocation) -> None:
        await asyncio.to_thread(together.wait)

    world.work = meet
    function = lab.function("hello", code=tmp_path, handler="app.handler")
    threads = [threading.Thread(target=function.invoke) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(world.environments) == 2
    function.stop()
    assert [environment.closed for environment in world.environments] == [1, 1]


def test_a_busy_environment_is_closed_after_a_stop(lab: Lab, world: World, tmp_path: Path) -> None:
    going = threading.Event()

    async def wait(invocation: FakeInvocation) -> None:
        await asyncio.to_thread(going.wait, 20)

    world.work = wait
    function = lab.function("hello", code=tmp_path, handler="app.handler")
    thread = threading.Thread(target=function.invoke)
    thread.start()
    assert world.entered.wait(20)
    function.stop()
    assert world.environments[0].closed == 0
    going.set()
    thread.join(20)
    assert world.environments[0].closed == 1


def test_a_result_carries_the_report(lab: Lab, world: World, tmp_path: Path) -> None:
    async def fail(invocation: FakeInvocation) -> None:
        invocation.status, invocation.function_error = "error", cast("Any", "Unhandled")
        invocation.payload = b'{"errorType": "KeyError", "errorMessage": "a"}'

    world.work = fail
    result = lab.function("hello", code=tmp_path, handler="app.handler").invoke()
    assert (result.error, result.status, result.function_error, result.ok) == (
        "KeyError", "error", "Unhandled", False,
    )  # fmt: skip
    assert result.log == "START\nEND"
    assert (result.report.billed_ms, result.report.init_ms, result.report.cpu_ms) == (2, 100.0, 1.0)
    assert list(result.to_json()) == [
        "request_id", "cold", "status", "function_error", "payload", "duration_ms", "init_ms", "billed_ms",
        "memory_mb", "max_memory_mb", "box", "spans", "log",
    ]  # fmt: skip


def printed(name: str) -> str:
    span = {"traceId": TRACE, "spanId": "1" * 16, "name": name, "endTimeUnixNano": 1}
    payload = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    return json.dumps({MARKER: "1", "content-type": "application/json", "payload": payload})


def test_spans_in_the_log_are_the_invocations_and_stored(lab: Lab, world: World, tmp_path: Path) -> None:
    async def log(invocation: FakeInvocation) -> None:
        invocation.log = ("START", printed("hello"), json.dumps({MARKER: "1", "payload": 5}), "END")

    world.work = log
    result = lab.function("hello", code=tmp_path, handler="app.handler").invoke()
    assert [span.name for span in result.spans] == ["hello"]
    assert len(result.problems) == 1
    assert "payload is missing" in result.problems[0]
    assert [span.name for span in lab.store.trace("last")] == ["hello"]


def test_spans_sent_during_an_invocation_are_its_own(lab: Lab, world: World, tmp_path: Path) -> None:
    def post(name: str) -> None:
        request = ExportTraceServiceRequest()
        request.resource_spans.add().scope_spans.add().spans.add(
            trace_id=bytes.fromhex(TRACE), span_id=name.encode().ljust(8, b"-"), name=name
        )
        url = f"{lab.otlp_url}/v1/traces"
        headers = {"content-type": "application/x-protobuf"}
        assert requests.post(url, data=request.SerializeToString(), headers=headers, timeout=10).ok

    async def send(invocation: FakeInvocation) -> None:
        invocation.started_ns = time.time_ns()
        await asyncio.to_thread(post, "during")
        invocation.ended_ns = time.time_ns()

    world.work = send
    post("before")
    result = lab.function("hello", code=tmp_path, handler="app.handler").invoke()
    assert [span.name for span in result.spans] == ["during"]
    assert {span.name for span in lab.store.trace("last")} == {"before", "during"}
    assert (lab.received.requests, lab.received.spans) == (2, 2)


def test_leaving_closes_everything_and_saves_late_spans(world: World, tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    others = threading.enumerate()
    with Lab(environment=world, store=path) as lab:
        function = lab.function("hello", code=tmp_path, handler="app.handler")
        function.invoke()
        body = '{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"%s","spanId":"%s"}]}]}]}'
        url, headers = f"{lab.otlp_url}/v1/traces", {"content-type": "application/json"}
        assert requests.post(url, data=body % (TRACE, "2" * 16), headers=headers, timeout=10).ok
    lab.close()
    assert world.environments[0].closed == 1
    with Store(path) as store:
        assert len(store.trace("last")) == 1
    with pytest.raises(LabError, match="not open"):
        function.invoke()
    left = [thread.name for thread in threading.enumerate() if thread not in others]
    assert "lambent-lab" not in left


def test_spans_that_came_with_the_end_are_given_to_their_invocations(
    lab: Lab, world: World, tmp_path: Path
) -> None:
    heard: list[str] = []
    function = lab.function("hello", code=tmp_path, handler="app.handler", on_line=heard.append)
    results = [function.invoke(), function.invoke()]
    assert function.late(results) == {}

    def spans(number: int, request_id: str) -> list[dict[str, Any]]:
        trace = f"{number:032x}"
        attribute = {"key": "faas.invocation_id", "value": {"stringValue": request_id}}
        root = {"traceId": trace, "spanId": "1" * 16, "attributes": [attribute]}
        return [root, {"traceId": trace, "spanId": "2" * 16, "parentSpanId": "1" * 16}]

    first, second = (spans(number, result.request_id) for number, result in enumerate(results, 1))
    payload = {"resourceSpans": [{"scopeSpans": [{"spans": [*second, *spans(3, "another")]}]}]}
    line = json.dumps({MARKER: "1", "content-type": "application/json", "payload": payload})
    say = world.environments[0].on_line
    assert say is not None
    for each in ("the end", line):
        say(each)
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": first}]}]})
    headers = {"content-type": "application/json"}
    assert requests.post(f"{lab.otlp_url}/v1/traces", data=body, headers=headers, timeout=10).ok
    late = function.late(results)
    assert {request_id: [span.trace_id[-1] for span in found] for request_id, found in late.items()} == {
        results[0].request_id: ["1", "1"],
        results[1].request_id: ["2", "2"],
    }
    assert function.late(results) == {}, "each is given out once"
    assert heard == ["the end", line]


def test_a_store_that_fails_does_not_cost_the_result(world: World, tmp_path: Path) -> None:
    async def log(invocation: FakeInvocation) -> None:
        invocation.log = (printed("hello"),)

    world.work = log
    with Lab(environment=world, store=tmp_path) as lab:  # a folder cannot be a database
        result = lab.function("hello", code=tmp_path, handler="app.handler").invoke()
    assert [span.name for span in result.spans] == ["hello"]
    assert "cannot be used" in result.problems[0]


def test_a_store_that_was_given_stays_open(world: World) -> None:
    with Store(":memory:") as store:
        with Lab(environment=world, store=store):
            pass
        assert store.traces() == []


def test_environments_that_cannot_be_made_are_closed(lab: Lab, world: World, tmp_path: Path) -> None:
    world.broken = True
    with pytest.raises(LabError, match="no box can be made"):
        lab.function("hello", code=tmp_path, handler="app.handler").invoke()
    assert world.environments[0].closed == 1


def interrupt() -> None:
    # As a terminal's Ctrl-C does, to the main thread: one that waits wakes up.
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGINT)


def interrupt_when(event: threading.Event) -> threading.Thread:
    def work() -> None:
        assert event.wait(20)
        interrupt()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_an_interrupt_ends_the_invocation_and_its_environment(world: World, tmp_path: Path) -> None:
    world.work = world.forever
    thread = interrupt_when(world.entered)

    def interrupted() -> None:
        with Lab(environment=world) as lab:
            lab.function("hello", code=tmp_path, handler="app.handler").invoke()

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    thread.join(20)
    assert world.environments[0].closed >= 1


def test_an_interrupt_while_closing_waits_for_the_end(world: World, tmp_path: Path) -> None:
    lab = Lab(environment=world)
    lab.__enter__()
    lab.function("hello", code=tmp_path, handler="app.handler").invoke()
    world.close_seconds = 0.5
    timer = threading.Timer(0.1, interrupt)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        lab.close()
    timer.join(20)
    assert world.environments[0].closed == 1


def test_an_invocation_in_another_thread_hears_of_the_end(world: World, tmp_path: Path) -> None:
    world.work = world.forever
    errors: list[str] = []

    def invoke(function: Function) -> None:
        try:
            function.invoke()
        except LabError as error:
            errors.append(str(error))

    with Lab(environment=world) as lab:
        function = lab.function("hello", code=tmp_path, handler="app.handler")
        thread = threading.Thread(target=invoke, args=(function,))
        thread.start()
        assert world.entered.wait(20)
    thread.join(20)
    assert errors == ["The lab was closed while this was under way."]
    assert world.environments[0].closed >= 1


def test_events_that_lambda_would_not_take(lab: Lab, world: World, tmp_path: Path) -> None:
    function = lab.function("hello", code=tmp_path, handler="app.handler")
    for event in (object(), float("nan"), {"deep": {1, 2}}, "\ud800"):
        with pytest.raises(UsageError, match="cannot be written as JSON"):
            function.invoke(event)
    with pytest.raises(UsageError, match="bytes; Lambda takes 6291456"):
        function.invoke("x" * 6 * 1024 * 1024)
    assert world.environments == []


def test_versions_aliases_and_concurrency(lab: Lab, world: World, tmp_path: Path) -> None:
    function = lab.function("hello", code=tmp_path, handler="app.handler")
    assert function.publish("the first") == "1"
    function.alias("live", "1")
    function.invoke(qualifier="live")
    assert world.environments[0].spec.version == "1"
    assert world.environments[0].calls[0]["function_arn"] == f"{function.arn}:live"
    function.provision(2)
    assert len(world.environments) == 3
    function.alias("live", "$LATEST")
    assert function.invoke(qualifier="live", client_context={"a": 1}, trace_header="Root=1").cold
    assert len(world.environments) == 3
    assert world.environments[2].calls or world.environments[1].calls
    function.reserve(0)
    with pytest.raises(LabError, match="Rate Exceeded"):
        function.invoke()
    function.reserve(None)
    function.invoke()
    with pytest.raises(LabError, match=":hello:7"):
        function.invoke(qualifier="7")
    world.broken = True
    with pytest.raises(LabError, match="no box can be made"):
        function.provision(5)


def test_names_that_lambda_would_not_take(lab: Lab, tmp_path: Path) -> None:
    for name in ("", "a b", "x" * 65, "ä"):
        with pytest.raises(UsageError, match="cannot be called"):
            lab.function(name, code=tmp_path, handler="app.handler")
    with pytest.raises(UsageError, match="cannot have 0 environments"):
        Lab(max_environments=0)
    with pytest.raises(UsageError, match="idle time of 0 s"):
        Lab(idle_timeout=0)


def test_a_lab_must_be_open_and_only_once(lab: Lab) -> None:
    with pytest.raises(LabError, match="open already"):
        lab.__enter__()
    with pytest.raises(LabError, match="not open"):
        assert Lab().otlp_url
    with pytest.raises(LabError, match="not open"):
        assert Lab().received


def test_responses_that_are_not_json() -> None:
    assert parse_payload(b'{"a": 1}') == {"a": 1}
    assert parse_payload(b"null") is None
    assert parse_payload(b"NaN") == "NaN"
    assert parse_payload(b"") == ""
    assert parse_payload(b"\xffplain") == "\ufffdplain"


def span(number: int, parent: int = 0, trace: str = TRACE, invocation: str = "") -> SpanRecord:
    return SpanRecord(
        trace_id=trace,
        span_id=f"{number:016x}",
        parent_span_id=f"{parent:016x}" if parent else "",
        name=str(number),
        attributes={"faas.invocation_id": invocation} if invocation else {},
    )


def names(spans: list[SpanRecord]) -> list[str]:
    return [span.name for span in spans]


def test_spans_follow_the_request_id_above_them() -> None:
    # One caller's trace that runs through two invocations; the spans arrive after both.
    spans = [span(1, invocation="a"), span(2, 1), span(3, 2), span(4, invocation="b"), span(5, 4)]
    arrivals = [Arrival(one, 500) for one in spans]
    mine, others = divide(arrivals, "a", 0, 10)
    assert names(mine) == ["1", "2", "3"]
    assert [arrival.span.name for arrival in others] == ["4", "5"]


def test_an_orphan_belongs_to_its_traces_only_invocation() -> None:
    mine, _ = divide([Arrival(span(1, invocation="a"), 500), Arrival(span(7, 99), 500)], "a", 0, 10)
    assert names(mine) == ["1", "7"]


def test_spans_without_any_request_id_go_by_their_time() -> None:
    arrivals = [Arrival(span(number), received_ns=number * 10) for number in (1, 2, 3)]
    mine, others = divide(arrivals, "a", 15, 25)
    assert names(mine) == ["2"]
    assert len(others) == 2


def test_a_foreign_request_id_beats_the_time() -> None:
    assert divide([Arrival(span(1, invocation="b"), 20)], "a", 15, 25)[0] == []


def test_a_circle_of_parents_ends() -> None:
    arrivals = [Arrival(span(1, 2), 20), Arrival(span(2, 1), 20)]
    assert names(divide(arrivals, "a", 15, 25)[0]) == ["1", "2"]


def test_claimed_spans_are_gone_and_the_oldest_are_forgotten() -> None:
    arrivals = Arrivals(limit=2)
    arrivals.add([span(1), span(2), span(3)], 20)
    assert names(arrivals.claim("a", 0, 30)) == ["2", "3"]
    assert arrivals.claim("a", 0, 30) == []


@pytest.mark.parametrize("what", ["layers", "extensions"])
def test_one_path_is_no_list_of_paths(tmp_path: Path, what: str) -> None:
    (tmp_path / "app.py").write_text("def handler(event, context): pass")
    options: dict[str, Any] = {what: str(tmp_path)}
    with Lab() as lab, pytest.raises(UsageError, match=f"{what} is a list of paths"):
        lab.function("f", code=tmp_path, handler="app.handler", **options)
