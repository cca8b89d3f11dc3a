"""`lambent.trace` and its relatives: what they record, and what they leave alone."""

from __future__ import annotations

import abc
import asyncio
import contextlib
import dataclasses
import functools
import gc
import inspect
import threading
import traceback
import typing
from typing import TYPE_CHECKING, Any, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lambent
from lambent.exporters.memory import MemoryExporter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Iterator

    from lambent import Span


@pytest.fixture
def memory() -> MemoryExporter:
    """What the default tracer's spans end in."""
    exporter = MemoryExporter()
    lambent.init(exporter=exporter, service_name="test")
    return exporter


def names(memory: MemoryExporter) -> list[str]:
    return [span.name for span in memory.spans]


def parent_of(span: Span, memory: MemoryExporter) -> str | None:
    for other in memory.spans:
        if span.parent is not None and other.context.span_id == span.parent.span_id:
            return other.name
    return None


def recorded(memory: MemoryExporter) -> list[str]:
    """The spans that have an exception event, one entry an event."""
    return [span.name for span in memory.spans for event in span.events if event.name == "exception"]


# Kinds of functions.


def test_a_function(memory: MemoryExporter) -> None:
    @lambent.trace
    def add(a: int, b: int = 2) -> int:
        assert lambent.current_span() is not None
        return a + b

    assert add(1) == 3
    assert add(1, b=4) == 5
    assert names(memory) == ["add", "add"]
    assert lambent.current_span() is None


def test_a_name_and_what_else_is_known_before(memory: MemoryExporter) -> None:
    @lambent.trace(
        event_type="tool",
        event_name="lookup",
        inputs={"q": "a"},
        outputs={"rows": [1, 2]},
        metadata={"team": {"name": "x"}},
        config={"model": "m-1", "temperature": 0.5},
        metrics={"prompt_tokens": 3},
        feedback={"ok": True},
        error="stale",
        event_id="e-1",
        user_properties={"plan": "free"},
    )
    def work() -> None: ...

    work()
    (span,) = memory.spans
    assert span.name == "lookup"
    assert dict(span.attributes) == {
        "lambent.event_type": "tool",
        "lambent.event_name": "lookup",
        "lambent.inputs.q": "a",
        "lambent.outputs.rows.0": 1,
        "lambent.outputs.rows.1": 2,
        "lambent.metadata.team.name": "x",
        "lambent.config.model": "m-1",
        "lambent.config.temperature": 0.5,
        "lambent.metrics.prompt_tokens": 3,
        "lambent.feedback.ok": True,
        "lambent.error": "stale",
        "lambent.event_id": "e-1",
        "lambent.user_properties.plan": "free",
        "gen_ai.request.model": "m-1",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.usage.input_tokens": 3,
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "lookup",
    }


def test_names_of_the_backend_honeyhive() -> None:
    exporter = MemoryExporter()
    tracer = lambent.init(exporter=exporter, backend="honeyhive")

    @lambent.trace(tracer=tracer, metadata={"a": {"b": [1]}}, event_type=lambent.EventType.model)
    def work(x: int) -> str:
        return "y"

    work(3)
    (span,) = exporter.spans
    expected = {
        "honeyhive_event_type": "model",
        "honeyhive_event_name": "work",
        "honeyhive_metadata.a.b.0": 1,
        "honeyhive_inputs.x": 3,
        "honeyhive_outputs.result": "y",
    }
    assert {name: span.attributes.get(name) for name in expected} == expected
    assert not [name for name in span.attributes if name.startswith(("lambent.", "gen_ai."))]


def test_a_name_alone(memory: MemoryExporter) -> None:
    @lambent.trace("load order")
    def work() -> None: ...

    work()
    assert names(memory) == ["load order"]


