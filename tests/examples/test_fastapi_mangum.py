"""The example `fastapi-mangum`, run in the lab: its answers, its traces, and what FastAPI adds to them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from lambent.testing import Expected, assert_trace, expect

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.examples.conftest import Run

    from lambent_lab.service import Result

    RootSays = Callable[..., dict[str, Any]]

NAME = "fastapi-mangum"


def trace(
    result: Result, says: RootSays, method: str, path: str, status: int, *children: Expected, route: str = ""
) -> Expected:
    """The invocation, the request as FastAPI sees it, and what happened in it."""
    request = {
        "http.request.method": method,
        "http.route": route or path,
        "http.response.status_code": status,
        "url.path": path,
    }
    ends: dict[str, Any] = {"status": "ERROR" if status >= 500 else "UNSET", "events": []}
    errors = [{"error.type": kind} if status >= 500 else {} for kind in ("500", "ExceptionGroup")]
    theirs = {
        "network.protocol.version": "1.1",
        "server.address": "shop.execute-api.eu-west-1.amazonaws.com",
        "server.port": 443,
        "url.scheme": "https",
    }
    return expect(
        f"{method} {route or path}",
        expect(
            f"{method} {route or path}",
            *children,
            attributes={**request, **theirs, **errors[1]},
            kind="SERVER",
            scope="fastapi",
            **ends,
        ),
        attributes={**says(result), **request, **errors[0]},
        kind="SERVER",
        scope="lambent",
        links=[],
        **ends,
    )


def fastapi(what: str, function: str, *children: Expected, **more: Any) -> Expected:
    attributes = {"code.function.name": f"app.{function}", **more.pop("attributes", {})}
    return expect(
        f"fastapi.{what}", *children, attributes=attributes, kind="INTERNAL", scope="fastapi", **more
    )


def test_a_route_in_a_thread(run: Run, root_says: RootSays) -> None:
    result = run(NAME, "get-order")
    assert json.loads(result.payload["body"])["item"] == "book"  # type: ignore[arg-type,call-overload,index]  # a text
    load = expect("load order", attributes={"order.id": 1001, "order.found": True}, scope="lambent")
    assert_trace(
        result,
        trace(
            result,
            root_says,
            *("GET", "/orders/1001", 200),
            fastapi("dependencies", "get_order"),
            fastapi("endpoint", "get_order", load, status="UNSET"),
            fastapi("serialization", "get_order"),
            route="/orders/{number}",
        ),
        exact=True,
    )
    root = next(span for span in result.spans if "faas.trigger" in span.attributes)
    assert (root.trace_id, root.parent_span_id) == ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
    assert {span.trace_id for span in result.spans} == {root.trace_id}
    assert root.service == "fastapi-orders"


def test_what_is_not_there(run: Run, root_says: RootSays) -> None:
    result = run(NAME, "unknown-order")
    load = expect("load order", attributes={"order.id": 7, "order.found": False}, status="UNSET", events=[])
    assert_trace(
        result,
        trace(
            result,
            root_says,
            *("GET", "/orders/7", 404),
            fastapi("dependencies", "get_order"),
            fastapi("endpoint", "get_order", load),
            route="/orders/{number}",
        ),
        exact=True,
    )


def test_tasks_and_a_background_task(run: Run, root_says: RootSays) -> None:
    result = run(NAME, "post-order")
    body = json.loads(result.payload["body"])  # type: ignore[arg-type,call-overload,index]  # a text
    assert body == {"item": "lamp", "total": 80, "in_stock": True}
    price = expect("look up price", attributes={"order.item": "lamp"}, seconds=lambda s: s >= 0.01)
    stock = expect("look up stock", attributes={"order.item": "lamp"}, seconds=lambda s: s >= 0.02)
    confirm = expect("send confirmation", attributes={"order.quantity": 2}, kind="PRODUCER")
    assert_trace(
        result,
        trace(
            result,
            root_says,
            *("POST", "/orders", 201),
            fastapi("dependencies", "post_order"),
            fastapi("endpoint", "post_order", price, stock),
            fastapi("serialization", "post_order"),
            fastapi("background_task", "confirm", confirm),
        ),
        exact=True,
    )


def test_a_body_that_is_refused(run: Run, root_says: RootSays) -> None:
    result = run(NAME, "wrong-order")
    inner = fastapi("dependencies", "post_order", status="UNSET")
    assert_trace(result, trace(result, root_says, "POST", "/orders", 422, inner), exact=True)


def test_an_exception_of_the_application(run: Run, root_says: RootSays) -> None:
    result = run(NAME, "unknown-item")
    price = expect(
        "look up price",
        attributes={"order.item": "desk"},
        status=("ERROR", "KeyError: 'desk'"),
        events=[("exception", {"exception.type": "KeyError"})],
    )
    stock = expect(
        "look up stock",
        attributes={"order.item": "desk"},
        status=("ERROR", re.compile("CancelledError")),
        events=["exception"],
    )
    failed: dict[str, Any] = {"attributes": {"error.type": "ExceptionGroup"}, "status": "ERROR"}
    assert_trace(
        result,
        trace(
            result,
            root_says,
            *("POST", "/orders", 500),
            fastapi("dependencies", "post_order"),
            fastapi("endpoint", "post_order", price, stock, **failed),
        ),
        exact=True,
    )


def test_each_invocation_has_a_trace_of_its_own(run: Run) -> None:
    first, second = run(NAME, "post-order"), run(NAME, "post-order")
    assert len({span.trace_id for span in first.spans}) == 1
    assert {span.trace_id for span in first.spans}.isdisjoint({span.trace_id for span in second.spans})
