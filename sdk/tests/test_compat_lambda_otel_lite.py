"""`lambent.compat.lambda_otel_lite`: what the original documents, for programs with a new import."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.propagators.b3 import B3SingleFormat
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags

import lambent
from lambent.compat import lambda_otel_lite as lite
from lambent.compat.lambda_otel_lite import (
    LambdaSpanProcessor,
    ProcessorMode,
    SpanAttributes,
    TriggerType,
    create_traced_handler,
    default_extractor,
    init_telemetry,
    traced_handler,
)
from lambent.testing import LambdaContext

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TRACEPARENT = f"00-{7:032x}-{8:016x}-01"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def telemetry(exporter: InMemorySpanExporter) -> Iterator[tuple[lambent.Tracer, Any]]:
    tracer, provider = init_telemetry("my-service", span_processors=[SimpleSpanProcessor(exporter)])
    yield tracer, provider
    tracer.close()


@pytest.fixture
def tracer(telemetry: tuple[lambent.Tracer, Any]) -> lambent.Tracer:
    return telemetry[0]


@pytest.fixture
def provider(telemetry: tuple[lambent.Tracer, Any]) -> Any:
    return telemetry[1]


def one(exporter: InMemorySpanExporter) -> Any:
    (span,) = exporter.get_finished_spans()
    exporter.clear()
    return span


@pytest.fixture
def http_event(load_event: Callable[[str], Any]) -> Any:
    return load_event("apiGatewayProxyV2Event_GET.json")


# The response that leaves the block.


def make_handlers(tracer: Any, provider: Any) -> dict[str, Callable[[Any, Any], Any]]:
    """Return handlers that leave the block in every way there is, with the status that is to be seen."""

    def plain(event: Any, context: Any) -> Any:
        with traced_handler(tracer, provider, "api", event, context):
            return {"statusCode": 500, "body": "Internal error"}

    def computed(event: Any, context: Any) -> Any:
        with traced_handler(tracer, provider, "api", event, context):
            response = {"statusCode": 500}
            return response  # noqa: RET504  # that is the case

    def early(event: Any, context: Any) -> Any:
        with traced_handler(tracer, provider, "api", event, context):
            if event:
                return {"statusCode": 500}
            return {"statusCode": 200}

    def looping(event: Any, context: Any) -> Any:
        for code in (500, 200):
            with traced_handler(tracer, provider, "api", event, context):
                return {"statusCode": code}
        return None

    def caught(event: Any, context: Any) -> Any:
        try:
            with traced_handler(tracer, provider, "api", event, context):
                return {"statusCode": 500}
        except ValueError:
            return None

    def inner(event: Any, context: Any) -> Any:
        with traced_handler(tracer, provider, "api", event, context):
            with tracer.start_as_current_span("inner"):
                raise_nothing()
            return {"statusCode": 500}

    def kept(event: Any, context: Any) -> Any:
        response: Any = None
        with traced_handler(tracer, provider, "api", event, context):
            response = {"statusCode": 500}
        return response  # noqa: RET504  # that is the case, too

    def after(event: Any, context: Any) -> Any:
        code = 500
        with traced_handler(tracer, provider, "api", event, context):
            raise_nothing()
        return {"statusCode": code, "body": "Internal error"}

    return {each.__name__: each for each in (plain, computed, early, looping, caught, inner, kept, after)}


def raise_nothing() -> None: ...


@pytest.mark.parametrize("way", ["plain", "computed", "early", "looping", "caught", "inner", "kept", "after"])
def test_the_response_reaches_the_span(
    way: str, tracer: Any, provider: Any, exporter: InMemorySpanExporter, http_event: Any
) -> None:
    handler = make_handlers(tracer, provider)[way]
    for _ in range(3):
        assert handler(http_event, LambdaContext())["statusCode"] == 500
        span: Any = exporter.get_finished_spans()[-1]
        assert span.attributes["http.status_code"] == 500
        assert span.attributes["http.response.status_code"] == 500
        assert span.status.status_code.name == "ERROR"
        assert lambent.current_span() is None


PYTHONS = sorted(
    {
        str(found)
        for folder in (Path("/usr/bin"), Path("/usr/local/bin"), *Path.home().glob(".pyenv/versions/3.*/bin"))
        for found in folder.glob("python3.1[1-9]")
    }
    | {sys.executable}
)


@pytest.mark.parametrize("python", PYTHONS)
def test_the_response_in_every_python_there_is(python: str) -> None:
    program = """
