"""The example `fastapi-mangum`, run in the lab: its answers and its whole traces."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from lambent.testing import assert_trace, expect

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.examples.conftest import Run

NAME = "fastapi-mangum"


def request(method: str, path: str, status: int, route: str) -> dict[str, Any]:
    return {
        "http.request.method": method,
        "url.path": path,
        "http.response.status_code": status,
        "http.route": route,
    }


def test_a_route_in_a_thread(run: Run, root_says: Callable[..., dict[str, Any]]) -> None:
    result = run(NAME, "get-order")
    assert result.payload["statusCode"] == 200  # type: ignore[call-overload,index]  # a mapping
    assert_trace(
        result,
        expect(
            "GET /orders/{number}",
            expect("load order", attributes={"order.id": 1001, "order.found": True}, kind="INTERNAL"),
            attributes={**root_says(result), **request("GET", "/orders/1001", 200, "/orders/{number}")},
            kind="SERVER",
            status="UNSET",
            events=[],
            links=[],
            scope="lambent",
        ),
        exact=True,
    )
    root = next(span for span in result.spans if span.kind == "SERVER")
    assert (root.trace_id, root.parent_span_id) == ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
    assert root.service == "fastapi-orders"


def test_what_is_not_there(run: Run, root_says: Callable[..., dict[str, Any]]) -> None:
    result = run(NAME, "unknown-order")
    assert_trace(
        result,
        expect(
            "GET /orders/{number}",
            expect("load order", attributes={"order.id": 7, "order.found": False}, status="UNSET", events=[]),
            attributes={**root_says(result), **request("GET", "/orders/7", 404, "/orders/{number}")},
            status="UNSET",
            events=[],
        ),
        exact=True,
    )


def test_tasks_and_a_background_task(run: Run, root_says: Callable[..., dict[str, Any]]) -> None:
    result = run(NAME, "post-order")
    body = json.loads(result.payload["body"])  # type: ignore[arg-type,call-overload,index]  # a text
    assert body == {"item": "lamp", "total": 80, "in_stock": True}
    assert_trace(
        result,
        expect(
            "POST /orders",
            expect("look up price", attributes={"order.item": "lamp"}, seconds=lambda s: s >= 0.01),
            expect("look up stock", attributes={"order.item": "lamp"}, seconds=lambda s: s >= 0.02),
            expect("send confirmation", attributes={"order.quantity": 2}, kind="PRODUCER"),
            attributes={**root_says(result), **request("POST", "/orders", 201, "/orders")},
            kind="SERVER",
            status="UNSET",
        ),
        exact=True,
    )


def test_a_body_that_is_refused(run: Run, root_says: Callable[..., dict[str, Any]]) -> None:
    result = run(NAME, "wrong-order")
    assert_trace(
        result,
        expect(
            "POST /orders",
            attributes={**root_says(result), **request("POST", "/orders", 422, "/orders")},
            status="UNSET",
            events=[],
        ),
        exact=True,
    )


def test_an_exception_of_the_application(run: Run, root_says: Callable[..., dict[str, Any]]) -> None:
    result = run(NAME, "unknown-item")
    assert result.payload["statusCode"] == 500  # type: ignore[call-overload,index]  # a mapping
    assert_trace(
        result,
        expect(
            "POST /orders",
            expect(
                "look up price",
                attributes={"order.item": "desk"},
                status=("ERROR", "KeyError: 'desk'"),
                events=[("exception", {"exception.type": "KeyError"})],
            ),
            expect(
                "look up stock",
                attributes={"order.item": "desk"},
                status=("ERROR", re.compile("CancelledError")),
                events=["exception"],
            ),
            attributes={
                **root_says(result),
                **request("POST", "/orders", 500, "/orders"),
                "error.type": "500",
            },
            status="ERROR",
        ),
        exact=True,
    )


def test_each_invocation_has_a_trace_of_its_own(run: Run) -> None:
    first, second = run(NAME, "post-order"), run(NAME, "post-order")
    assert len({span.trace_id for span in first.spans}) == 1
    assert {span.trace_id for span in first.spans}.isdisjoint({span.trace_id for span in second.spans})
