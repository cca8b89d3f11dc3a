"""Batches: a span for each record in its sender's trace, the totals, and what is answered to Lambda."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lambent
from lambent import batches, triggers
from lambent.context import SpanContext
from lambent.propagation import baggage
from lambent.testing import LambdaContext, RecordingTracer, recording_tracer
from lambent.wire import protobuf

if TYPE_CHECKING:
    from collections.abc import Callable

    from lambent.span import Span

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


def mutate(value: Any, draw: Callable[[Any], Any], junk: Any) -> Any:
    """Return a record with one of its values, at any depth, replaced or removed."""
    if not isinstance(value, dict) or not value:
        return draw(junk)
    key = draw(st.sampled_from(sorted(value)))
    action = draw(st.sampled_from(["deeper", "deeper", "replace", "remove"]))
    if action == "remove":
        return {name: inner for name, inner in value.items() if name != key}
    return {**value, key: mutate(value[key], draw, junk) if action == "deeper" else draw(junk)}


QUEUE = "arn:aws:sqs:eu-west-1:123456789012:orders"
NOW = 1_700_000_000_000  # the fake clock's start, in milliseconds


def sender(number: int, flags: int = 1) -> str:
    return f"00-{number:032x}-{number:016x}-{flags:02x}"


def message(number: int, parent: str = "", arn: str = QUEUE, **more: Any) -> dict[str, Any]:
    attributes = {"traceparent": {"stringValue": parent, "dataType": "String"}} if parent else {}
    return {
        "messageId": f"m{number}",
        "receiptHandle": "h",
        "body": f'{{"n": {number}}}',
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": str(NOW - 1500),
            "ApproximateFirstReceiveTimestamp": str(NOW),
            **more,
        },
        "messageAttributes": attributes,
        "eventSource": "aws:sqs",
        "eventSourceARN": arn,
        "awsRegion": "eu-west-1",
    }


def batch(*messages: dict[str, Any]) -> dict[str, Any]:
    return {"Records": list(messages)}


def fifo(count: int) -> dict[str, Any]:
    return batch(
        *(
            message(n, sender(n), f"{QUEUE}.fifo", MessageGroupId="g", SequenceNumber=str(n))
            for n in range(1, count + 1)
        )
    )


def by_name(tracer: RecordingTracer, name: str) -> list[Span]:
    return [span for span in tracer.spans if span.name == name]


def linked(span: Span) -> list[int]:
    return [link.context.trace_id for link in span.links]


def process_all(
    tracer: RecordingTracer, event: Any, fail: Callable[[Any], None] = lambda record: None
) -> None:
    @tracer.handler
    def handler(event: Any, context: Any) -> None:
        for record in tracer.records(event):
            with tracer.process(record):
                fail(record)

    handler(event, LambdaContext())


def test_the_whole_trace_of_a_batch() -> None:
    tracer = recording_tracer()
    event = batch(
        message(1, sender(11)),
        message(2, sender(12), ApproximateReceiveCount="3"),
        message(3),
        message(4, sender(11)),
    )
    before = copy.deepcopy(event)
    process_all(tracer, event)
    assert event == before
    first, second, third, fourth, totals, root = tracer.spans
    assert linked(root) == [11, 12], "each sender once"
    assert [span.name for span in tracer.spans[:4]] == ["process orders"] * 4
    assert {span.kind.name for span in tracer.spans} == {"CONSUMER"}
    for span, number in ((first, 11), (second, 12), (fourth, 11)):
        assert span.parent == SpanContext(number, number, True, 1)
        assert span.context.trace_id == number
        assert [link.context.span_id for link in span.links] == [root.context.span_id]
    assert third.parent is not None
    assert third.parent.span_id == root.context.span_id, "who sent no context stays with the invocation"
    assert third.links == ()
    assert (
        first.attributes.items()
        >= {
            "messaging.system": "aws_sqs",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": "orders",
            "messaging.message.id": "m1",
            "messaging.batch.message_count": 4,
            "lambent.message.redelivery_count": 0,
            "lambent.message.queue_delay": 1.5,
        }.items()
    )
    assert second.attributes["lambent.message.redelivery_count"] == 2
    assert totals.name == "sqs.batch"
    assert totals.parent is not None
    assert totals.parent.span_id == root.context.span_id
    assert linked(totals) == [11, 12]
    assert (
        totals.attributes.items()
        >= {
            "messaging.system": "aws_sqs",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": "orders",
            "messaging.batch.message_count": 4,
            "lambent.batch.succeeded": 4,
            "lambent.batch.failed": 0,
            "lambent.batch.unprocessed": 0,
            "lambent.batch.redelivered": 1,
            "lambent.batch.queue_delay_max": 1.5,
        }.items()
    )


def test_one_message_has_one_sender() -> None:
    tracer = recording_tracer()
    process_all(tracer, batch(message(1, sender(11))))
    one, totals, root = tracer.spans
    assert {span.context.trace_id for span in (one, totals, root)} == {11}
    assert one.parent == root.parent == SpanContext(11, 11, True, 1)
    assert linked(root) == [11]
    assert [link.context.span_id for link in one.links] == [root.context.span_id]


def test_the_totals_reach_from_the_first_to_the_last() -> None:
    tracer = recording_tracer()
    process_all(tracer, batch(message(1), message(2)), lambda record: tracer.fake_clock.advance(1))
    (totals,) = by_name(tracer, "sqs.batch")
    assert totals.end_time is not None
    assert totals.end_time - totals.start_time == 2_000_000_000


def test_a_message_from_the_future_has_waited_no_time() -> None:
    tracer = recording_tracer()
    process_all(tracer, batch(message(1, SentTimestamp=str(NOW + 5000))))
    assert tracer.spans[0].attributes["lambent.message.queue_delay"] == 0.0


def test_the_link_limit() -> None:
    tracer = recording_tracer(limits={"links": 3})
    process_all(tracer, batch(*(message(n, sender(n)) for n in range(1, 6))))
    root = tracer.spans[-1]
    assert (len(root.links), root.dropped_links) == (3, 2)


def test_an_exception_that_leaves_the_loop() -> None:
    tracer = recording_tracer()

    def fail(record: Any) -> None:
        if record["messageId"] == "m2":
            raise KeyError("k")

    with pytest.raises(KeyError) as caught:
        process_all(tracer, batch(message(1), message(2), message(3)), fail)
    first, second, totals, root = tracer.spans
    assert [span.status.status_code for span in (first, second, root)] == [0, 2, 2]
    assert [event.name for event in second.events] == ["exception"]
    assert totals.attributes["lambent.batch.succeeded"] == 1
    assert totals.attributes["lambent.batch.failed"] == 1
    assert totals.attributes["lambent.batch.unprocessed"] == 1
    assert totals.status.description == "1 of 3 records failed"
    # What was left open by the exception does not mix with the next batch.
    process_all(tracer, batch(message(1), message(2)))
    del caught
    assert [span.name for span in tracer.spans[4:]] == ["process orders"] * 2 + [
        "sqs.batch",
        "process orders",
    ]


def test_baggage_of_the_sender_is_current_in_its_record() -> None:
    tracer = recording_tracer()
    seen: list[dict[str, str]] = []
    one = message(1, sender(1))
    one["messageAttributes"]["baggage"] = {"stringValue": "user=Zo%C3%AB", "dataType": "String"}
    process_all(tracer, batch(one, message(2)), lambda record: seen.append(dict(baggage.current())))
    assert seen == [{"user": "Zoë"}, {}]
    assert baggage.current() == {}


def test_a_sender_that_is_not_sampled() -> None:
    tracer = recording_tracer()
    process_all(tracer, batch(message(1, sender(1, 0)), message(2, sender(2))))
    assert [span.name for span in tracer.spans] == ["process orders", "sqs.batch", "process orders"]
    assert tracer.spans[0].context.trace_id == 2
    assert tracer.spans[1].attributes["lambent.batch.succeeded"] == 2


@pytest.mark.parametrize("sampled", [0, 1])
def test_xrays_header_of_a_message_counts_without_being_named(sampled: int) -> None:
    tracer = recording_tracer()
    header = f"Root=1-{1:08x}-{2:024x};Parent={3:016x};Sampled={sampled}"
    process_all(
        tracer, batch(message(1, AWSTraceHeader=header), message(2, sender(9), AWSTraceHeader=header))
    )
    trace_id = int(f"{1:08x}{2:024x}", 16)
    assert [span.context.trace_id for span in tracer.spans[:2]] == [trace_id, 9]
    assert linked(tracer.spans[-1]) == [trace_id, 9]
    tracer = recording_tracer(propagators="none")
    process_all(tracer, batch(message(1, AWSTraceHeader=header)))
    assert linked(tracer.spans[-1]) == []


def test_a_record_alone() -> None:
    tracer = recording_tracer()
    with tracer.process(message(1, sender(5)), "mine", {"customer.id": "c"}) as span:
        span.set_attribute("a", 1)
    (span,) = tracer.spans
    assert (span.name, span.context.trace_id, span.links) == ("mine", 5, ())
    assert span.attributes["customer.id"] == "c"
    assert "messaging.batch.message_count" not in span.attributes


@pytest.mark.parametrize(
    "event", [None, {}, {"Records": None}, {"Records": [1, {"a": 2}]}, {"Records": [None]}, [], "x"]
)
def test_what_is_no_batch(event: Any) -> None:
    tracer = recording_tracer()
    process_all(tracer, event)
    handled: list[Any] = []
    assert tracer.batch_handler(handled.append)(event, LambdaContext()) == {"batchItemFailures": []}
    given = event.get("Records") if isinstance(event, dict) else None
    assert handled == (given or [])


@given(data=st.data())
def test_whatever_a_record_holds_it_is_handled(data: st.DataObject, load_event: Callable[[str], Any]) -> None:
    name = data.draw(
        st.sampled_from(["sqsEvent", "snsEvent", "kinesisStreamEvent", "dynamoStreamEvent", "s3Event"])
    )
    event = load_event(f"{name}.json")
    event["Records"] = [copy.deepcopy(event["Records"][0]) for _ in range(3)]
    for place in range(data.draw(st.integers(1, 3))):
        event["Records"][place] = mutate(event["Records"][place], data.draw, JUNK)
    before = copy.deepcopy(event)
    tracer = recording_tracer(propagators="tracecontext,baggage,xray,b3")
    handled: list[Any] = []
    process_all(tracer, event, handled.append)
    records = [each for each in event["Records"] if isinstance(each, dict)]
    assert [id(each) for each in handled if isinstance(each, dict)] == [id(each) for each in records]
    handled.clear()
    assert tracer.batch_handler(handled.append)(event, LambdaContext()) == {"batchItemFailures": []}
    assert len(handled) >= len(records)
    assert repr(event) == repr(before)  # NaN is not equal to itself
    assert protobuf.encode(tracer.spans)


# batch_handler.


def failing(*numbers: int) -> tuple[Callable[[Any], None], list[str]]:
    handled: list[str] = []

    def function(record: Any) -> None:
        """Handle one."""
        handled.append(record["messageId"])
        if record["messageId"] in {f"m{number}" for number in numbers}:
            raise ValueError(f"bad {record['messageId']}")

    return function, handled


def answer(*numbers: int) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": f"m{number}"} for number in numbers]}


def test_failed_records_are_answered(capsys: pytest.CaptureFixture[str]) -> None:
    tracer = recording_tracer()
    function, handled = failing(2, 4)
    handler = tracer.batch_handler(function)
    assert handler.__name__ == "function"
    assert handler.__doc__ == "Handle one."
    event = batch(*(message(n, sender(n)) for n in range(1, 6)))
    assert handler(event, LambdaContext()) == answer(2, 4)
    assert handled == ["m1", "m2", "m3", "m4", "m5"]
    spans = tracer.spans
    assert [span.status.status_code for span in spans[:5]] == [0, 2, 0, 2, 0]
    assert spans[1].status.description == "ValueError: bad m2"
    assert spans[1].events[0].attributes["exception.type"] == "ValueError"
    assert spans[5].attributes["lambent.batch.failed"] == 2
    assert spans[5].status.status_code == 2
    assert spans[6].status.status_code == 0, "the invocation has answered"
    assert capsys.readouterr().err.count("record m2 failed: ValueError: bad m2") == 1


def test_a_fifo_queue_stops_at_the_first() -> None:
    tracer = recording_tracer()
    function, handled = failing(2)
    assert tracer.batch_handler(function)(fifo(4), LambdaContext()) == answer(2, 3, 4)
    assert handled == ["m1", "m2"]
    (totals,) = by_name(tracer, "sqs.batch")
    assert [
        totals.attributes[f"lambent.batch.{each}"] for each in ("succeeded", "failed", "unprocessed")
    ] == [1, 1, 2]


def test_groups_of_a_standard_queue_are_no_order() -> None:
    tracer = recording_tracer()
    function, handled = failing(1)
    event = batch(message(1, MessageGroupId="tenant"), message(2, MessageGroupId="tenant"))
    assert tracer.batch_handler(function)(event, LambdaContext()) == answer(1)
    assert handled == ["m1", "m2"]


def test_names_and_context() -> None:
    tracer = recording_tracer()
    seen: list[Any] = []

    @tracer.batch_handler(
        name="sqs.process", batch_name="sqs.totals", invocation_name="lambent.invoke", kind="SERVER"
    )
    def handler(record: Any, context: Any) -> None:
        seen.append(context)

    context = LambdaContext()
    assert handler(batch(message(1)), context) == answer()
    assert seen == [context]
    assert [span.name for span in tracer.spans] == ["sqs.process", "sqs.totals", "lambent.invoke"]
    assert tracer.spans[-1].kind.name == "SERVER"


class Worker:
    def method(self, record: Any) -> None: ...
    def with_context(self, record: Any, context: Any) -> None: ...
    def __call__(self, record: Any) -> None: ...


def with_default(record: Any, retries: int = 3) -> None:
    assert retries == 3


def with_optional_context(record: Any, context: Any = None) -> None:
    assert context is not None


CALLABLES = {
    "method": Worker().method,
    "method with context": Worker().with_context,
    "object": Worker(),
    "default": with_default,
    "optional context": with_optional_context,
    "partial": partial(with_default, retries=3),
    "lambda": lambda record: None,
    "built-in method": [].append,
    "built-in function": print,
}


@pytest.mark.parametrize("function", CALLABLES.values(), ids=CALLABLES.keys())
def test_any_callable_for_a_record(function: Any) -> None:
    assert recording_tracer().batch_handler(function)(batch(message(1)), LambdaContext()) == answer()


def test_what_is_no_exception_goes_through() -> None:
    tracer = recording_tracer()

    @tracer.batch_handler
    def handler(record: Any) -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        handler(batch(message(1), message(2)), LambdaContext())
    assert [span.name for span in tracer.spans] == ["process orders", "sqs.batch", "process orders"]


def test_sources_without_partial_failures_fail_as_a_whole(load_event: Callable[[str], Any]) -> None:
    tracer = recording_tracer()
    event = load_event("snsEvent.json")
    event["Records"] *= 2

    @tracer.batch_handler
    def handler(record: Any) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        handler(event, LambdaContext())
    assert tracer.spans[-1].status.status_code == 2


def firehose(*data: object) -> dict[str, Any]:
    return {
        "invocationId": "i",
        "deliveryStreamArn": "arn:aws:firehose:eu-west-1:123456789012:deliverystream/orders",
        "region": "eu-west-1",
        "records": [
            {
                "recordId": f"r{number}",
                "approximateArrivalTimestamp": 1700000000000,
                "data": base64.b64encode(json.dumps(each).encode()).decode(),
            }
            for number, each in enumerate(data, 1)
        ],
    }


def transform(record: Any) -> Any:
    order = json.loads(base64.b64decode(record["data"]))
    return {
        "bytes": b"\xff\x00", "text": "\u00e5\n", "json": {"n": order}, "list": [order], "same": None,
        "drop": {"result": "Dropped"}, "own": {"result": "Ok", "data": "b3du", "metadata": {"k": "v"}},
        "refuse": {"result": "ProcessingFailed"}, "odd": {1, 2}, "raise": None,
    }[order] if order != "raise" else 1 / 0  # fmt: skip


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_transformation_of_firehose_is_answered_in_its_own_form(
    asynchronous: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    tracer = recording_tracer()

    async def transform_soon(record: Any) -> Any:
        return transform(record)

    handler = tracer.batch_handler(transform_soon if asynchronous else transform)
    words = ["bytes", "text", "json", "list", "same", "drop", "own", "refuse", "odd", "raise"]
    event = firehose(*words)
    answered = handler(event, LambdaContext())
    assert [each["recordId"] for each in answered["records"]] == [f"r{n}" for n in range(1, 11)]
    results = dict(zip(words, answered["records"], strict=True))
    assert {word for word in words if results[word]["result"] == "ProcessingFailed"} == {
        "refuse", "odd", "raise",
    }  # fmt: skip
    assert results["drop"]["result"] == "Dropped"
    data = {word: base64.b64decode(each["data"]) for word, each in results.items()}
    assert (data["bytes"], data["text"]) == (b"\xff\x00", "\u00e5\n".encode())
    assert (data["json"], data["list"]) == (b'{"n": "json"}', b'["list"]')
    assert data["own"] == b"own"
    assert results["own"]["metadata"] == {"k": "v"}
    for word in ("same", "drop", "refuse", "odd", "raise"):
        assert data[word] == json.dumps(word).encode(), "as it came"
    json.dumps(answered)
    *processed, totals, root = tracer.spans
    failed = {span.attributes["messaging.message.id"] for span in processed if span.status.status_code == 2}
    assert failed == {"r8", "r9", "r10"}
    assert root.attributes["lambent.batch.failed"] == totals.attributes["lambent.batch.failed"] == 3
    assert root.attributes["lambent.batch.dropped"] == 1
    assert totals.attributes["lambent.batch.succeeded"] == 7
    assert "record r10 failed: ZeroDivisionError" in capsys.readouterr().err


def test_a_transformation_is_answered_with_tracing_switched_off() -> None:
    handler = lambent.init(disabled=True).batch_handler(transform)
    answered = handler(firehose("text", "raise", "refuse"), None)
    assert [each["result"] for each in answered["records"]] == ["Ok", "ProcessingFailed", "ProcessingFailed"]


def test_a_firehose_without_its_stream_fails_as_a_whole() -> None:
    """A list of records that Firehose did not hand over has nobody to answer."""
    tracer = recording_tracer()

    @tracer.batch_handler
    def handler(record: Any) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        handler({"Records": firehose(1)["records"]}, LambdaContext())


def shuffled_kinesis(load_event: Callable[[str], Any]) -> Any:
    event = load_event("kinesisStreamEvent.json")
    event["Records"] = [copy.deepcopy(event["Records"][0]) for _ in range(3)]
    for number, record in enumerate(event["Records"], 1):
        record["kinesis"]["sequenceNumber"] = f"s{number}"
        data = json.dumps({"n": number, "traceparent": sender(number)}).encode()
        record["kinesis"]["data"] = base64.b64encode(data).decode()
    return event


def changes(load_event: Callable[[str], Any]) -> Any:
    event = load_event("dynamoStreamEvent.json")
    event["Records"] = [copy.deepcopy(event["Records"][0]) for _ in range(3)]
    for number, record in enumerate(event["Records"], 1):
        record["dynamodb"]["SequenceNumber"] = f"s{number}"
        record["dynamodb"]["NewImage"]["traceparent"] = {"S": sender(number)}
    return event


def kafka(load_event: Callable[[str], Any]) -> Any:
    event = load_event("kafkaEventMsk.json")
    topic, (first, *_) = next(iter(event["records"].items()))
    event["records"] = {topic: [copy.deepcopy(first) for _ in range(3)]}
    for number, record in enumerate(event["records"][topic], 1):
        record["offset"] = number
        record["headers"] = [{"traceparent": list(sender(number).encode())}]
    return event


def notifications(load_event: Callable[[str], Any]) -> Any:
    event = load_event("snsEvent.json")
    event["Records"] = [copy.deepcopy(event["Records"][0]) for _ in range(3)]
    for number, record in enumerate(event["Records"], 1):
        record["Sns"]["MessageAttributes"] = {"traceparent": {"Type": "String", "Value": sender(number)}}
    return event


@pytest.mark.parametrize("make", [shuffled_kinesis, changes, kafka, notifications])
def test_every_kind_of_batch(make: Any, load_event: Callable[[str], Any]) -> None:
    tracer = recording_tracer()
    event = make(load_event)
    process_all(tracer, event)
    *processed, totals, root = tracer.spans
    assert [span.context.trace_id for span in processed] == [1, 2, 3]
    assert {span.kind.name for span in processed} == {"CONSUMER"}
    assert [linked(span) for span in processed] == [[root.context.trace_id]] * 3
    assert [span.attributes["messaging.batch.message_count"] for span in processed] == [3, 3, 3]
    assert all(span.attributes["lambent.message.queue_delay"] >= 0 for span in processed)  # type: ignore[operator]  # a number
    assert linked(root) == linked(totals) == [1, 2, 3]
    assert totals.name.endswith(".batch")


def test_every_sample_with_records(event_name: str, load_event: Callable[[str], Any]) -> None:
    event = load_event(event_name)
    expected = list(triggers.records(event))
    tracer = recording_tracer()
    handled: list[Any] = []
    process_all(tracer, event, handled.append)
    if expected:
        assert [id(each) for each in handled] == [id(each.raw) for each in expected]
        *processed, totals, _ = tracer.spans
        assert [span.name for span in processed] == [each.name for each in expected]
        assert totals.attributes["lambent.batch.succeeded"] == len(expected)


@pytest.mark.parametrize("make", [shuffled_kinesis, changes])
def test_a_shard_stops_at_the_first(make: Any, load_event: Callable[[str], Any]) -> None:
    tracer = recording_tracer()
    count = 0

    @tracer.batch_handler
    def handler(record: Any) -> None:
        nonlocal count
        count += 1
        if count == 2:
            raise ValueError("no")

    assert handler(make(load_event), LambdaContext()) == {
        "batchItemFailures": [{"itemIdentifier": "s2"}, {"itemIdentifier": "s3"}]
    }
    assert count == 2


def test_async_record_functions_run_at_once_and_keep_their_spans() -> None:
    tracer = recording_tracer()
    together: list[str] = []
    all_there = asyncio.Event()

    @tracer.batch_handler
    async def handler(record: Any) -> None:
        together.append(record["messageId"])
        if len(together) == 3:
            all_there.set()
        await asyncio.wait_for(all_there.wait(), 20)
        current = lambent.current_span()
        assert current is not None
        current.set_attribute("mine", record["messageId"])
        if record["messageId"] == "m2":
            raise ValueError("bad")

    event = batch(*(message(n, sender(n)) for n in range(1, 4)))
    assert handler(event, LambdaContext()) == answer(2)
    for span in by_name(tracer, "process orders")[:3]:
        assert span.attributes["mine"] == span.attributes["messaging.message.id"]
        assert span.context.trace_id == int(str(span.attributes["mine"])[1:])
    together.clear()
    all_there.clear()
    assert handler(event, LambdaContext()) == answer(2), "in the same loop, once more"


def test_async_and_in_order() -> None:
    tracer = recording_tracer()
    handled: list[str] = []

    @tracer.batch_handler
    async def handler(record: Any) -> None:
        await asyncio.sleep(0)
        handled.append(record["messageId"])
        if record["messageId"] == "m2":
            raise ValueError("bad")

    assert handler(fifo(3), LambdaContext()) == answer(2, 3)
    assert handled == ["m1", "m2"]
    assert [span.status.status_code for span in by_name(tracer, "process orders.fifo")] == [0, 2, 0]


async def test_async_where_a_loop_runs() -> None:
    tracer = recording_tracer()

    @tracer.batch_handler
    async def handler(record: Any) -> None:
        await asyncio.sleep(0)

    assert await handler(batch(message(1)), LambdaContext()) == answer()
    assert [span.name for span in tracer.spans] == ["process orders", "sqs.batch", "process orders"]


def test_switched_off_it_answers_all_the_same() -> None:
    tracer = lambent.init(disabled=True)
    function, handled = failing(1)
    assert tracer.batch_handler(function)(batch(message(1), message(2)), None) == answer(1)

    @tracer.batch_handler()
    async def handler(record: Any) -> None:
        function(record)

    assert handler(batch(message(1), message(2)), None) == answer(1)
    for record in tracer.records(batch(message(3))):
        with tracer.process(record) as span:
            span.set_attribute("a", 1)
            function(record)
    assert handled == ["m1", "m2", "m1", "m2", "m3"]


def test_records_in_threads() -> None:
    """A thread does not see its handler's context: what it does with a record belongs to the batch."""
    tracer = recording_tracer()
    event = batch(message(1, sender(1)), message(2, sender(2)), message(3))
    submitted = threading.Event()

    def work(record: dict[str, Any]) -> None:
        assert submitted.wait(30)
        with tracer.process(record):
            if record["messageId"] == "m2":
                raise ValueError

    @tracer.handler
    def handler(event: Any, context: Any) -> None:
        with ThreadPoolExecutor(3) as pool:
            futures = [pool.submit(work, record) for record in tracer.records(event)]
            submitted.set()  # the loop is over before the first record is begun
            wait(futures)

    handler(event, LambdaContext())
    *each, totals, invocation = tracer.spans
    by_id = {span.attributes["messaging.message.id"]: span for span in each}
    assert [by_id[f"m{number}"].attributes["messaging.batch.message_count"] for number in (1, 2, 3)] == [
        3,
        3,
        3,
    ]
    assert [by_id[name].links[0].context.span_id for name in ("m1", "m2")] == [invocation.context.span_id] * 2
    assert by_id["m1"].context.trace_id == 1
    assert by_id["m3"].parent == invocation.context
    counts = [totals.attributes[f"lambent.batch.{what}"] for what in ("succeeded", "failed", "unprocessed")]
    assert counts == [2, 1, 0]
    assert totals.parent == invocation.context
    assert not batches._of_raw


