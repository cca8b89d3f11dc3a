"""What a span keeps, refuses and survives."""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING

import pytest
from opentelemetry import trace as otel

import lambent
from lambent.context import SpanContext, TraceState
from lambent.parts import Link
from lambent.span import NonRecordingSpan, Span
from lambent.testing import RecordingTracer, recording_tracer

if TYPE_CHECKING:
    from collections.abc import Iterator


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


@pytest.fixture
def tracer() -> Iterator[RecordingTracer]:
    made = recording_tracer()
    yield made
    made.close()


def test_a_finished_span_reads_like_a_readable_span(tracer: RecordingTracer) -> None:
    link = Link(SpanContext(7, 8, True, 1), {"l": 1})
    with tracer.trace("outer") as outer, tracer.trace("inner", kind="CLIENT", links=[link]) as inner:
        inner.set_attributes({"a": 1, "b": [True, None]})
        inner.add_event("happened", {"e": 2.5})
        tracer.fake_clock.advance(0.5)
        inner.set_status("ERROR", "went wrong")
    span = tracer.spans[0]
    assert span.name == "inner"
    assert span.kind == lambent.SpanKind.CLIENT == otel.SpanKind.CLIENT
    assert (span.context.trace_id, span.context.span_id) == (1, 2)
    assert span.context.trace_flags == 1
    assert span.context.trace_flags.sampled
    assert span.parent == outer.get_span_context()
    assert dict(span.attributes) == {"a": 1, "b": (True, None)}
    assert [(event.name, dict(event.attributes)) for event in span.events] == [("happened", {"e": 2.5})]
    assert [(kept.context.trace_id, dict(kept.attributes)) for kept in span.links] == [(7, {"l": 1})]
    assert span.status == lambent.Status("ERROR", "went wrong")
    assert span.end_time is not None
    assert span.end_time - span.start_time == 500_000_000
    assert span.resource.attributes["telemetry.sdk.name"] == "lambent"
    assert span.instrumentation_scope.name == "lambent"
    assert (span.dropped_attributes, span.dropped_events, span.dropped_links) == (0, 0, 0)
    assert not span.is_recording()
    assert "inner" in repr(span)


def test_after_the_end_nothing_changes_and_that_is_said_once(
    tracer: RecordingTracer, capsys: pytest.CaptureFixture[str]
) -> None:
    with tracer.trace("s") as span:
        pass
    end = tracer.spans[0].end_time
    span.set_attribute("a", 1)
    span.set_attributes({"b": 1})
    span.add_event("e")
    span.add_link(SpanContext(1, 2))
    span.set_status("ERROR")
    span.update_name("other")
    span.record_exception(ValueError())
    span.end()
    (kept,) = tracer.spans
    assert (kept.name, kept.end_time) == ("s", end)
    assert not kept.attributes
    assert not kept.events
    assert not kept.links
    assert kept.status.status_code == 0
    assert capsys.readouterr().err.count("after the end of span 's'") == 1


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        (["OK", "ERROR"], "OK"),
        (["ERROR", "OK"], "OK"),
        (["ERROR", "UNSET"], "ERROR"),
        (["OK", "UNSET"], "OK"),
        (["UNSET"], "UNSET"),
        ([2, 1], "OK"),
        ([otel.StatusCode.ERROR], "ERROR"),
        ([otel.Status(otel.StatusCode.ERROR, "why")], "ERROR"),
        ([lambent.Status("ERROR", "why")], "ERROR"),
        ([lambent.StatusCode.OK], "OK"),
        (["nonsense"], "UNSET"),
        ([None], "UNSET"),
        ([7], "UNSET"),
    ],
)
def test_status_precedence(tracer: RecordingTracer, calls: list[object], expected: str) -> None:
    with tracer.trace("s") as span:
        for call in calls:
            span.set_status(call)
    assert tracer.spans[0].status.status_code.name == expected


def test_only_an_error_has_a_description(tracer: RecordingTracer) -> None:
    with tracer.trace("s") as span:
        span.set_status("ERROR", "first")
        span.set_status("OK", "second")
    assert tracer.spans[0].status.description is None


def test_exceptions_are_told_apart_though_memory_is_used_again(tracer: RecordingTracer) -> None:
    with tracer.trace("s") as span:
        for number in range(5):
            try:
                int(f"x{number}")
            except ValueError as error:
                span.record_exception(error)
    messages = [event.attributes["exception.message"] for event in tracer.spans[0].events]
    assert [str(message)[-2] for message in messages] == ["0", "1", "2", "3", "4"]