@pytest.mark.parametrize("kind", ["block", "object"])
def test_blocks_that_tasks_share(memory: MemoryExporter, kind: str) -> None:
    """They are left in the order in which they were entered, so that each is the wrong one for a stack."""

    @lambent.trace(event_name="shared")
    class Pool:
        async def __aenter__(self) -> None: ...
        async def __aexit__(self, *_: object) -> None: ...

    pool, block = Pool(), lambent.trace("shared")

    async def one(entered: asyncio.Event, leave: asyncio.Event, number: int) -> None:
        with lambent.get_tracer().trace(f"task {number}") as task:
            if kind == "block":
                with block:
                    entered.set()
                    await leave.wait()
            else:
                async with pool:
                    entered.set()
                    await leave.wait()
            assert lambent.current_span() is task

    async def main() -> None:
        leave = [asyncio.Event() for _ in range(3)]
        tasks = []
        for number in range(3):
            entered = asyncio.Event()
            tasks.append(asyncio.create_task(one(entered, leave[number], number)))
            await entered.wait()
        for number in range(3):
            leave[number].set()
            await tasks[number]

    asyncio.run(main())
    names = [span.name for span in memory.spans]
    assert names == ["shared", "task 0", "shared", "task 1", "shared", "task 2"]
    for inner, outer in zip(memory.spans[::2], memory.spans[1::2], strict=True):
        assert inner.parent == outer.context


def test_a_block(memory: MemoryExporter) -> None:
    with lambent.trace("block", metadata={"a": 1}) as span:
        assert lambent.current_span() is span
    with pytest.raises(ValueError, match="no"), lambent.trace("failing"):
        raise ValueError("no")
    assert memory.spans[0].attributes["lambent.metadata.a"] == 1
    assert [span.status.status_code.name for span in memory.spans] == ["UNSET", "ERROR"]


def test_methods_of_every_kind(memory: MemoryExporter) -> None:
    class Orders:
        @lambent.trace
        def one(self, n: int) -> tuple[Any, int]:
            return self, n

        @lambent.trace
        @classmethod
        def two(cls) -> Any:
            return cls

        @classmethod
        @lambent.trace
        def three(cls) -> Any:
            return cls

        @lambent.trace
        @staticmethod
        def four(n: int) -> int:
            return n

        @staticmethod
        @lambent.trace
        def five(n: int) -> int:
            return n

        @property
        @lambent.trace
        def six(self) -> int:
            return 6

        @lambent.trace
        async def seven(self) -> int:
            return 7

        @lambent.trace  # type: ignore[prop-decorator]  # mypy knows none over a property
        @property
        def eight(self) -> int:
            return 8

    orders = Orders()
    assert orders.one(1) == (orders, 1)
    assert orders.two() is Orders
    assert Orders.three() is Orders
    assert orders.four(4) == Orders.five(4) == 4
    assert orders.six == 6
    assert asyncio.run(orders.seven()) == 7
    assert orders.eight == 8
    numbers = ("one", "two", "three", "four", "five", "six", "seven", "eight")
    assert names(memory) == [f"Orders.{number}" for number in numbers]


def test_an_abstract_method_stays_one() -> None:
    class Base(abc.ABC):
        @lambent.trace
        @abc.abstractmethod
        def work(self) -> None: ...

    with pytest.raises(TypeError, match="abstract"):
        Base()  # type: ignore[abstract]  # that is the point


def test_a_coroutine_function(memory: MemoryExporter) -> None:
    @lambent.trace
    async def inner(n: int) -> int:
        await asyncio.sleep(0)
        return n

    @lambent.atrace(event_type="chain")
    async def outer() -> list[int]:
        return await asyncio.gather(*[inner(n) for n in range(3)])

    assert inspect.iscoroutinefunction(inner)
    assert asyncio.run(outer()) == [0, 1, 2]
    assert sorted(names(memory)) == ["inner", "inner", "inner", "outer"]
    assert {parent_of(span, memory) for span in memory.spans if span.name == "inner"} == {"outer"}


