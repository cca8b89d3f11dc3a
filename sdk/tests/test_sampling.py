"""Which traces are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace as otel
from opentelemetry.sdk.trace import sampling as theirs

from lambent.context import SpanContext, TraceState
from lambent.parts import Link
from lambent.sampling import AlwaysOff, AlwaysOn, Decision, ParentBased, Sampler, TraceIdRatio, sampler_named
from lambent.span import NonRecordingSpan, Span
from lambent.testing import recording_tracer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NAMES = [
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
]


def their_sampler(name: str, ratio: float) -> theirs.Sampler:
    samplers: dict[str, theirs.Sampler] = {
        "always_on": theirs.ALWAYS_ON,
        "always_off": theirs.ALWAYS_OFF,
        "traceidratio": theirs.TraceIdRatioBased(ratio),
        "parentbased_always_on": theirs.DEFAULT_ON,
        "parentbased_always_off": theirs.DEFAULT_OFF,
        "parentbased_traceidratio": theirs.ParentBasedTraceIdRatio(ratio),
    }
    return samplers[name]


@given(
    st.sampled_from(NAMES),
    st.sampled_from([0.0, 1e-9, 0.1, 0.5, 1.0]) | st.floats(0, 1),
    st.integers(1, 2**128 - 1),
    st.none() | st.tuples(st.booleans(), st.booleans(), st.dictionaries(st.just("k"), st.just("v"))),
)
def test_they_decide_as_opentelemetrys(
    name: str, ratio: float, trace_id: int, parent: tuple[bool, bool, dict[str, str]] | None
) -> None:
    ours: SpanContext | None = None
    context = otel.set_span_in_context(otel.INVALID_SPAN)
    if parent is not None:
        sampled, remote, state = parent
        ours = SpanContext(trace_id, 5, remote, int(sampled), TraceState(state))
        flags = otel.TraceFlags(int(sampled))
        foreign = otel.SpanContext(trace_id, 5, remote, flags, otel.TraceState(list(state.items())))
        context = otel.set_span_in_context(otel.NonRecordingSpan(foreign))
    decision = sampler_named(name, repr(ratio)).should_sample(ours, trace_id, "n", 0, None, ())
    expected = their_sampler(name, ratio).should_sample(context, trace_id, "n")
    assert decision.sampled == expected.decision.is_sampled()  # type: ignore[no-untyped-call]  # theirs
    if decision.sampled:
        assert dict(decision.trace_state or {}) == dict(expected.trace_state or {})


@pytest.mark.parametrize("name", NAMES)
def test_names_from_the_environment(name: str) -> None:
    tracer = recording_tracer(environ={"OTEL_TRACES_SAMPLER": name, "OTEL_TRACES_SAMPLER_ARG": "0"})
    span = tracer.start_span("s")
    assert isinstance(span, Span) == (name in {"always_on", "parentbased_always_on"})
    child = tracer.start_span("s", context=SpanContext(1, 2, True, 1))
    assert isinstance(child, Span) == (name not in {"always_off", "traceidratio"})
    unsampled = tracer.start_span("s", context=SpanContext(1, 2, True, 0))
    assert isinstance(unsampled, Span) == (name == "always_on")


@pytest.mark.parametrize("argument", ["1.5", "-0.1", "nan", "half", "inf"])
def test_a_wrong_ratio_keeps_everything_and_is_said(
    argument: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tracer = recording_tracer(
        environ={"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": argument}
    )
    assert isinstance(tracer.start_span("s"), Span)
    assert f"OTEL_TRACES_SAMPLER_ARG='{argument}'" in capsys.readouterr().err


def test_errors_name_what_there_is() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        TraceIdRatio(2)
    with pytest.raises(ValueError, match="the names are always_on"):
        sampler_named("coin")


def test_descriptions() -> None:
    assert (
        sampler_named("parentbased_traceidratio", "0.25").description
        == "ParentBased{root:TraceIdRatioBased{0.25}}"
    )
    assert isinstance(AlwaysOn(), Sampler)
    assert isinstance(ParentBased(AlwaysOff()), Sampler)


class Mine:
    description = "Mine"

    def __init__(self, decision: Decision | Exception) -> None:
        self.decision = decision
        self.asked: list[tuple[Any, ...]] = []

    def should_sample(
        self,
        parent: SpanContext | None,
        trace_id: int,
        name: str,
        kind: int,
        attributes: Mapping[str, object] | None,
        links: Sequence[Link],
    ) -> Decision:
        self.asked.append((parent, trace_id, name, kind, attributes, list(links)))
        if isinstance(self.decision, Exception):
            raise self.decision
        return self.decision


def test_a_sampler_of_the_users() -> None:
    sampler = Mine(Decision(True, {"sampler.rule": "r", "a": "theirs"}, TraceState(s="1")))
    tracer = recording_tracer(sampler=sampler)
    link = Link(SpanContext(8, 9))
    with tracer.trace("s", kind="CLIENT", attributes={"a": 1}, links=[link]), tracer.trace("child"):
        pass
    child, span = tracer.spans
    assert sampler.asked[0] == (None, 1, "s", 2, {"a": 1}, [link])
    assert sampler.asked[1][0] == span.context
    # What a sampler adds is kept beside what the caller gave, and wins.
    assert span.attributes == {"sampler.rule": "r", "a": "theirs"}
    assert child.attributes == {"sampler.rule": "r", "a": "theirs"}
    assert child.context.trace_state == span.context.trace_state == {"s": "1"}
    assert len(span.links) == 1


def test_a_sampler_that_says_no() -> None:
    tracer = recording_tracer(sampler=Mine(Decision(False)))
    with tracer.trace("s") as span:
        assert isinstance(span, NonRecordingSpan)
        assert span.context.trace_flags == 0
    assert tracer.spans == []


def test_a_sampler_that_fails_keeps_the_span(capsys: pytest.CaptureFixture[str]) -> None:
    tracer = recording_tracer(sampler=Mine(RuntimeError("broken")))
    tracer.start_span("s", attributes={"a": 1}).end()
    tracer.start_span("s").end()
    assert len(tracer.spans) == 2
    assert tracer.spans[0].attributes == {"a": 1}
    assert capsys.readouterr().err.count("the sampler failed (RuntimeError: broken)") == 1


# Samplers of OpenTelemetry's SDK.


@pytest.mark.parametrize("name", NAMES)
def test_one_of_the_sdk_decides_as_ours_of_the_same_name(name: str) -> None:
    parents = [None, *[SpanContext(n << 62, n, True, n & 1) for n in range(1, 9)]]
    ours = recording_tracer(sampler=name, sampler_argument="0.5")
    wrapped = recording_tracer(sampler=their_sampler(name, 0.5))
    for tracer in (ours, wrapped):
        for number, parent in enumerate(parents):
            with tracer.trace(f"s{number}", context=parent), tracer.trace("child"):
                pass
    kept = [(span.name, span.context.trace_flags) for span in wrapped.spans]
    assert kept == [(span.name, span.context.trace_flags) for span in ours.spans]


def test_one_of_the_sdk_is_told_and_believed(capsys: pytest.CaptureFixture[str]) -> None:
    class Theirs(theirs.Sampler):
        asked: list[Any] = []  # noqa: RUF012  # of one test

        def should_sample(
            self,
            parent_context: Any,
            trace_id: int,
            name: str,
            kind: Any = None,
            attributes: Any = None,
            links: Any = None,
            trace_state: Any = None,
        ) -> theirs.SamplingResult:
            parent = otel.get_current_span(parent_context).get_span_context()
            self.asked.append((parent, trace_id, name, kind, dict(attributes or {}), len(links)))
            decision = theirs.Decision.RECORD_ONLY if name == "seen" else theirs.Decision.RECORD_AND_SAMPLE
            return theirs.SamplingResult(decision, {"rule": 7}, otel.TraceState([("r", "1")]))

        def get_description(self) -> str:
            return "Theirs"

    tracer = recording_tracer(sampler=Theirs())
    parent = SpanContext(8, 9, True, 1, TraceState(up="stream"))
    with tracer.trace("s", context=parent, kind="CLIENT", attributes={"a": 1}, links=[Link(parent)]):
        tracer.start_span("seen").end()
    (span,) = tracer.spans
    (caller, *told), (_, *of_child) = Theirs.asked
    assert (caller.trace_id, caller.span_id, caller.is_remote, caller.trace_flags) == (8, 9, True, 1)
    assert caller.trace_state == {"up": "stream"}
    assert told == [8, "s", otel.SpanKind.CLIENT, {"a": 1}, 1]
    assert of_child == [8, "seen", otel.SpanKind.INTERNAL, {}, 0]
    assert span.attributes == {"a": 1, "rule": 7}
    assert span.context.trace_state == {"r": "1"}
    assert capsys.readouterr().err == ""
