"""One invocation: what the function returns or raises comes out, and one root span says how it went."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import gc
import inspect
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any
from unittest.mock import MagicMock

import pytest

import lambent
from lambent import handler as handler_module
from lambent.context import SpanContext
from lambent.exporters import Exporter, Result
from lambent.span import Span
from lambent.testing import LambdaContext, RecordingTracer, recording_tracer
from lambent.triggers import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence


@dataclasses.dataclass
class Answer:
    statusCode: int = 500  # noqa: N815  # Lambda's name


RESPONSES = [
    {"statusCode": "200"},
    {"statusCode": None},
    {"statusCode": []},
    {"statusCode": "9" * 5000},
    None,
    [],
    [1, 2],
    Answer(),
    b"bytes",
    "text",
    3.5,
    (number for number in range(3)),
    object(),
    MagicMock(),
]


@pytest.mark.parametrize("response", RESPONSES, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("http", [True, False])
def test_the_response_is_left_as_it_is(
    tracer: RecordingTracer, response: object, http: bool, load_event: Callable[[str], Any]
) -> None:
    @tracer.handler
    def handler(event: object, context: object) -> object:
        return response

    event = load_event("apiGatewayProxyV2Event.json") if http else {}
    assert handler(event, LambdaContext()) is response
    (span,) = tracer.spans
    assert span.status.status_code == 0
    assert span.kind == lambent.SpanKind.SERVER


@pytest.mark.parametrize(
    "event", [None, [], "text", 7, 2.5, True, b"", {"requestContext": None}, {"Records": None}, object()]
)
@pytest.mark.parametrize(
    "context", [None, LambdaContext(), MagicMock(), object(), "text"], ids=lambda value: type(value).__name__
)
def test_any_event_and_any_context(tracer: RecordingTracer, event: object, context: object) -> None:
    received: list[object] = []

    @tracer.handler
    def handler(event: object, context: object) -> str:
        received.extend([event, context])
        return "done"

    assert handler(event, context) == "done"
    assert received[0] is event
    assert received[1] is context
    assert tracer.spans[0].attributes["faas.trigger"] == "other"


def test_the_root_span(tracer: RecordingTracer) -> None:
    @tracer.handler
    def handler(event: object, context: object) -> None:
        with tracer.trace("child"):
            pass

    context = LambdaContext(function_name="orders", account_id="111122223333", aws_request_id="r-1")
    handler({}, context)
    handler({}, context)
    child, first, _, second = tracer.spans
    assert child.parent == first.context
    assert first.parent is None
    assert first.name == "orders"
    assert first.attributes == {
        "faas.trigger": "other",
        "faas.coldstart": True,
        "faas.invocation_id": "r-1",
        "cloud.resource_id": "arn:aws:lambda:eu-west-1:111122223333:function:orders",
        "cloud.account.id": "111122223333",
    }
    assert second.attributes["faas.coldstart"] is False
    assert second.context.trace_id != first.context.trace_id


def test_a_caller_is_the_parent(tracer: RecordingTracer, load_event: Callable[[str], Any]) -> None:
    @tracer.handler
    def handler(event: object, context: object) -> None: ...

    event = load_event("apiGatewayProxyV2Event.json")
    event["headers"] = {"TraceParent": f"00-{10:032x}-{11:016x}-01", "tracestate": "a=b"}
    handler(event, LambdaContext())
    (span,) = tracer.spans
    assert span.parent is not None
    assert (span.parent.trace_id, span.parent.span_id, span.parent.is_remote) == (10, 11, True)
    assert span.context.trace_state == {"a": "b"}


def test_a_span_left_current_by_an_earlier_invocation_is_no_parent(tracer: RecordingTracer) -> None:
    span = tracer.start_span("left")
    span.__enter__()

    @tracer.handler
    def handler(event: object, context: object) -> None: ...

    handler({}, None)
    span.end()
    handler({}, None)
    nested, _, apart = tracer.spans
    assert nested.parent == span.get_span_context()
    assert apart.parent is None


class FailingError(Exception):
    pass


@pytest.mark.parametrize(
    "failure", [FailingError("x"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()]
)
def test_what_is_raised_comes_out_and_is_recorded(tracer: RecordingTracer, failure: BaseException) -> None:
    flushed: list[float] = []

    @tracer.handler
    def handler(event: object, context: object) -> None:
        raise failure

    def flush(seconds: float, root: object = None) -> bool:
        flushed.append(seconds)
        return True

    tracer.delivery.flush = flush  # type: ignore[method-assign]  # to see that it happens
    with pytest.raises(type(failure)) as caught:
        handler({}, LambdaContext())
    assert caught.value is failure
    (span,) = tracer.spans
    assert span.status.status_code == 2
    assert [event.name for event in span.events] == ["exception"]
    assert len(flushed) == 1


def plain(event: object, context: object) -> object:
    return helper()


def helper() -> object:
    raise FailingError("deep")


async def asynchronous(event: object, context: object) -> object:
    await asyncio.sleep(0)
    return helper()


def generating(event: object, context: object) -> Iterator[object]:
    yield 1
    helper()


async def generating_async(event: object, context: object) -> AsyncIterator[object]:
    yield 1
    helper()


async def drain(function: Callable[..., Any]) -> list[Any]:
    return [item async for item in function({}, None)]


def call(function: Callable[..., Any]) -> Any:
    if inspect.iscoroutinefunction(function):
        return asyncio.run(function({}, None))
    if inspect.isasyncgenfunction(function):
        return asyncio.run(drain(function))
    if inspect.isgeneratorfunction(function):
        return list(function({}, None))
    return function({}, None)


@pytest.mark.parametrize("function", [plain, asynchronous, generating, generating_async])
@pytest.mark.parametrize("decorator", ["handler", "span"])
def test_the_traceback_is_that_of_the_function_alone(
    tracer: RecordingTracer, function: Callable[..., Any], decorator: str
) -> None:
    traced = (
        tracer.handler(function) if decorator == "handler" else tracer.start_as_current_span("s")(function)
    )
    frames = []
    for candidate in (function, traced):
        try:
            call(candidate)
        except FailingError as error:
            frames.append([(frame.name, frame.line) for frame in traceback.extract_tb(error.__traceback__)])
    assert frames[0] == frames[1]
    assert "wrapping.py" not in str(tracer.spans[0].events[0].attributes["exception.stacktrace"])


def test_a_wrong_number_of_arguments_is_the_callers_error(tracer: RecordingTracer) -> None:
    traced: Any = tracer.handler(plain)
    with pytest.raises(TypeError, match="plain") as caught:
        traced()
    assert [frame.name for frame in traceback.extract_tb(caught.tb)][-1] == (
        "test_a_wrong_number_of_arguments_is_the_callers_error"
    )


def test_the_function_keeps_its_looks(tracer: RecordingTracer) -> None:
    def handler(event: dict[str, object], context: object = None) -> str:
        """Say hello."""
        return "hello"

    handler.tag = "kept"  # type: ignore[attr-defined]  # as frameworks do
    traced: Any = tracer.handler(handler)
    assert (traced.__name__, traced.__doc__, traced.__module__) == ("handler", "Say hello.", __name__)
    assert traced.__qualname__ == handler.__qualname__
    assert inspect.signature(traced) == inspect.signature(handler)
    assert traced.__annotations__ == handler.__annotations__
    assert traced.tag == "kept"
    assert traced.__wrapped__ is handler
    assert traced(event={}) == "hello"


class CallableObject:
    def __call__(self, event: object, context: object) -> str:
        return "object"

    def method(self, event: object, context: object) -> str:
        return "method"


class Inheriting(CallableObject):
    pass


class Runner:
    """A synchronous wrapper that keeps an asynchronous function, as frameworks have them."""

    def __init__(self, func: Callable[..., Any]) -> None:
        self.func = func

    def __call__(self, event: object, context: object) -> object:
        return asyncio.run(self.func(event, context))


class AsyncCallable:
    async def __call__(self, event: object, context: object) -> str:
        return "async object"


async def answering(event: object, context: object) -> str:
    return "coroutine"


def test_callables_of_all_kinds(tracer: RecordingTracer) -> None:
    context = LambdaContext()
    assert tracer.handler(CallableObject())({}, context) == "object"
    assert tracer.handler(Inheriting())({}, context) == "object"
    assert tracer.handler(CallableObject().method)({}, context) == "method"
    assert (
        tracer.handler(functools.partial(lambda extra, event, context: extra, "partial"))({}, context)
        == "partial"
    )
    assert tracer.handler(Runner(answering))({}, context) == "coroutine"
    assert asyncio.run(tracer.handler(AsyncCallable())({}, context)) == "async object"
    assert asyncio.run(tracer.handler(functools.partial(answering))({}, context)) == "coroutine"
    assert len(tracer.spans) == 7
    assert all(span.end_time is not None for span in tracer.spans)


async def test_a_coroutine_handler(tracer: RecordingTracer) -> None:
    response = {"statusCode": 200}

    @tracer.handler
    async def handler(event: object, context: object) -> object:
        with tracer.trace("child"):
            await asyncio.sleep(0)
        return response

    assert inspect.iscoroutinefunction(handler)
    assert await handler({}, LambdaContext()) is response
    assert [span.name for span in tracer.spans] == ["child", "test-function"]
    assert tracer.spans[0].parent == tracer.spans[1].context


async def test_a_cancelled_coroutine(tracer: RecordingTracer) -> None:
    started = asyncio.Event()

    @tracer.handler
    async def handler(event: object, context: object) -> None:
        started.set()
        await asyncio.Event().wait()

    task: asyncio.Task[None] = asyncio.create_task(handler({}, None))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (span,) = tracer.spans
    assert span.status.status_code == 2


def test_a_generator_handler(tracer: RecordingTracer) -> None:
    @tracer.handler
    def handler(event: object, context: object) -> Generator[Any, Any, str]:
        got = yield 1
        try:
            yield got
        except ValueError:
            yield "caught"
        return "result"  # what `yield from` gives

    def drive() -> Iterator[Any]:
        result = yield from handler({}, None)
        yield result

    values: Any = drive()
    assert next(values) == 1
    assert values.send("sent") == "sent"
    assert values.throw(ValueError()) == "caught"
    assert next(values) == "result"
    values.close()
    assert [span.status.status_code for span in tracer.spans] == [0]
    assert lambent.current_span() is None


async def test_an_async_generator_handler(tracer: RecordingTracer) -> None:
    closed: list[str] = []

    @tracer.handler
    async def handler(event: object, context: object) -> AsyncIterator[Any]:
        try:
            got = yield 1
            try:
                yield got
            except ValueError:
                yield "caught"
            yield "last"
        finally:
            closed.append("closed")

    values: Any = handler({}, None)
    assert await anext(values) == 1
    assert await values.asend("sent") == "sent"
    assert await values.athrow(ValueError()) == "caught"
    assert tracer.spans == []
    await values.aclose()
    assert closed == ["closed"]
    assert [span.status.status_code for span in tracer.spans] == [0]
    assert await drain(handler) == [1, None, "last"]
    assert closed == ["closed"] * 2


def test_a_stream_that_its_consumer_leaves(tracer: RecordingTracer) -> None:
    @tracer.handler
    def handler(event: object, context: object) -> Iterator[int]:
        yield 1
        yield 2

    values: Any = handler({}, None)
    next(values)
    values.close()
    assert [(span.status.status_code, len(span.events)) for span in tracer.spans] == [(0, 0)]


def boom(*_: object, **__: object) -> Any:
    raise RuntimeError("ours")


BREAKS: list[tuple[str, Callable[[pytest.MonkeyPatch, RecordingTracer], None]]] = [
    ("start_span", lambda patch, tracer: patch.setattr(tracer, "start_span", boom)),
    ("recognise", lambda patch, tracer: patch.setattr(handler_module, "recognise", boom)),
    ("flush", lambda patch, tracer: patch.setattr(tracer.delivery, "flush", boom)),
    ("flush_before", lambda patch, tracer: patch.setattr(tracer.delivery, "flush_before", boom)),
    ("exporter", lambda patch, tracer: patch.setattr(tracer.exporter, "on_end", boom)),
    ("clock", lambda patch, tracer: patch.setattr(tracer, "clock", boom)),
    ("ids", lambda patch, tracer: patch.setattr(tracer, "_ids", None)),
    ("invocation", lambda patch, tracer: patch.setattr(handler_module, "Invocation", boom)),
    ("context", lambda patch, tracer: patch.setattr(handler_module, "_of_arn", None)),
    ("response", lambda patch, tracer: patch.setattr(UNKNOWN, "read_response", boom)),
    ("begin", lambda patch, tracer: patch.setattr(tracer.delivery, "begin", boom)),
    ("exit", lambda patch, tracer: patch.setattr(Span, "__exit__", boom)),
    ("attributes", lambda patch, tracer: patch.setattr(Span, "_start_attributes", boom)),
]


@pytest.mark.parametrize("break_it", [pytest.param(entry[1], id=entry[0]) for entry in BREAKS])
@pytest.mark.parametrize("fails", [False, True])
def test_our_failure_is_not_the_functions(
    tracer: RecordingTracer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    break_it: Callable[[pytest.MonkeyPatch, RecordingTracer], None],
    fails: bool,
) -> None:
    calls: list[object] = []
    response = object()

    @tracer.handler
    def handler(event: object, context: object) -> object:
        calls.append(event)
        if fails:
            raise FailingError
        return response

    break_it(monkeypatch, tracer)
    # With and without a deadline: they are delivered by different ways.
    for context in (LambdaContext(), None):
        if fails:
            with pytest.raises(FailingError) as caught:
                handler({}, context)
            assert caught.value.__context__ is None
        else:
            assert handler({}, context) is response
    assert len(calls) == 2
    monkeypatch.undo()
    assert "Traceback" not in capsys.readouterr().err


def test_a_context_whose_properties_fail(tracer: RecordingTracer) -> None:
    class Bad:
        @property
        def aws_request_id(self) -> str:
            raise RuntimeError

        def get_remaining_time_in_millis(self) -> int:
            raise RuntimeError

    @tracer.handler
    def handler(event: object, context: object) -> int:
        return 1

    assert handler({}, Bad()) == 1
    assert len(tracer.spans) == 1


def test_invocations_in_threads_at_once(tracer: RecordingTracer) -> None:
    barrier = threading.Barrier(8)

    @tracer.handler
    def handler(event: dict[str, int], context: object) -> int:
        with tracer.trace("child", attributes={"n": event["n"]}):
            barrier.wait(10)
        return event["n"]

    results: dict[int, int] = {}

    def run(number: int) -> None:
        results[number] = handler({"n": number}, LambdaContext(function_name=f"f{number}"))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert results == {number: number for number in range(8)}
    roots = {span.context.span_id: span.name for span in tracer.spans if span.name != "child"}
    children = [span for span in tracer.spans if span.name == "child"]
    assert len(roots) == len(children) == 8
    for child in children:
        assert child.parent is not None
        assert roots[child.parent.span_id] == f"f{child.attributes['n']}"


class Timed(Exporter):
    """Says how long it was given."""

    def __init__(self) -> None:
        self.timeouts: list[tuple[float, float]] = []
        self.spans: list[Span] = []

    def export(self, spans: Sequence[Span], timeout: float) -> Result:
        self.timeouts.append((timeout, time.monotonic()))
        self.spans += spans
        return Result()


@pytest.mark.parametrize(
    ("left", "options", "expected"),
    [
        (3.0, {}, 1.0),
        (3.0, {"timeout": 10}, 2.9),
        (20.0, {"timeout": 60}, 19.6),
        (0.5, {}, 0.4),
        (0.5, {"deadline_margin": 0.3}, 0.2),
    ],
)
def test_an_export_has_the_time_that_the_invocation_has_left(
    left: float, options: dict[str, Any], expected: float
) -> None:
    exporter = Timed()
    tracer = recording_tracer(exporter=exporter, **options)

    @tracer.handler
    def handler(event: object, context: object) -> None: ...

    start = time.monotonic()
    handler({}, LambdaContext(timeout=left))
    ((given, at),) = exporter.timeouts
    assert expected - (at - start) - 0.02 <= given <= expected + 0.02  # it counts in milliseconds


def test_without_time_spans_wait_for_the_next_invocation(capsys: pytest.CaptureFixture[str]) -> None:
    exporter = Timed()
    tracer = recording_tracer(exporter=exporter)

    @tracer.handler
    def handler(event: object, context: object) -> None: ...

    handler({}, LambdaContext(timeout=0.05))
    assert exporter.timeouts == []
    assert "1 spans wait for the next invocation" in capsys.readouterr().err
    handler({}, LambdaContext())
    assert len(exporter.spans) == 2


def test_a_mocks_deadline_is_none() -> None:
    exporter = Timed()
    tracer = recording_tracer(exporter=exporter)

    @tracer.handler
    def handler(event: object, context: object) -> None: ...

    handler({}, MagicMock())
    assert len(exporter.spans) == 1


def test_the_invocation_block(tracer: RecordingTracer, load_event: Callable[[str], Any]) -> None:
    event = load_event("apiGatewayProxyV2Event_GET.json")
    with tracer.invocation(
        event, LambdaContext(), name="mine", kind="CONSUMER", attributes={"a": 1}
    ) as invocation:
        invocation.set_attribute("b", 2)
        assert lambent.current_span() is invocation.span
        invocation.set_response({"statusCode": 503})
    (span,) = tracer.spans
    assert (span.name, span.kind.name) == ("mine", "CONSUMER")
    assert span.attributes["a"] == 1
    assert span.attributes["b"] == 2
    assert span.attributes["http.response.status_code"] == 503
    assert span.status.status_code == 2


def test_the_invocation_block_takes_what_a_span_takes(tracer: RecordingTracer) -> None:
    carrier = {"traceparent": f"00-{7:032x}-{8:016x}-01"}
    link = lambent.Link(SpanContext(3, 4, True, 1))
    with tracer.invocation({}, None, carrier=carrier, links=[link], start_time=5) as invocation:
        pass
    (span,) = tracer.spans
    assert span is invocation.span
    assert (span.parent and span.parent.span_id, span.start_time) == (8, 5)
    assert [each.context.span_id for each in span.links] == [4]
    with tracer.invocation({}, None, carrier=carrier, parent=SpanContext(0, 0), end_on_exit=False) as left:
        pass
    assert left.is_recording()
    left.end()
    assert tracer.spans[1] is left.span
    assert tracer.spans[1].parent is None


def test_the_invocation_block_with_an_exception(
    tracer: RecordingTracer, load_event: Callable[[str], Any]
) -> None:
    def block() -> None:
        with tracer.invocation(load_event("apiGatewayProxyEvent.json"), None) as invocation:
            invocation.set_response({"statusCode": 200})
            helper()

    with pytest.raises(FailingError):
        block()
    assert "http.response.status_code" not in tracer.spans[0].attributes


def test_a_cold_start_is_counted_once_a_process(run_python: Any) -> None:
    program = """
