"""The tracer: the default one, several side by side, spans as blocks and decorators."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING

import pytest

import lambent
from lambent.exporters.memory import MemoryExporter
from lambent.span import NonRecordingSpan, Span

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Iterator

    from lambent.testing import RecordingTracer


def test_the_default_tracer() -> None:
    first = lambent.get_tracer()
    assert lambent.get_tracer() is first
    second = lambent.init(test_mode=True)
    assert lambent.get_tracer() is first
    third = lambent.init(test_mode=True, set_global=True)
    assert lambent.get_tracer() is third
    second.close()
    assert lambent.get_tracer() is third
    third.close()
    fourth = lambent.Tracer.init(test_mode=True)
    assert lambent.get_tracer() is fourth
    assert isinstance(fourth, lambent.Tracer)
    fourth.close()
    first.close()


def test_a_span_goes_to_its_own_tracers_exporters_only() -> None:
    memories = [MemoryExporter(), MemoryExporter()]
    first, second = (lambent.init(exporter=memory, service_name=str(id(memory))) for memory in memories)
    with first.trace("a") as outer, second.trace("b") as inner:
        assert inner.get_span_context().trace_id == outer.get_span_context().trace_id
    assert [[span.name for span in memory.spans] for memory in memories] == [["a"], ["b"]]
    for memory in memories:
        assert memory.spans[0].resource.attributes["service.name"] == str(id(memory))
    first.close()
    second.close()


def test_test_mode_keeps_the_newest_spans() -> None:
    tracer = lambent.init(test_mode=True, queue_size=3)
    for number in range(5):
        tracer.start_span(str(number)).end()
    (memory,) = tracer.delivery.exporters
    assert isinstance(memory, MemoryExporter)
    assert [span.name for span in memory.spans] == ["2", "3", "4"]
    memory.clear()
    assert memory.spans == []
    assert tracer.force_flush()
    tracer.close()


def test_a_current_span_block(tracer: RecordingTracer) -> None:
    with tracer.start_as_current_span("s", kind="CLIENT", attributes={"a": 1}) as span:
        assert lambent.current_span() is span
    with tracer.start_as_current_span("open", end_on_exit=False) as left:
        pass
    assert lambent.current_span() is None
    assert left.is_recording()
    left.end()
    assert [span.name for span in tracer.spans] == ["s", "open"]
    assert tracer.spans[0].kind.name == "CLIENT"


def test_an_unsampled_current_span_block(tracer: RecordingTracer) -> None:
    parent = lambent.SpanContext(1, 2, True, 0)
    with tracer.start_as_current_span("s", context=parent, end_on_exit=False) as span:
        assert isinstance(span, NonRecordingSpan)
    assert lambent.current_span() is None


def test_decorating_functions_of_all_kinds(tracer: RecordingTracer) -> None:
    @tracer.start_as_current_span("sync")
    def sync(value: int) -> int:
        """Double."""
        assert isinstance(lambent.current_span(), Span)
        return value * 2

    @tracer.start_as_current_span("coroutine")
    async def coroutine(value: int) -> int:
        await asyncio.sleep(0)
        assert isinstance(lambent.current_span(), Span)
        return value * 2

    @tracer.start_as_current_span("generator")
    def generator(value: int) -> Iterator[int]:
        yield value
        yield value * 2

    @tracer.start_as_current_span("async generator")
    async def async_generator(value: int) -> AsyncIterator[int]:
        yield value
        yield value * 2

    async def drain() -> list[int]:
        return [item async for item in async_generator(2)]

    assert (sync.__name__, sync.__doc__) == ("sync", "Double.")
    assert inspect.iscoroutinefunction(coroutine)
    assert inspect.isgeneratorfunction(generator)
    assert inspect.isasyncgenfunction(async_generator)
    assert [sync(2), sync(3)] == [4, 6]
    assert asyncio.run(coroutine(2)) == 4
    assert list(generator(2)) == [2, 4]
    assert asyncio.run(drain()) == [2, 4]
    assert [span.name for span in tracer.spans] == [
        "sync",
        "sync",
        "coroutine",
        "generator",
        "async generator",
    ]
    assert len({span.context.trace_id for span in tracer.spans}) == 5
    assert lambent.current_span() is None


def test_a_decorated_function_that_fails(tracer: RecordingTracer) -> None:
    @tracer.start_as_current_span("s")
    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    (span,) = tracer.spans
    assert span.status == lambent.Status("ERROR", "ValueError: no")
    assert lambent.current_span() is None


def test_codes_compare_print_and_hash() -> None:
    assert lambent.SpanKind.SERVER == 1
    assert lambent.SpanKind.SERVER != lambent.SpanKind.CLIENT
    assert lambent.SpanKind.SERVER != "SERVER"
    assert repr(lambent.StatusCode.ERROR) == "StatusCode.ERROR"
    assert lambent.StatusCode.ERROR.value == 2
    assert {lambent.SpanKind.SERVER: 1}[lambent.SpanKind.of("server")] == 1
    assert lambent.Status().is_unset
    assert lambent.Status("OK").is_ok
    assert not lambent.Status("ERROR", "x").is_ok
    assert lambent.Status("OK", "x").description is None
    assert lambent.Status("OK") != lambent.Status("ERROR")
    assert lambent.Status("OK") != 1
    with pytest.raises(ValueError, match="choose one of UNSET, OK, ERROR"):
        lambent.Status("FINE")


def test_after_another_library_has_set_a_provider_and_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    from opentelemetry import trace as otel
    from opentelemetry.sdk.trace import TracerProvider

    monkeypatch.setattr(otel, "_TRACER_PROVIDER", TracerProvider(shutdown_on_exit=False))
    for _ in range(2):
        memory = MemoryExporter()
        tracer = lambent.init(exporter=memory)
        tracer.start_span("s").end()
        assert len(memory.spans) == 1
        tracer.close()


def test_a_decorated_generator_is_current_while_it_runs_only(tracer: RecordingTracer) -> None:
    inner: list[object] = []

    @tracer.start_as_current_span("generator")
    def generator() -> Iterator[int]:
        with tracer.trace("inside"):
            for number in range(3):
                inner.append(lambent.current_span())
                yield number

    values = generator()
    assert next(values) == 0
    assert lambent.current_span() is None
    with tracer.trace("reader") as reader:
        assert next(values) == 1
        assert lambent.current_span() is reader
        assert list(values) == [2]
        assert lambent.current_span() is reader
    assert lambent.current_span() is None
    assert len(set(map(id, inner))) == 1
    assert isinstance(inner[0], Span)
    parents = {span.name: span.parent for span in tracer.spans}
    assert parents["generator"] is None
    assert parents["reader"] is None
    assert parents["inside"] is not None


def test_a_decorated_generator_passes_everything_on(tracer: RecordingTracer) -> None:
    seen: list[object] = []

    @tracer.start_as_current_span("generator")
    def generator() -> Generator[int, str, str]:
        try:
            seen.append((yield 1))
            yield 2
        except KeyError as error:
            seen.append(error)
        yield 3
        return "the end"

    values = generator()
    assert next(values) == 1
    assert values.send("sent") == 2
    error = KeyError("thrown")
    assert values.throw(error) == 3
    with pytest.raises(StopIteration) as stop:
        next(values)
    assert stop.value.value == "the end"
    assert seen == ["sent", error]
    closed = generator()
    next(closed)
    with tracer.trace("reader") as reader:
        closed.close()
        assert lambent.current_span() is reader
    assert [span.status.status_code.name for span in tracer.spans] == ["UNSET"] * 3
    assert lambent.current_span() is None


async def test_a_decorated_async_generator_is_current_while_it_runs_only(tracer: RecordingTracer) -> None:
    @tracer.start_as_current_span("generator")
    async def generator() -> AsyncIterator[object]:
        yield lambent.current_span()
        await asyncio.sleep(0)
        yield lambent.current_span()

    with tracer.trace("reader") as reader:
        async for span in generator():
            assert isinstance(span, Span)
            assert span.name == "generator"
            assert lambent.current_span() is reader
    assert lambent.current_span() is None


def test_a_clock_that_is_set_back_makes_no_negative_duration(tracer: RecordingTracer) -> None:
    span = tracer.start_span("s")
    tracer.fake_clock.advance(-5)
    span.end()
    assert tracer.spans[0].end_time == tracer.spans[0].start_time
