"""The same program run with opentelemetry-sdk and with lambent gives the same request.

Where we differ on purpose the difference is asserted in a test of its own, with the reason.
"""

from __future__ import annotations

import json
import logging
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace as otel
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource as OtelResource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import TraceFlags
from opentelemetry.trace.span import TraceState as OtelTraceState

from lambent.context import SpanContext, TraceState
from lambent.parts import Link
from lambent.resource import InstrumentationScope, Resource
from lambent.testing import SequentialIds, recording_tracer
from lambent.wire import protobuf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ATTRIBUTES: dict[str, Any] = {"service.name": "oracle", "nested": {"list": (1, 2.5, None)}}
SCOPE = ("scope", "1.2", "https://example.org/scope", {"scope.attribute": True})
SCHEMA = "https://example.org/resource"


@pytest.fixture(autouse=True)
def quiet_oracle() -> Iterator[None]:
    """OpenTelemetry logs each thing it drops."""
    logging.disable(logging.ERROR)
    yield
    logging.disable(logging.NOTSET)


class Counting(IdGenerator):
    def __init__(self) -> None:
        self._ids = SequentialIds()

    def generate_span_id(self) -> int:
        return self._ids.span_id()

    def generate_trace_id(self) -> int:
        return self._ids.trace_id()


class Ours:
    def __init__(self, limits: dict[str, int | None]) -> None:
        self.tracer = recording_tracer(limits=limits)
        self.tracer._identity = Resource(ATTRIBUTES, SCHEMA), InstrumentationScope(*SCOPE)

    def context(self, trace_id: int, span_id: int, remote: bool, sampled: bool, state: dict[str, str]) -> Any:
        return SpanContext(trace_id, span_id, remote, int(sampled), TraceState(state))

    def link(self, context: Any, attributes: Any) -> Any:
        return Link(context, attributes)

    def start(self, name: str, parent: Any, **arguments: Any) -> Any:
        return self.tracer.start_span(name, context=parent, **arguments)

    def active(self, span: Any) -> AbstractContextManager[Any]:
        manager: AbstractContextManager[Any] = span
        return manager

    def status(self, span: Any, code: int, description: str | None) -> None:
        span.set_status(code, description)

    def message(self) -> ExportTraceServiceRequest:
        return ExportTraceServiceRequest.FromString(protobuf.encode(self.tracer.spans))


class Theirs:
    def __init__(self, limits: dict[str, int | None]) -> None:
        self.exporter = InMemorySpanExporter()

        def limit(name: str) -> int:
            value = limits.get(name)
            return SpanLimits.UNSET if value is None else value

        provider = TracerProvider(
            resource=OtelResource(ATTRIBUTES, SCHEMA),
            id_generator=Counting(),
            shutdown_on_exit=False,
            span_limits=SpanLimits(
                max_span_attributes=limit("attributes"),
                max_events=limit("events"),
                max_links=limit("links"),
                max_event_attributes=limit("event_attributes"),
                max_link_attributes=limit("link_attributes"),
                max_attribute_length=limit("attribute_length"),
            ),
        )
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = provider.get_tracer(*SCOPE)

    def context(self, trace_id: int, span_id: int, remote: bool, sampled: bool, state: dict[str, str]) -> Any:
        flags = TraceFlags(int(sampled))
        return otel.SpanContext(trace_id, span_id, remote, flags, OtelTraceState(list(state.items())))

    def link(self, context: Any, attributes: Any) -> Any:
        return otel.Link(context, attributes)

    def start(self, name: str, parent: Any, kind: int, **arguments: Any) -> Any:
        if isinstance(parent, otel.SpanContext):
            parent = otel.NonRecordingSpan(parent)
        context = None if parent is None else otel.set_span_in_context(parent)
        return self.tracer.start_span(name, context=context, kind=otel.SpanKind(kind), **arguments)

    @contextmanager
    def active(self, span: Any) -> Iterator[Any]:
        with otel.use_span(span, record_exception=False, set_status_on_exception=False), span:
            yield span

    def status(self, span: Any, code: int, description: str | None) -> None:
        span.set_status(otel.StatusCode(code), description)

    def message(self) -> ExportTraceServiceRequest:
        return encode_spans(self.exporter.get_finished_spans())