def test_what_returns_something_to_await(memory: MemoryExporter) -> None:
    async def real(n: int) -> int:
        with lambent.trace("inside"):
            return n

    lazy: Any = lambent.atrace("lazy")(functools.partial(real))
    assert inspect.iscoroutinefunction(lazy)
    assert asyncio.run(lazy(3)) == 3
    assert names(memory) == ["inside", "lazy"]
    assert parent_of(memory.spans[0], memory) == "lazy"


def test_a_generator_lives_as_long_as_its_iteration(memory: MemoryExporter) -> None:
    seen: list[object] = []

    @lambent.trace
    def numbers(n: int) -> Generator[int, str, str]:
        for i in range(n):
            with lambent.trace("inside"):
                pass
            seen.append((yield i))
        return "done"

    assert inspect.isgeneratorfunction(numbers)
    with lambent.trace("reader") as reader:
        it = numbers(2)
        assert names(memory) == []
        assert next(it) == 0
        assert lambent.current_span() is reader
        with lambent.trace("between"):
            pass
        assert it.send("x") == 1
        with pytest.raises(StopIteration) as stop:
            it.send("y")
        assert stop.value.value == "done"
        assert lambent.current_span() is reader
    assert seen == ["x", "y"]
    assert names(memory) == ["inside", "between", "inside", "numbers", "reader"]
    assert [parent_of(span, memory) for span in memory.spans[:4]] == [
        "numbers",
        "reader",
        "numbers",
        "reader",
    ]


def test_a_generator_is_thrown_into_and_closed(memory: MemoryExporter) -> None:
    closed: list[str] = []

    @lambent.trace
    def work() -> Generator[str, None, None]:
        try:
            while True:
                try:
                    yield "go on"
                except KeyError as error:
                    yield f"caught {error}"
        finally:
            closed.append("yes")

    it = work()
    next(it)
    assert it.throw(KeyError("k")) == "caught 'k'"
    it.close()
    assert closed == ["yes"]
    (span,) = memory.spans
    assert span.status.is_unset
    assert not span.events
    it = work()
    next(it)
    with pytest.raises(ZeroDivisionError):
        it.throw(ZeroDivisionError())
    assert memory.spans[1].status.status_code.name == "ERROR"


def test_a_generator_that_nobody_finishes_ends_with_its_last_reference(memory: MemoryExporter) -> None:
    @lambent.trace
    def work() -> Iterator[int]:
        yield 1
        yield 2

    for _ in work():
        break
    gc.collect()
    assert names(memory) == ["work"]


def test_an_async_generator(memory: MemoryExporter) -> None:
    log: list[object] = []

    @lambent.trace
    async def work() -> Any:
        try:
            log.append((yield 1))
            try:
                yield 2
            except KeyError:
                yield 3
            yield 4
        finally:
            log.append("closed")

    async def main() -> None:
        it = work()
        assert await anext(it) == 1
        assert lambent.current_span() is None
        assert await it.asend("sent") == 2
        assert await it.athrow(KeyError()) == 3
        await it.aclose()
        log.append([n async for n in work()])

    assert inspect.isasyncgenfunction(work)
    asyncio.run(main())
    assert log == ["sent", "closed", None, "closed", [1, 2, 4]]
    assert names(memory) == ["work", "work"]
    assert all(span.status.is_unset for span in memory.spans)


