"""Another SDK's provider beside lambent: replaced or fed from, never half of each, always said."""

from __future__ import annotations

import threading
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Decision, StaticSampler

import lambent
from lambent.exporters.memory import MemoryExporter

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "opentelemetry.sdk.trace.TracerProvider"
REPLACED = (
    f"lambent: OpenTelemetry's API had a provider, {NAME}: lambent has replaced it "
    "(LAMBENT_OTEL_PROVIDER=feed takes its spans and leaves it)\n"
)
KEPT = f"lambent: OpenTelemetry's API has a provider, {NAME}: it keeps the API"
FED = f"{KEPT}, and its spans go to lambent too\n"


class Theirs:
    """OpenTelemetry's SDK, set up."""

    def __init__(self) -> None:
        self.memory = InMemorySpanExporter()
        self.provider = TracerProvider(resource=Resource({"service.name": "theirs"}), shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.memory))

    @property
    def names(self) -> list[str]:
        return [span.name for span in self.memory.get_finished_spans()]


@pytest.fixture
def theirs() -> Iterator[Theirs]:
    theirs = Theirs()
    yield theirs
    theirs.provider.shutdown()


def names(exporter: MemoryExporter) -> list[str]:
    return [span.name for span in exporter.spans]


def program(tracer: Any, *libraries: Any) -> list[str]:
    """Spans of lambent's and of the API's, one in the other; return their names as they end."""
    with tracer.trace("own") as own:
        for number, library in enumerate([trace.get_tracer("new"), *libraries]):
            with library.start_as_current_span(f"api {number}") as span:
                assert span.is_recording()
                assert lambent.current_span() is not None
                with tracer.trace(f"inner {number}") as inner:
                    assert inner.parent == span.get_span_context()
                    assert inner.context.trace_id == own.context.trace_id
    return [name for number in range(len(libraries) + 1) for name in (f"inner {number}", f"api {number}")] + [
        "own"
    ]