def test_an_exception_is_let_go_at_the_end(tracer: RecordingTracer) -> None:
    class HeldError(Exception):
        pass

    with pytest.raises(HeldError), tracer.trace("s"):
        raise HeldError
    gc.collect()
    assert not [thing for thing in gc.get_objects() if type(thing) is HeldError]


def test_the_exception_event(tracer: RecordingTracer) -> None:
    with pytest.raises(ConnectionResetError), tracer.trace("s"):
        raise ConnectionResetError(104, "gone")
    (span,) = tracer.spans
    (event,) = span.events
    assert event.name == "exception"
    assert event.attributes["exception.type"] == "ConnectionResetError"
    assert event.attributes["exception.message"] == "[Errno 104] gone"
    assert "raise ConnectionResetError(104" in str(event.attributes["exception.stacktrace"])
    assert span.status.description == "ConnectionResetError: [Errno 104] gone"


def test_switches_of_what_an_exception_does(tracer: RecordingTracer) -> None:
    with pytest.raises(ValueError, match="x"), tracer.trace("s", record_exception=False):
        raise ValueError("x")
    with pytest.raises(ValueError, match="x"), tracer.trace("s", set_status_on_exception=False):
        raise ValueError("x")
    without_event, without_status = tracer.spans
    assert (len(without_event.events), without_event.status.status_code) == (0, 2)
    assert (len(without_status.events), without_status.status.status_code) == (1, 0)


def test_nothing_that_is_given_to_a_span_breaks_the_function(tracer: RecordingTracer) -> None:
    bad = Unprintable()
    failing: dict[str, object] = {"bad": bad, "good": 1}
    with tracer.start_span(
        bad,  # type: ignore[arg-type]  # wrong on purpose, here and below
        attributes=failing,
        links=[Link(SpanContext(1, 2), failing), None, Link(SpanContext("x", 2))],  # type: ignore[list-item,arg-type]
        kind="nonsense",
        start_time="yesterday",  # type: ignore[arg-type]
    ) as span:
        span.set_attribute("k", bad)
        span.set_attribute(bad, 1)  # type: ignore[arg-type]
        span.set_attribute(None, 1)  # type: ignore[arg-type]
        span.set_attributes(5)  # type: ignore[arg-type]
        span.set_attributes({bad: 1, "fine": 2})  # type: ignore[dict-item]
        span.add_event(bad, failing, "now")  # type: ignore[arg-type]
        span.add_event("e", 5)  # type: ignore[arg-type]
        span.add_link(None)  # type: ignore[arg-type]
        span.set_status(bad)
        span.set_status("ERROR", bad)  # type: ignore[arg-type]
        span.record_exception("no exception", 7)  # type: ignore[arg-type]
        span.update_name(bad)  # type: ignore[arg-type]
        span.end(float("nan"))  # type: ignore[arg-type]
    (kept,) = tracer.spans
    assert kept.name == "Unprintable"
    assert kept.attributes["good"] == 1
    assert kept.attributes["fine"] == 2
    assert kept.kind == 0
    assert kept.dropped_links == 4
    assert kept.end_time == tracer.fake_clock()
    from lambent.wire import json, protobuf

    assert protobuf.encode(tracer.spans)
    assert json.encode(tracer.spans)


def test_attributes_that_only_look_like_a_mapping(tracer: RecordingTracer) -> None:
    tracer.start_span("s", attributes=[("a", 1)]).end()  # type: ignore[arg-type]  # wrong on purpose
    assert dict(tracer.spans[0].attributes) == {}


def test_times_of_the_kinds_that_people_give(tracer: RecordingTracer) -> None:
    now = time.time() * 1e9  # a float: what `time` gives
    span = tracer.start_span("s", start_time=now)  # type: ignore[arg-type]  # wrong on purpose
    span.add_event("e", timestamp=now)  # type: ignore[arg-type]  # wrong on purpose
    span.end(now)  # type: ignore[arg-type]  # wrong on purpose
    (kept,) = tracer.spans
    assert kept.start_time == kept.end_time == kept.events[0].timestamp == int(now)
    tracer.start_span("s", start_time=-5).end(1 << 64)
    assert tracer.spans[1].start_time == tracer.spans[1].end_time == tracer.fake_clock()


@pytest.mark.parametrize("kind", [99, -1, 300, None, "x", 2.5, object()])
def test_a_kind_that_is_none_becomes_internal(tracer: RecordingTracer, kind: object) -> None:
    tracer.start_span("s", kind=kind).end()
    assert tracer.spans[0].kind == lambent.SpanKind.INTERNAL


@pytest.mark.parametrize(
    "kind", [3, "PRODUCER", "producer", lambent.SpanKind.PRODUCER, otel.SpanKind.PRODUCER]
)
def test_a_kind_in_every_form(tracer: RecordingTracer, kind: object) -> None:
    tracer.start_span("s", kind=kind).end()
    assert tracer.spans[0].kind.name == "PRODUCER"


