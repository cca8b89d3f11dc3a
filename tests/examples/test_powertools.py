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
    failed = "00000000-0000-4000-8000-000000000002"
    assert result.payload == {"batchItemFailures": [{"itemIdentifier": failed}]}
    print(__import__("lambent.testing").testing.show_trace(result))
    raise AssertionError
