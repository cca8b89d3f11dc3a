"""Which span is current: in blocks, threads, tasks and generators."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import TYPE_CHECKING

import pytest

import lambent
from lambent import current_span
from lambent.context import SpanContext
from lambent.span import NonRecordingSpan, Span

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from lambent.testing import RecordingTracer


def parents(tracer: RecordingTracer) -> dict[str, str | None]:
    names = {span.context.span_id: span.name for span in tracer.spans}
    return {span.name: names.get(span.parent.span_id) if span.parent else None for span in tracer.spans}


def test_blocks_nest(tracer: RecordingTracer) -> None:
    assert current_span() is None
    with tracer.trace("a") as a:
        assert current_span() is a
        with tracer.trace("b") as b:
            assert current_span() is b
        assert current_span() is a
        with pytest.raises(ZeroDivisionError), tracer.trace("c"):
            _ = 1 / 0
        assert current_span() is a
    assert current_span() is None
    assert parents(tracer) == {"a": None, "b": "a", "c": "a"}


def test_a_span_that_is_only_started_is_not_current(tracer: RecordingTracer) -> None:
    span = tracer.start_span("s")
    assert current_span() is None
    span.end()


def test_a_span_entered_twice(tracer: RecordingTracer) -> None:
    with tracer.trace("outer") as outer:
        span = tracer.start_span("s")
        with span:
            with span:
                assert current_span() is span
            assert current_span() is span
        assert current_span() is outer


def test_one_span_in_two_threads_at_once(tracer: RecordingTracer) -> None:
    span = tracer.start_span("shared")
    entered, leave, left = threading.Event(), threading.Event(), []

    def other() -> None:
        with span:
            entered.set()
            assert leave.wait(10)
        left.append(current_span())

    thread = threading.Thread(target=other)
    with span:
        thread.start()
        assert entered.wait(10)
    assert current_span() is None
    leave.set()
    thread.join(10)
    assert left == [None]


def test_an_unsampled_span_in_two_threads_at_once() -> None:
    span = NonRecordingSpan(SpanContext(1, 2))
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with span:
            entered.set()
            assert leave.wait(10)

    thread = threading.Thread(target=other)
    with span:
        thread.start()
        assert entered.wait(10)
    assert current_span() is None
    leave.set()
    thread.join(10)


def test_a_thread_starts_with_no_span(tracer: RecordingTracer) -> None:
    seen: list[object] = []
    with tracer.trace("s"):
        # A new context is what a thread has up to 3.13; later ones may inherit their creator's.
        thread = threading.Thread(target=lambda: seen.append(contextvars.Context().run(current_span)))
        thread.start()
        thread.join(10)
        carried = contextvars.copy_context()
        thread = threading.Thread(target=lambda: seen.append(carried.run(current_span)))
        thread.start()
        thread.join(10)
    assert seen[0] is None
    assert isinstance(seen[1], Span)


async def test_tasks_start_with_their_creators_span(tracer: RecordingTracer) -> None:
    async def work(name: str) -> None:
        with tracer.trace(name):
            await asyncio.sleep(0)
            with tracer.trace(f"{name}.child"):
                await asyncio.sleep(0)

    with tracer.trace("root"):
        await asyncio.gather(work("a"), work("b"), work("c"))
        task = asyncio.create_task(work("d"))
    await task
    found = parents(tracer)
    for name in "abcd":
        assert found[name] == "root"
        assert found[f"{name}.child"] == name


async def test_a_task_does_not_change_its_creators_span(tracer: RecordingTracer) -> None:
    inside, leave = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        with tracer.trace("task"):
            inside.set()
            await leave.wait()

    with tracer.trace("root") as root:
        task = asyncio.create_task(work())
        await inside.wait()
        assert current_span() is root
        leave.set()
        await task
        assert current_span() is root


def test_a_generator_closed_in_another_context(tracer: RecordingTracer) -> None:
    def numbers() -> Iterator[int]:
        with tracer.trace("generator"):
            yield 1

    values = numbers()
    contextvars.copy_context().run(next, values)
    with tracer.trace("elsewhere") as elsewhere:
        values.close()  # type: ignore[attr-defined]  # a generator
        assert current_span() is elsewhere
    assert current_span() is None
    assert [(span.name, span.status.status_code) for span in tracer.spans] == [
        ("generator", 0),
        ("elsewhere", 0),
    ]


async def test_an_async_generator_finished_by_another_task(tracer: RecordingTracer) -> None:
    async def numbers() -> AsyncIterator[int]:
        with tracer.trace("generator"):
            yield 1
            yield 2

    values = numbers()
    assert await anext(values) == 1
    rest = await asyncio.create_task(collect(values))
    assert rest == [2]
    assert [span.name for span in tracer.spans] == ["generator"]


async def collect(values: AsyncIterator[int]) -> list[int]:
    return [value async for value in values]


def test_an_exit_without_an_entry_ends_the_span(tracer: RecordingTracer) -> None:
    with tracer.trace("outer") as outer:
        span = tracer.start_span("s")
        span.__exit__(None, None, None)
        assert current_span() is outer
    assert [span.name for span in tracer.spans] == ["s", "outer"]


def test_children_of_given_parents(tracer: RecordingTracer) -> None:
    first = tracer.start_span("first")
    with tracer.trace("second"):
        tracer.start_span("of span", context=first).end()
        tracer.start_span("of context", context=first.get_span_context()).end()
        tracer.start_span("root", context=SpanContext(0, 0)).end()
        tracer.start_span("root too", context=NonRecordingSpan(SpanContext(0, 0))).end()
    first.end()
    found = parents(tracer)
    assert found == {
        "of span": "first",
        "of context": "first",
        "root": None,
        "root too": None,
        "second": None,
        "first": None,
    }


def test_children_in_an_opentelemetry_context(tracer: RecordingTracer) -> None:
    from opentelemetry import trace as otel

    foreign = otel.NonRecordingSpan(
        otel.SpanContext(11, 12, True, otel.TraceFlags(1), otel.TraceState([("a", "b")]))
    )
    tracer.start_span("child", context=otel.set_span_in_context(foreign)).end()
    tracer.start_span("root", context=otel.set_span_in_context(otel.INVALID_SPAN)).end()
    child, root = tracer.spans
    assert child.parent is not None
    assert (child.parent.trace_id, child.parent.span_id, child.parent.is_remote) == (11, 12, True)
    assert child.context.trace_state == {"a": "b"}
    assert root.parent is None


def test_contexts_compare_by_what_they_say() -> None:
    assert SpanContext(1, 2, True, 1) == SpanContext(1, 2, True, 1)
    assert SpanContext(1, 2, True, 1) != SpanContext(1, 2, False, 1)
    assert SpanContext(1, 2) != "1-2"
    assert len({SpanContext(1, 2), SpanContext(1, 2)}) == 1
    assert "0x0000000000000002" in repr(SpanContext(1, 2))
    assert not SpanContext(1 << 128, 1).is_valid
    assert lambent.SpanContext is SpanContext
