"""Switched off: the same program runs, nothing is recorded and nothing is wrapped."""

from __future__ import annotations

from typing import Any

import pytest

import lambent
from lambent.disabled import DisabledTracer
from lambent.span import NonRecordingSpan
from lambent.testing import LambdaContext
from lambent.tracer import Tracer


@pytest.mark.parametrize("variable", ["OTEL_SDK_DISABLED", "LAMBENT_DISABLED"])
def test_both_variables(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "true")
    assert isinstance(lambent.init(), DisabledTracer)
    assert not isinstance(lambent.init(disabled=False), DisabledTracer)


def test_the_handler_is_the_function_itself() -> None:
    def handler(event: object, context: object) -> None: ...

    assert lambent.init(disabled=True).handler(handler) is handler


def test_a_whole_program() -> None:
    tracer = lambent.init(disabled=True)
    assert lambent.get_tracer() is tracer

    @tracer.start_as_current_span("decorated")
    def work() -> int:
        return 3

    with tracer.trace("s", attributes={"a": 1}) as span, tracer.start_as_current_span("t"):
        span.set_attribute("a", 1)
        span.set_attributes({"a": 1})
        span.add_event("e", {"a": 1})
        span.add_link(lambent.SpanContext(1, 2))
        span.set_status("ERROR", "x")
        span.update_name("n")
        span.record_exception(ValueError())
        assert not span.is_recording()
        assert not span.get_span_context().is_valid
        assert not span.context.is_valid
        current = lambent.current_span()
        assert current is not None
        current.set_attribute("a", 1)
        assert not current.is_recording()
        span.end()
    with tracer.invocation({}, LambdaContext(), name="x") as invocation:
        invocation.set_response({"statusCode": 500})
        invocation.set_attribute("a", 1)
        invocation.span.set_attribute("a", 1)
    with pytest.raises(ValueError, match="x"), tracer.trace("s"):
        raise ValueError("x")
    assert work() == 3
    assert tracer.resource.attributes["telemetry.sdk.name"] == "lambent"
    assert tracer.force_flush()
    assert tracer.force_flush(timeout_millis=1)
    tracer.close()
    assert lambent.current_span() is None
    assert lambent.get_tracer() is not tracer


def methods(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_") and callable(getattr(kind, name))}


def test_it_has_the_methods_of_a_tracer() -> None:
    assert methods(Tracer) - methods(DisabledTracer) == {"init"}


def test_its_span_has_the_methods_of_a_span() -> None:
    span: Any = lambent.init(disabled=True).start_span("s")
    assert methods(NonRecordingSpan) - methods(type(span)) == set()