def test_links_of_opentelemetry(tracer: RecordingTracer) -> None:
    context = otel.SpanContext(3, 4, True, otel.TraceFlags(1), otel.TraceState([("a", "b")]))
    with tracer.trace("s", links=[otel.Link(context)]) as span:  # type: ignore[list-item]  # as instrumentations do
        span.add_link(context, {"k": 1})  # type: ignore[arg-type]  # as instrumentations do
    expected = SpanContext(3, 4, True, 1, TraceState(a="b"))
    assert [link.context for link in tracer.spans[0].links] == [expected, expected]


def test_a_trace_state_given_as_a_mapping(tracer: RecordingTracer) -> None:
    context = SpanContext(1, 2, trace_flags=1, trace_state={"a": "b"})  # type: ignore[arg-type]  # as people do
    assert context.trace_state.to_header() == "a=b"
    tracer.start_span("s", context=context).end()
    assert tracer.spans[0].context.trace_state == {"a": "b"}


def test_an_unsampled_span_keeps_nothing_and_carries_its_context(tracer: RecordingTracer) -> None:
    parent = SpanContext(5, 6, True, 0, TraceState(v="1"))
    with tracer.trace("s", context=parent) as span:
        assert isinstance(span, NonRecordingSpan)
        assert not span.is_recording()
        assert lambent.current_span() is span
        assert span.get_span_context().trace_id == 5
        assert span.get_span_context().trace_state == {"v": "1"}
        span.set_attribute("a", 1)
        span.set_attributes({})
        span.add_event("e")
        span.add_link(parent)
        span.set_status("ERROR")
        span.update_name("n")
        span.record_exception(ValueError())
        with tracer.trace("child") as child:
            assert isinstance(child, NonRecordingSpan)
        span.end()
    assert tracer.spans == []


def test_both_kinds_of_span_have_the_same_methods() -> None:
    def methods(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_") and callable(getattr(kind, name))}

    assert methods(Span) - methods(NonRecordingSpan) == {"fail", "to_json"}


def test_an_attribute_set_again_has_its_last_value(tracer: RecordingTracer) -> None:
    with tracer.trace("s", attributes={"a": 1, "b": 2}) as span:
        span.set_attribute("a", "now text")
    assert list(tracer.spans[0].attributes.items()) == [("b", 2), ("a", "now text")]


def test_values_do_not_change_afterwards(tracer: RecordingTracer) -> None:
    value = [1, {"k": [2]}]
    attributes = {"a": value}
    with tracer.trace("s", attributes=attributes) as span:
        span.set_attribute("b", value)
        span.add_event("e", attributes)
    value.append(3)
    attributes["c"] = value
    (kept,) = tracer.spans
    assert kept.attributes == {"a": (1, {"k": (2,)}), "b": (1, {"k": (2,)})}
    assert kept.events[0].attributes == {"a": (1, {"k": (2,)})}


class Hostile:
    """Fails whatever is asked of it."""

    def __getattr__(self, name: str) -> object:
        raise RuntimeError(name)

    def __str__(self) -> str:
        raise RuntimeError

    def __bool__(self) -> bool:
        raise RuntimeError

    def __len__(self) -> int:
        raise RuntimeError

    def __iter__(self) -> Iterator[object]:
        raise RuntimeError


@pytest.mark.parametrize("argument", ["context", "attributes", "links"])
@pytest.mark.parametrize(
    "value", [5, object(), Hostile(), Link(SpanContext(1, 2))], ids=lambda v: type(v).__name__
)
def test_no_argument_of_a_span_reaches_the_function(
    tracer: RecordingTracer, argument: str, value: object
) -> None:
    tracer.start_span("s", **{argument: value}).end()  # type: ignore[arg-type]  # wrong on purpose
    (span,) = tracer.spans
    assert span.dropped_links == (argument == "links")


def test_hostile_attributes_of_links_and_exceptions(tracer: RecordingTracer) -> None:
    span = tracer.start_span("s")
    hostile: dict[str, object] = Hostile()  # type: ignore[assignment]  # wrong on purpose
    span.add_link(SpanContext(1, 2), hostile)
    span.record_exception(ValueError("v"), hostile)
    span.set_status("ERROR", hostile)  # type: ignore[arg-type]  # wrong on purpose
    span.end()
    (span,) = tracer.spans
    assert span.dropped_links == 1
    assert span.events[0].attributes["exception.message"] == "v"
    assert span.status == lambent.Status("ERROR", "Hostile")
