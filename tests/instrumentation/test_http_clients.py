"""HTTP clients: spans below lambent's, headers that name them, and lambent's own exports unseen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

CLIENTS = {
    "requests": ("import requests", "requests.get('{url}/a').json()"),
    "urllib3": ("import urllib3", "json.loads(urllib3.PoolManager().request('GET', '{url}/a').data)"),
    "urllib": ("import urllib.request", "json.load(urllib.request.urlopen('{url}/a'))"),
    "httpx": ("import httpx", "httpx.get('{url}/a').json()"),
    "httpx, async": ("import asyncio, httpx", "asyncio.run(fetch())"),
}
PROGRAM = """
import json
{first}
import lambent
tracer = lambent.init({arguments})
{second}

async def fetch():
    async with httpx.AsyncClient() as client:
        return (await client.get("{url}/a")).json()

@tracer.handler
def handler(event, context):
    with tracer.trace("load"):
        return {call}

print(json.dumps(handler({}, None)))
"""


@pytest.mark.parametrize("order", ["library first", "lambent first"])
@pytest.mark.parametrize("client", CLIENTS)
def test_a_call_is_a_child_and_its_header_names_it(
    program: Callable[..., Any], client: str, order: str
) -> None:
    load, call = CLIENTS[client]
    library = client.partition(",")[0]
    first, second = (load, "") if order == "library first" else ("", load)
    run = program(_fill(first=first, second=second, call=call, arguments=""), library)
    assert run.outline == ["lambent: shop SERVER", "  lambent: load INTERNAL", f"    {library}: GET CLIENT"]
    call_span = run.one("GET")
    assert run.output["traceparent"] == f"00-{call_span.trace_id}-{call_span.span_id}-01"
    assert call_span.version
    assert 200 in call_span.attributes.values()
    assert len({span.trace_id for span in run.spans}) == 1
    assert run.requests == 1


def _fill(**parts: str) -> str:
    source = PROGRAM
    for name, part in parts.items():
        source = source.replace(f"{{{name}}}", part)
    return source


def test_of_two_instrumented_layers_the_outer_one_makes_the_span(program: Callable[..., Any]) -> None:
    """The instrumentor of requests says in OpenTelemetry's context that urllib3's is to be quiet."""
    call = "requests.get('{url}/a').json()"
    run = program(_fill(first="", second="import requests", call=call, arguments=""), "urllib3,requests")
    assert run.outline == ["lambent: shop SERVER", "  lambent: load INTERNAL", "    requests: GET CLIENT"]


def test_a_failed_call(program: Callable[..., Any]) -> None:
    call = "requests.get('{url}/fail').status_code"
    run = program(_fill(first="", second="import requests", call=call, arguments=""), "requests")
    assert run.output == 500
    assert run.outline[-1] == "    requests: GET CLIENT failed"


def test_http_calls_are_left_alone_when_that_is_asked_for(program: Callable[..., Any]) -> None:
    call = "requests.get('{url}/a').json()"
    source = _fill(first="", second="import requests", call=call, arguments="")
    run = program(source, "requests", HH_DISABLE_HTTP_TRACING="true")
    assert run.outline == ["lambent: shop SERVER", "  lambent: load INTERNAL"]
    assert "traceparent" not in run.output


EXPORTS = {
    "lambent's": "mode='{mode}'",
    "OpenTelemetry's": "mode='{mode}', exporter=OTLPSpanExporter(endpoint='{url}/v1/traces')",
    "a processor of OpenTelemetry's": (
        "mode='{mode}', processors=BatchSpanProcessor(OTLPSpanExporter(endpoint='{url}/v1/traces'))"
    ),
}


@pytest.mark.parametrize("mode", ["sync", "finalize"])
@pytest.mark.parametrize("how", EXPORTS)
def test_exports_are_not_traced(program: Callable[..., Any], how: str, mode: str) -> None:
    """OpenTelemetry's exporter posts with requests, which is instrumented; threads carry contexts on."""
    first = """
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import BatchSpanProcessor
import requests, threading
"""
    arguments = EXPORTS[how].replace("{mode}", mode)
    source = _fill(first=first, second="", call="requests.get('{url}/a').json()", arguments=arguments)
    source += "handler({}, None)\ntracer.force_flush()\ntracer.close()\n"
    run = program(source, "requests,urllib3,threading")
    tree = ["lambent: shop SERVER", "  lambent: load INTERNAL", "    requests: GET CLIENT"]
    assert run.outline == tree + tree
    assert run.requests >= 1


BOTH_WAYS = """
import json, lambent
{first}
tracer = lambent.init()
import requests
{second}
theirs = trace.get_tracer("shop.orders", "2.0", schema_url="https://example.org/1")

@tracer.handler
def handler(event, context):
    with theirs.start_as_current_span("outer", attributes={"a": 1}) as outer:
        assert trace.get_current_span() is outer
        with tracer.trace("inner") as inner:
            assert trace.get_current_span().get_span_context().span_id == inner.context.span_id
            with theirs.start_as_current_span("innermost"):
                requests.get("{url}/a")
        requests.get("{url}/a")

handler({}, None)
"""


@pytest.mark.parametrize("order", ["OpenTelemetry first", "lambent first"])
def test_spans_of_both_nest_both_ways(program: Callable[..., Any], order: str) -> None:
    load = "from opentelemetry import trace"
    source = BOTH_WAYS.replace("{first}", load if order == "OpenTelemetry first" else "").replace(
        "{second}", load if order == "lambent first" else ""
    )
    run = program(source, "requests")
    assert run.outline == [
        "lambent: shop SERVER",
        "  shop.orders: outer INTERNAL",
        "    lambent: inner INTERNAL",
        "      shop.orders: innermost INTERNAL",
        "        requests: GET CLIENT",
        "    requests: GET CLIENT",
    ]
    assert run.one("outer").version == "2.0"
    assert run.one("outer").attributes["a"] == 1
    assert {span.service for span in run.spans} == {"shop"}
