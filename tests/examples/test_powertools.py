"""The example `powertools`, run in the lab: its answers, its whole traces, and its log lines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lambent.testing import assert_trace, expect

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.examples.conftest import Run

    from lambent_lab.service import Result

NAME = "powertools"


def lines(result: Result) -> list[dict[str, Any]]:
    """Powertools' lines: those of its Logger have a level, those of its Metrics `_aws`."""
    found = [json.loads(line) for line in result.log.splitlines() if line.startswith("{")]
    return [line for line in found if "level" in line or "_aws" in line]


def test_a_route(run: Run, root_says: Callable[..., dict[str, Any]]) -> None:
    result = run(NAME, "get-order")
    assert_trace(
        result,
        expect(
            "GET /orders/{number}",
            expect("load order", attributes={"order.id": "1001", "order.found": True}, events=[]),
            attributes={
                **root_says(result),
                "http.request.method": "GET",
                "url.path": "/orders/1001",
                "http.route": "/orders/{number}",
                "http.response.status_code": 200,
            },
            kind="SERVER",
            status="UNSET",
            events=[],
            scope="lambent",
        ),
        exact=True,
    )
    root, child = sorted(result.spans, key=lambda span: span.name)
    assert (root.trace_id, root.parent_span_id) == ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
    said, metric = lines(result)
    assert (said["message"], said["order"], said["service"]) == (
        "order looked up",
        "1001",
        "powertools-orders",
    )
    assert (said["trace_id"], said["span_id"]) == (child.trace_id, child.span_id)
    assert said["faas.invocation_id"] == said["function_request_id"] == result.request_id
    assert metric["OrdersRead"] == [1.0]


def test_what_is_not_there(run: Run, root_says: Callable[..., dict[str, Any]]) -> None:
    result = run(NAME, "unknown-order")
    assert_trace(
        result,
        expect(
            "GET /orders/{number}",
            expect("load order", attributes={"order.id": "7", "order.found": False}, status="UNSET"),
            attributes={
                **root_says(result),
                "http.request.method": "GET",
                "url.path": "/orders/7",
                "http.route": "/orders/{number}",
                "http.response.status_code": 404,
            },
            status="UNSET",
            events=[],
        ),
        exact=True,
    )


def test_an_order_that_is_posted(run: Run, root_says: Callable[..., dict[str, Any]]) -> None:
    result = run(NAME, "post-order")
    assert result.payload["statusCode"] == 201  # type: ignore[call-overload,index]  # a mapping
    assert_trace(
        result,
        expect(
            "POST /orders",
            expect("save order", attributes={"order.id": "1002", "order.quantity": 1}),
            attributes={
                **root_says(result),
                "http.request.method": "POST",
                "url.path": "/orders",
                "http.route": "/orders",
                "http.response.status_code": 201,
            },
        ),
        exact=True,
    )


def test_a_batch_of_which_one_message_fails(run: Run) -> None:
    result = run(NAME, "batch", handler="app.consumer")
    messages = [f"00000000-0000-4000-8000-00000000000{number}" for number in (1, 2)]
    assert result.payload == {"batchItemFailures": [{"itemIdentifier": messages[1]}]}
    senders = [("1" * 32, "a" * 16), ("2" * 32, "b" * 16)]
    invocation = next(span for span in result.spans if "faas.trigger" in span.attributes)
    queue = {
        "messaging.system": "aws_sqs",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "orders",
    }
    message = {
        **queue,
        "messaging.message.body.size": 45,
        "aws.sqs.queue.url": "https://sqs.eu-west-1.amazonaws.com/123456789012/orders",
        "lambent.message.redelivery_count": 0,
        "lambent.message.queue_delay": ...,
    }
    wrong: dict[str, Any] = {
        "status": ("ERROR", "ValueError: order 1004 is of 0"),
        "events": [("exception", {"exception.type": "ValueError"})],
    }
    assert_trace(
        result,
        expect(
            "process orders",
            attributes={
                **queue,
                "faas.trigger": "pubsub",
                "faas.coldstart": result.cold,
                "faas.invocation_id": result.request_id,
                "cloud.resource_id": ...,
                "cloud.account.id": "123456789012",
                "lambent.trigger": "sqs",
                "messaging.batch.message_count": 2,
                "lambent.batch.failed": 1,
            },
            kind="CONSUMER",
            status="UNSET",
            links=senders,
        ),
        expect(
            "process orders",
            expect("save order", attributes={"order.id": "1003", "order.quantity": 10}),
            attributes={**message, "messaging.message.id": messages[0]},
            kind="CONSUMER",
            status="UNSET",
            links=[invocation],
        ),
        expect(
            "process orders",
            expect("save order", attributes={"order.id": "1004", "order.quantity": 0}, **wrong),
            attributes={**message, "messaging.message.id": messages[1], "error.type": "ValueError"},
            kind="CONSUMER",
            links=[invocation],
            **wrong,
        ),
        exact=True,
    )
    taken = [span for span in result.spans if span.kind == "CONSUMER" and span is not invocation]
    assert [(span.trace_id, span.parent_span_id) for span in taken] == senders
    said = lines(result)[0]
    assert (said["message"], said["order"], said["trace_id"]) == ("order saved", "1003", "1" * 32)
    assert said["faas.invocation_id"] == result.request_id