def test_records_that_nobody_processes() -> None:
    tracer = recording_tracer()
    event = batch(message(1), message(2))

    @tracer.handler
    def handler(event: Any, context: Any) -> None:
        for _ in range(2):
            for record in tracer.records(event):
                if record["messageId"] == "m1":
                    with tracer.process(record):
                        pass

    handler(event, LambdaContext())
    totals = [span for span in tracer.spans if span.name == "sqs.batch"]
    assert [span.attributes["lambent.batch.unprocessed"] for span in totals] == [1, 1]
    for _ in range(2):  # without an invocation, there is no end of it to wait for
        list(tracer.records(event))
        assert tracer.spans[-1].attributes["lambent.batch.unprocessed"] == 2
    assert not batches._of_raw


def test_what_failed_says_why() -> None:
    tracer = recording_tracer()

    @tracer.handler
    def handler(event: Any, context: Any) -> None:
        for record in tracer.records(event):
            with tracer.process(record):
                raise json.JSONDecodeError("no", "", 0)

    with pytest.raises(ValueError, match="no"):
        handler(batch(message(1, sender(1))), LambdaContext())
    by_name = {span.name: span for span in tracer.spans}
    assert {span.attributes.get("error.type") for span in tracer.spans} == {"JSONDecodeError", None}
    assert "error.type" not in by_name["sqs.batch"].attributes


