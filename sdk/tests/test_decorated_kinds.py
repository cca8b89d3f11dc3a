"""What may be decorated besides functions and classes, and what of it must still be there afterwards."""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
import types
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from unittest.mock import AsyncMock, MagicMock, Mock

import pytest

import lambent
from lambent import testing

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

MOCKS: tuple[Any, ...] = (Mock, MagicMock, AsyncMock)


@pytest.fixture
def tracer() -> Iterator[testing.RecordingTracer]:
    with testing.tracer() as made:
        yield made


F = TypeVar("F")


class Decorator(Protocol):
    """It leaves types as they are."""

    def __call__(self, function: F, /) -> F: ...


def untraced(function: F) -> F:
    return function


def names(tracer: testing.RecordingTracer) -> list[str]:
    return [span.name for span in tracer.spans]


@pytest.mark.parametrize("decorate", [lambent.trace, lambent.atrace])
def test_a_block_of_async_with(decorate: Any, tracer: testing.RecordingTracer) -> None:
    block = decorate("load", event_type="tool", inputs={"id": 7})

    async def use(number: int) -> None:
        async with block as span:
            span.set_attribute("number", number)
            await asyncio.sleep(0)
            assert lambent.current_span() is span
            with tracer.trace(f"inside {number}"):
                await asyncio.sleep(0)
        assert lambent.current_span() is None

    async def main() -> None:
        await asyncio.gather(*[use(number) for number in range(3)])

    asyncio.run(main())
    blocks = {span.context.span_id: span for span in tracer.spans if span.name == "load"}
    inside = [span for span in tracer.spans if span.name != "load"]
    assert len(blocks) == len(inside) == 3
    for span in inside:
        assert span.parent is not None
        assert f"inside {blocks[span.parent.span_id].attributes['number']}" == span.name
    assert {span.attributes["lambent.inputs.id"] for span in blocks.values()} == {7}


def test_what_leaves_a_block_of_async_with(tracer: testing.RecordingTracer) -> None:
    async def fail() -> None:
        async with lambent.trace("load"):
            raise ValueError("late")

    with pytest.raises(ValueError, match="late"):
        asyncio.run(fail())
    (span,) = tracer.spans
    assert span.status.description == "ValueError: late"
    assert [event.name for event in span.events] == ["exception"]


def test_the_other_blocks_may_be_async_too(tracer: testing.RecordingTracer) -> None:
    async def use() -> None:
        async with lambent.enrich_span(event_name="part") as part:
            assert lambent.current_span() is part
        async with lambent.llm.call("m") as call:
            assert lambent.current_span() is call.span
        async with lambent.llm.tool("t"):
            pass

    asyncio.run(use())
    assert names(tracer) == ["part", "chat m", "execute_tool t"]


def test_a_cache_can_be_asked_and_cleared(tracer: testing.RecordingTracer) -> None:
    @lambent.trace
    @functools.lru_cache
    def double(n: int) -> int:
        return 2 * n

    cached: Any = double
    assert (cached(2), cached(2)) == (4, 4)
    assert cached.cache_info().hits == 1
    assert cached.cache_parameters()["maxsize"] == 128
    cached.cache_clear()
    assert cached.cache_info().currsize == 0
    assert len(tracer.spans) == 2


def test_a_cached_property_and_a_partial_method(tracer: testing.RecordingTracer) -> None:
    class Order:
        """Something to load."""

        def load(self, kind: str, number: int) -> str:
            return f"{kind} {number}"

        def count(self) -> int:
            return 3

        first = lambent.trace("first", inputs=True)(functools.partialmethod(load, "order"))
        total = lambent.trace(functools.cached_property(count))

    order = Order()
    assert (order.first(1), order.total, order.total) == ("order 1", 3, 3)
    assert [name.rpartition(".")[2] for name in names(tracer)] == ["first", "count"]
    assert tracer.spans[0].attributes["lambent.inputs.number"] == 1


