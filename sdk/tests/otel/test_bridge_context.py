"""One current span and one baggage, seen from lambent and from OpenTelemetry's API."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import baggage, context, propagate, trace
from opentelemetry.instrumentation.utils import (
    is_http_instrumentation_enabled,
    is_instrumentation_enabled,
    suppress_http_instrumentation,
    suppress_instrumentation,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import lambent
from lambent.context import CURRENT, SUPPRESSED, SpanContext
from lambent.exporters import Exporter, Result
from lambent.propagation import baggage as own_baggage
from lambent.testing import recording_tracer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lambent.exporters.memory import MemoryExporter

REMOTE = trace.SpanContext(
    0xABC, 0xDEF, is_remote=True, trace_flags=trace.TraceFlags(1), trace_state=trace.TraceState([("a", "b")])
)


def ids(span: Any) -> tuple[int, int]:
    found = span.get_span_context()
    return found.trace_id, found.span_id


def test_a_lambent_span_is_the_apis_current_one(tracer: Any) -> None:
    outer: Any
    with tracer.trace("outer") as outer:
        assert any(span is outer for span in [trace.get_current_span()])
        assert [isinstance(outer, kind) for kind in (trace.Span, trace.NonRecordingSpan)] == [True, False]
        found = trace.get_current_span().get_span_context()
        assert type(found) is trace.SpanContext
        assert found == outer.context
        assert outer.context == found
        assert found.is_valid
        assert found.trace_flags.sampled
        assert not found.is_remote
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_parents_both_ways(tracer: Any, exporter: MemoryExporter) -> None:
    library = trace.get_tracer("library")
    with (
        tracer.trace("a"),
        library.start_as_current_span("b"),
        tracer.trace("c") as inner,
        library.start_span("d"),
    ):
        assert lambent.current_span() is inner, "as the API has it"
    parents = {span.name: span.parent and span.parent.span_id for span in exporter.spans}
    spans = {span.name: span.context.span_id for span in exporter.spans}
    assert parents == {"a": None, "b": spans["a"], "c": spans["b"], "d": spans["c"]}


def test_a_remote_span_in_the_context_is_the_parent(tracer: Any) -> None:
    remote = trace.NonRecordingSpan(REMOTE)
    with trace.use_span(remote):
        assert trace.get_current_span() is remote
        with tracer.trace("inside") as span:
            assert span.parent == REMOTE
            assert span.parent.is_remote
            assert span.context.trace_state == {"a": "b"}
            assert trace.get_current_span() is span
        assert trace.get_current_span() is remote
    given = trace.set_span_in_context(remote)
    assert tracer.start_span("given", context=given).parent == REMOTE
    assert tracer.start_span("given", context=remote).parent == REMOTE
    assert tracer.start_span("given", context=REMOTE).parent == REMOTE
    assert tracer.start_span("root", context=context.Context()).parent is None
    assert tracer.start_span("root", context=trace.set_span_in_context(trace.INVALID_SPAN)).parent is None


def test_an_unsampled_remote_span_silences_what_is_under_it(tracer: Any, exporter: MemoryExporter) -> None:
    silent = trace.NonRecordingSpan(trace.SpanContext(1, 2, True, trace.TraceFlags(0)))
    with trace.use_span(silent), tracer.trace("own") as own:
        assert not own.is_recording()
        assert isinstance(own, trace.NonRecordingSpan)
        with trace.get_tracer("library").start_as_current_span("api") as span:
            assert isinstance(span, trace.NonRecordingSpan)
            assert span.get_span_context().trace_id == 1
            assert trace.get_current_span() is span
    assert exporter.spans == []


def test_invalid_spans_are_no_parents(tracer: Any) -> None:
    with trace.use_span(trace.INVALID_SPAN):
        assert trace.get_current_span() is trace.INVALID_SPAN
        assert tracer.start_span("root").parent is None
        assert tracer.start_span("root").is_recording()
        root: Any
        with trace.get_tracer("library").start_as_current_span("root") as root:
            assert root.parent is None
            assert root.is_recording()


@pytest.mark.parametrize("nonsense", [object(), "text", 5])
def test_nonsense_in_the_context_is_no_span(tracer: Any, nonsense: object) -> None:
    token = context.attach(trace.set_span_in_context(nonsense))  # type: ignore[arg-type]  # wrong on purpose
    assert trace.get_current_span() is trace.INVALID_SPAN
    assert tracer.start_span("root").parent is None
    context.detach(token)


def test_another_sdks_span_is_written_to_through_lambent(tracer: Any) -> None:
    memory = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    with provider.get_tracer("theirs").start_as_current_span("theirs") as theirs:
        under: Any
        span: Any = lambent.current_span()
        assert trace.get_current_span() is theirs
        assert [isinstance(each, trace.Span) for each in (span, theirs)] == [True, True]
        assert span.is_recording()
        assert span.get_span_context() is theirs.get_span_context()
        span.set_attribute("a", 1)
        span.set_attributes({"b": 2})
        span.add_event("e")
        span.add_link(SpanContext(5, 6))
        span.update_name("renamed")
        span.record_exception(ValueError("v"))
        span.set_status("error", "bad")
        span.set_status("nonsense")
        with tracer.trace("ours") as ours:
            assert ours.parent == theirs.get_span_context()
            with provider.get_tracer("theirs").start_as_current_span("under ours") as under:
                assert under.parent == ours.get_span_context()
        assert trace.get_current_span() is theirs
    found = next(span for span in memory.get_finished_spans() if span.name == "renamed")
    assert dict(found.attributes or {}) == {"a": 1, "b": 2}
    assert [event.name for event in found.events] == ["e", "exception"]
    assert found.links[0].context.span_id == 6
    assert found.status.status_code is trace.StatusCode.ERROR
    assert found.status.description == "bad"
    provider.shutdown()


def test_values_in_the_context_outlive_spans(tracer: Any) -> None:
    with tracer.trace("a"):
        token = context.attach(context.set_value("key", "value"))
        with tracer.trace("b"):
            assert context.get_value("key") == "value"
            assert trace.get_current_span().name == "b"  # type: ignore[attr-defined]  # a span of ours
        context.detach(token)
        assert context.get_value("key") is None
        assert trace.get_current_span().name == "a"  # type: ignore[attr-defined]  # as above


def test_the_same_context_is_given_while_nothing_changes(tracer: Any) -> None:
    token = context.attach(context.set_value("key", "value"))
    assert context.get_current() is context.get_current()
    context.detach(token)


def test_a_captured_context_works_in_another_thread(tracer: Any, exporter: MemoryExporter) -> None:
    def work(captured: context.Context) -> None:
        assert lambent.current_span() is None
        token = context.attach(captured)
        with tracer.trace("there"):
            pass
        context.detach(token)
        assert lambent.current_span() is None

    with tracer.trace("here") as here, ThreadPoolExecutor(1) as pool:
        pool.submit(work, context.get_current()).result(30)
    assert exporter.spans[0].parent == here.context


def test_threads_do_not_see_each_other(tracer: Any) -> None:
    ready = threading.Barrier(4)
    wrong: list[object] = []

    def work(number: int) -> None:
        library = trace.get_tracer(f"library {number}")
        outer: Any
        with library.start_as_current_span(f"outer {number}") as outer:
            ready.wait(30)
            for _ in range(100):
                with tracer.trace("inner") as inner:
                    if inner.parent != outer.get_span_context() or trace.get_current_span() is not inner:
                        wrong.append(inner)
                if trace.get_current_span() is not outer:
                    wrong.append(outer)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


async def test_tasks_inherit_and_do_not_see_each_other(tracer: Any, exporter: MemoryExporter) -> None:
    library = trace.get_tracer("library")
    all_in = asyncio.Event()
    inside: list[int] = []

    async def work(number: int) -> None:
        outer: Any
        with library.start_as_current_span(f"outer {number}") as outer:
            inside.append(number)
            if len(inside) == 5:
                all_in.set()
            await all_in.wait()
            assert trace.get_current_span() is outer
            with tracer.trace(f"inner {number}"):
                await asyncio.sleep(0)
            assert lambent.current_span() is outer

    with tracer.trace("root") as root:
        await asyncio.gather(*[work(number) for number in range(5)])
    spans = {span.name: span for span in exporter.spans}
    for number in range(5):
        assert spans[f"inner {number}"].parent == spans[f"outer {number}"].context
        assert spans[f"outer {number}"].parent == root.context


async def test_the_decorator_of_the_api(tracer: Any, exporter: MemoryExporter) -> None:
    library = trace.get_tracer("library")

    @library.start_as_current_span("sync")
    def sync(value: int) -> int:
        current: Any = lambent.current_span()
        assert trace.get_current_span() is current
        return value + 1

    @library.start_as_current_span("async")
    async def asynchronous(value: int) -> int:
        await asyncio.sleep(0)
        assert trace.get_current_span().is_recording()
        return sync(value)

    assert sync(1) == 2
    assert await asynchronous(1) == 2
    assert [span.name for span in exporter.spans] == ["sync", "sync", "async"]
    assert exporter.spans[1].parent == exporter.spans[2].context


def test_a_token_of_another_context_is_refused_as_the_api_does(
    tracer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    tokens: list[Any] = []
    contextvars.copy_context().run(
        lambda: tokens.append(context.attach(context.set_value("key", "elsewhere")))
    )
    with tracer.trace("here") as here:
        context.detach(tokens[0])
        assert "Failed to detach context" in caplog.text
        assert trace.get_current_span() is here


# Baggage.


def test_baggage_of_the_api_is_lambents(tracer: Any) -> None:
    token = context.attach(baggage.set_baggage("user", "7"))
    assert own_baggage.current() == {"user": "7"}
    with tracer.trace("a"):
        inner = own_baggage.attach({**own_baggage.current(), "session": "s"})
        assert baggage.get_all() == {"user": "7", "session": "s"}
        carrier: dict[str, str] = {}
        propagate.inject(carrier)
        assert carrier["baggage"] == "user=7,session=s"
        changed = context.attach(baggage.remove_baggage("user"))
        assert own_baggage.current() == {"session": "s"}
        context.detach(changed)
        own_baggage.detach(inner)
        assert baggage.get_all() == {"user": "7"}
    context.detach(token)
    assert own_baggage.current() == {}
    assert baggage.get_all() == {}


def test_a_context_without_baggage_has_none(tracer: Any) -> None:
    inner = own_baggage.attach({"session": "s"})
    token = context.attach(context.Context())
    assert own_baggage.current() == {}
    context.detach(token)
    assert own_baggage.current() == {"session": "s"}
    own_baggage.detach(inner)


# Propagators.


def test_injecting_and_extracting(tracer: Any, exporter: MemoryExporter) -> None:
    carrier: dict[str, str] = {}
    with tracer.trace("sends") as sends:
        propagate.inject(carrier)
    token = context.attach(propagate.extract(carrier))
    with tracer.trace("receives"):
        pass
    context.detach(token)
    receives = exporter.spans[-1]
    assert receives.parent is not None
    assert (receives.parent.trace_id, receives.parent.span_id) == ids(sends)
    assert receives.parent.is_remote


# Suppression.


class Probing(Exporter):
    """Notes what an instrumentation would see while lambent exports."""

    def __init__(self) -> None:
        self.seen: list[tuple[bool, bool, bool]] = []

    def export(self, spans: Sequence[Any], timeout: float) -> Result:
        with trace.get_tracer("http").start_as_current_span("GET") as span:
            self.seen.append(
                (is_instrumentation_enabled(), is_http_instrumentation_enabled(), span.is_recording())
            )
        return Result()


def test_lambents_exports_are_invisible_to_instrumentations(api: None) -> None:
    probe = Probing()
    tracer = lambent.init(exporter=probe)
    with tracer.trace("traced"):
        assert is_http_instrumentation_enabled()
    assert tracer.force_flush()
    assert probe.seen == [(False, False, False)]
    assert is_http_instrumentation_enabled()
    assert tracer.force_flush()
    assert len(probe.seen) == 1, "the export made no spans"
    tracer.close()


def test_the_instrumentations_own_ways_to_suppress(tracer: Any) -> None:
    with tracer.trace("outer"):
        with suppress_http_instrumentation(), tracer.trace("inner"):
            assert is_instrumentation_enabled()
            assert not is_http_instrumentation_enabled()
        with suppress_instrumentation(), tracer.trace("inner"):
            assert not is_instrumentation_enabled()
        assert is_http_instrumentation_enabled()


def test_a_context_captured_while_exporting_stays_silent(tracer: Any) -> None:
    token = CURRENT.set(SUPPRESSED)
    captured = context.get_current()
    CURRENT.reset(token)
    attached = context.attach(captured)
    assert not is_instrumentation_enabled()
    assert not tracer.start_span("silent").is_recording()
    context.detach(attached)
    assert is_instrumentation_enabled()


def test_http_calls_can_be_left_alone(api: None) -> None:
    tracer = lambent.init(exporter="memory", disable_http_tracing=True)
    assert not is_http_instrumentation_enabled()
    assert is_instrumentation_enabled()
    with tracer.trace("a"):
        assert not is_http_instrumentation_enabled()
        with trace.get_tracer("library").start_as_current_span("b") as span:
            assert span.is_recording()
    tracer.close()


# Any interleaving of both APIs, against a model: a stack.

STEPS = st.lists(
    st.sampled_from(["lambent", "api", "remote", "empty", "value", "baggage", "own baggage", "back"]),
    max_size=25,
)


@given(STEPS)
@settings(max_examples=200)
def test_any_nesting_of_both(steps: list[str]) -> None:
    tracer = recording_tracer()
    library = tracer.provider.get_tracer("library")
    undo: list[Callable[[], object]] = []
    new: Any
    expected: list[tuple[Any, dict[str, str], int]] = [(None, {}, 0)]
    for number, step in enumerate(steps):
        span, entries, value = expected[-1]
        if step == "back":
            if undo:
                undo.pop()()
                expected.pop()
        elif step == "lambent":
            new = tracer.trace(f"{number}")
            assert (new.parent and new.parent.span_id) == (span and ids(span)[1])
            new.__enter__()
            undo.append(lambda new=new: new.__exit__(None, None, None))  # type: ignore[misc]  # bound now
            expected.append((new, entries, value))
        elif step in {"api", "remote"}:
            other: Any = (
                trace.NonRecordingSpan(trace.SpanContext(9, number + 1, True, trace.TraceFlags(1)))
                if step == "remote"
                else library.start_span(f"{number}")
            )
            if step == "api":
                assert (other.parent and other.parent.span_id) == (span and ids(span)[1])
            manager = trace.use_span(other, end_on_exit=step == "api")
            manager.__enter__()
            undo.append(lambda manager=manager: manager.__exit__(None, None, None))  # type: ignore[misc]  # as above
            expected.append((other, entries, value))
        elif step == "own baggage":
            entries = {**entries, str(number): "own"}
            mine = own_baggage.attach(entries)
            undo.append(lambda mine=mine: own_baggage.detach(mine))  # type: ignore[misc]  # as above
            expected.append((span, entries, value))
        else:
            if step == "empty":
                token = context.attach(context.Context())
                expected.append((None, {}, 0))
            elif step == "value":
                token = context.attach(context.set_value("value", number))
                expected.append((span, entries, number))
            else:
                token = context.attach(baggage.set_baggage(str(number), "api"))
                expected.append((span, {**entries, str(number): "api"}, value))
            undo.append(lambda token=token: context.detach(token))  # type: ignore[misc]  # as above
        span, entries, value = expected[-1]
        assert trace.get_current_span() is (trace.INVALID_SPAN if span is None else span)
        seen = lambent.current_span()
        assert (seen and ids(seen)) == (span and ids(span))
        assert dict(baggage.get_all()) == dict(own_baggage.current()) == entries
        assert (context.get_value("value") or 0) == value
    while undo:
        undo.pop()()
    assert trace.get_current_span() is trace.INVALID_SPAN
    assert lambent.current_span() is None
    assert own_baggage.current() == {}


# Invocations.


def test_a_context_that_a_handler_leaves_attached_is_not_the_next_ones(
    tracer: Any, exporter: MemoryExporter
) -> None:
    remote = {"traceparent": "00-0000000000000000000000000000000a-000000000000000b-01", "baggage": "user=7"}

    @tracer.handler  # type: ignore[untyped-decorator]  # the fixture's type is not known
    def handler(event: Any, context_: Any) -> None:
        assert baggage.get_all() == {}
        context.attach(propagate.extract(remote))  # and never detached, as in many functions
        with trace.get_tracer("library").start_as_current_span("inside") as span:
            assert span.parent.trace_id == 10  # type: ignore[attr-defined]  # a span of ours
            assert baggage.get_all() == {"user": "7"}

    handler({}, None)
    handler({}, None)
    roots = [span for span in exporter.spans if span.name != "inside"]
    assert [root.parent for root in roots] == [None, None]
    assert roots[0].context.trace_id != roots[1].context.trace_id
    context.attach(context.Context())


def test_what_is_left_attached_in_a_block_of_the_apis_ends_with_it(
    tracer: Any, exporter: MemoryExporter
) -> None:
    """As with opentelemetry-sdk: the block's end brings the context back that was there before it."""
    library = trace.get_tracer("library")
    with tracer.trace("ours") as ours:
        token = context.attach(baggage.set_baggage("user", "7"))
        before = context.get_current()
        with library.start_as_current_span("outer"):
            context.attach(context.set_value("depth", 1, baggage.set_baggage("record", "1")))
            with library.start_as_current_span("inner"):
                context.attach(context.set_value("depth", 2, baggage.set_baggage("record", "2")))
                assert baggage.get_all() == {"user": "7", "record": "2"}
            assert baggage.get_all() == {"user": "7", "record": "1"}
            assert context.get_value("depth") == 1
        assert baggage.get_all() == {"user": "7"}
        assert context.get_current() == before
        assert trace.get_current_span() is ours
        context.detach(token)
        assert baggage.get_all() == {}


def test_a_generator_may_be_closed_elsewhere(tracer: Any, exporter: MemoryExporter) -> None:
    library = trace.get_tracer("library")

    def stream() -> Any:
        with library.start_as_current_span("stream"):
            yield 1
            yield 2

    made = stream()
    with tracer.trace("here") as here:
        assert next(made) == 1
    contextvars.copy_context().run(made.close)
    assert [span.name for span in exporter.spans] == ["here", "stream"]
    assert exporter.spans[1].parent == here.context
    context.attach(context.Context())
