"""Context between functions in the lab, where awslambdaric hands on what Lambda gives.

X-Ray's header, the client context, and what one function injects for the next.
"""

from __future__ import annotations

import json
from base64 import b64decode
from typing import TYPE_CHECKING, Any

import pytest

from lambent_lab import Lab

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

APP = """
import lambent
from lambent import carriers
from lambent.propagation import baggage

tracer = lambent.init(service_name="sender")

@tracer.handler
def send(event, context):
    token = baggage.attach({"tenant": event["tenant"]})
    try:
        return {
            "headers": lambent.inject({}),
            "attributes": carriers.message_attributes(),
            "detail": carriers.payload({"order": 7}),
            "client": carriers.client_context(),
            "kafka": [[name, value.decode()] for name, value in carriers.record_headers()],
        }
    finally:
        baggage.detach(token)

@tracer.handler
def receive(event, context):
    return dict(baggage.current())
"""
ROOT, PARENT = "1-5759e988-bd862e3fe1be46a994272793", "53995c3f42cd8ad8"
TRACE = ROOT[2:].replace("-", "")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as opened:
        yield opened


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("code")
    (folder / "app.py").write_text(APP)
    return folder


def test_xrays_header_of_each_invocation(lab: Lab, code: Path) -> None:
    env = {"OTEL_PROPAGATORS": "tracecontext,baggage,xray-lambda"}
    function = lab.function("xray", code=code, handler="app.receive", memory=512, env=env)
    for sampled in ("1", "0"):
        result = function.invoke({}, trace_header=f"Root={ROOT};Parent={PARENT};Sampled={sampled}")
        assert result.ok, result.log
        (span,) = result.spans
        assert (span.trace_id, span.parent_span_id) == (TRACE, PARENT)
    (span,) = function.invoke({}).spans
    assert span.trace_id != TRACE, "the header is that of the invocation"
    unread = lab.function("no-xray", code=code, handler="app.receive", memory=512)
    (span,) = unread.invoke({}, trace_header=f"Root={ROOT};Parent={PARENT};Sampled=1").spans
    assert span.parent_span_id == ""


def messages(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return what SQS makes of two messages with these attributes."""
    record = {
        "messageId": "m",
        "body": "{}",
        "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1763740800000"},
        "messageAttributes": {
            name: {"stringValue": value["StringValue"], "dataType": value["DataType"]}
            for name, value in attributes.items()
        },
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:orders",
    }
    return {"Records": [record]}


def kafka(headers: list[list[str]]) -> dict[str, Any]:
    record = {
        "topic": "orders", "partition": 0, "offset": 1, "timestamp": 1763740800000,
        "timestampType": "CREATE_TIME", "value": "e30=",
        "headers": [{name: list(value.encode())} for name, value in headers],
    }  # fmt: skip
    return {"eventSource": "aws:kafka", "eventSourceArn": "arn", "records": {"orders-0": [record]}}


def test_what_one_function_injects_the_next_continues(lab: Lab, code: Path) -> None:
    sender = lab.function("sender", code=code, handler="app.send", memory=512)
    receiver = lab.function("receiver", code=code, handler="app.receive", memory=512)
    sent = sender.invoke({"tenant": "Zoë & Co"})
    assert sent.ok, sent.log
    (origin,) = sent.spans
    payload: Any = sent.payload
    http = {"requestContext": {"http": {"method": "GET"}}, "rawPath": "/", "headers": payload["headers"]}
    eventbridge = {
        "source": "shop",
        "detail-type": "order",
        "detail": payload["detail"],
        "id": "e",
        "resources": [],
    }
    client = json.loads(b64decode(payload["client"]))
    for event, client_context in [
        (http, None),
        (messages(payload["attributes"]), None),
        (eventbridge, None),
        (kafka(payload["kafka"]), None),
        ({}, client),
        ({}, {"w3c": payload["headers"]}),
    ]:
        result = receiver.invoke(event, client_context=client_context)
        assert result.ok, result.log
        (span,) = result.spans
        assert (span.trace_id, span.parent_span_id) == (origin.trace_id, origin.span_id), event
        assert result.payload == {"tenant": "Zoë & Co"}