@pytest.mark.parametrize("decorate", [untraced, lambent.trace, lambent.trace(inputs=True)])
def test_a_generic_function(decorate: Decorator, tracer: testing.RecordingTracer) -> None:
    @functools.singledispatch
    def plain(value: object, /, times: int = 1) -> Any:
        """Say what it is."""
        return "object" * times

    @plain.register
    def _(number: int) -> str:
        with tracer.trace("inside"):
            return f"int {number}"

    show = decorate(plain)

    @show.register
    async def _(text: str) -> str:
        await asyncio.sleep(0)
        with tracer.trace("inside"):
            return f"str {text}"

    @show.register(list)
    def _(values: list[int]) -> Iterator[int]:
        for value in values:
            with tracer.trace("inside"):
                yield value

    called: Any = show
    assert called.register(bytes, len) is len
    assert (show(None, times=2), show(True), show(b"123")) == ("objectobject", "int True", 3)
    assert (asyncio.run(show("a")), list(show([1, 2]))) == ("str a", [1, 2])
    with pytest.raises(TypeError, match=r"requires at least 1 positional argument"):
        called(value=1)
    with pytest.raises(TypeError, match="times"):
        called(1, times=1)
    assert set(show.registry) == {object, int, str, list, bytes}
    assert show.dispatch(bool) is show.registry[int]
    assert (show.__doc__, inspect.signature(show)) == ("Say what it is.", inspect.signature(plain))
    assert not inspect.iscoroutinefunction(show)

    around = {span.context.span_id: span for span in tracer.spans if span.name != "inside"}
    inside = [span for span in tracer.spans if span.name == "inside"]
    assert len(inside) == 4
    if show is plain:
        assert not around
        return
    assert {name.rpartition(".")[2] for name in names(tracer)} == {"inside", "plain"}
    assert len(around) == 6
    assert {span.parent and around[span.parent.span_id].name for span in inside} == {"plain"}
    assert [span.status.status_code.name for span in around.values()].count("ERROR") == 1
    if decorate is not lambent.trace:
        assert [dict(span.attributes) for span in around.values()][:2] == [
            {"lambent.inputs.value": None, "lambent.inputs.times": 2},
            {"lambent.inputs.number": True},
        ]


@pytest.mark.parametrize("outermost", [untraced, lambent.trace_class])
@pytest.mark.parametrize("decorate", [untraced, lambent.trace, lambent.atrace("shown")])
def test_a_generic_method(decorate: Decorator, outermost: Any, tracer: testing.RecordingTracer) -> None:
    class Order:
        @decorate
        @functools.singledispatchmethod
        def show(self, value: object) -> Any:
            """Say what it is."""
            return self, "object"

        @show.register
        def _(self, value: int) -> Any:
            return self, "int"

        @show.register
        async def _(self, value: str) -> Any:
            await asyncio.sleep(0)
            return self, "str"

        @decorate
        @functools.singledispatchmethod
        @classmethod
        def made(cls, value: object) -> Any:
            return cls, value

        @made.register(int)
        @classmethod
        def _(cls, value: int) -> Any:
            raise ValueError(value)

    class Large(Order): ...

    def result(value: Any) -> Any:
        async def waited() -> Any:
            return await value

        return asyncio.run(waited()) if inspect.iscoroutine(value) else value

    kind: Any = outermost(Order)
    first, second, large = kind(), kind(), Large()
    for order in (first, second, large, first):
        assert result(order.show(None)) == (order, "object")
        assert result(order.show(1)) == (order, "int")
        assert result(order.show("a")) == (order, "str")
    first.show.register(float, lambda self, value: (self, "float"))
    assert result(large.show(1.0)) == (large, "float")
    assert [result(each.made("a")) for each in (first, Large)] == [(Order, "a"), (Large, "a")]
    with pytest.raises(ValueError, match="7"):
        result(kind.made(7))
    assert (first.show.__doc__, first.show.__name__) == ("Say what it is.", "show")
    assert len(tracer.spans) == 16 * sum(each is not untraced for each in (decorate, outermost))
    if decorate is lambent.trace:
        assert {name.rpartition(".")[2] for name in names(tracer)} == {"show", "made"}


def test_what_is_marked_as_a_coroutine_function_is_one(tracer: testing.RecordingTracer) -> None:
    async def inner() -> int:
        with tracer.trace("inside"):
            await asyncio.sleep(0)
        return 4

    def outer() -> Any:
        return inner()

    marked: Any = outer
    if sys.version_info >= (3, 12):
        inspect.markcoroutinefunction(marked)
    else:
        marked._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]  # as it was done
    traced = lambent.trace("outer")(marked)
    assert inspect.iscoroutinefunction(traced)
    assert asyncio.run(traced()) == 4
    inside, around = tracer.spans
    assert inside.parent is not None
    assert inside.parent.span_id == around.context.span_id


