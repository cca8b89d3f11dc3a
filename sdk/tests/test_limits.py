"""Limits: what they cut, what they drop, and that it is counted on the wire."""

from __future__ import annotations

import enum
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

import lambent
from lambent import Link, SpanContext
from lambent.cleaning import clean_value
from lambent.limits import Limits
from lambent.testing import recording_tracer
from lambent.wire import protobuf


def test_the_defaults() -> None:
    assert Limits() == Limits(
        attributes=128, attribute_length=None, span_attribute_length=None,
        events=128, links=128, event_attributes=128, link_attributes=128,
    )  # fmt: skip
    assert Limits() != Limits(events=1)
    assert Limits() != 5
    assert "events=128" in repr(Limits())


def test_a_length_holds_for_spans_unless_they_have_their_own() -> None:
    assert Limits(attribute_length=5).span_attribute_length == 5
    assert Limits(attribute_length=5, span_attribute_length=7).span_attribute_length == 7
    assert Limits(span_attribute_length=7).attribute_length is None


def test_dropped_counts_reach_the_wire() -> None:
    environ = {
        "OTEL_ATTRIBUTE_COUNT_LIMIT": "2",
        "OTEL_SPAN_EVENT_COUNT_LIMIT": "1",
        "OTEL_SPAN_LINK_COUNT_LIMIT": "3",
        "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT": "0",
        "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "4",
    }
    tracer = recording_tracer(environ=environ)
    context = SpanContext(1, 2)
    with tracer.trace(
        "s", attributes={"a": "longer", "b": 1, "c": ["longer", b"longer"]}, links=[Link(context, {"a": 1})]
    ) as span:
        span.set_attribute("d", "longer")
        span.add_event("first")
        span.add_event("second", {"a": 1, "b": "longer", "c": 3})
        for _ in range(4):
            span.add_link(context)
    request = ExportTraceServiceRequest.FromString(protobuf.encode(tracer.spans))
    (sent,) = request.resource_spans[0].scope_spans[0].spans
    assert [pair.key for pair in sent.attributes] == ["c", "d"]
    assert sent.attributes[0].value.array_value.values[0].string_value == "long"
    assert sent.attributes[0].value.array_value.values[1].bytes_value == b"longer"
    assert sent.attributes[1].value.string_value == "long"
    assert sent.dropped_attributes_count == 2
    (event,) = sent.events
    assert (event.name, event.dropped_attributes_count, sent.dropped_events_count) == ("second", 1, 1)
    assert event.attributes[0].value.string_value == "long"
    assert (len(sent.links), sent.dropped_links_count) == (3, 2)


@pytest.mark.parametrize("at_start", [True, False])
def test_nothing_is_kept_at_a_limit_of_zero(at_start: bool) -> None:
    tracer = recording_tracer(limits={"attributes": 0, "events": 0, "links": 0})
    attributes = {"a": 1, "b": 2}
    with tracer.trace("s", attributes=attributes if at_start else None) as span:
        if not at_start:
            span.set_attributes(attributes)
        span.add_event("e")
        span.add_link(SpanContext(1, 2))
    (kept,) = tracer.spans
    assert (len(kept.attributes), len(kept.events), len(kept.links)) == (0, 0, 0)
    assert (kept.dropped_attributes, kept.dropped_events, kept.dropped_links) == (2, 1, 1)


def test_without_limits_everything_is_kept() -> None:
    tracer = recording_tracer(limits=Limits(attributes=None, events=None, links=None))
    with tracer.trace("s") as span:
        for number in range(300):
            span.set_attribute(str(number), number)
            span.add_event(str(number))
            span.add_link(SpanContext(1, number + 1))
    (kept,) = tracer.spans
    assert (len(kept.attributes), len(kept.events), len(kept.links)) == (300, 300, 300)


def test_a_value_at_the_limit_replaces_its_own() -> None:
    tracer = recording_tracer(limits={"attributes": 2})
    with tracer.trace("s", attributes={"a": 1, "b": 2}) as span:
        span.set_attribute("a", 3)
    assert dict(tracer.spans[0].attributes) == {"b": 2, "a": 3}
    assert tracer.spans[0].dropped_attributes == 0


class Named:
    def __repr__(self) -> str:
        return "named"


class Words(str):
    __slots__ = ()

    def __str__(self) -> str:
        raise RuntimeError

    def encode(self, *_: object) -> bytes:
        raise RuntimeError

    __repr__ = __getitem__ = __str__  # type: ignore[assignment]  # as above


class Count(int):
    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __index__ = __int__ = __str__  # type: ignore[assignment]  # as above


class Share(float):
    def __float__(self) -> float:
        raise RuntimeError

    __repr__ = __float__  # type: ignore[assignment]  # as above


class Colour(enum.StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "expected"),
    [(Words("w"), "w"), (Count(5), 5), (Share(0.5), 0.5), (Colour.RED, "red"), ([Words("w")], ("w",))],
    ids=["text", "whole number", "number", "enumeration", "in a list"],
)
def test_of_a_subclass_its_value_is_kept_and_nothing_of_its_methods(value: object, expected: object) -> None:
    kept = clean_value(value, None)
    assert type(kept) is type(expected)
    assert kept == expected


def test_they_cost_no_batch(capsys: pytest.CaptureFixture[str]) -> None:
    tracer = lambent.init(exporters="console,stdout")
    with tracer.start_span(Words("named"), attributes={Words("a"): Words("b"), "n": Count(1)}) as span:
        span.set_attribute(Words("c"), {Words("d"): Share(2)})
        span.set_attribute("digits", 10**5000)
        span.add_event(Words("e"), {Words("f"): Words("g")})
        span.set_status("ERROR", Words("h"))
    with tracer.trace("another"):
        pass
    assert tracer.force_flush()
    assert tracer.stats().acknowledged == 4
    tracer.close()
    assert "a=b n=1 c={'d': 2.0} digits=<int>" in capsys.readouterr().out


class Unbound:
    """As a proxy of nothing: to ask for its type is an error."""

    @property  # type: ignore[misc]  # as proxies have it
    def __class__(self) -> type:
        raise RuntimeError("working outside of a request")


def test_a_proxy_of_nothing_is_survived() -> None:
    tracer = lambent.init(exporters="memory")
    proxy: Any = Unbound()
    with tracer.start_span(proxy, attributes={"a": proxy}) as span:
        span.set_attribute("b", proxy)
        span.set_attributes(proxy)
        span.add_event(proxy, proxy)
        span.add_link(proxy)
        span.set_status(proxy, proxy)
        span.update_name(proxy)
        span.record_exception(proxy, proxy)
    assert not span.is_recording()
    tracer.close()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (b"x", b"x"),
        (bytearray(b"x"), b"x"),
        (memoryview(b"x"), b"x"),
        ([1, [2, None]], (1, (2, None))),
        (range(3), (0, 1, 2)),
        ({"a": {"b": [1]}, "": 1, 3: "three"}, {"a": {"b": (1,)}, "3": "three"}),
        ({object(): 1}, {}),
        (Named(), "named"),
        (object(), None),
        ({1}, "{1}"),
        (ValueError("x"), "x"),
    ],
)
def test_values_as_they_are_kept(value: object, expected: object) -> None:
    assert clean_value(value, None) == expected
