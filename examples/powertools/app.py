"""An HTTP API and an SQS consumer with Powertools for AWS Lambda, traced by lambent.

In use are its Logger, Metrics, event handler and batch processor; its own Tracer speaks to X-Ray's SDK and is
left out. Log lines carry the ids of the span they were written in, routes name the root span, and each record
of a batch is a span in its sender's trace.
"""

import json

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response

import lambent

tracer = lambent.init(service_name="powertools-orders", log_correlation=True)
logger = Logger(service="powertools-orders", level="INFO")
metrics = Metrics(namespace="orders", service="powertools-orders")
api = APIGatewayHttpResolver()
processor = BatchProcessor(event_type=EventType.SQS)

ORDERS = {"1001": {"id": "1001", "item": "book", "quantity": 2}}


def name_by_route(app, next_middleware):
    """Name the root span by the route: API Gateway knows only its own, and may have a single one for all."""
    span = lambent.current_span()
    route = app.context["_route"].path.replace("<", "{").replace(">", "}")
    span.update_name(f"{app.current_event.http_method} {route}")
    span.set_attribute("http.route", route)
    return next_middleware(app)


api.use([name_by_route])


@api.get("/orders/<number>")
def get_order(number: str):
    with tracer.trace("load order", attributes={"order.id": number}) as span:
        order = ORDERS.get(number)
        span.set_attribute("order.found", order is not None)
        logger.info("order looked up", extra={"order": number})
    if order is None:
        raise NotFoundError(f"there is no order {number}")
    metrics.add_metric(name="OrdersRead", unit=MetricUnit.Count, value=1)
    return order


@api.post("/orders")
def post_order():
    order = api.current_event.json_body
    save(order)
    return {"id": order["id"]}, 201


def save(order):
    with tracer.trace(
        "save order", attributes={"order.id": order["id"], "order.quantity": order["quantity"]}
    ):
        if order["quantity"] < 1:
            raise ValueError(f"order {order['id']} is of {order['quantity']}")
        metrics.add_metric(name="OrdersSaved", unit=MetricUnit.Count, value=1)
        logger.info("order saved", extra={"order": order["id"]})


@tracer.handler
@logger.inject_lambda_context
@metrics.log_metrics
def handler(event, context):
    """Answer a request."""
    return api.resolve(event, context)


def take(record):
    """Save the order of one message, in a span below the one that sent it."""
    with tracer.process(record.raw_event):
        save(json.loads(record.body))


@tracer.handler
@logger.inject_lambda_context
@metrics.log_metrics
def consumer(event, context):
    """Save the orders of a batch of messages; those that fail go back to the queue."""
    return process_partial_response(event=event, record_handler=take, processor=processor, context=context)