from lambent.compat.lambda_otel_lite import LambdaSpanProcessor, init_telemetry, traced_handler
from lambent.exporters.memory import MemoryExporter

memory = MemoryExporter()
tracer, provider = init_telemetry("x", span_processors=[LambdaSpanProcessor(memory)])

def handler(code):
    for _ in range(1):
        try:
            with traced_handler(tracer, provider, "x"):
                return {"statusCode": code}
        except ValueError:
            pass

def kept(code):
    with traced_handler(tracer, provider, "x"):
        response = {"statusCode": code}
    return response

def after(code):
    with traced_handler(tracer, provider, "x"):
        pass
    return {"statusCode": code, "headers": {"a": "b"}, "list": [1, code]}

for code in (200, 500, 404):
    assert handler(code) == kept(code) == {"statusCode": code}
    assert after(code)["list"] == [1, code]
print([span.attributes["http.status_code"] for span in memory.spans])
"""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(lambent.__file__).parents[1])}
    done = subprocess.run(
        [python, "-S", "-B", "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("[200, 200, 200, 500, 500, 500, 404, 404, 404]\n", "")


def test_the_response_of_a_coroutine(tracer: Any, provider: Any, exporter: InMemorySpanExporter) -> None:
    async def handler(code: int) -> Any:
        with traced_handler(tracer, provider, "api", {}, None, attributes={"code": code}):
            await asyncio.sleep(0)
            return {"statusCode": code}

    async def several() -> Any:
        return await asyncio.gather(*[handler(code) for code in (200, 301, 404, 502)])

    asyncio.run(several())
    seen = {
        span.attributes["code"]: span.attributes["http.status_code"]
        for span in exporter.get_finished_spans()
        if span.attributes
    }
    assert seen == {code: code for code in (200, 301, 404, 502)}


def test_the_response_in_threads(tracer: Any, provider: Any, exporter: InMemorySpanExporter) -> None:
    barrier = threading.Barrier(4)

    def handler(code: int) -> Any:
        with traced_handler(tracer, provider, "api", {}, None, attributes={"code": code}):
            barrier.wait(30)
            return {"statusCode": code}

    def work(code: int) -> None:
        for _ in range(25):
            handler(code)

    threads = [threading.Thread(target=work, args=(code,)) for code in (200, 201, 202, 203)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    spans = exporter.get_finished_spans()
    assert len(spans) == 100
    assert all(
        span.attributes and span.attributes["code"] == span.attributes["http.status_code"] for span in spans
    )


def test_a_block_that_is_not_left_by_returning_ends_at_its_end(
    tracer: Any, provider: Any, exporter: InMemorySpanExporter
) -> None:
    with traced_handler(tracer, provider, "api", {}, None):
        assert exporter.get_finished_spans() == ()
    assert one(exporter).name == "api"

    def constant() -> int:
        with traced_handler(tracer, provider, "api", {}, None):
            return 3

    assert constant() == 3
    assert "http.status_code" not in one(exporter).attributes


def test_a_profiler_of_the_programs_own_stays(
    tracer: Any, provider: Any, exporter: InMemorySpanExporter
) -> None:
    calls = 0

    def profile(*_: object) -> None:
        nonlocal calls
        calls += 1

    handler = make_handlers(tracer, provider)["plain"]
    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        handler({}, None)
        assert sys.getprofile() is profile
    finally:
        sys.setprofile(before)
    assert calls
    assert one(exporter).name == "api"


def test_an_exception_is_kept_and_goes_on(tracer: Any, provider: Any, exporter: InMemorySpanExporter) -> None:
    def handler() -> None:
        with traced_handler(tracer, provider, "api", {}, None):
            raise ValueError("as asked")

    with pytest.raises(ValueError, match="as asked"):
        handler()
    span = one(exporter)
    assert span.status.status_code.name == "ERROR"
    assert [event.name for event in span.events] == ["exception"]


# Arguments.


def test_every_argument(tracer: Any, provider: Any, exporter: InMemorySpanExporter) -> None:
    linked = SpanContext(5, 6, True, TraceFlags(1))
    with traced_handler(
        tracer=tracer,
        tracer_provider=provider,
        name="all",
        event={"headers": {"traceparent": TRACEPARENT}},
        context=LambdaContext(),
        kind=SpanKind.CONSUMER,
        attributes={"custom": "value"},
        links=[Link(linked)],
        start_time=12,
        record_exception=False,
        set_status_on_exception=False,
        end_on_exit=True,
        parent_context=None,
        get_carrier=None,
    ) as span:
        span.set_attribute("inside", True)
    done = one(exporter)
    assert (done.name, done.kind, done.start_time) == ("all", SpanKind.CONSUMER, 12)
    assert (done.attributes["custom"], done.attributes["inside"]) == ("value", True)
    assert [link.context.span_id for link in done.links] == [6]
    assert (done.context.trace_id, done.parent.span_id) == (7, 8)


def test_the_parameters_are_the_originals() -> None:
    assert list(inspect.signature(traced_handler).parameters) == [
        "tracer", "tracer_provider", "name", "event", "context", "kind", "attributes", "links", "start_time",
        "record_exception", "set_status_on_exception", "end_on_exit", "parent_context", "get_carrier",
    ]  # fmt: skip
    original = importlib.import_module("lambda_otel_lite") if _has_original() else None
    if original is not None:
        for name in ("init_telemetry", "create_traced_handler"):
            theirs = inspect.signature(getattr(original, name)).parameters
            assert set(theirs) <= set(inspect.signature(getattr(lite, name)).parameters)
        missing = set(original.__all__) - set(dir(lite)) - {"processor_mode", "ResourceAttributes"}
        assert not missing


def _has_original() -> bool:
    return importlib.util.find_spec("lambda_otel_lite") is not None


def test_exceptions_may_be_left_out(tracer: Any, provider: Any, exporter: InMemorySpanExporter) -> None:
    def handler() -> None:
        with traced_handler(tracer, provider, "quiet", record_exception=False, set_status_on_exception=False):
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011  # it says nothing
        handler()
    span = one(exporter)
    assert (span.events, span.status.status_code.name) == ((), "UNSET")


def test_a_span_may_outlive_its_block(tracer: Any, provider: Any, exporter: InMemorySpanExporter) -> None:
    with traced_handler(tracer, provider, "long", end_on_exit=False) as span:
        pass
    assert exporter.get_finished_spans() == ()
    span.end()
    assert one(exporter).name == "long"


def test_the_second_value_is_a_provider(tracer: Any, provider: Any, exporter: InMemorySpanExporter) -> None:
    from opentelemetry import trace

    library = provider.get_tracer("library", "1.0")
    api = trace.get_tracer("application")
    second = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(second))
    for given in (tracer, library, api):
        with traced_handler(given, provider, "root") as root:
            assert trace.get_current_span().get_span_context().span_id == root.context.span_id
            with library.start_as_current_span("child"):
                pass
        child: Any
        child, done = second.get_finished_spans()
        assert (child.parent.span_id, child.instrumentation_scope.name) == (done.context.span_id, "library")
        second.clear()
    assert provider.resource is tracer.resource


# Context.


@pytest.mark.parametrize("name", ["traceparent", "Traceparent", "TRACEPARENT"])
def test_headers_of_any_event_carry_the_context(
    name: str, tracer: Any, provider: Any, exporter: InMemorySpanExporter
) -> None:
    with traced_handler(tracer, provider, "x", {"headers": {name: TRACEPARENT}}, None):
        pass
    assert one(exporter).parent.span_id == 8


@pytest.mark.parametrize(
    "carrier",
    [
        {"traceparent": TRACEPARENT},
        {"traceparent": {"stringValue": TRACEPARENT, "dataType": "String"}},
        {"traceparent": {"StringValue": TRACEPARENT, "DataType": "String"}},
        {"traceparent": {"Type": "String", "Value": TRACEPARENT}},
    ],
)
def test_a_carrier_of_the_programs_own(
    carrier: Any, tracer: Any, provider: Any, exporter: InMemorySpanExporter
) -> None:
    event = {"Records": [{"messageAttributes": carrier}]}
    with traced_handler(
        tracer, provider, "x", event, None, get_carrier=lambda event: event["Records"][0]["messageAttributes"]
    ):
        pass
    assert one(exporter).parent.span_id == 8


@pytest.mark.parametrize("given", [None, "text", 5, [], {}, {"traceparent": 5}, {5: {}}, {"a": {"b": {}}}])
def test_an_odd_carrier_is_none(
    given: Any, tracer: Any, provider: Any, exporter: InMemorySpanExporter
) -> None:
    with traced_handler(tracer, provider, "x", {"headers": given}, None, get_carrier=lambda _: given):
        pass
    with traced_handler(tracer, provider, "x", {"headers": given}, None):
        pass
    assert [span.parent for span in exporter.get_finished_spans()] == [None, None]


def test_a_carrier_that_fails_is_said(
    tracer: Any, provider: Any, exporter: InMemorySpanExporter, capfd: pytest.CaptureFixture[str]
) -> None:
    with traced_handler(tracer, provider, "x", {}, None, get_carrier=lambda event: event["no"]):
        pass
    assert one(exporter).parent is None
    assert "KeyError" in capfd.readouterr().err


def test_a_parent_of_the_programs_own(tracer: Any, provider: Any, exporter: InMemorySpanExporter) -> None:
    parent = lambent.SpanContext(9, 10, True, 1)
    with traced_handler(
        tracer, provider, "x", {"headers": {"traceparent": TRACEPARENT}}, parent_context=parent
    ):
        pass
    assert one(exporter).parent.span_id == 10


# Attributes.


def test_the_documented_attributes(
    tracer: Any, provider: Any, exporter: InMemorySpanExporter, http_event: Any
) -> None:
    event = {**http_event, "routeKey": "GET /my/{proxy}"}
    make_handlers(tracer, provider)["plain"](event, LambdaContext())
    attributes = one(exporter).attributes
    documented = [
        "faas.cold_start", "cloud.account.id", "faas.invocation_id", "cloud.resource_id", "faas.trigger",
        "http.status_code", "http.route", "http.method", "http.target", "http.scheme",
    ]  # fmt: skip
    assert [name for name in documented if name not in attributes] == []
    assert attributes["faas.trigger"] == "http"


def test_a_status_is_kept_whatever_the_event(
    tracer: Any, provider: Any, exporter: InMemorySpanExporter
) -> None:
    make_handlers(tracer, provider)["plain"]({"any": "event"}, LambdaContext())
    assert one(exporter).attributes["http.status_code"] == 500


def test_the_scope_and_the_resource(telemetry: Any, exporter: InMemorySpanExporter) -> None:
    tracer, provider = init_telemetry(
        name="payments",
        resource=Resource({"team": "blue"}),
        span_processors=[SimpleSpanProcessor(exporter)],
    )
    with tracer.start_as_current_span("process"):
        pass
    assert provider.force_flush() is True
    span = one(exporter)
    assert span.instrumentation_scope.name == "payments"
    assert span.resource.attributes["team"] == "blue"
    assert lambent.get_tracer() is tracer
    provider.shutdown()


# Processors, exporters, modes.


def test_processors_run_in_their_order_and_nothing_else_exports(
    exporter: InMemorySpanExporter, capfd: pytest.CaptureFixture[str]
) -> None:
    class Marking(SpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            span.set_attribute("marked", True)

    tracer, provider = init_telemetry("f", span_processors=[Marking(), SimpleSpanProcessor(exporter)])
    with traced_handler(tracer, provider, "x"):
        pass
    assert one(exporter).attributes["marked"] is True
    assert capfd.readouterr().out == ""
    tracer.close()


def test_without_processors_a_line_on_stdout(capfd: pytest.CaptureFixture[str]) -> None:
    tracer, provider = init_telemetry("f")
    with traced_handler(tracer, provider, "x"):
        pass
    assert "__otel_otlp_stdout" in capfd.readouterr().out
    tracer.close()


def test_the_processor_by_name_stands_for_its_exporter(exporter: InMemorySpanExporter) -> None:
    tracer, provider = init_telemetry("f", span_processors=[LambdaSpanProcessor(exporter, max_queue_size=7)])
    assert tracer.config.queue_size == 7
    with traced_handler(tracer, provider, "x"):
        pass
    assert one(exporter).name == "x"
    tracer.close()


def test_the_processor_by_name_is_one_where_more_is_asked_of_it(exporter: InMemorySpanExporter) -> None:
    class Marking(LambdaSpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            span.set_attribute("marked", True)

    tracer, provider = init_telemetry("f", span_processors=[Marking(exporter)])
    added = InMemorySpanExporter()
    processor = LambdaSpanProcessor(added, max_queue_size=2)
    provider.add_span_processor(processor)
    for name in ("a", "b", "c"):
        with tracer.start_as_current_span(name):
            pass
    assert added.get_finished_spans() == ()
    provider.complete()
    assert [span.name for span in added.get_finished_spans()] == ["a", "b"]  # its queue holds no more
    spans = exporter.get_finished_spans()
    assert [(span.name, (span.attributes or {})["marked"]) for span in spans] == [
        ("a", True),
        ("b", True),
        ("c", True),
    ]
    with tracer.start_as_current_span("d"):
        pass
    processor.process_spans()
    assert added.get_finished_spans()[-1].name == "d"
    provider.shutdown()
    assert processor.force_flush() is False


@pytest.mark.parametrize(("variable", "mode"), [(None, "finalize"), ("sync", "sync")])
def test_the_environment_wins_over_the_mode(
    variable: str | None, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable:
        monkeypatch.setenv("LAMBDA_EXTENSION_SPAN_PROCESSOR_MODE", variable)
    tracer, completion = init_telemetry(processor_mode=ProcessorMode.FINALIZE, span_processors=[])
    assert tracer.config.mode == mode
    completion.complete()
    tracer.close()


def test_the_second_value_is_a_provider_to_the_api(
    exporter: InMemorySpanExporter, capfd: pytest.CaptureFixture[str]
) -> None:
    tracer, provider = init_telemetry(span_processors=[SimpleSpanProcessor(exporter)])
    assert isinstance(provider, trace.TracerProvider)
    trace.set_tracer_provider(provider)
    assert trace.get_tracer_provider() is tracer.provider
    with trace.get_tracer("library").start_as_current_span("s"):
        pass
    assert one(exporter).name == "s"
    assert capfd.readouterr().err == ""
    tracer.close()


def test_modes_out_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert ProcessorMode.from_env("MODE") is None
    assert ProcessorMode.from_env("MODE", ProcessorMode.ASYNC) is ProcessorMode.ASYNC
    assert ProcessorMode.resolve() is ProcessorMode.SYNC
    assert ProcessorMode.resolve(ProcessorMode.ASYNC) is ProcessorMode.ASYNC
    monkeypatch.setenv("MODE", " Finalize ")
    monkeypatch.setenv("LAMBDA_EXTENSION_SPAN_PROCESSOR_MODE", "async")
    assert ProcessorMode.from_env("MODE") is ProcessorMode.FINALIZE
    assert ProcessorMode.resolve(ProcessorMode.SYNC) is ProcessorMode.ASYNC
    assert ProcessorMode.resolve(env_var="MODE") is ProcessorMode.FINALIZE
    monkeypatch.setenv("MODE", "never")
    with pytest.raises(ValueError, match="never"):
        ProcessorMode.from_env("MODE")
    assert ProcessorMode.resolve(ProcessorMode.ASYNC, "MODE") is ProcessorMode.ASYNC
    assert "MODE is ignored" in capfd.readouterr().err


def test_the_links_of_an_extractor_are_not_made_twice(exporter: InMemorySpanExporter) -> None:
    """A consumer of SQS as that library's examples have it: the records' senders, found by the program."""
    tracer, completion = init_telemetry(span_processors=[SimpleSpanProcessor(exporter)])

    def sent(number: int) -> dict[str, Any]:
        value = {"stringValue": f"00-{number:032x}-{number:016x}-01", "dataType": "String"}
        queue = "arn:aws:sqs:eu-west-1:123456789012:queue"
        return {"messageId": str(number), "body": "", "eventSource": "aws:sqs", "eventSourceARN": queue,
                "messageAttributes": {"traceparent": value}}  # fmt: skip

    def extract(event: Any, context: object) -> SpanAttributes:
        found = SpanContext(1, 1, is_remote=True, trace_flags=TraceFlags(1))
        return SpanAttributes(TriggerType.PUBSUB, {}, "process", kind=SpanKind.CONSUMER, links=[Link(found)])

    @create_traced_handler("consumer", completion, attributes_extractor=extract)
    def handler(event: Any, context: object) -> None: ...

    handler({"Records": [sent(1), sent(2)]}, None)
    assert [link.context.span_id for link in one(exporter).links] == [1, 2]
    tracer.close()


def test_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    tracer, provider = init_telemetry("f", span_processors=[])
    assert make_handlers(tracer, provider)["plain"]({}, None)["statusCode"] == 500
    provider.complete()
    provider.shutdown()


def test_ids_and_propagators_of_opentelemetrys(exporter: InMemorySpanExporter) -> None:
    from opentelemetry import propagate

    class Ids(IdGenerator):
        def generate_trace_id(self) -> int:
            return 77

        def generate_span_id(self) -> int:
            return 78

    before = propagate.get_global_textmap()
    tracer, provider = init_telemetry(
        span_processors=[SimpleSpanProcessor(exporter)], propagators=[B3SingleFormat()], id_generator=Ids()
    )
    try:
        with traced_handler(tracer, provider, "x"):
            pass
        span = one(exporter)
        assert (span.context.trace_id, span.context.span_id) == (77, 78)
        with traced_handler(tracer, provider, "x", {"headers": {"b3": f"{7:032x}-{8:016x}-1"}}):
            pass
        assert one(exporter).parent.span_id == 8
    finally:
        propagate.set_global_textmap(before)
        tracer.close()


# The later interface.


def test_the_decorator(tracer: Any, provider: Any, exporter: InMemorySpanExporter, http_event: Any) -> None:
    assert provider.get_tracer() is tracer
    traced = create_traced_handler(name="my-handler", completion_handler=provider)

    @traced
    def handler(event: Any, context: Any) -> Any:
        """Say how it went."""
        return {"statusCode": 503}

    assert handler.__doc__ == "Say how it went."
    assert handler(http_event, LambdaContext())["statusCode"] == 503
    span = one(exporter)
    assert (span.name, span.attributes["http.status_code"]) == ("my-handler", 503)
    assert span.status.status_code.name == "ERROR"


def test_an_extractor(tracer: Any, provider: Any, exporter: InMemorySpanExporter) -> None:
    def extract(event: Any, context: Any) -> SpanAttributes:
        base = default_extractor(event, context)
        return SpanAttributes(
            trigger=TriggerType.PUBSUB,
            attributes={**base.attributes, "order": event["order"]},
            span_name="orders",
            carrier={"traceparent": TRACEPARENT},
            kind=SpanKind.CONSUMER,
        )

    @create_traced_handler("x", provider, attributes_extractor=extract)
    def handler(event: Any, context: Any) -> None: ...

    handler({"order": 5}, LambdaContext())
    span = one(exporter)
    assert (span.name, span.kind, span.parent.span_id) == ("orders", SpanKind.CONSUMER, 8)
    assert (span.attributes["order"], span.attributes["faas.trigger"]) == (5, "pubsub")
    assert span.attributes["faas.invocation_id"] == LambdaContext().aws_request_id


def test_a_failing_handler_of_the_decorator(
    tracer: Any, provider: Any, exporter: InMemorySpanExporter
) -> None:
    @create_traced_handler("x", provider)
    async def handler(event: Any, context: Any) -> None:
        raise ValueError("as asked")

    with pytest.raises(ValueError, match="as asked"):
        asyncio.run(handler({}, None))
    assert one(exporter).status.status_code.name == "ERROR"


@pytest.mark.parametrize(
    "name", ["extractors", "extension", "handler", "processor", "telemetry", "resource", "constants"]
)
def test_the_originals_modules_are_there(name: str) -> None:
    module = importlib.import_module(f"lambent.compat.lambda_otel_lite.{name}")
    assert module.init_telemetry is init_telemetry


def test_what_the_default_extractor_says_of_the_context() -> None:
    context = LambdaContext()
    assert default_extractor({}, context).attributes == {
        "faas.invocation_id": context.aws_request_id,
        "cloud.resource_id": context.invoked_function_arn,
        "cloud.account.id": "123456789012",
    }


def test_the_resource_of_lambda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "orders")
    found = lite.get_lambda_resource(Resource({"team": "blue"}))
    assert isinstance(found, Resource)
    assert (found.attributes["faas.name"], found.attributes["team"]) == ("orders", "blue")
