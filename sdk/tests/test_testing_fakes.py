"""The fakes that users' tests are made with."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import lambent
from lambent.testing import FakeClock, LambdaContext, SequentialIds, recording_tracer

if TYPE_CHECKING:
    import pytest


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
