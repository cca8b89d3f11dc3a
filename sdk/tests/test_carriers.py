"""Context into what is sent and out of what came, as a function's code does it: through `lambent`."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.stub import ANY, Stubber
from hypothesis import given
from hypothesis import strategies as st

import lambent
from lambent import carriers
from lambent.context import NonRecordingSpan, SpanContext
from lambent.propagation import baggage, flat
from lambent.testing import LambdaContext, recording_tracer

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMATS = ["tracecontext", "b3", "b3multi", "xray", "xray-lambda"]


def identity(context: SpanContext | None) -> tuple[int, int, int] | None:
    return None if context is None else (context.trace_id, context.span_id, int(context.trace_flags))


@pytest.fixture(autouse=True)
def no_baggage() -> Iterator[None]:
    token = baggage.attach({})
    yield
    baggage.detach(token)


@pytest.mark.parametrize("propagators", [*FORMATS, "b3,tracecontext,baggage", "xray,b3multi"])
def test_every_format_out_and_in(propagators: str) -> None:
    tracer = recording_tracer(propagators=propagators)
    lambent._default = tracer
    with tracer.trace("s") as span:
        for carrier in (
            lambent.inject({}),
            carriers.message_attributes(),
            carriers.record_headers(),
            carriers.payload({"a": 1}),
            carriers.payload('{"a": 1}'),
            carriers.payload(b'{"a": 1}'),
            carriers.client_context(),
        ):
            found = lambent.extract(carrier)
            assert identity(found) == identity(span.context), carrier
            assert found is not None
            assert found.is_remote
    assert lambent.inject({}) == {}


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.integers(0, 3), st.sampled_from(FORMATS))
def test_any_context_out_and_in(trace_id: int, span_id: int, flags: int, name: str) -> None:
    lambent._default = recording_tracer(propagators=name)
    context = SpanContext(trace_id, span_id, False, flags)
    found = lambent.extract(lambent.inject({}, context))
    kept = flags if name == "tracecontext" else flags & 1
    assert identity(found) == (trace_id, span_id, kept)
    lambent._default = None


def test_a_header_is_replaced_however_it_is_written() -> None:
    tracer = recording_tracer()
    with tracer.trace("s") as span:
        headers = lambent.inject({"Traceparent": "old", "BAGGAGE": "old=1", "Host": "x"})
    assert headers.keys() == {"traceparent", "BAGGAGE", "Host"}, "there is no baggage to write"
    assert identity(lambent.extract(headers)) == identity(span.context)


def test_another_span_than_the_current_one() -> None:
    tracer = recording_tracer(propagators="b3")
    other = tracer.start_span("other")
    with tracer.trace("s"):
        assert lambent.inject({}, other) == lambent.inject({}, other.context)
        assert identity(lambent.extract(lambent.inject({}, other))) == identity(other.context)
        unsampled = NonRecordingSpan(SpanContext(1, 2))
        assert lambent.inject({}, unsampled) == {"b3": f"{1:032x}-{2:016x}-0"}
    other.end()


def test_without_a_tracer_the_standard_formats() -> None:
    assert lambent.inject({}) == {}
    token = baggage.attach({"a": "1"})
    assert lambent.inject({}, SpanContext(1, 2, False, 1)) == {
        "traceparent": f"00-{1:032x}-{2:016x}-01",
        "baggage": "a=1",
    }
    baggage.detach(token)


def test_none_means_none() -> None:
    tracer = recording_tracer(propagators="none")
    token = baggage.attach({"a": "1"})
    with tracer.trace("s"):
        assert lambent.inject({}) == {}
    baggage.detach(token)


def test_a_tracer_that_is_switched_off() -> None:
    tracer = lambent.init(disabled=True)
    with tracer.trace("s"):
        assert lambent.inject({}) == {}


def test_baggage_travels() -> None:
    tracer = recording_tracer()
    token = baggage.attach({"user": "Zoë Doe", "tier": "a,b"})
    with tracer.trace("s"):
        for carrier in (lambent.inject({}), carriers.message_attributes(), carriers.client_context()):
            assert carriers.extract_baggage(carrier) == {"user": "Zoë Doe", "tier": "a,b"}
    baggage.detach(token)
    assert carriers.extract_baggage(None) == {}


# Where AWS's services carry it.


def test_message_attributes_are_what_sqs_and_sns_take() -> None:
    tracer = recording_tracer()
    own = {"kind": {"DataType": "String", "StringValue": "order"}}
    with tracer.trace("s") as span:
        attributes = carriers.message_attributes(own)
    assert own.keys() == {"kind"}
    assert attributes.keys() == {"kind", "traceparent"}
    for service, call, expected in (
        ("sqs", "send_message", {"QueueUrl": "https://q", "MessageBody": "b"}),
        ("sns", "publish", {"TopicArn": "arn:aws:sns:eu-west-1:123456789012:t", "Message": "m"}),
    ):
        client: Any = boto3.client(
            service, region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b"
        )
        with Stubber(client) as stub:
            # The stub checks what is sent against the service's own model.
            stub.add_response(call, {"MessageId": "1"}, {**expected, "MessageAttributes": ANY})
            getattr(client, call)(**expected, MessageAttributes=attributes)
        client.close()
    record = {
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:q",
        "messageAttributes": {
            name: {"stringValue": value["StringValue"], "dataType": "String"}
            for name, value in attributes.items()
        },
    }
    assert identity(lambent.extract(record)) == identity(span.context)


@pytest.mark.parametrize(
    ("taken", "written"),
    [
        (7, {"traceparent", "tracestate", "baggage"}),
        (8, {"traceparent", "tracestate"}),
        (9, {"traceparent"}),
        (10, set()),
    ],
)
def test_a_message_has_ten_attributes(
    taken: int, written: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    lambent._default = recording_tracer(propagators="baggage,tracecontext")
    parent = lambent.extract({"traceparent": f"00-{1:032x}-{2:016x}-01", "tracestate": "a=1"})
    token = baggage.attach({"a": "1"})
    own = {f"a{number}": {"DataType": "Number", "StringValue": "1"} for number in range(taken)}
    with lambent._default.start_span("s", context=parent):
        assert carriers.message_attributes(own).keys() == own.keys() | written
        _, value = own.popitem()
        replaced = carriers.message_attributes({**own, "TRACEPARENT": value})
        assert replaced.keys() >= own.keys() | {"traceparent"}
        assert "TRACEPARENT" not in replaced
    baggage.detach(token)
    assert ("has no room" in capsys.readouterr().err) == (taken > 7)


def test_several_headers_of_one_format_go_together() -> None:
    tracer = recording_tracer(propagators="b3multi")
    own = {f"a{number}": {"DataType": "Number", "StringValue": "1"} for number in range(8)}
    with tracer.trace("s"):
        assert carriers.message_attributes(own) == own


def test_message_system_attributes() -> None:
    tracer = recording_tracer()
    assert carriers.message_system_attributes() == {}
    with tracer.trace("s") as span:
        attributes = carriers.message_system_attributes()
    assert attributes.keys() == {"AWSTraceHeader"}
    lambent._default = recording_tracer(propagators="xray")
    assert identity(lambent.extract(attributes)) == identity(span.context)


@pytest.mark.parametrize("data", ["no JSON", "[1]", b"\xff", "1", ""])
def test_a_payload_that_is_no_object_is_left(data: Any) -> None:
    with recording_tracer().trace("s"):
        assert carriers.payload(data) is data


def test_a_detail_of_eventbridge() -> None:
    tracer = recording_tracer()
    detail = {"order": "1"}
    with tracer.trace("s") as span:
        sent = carriers.payload(detail)
    assert detail == {"order": "1"}
    assert sent["order"] == "1"
    assert identity(lambent.extract(sent)) == identity(span.context)


def test_kafka_headers_replace_those_of_before() -> None:
    tracer = recording_tracer()
    given = [("TraceParent", b"old"), ("key", b"\xff")]
    with tracer.trace("s") as span:
        headers = carriers.record_headers(iter(given))
    assert [name for name, _ in headers] == ["key", "traceparent"]
    as_lambda_has_them = [{name: list(value)} for name, value in headers]
    assert identity(lambent.extract(as_lambda_has_them)) == identity(span.context)


def test_a_client_context() -> None:
    tracer = recording_tracer()
    lambent._default = tracer
    given = {"client": {"app_title": "t"}, "custom": {"mine": "1"}, "env": {}}
    with tracer.trace("s") as span:
        encoded = carriers.client_context(given)
        assert carriers.client_context(carriers.client_context(given)) == encoded
    decoded = json.loads(b64decode(encoded))
    assert decoded["client"] == {"app_title": "t"}
    assert decoded["custom"].keys() == {"mine", "traceparent"}
    assert given["custom"] == {"mine": "1"}
    handler = tracer.handler(lambda event, context: lambent.extract(context))

    class Client:
        custom = decoded["custom"]

    context = LambdaContext(client_context=Client())
    assert identity(handler({}, context)) == identity(span.context)
    assert tracer.spans[-1].parent == SpanContext(span.context.trace_id, span.context.span_id, True, 1)


def test_a_client_context_has_little_room() -> None:
    tracer = recording_tracer()
    token = baggage.attach({"a": "x" * 3000})
    with tracer.trace("s"):
        assert json.loads(b64decode(carriers.client_context()))["custom"].keys() == {"traceparent"}
        full = {"custom": {"a": "x" * 2600}}
        assert json.loads(b64decode(carriers.client_context(full))) == full
    baggage.detach(token)


def test_whole_events_and_the_environment(load_event: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lambent.extract(load_event("apiGatewayProxyV2Event.json")) is None
    event = load_event("apiGatewayProxyV2Event.json")
    event["headers"]["TraceParent"] = f"00-{1:032x}-{2:016x}-01"
    assert identity(lambent.extract(event)) == (1, 2, 1)
    monkeypatch.setenv("_X_AMZN_TRACE_ID", f"Root=1-{1:08x}-{2:024x};Parent={3:016x};Sampled=0")
    assert lambent.extract({}) is None
    lambent._default = recording_tracer(propagators="tracecontext,xray-lambda")
    assert identity(lambent.extract({})) == (int(f"{1:08x}{2:024x}", 16), 3, 0)


def test_bytes_as_java_writes_them() -> None:
    assert flat({"Baggage": [107, 61, -61]}) == {"baggage": "k=\xc3"}