@pytest.mark.parametrize("first", [True, False])
def test_replaced(
    theirs: Theirs, exporter: MemoryExporter, first: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    early = trace.get_tracer("early")
    if first:
        trace.set_tracer_provider(theirs.provider)
    tracer = lambent.init(exporter=exporter)
    if not first:
        trace.set_tracer_provider(theirs.provider)
    assert trace.get_tracer_provider() is tracer.provider
    expected = program(tracer, early)
    assert names(exporter) == expected
    assert theirs.names == [], "not half of them"
    assert capfd.readouterr().err == REPLACED
    tracer.close()


def test_what_the_replaced_ones_tracers_still_make(
    theirs: Theirs, exporter: MemoryExporter, capfd: pytest.CaptureFixture[str]
) -> None:
    trace.set_tracer_provider(theirs.provider)
    held = trace.get_tracer("held by a library", "4.5")
    with held.start_as_current_span("before lambent"):
        pass
    tracer = lambent.init(exporter=exporter)
    expected = program(tracer, held)
    assert names(exporter) == expected
    assert theirs.names == ["before lambent"]
    fed = next(span for span in exporter.spans if span.name == "api 1")
    assert fed.instrumentation_scope.name == "held by a library"
    assert fed.instrumentation_scope.version == "4.5"
    assert fed.parent is not None
    assert fed.parent.span_id == exporter.spans[-1].context.span_id
    assert capfd.readouterr().err == REPLACED
    tracer.close()


def test_the_replaced_one_still_sends_what_it_had(theirs: Theirs, exporter: MemoryExporter) -> None:
    memory = InMemorySpanExporter()
    theirs.provider.add_span_processor(BatchSpanProcessor(memory, schedule_delay_millis=60_000))
    trace.set_tracer_provider(theirs.provider)
    with trace.get_tracer("x").start_as_current_span("waits"):
        pass
    tracer = lambent.init(exporter=exporter)
    assert theirs.provider.force_flush(10_000)
    assert [span.name for span in memory.get_finished_spans()] == ["waits"]
    tracer.close()


def test_one_that_is_given_its_exporter_after_it_was_set_is_not_half_replaced(
    theirs: Theirs, exporter: MemoryExporter
) -> None:
    tracer = lambent.init(exporter=exporter)
    trace.set_tracer_provider(theirs.provider)
    memory = InMemorySpanExporter()
    theirs.provider.add_span_processor(SimpleSpanProcessor(memory))
    expected = program(tracer, theirs.provider.get_tracer("held"))
    assert (names(exporter), memory.get_finished_spans()) == (expected, ())
    tracer.close()


class Before(trace.TracerProvider):
    """What stands before one of the SDK's, as Logfire's does."""

    def __init__(self, provider: TracerProvider) -> None:
        self.provider = provider
        self.add_span_processor = provider.add_span_processor

    def get_tracer(self, *arguments: Any, **keywords: Any) -> trace.Tracer:
        return self.provider.get_tracer(*arguments, **keywords)


@pytest.mark.parametrize("joined", ["replace", "feed"])
def test_one_that_stands_before_another(theirs: Theirs, exporter: MemoryExporter, joined: str) -> None:
    trace.set_tracer_provider(Before(theirs.provider))
    tracer = lambent.init(exporter=exporter, otel_provider=joined)
    expected = program(tracer, theirs.provider.get_tracer("held"))
    assert names(exporter) == expected
    assert theirs.names == ([] if joined == "replace" else ["api 0", "api 1"])
    tracer.close()


def test_one_that_drops_its_own_exporter_for_another_keeps_it_while_it_is_fed_from(
    theirs: Theirs, exporter: MemoryExporter
) -> None:
    class Phoenix(TracerProvider):
        default: Any = None

        def add_span_processor(self, span_processor: Any) -> None:
            if self.default is not None:
                self._active_span_processor._span_processors = ()
            self.default = span_processor
            super().add_span_processor(span_processor)

    phoenix = Phoenix(shutdown_on_exit=False)
    phoenix.add_span_processor(SimpleSpanProcessor(theirs.memory))
    trace.set_tracer_provider(phoenix)
    tracer = lambent.init(exporter=exporter, otel_provider="feed")
    expected = program(tracer)
    assert names(exporter) == expected
    assert theirs.names == ["api 0"]
    tracer.close()


class Lite(trace.TracerProvider):
    """As small as that of AWS's distribution for Lambda: a list of processors, and spans without counts.

    Nor have the scopes of OpenTelemetry's SDK attributes before version 1.26.
    """

    def __init__(self) -> None:
        self._span_processors: list[Any] = []

    def add_span_processor(self, processor: Any) -> None:
        self._span_processors.append(processor)

    def get_tracer(self, *arguments: Any, **keywords: Any) -> trace.Tracer:
        return trace.NoOpTracer()

    def end(self, name: str) -> None:
        span = SimpleNamespace(
            name=name,
            context=trace.SpanContext(1, 2, False, trace.TraceFlags(1)),
            parent=None,
            kind=trace.SpanKind.CLIENT,
            attributes={"a": 1},
            events=[SimpleNamespace(name="event", attributes=None, timestamp=1)],
            links=(),
            status=trace.Status(),
            instrumentation_scope=SimpleNamespace(name="scope", version="1", schema_url=None),
            start_time=1,
            end_time=2,
        )
        for processor in self._span_processors:
            processor.on_end(span)


@pytest.mark.parametrize("joined", ["replace", "feed"])
def test_one_that_is_not_made_of_opentelemetrys_sdk(exporter: MemoryExporter, joined: str) -> None:
    theirs: list[Any] = []
    exports = SimpleNamespace(on_end=theirs.append, shutdown=None, force_flush=None)
    lite = Lite()
    lite.add_span_processor(exports)
    trace.set_tracer_provider(lite)
    tracer = lambent.init(exporter=exporter, otel_provider=joined)
    lite.add_span_processor(exports)
    lite.end("held")
    assert [(span.name, span.attributes, len(span.events)) for span in exporter.spans] == [
        ("held", {"a": 1}, 1)
    ]
    assert len(theirs) == (0 if joined == "replace" else 2)
    tracer.close()


@pytest.mark.parametrize("joined", ["replace", "feed"])
def test_flushing_the_other_one_delivers_what_lambent_has(theirs: Theirs, joined: str) -> None:
    ours = InMemorySpanExporter()
    trace.set_tracer_provider(theirs.provider)
    tracer = lambent.init(exporter=ours, otel_provider=joined)
    with tracer.trace("own"), theirs.provider.get_tracer("x").start_as_current_span("theirs"):
        pass
    assert ours.get_finished_spans() == ()
    assert theirs.provider.force_flush()
    assert [span.name for span in ours.get_finished_spans()] == ["theirs", "own"]
    tracer.close()
    assert theirs.provider.force_flush()


@pytest.mark.parametrize("late", [True, False])
def test_flushing_the_other_one_tells_the_truth_in_its_time(theirs: Theirs, late: bool) -> None:
    waiting = threading.Event()

    class Hangs(InMemorySpanExporter):
        def export(self, spans: Any) -> Any:
            if late:
                waiting.wait(60)
            return super().export(spans)

    trace.set_tracer_provider(theirs.provider)
    tracer = lambent.init(exporter=Hangs())
    with tracer.trace("own"):
        pass
    assert theirs.provider.force_flush(300 if late else 30_000) is not late
    waiting.set()
    tracer.close()


@pytest.mark.parametrize("first", [True, False])
def test_fed(
    theirs: Theirs, exporter: MemoryExporter, first: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    early = trace.get_tracer("early")
    if first:
        trace.set_tracer_provider(theirs.provider)
    tracer = lambent.init(exporter=exporter, otel_provider="feed")
    if not first:
        assert trace.get_tracer_provider() is tracer.provider, "until there is another"
        trace.set_tracer_provider(theirs.provider)
    assert trace.get_tracer_provider() is theirs.provider
    expected = program(tracer, early, theirs.provider.get_tracer("direct"))
    assert names(exporter) == expected, "lambent has all of them"
    assert theirs.names == ["api 0", "api 1", "api 2"], "as it would without lambent"
    assert capfd.readouterr().err == FED
    tracer.close()


def test_what_the_api_gave_away_before_goes_on_with_the_one_that_feeds(
    theirs: Theirs, exporter: MemoryExporter
) -> None:
    tracer = lambent.init(exporter=exporter, otel_provider="feed")
    library = trace.get_tracer("library", "1.2")
    assert program(tracer, library) == names(exporter)
    assert theirs.names == []
    exporter.clear()
    trace.set_tracer_provider(theirs.provider)
    assert program(tracer, library) == names(exporter)
    assert theirs.names == ["api 0", "api 1"], "none of its traces has a hole"
    scope = theirs.memory.get_finished_spans()[-1].instrumentation_scope
    assert scope is not None
    assert (scope.name, scope.version) == ("library", "1.2")
    tracer.close()


def test_all_of_a_fed_span(theirs: Theirs, exporter: MemoryExporter) -> None:
    trace.set_tracer_provider(theirs.provider)
    tracer = lambent.init(exporter=exporter, otel_provider="feed", service_name="ours")
    remote = trace.NonRecordingSpan(
        trace.SpanContext(7, 8, True, trace.TraceFlags(1), trace.TraceState([("k", "v")]))
    )
    library = trace.get_tracer("library", "1", schema_url="https://example.org", attributes={"s": 1})
    with (
        trace.use_span(remote),
        suppress(ValueError),
        library.start_as_current_span(
            "s",
            kind=trace.SpanKind.CLIENT,
            attributes={"a": [1, 2], "b": "x"},
            links=[trace.Link(trace.SpanContext(5, 6, True), {"l": 1})],
        ) as span,
    ):
        span.add_event("e", {"n": 1}, timestamp=5)
        raise ValueError("no")
    (twin,) = exporter.spans
    (original,) = theirs.memory.get_finished_spans()
    assert original.context is not None
    assert twin.context == original.context
    assert twin.parent == original.parent
    assert twin.context.trace_state == {"k": "v"}
    assert (twin.start_time, twin.end_time) == (original.start_time, original.end_time)
    assert twin.kind == original.kind
    assert list(twin.attributes) == ["a", "b"]
    assert [(event.name, event.timestamp) for event in twin.events] == [
        (event.name, event.timestamp) for event in original.events
    ]
    assert twin.events[1].attributes == original.events[1].attributes
    assert twin.links[0].context == original.links[0].context
    assert twin.status.description == original.status.description == "ValueError: no"
    assert twin.resource.attributes["service.name"] == "ours", "its own resource, as for its own spans"
    assert twin.instrumentation_scope.schema_url == "https://example.org"
    assert twin.instrumentation_scope.attributes == {"s": 1}
    assert tracer.stats().started == 1
    tracer.close()


def test_what_a_fed_span_lost_is_added_to_what_it_loses_here(exporter: MemoryExporter) -> None:
    """The other SDK's limits first, then lambent's: both counts are in what is exported."""
    few = SpanLimits(
        max_span_attributes=3, max_events=3, max_links=3, max_event_attributes=2, max_link_attributes=2
    )
    provider = TracerProvider(span_limits=few, shutdown_on_exit=False)
    memory = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    trace.set_tracer_provider(provider)
    fewer = {"attributes": 2, "events": 1, "links": 1, "event_attributes": 1, "link_attributes": 1}
    tracer = lambent.init(exporter=exporter, otel_provider="feed", limits=fewer)
    four = dict.fromkeys("abcd", 1)
    links = [trace.Link(trace.SpanContext(5, number, True), four) for number in range(1, 6)]
    with trace.get_tracer("library").start_as_current_span("s", attributes=four, links=links) as span:
        for number in range(7):
            span.add_event(f"e{number}", four)
    (theirs,), (twin,) = memory.get_finished_spans(), exporter.spans
    assert (theirs.dropped_attributes, theirs.dropped_events, theirs.dropped_links) == (1, 4, 2)
    assert (twin.dropped_attributes, twin.dropped_events, twin.dropped_links) == (1 + 1, 4 + 2, 2 + 2)
    (event,), (link,) = twin.events, twin.links
    assert (event.name, theirs.events[-1].dropped_attributes, event.dropped_attributes) == ("e6", 2, 2 + 1)
    assert (link.context.span_id, theirs.links[-1].dropped_attributes) == (5, 2)
    assert link.dropped_attributes == 2 + 1
    provider.shutdown()
    tracer.close()


@pytest.mark.parametrize("decision", [Decision.DROP, Decision.RECORD_ONLY])
def test_what_the_other_does_not_sample_is_not_fed(exporter: MemoryExporter, decision: Decision) -> None:
    provider = TracerProvider(sampler=StaticSampler(decision), shutdown_on_exit=False)
    trace.set_tracer_provider(provider)
    tracer = lambent.init(exporter=exporter, otel_provider="feed")
    with trace.get_tracer("x").start_as_current_span("silent"), tracer.trace("under it"):
        pass
    assert names(exporter) == []
    tracer.close()
    provider.shutdown()


def test_the_program_may_set_one_beside_lambent_and_no_more(theirs: Theirs, exporter: MemoryExporter) -> None:
    """Once is the API's rule."""
    tracer = lambent.init(exporter=exporter, otel_provider="feed")
    trace.set_tracer_provider(theirs.provider)
    trace.set_tracer_provider(TracerProvider(shutdown_on_exit=False))
    assert trace.get_tracer_provider() is theirs.provider
    tracer.close()


def test_it_is_fed_once_however_often_lambent_begins(
    theirs: Theirs, capfd: pytest.CaptureFixture[str]
) -> None:
    trace.set_tracer_provider(theirs.provider)
    for _ in range(3):
        exporter = MemoryExporter()
        tracer = lambent.init(exporter=exporter, otel_provider="feed")
        with trace.get_tracer("x").start_as_current_span("s"):
            pass
        assert names(exporter) == ["s"]
        tracer.close()
        with trace.get_tracer("x").start_as_current_span("after"):
            pass
        assert names(exporter) == ["s"]
    assert theirs.names == ["s", "after"] * 3
    assert capfd.readouterr().err == FED


class Closed(trace.TracerProvider):
    """A provider that takes no processors, as some vendors' do not."""

    def get_tracer(self, *arguments: Any, **keywords: Any) -> trace.Tracer:
        return trace.NoOpTracer()


@pytest.mark.parametrize("how", ["replace", "feed"])
def test_one_that_takes_no_processors_is_replaced(
    exporter: MemoryExporter, how: str, capfd: pytest.CaptureFixture[str]
) -> None:
    trace.set_tracer_provider(Closed())
    tracer = lambent.init(exporter=exporter, otel_provider=how)
    assert names(exporter) == []
    assert program(tracer) == names(exporter)
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert "Closed: lambent has replaced it\n" in said
    tracer.close()


def test_one_that_passes_on_to_lambents_own_ends_there(tracer: Any, exporter: MemoryExporter) -> None:
    """Some products have a provider around the one that there is."""

    class Around(trace.TracerProvider):
        def __getattr__(self, name: str) -> Any:
            return getattr(tracer.provider, name)

        def get_tracer(self, *args: Any, **kwargs: Any) -> Any:
            return tracer.provider.get_tracer(*args, **kwargs)

    trace.set_tracer_provider(Around())
    expected = program(tracer)
    assert names(exporter) == expected


def test_after_a_close_another_may_serve_the_api(
    theirs: Theirs, exporter: MemoryExporter, capfd: pytest.CaptureFixture[str]
) -> None:
    lambent.init(exporter=exporter).close()
    trace.set_tracer_provider(theirs.provider)
    with trace.get_tracer("x").start_as_current_span("theirs"):
        pass
    assert theirs.names == ["theirs"]
    assert capfd.readouterr().err == ""


def test_spans_of_other_sdks_beside_lambent(theirs: Theirs, exporter: MemoryExporter) -> None:
    """A provider that nobody set is nobody's business: it shares the current span, and keeps its own."""
    tracer = lambent.init(exporter=exporter)
    library = theirs.provider.get_tracer("private")
    with tracer.trace("outer") as outer, library.start_as_current_span("private"), tracer.trace("inner"):
        pass
    assert names(exporter) == ["inner", "outer"]
    (private,) = theirs.memory.get_finished_spans()
    assert private.parent == outer.context
    assert private.context is not None
    assert exporter.spans[0].parent == private.context
    tracer.close()


def test_a_span_that_cannot_be_taken_is_said_and_the_function_goes_on(
    theirs: Theirs, exporter: MemoryExporter, capfd: pytest.CaptureFixture[str]
) -> None:
    trace.set_tracer_provider(theirs.provider)
    tracer = lambent.init(exporter=exporter, otel_provider="feed")
    for _ in range(2):
        with trace.get_tracer("x").start_as_current_span("odd", kind="odd"):  # type: ignore[arg-type]  # on purpose
            pass
    with trace.get_tracer("x").start_as_current_span("good"):
        pass
    assert names(exporter) == ["good"]
    assert capfd.readouterr().err.count("a span of another SDK is not taken") == 1
    tracer.close()