from lambent.testing import recording_tracer, LambdaContext
first, second = recording_tracer(), recording_tracer()
for tracer in (first, second, first):
    tracer.handler(lambda event, context: None)({}, LambdaContext())
print([span.attributes["faas.coldstart"] for span in first.spans + second.spans])
"""
    assert run_python(program).stdout == "[True, False, False]\n"


def test_provisioned_concurrency_is_never_cold() -> None:
    tracer = recording_tracer(environ={"AWS_LAMBDA_INITIALIZATION_TYPE": "provisioned-concurrency"})
    tracer.handler(lambda event, context: None)({}, None)
    assert tracer.spans[0].attributes["faas.coldstart"] is False


def test_the_root_span_counts_what_waits_to_be_exported_when_asked_to() -> None:
    exporter = Timed()
    tracer = recording_tracer(exporter=exporter, count_spans=True)

    @tracer.handler
    def handler(event: object, context: object) -> None:
        for _ in range(3):
            with tracer.trace("child"):
                pass

    handler({}, None)
    handler({}, None)
    roots = [span for span in exporter.spans if span.name != "child"]
    assert [span.attributes["lambent.spans"] for span in roots] == [4, 4]


def test_counting_spans_keeps_none_of_them() -> None:
    """What is counted of an invocation is forgotten with it: environments live for very many of them."""

    class Nowhere(Exporter):
        def export(self, spans: Sequence[Span], timeout: float) -> Result:
            return Result()

    tracer = recording_tracer(exporter=Nowhere(), count_spans=True)

    @tracer.handler
    def handler(event: object, context: object) -> None:
        with tracer.trace("child"):
            pass

    def alive() -> int:
        gc.collect()
        return sum(type(each).__name__ == "Span" for each in gc.get_objects())

    handler({}, None)
    before = alive()
    for _ in range(50):
        handler({}, None)
    assert alive() - before < 10


def test_a_context_of_which_everything_fails(tracer: RecordingTracer) -> None:
    class Bad:
        def __getattr__(self, name: str) -> object:
            raise RuntimeError(name)

    assert tracer.handler(lambda event, context: 1)({}, Bad()) == 1
    assert [span.name for span in tracer.spans] == ["invocation"]


@dataclasses.dataclass(frozen=True)
class FrozenError(Exception):
    code: int


class SecretiveError(Exception):
    def __getattribute__(self, name: str) -> object:
        raise RuntimeError(name)


def test_an_exception_whose_attributes_fail(tracer: RecordingTracer) -> None:
    """Its traceback among them: the caller must get it all the same, and the spans end."""
    failure = SecretiveError()

    def fails(*_: object) -> None:
        raise failure

    async def fails_later() -> None:
        raise failure

    def block() -> None:
        with tracer.trace("block"):
            raise failure

    for call in (
        lambda: tracer.handler(fails)({}, None),
        tracer.start_as_current_span("decorated")(fails),
        lambent.trace(tracer=tracer)(fails),
        lambda: lambent.trace(tracer=tracer)(fails_later)().send(None),
        block,
    ):
        as_it_was = False
        try:
            call()
        except BaseException as raised:  # noqa: BLE001  # pytest.raises would ask it for its traceback
            as_it_was = raised is failure
        assert as_it_was
        assert lambent.current_span() is None
    assert [span.status.description for span in tracer.spans] == ["SecretiveError: "] * 5


def test_a_method_that_is_a_handler(tracer: RecordingTracer, load_event: Callable[[str], Any]) -> None:
    """Its event and its context come after the object that it is a method of."""

    class Application:
        @tracer.handler
        def handle(self, event: object, context: object) -> object:
            return self, event

    application, event = Application(), load_event("apiGatewayProxyV2Event.json")
    assert application.handle(event, LambdaContext(aws_request_id="r-1")) == (application, event)
    (root,) = tracer.spans
    assert root.attributes["faas.invocation_id"] == "r-1"
    assert root.attributes["faas.trigger"] == "http"


def test_an_exception_that_refuses_assignments(tracer: RecordingTracer) -> None:
    """A frozen dataclass raises when its traceback is assigned: the caller must get it all the same."""

    @tracer.handler
    def handler(event: object, context: object) -> None:
        raise FrozenError(1)

    @tracer.handler
    async def coroutine(event: object, context: object) -> None:
        raise FrozenError(2)

    @tracer.start_as_current_span("decorated")
    def decorated() -> None:
        raise FrozenError(3)

    with pytest.raises(FrozenError) as caught:
        handler({}, None)
    assert [entry.name for entry in caught.traceback[1:]] == ["handler"]
    with pytest.raises(FrozenError):
        asyncio.run(coroutine({}, None))
    with pytest.raises(FrozenError):
        decorated()
    assert [span.status.description for span in tracer.spans] == [f"FrozenError: {n}" for n in (1, 2, 3)]
    assert lambent.current_span() is None


@pytest.mark.parametrize(
    ("suffix", "version", "resource"),
    [
        ("", "$LATEST", ""),
        (":live", "7", ":7"),
        (":live", "$LATEST", ""),
        (":7", "7", ":7"),
        (":live", None, ""),
    ],
)
def test_the_resource_is_the_version_behind_an_alias(suffix: str, version: str | None, resource: str) -> None:
    handler_module._of_arn.clear()
    context = LambdaContext()
    arn = context.invoked_function_arn
    context.invoked_function_arn = arn + suffix
    context.function_version = version  # type: ignore[assignment]  # None, as from a mock
    tracer = recording_tracer()
    tracer.handler(lambda event, context: None)({}, context)
    attributes = tracer.spans[0].attributes
    assert attributes["cloud.resource_id"] == arn + resource
    assert attributes.get("aws.lambda.invoked_arn") == (arn + suffix if suffix else None)
    tracer.close()
