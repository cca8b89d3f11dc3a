"""The fakes that users' tests are made with."""

from __future__ import annotations

import base64
import json
import logging
import time
import unittest
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import opentelemetry.trace
import pytest
from awslambdaric.lambda_context import LambdaContext as RealContext

import lambent
from lambent import diagnostics, testing
from lambent.context import CURRENT
from lambent.propagation import baggage
from lambent.testing import (
    FakeClock,
    LambdaContext,
    SequentialIds,
    assert_trace,
    event,
    expect,
    recording_tracer,
)
from lambent.triggers import recognise
from lambent_lab import events as lab_events


def test_a_clock_that_stands() -> None:
    clock = FakeClock(5)
    assert (clock(), clock()) == (5, 5)
    clock.advance(1.5)
    assert clock() == 1_500_000_005


def test_ids_in_sequence() -> None:
    ids = SequentialIds()
    assert [ids.trace_id(), ids.trace_id(), ids.span_id(), ids.span_id()] == [1, 2, 1, 2]


def test_a_context_as_lambda_gives_it() -> None:
    context = LambdaContext(
        function_name="f", region="us-east-1", account_id="1", memory_limit_in_mb=256, timeout=2
    )
    assert context.invoked_function_arn == "arn:aws:lambda:us-east-1:1:function:f"
    assert context.memory_limit_in_mb == "256"
    assert context.log_group_name == "/aws/lambda/f"
    assert 1000 < context.get_remaining_time_in_millis() <= 2000
    assert LambdaContext(timeout=-1).get_remaining_time_in_millis() == 0


def test_a_recording_tracer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "from the process")
    tracer = recording_tracer(environ={"OTEL_SERVICE_NAME": "from the test"}, project="p")
    with tracer.trace("s"):
        tracer.fake_clock.advance(2)
    (span,) = tracer.spans
    assert span.end_time is not None
    assert span.end_time - span.start_time == 2_000_000_000
    assert span.resource.attributes["service.name"] == "from the test"
    assert span.resource.attributes["lambent.project"] == "p"
    assert tracer.force_flush()
    assert recording_tracer().resource.attributes["service.name"] == "unknown_service:python"


def test_recording_tracers_do_not_meet() -> None:
    first, second = recording_tracer(), recording_tracer()
    first.start_span("s").end()
    assert (len(first.spans), len(second.spans)) == (1, 0)


def test_the_real_clock_is_the_worlds() -> None:
    tracer = lambent.init(test_mode=True)
    before = time.time_ns()
    span = tracer.start_span("s")
    assert isinstance(span, lambent.Span)
    assert before <= span.start_time <= time.time_ns()
    tracer.close()


def test_a_context_has_what_lambdas_has(capsys: pytest.CaptureFixture[str]) -> None:
    real = RealContext("id", None, {}, 0, "arn", "tenant")
    fake = LambdaContext(tenant_id="tenant", trace_context={"traceparent": "00-1-2-01"})

    def public(context: object) -> set[str]:
        return {name for name in dir(context) if not name.startswith("_")}

    assert public(fake) == public(real)
    assert fake.identity.cognito_identity_id is real.identity.cognito_identity_id is None
    assert (fake.tenant_id, fake.client_context) == ("tenant", None)
    assert fake.w3c() == {"traceparent": "00-1-2-01"}
    assert LambdaContext().w3c() == real.w3c() == {}
    fake.log("said")
    assert capsys.readouterr().out == "said"


def test_a_contexts_time_runs_out_by_the_clock_of_the_test() -> None:
    tracer = recording_tracer()
    context = tracer.context(timeout=2, function_name="orders")
    assert (context.function_name, context.get_remaining_time_in_millis()) == ("orders", 2000)
    tracer.fake_clock.advance(1.5)
    assert context.get_remaining_time_in_millis() == 500
    tracer.fake_clock.advance(1.5)
    assert context.get_remaining_time_in_millis() == 0


# Isolation.


def test_a_tracer_for_a_block() -> None:
    outside = lambent.init(test_mode=True)
    with testing.tracer(service_name="orders") as tracer:
        assert lambent.get_tracer() is tracer
        inner = lambent.init(project="p")
        with inner.trace("inner"), tracer.trace("outer"):
            pass
        assert_trace(tracer, expect("inner", "outer"))
        assert tracer.spans[0].resource.attributes["service.name"] == "orders"
        assert tracer.spans[1].resource.attributes["lambent.project"] == "p"
    assert lambent.get_tracer() is outside
    outside.close()


