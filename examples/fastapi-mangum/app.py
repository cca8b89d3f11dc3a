"""A FastAPI application in Lambda by way of Mangum, traced by lambent.

FastAPI makes spans of its own through OpenTelemetry's API: they land in the invocation's trace. Coroutines,
tasks, background tasks and the threads in which FastAPI runs plain functions all see their span.
"""

import asyncio
from typing import Annotated

from fastapi import BackgroundTasks, FastAPI, HTTPException
from mangum import Mangum
from pydantic import BaseModel, Field

import lambent

tracer = lambent.init(service_name="fastapi-orders")

ORDERS = {1001: {"id": 1001, "item": "book", "quantity": 2}}
PRICES = {"book": 12, "lamp": 40}


app = FastAPI(title="orders")


async def in_invocation(scope, receive, send):
    """Serve a request below the invocation's span, as if a proxy had passed it on.

    API Gateway sends everything to one function: which route it took is FastAPI's to know, and names the
    invocation's span. FastAPI takes the context from the headers, where its caller's still is.
    """
    span = lambent.current_span()
    carrier = {}
    lambent.inject(carrier)
    ours = [(name.encode(), value.encode()) for name, value in carrier.items()]
    scope["headers"] = [pair for pair in scope["headers"] if pair[0].decode() not in carrier] + ours
    try:
        await app(scope, receive, send)
    finally:
        route = scope.get("route")
        if route is not None:
            span.update_name(f"{scope['method']} {route.path}")
            span.set_attribute("http.route", route.path)


class Order(BaseModel):
    """What is ordered."""

    item: str
    quantity: Annotated[int, Field(gt=0)]


async def price_of(item):
    with tracer.trace("look up price", attributes={"order.item": item}):
        await asyncio.sleep(0.01)
        return PRICES[item]


async def stock_of(item):
    with tracer.trace("look up stock", attributes={"order.item": item}):
        await asyncio.sleep(0.02)
        return 5


@app.get("/orders/{number}")
def get_order(number: int):
    """Return an order. No coroutine: FastAPI runs it in a thread."""
    with tracer.trace("load order", attributes={"order.id": number}) as span:
        order = ORDERS.get(number)
        span.set_attribute("order.found", order is not None)
    if order is None:
        raise HTTPException(404, f"there is no order {number}")
    return order


@app.post("/orders", status_code=201)
async def post_order(order: Order, background: BackgroundTasks):
    """Take an order, looking up its price and the stock at the same time."""
    async with asyncio.TaskGroup() as group:
        price = group.create_task(price_of(order.item))
        stock = group.create_task(stock_of(order.item))
    background.add_task(confirm, order)
    total = price.result() * order.quantity
    return {"item": order.item, "total": total, "in_stock": stock.result() >= order.quantity}


def confirm(order):
    """Run after the response is made; in Lambda that is still before it is sent."""
    with tracer.trace("send confirmation", kind=lambent.SpanKind.PRODUCER) as span:
        span.set_attribute("order.quantity", order.quantity)


handler = tracer.handler(Mangum(in_invocation, lifespan="off"))