def test_a_context_manager_of_contextlib(memory: MemoryExporter) -> None:
    @lambent.trace
    @contextlib.contextmanager
    def resource(name: str) -> Iterator[str]:
        """Open it."""
        with lambent.trace("open"):
            pass
        try:
            yield name
        except KeyError:
            pass
        finally:
            with lambent.trace("close"):
                pass

    with resource("a") as value:
        assert value == "a"
        with lambent.trace("use"):
            pass

    def fail() -> None:
        with resource("b"):
            raise KeyError

    fail()
    assert names(memory) == ["open", "use", "close", "resource", "open", "close", "resource"]
    assert [parent_of(span, memory) for span in memory.spans[:3]] == ["resource"] * 3
    assert memory.spans[-1].status.is_unset
    with pytest.raises(ValueError, match="x"), resource("c"):
        raise ValueError("x")
    assert memory.spans[-1].status.status_code.name == "ERROR"
    assert resource.__doc__ == "Open it."
    assert resource.__name__ == "resource"

    @resource("as a decorator")
    def decorated() -> int:
        return 5

    assert decorated() == decorated() == 5


def test_an_async_context_manager_of_contextlib(memory: MemoryExporter) -> None:
    @lambent.trace
    @contextlib.asynccontextmanager
    async def resource(name: str) -> AsyncIterator[str]:
        yield name

    async def main() -> None:
        async with resource("a") as value:
            assert value == "a"
            with lambent.trace("use"):
                pass

    asyncio.run(main())
    assert names(memory) == ["use", "resource"]
    assert parent_of(memory.spans[0], memory) == "resource"


def test_a_context_managers_class(memory: MemoryExporter) -> None:
    @lambent.trace
    class Connection:
        __slots__ = ("name",)

        def __init__(self, name: str) -> None:
            self.name = name

        def __enter__(self) -> Self:
            return self

        def __exit__(self, kind: object, exc: object, tb: object) -> bool:
            return kind is KeyError

        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *details: object) -> None: ...

    assert isinstance(Connection, type)
    with Connection("a") as one, one:
        with lambent.trace("use"):
            pass
        raise KeyError
    with pytest.raises(ValueError, match="x"), Connection("b"):
        raise ValueError("x")

    async def main() -> None:
        async with Connection("c"):
            pass

    asyncio.run(main())
    assert names(memory) == ["use", *["Connection"] * 4]
    assert [span.status.status_code.name for span in memory.spans] == ["UNSET"] * 3 + ["ERROR", "UNSET"]
    assert lambent.current_span() is None


def test_a_partial_and_other_callables(memory: MemoryExporter) -> None:
    def power(base: int, exponent: int) -> int:
        return int(base**exponent)

    class Caller:
        def __call__(self, n: int) -> int:
            return n

    square = lambent.trace(functools.partial(power, exponent=2))
    assert square(3) == 9
    assert inspect.signature(square) == inspect.signature(functools.partial(power, exponent=2))
    assert lambent.trace(Caller())(4) == 4
    assert lambent.trace(len)([1]) == 1
    assert names(memory) == ["power", "Caller", "len"]


class Partial(functools.partial[int]):
    """As Python 3.13 has it: of its binding it only says that this will change."""

    def __get__(self, _: object, cls: object = None) -> Self:
        return self


def test_a_class(memory: MemoryExporter) -> None:
    @lambent.trace_class
    class Service:
        limit = 3
        parse = Partial(int, base=2)

        class Inner: ...

        def __init__(self) -> None:
            self.ready = True

        def work(self) -> int:
            return self._hidden()

        def _hidden(self) -> int:
            return 1

        @staticmethod
        def helper() -> int:
            return 2

        @classmethod
        def make(cls) -> Any:
            return cls()

        async def later(self) -> int:
            return 4

        @property
        def size(self) -> int:
            return 5

    service = Service.make()
    assert service.parse("11") == 3
    assert (service.work(), Service.helper(), asyncio.run(service.later()), service.size) == (1, 2, 4, 5)
    assert names(memory) == ["Service.make", "Service.work", "Service.helper", "Service.later"]

    @lambent.trace_class(event_type="tool", event_name="svc")
    class Other:
        def work(self) -> None: ...

    Other().work()
    assert names(memory)[-1] == "svc.work"
    assert memory.spans[-1].attributes["lambent.event_type"] == "tool"


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(TypeError, match="functions and classes, not int"):
        lambent.trace(event_name="x")(3)  # type: ignore[type-var]  # wrong on purpose


