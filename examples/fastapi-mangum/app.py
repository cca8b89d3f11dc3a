"""A FastAPI application in Lambda by way of Mangum, traced by lambent.

API Gateway sends everything to one function, so the route is FastAPI's to know: a dependency names the root
span by it. Coroutines, tasks and the threads in which FastAPI runs plain functions all see their span.
"""

import asyncio
from typing import Annotated

from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, Request
from mangum import Mangum
from pydantic import BaseModel, Field

import lambent

tracer = lambent.init(service_name="fastapi-orders")

ORDERS = {1001: {"id": 1001, "item": "book", "quantity": 2}}
PRICES = {"book": 12, "lamp": 40}


async def name_by_route(request: Request):
    span = lambent.current_span()
    route = request.scope["route"].path
    span.update_name(f"{request.method} {route}")
    span.set_attribute("http.route", route)


app = FastAPI(title="orders", dependencies=[Depends(name_by_route)])


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


handler = tracer.handler(Mangum(app, lifespan="off"))