def test_a_whole_event_has_the_sender_of_its_one_record() -> None:
    one = batch(message(1, sender(1)))
    found = lambent.extract(one)
    assert found is not None
    assert found.trace_id == 1
    assert lambent.extract(batch(message(1, sender(1)), message(2, sender(2)))) is None


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_partition_does_not_wait_for_another(asynchronous: bool, load_event: Callable[[str], Any]) -> None:
    event = kafka(load_event)
    ((topic, items),) = event["records"].items()
    name = items[0]["topic"]
    event["records"] = {topic: items, f"{name}-7": [{**each, "partition": 7} for each in items]}
    tracer = recording_tracer()
    handled = []

    def function(record: Any) -> None:
        handled.append((record["partition"], record["offset"]))
        if record["offset"] == 2 and record["partition"] != 7:
            raise ValueError

    async def coroutine(record: Any) -> None:
        function(record)

    first = items[0]["partition"]
    response = tracer.batch_handler(coroutine if asynchronous else function)(event, LambdaContext())
    failed = [{"partition": f"{name}-{first}", "offset": offset} for offset in (2, 3)]
    assert response == {"batchItemFailures": [{"itemIdentifier": each} for each in failed]}
    assert handled == [(first, 1), (first, 2), (7, 1), (7, 2), (7, 3)]


