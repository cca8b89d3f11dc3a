"""Libraries with OpenTelemetry inside: they find lambent behind its API, and nothing instruments them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

EVENT = """
event = {
    "version": "2.0", "routeKey": "$default", "rawPath": "/orders/7", "rawQueryString": "",
    "headers": {{header} "host": "shop"},
    "requestContext": {"http": {"method": "GET", "path": "/orders/7", "protocol": "HTTP/1.1",
                                "sourceIp": "127.0.0.1", "userAgent": "test"},
                       "stage": "$default", "requestId": "r", "domainName": "shop", "timeEpoch": 0},
    "isBase64Encoded": False,
}
"""
SITES = {
    "FastAPI": """
from fastapi import FastAPI
app = FastAPI(telemetry={"metrics": False, "logs": False})

@app.get("/orders/{number}")
async def order(number: int):
    with tracer.trace("load"):
        return {"number": number}
""",
    "Starlette": """
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.opentelemetry import OpenTelemetryMiddleware
from starlette.responses import JSONResponse
from starlette.routing import Route

async def order(request):
    with tracer.trace("load"):
        return JSONResponse({"number": 7})

app = Starlette(routes=[Route("/orders/{number}", order)], middleware=[Middleware(OpenTelemetryMiddleware)])
""",
}
PROGRAM = """
import json
{first}
import lambent
tracer = lambent.init()
{site}
from mangum import Mangum
serve = tracer.handler(Mangum(app, lifespan="off"))
{event}
print(json.dumps(serve(event, None)))
"""


TREES = {
    "FastAPI": [
        "fastapi: GET /orders/{number} SERVER",
        "  fastapi: fastapi.dependencies INTERNAL",
        "  fastapi: fastapi.endpoint INTERNAL",
        "    lambent: load INTERNAL",
        "  fastapi: fastapi.serialization INTERNAL",
    ],
    "Starlette": ["starlette: GET /orders/{number} SERVER", "  lambent: load INTERNAL"],
}


@pytest.mark.parametrize("order", ["OpenTelemetry first", "lambent first"])
@pytest.mark.parametrize("caller", ["", "2222222222222222"])
@pytest.mark.parametrize("site", SITES)
def test_a_web_framework_that_traces_itself(
    program: Callable[..., Any], site: str, caller: str, order: str
) -> None:
    """Its span is below lambent's root, whose parent is the caller that the request names."""
    first = "from opentelemetry import trace" if order == "OpenTelemetry first" else ""
    header = f'"traceparent": "00-{"1" * 32}-{caller}-01",' if caller else ""
    source = PROGRAM.replace("{first}", first).replace("{site}", SITES[site])
    run = program(source.replace("{event}", EVENT.replace("{header}", header)))
    assert run.output["statusCode"] == 200
    assert run.outline == ["lambent: GET SERVER", *[f"  {line}" for line in TREES[site]]]
    assert run.roots[0].parent_id == caller
    assert not caller or {each.trace_id for each in run.spans} == {"1" * 32}


GLOBALS = """
import json
from opentelemetry import trace, context, propagate, baggage
early = trace.get_tracer("library", "3.1")
current = trace.get_current_span()
import lambent
tracer = lambent.init()

class Client:
    tracer = trace.get_tracer("library", "3.1")

    @early.start_as_current_span("call")
    def call(self):
        carrier = {}
        propagate.inject(carrier)
        with self.tracer.start_as_current_span("request", kind=trace.SpanKind.CLIENT) as span:
            span.add_event("sent", {"size": 3})
            span.set_status(trace.StatusCode.ERROR, "late")
        return carrier

@tracer.handler
def handler(event, context):
    return Client().call()

print(json.dumps(handler({}, None)))
"""


def test_a_tracer_that_a_library_got_before_lambent_was_there(program: Callable[..., Any]) -> None:
    run = program(GLOBALS)
    assert run.outline == [
        "lambent: shop SERVER",
        "  library: call INTERNAL",
        "    library: request CLIENT failed",
    ]
    call = run.one("call")
    assert run.output["traceparent"] == f"00-{call.trace_id}-{call.span_id}-01"
    assert {span.version for span in run.spans[1:]} == {"3.1"}


EXTRACTS = """
import json
import lambent
tracer = lambent.init()
from opentelemetry import context, propagate, trace
MESSAGE = {"traceparent": "00-" + "3" * 32 + "-" + "4" * 16 + "-01"}

def named(carrier, *given):
    found = trace.get_current_span(propagate.extract(carrier, *given)).get_span_context()
    return [f"{found.trace_id:032x}"[:4], f"{found.span_id:016x}"] if found.is_valid else None

@tracer.handler
def handler(event, context_):
    with tracer.trace("inside") as span:
        request = event.get("headers", {})
        inside = named({}, trace.set_span_in_context(span))
        found = [named(request), named({}), named(MESSAGE), named(request, context.Context())]
        return ["inside" if each == inside else each for each in found]

{event}
other = {"headers": event["headers"]}
print(json.dumps([handler(event, None), handler(other, None), named(MESSAGE), named({})]))
"""


def test_what_is_extracted_within_an_invocation(program: Callable[..., Any]) -> None:
    """The headers of the invocation's own request name its current span; all else names what it names."""
    header = f'"traceparent": "00-{"1" * 32}-{"2" * 16}-01",'
    run = program(EXTRACTS.replace("{event}", EVENT.replace("{header}", header)))
    request, message = ["1111", "2" * 16], ["3333", "4" * 16]
    assert run.output == [
        ["inside", "inside", message, request],
        [request, None, message, request],
        message,
        None,
    ]
