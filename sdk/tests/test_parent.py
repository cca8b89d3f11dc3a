"""Which parent an invocation has: the event's, or the one in Lambda's environment; and the canary."""

from __future__ import annotations

from typing import Any

import awslambdaric.lambda_context
import pytest

import lambent
from lambent.exporters.memory import MemoryExporter
from lambent.propagation import baggage
from lambent.testing import LambdaContext, RecordingTracer, recording_tracer

TRACE, SPAN = f"{1:08x}{2:024x}", f"{3:016x}"
W3C = f"00-{9:032x}-{8:016x}-01"
OTHERS = "Lineage=1:00000000:0"


def header(sampled: str = "1") -> str:
    return f"Root=1-{TRACE[:8]}-{TRACE[8:]};Parent={SPAN};Sampled={sampled};{OTHERS}"


def invoke(tracer: RecordingTracer, event: object = None, function: Any = lambda event, context: None) -> Any:
    tracer.handler(function)(event, LambdaContext())
    spans = tracer.spans
    return spans[-1] if spans else None


def http(**headers: str) -> dict[str, Any]:
    return {"requestContext": {"http": {"method": "GET"}}, "headers": headers}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_X_AMZN_TRACE_ID", header())


@pytest.mark.parametrize(
    "event", [None, {}, "x", http(), {"Records": []}, {"detail-type": "t", "detail": {}}]
)
def test_the_environment_counts_for_every_event_once_it_is_named(event: object) -> None:
    span = invoke(recording_tracer(propagators="tracecontext,xray-lambda"), event)
    assert (span.context.trace_id, span.parent.span_id) == (int(TRACE, 16), int(SPAN, 16))
    assert span.parent.is_remote
    assert invoke(recording_tracer(), event).parent is None
    assert invoke(recording_tracer(propagators="xray"), event).parent is None


@pytest.mark.parametrize(
    ("propagators", "trace_id"),
    [
        ("tracecontext,xray-lambda", 9),
        ("xray-lambda,tracecontext", int(TRACE, 16)),
        ("xray-lambda", int(TRACE, 16)),
        ("tracecontext,baggage,xray", 9),
        ("xray,tracecontext", 9),
    ],
)
def test_the_order_says_who_wins(propagators: str, trace_id: int) -> None:
    assert (
        invoke(recording_tracer(propagators=propagators), http(traceparent=W3C)).context.trace_id == trace_id
    )


def test_it_is_read_for_each_invocation(monkeypatch: pytest.MonkeyPatch) -> None:
    tracer = recording_tracer(propagators="xray-lambda")
    assert invoke(tracer).context.trace_id == int(TRACE, 16)
    monkeypatch.setenv("_X_AMZN_TRACE_ID", f"Root=1-{'4' * 8}-{'5' * 24};Parent={SPAN};Sampled=1")
    assert invoke(tracer).context.trace_id == int("4" * 8 + "5" * 24, 16)
    monkeypatch.delenv("_X_AMZN_TRACE_ID")
    assert invoke(tracer).parent is None


