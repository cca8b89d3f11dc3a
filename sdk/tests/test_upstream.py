"""The inferred span between an event's origin and its invocation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from lambent.testing import LambdaContext, recording_tracer
from lambent.wire import protobuf

if TYPE_CHECKING:
    from lambent.span import Span

FOLDER = Path(__file__).parent
TRACE = 0x0AF7651916CD43DD8448EB211C80319C
WEBSOCKET = "ws.execute-api.eu-west-1.amazonaws.com"
GATEWAY = "id.execute-api.us-east-1.amazonaws.com"
BUCKET = "lambda-artifacts-deafc19498e3f2df"
NOW = 1_700_000_030_000_000_000


def load(name: str) -> Any:
    path = FOLDER / "more_events" / f"{name}.json"
    return json.loads((path if path.exists() else FOLDER / "events" / path.name).read_text())


def invoke(event: object, *, now: int = NOW, **options: Any) -> list[Span]:
    tracer = recording_tracer(**{"upstream": True, "service_name": "orders-function", **options})
    tracer.fake_clock.now = now
    tracer.handler(lambda event, context: None)(event, LambdaContext())
    spans = list(tracer.spans)
    tracer.close()
    return spans


def service(span: Span) -> object:
    return span.resource.attributes["service.name"]


def test_off_by_default() -> None:
    assert len(invoke(load("sqsTraceparent"), upstream=False)) == 1


def test_the_time_in_a_queue() -> None:
    queue, root = invoke(load("sqsTraceparent"))
    assert (queue.name, queue.kind.name, service(queue)) == ("sqs orders", "PRODUCER", "orders")
    assert (queue.start_time, queue.end_time) == (1_700_000_000_000_000_000, NOW)
    assert queue.attributes["lambent.inferred"] is True
    assert root.parent is not None
    assert root.parent.span_id == queue.context.span_id
    assert root.context.trace_id == queue.context.trace_id
    assert service(root) == "orders-function"
    assert "lambent.inferred" not in root.attributes
    assert not any(name.startswith("faas.") for name in queue.resource.attributes)


@pytest.mark.parametrize(
    ("name", "now", "expected", "service_name", "start"),
    [
        ("apiGatewayWebSocketMessage", NOW, "MESSAGE placeOrder", WEBSOCKET, 1_700_000_000.0),
        ("apiGatewayProxyV2Event", 1_583_348_639, "POST", GATEWAY, 1_583_348_638.390),
        ("apiGatewayProxyEvent", 1_583_349_318, "GET /my/path", GATEWAY, 1_583_349_317.135),
        ("snsTraceparent", NOW, "sns orders", "orders", 1_700_000_000.0),
        ("eventBridgeCustom", NOW, "eventbridge com.example.shop", "com.example.shop", 1_700_000_000.0),
        ("kinesisTraceparent", 1_545_084_651, "kinesis lambda-stream", "lambda-stream", 1_545_084_650.987),
        ("s3Event", 1_567_539_448, f"s3 {BUCKET}", BUCKET, 1_567_539_447.192),
    ],
)
def test_sources(name: str, now: int, expected: str, service_name: str, start: float) -> None:
    now = now if now > 1 << 40 else now * 1_000_000_000
    above, root = invoke(load(name), now=now)
    assert above.name == expected
    assert service(above) == service_name
    assert above.start_time / 1e9 == pytest.approx(start, abs=1e-5)
    assert above.end_time == now
    assert root.parent is not None
    assert root.parent.span_id == above.context.span_id
    assert above.kind.name == ("SERVER" if root.attributes["faas.trigger"] == "http" else "PRODUCER")


def test_the_sender_stays_its_parent() -> None:
    above, root = invoke(load("eventBridgeCustom"))
    assert above.context.trace_id == root.context.trace_id == TRACE
    assert above.parent is not None
    assert above.parent.span_id == 0xB7AD6B7169203331


def test_a_clock_that_is_ahead_makes_no_negative_time() -> None:
    above, root = invoke(load("sqsTraceparent"), now=1_699_999_999_000_000_000)
    assert above.start_time == above.end_time == root.start_time


@pytest.mark.parametrize(
    "name", ["cognitoPreSignUpEvent", "albEvent", "sqsTraceparent", "stepFunctionsContext"]
)
def test_where_nothing_is_known_there_is_none(name: str) -> None:
    event = load(name)
    for record in event.get("Records", ()):
        record["attributes"] = None
    assert len(invoke(event)) == 1


def test_a_stamp_of_long_ago_is_none() -> None:
    assert len(invoke(load("s3EventDecodedKey"))) == 1  # 1970


def test_a_trace_that_is_not_sampled() -> None:
    event = load("eventBridgeCustom")
    event["detail"]["traceparent"] = f"00-{TRACE:032x}-{7:016x}-00"
    assert invoke(event) == []


def test_they_are_sent_under_their_own_resources() -> None:
    spans = [*invoke(load("sqsTraceparent")), *invoke(load("sqsTraceparent"))]
    request = ExportTraceServiceRequest.FromString(protobuf.encode(spans[:2]))
    names = {
        attribute.value.string_value: [span.name for scope in group.scope_spans for span in scope.spans]
        for group in request.resource_spans
        for attribute in group.resource.attributes
        if attribute.key == "service.name"
    }
    assert names == {"orders": ["sqs orders"], "orders-function": ["process orders"]}