def test_each_block_begins_as_a_process_does() -> None:
    entries = baggage.attach({"session.id": "outside"})
    leftover = recording_tracer().start_span("left current")
    token = CURRENT.set(leftover)
    before = diagnostics._said
    try:
        for _ in range(2):
            with testing.tracer() as tracer:
                assert lambent.current_span() is None
                assert baggage.current() == {}
                with tracer.invocation({}, tracer.context()), tracer.trace("s"):
                    diagnostics.say_once("k", "said")
                with tracer.invocation({}, tracer.context()):
                    pass
                assert [span.attributes.get("faas.coldstart") for span in tracer.spans] == [None, True, False]
                assert tracer.spans[0].context.span_id == 2
                assert tracer.spans[0].parent is not None
        assert CURRENT.get() is leftover
        assert baggage.current() == {"session.id": "outside"}
        assert diagnostics._said is before
    finally:
        CURRENT.reset(token)
        baggage.detach(entries)


def test_log_records_in_a_block(caplog: pytest.LogCaptureFixture) -> None:
    """What a function asks of `init` is there in its tests: its log format may name the ids."""
    log = logging.getLogger("shop")
    with testing.tracer(log_events="warning") as tracer:
        lambent.init(log_correlation=True)
        with tracer.trace("load"):
            log.warning("stock is low")
    assert caplog.records[-1].__dict__["span_id"] == "0000000000000001"
    assert [each.name for each in tracer.spans[0].events] == ["log"]
    log.warning("after")
    assert not hasattr(caplog.records[-1], "span_id")


def test_a_block_that_fails_is_undone() -> None:
    init = lambent.init
    with pytest.raises(KeyError), testing.tracer():
        raise KeyError
    assert lambent.init is init
    assert lambent._default is None


class Processor:
    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_start(self, span: Any, parent_context: object = None) -> None:
        span.set_attribute("processed", True)

    def on_end(self, span: Any) -> None:
        self.seen.append(span.name)


@pytest.mark.parametrize("options", [{"recorder": False}, {"recorder": True}, {"session_name": "shop"}])
def test_a_tracer_that_was_there_before(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, options: dict[str, Any]
) -> None:
    """A function's module has made its tracer when it was imported, here as in Lambda."""
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "orders")
    monkeypatch.setenv("LAMBENT_RECORDER_FOLDER", str(tmp_path))
    processor, elsewhere = Processor(), testing.MemoryExporter()
    tracer = lambent.init(service_name="orders", exporter=elsewhere, processors=[processor], **options)

    @tracer.handler
    def handler(event: object, context: object) -> None:
        with tracer.trace("load"):
            pass

    handler({}, LambdaContext())
    tracer.force_flush()
    for _ in range(2):
        with testing.recording(tracer) as recorded:
            handler({}, recorded.context(function_name="orders"))
            recorded.fake_clock.advance(1)
            assert lambent.get_tracer() is tracer
            assert recorded.spans[1].context.trace_id == 1
            assert recorded.spans[0].start_time == FakeClock().now
        assert_trace(
            recorded,
            expect("orders", "load", attributes={"processed": True, "faas.coldstart": True}),
        )
        sessions = {span.attributes.get("session.id") for span in recorded.spans}
        assert len(sessions) == 1
        assert (sessions == {None}) is ("session_name" not in options)
        assert recorded.spans[0].resource.attributes["service.name"] == "orders"
    assert len(elsewhere.spans) == 2
    handler({}, LambdaContext())
    tracer.close()
    assert len(elsewhere.spans) == 4
    assert processor.seen == ["load", "test-function", *["load", "orders"] * 2, "load", "test-function"]
    assert abs(elsewhere.spans[-1].start_time - time.time_ns()) < 3600 * 1_000_000_000


class InAUnittest(unittest.TestCase):
    """The same without pytest's help."""

    def setUp(self) -> None:
        self.tracer = self.enterContext(testing.tracer())

    def test_it(self) -> None:
        with self.tracer.trace("s"):
            pass
        assert_trace(self.tracer, "s")


def test_without_pytest(run_python: Any) -> None:
    program = """
import sys
from lambent import testing
with testing.tracer() as tracer:
    with tracer.invocation(testing.event("sqs", "x"), tracer.context()):
        pass
testing.assert_trace(tracer, ...)
assert not {"pytest", "unittest", "typing"} & set(sys.modules), sys.modules.keys()
"""
    run_python(program)


# Events.

SOURCES = ["apigw-v1", "apigw-v2", "sqs", "sns", "kinesis", "s3", "eventbridge"]