@pytest.mark.parametrize(
    "value", ["", "Root=1", "nonsense", f"Root=1-{TRACE[:8]}-{TRACE[8:]};Sampled=1", "\n;;=;"]
)
def test_a_header_without_a_parent_is_ignored(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_X_AMZN_TRACE_ID", value)
    assert invoke(recording_tracer(propagators="xray-lambda,tracecontext")).parent is None
    assert (
        invoke(recording_tracer(propagators="xray-lambda,tracecontext"), http(traceparent=W3C)).parent
        is not None
    )


# "Not sampled", by X-Ray.


@pytest.mark.parametrize("sampled", ["0", "?", ""])
@pytest.mark.parametrize("by_event", [False, True])
def test_xrays_no_does_not_switch_tracing_off(
    sampled: str, by_event: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "" if by_event else header(sampled))
    event = http(**{"X-Amzn-Trace-Id": header(sampled)}) if by_event else None
    span = invoke(recording_tracer(propagators="xray-lambda"), event)
    assert span.context.trace_id == int(TRACE, 16)
    assert lambent.SpanContext(int(TRACE, 16), int(SPAN, 16), True, 1) == span.parent


@pytest.mark.parametrize("by_event", [False, True])
def test_unless_that_is_asked_for(by_event: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "" if by_event else header("0"))
    event = http(**{"X-Amzn-Trace-Id": header("0")}) if by_event else None
    assert invoke(recording_tracer(propagators="xray-lambda", xray_sampling=True), event) is None
    monkeypatch.setenv("_X_AMZN_TRACE_ID", header("1"))
    assert invoke(recording_tracer(propagators="xray-lambda", xray_sampling=True)) is not None


def test_then_the_tracers_own_sampler_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_X_AMZN_TRACE_ID", header("0"))

    def kept(sampler: str, argument: str = "") -> bool:
        tracer = recording_tracer(propagators="xray-lambda", sampler=sampler, sampler_argument=argument)
        return invoke(tracer) is not None

    assert kept("parentbased_always_on")
    assert kept("always_on")
    assert not kept("always_off")
    assert not kept("parentbased_always_off")
    # The low 64 bits of this trace id are 2.
    assert kept("parentbased_traceidratio", "0.5")
    monkeypatch.setenv("_X_AMZN_TRACE_ID", f"Root=1-{'f' * 8}-{'f' * 24};Parent={SPAN};Sampled=0")
    assert not kept("parentbased_traceidratio", "0.5")


def test_the_no_of_a_caller_who_traces_is_followed() -> None:
    assert invoke(recording_tracer(), http(traceparent=f"{W3C[:-1]}0")) is None


def test_a_runtime_client_that_takes_the_context_out_of_the_client_context() -> None:
    context = awslambdaric.lambda_context.LambdaContext("r", {"w3c": {"traceparent": W3C}}, None, 0)
    tracer = recording_tracer()
    tracer.handler(lambda event, context: None)({}, context)
    assert tracer.spans[0].context.trace_id == 9


# Baggage.


def test_the_callers_baggage_is_current_in_the_invocation() -> None:
    tracer = recording_tracer()
    seen: list[dict[str, str]] = []

    def function(event: object, context: object) -> None:
        seen.append(dict(baggage.current()))
        sent: dict[str, str] = lambent.inject({})
        assert sent["baggage"] == "user=Zo%C3%AB"

    invoke(tracer, http(Baggage="user=Zo%C3%AB"), function)
    assert seen == [{"user": "Zoë"}]
    assert baggage.current() == {}


def test_baggage_is_a_propagator_of_its_own() -> None:
    def function(event: object, context: object) -> None:
        assert baggage.current() == {}
        assert lambent.inject({}).keys() == {"traceparent"}

    invoke(recording_tracer(propagators="tracecontext"), http(Baggage="user=x"), function)


def test_baggage_ends_with_an_invocation_that_fails() -> None:
    def function(event: object, context: object) -> None:
        raise KeyError("k")

    with pytest.raises(KeyError):
        invoke(recording_tracer(), http(baggage="a=1"), function)
    assert baggage.current() == {}


# The canary.


def test_a_canary_once_in_a_process(capsys: pytest.CaptureFixture[str]) -> None:
    exporter = MemoryExporter()
    tracer = lambent.init(exporter=exporter, cold_start_canary=True)
    lambent.init(exporter=exporter, cold_start_canary=True).close()
    tracer.force_flush()
    (span,) = exporter.spans
    assert (span.name, span.parent, dict(span.attributes)) == (
        "cold_start_canary",
        None,
        {"faas.coldstart": True},
    )
    assert f"cold_start_canary is trace {span.context.trace_id:032x}" in capsys.readouterr().err


def test_no_canary_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = MemoryExporter()
    lambent.init(exporter=exporter).force_flush()
    assert exporter.spans == []
    monkeypatch.setenv("LAMBENT_COLD_START_CANARY", "true")
    lambent.init(exporter=exporter).force_flush()
    assert [span.name for span in exporter.spans] == ["cold_start_canary"]