def test_the_data_classes_of_powertools() -> None:
    from aws_lambda_powertools.utilities.data_classes import SQSEvent

    tracer = recording_tracer()

    @tracer.handler
    def handler(event: Any, context: Any) -> None:
        for _ in tracer.records(event):
            pass
        for record in event.records:
            with tracer.process(record) as span:
                span.set_attribute("seen", record.message_id)

    handler(SQSEvent(batch(message(1, sender(1)), message(2, sender(2)))), LambdaContext())
    *processed, totals, root = tracer.spans
    assert [span.context.trace_id for span in processed] == linked(root) == [1, 2]
    assert [span.attributes["seen"] for span in processed] == ["m1", "m2"]
    assert totals.attributes["lambent.batch.succeeded"] == 2


def test_an_invocation_within_the_handling_of_a_record() -> None:
    tracer = recording_tracer()

    @tracer.handler
    def inner(event: Any, context: Any) -> None:
        for record in tracer.records(event):
            with tracer.process(record):
                pass

    @tracer.handler
    def outer(event: Any, context: Any) -> None:
        for record in tracer.records(event):
            with tracer.process(record):
                inner(batch(message(7)), LambdaContext())

    outer(batch(message(1), message(2)), LambdaContext())
    totals = by_name(tracer, "sqs.batch")
    assert [span.attributes["lambent.batch.succeeded"] for span in totals] == [1, 1, 2]