Adapter = Ours | Theirs

# A step of a program: what is done, and the values it is done with.
Step = tuple[Any, ...]

KEYS = st.text(max_size=6) | st.sampled_from(["a", "b", "c", "", "schlüssel", "\x00"])
TEXTS = st.text(max_size=12)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
SCALARS = st.none() | st.booleans() | INTEGERS | st.floats(allow_nan=False) | TEXTS | st.binary(max_size=8)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=3)
    ),
    max_leaves=5,
) | st.sampled_from([range(3), frozenset({1}), object(), 1 + 2j, Exception("text"), {1: "one", 0: "zero"}])
ATTRIBUTE_SETS = st.none() | st.dictionaries(KEYS, VALUES, max_size=5)
TIMES = st.integers(1, 2**63 - 1)
STATES = st.dictionaries(
    st.sampled_from(["k1", "k2", "vendor@system"]), st.sampled_from(["1", "x:2"]), max_size=2
)
CONTEXTS = st.tuples(
    st.integers(0, 3) | st.integers(1, 2**128 - 1),
    st.integers(0, 3) | st.integers(1, 2**64 - 1),
    st.booleans(),
    st.booleans(),
    STATES,
)
# The trace state of links is sent by us only: see below.
LINKS: st.SearchStrategy[tuple[Any, ...]] = st.tuples(
    CONTEXTS.map(lambda context: (*context[:4], {})), ATTRIBUTE_SETS
)

STEPS: st.SearchStrategy[Step] = st.deferred(
    lambda: (
        st.tuples(st.just("attribute"), KEYS, VALUES)
        | st.tuples(st.just("attributes"), st.dictionaries(KEYS, VALUES, max_size=4))
        | st.tuples(st.just("event"), TEXTS, ATTRIBUTE_SETS, TIMES)
        | st.tuples(st.just("link"), LINKS)
        | st.tuples(st.just("status"), st.integers(0, 2), st.none() | TEXTS)
        | st.tuples(st.just("name"), TEXTS)
        | st.tuples(st.just("exception"), TEXTS, ATTRIBUTE_SETS, TIMES, st.booleans())
        | st.tuples(st.just("end"), TIMES)
        | PROGRAMS
    )
)
PROGRAMS: st.SearchStrategy[Step] = st.tuples(
    st.just("span"),
    st.fixed_dictionaries(
        {
            "name": TEXTS,
            "parent": st.just("current") | st.just("current") | CONTEXTS,
            "kind": st.integers(0, 4),
            "attributes": ATTRIBUTE_SETS,
            "links": st.lists(LINKS, max_size=3),
            "start_time": TIMES,
            "record_exception": st.booleans(),
            "set_status_on_exception": st.booleans(),
            "end_time": TIMES,
            "raises": st.none() | st.sampled_from([ValueError, KeyError, KeyboardInterrupt]),
        }
    ),
    st.lists(STEPS, max_size=5),
)
SMALL = st.none() | st.integers(0, 4)
LIMITS = st.fixed_dictionaries(
    {
        "attributes": SMALL,
        "events": SMALL,
        "links": SMALL,
        "event_attributes": SMALL,
        "link_attributes": SMALL,
        "attribute_length": SMALL,
    }
)


def run_span(adapter: Adapter, options: dict[str, Any], steps: Sequence[Step]) -> None:
    given_parent = options["parent"]
    span = adapter.start(
        options["name"],
        None if given_parent == "current" else adapter.context(*given_parent),
        kind=options["kind"],
        attributes=options["attributes"],
        links=[
            adapter.link(adapter.context(*context), attributes) for context, attributes in options["links"]
        ],
        start_time=options["start_time"],
        record_exception=options["record_exception"],
        set_status_on_exception=options["set_status_on_exception"],
    )
    failure = options["raises"]
    try:
        with adapter.active(span):
            for step in steps:
                run_step(adapter, span, step)
            if failure is not None:
                # An exception that was recorded by hand has a time; what the block records has none.
                error = failure("it failed")
                span.record_exception(error, timestamp=options["end_time"])
                span.end(options["end_time"])
                raise error
            span.end(options["end_time"])
    except (ValueError, KeyError, KeyboardInterrupt):
        assert failure is not None