# Looks.


def test_the_function_looks_as_before() -> None:
    def work(a: int, /, b: str = "x", *args: bytes, c: float, **kwargs: bool) -> list[int]:
        """Do it."""
        return []

    work.mark = "kept"  # type: ignore[attr-defined]  # functions take attributes
    traced: Any = lambent.trace(work)
    assert inspect.signature(traced) == inspect.signature(work)
    assert typing.get_type_hints(traced) == typing.get_type_hints(work)
    assert (traced.__name__, traced.__qualname__, traced.__doc__, traced.__module__, traced.mark) == (
        work.__name__,
        work.__qualname__,
        "Do it.",
        __name__,
        "kept",
    )
    assert traced.__wrapped__ is work


# Exceptions.


def test_an_exception_is_recorded_once_and_comes_out_unchanged(memory: MemoryExporter) -> None:
    error = ValueError("broken")

    @lambent.trace
    def inner() -> None:
        raise error

    @lambent.trace
    def outer() -> None:
        inner()

    with pytest.raises(ValueError, match="broken") as caught:
        outer()
    assert caught.value is error
    assert error.__context__ is None
    assert error.__cause__ is None
    frames = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    assert frames[1:] == ["outer", "inner"]
    assert recorded(memory) == ["inner"]
    assert [span.status.status_code.name for span in memory.spans] == ["ERROR", "ERROR"]


@pytest.mark.parametrize("inner_is_a_block", [True, False])
def test_the_innermost_span_of_any_kind_has_it(memory: MemoryExporter, inner_is_a_block: bool) -> None:
    def fail() -> None:
        if inner_is_a_block:
            with lambent.get_tracer().trace("inner"):
                raise KeyError
        lambent.trace("inner")(lambda: ()[len("")])()

    with contextlib.suppress(LookupError):
        lambent.trace("outer")(fail)()
    assert recorded(memory) == ["inner"]


def test_another_exception_on_the_way_is_recorded_too(memory: MemoryExporter) -> None:
    @lambent.trace
    def inner() -> None:
        raise KeyError

    @lambent.trace
    def outer() -> None:
        try:
            inner()
        except KeyError as error:
            raise RuntimeError from error

    with pytest.raises(RuntimeError):
        outer()
    assert recorded(memory) == ["inner", "outer"]


def test_what_was_caught_and_raised_anew_elsewhere_is_recorded_there(memory: MemoryExporter) -> None:
    @lambent.trace
    def work(n: int) -> None:
        raise ValueError(n)

    @lambent.trace
    def outer() -> None:
        for n in range(3):
            with contextlib.suppress(ValueError):
                work(n)
        raise ValueError("own")

    with pytest.raises(ValueError, match="own"):
        outer()
    assert recorded(memory) == ["work"] * 3 + ["outer"]


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, asyncio.CancelledError])
def test_what_is_no_exception_ends_the_span_too(memory: MemoryExporter, kind: type[BaseException]) -> None:
    @lambent.trace
    def work() -> None:
        raise kind

    with pytest.raises(kind):
        work()
    assert names(memory) == ["work"]


def test_a_span_does_not_keep_what_was_raised(memory: MemoryExporter) -> None:
    import weakref

    class MineError(Exception):
        pass

    found: list[weakref.ref[MineError]] = []

    @lambent.trace
    def inner() -> None:
        raise MineError

    @lambent.trace
    def outer() -> None:
        try:
            inner()
        except MineError as error:
            found.append(weakref.ref(error))

    outer()
    gc.collect()
    assert found[0]() is None


# Whatever fails on our side.


