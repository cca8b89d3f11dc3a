"""`tracer.provider`: what instrumentors, processors and the wire see of it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import sqlite3
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import baggage, context, trace
from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import SpanProcessor as SdkProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import lambent
from lambent.exporters.memory import MemoryExporter
from lambent.testing import recording_tracer
from lambent.wire import protobuf

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LAMBDA = {"AWS_LAMBDA_FUNCTION_NAME": "orders"}


# Scopes.


def scopes_on_the_wire(spans: Any) -> dict[str, Any]:
    request = ExportTraceServiceRequest.FromString(protobuf.encode(spans))
    assert len(request.resource_spans) == 1
    found: dict[str, Any] = {}
    for scoped in request.resource_spans[0].scope_spans:
        for span in scoped.spans:
            found[span.name] = scoped
    return found


def test_scopes_on_the_wire(tracer: Any, exporter: MemoryExporter) -> None:
    library = tracer.provider.get_tracer(
        "library", "1.2", "https://example.org/schema", {"flag": True, "names": ["a", "b"]}
    )
    with library.start_as_current_span("by library"), tracer.trace("by lambent"):
        pass
    with tracer.provider.get_tracer("other").start_as_current_span("by other"):
        pass
    found = scopes_on_the_wire(exporter.spans)
    scope = found["by library"].scope
    assert (scope.name, scope.version) == ("library", "1.2")
    assert found["by library"].schema_url == "https://example.org/schema"
    attributes = {pair.key: pair.value for pair in scope.attributes}
    assert attributes["flag"].bool_value
    assert [value.string_value for value in attributes["names"].array_value.values] == ["a", "b"]
    assert found["by lambent"].scope.name == "lambent"
    assert found["by lambent"].scope.version == lambent.__version__
    assert (found["by other"].scope.name, found["by other"].scope.version) == ("other", "")


_SCOPES = st.tuples(
    st.sampled_from(["", "a", "b", "ü"]),
    st.sampled_from([None, "", "1", "2"]),
    st.sampled_from([None, "", "https://example.org"]),
    st.sampled_from([None, {}, {"k": 1}, {"k": "1"}, {"k": [1, 2]}, {"k": 1, "l": 2}]),
)


@given(st.lists(_SCOPES, max_size=8))
@settings(max_examples=60)
def test_every_span_is_under_its_scope(scopes: list[Any]) -> None:
    tracer = recording_tracer()
    for number, scope in enumerate(scopes):
        with tracer.provider.get_tracer(*scope).start_span(str(number)):
            pass
    if not scopes:
        return
    found = scopes_on_the_wire(tracer.spans)
    assert len(found) == len(scopes)
    for number, (name, version, url, attributes) in enumerate(scopes):
        scoped = found[str(number)]
        assert (scoped.scope.name, scoped.scope.version) == (name, version or "")
        assert scoped.schema_url == (url or "")
        assert len(scoped.scope.attributes) == len(attributes or {})


def test_the_same_scope_is_the_same_tracer(tracer: Any) -> None:
    one = tracer.provider.get_tracer("a", "1", attributes={"k": [1]})
    assert tracer.provider.get_tracer("a", "1", attributes={"k": [1]}) is one
    assert tracer.provider.get_tracer("a", "1") is not one
    assert isinstance(one, trace.Tracer)
    assert tracer.provider is tracer.provider
    assert one.provider is tracer.provider  # type: ignore[attr-defined]  # it is a tracer of ours


def test_a_scopes_tracer_is_the_tracer_but_for_the_scope(exporter: MemoryExporter) -> None:
    tracer = recording_tracer(limits={"attributes": 2}, sampler="traceidratio", sampler_argument=1.0)
    library = tracer.provider.get_tracer("library")
    started: list[Any] = []
    tracer._watch(lambda span, context: started.append(span))
    with library.start_as_current_span("s", attributes={"a": 1, "b": 2, "c": 3}) as span:
        tracer.fake_clock.advance(2)
    assert started == [span]
    assert span.dropped_attributes == 1
    assert span.end_time == span.start_time + 2_000_000_000
    assert library.resource is tracer.resource
    assert library.stats() == tracer.stats()


# The API's way with spans.


def test_a_span_is_not_made_current_by_with(tracer: Any, exporter: MemoryExporter) -> None:
    library = trace.get_tracer("library")
    span: Any
    with suppress(ValueError), library.start_span("s") as span:
        assert trace.get_current_span() is trace.INVALID_SPAN
        assert lambent.current_span() is None
        raise ValueError("no")
    assert span.end_time is not None
    assert span.status.status_code == trace.StatusCode.ERROR
    assert span.status.description == "ValueError: no"
    assert [event.name for event in span.events] == ["exception"]


def test_spans_take_the_apis_types(tracer: Any) -> None:
    library = trace.get_tracer("library")
    target = trace.SpanContext(5, 6, True, trace.TraceFlags(1), trace.TraceState([("k", "v")]))
    span: Any = library.start_span(
        "s",
        kind=trace.SpanKind.PRODUCER,
        links=[trace.Link(target, {"why": "because"})],
        attributes={"list": [1, 2]},
        start_time=5,
    )
    span.set_status(trace.Status(trace.StatusCode.ERROR, "bad"))
    span.add_link(target)
    span.end(7)
    assert span.kind == trace.SpanKind.PRODUCER
    assert [link.context for link in span.links] == [target, target]
    assert span.links[0].attributes == {"why": "because"}
    assert span.status.description == "bad"
    assert (span.start_time, span.end_time) == (5, 7)
    span.set_status(trace.StatusCode.OK)
    assert span.status.status_code == trace.StatusCode.ERROR, "it has ended"


@pytest.mark.parametrize("record", [True, False])
@pytest.mark.parametrize("set_status", [True, False])
def test_exceptions_as_the_api_has_them(
    tracer: Any, exporter: MemoryExporter, record: bool, set_status: bool
) -> None:
    library = trace.get_tracer("library")
    with (
        pytest.raises(ValueError, match="no"),
        library.start_as_current_span("s", record_exception=record, set_status_on_exception=set_status),
    ):
        raise ValueError("no")
    (span,) = exporter.spans
    assert len(span.events) == record
    assert (span.status.status_code == trace.StatusCode.ERROR) is set_status


@pytest.mark.parametrize("kind", [KeyboardInterrupt, GeneratorExit, asyncio.CancelledError])
def test_what_is_no_error_for_the_api(
    tracer: Any, exporter: MemoryExporter, kind: type[BaseException]
) -> None:
    with suppress(kind), trace.get_tracer("library").start_as_current_span("s"):
        raise kind
    (span,) = exporter.spans
    assert (span.events, span.status.status_code.name) == ((), "UNSET")
    assert lambent.current_span() is None


def test_a_span_may_outlive_its_block(tracer: Any, exporter: MemoryExporter) -> None:
    span: Any
    with trace.get_tracer("library").start_as_current_span("s", end_on_exit=False) as span:
        pass
    assert exporter.spans == []
    span.end()
    assert exporter.spans == [span]


# Processors.


class Noting(SdkProcessor):
    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.parent_context: Any = None

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        self.calls.append(("start", span.name))
        self.parent_context = parent_context
        span.set_attribute("noted", True)

    def on_end(self, span: Any) -> None:
        self.calls.append(("end", span.name))

    def shutdown(self) -> None:
        self.calls.append(("shutdown", ""))

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        self.calls.append(("flush", ""))
        return True


def test_processors_added_later(tracer: Any, exporter: MemoryExporter) -> None:
    memory = InMemorySpanExporter()
    noting = Noting()
    with tracer.trace("before"):
        pass
    tracer.provider.add_span_processor(noting)
    tracer.provider.add_span_processor(SimpleSpanProcessor(memory))
    with trace.get_tracer("library", "3").start_as_current_span("api"), tracer.trace("own"):
        pass
    assert tracer.provider.force_flush(5000)
    assert noting.calls == [
        ("start", "api"), ("start", "own"), ("end", "own"), ("end", "api"), ("flush", ""),
    ]  # fmt: skip
    own, api = memory.get_finished_spans()
    assert api.instrumentation_scope is not None
    assert (api.name, api.instrumentation_scope.name, api.instrumentation_scope.version) == (
        "api",
        "library",
        "3",
    )
    assert own.parent is not None
    assert api.context is not None
    assert own.parent.span_id == api.context.span_id
    assert [span.attributes.get("noted") for span in exporter.spans] == [None, True, True]
    tracer.provider.shutdown()
    assert noting.calls[-1] == ("shutdown", "")


def test_a_processor_sees_the_context_that_was_given(tracer: Any) -> None:
    noting = Noting()
    tracer.provider.add_span_processor(noting)
    given = baggage.set_baggage("user", "7", context.Context())
    trace.get_tracer("library").start_span("s", context=given).end()
    assert baggage.get_baggage("user", noting.parent_context) == "7"


def test_processors_and_the_flight_recorder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "orders")
    monkeypatch.setenv("LAMBENT_RECORDER_FOLDER", str(tmp_path))
    tracer = lambent.init(endpoint="http://localhost:1")
    with tracer.trace("recorded"):
        pass
    assert tracer.recorder is not None
    noting = Noting()
    tracer.provider.add_span_processor(noting)
    written = tracer.recorder.written
    with tracer.trace("noted"), trace.get_tracer("library").start_as_current_span("of the api"):
        pass
    assert noting.calls[-1] == ("end", "noted")
    assert tracer.recorder.written > written, "the recorder goes on"
    assert tracer.stats().started == 3
    tracer.delivery.close(0.001)
    tracer.close()


# Instrumentors.


@pytest.fixture
def instrumented(tracer: Any) -> Iterator[Any]:
    instrumentor = SQLite3Instrumentor()
    instrumentor.instrument(tracer_provider=tracer.provider)
    yield tracer
    instrumentor.uninstrument()


def test_an_instrumentor_takes_the_provider(instrumented: Any, exporter: MemoryExporter) -> None:
    with instrumented.trace("outer") as outer, contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.cursor().execute("select 1")
    query = exporter.spans[0]
    assert query.name == "select"
    assert query.kind == lambent.SpanKind.CLIENT
    assert query.parent == outer.context
    assert query.instrumentation_scope.name == "opentelemetry.instrumentation.sqlite3"
    assert query.instrumentation_scope.version


# Which tracer serves the API.


def spans_of(*exporters: MemoryExporter) -> list[list[str]]:
    return [[span.name for span in exporter.spans] for exporter in exporters]


def test_the_first_tracer_serves_the_api() -> None:
    one, two, three = MemoryExporter(), MemoryExporter(), MemoryExporter()
    first = lambent.init(exporter=one)
    second = lambent.init(exporter=two)
    assert trace.get_tracer_provider() is first.provider
    with (
        trace.get_tracer("x").start_as_current_span("first"),
        second.provider.get_tracer("x").start_as_current_span("second"),
    ):
        pass
    third = lambent.init(exporter=three, set_global=True)
    assert trace.get_tracer_provider() is third.provider
    with trace.get_tracer("x").start_as_current_span("third"):
        pass
    assert spans_of(one, two, three) == [["first"], ["second"], ["third"]]
    for tracer in (first, second, third):
        tracer.close()


def test_a_provider_of_lambents_may_be_set_by_hand(capfd: pytest.CaptureFixture[str]) -> None:
    one, two = MemoryExporter(), MemoryExporter()
    first, second = lambent.init(exporter=one), lambent.init(exporter=two)
    trace.set_tracer_provider(second.provider)
    with trace.get_tracer("x").start_as_current_span("s"):
        pass
    assert spans_of(one, two) == [[], ["s"]]
    assert capfd.readouterr().err == ""
    first.close()
    second.close()


def test_a_closed_tracer_leaves_the_api_silent(
    tracer: Any, exporter: MemoryExporter, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    held = trace.get_tracer("library")
    tracer.close()
    for library in (held, trace.get_tracer("library"), trace.get_tracer("other")):
        with library.start_as_current_span("late") as span:
            assert isinstance(span, trace.Span)
            assert not span.is_recording()
            span.set_attribute("a", 1)
        with library.start_span("late", links=[], kind=trace.SpanKind.CLIENT) as span:
            assert not span.is_recording()
    assert tracer.provider.force_flush() is True
    tracer.provider.shutdown()
    assert exporter.spans == []
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


def test_what_is_left_after_a_close_keeps_the_trace(tracer: Any) -> None:
    held = trace.get_tracer("library")
    tracer.close()
    remote = trace.NonRecordingSpan(trace.SpanContext(7, 8, True, trace.TraceFlags(1)))
    with trace.use_span(remote), held.start_as_current_span("late") as span:
        assert span.get_span_context().trace_id == 7, "what is sent from here still belongs to its trace"


def test_the_next_tracer_takes_over_what_the_api_gave_away(tracer: Any, exporter: MemoryExporter) -> None:
    held = trace.get_tracer("library", "1.2")
    own = lambent.init(exporter="memory").provider.get_tracer("of another tracer's provider")
    tracer.close()
    next_exporter = MemoryExporter()
    following = lambent.init(exporter=next_exporter)
    with held.start_as_current_span("again") as span:
        assert span.is_recording()
    assert spans_of(exporter, next_exporter) == [[], ["again"]]
    assert next_exporter.spans[0].instrumentation_scope.version == "1.2"
    own.provider.shutdown()
    assert not own.start_span("late").is_recording(), "that one was never the API's"
    following.close()


def test_many_tracers_leave_nothing(api: None) -> None:
    trace.get_tracer("library")
    refs = []
    for _ in range(20):
        tracer = lambent.init(exporters="none")
        with trace.get_tracer("library").start_as_current_span("s"):
            pass
        refs.append(weakref.ref(tracer.delivery))
        tracer.close()
        del tracer
    gc.collect()
    assert [ref() for ref in refs] == [None] * 20


def test_the_api_cannot_be_set_up_twice(
    tracer: Any, exporter: MemoryExporter, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        trace.set_tracer_provider(tracer.provider)
    assert trace.get_tracer_provider() is tracer.provider


# The oracle: the same program under OpenTelemetry's SDK has the same tree.

_PROGRAMS: Any = st.recursive(
    st.just([]),
    lambda inner: st.lists(
        st.tuples(
            st.sampled_from(["current", "with", "started", "use", "detached", "remote", "raises"]),
            inner,
        ),
        max_size=3,
    ),
    max_leaves=10,
)


class OddError(Exception):
    """Raised by a program."""


def fail(name: str) -> None:
    raise OddError(name)


def execute(tracer: Any, program: list[Any], path: str = "s") -> None:
    for number, (how, inside) in enumerate(program):
        name = f"{path}.{number}"
        if how == "current":
            with tracer.start_as_current_span(name, kind=trace.SpanKind.CLIENT, attributes={"how": how}):
                execute(tracer, inside, name)
        elif how == "with":
            with tracer.start_span(name) as span:
                span.add_event("inside", {"n": number})
                execute(tracer, inside, name)
        elif how == "started":
            span = tracer.start_span(name, links=[trace.Link(trace.SpanContext(3, 4, False))])
            execute(tracer, inside, name)
            span.set_status(trace.Status(trace.StatusCode.OK))
            span.end()
        elif how == "use":
            span = tracer.start_span(name)
            with trace.use_span(span, end_on_exit=True):
                execute(tracer, inside, name)
        elif how == "detached":
            parent = trace.get_current_span()
            token = context.attach(context.Context())
            with tracer.start_as_current_span(name, context=trace.set_span_in_context(parent)):
                execute(tracer, inside, name)
            context.detach(token)
        elif how == "remote":
            remote = trace.NonRecordingSpan(
                trace.SpanContext(77, 88 + number, True, trace.TraceFlags(1), trace.TraceState([("k", "v")]))
            )
            with trace.use_span(remote), tracer.start_as_current_span(name):
                execute(tracer, inside, name)
        else:
            try:
                with tracer.start_as_current_span(name):
                    execute(tracer, inside, name)
                    fail(name)
            except OddError:
                pass


def tree(spans: Any) -> list[Any]:
    names = {span.context.span_id: span.name for span in spans}
    traces: dict[int, str] = {}
    for span in sorted(spans, key=lambda span: span.name):
        traces.setdefault(span.context.trace_id, span.name)
    return [
        (
            span.name,
            traces[span.context.trace_id],
            span.parent and names.get(span.parent.span_id, (span.parent.span_id, span.parent.is_remote)),
            span.kind.name,
            dict(span.context.trace_state),
            span.status.status_code.name,
            span.status.description,
            dict(span.attributes),
            [
                (event.name, event.attributes.get("n"), event.attributes.get("exception.message"))
                for event in span.events
            ],
            [(link.context.trace_id, link.context.span_id) for link in span.links],
        )
        for span in spans
    ]  # fmt: skip


@given(_PROGRAMS)
@settings(max_examples=80)
def test_the_same_program_has_the_same_tree(program: list[Any]) -> None:
    memory = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    execute(provider.get_tracer("oracle"), program)
    tracer = recording_tracer()
    execute(tracer.provider.get_tracer("oracle"), program)
    assert tree(tracer.spans) == tree(memory.get_finished_spans())
    provider.shutdown()