def run_step(adapter: Adapter, span: Any, step: Step) -> None:
    what, *values = step
    if what == "attribute":
        span.set_attribute(*values)
    elif what == "attributes":
        span.set_attributes(*values)
    elif what == "event":
        span.add_event(*values)
    elif what == "link":
        ((context, attributes),) = values
        span.add_link(adapter.context(*context), attributes)
    elif what == "status":
        adapter.status(span, *values)
    elif what == "name":
        span.update_name(*values)
    elif what == "exception":
        message, attributes, timestamp, escaped = values
        span.record_exception(RuntimeError(message), attributes, timestamp, escaped)
    elif what == "end":
        span.end(*values)
    else:
        run_span(adapter, *values)


def both(limits: dict[str, int | None], program: Callable[[Adapter], None]) -> tuple[Any, Any]:
    messages = []
    for adapter in (Ours(limits), Theirs(limits)):
        program(adapter)
        messages.append(adapter.message())
    return messages[0], messages[1]


@settings(max_examples=150)
@given(LIMITS, PROGRAMS)
def test_the_same_program_gives_the_same_message(limits: dict[str, int | None], program: Step) -> None:
    _, options, steps = program
    ours, theirs = both(limits, lambda adapter: run_span(adapter, options, steps))
    assert ours == theirs


def test_a_span_in_json_for_people() -> None:
    def program(adapter: Adapter) -> None:
        linked = adapter.context(5, 6, True, True, {"k1": "1", "k2": "2"})
        span = adapter.start("s", linked, kind=1, start_time=1, links=[adapter.link(linked, {"l": 1})])
        with adapter.active(span):
            span.set_attributes({"a": 1, "b": [True, 2.5], "d": "ü"})
            adapter.start("child", None, kind=2, start_time=1_700_000_000_123_456_789).end(1 << 60)
            span.add_event("e", {"k": "v"}, 3)
            adapter.status(span, 2, "no")
            span.end(4)

    ours, theirs = Ours({}), Theirs({})
    program(ours)
    program(theirs)
    finished = theirs.exporter.get_finished_spans()
    assert len(finished) == 2
    for mine, its in zip(ours.tracer.spans, finished, strict=True):
        assert json.loads(mine.to_json()) == json.loads(its.to_json())
        assert "\n" not in mine.to_json(indent=None)


def test_the_last_time_and_none_in_json() -> None:
    ours = Ours({})
    ours.start("s", None, start_time=1).end((1 << 64) - 1)
    assert json.loads(ours.tracer.spans[0].to_json())["end_time"].startswith("2554-")
    still_open = ours.start("open", None, attributes={"b": b"\x01\xff"})
    described = json.loads(still_open.to_json())
    assert described["end_time"] is None
    assert described["attributes"] == {"b": "01ff"}  # where OpenTelemetry's raises TypeError


@pytest.mark.parametrize(
    "failure", [ValueError("no"), KeyboardInterrupt(), SystemExit(3), ExceptionGroup("g", [OSError(2)])]
)
def test_an_exception_that_leaves_the_block(failure: BaseException) -> None:
    def program(adapter: Adapter) -> None:
        span = adapter.start("s", None, kind=0, start_time=1)
        with pytest.raises(type(failure)), adapter.active(span):
            raise failure.with_traceback(None)

    def settled(message: Any) -> Any:
        span = message.resource_spans[0].scope_spans[0].spans[0]
        span.end_time_unix_nano = span.events[0].time_unix_nano = 1
        stack = {pair.key: pair.value for pair in span.events[0].attributes}["exception.stacktrace"]
        assert "raise failure" in stack.string_value
        # The frames of the two context managers differ, and the lines of this test's two with statements.
        stack.string_value = stack.string_value.splitlines()[-1]
        return message

    ours, theirs = map(settled, both({}, program))
    assert ours == theirs


