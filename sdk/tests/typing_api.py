"""How users write lambent, for the type checker alone: nothing here is run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, assert_type

import lambent
from lambent import Limits, Link, NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, Tracer
from lambent.exporters import Exporter, Result
from lambent.exporters.memory import MemoryExporter
from lambent.sampling import Decision, ParentBased, Sampler, TraceIdRatio
from lambent.testing import (
    FakeClock,
    LambdaContext,
    RecordingTracer,
    SequentialIds,
    assert_trace,
    expect,
    recording_tracer,
)

tracer = lambent.init(service_name="orders", timeout=0.5, exporters=["stdout", MemoryExporter()])
assert_type(tracer, Tracer)
assert_type(lambent.Tracer.init(test_mode=True), Tracer)
assert_type(lambent.get_tracer(), Tracer)
assert_type(lambent.current_span(), Span | NonRecordingSpan | None)


@tracer.handler
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, int]:
    with tracer.trace(
        "load", kind=SpanKind.CLIENT, attributes={"order.id": event["id"], "tags": ["a", 1]}
    ) as span:
        span.set_attribute("rows", 3)
        span.set_attributes({"a": None, "b": {"c": b"d"}})
        span.add_event("cache miss", {"key": "k"}, timestamp=1)
        span.add_link(SpanContext(1, 2), {"why": "retry"})
        span.set_status(StatusCode.ERROR, "no rows")
        span.set_status(Status("OK"))
        span.record_exception(ValueError(), {"a": 1}, escaped=False)
        span.update_name("load order")
        assert_type(span.get_span_context(), SpanContext)
        assert_type(span.is_recording(), bool)
    return {"statusCode": 200}


@tracer.handler
async def asynchronous(event: object, context: object) -> str:
    return "done"


@tracer.handler
def streaming(event: object, context: object) -> Iterator[bytes]:
    yield b"part"


@tracer.handler
async def streaming_async(event: object, context: object) -> AsyncIterator[bytes]:
    yield b"part"


@tracer.start_as_current_span("work", attributes={"a": 1})
def work(number: int, *, text: str = "") -> list[str]:
    return [text] * number


@lambent.trace
def traced(number: int, *, text: str = "") -> list[str]:
    return [text] * number


@lambent.atrace(event_type=lambent.EventType.tool, inputs=True, metadata={"a": 1}, tracer=tracer)
async def traced_async(number: int) -> int:
    return number


@lambent.trace_class(event_name="svc")
class Service:
    @lambent.trace("make")
    @classmethod
    def make(cls) -> Service:
        return cls()


async def use_decorators() -> None:
    assert_type(traced(3, text="x"), list[str])
    traced("3")  # type: ignore[arg-type]  # as above
    assert_type(await traced_async(1), int)
    assert_type(Service.make(), Service)
    lambent.trace(event_nam="x")  # type: ignore[call-overload]  # no such argument
    assert_type(lambent.enrich_session({"a": 1}), bool)
    if lambent.enrich_span(metrics={"rows": 1}, error=ValueError()):
        with lambent.enrich_span(event_name="part") as span:
            span.set_attribute("a", 1)
    async with lambent.trace("block") as block, lambent.llm.call("m") as call:
        block.set_attribute("a", 1)
        assert_type(call.response({"id": "r"}), dict[str, str])


async def use() -> None:
    assert_type(handler({"id": 1}, LambdaContext()), dict[str, int])
    assert_type(await asynchronous({}, None), str)
    assert_type(next(streaming({}, None)), bytes)
    assert_type(await anext(streaming_async({}, None)), bytes)
    assert_type(work(3, text="x"), list[str])
    work("3")  # type: ignore[arg-type]  # a decorated function keeps its parameters
    span = tracer.start_span("s", context=SpanContext(1, 2), links=[Link(SpanContext(3, 4))], start_time=5)
    span.end(6)
    with tracer.start_as_current_span("s", end_on_exit=False) as current:
        assert_type(current, Span | NonRecordingSpan)
    with tracer.invocation({}, None, name="job", kind="CONSUMER", attributes={"a": 1}) as invocation:
        invocation.set_response({"statusCode": 500})
        assert_type(invocation.span, Span | NonRecordingSpan)
    assert_type(tracer.stats().lost, int)
    tracer.provider.get_tracer("library").start_span("s").end()
    assert_type(tracer.force_flush(timeout_millis=1000), bool)
    tracer.close()


class Mine(Exporter):
    def export(self, spans: Sequence[Span], timeout: float) -> Result:
        for span in spans:
            assert_type(span.name, str)
            assert_type(span.context.trace_id, int)
            assert_type(span.parent, SpanContext | None)
            assert_type(span.attributes, Mapping[str, object])
            assert_type(span.status.status_code.name, str)
            assert_type(span.start_time, int)
            assert_type(span.end_time, int | None)
            assert_type(span.resource.attributes["service.name"], object)
            assert_type(span.instrumentation_scope.name, str)
        return Result(False, len(spans), 0, "not today")


class Rule:
    description = "Rule"

    def should_sample(
        self,
        parent: SpanContext | None,
        trace_id: int,
        name: str,
        kind: int,
        attributes: Mapping[str, object] | None,
        links: Sequence[Link],
    ) -> Decision:
        return Decision(name != "health", {"rule": 1})


sampler: Sampler = ParentBased(TraceIdRatio(0.1))
lambent.init(
    exporter=Mine(), sampler=Rule(), limits=Limits(events=10), resource={"team": "a"}, headers={"x": "y"}
)


@tracer.batch_handler
def handle_record(record: dict[str, str], context: object) -> None:
    assert_type(lambent.extract(record), SpanContext | None)


@tracer.batch_handler(name="sqs.process", kind="SERVER")
async def handle_record_later(record: dict[str, str]) -> None:
    print(lambent.inject({}, SpanContext(1, 2)), lambent.carriers.message_attributes())


def handle_batch(event: dict[str, object]) -> None:
    for record in tracer.records(event):
        with tracer.process(record, attributes={"a": 1}) as span:
            span.set_attribute("id", record["messageId"])


def test_of_the_users() -> None:
    fake = recording_tracer(environ={"OTEL_SERVICE_NAME": "s"}, project="p")
    assert_type(fake, RecordingTracer)
    assert_type(fake.spans, list[Span])
    fake.fake_clock.advance(1.5)
    assert_type(FakeClock()(), int)
    assert_type(SequentialIds().trace_id(), int)
    assert_trace(fake, expect("load", "query", attributes={"rows": 3}), ordered=False)
    assert_type(lambent.testing.event("sqs", "a")["Records"], Any)
    assert_type(lambent.wire.json.encode(fake.spans), bytes)
    lambent.propagation.baggage.detach(lambent.propagation.baggage.attach({"a": "b"}))
    lambent.logging.install("WARNING")
    try:
        lambent.init(servicename="x")
    except lambent.ConfigError as error:
        print(error)  # as a user would