class Refusing:
    """An argument that nothing can be found out about."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    __str__ = __repr__

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("no attributes")


def test_an_argument_that_cannot_be_looked_at(memory: MemoryExporter) -> None:
    @lambent.trace(inputs=True, outputs=True)
    def work(a: object, b: int) -> object:
        return a

    refusing = Refusing()
    assert work(refusing, 2) is refusing
    assert memory.spans[0].attributes["lambent.inputs.b"] == 2


def test_a_tracer_that_fails_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    class Broken:
        config = lambent.init(exporter=MemoryExporter()).config
        calls = 0

        def start_span(self, *_: object) -> None:
            raise RuntimeError("broken tracer")

    calls = []

    @lambent.trace(tracer=Broken())
    def work(n: int) -> int:
        calls.append(n)
        if n > 2:
            raise ValueError(n)
        return n

    assert work(1) == 1
    with pytest.raises(ValueError, match="3"):
        work(3)
    assert calls == [1, 3]
    assert "broken tracer" in capsys.readouterr().err


def test_a_tracer_that_is_switched_off() -> None:
    lambent.init(disabled=True)

    @lambent.trace(inputs=True, outputs=True)
    def work(n: int) -> int:
        return n

    with lambent.trace("block") as span:
        span.set_attribute("a", 1)
        assert work(3) == 3


# Capture.


def test_arguments_and_result_on_demand(memory: MemoryExporter) -> None:
    @dataclasses.dataclass
    class Login:
        user: str
        password: str

    @lambent.trace(inputs=True, outputs=True, redact=["iban"])
    def work(order: dict[str, object], login: Login, *rest: int, limit: int = 5, **more: object) -> object:
        return {"total": 3, "access_token": "abc", "items": ["a", "b"]}

    work({"id": 7, "api_key": "k"}, Login("me", "hunter2"), 1, 2, iban="DE00", note="x" * 5000)
    attributes = memory.spans[0].attributes
    assert attributes["lambent.inputs.order"] == '{"id": 7, "api_key": "[redacted]"}'
    assert attributes["lambent.inputs.login"] == '{"user": "me", "password": "[redacted]"}'
    assert attributes["lambent.inputs.rest"] == "[1, 2]"
    assert attributes["lambent.inputs.limit"] == 5
    assert attributes["lambent.inputs.iban"] == "[redacted]"
    assert len(str(attributes["lambent.inputs.note"])) <= 1024
    assert attributes["lambent.outputs.result.total"] == 3
    assert attributes["lambent.outputs.result.access_token"] == "[redacted]"
    assert attributes["lambent.outputs.result.items.1"] == "b"
    assert "hunter2" not in str(attributes)


@pytest.mark.parametrize("names", ["iban, tax-number", ["iban", "tax-number"], None])
def test_names_to_redact_may_be_one_text(memory: MemoryExporter, names: Any) -> None:
    @lambent.trace(inputs=True, redact=names)
    def work(iban: str, tax_number: str, city: str) -> None:
        return None

    work("DE00", "0815", "Ulm")
    kept = "DE00" if names is None else "[redacted]"
    assert memory.spans[0].attributes["lambent.inputs.iban"] == kept
    assert memory.spans[0].attributes["lambent.inputs.tax_number"] == kept.replace("DE00", "0815")
    assert memory.spans[0].attributes["lambent.inputs.city"] == "Ulm"


@pytest.mark.parametrize(
    ("option", "inputs", "outputs", "expected"),
    [
        (None, None, None, set()),
        ("both", None, None, {"lambent.inputs.n", "lambent.outputs.result"}),
        ("request", None, None, {"lambent.inputs.n"}),
        ("both", False, None, {"lambent.outputs.result"}),
        (None, True, None, {"lambent.inputs.n"}),
        (None, None, True, {"lambent.outputs.result"}),
        ("both", {"given": 1}, False, {"lambent.inputs.given"}),
    ],
)
def test_what_decides_about_capture(option: Any, inputs: Any, outputs: Any, expected: set[str]) -> None:
    exporter = MemoryExporter()
    tracer = lambent.init(exporter=exporter, capture=option)

    @lambent.trace(tracer=tracer, inputs=inputs, outputs=outputs)
    def work(n: int) -> int:
        return n

    work(1)
    assert set(exporter.spans[0].attributes) == expected


def test_an_object_that_a_method_belongs_to_is_no_argument(memory: MemoryExporter) -> None:
    class Thing:
        @lambent.trace(inputs=True)
        def work(self, n: int) -> None: ...

        @lambent.trace(inputs=True)
        @classmethod
        def make(cls, n: int) -> None: ...

        def __call__(self, n: int) -> None: ...

    thing = Thing()
    thing.work(1)
    thing.make(1)
    lambent.trace(inputs=True)(thing)(1)
    lambent.trace(inputs=True)(thing.__call__)(1)
    lambent.trace(inputs=True)(functools.partial(lambda m, n: None, n=1))(2)
    found = [set(span.attributes) for span in memory.spans]
    assert found[:4] == [{"lambent.inputs.n"}] * 4
    assert found[4] == {"lambent.inputs.m", "lambent.inputs.n"}


# Which tracer.


def test_the_tracer_is_found_at_the_call() -> None:
    first, second, third = MemoryExporter(), MemoryExporter(), MemoryExporter()

    @lambent.trace
    def work() -> None: ...

    default = lambent.init(exporter=first)
    other = lambent.init(exporter=second)
    explicit = lambent.init(exporter=third)
    work()
    with other.trace("here"):
        work()
        lambent.trace("there", tracer=explicit)(work)()
    assert names(first) == ["work"]
    assert names(second) == ["work", "here"]
    assert names(third) == ["work", "there"]
    default.close()


def test_an_unsampled_span_has_a_tracer_too() -> None:
    kept, dropped = MemoryExporter(), MemoryExporter()
    lambent.init(exporter=kept, sampler="always_on")
    other = lambent.init(exporter=dropped, sampler="always_off")
    with other.trace("not kept"):
        lambent.trace("inside")(lambda: None)()
    assert kept.spans == []
    assert dropped.spans == []


def test_no_tracer_is_the_default_one(memory: MemoryExporter) -> None:
    tracer = None

    @lambent.trace(tracer=tracer, event_type="tool", event_name="basic_operation")
    def work() -> None: ...

    work()
    assert names(memory) == ["basic_operation"]


def test_threads_have_spans_of_their_own(memory: MemoryExporter) -> None:
    barrier = threading.Barrier(4, timeout=30)

    @lambent.trace
    def inner(n: int) -> int:
        return n

    @lambent.trace
    def outer(n: int) -> None:
        barrier.wait()
        assert inner(n) == n

    threads = [threading.Thread(target=outer, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(names(memory)) == ["inner"] * 4 + ["outer"] * 4
    assert all(parent_of(span, memory) == "outer" for span in memory.spans if span.name == "inner")


# What is wrong.


def test_an_event_type_that_does_not_exist() -> None:
    with pytest.raises(lambent.ConfigError, match="did you mean 'model'"):
        lambent.trace(event_type="modle")
    with pytest.raises(lambent.ConfigError, match="model, tool, chain, session, generic"):
        lambent.trace(event_type=3)


def test_an_argument_that_does_not_exist() -> None:
    with pytest.raises(lambent.ConfigError, match="did you mean 'event_name'"):
        lambent.trace(event_nam="x")  # type: ignore[call-overload]  # wrong on purpose
    with pytest.raises(TypeError):
        lambent.trace_class(nonsense=1)  # type: ignore[call-overload]  # wrong on purpose


# Any function at all.

_PARAMETERS = st.lists(
    st.tuples(
        st.sampled_from(["positional only", "both", "starred", "keyword only", "keywords"]), st.booleans()
    ),
    max_size=6,
)
_VALUES = st.integers(0, 3) | st.text(max_size=3) | st.none() | st.just("refusing")


def make(parameters: list[tuple[str, bool]], fails: bool) -> Callable[..., Any]:
    """Write a function of these parameters that returns all it gets, or raises with it."""
    order = ["positional only", "both", "starred", "keyword only", "keywords"]
    parts: list[str] = []
    values: list[str] = []
    defaulted = False
    slash = False
    for number, (kind, default) in enumerate(sorted(parameters, key=lambda each: order.index(each[0]))):
        name = f"p{number}"
        if kind in {"starred", "keywords"} and any(
            part.startswith("**" if kind == "keywords" else "*") for part in parts
        ):
            continue
        if kind != "positional only" and parts and not slash and values and kind == "both":
            if all(part.endswith("#") for part in parts):
                parts.append("/")
            slash = True
        if kind == "keyword only" and not any(part.startswith("*") for part in parts):
            parts.append("*")
        defaulted = defaulted or (default and kind in {"positional only", "both"})
        has_default = defaulted if kind in {"positional only", "both"} else default
        star = {"starred": "*", "keywords": "**"}.get(kind, "")
        parts.append(f"{star}{name}{'=9' if has_default and not star else ''}")
        values.append(name)
    body = f"({', '.join([*values, ''])})" if values else "()"
    source = f"def made({', '.join(parts)}):\n    {'raise ValueError' if fails else 'return '}{body}"
    namespace: dict[str, Any] = {}
    exec(source, namespace)  # functions of any signature are made in no other way
    made: Callable[..., Any] = namespace["made"]
    return made


def outcome(call: Callable[[], Any]) -> tuple[str, Any]:
    try:
        return "returned", call()
    except Exception as error:  # noqa: BLE001  # it is compared with that of the other
        return type(error).__name__, error.args


def identities(value: Any) -> Any:
    """The same value with objects that cannot be compared by what they are."""
    if type(value) in {tuple, list}:
        return [identities(each) for each in value]
    if type(value) is dict:
        return {name: identities(each) for name, each in value.items()}
    return id(value) if type(value) is Refusing else value


@given(
    _PARAMETERS,
    st.booleans(),
    st.lists(_VALUES, max_size=4),
    st.dictionaries(st.sampled_from([f"p{n}" for n in range(7)]), _VALUES, max_size=3),
    st.sampled_from([None, True]),
    st.sampled_from(["plain", "async", "generator"]),
)
def test_a_traced_function_does_what_the_function_does(
    parameters: list[tuple[str, bool]],
    fails: bool,
    args: list[Any],
    kwargs: dict[str, Any],
    capture: bool | None,
    kind: str,
) -> None:
    # Not as a strategy's value: hypothesis looks at those itself.
    args = [Refusing() if each == "refusing" else each for each in args]
    kwargs = {name: Refusing() if each == "refusing" else each for name, each in kwargs.items()}
    plain = make(parameters, fails)
    function: Any = plain
    if kind == "async":

        async def function(*args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(0)
            return plain(*args, **kwargs)
    elif kind == "generator":

        def function(*args: Any, **kwargs: Any) -> Any:
            yield plain(*args, **kwargs)

    exporter = MemoryExporter()
    tracer = lambent.Tracer.init(exporter=exporter)
    traced = lambent.trace(tracer=tracer, inputs=capture, outputs=capture)(function)

    def run(function: Any) -> Any:
        result = function(*args, **kwargs)
        if kind == "generator":
            return list(result)
        if kind == "plain":
            return result
        # Not by asyncio, which asks results for their repr.
        result.send(None)
        try:
            result.send(None)
        except StopIteration as stop:
            return stop.value

    expected = outcome(lambda: run(function))
    assert identities(outcome(lambda: run(traced))) == identities(expected)
    assert len(exporter.spans) == 1
    assert exporter.spans[0].status.is_unset == (expected[0] == "returned")
    tracer.close()