@pytest.mark.parametrize(
    "parent",
    [
        (5, 6, True, True, {"k1": "1"}),
        (5, 6, False, True, {}),
        (0, 6, True, True, {}),
        (5, 0, True, True, {}),
    ],
)
def test_parents(parent: tuple[Any, ...]) -> None:
    def program(adapter: Adapter) -> None:
        span = adapter.start("parent", adapter.context(*parent), kind=1, start_time=1)
        with adapter.active(span):
            adapter.start("child", None, kind=2, start_time=2).end(3)
            adapter.start("of the first", span, kind=2, start_time=2).end(3)
            span.end(4)

    ours, theirs = both({}, program)
    assert ours == theirs


# Where we differ on purpose.


def test_an_exception_object_is_recorded_once() -> None:
    """Recorded by hand and then leaving the block it is still one exception; they send two events."""

    def record_and_raise(span: Any) -> None:
        error = ValueError("x")
        span.record_exception(error)
        raise error

    def program(adapter: Adapter) -> None:
        span = adapter.start("s", None, kind=0, start_time=1)
        with pytest.raises(ValueError, match="x"), adapter.active(span):
            record_and_raise(span)

    ours, theirs = both({}, program)
    assert [len(message.resource_spans[0].scope_spans[0].spans[0].events) for message in (ours, theirs)] == [
        1,
        2,
    ]


def test_the_trace_state_of_a_link_is_sent() -> None:
    """OTLP has a field for it; their encoder leaves it empty."""

    def program(adapter: Adapter) -> None:
        context = adapter.context(1, 2, True, True, {"k1": "1"})
        adapter.start("s", None, kind=0, start_time=1, links=[adapter.link(context, {})]).end(2)

    ours, theirs = both({}, program)
    assert ours.resource_spans[0].scope_spans[0].spans[0].links[0].trace_state == "k1=1"
    assert theirs.resource_spans[0].scope_spans[0].spans[0].links[0].trace_state == ""


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, "\ud800", [1, 2**70]])
def test_a_value_that_protobuf_cannot_hold_is_sent_as_text(value: object) -> None:
    """An integer beyond 64 bits as its digits, a lone surrogate as U+FFFD; they lose the attribute."""

    def program(adapter: Adapter) -> None:
        adapter.start("s", None, kind=0, start_time=1, attributes={"k": value}).end(2)

    ours, theirs = both({}, program)
    assert len(ours.resource_spans[0].scope_spans[0].spans[0].attributes) == 1
    assert len(theirs.resource_spans[0].scope_spans[0].spans[0].attributes) == 0


def test_a_closed_generator_is_no_error() -> None:
    """Nothing failed: the consumer wanted no more. Their span, used with `with`, calls it an ERROR."""

    def numbers(adapter: Adapter) -> Iterator[int]:
        with adapter.active(adapter.start("s", None, kind=0, start_time=1)):
            yield 1
            yield 2

    def program(adapter: Adapter) -> None:
        values = numbers(adapter)
        next(values)
        values.close()  # type: ignore[attr-defined]  # a generator

    ours, theirs = both({}, program)
    assert ours.resource_spans[0].scope_spans[0].spans[0].status.code == 0
    assert theirs.resource_spans[0].scope_spans[0].spans[0].status.code == 2


def test_an_exception_that_leaves_a_current_span_is_escaped() -> None:
    """The conventions say so; their `start_as_current_span` says "False"."""
    ours = recording_tracer()
    with pytest.raises(ValueError, match="x"), ours.start_as_current_span("s"):
        raise ValueError("x")
    (span,) = ours.spans
    assert span.events[0].attributes["exception.escaped"] == "True"
