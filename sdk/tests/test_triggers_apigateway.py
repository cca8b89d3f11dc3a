"""API Gateway's two payloads: what the root span says of request and response."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from lambent.testing import LambdaContext, recording_tracer
from lambent.triggers import recognise
from lambent.triggers.http import status

if TYPE_CHECKING:
    from collections.abc import Callable

    from lambent.span import Span


def root(event: object, response: object, **options: object) -> Span:
    tracer = recording_tracer(**options)  # type: ignore[arg-type]  # environ among them
    assert tracer.handler(lambda event, context: response)(event, LambdaContext()) is response
    (span,) = tracer.spans
    tracer.close()
    return span


def http(span: Span) -> dict[str, object]:
    return {
        key: value
        for key, value in span.attributes.items()
        if key.partition(".")[0]
        in {"http", "url", "client", "server", "network", "user_agent", "error", "net"}
    }


def test_payload_2(load_event: Callable[[str], Any]) -> None:
    span = root(load_event("apiGatewayProxyV2Event.json"), {"statusCode": 200})
    assert span.name == "POST"  # its route key is "$default", which is no route
    assert span.attributes["faas.trigger"] == "http"
    assert http(span) == {
        "http.request.method": "POST",
        "url.path": "/my/path",
        "url.query": "parameter1=value1&parameter1=value2&parameter2=value",
        "url.scheme": "https",
        "client.address": "192.168.0.1/32",
        "network.protocol.version": "1.1",
        "user_agent.original": "agent",
        "server.address": "id.execute-api.us-east-1.amazonaws.com",
        "http.response.status_code": 200,
    }


def test_payload_1(load_event: Callable[[str], Any]) -> None:
    event = load_event("apiGatewayProxyEvent.json")
    event["resource"] = "/my/{proxy+}"
    event["headers"] |= {"X-Forwarded-Port": "443", "X-Forwarded-Proto": "http"}
    span = root(event, {"statusCode": 404})
    assert span.name == "GET /my/{proxy+}"
    assert span.status.status_code == 0
    assert http(span) == {
        "http.request.method": "GET",
        "http.route": "/my/{proxy+}",
        "url.path": "/my/path",
        "url.query": "parameter1=value1&parameter1=value2&parameter2=value",
        "url.scheme": "http",
        "client.address": "192.168.0.1/32",
        "network.protocol.version": "1.1",
        "user_agent.original": "user-agent",
        "server.address": "id.execute-api.us-east-1.amazonaws.com",
        "server.port": 443,
        "http.response.status_code": 404,
    }


def test_a_function_url(load_event: Callable[[str], Any]) -> None:
    span = root(load_event("lambdaFunctionUrlEventWithHeaders.json"), {"statusCode": 200})
    assert span.attributes["faas.trigger"] == "http"
    assert span.attributes["server.port"] == 443
    assert span.attributes["http.request.method"] == "GET"


def test_a_route(load_event: Callable[[str], Any]) -> None:
    event = load_event("apiGatewayProxyV2Event.json")
    event["routeKey"] = "POST /orders/{id}"
    span = root(event, None)
    assert span.name == "POST /orders/{id}"
    assert span.attributes["http.route"] == "/orders/{id}"


@pytest.mark.parametrize(
    ("code", "status", "attribute"),
    [
        (200, 0, 200),
        ("200", 0, 200),
        (399, 0, 399),
        (404, 0, 404),
        (499, 0, 499),
        (500, 2, 500),
        ("503", 2, 503),
        (True, 0, None),
        (None, 0, None),
        (99, 0, None),
        (1000, 0, None),
        ("", 0, None),
        ("5xx", 0, None),
        ("\u0665\u0660\u0660", 0, None),
        (500.0, 0, None),
        ([500], 0, None),
    ],
)
def test_the_status_of_a_response(
    load_event: Callable[[str], Any], code: object, status: int, attribute: int | None
) -> None:
    for name in ("apiGatewayProxyEvent.json", "apiGatewayProxyV2Event.json"):
        span = root(load_event(name), {"statusCode": code})
        assert span.status.status_code == status
        assert span.attributes.get("http.response.status_code") == attribute
        assert span.attributes.get("error.type") == (str(attribute) if status else None)


@pytest.mark.parametrize("response", [None, [], "500", 500, {}, {"status": 500}, b"{}"])
def test_responses_without_a_status(response: object) -> None:
    assert status(response) is None


def test_a_status_means_nothing_to_other_events() -> None:
    span = root({"Records": []}, {"statusCode": 500})
    assert span.status.status_code == 0
    assert "http.response.status_code" not in span.attributes


def test_older_names_beside_the_stable_ones(load_event: Callable[[str], Any]) -> None:
    environ = {"OTEL_SEMCONV_STABILITY_OPT_IN": "http/dup"}
    span = root(load_event("apiGatewayProxyV2Event.json"), {"statusCode": 502}, environ=environ)
    pairs = {
        "http.method": "http.request.method",
        "http.status_code": "http.response.status_code",
        "http.scheme": "url.scheme",
        "http.user_agent": "user_agent.original",
        "http.client_ip": "client.address",
        "net.host.name": "server.address",
        "faas.cold_start": "faas.coldstart",
    }
    for older, stable in pairs.items():
        assert span.attributes[older] == span.attributes[stable]
    assert span.attributes["http.target"] == "/my/path?parameter1=value1&parameter1=value2&parameter2=value"
    without = root(load_event("apiGatewayProxyV2Event.json"), {"statusCode": 502})
    assert set(pairs).isdisjoint(without.attributes)
    assert "http.target" not in without.attributes


def test_a_method_that_nobody_knows(load_event: Callable[[str], Any]) -> None:
    event = load_event("apiGatewayProxyEvent.json")
    for method, name, known in (("BREW", "HTTP /my/path", "_OTHER"), ("get", "GET /my/path", "GET")):
        event["httpMethod"] = method
        span = root(event, None)
        assert span.name == name
        assert span.attributes["http.request.method"] == known
        assert span.attributes["http.request.method_original"] == method


@pytest.mark.parametrize(
    ("protocol", "version", "name"),
    [
        ("HTTP/1.1", "1.1", None),
        ("HTTP/2.0", "2", None),
        ("SPDY/3", "3", "spdy"),
        ("HTTP", None, None),
        (7, None, None),
    ],
)
def test_the_protocol(
    load_event: Callable[[str], Any], protocol: object, version: str | None, name: str | None
) -> None:
    event = load_event("apiGatewayProxyV2Event.json")
    event["requestContext"]["http"]["protocol"] = protocol
    attributes = recognise(event).attributes
    assert attributes.get("network.protocol.version") == version
    assert attributes.get("network.protocol.name") == name


@pytest.mark.parametrize("port", ["x", "", "9" * 5000, "-1", "\u0664"])
def test_a_port_that_is_none(load_event: Callable[[str], Any], port: str) -> None:
    event = load_event("apiGatewayProxyV2Event.json")
    event["headers"]["x-forwarded-port"] = port
    description = recognise(event)
    assert description.trigger == "http"
    assert "server.port" not in description.attributes


@pytest.mark.parametrize(
    ("multi", "single", "query"),
    [
        (None, None, None),
        (None, {"a b": "ü&"}, "a+b=%C3%BC%26"),
        ({"a": ["1", "2"], "b": "3"}, {"a": "2"}, "a=1&a=2&b=3"),
        (None, {"a": None, "b": "\ud800"}, "a=None&b=%3F"),
        ([], [], None),
    ],
)
def test_the_query_of_a_rest_event(
    load_event: Callable[[str], Any], multi: object, single: object, query: str | None
) -> None:
    event = load_event("apiGatewayProxyEvent.json")
    event["multiValueQueryStringParameters"] = multi
    event["queryStringParameters"] = single
    assert recognise(event).attributes.get("url.query") == query


def test_events_that_are_not_api_gateways(load_event: Callable[[str], Any]) -> None:
    for name in ("sqsEvent.json", "eventBridgeEvent.json", "cognitoPreSignUpEvent.json"):
        assert recognise(load_event(name)).trigger != "http"


@pytest.mark.parametrize(
    "name", ["apiGatewayAuthorizerRequestEvent.json", "apiGatewayAuthorizerV2Event.json"]
)
def test_an_authorizers_question_is_no_request(load_event: Callable[[str], Any], name: str) -> None:
    span = root(load_event(name), {"statusCode": 500, "isAuthorized": True})
    assert span.attributes["faas.trigger"] == "other"
    assert http(span) == {}