def within(part: Any, whole: Any, path: str = "") -> None:
    """Assert that each name in a small event stands in the same place of a whole one, with its type."""
    if path.endswith(
        ("headers", "queryStringParameters", "detail", "messageAttributes", "MessageAttributes")
    ):
        return
    if isinstance(part, dict):
        assert isinstance(whole, dict), path
        for name, value in part.items():
            assert name in whole, f"{path}.{name}"
            within(value, whole[name], f"{path}.{name}")
    elif isinstance(part, list):
        for each in part:
            within(each, whole[0], f"{path}[0]")
    elif part is not None and whole is not None:
        assert type(part) is type(whole), path


@pytest.mark.parametrize("source", SOURCES)
def test_a_small_event_is_part_of_a_whole_one(source: str) -> None:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    small = event(source, "text", headers={"traceparent": "x"}, query={"a": "b"})
    small.pop("body", None)
    within(small, lab_events.sample(source, now))
    assert json.loads(json.dumps(small)) == small
    whole = recognise(lab_events.sample(source, now))
    assert recognise(small).trigger == whole.trigger


def test_the_payloads_of_events() -> None:
    assert [record["body"] for record in event("sqs", "a", {"b": 1})["Records"]] == ["a", '{"b": 1}']
    first, second = event("sqs", "a", "b", headers={"traceparent": "p"})["Records"]
    assert first["messageId"] != second["messageId"]
    assert second["messageAttributes"]["traceparent"]["stringValue"] == "p"
    (sns,) = event("sns", headers={"h": "v"})["Records"]
    assert (sns["Sns"]["Message"], sns["Sns"]["MessageAttributes"]["h"]["Value"]) == ("{}", "v")
    (kinesis,) = event("kinesis", {"a": "ü"})["Records"]
    assert json.loads(base64.b64decode(kinesis["kinesis"]["data"])) == {"a": "ü"}
    assert event("s3", "a/b.txt")["Records"][0]["s3"]["object"]["key"] == "a/b.txt"
    assert event("eventbridge", {"order": 7})["detail"] == {"order": 7}
    request = event("apigw-v2", {"x": 1}, method="POST", path="/orders", query={"a": "b", "c": "d"})
    assert (request["body"], request["rawPath"], request["rawQueryString"]) == (
        '{"x": 1}',
        "/orders",
        "a=b&c=d",
    )
    assert request["requestContext"]["http"]["method"] == "POST"
    older = event("apigw-v1", method="PUT", path="/orders/1")
    assert (older["httpMethod"], older["path"], older["body"]) == ("PUT", "/orders/1", None)
    one = event("sqs", headers={"a": "b"})
    one["Records"][0]["messageAttributes"].clear()
    assert event("sqs", headers={"a": "b"})["Records"][0]["messageAttributes"]
    with pytest.raises(ValueError, match="no events of 'fax': the sources are apigw-v1"):
        event("fax")


# OpenTelemetry's API.


def test_the_api_finds_the_tracer_of_the_block() -> None:
    trace: Any = opentelemetry.trace
    before = trace._TRACER_PROVIDER, trace._TRACER_PROVIDER_SET_ONCE
    held = trace.get_tracer("library")  # as libraries do, once
    for _ in range(2):
        with testing.tracer() as tracer:
            assert trace.get_tracer_provider() is tracer.provider
            with tracer.trace("ours"), trace.get_tracer("library").start_as_current_span("theirs"):
                held.start_span("of one from before").end()
            assert_trace(
                tracer,
                expect("ours", expect("theirs", "of one from before", scope="library"), scope="lambent"),
            )
        assert before == (trace._TRACER_PROVIDER, trace._TRACER_PROVIDER_SET_ONCE)


def test_the_api_finds_a_tracer_that_records() -> None:
    trace = opentelemetry.trace
    elsewhere = testing.MemoryExporter()
    tracer = lambent.init(exporter=elsewhere)
    held = tracer.provider.get_tracer("library")
    with testing.recording(tracer) as recorded:
        assert trace.get_tracer_provider() is tracer.provider
        with tracer.trace("ours"):
            held.start_span("theirs").end()
        assert_trace(recorded, expect("ours", expect("theirs", scope="library")))
    held.start_span("after").end()
    assert [span.name for span in elsewhere.spans] == ["after"]
    tracer.close()


def test_the_api_is_found_in_a_block_for_the_first_time(run_python: Any) -> None:
    program = f"""
import sys
sys.path.append({str(Path(opentelemetry.trace.__file__).parents[2])!r})
from lambent import testing
for number in range(2):
    with testing.tracer() as tracer:
        from opentelemetry import trace
        with tracer.trace("ours"), trace.get_tracer("library").start_as_current_span("theirs"):
            pass
        testing.assert_trace(tracer, testing.expect("ours", "theirs"))
    assert trace._TRACER_PROVIDER is None, number
"""
    run_python(program)