def test_a_coroutine_function_that_is_wrapped_by_a_plain_one(tracer: testing.RecordingTracer) -> None:
    """As decorators that do not think of coroutines leave it; the span lasts until the coroutine is over."""

    def logged(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(*args: Any) -> Any:
            return function(*args)

        return wrapper

    @lambent.trace(inputs=True, outputs=True)
    @logged
    @logged
    async def load(number: int) -> int:
        with tracer.trace(f"inside {number}"):
            await asyncio.sleep(0)
        if number == 2:
            raise ValueError("two")
        return number

    async def main() -> list[Any]:
        with tracer.trace("main") as span:
            waiting = [load(number) for number in range(3)]
            assert lambent.current_span() is span
            assert all(inspect.iscoroutine(each) for each in waiting)
            found = await asyncio.gather(*waiting, return_exceptions=True)
            assert lambent.current_span() is span
            assert await load(7) == 7
            assert lambent.current_span() is span
        return found

    *numbers, error = asyncio.run(main())
    assert numbers == [0, 1]
    assert isinstance(error, ValueError)
    by_id = {span.context.span_id: span for span in tracer.spans}
    shown = {span.name: span.parent and by_id[span.parent.span_id] for span in tracer.spans}
    for number in (0, 1, 2, 7):
        around: Any = shown[f"inside {number}"]
        assert around.attributes["lambent.inputs.number"] == number
        assert around.attributes.get("lambent.outputs.result") == (None if number == 2 else number)
        assert (around.status.description == "ValueError: two") is (number == 2)
        assert by_id[around.parent.span_id].name == "main"


def test_a_coroutine_function_that_is_run_by_a_plain_one(tracer: testing.RecordingTracer) -> None:
    async def load() -> int:
        with tracer.trace("inside"):
            await asyncio.sleep(0)
        return 3

    @functools.wraps(load)
    def run() -> int:
        return asyncio.run(load())

    assert lambent.trace(run)() == 3
    assert not inspect.iscoroutinefunction(lambent.trace(run))
    inside, around = tracer.spans
    assert inside.parent is not None
    assert inside.parent.span_id == around.context.span_id


class Anything:
    """It has whatever it is asked for."""

    def __getattr__(self, name: str) -> Any:
        return self

    def __call__(self, *args: object, **kwargs: object) -> int:
        return 3


@pytest.mark.parametrize("make", [Anything, *[functools.partial(mock, return_value=3) for mock in MOCKS]])
@pytest.mark.timeout(20)
def test_what_claims_to_have_everything(make: Any, tracer: testing.RecordingTracer) -> None:
    """Tests decorate mocks, and a mock has a `func`, which has one."""
    for decorate in (lambent.trace(inputs=True, outputs=True), lambent.trace(tracer=tracer), tracer.handler):
        result = decorate(make())({}, None)
        assert (asyncio.run(result) if inspect.iscoroutine(result) else result) == 3
    assert len(tracer.spans) == 3


def test_a_coroutine_that_is_a_generator(tracer: testing.RecordingTracer) -> None:
    @types.coroutine
    def work() -> Generator[Any, Any, int]:
        yield from asyncio.sleep(0).__await__()
        return 4

    async def main() -> int:
        return await lambent.trace(work)() + await lambent.atrace(functools.partial(work))()

    assert asyncio.run(main()) == 8
    assert len(tracer.spans) == 2


def test_what_closing_a_generator_returns(tracer: testing.RecordingTracer) -> None:
    def numbers() -> Generator[int, None, str]:
        try:
            yield 1
        except GeneratorExit:
            return "closed"
        return "done"

    results = []
    for function in (numbers, lambent.trace(numbers)):
        generator: Any = function()
        assert next(generator) == 1
        results.append(generator.close())
    assert results[0] == results[1]
    (span,) = tracer.spans
    assert (span.status.status_code.name, span.events) == ("UNSET", ())


@pytest.mark.parametrize(
    ("error", "status"), [("it broke", "it broke"), (ValueError("x"), "x"), ("", None), (False, None)]
)
def test_an_error_that_is_given(error: Any, status: str | None, tracer: testing.RecordingTracer) -> None:
    @lambent.trace(error=error)
    def work() -> None: ...

    work()
    with tracer.trace("enriched"):
        assert lambent.enrich_span({"a": 1}, error=error)
    for span in tracer.spans:
        assert span.status.description == status
        assert (span.status.status_code.name == "ERROR") is (status is not None)
        assert ("lambent.error" in span.attributes) is (status is not None)
