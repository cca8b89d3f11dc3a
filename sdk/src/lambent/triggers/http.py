"""Requests: API Gateway (REST, HTTP, WebSocket), function URLs, ALB, VPC Lattice, CloudFront, AppSync,
Bedrock agents, and the authorizers of two of them.

Attributes: OpenTelemetry's HTTP (stable names), GraphQL and GenAI conventions. A span is named by its
route; where none is known, by the method alone, never by the path.
"""

from __future__ import annotations

from lambent.triggers import CONTEXT, Description
from lambent.triggers.parts import headers, put, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    Raw = Mapping[str, object]

__all__ = ["describe", "describe_edge", "describe_field", "describe_v1", "describe_v2", "outcome", "status"]

_METHODS = frozenset(
    {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"}
)


def describe_v2(event: Raw, request: Raw, http: Raw) -> Description:
    """Describe an event with payload 2.0: an HTTP API's, or a function URL's."""
    carrier = headers(event.get("headers"))
    attributes: dict[str, object] = {}
    method = _method(attributes, http.get("method"))
    put(attributes, "url.path", text(event.get("rawPath")) or http.get("path"))
    put(attributes, "url.query", scrubbed(event.get("rawQueryString")))
    # "GET /users/{id}"; "$default" is no route.
    route = text(event.get("routeKey")).partition(" ")[2]
    put(attributes, "http.route", route)
    put(attributes, "client.address", http.get("sourceIp"))
    _protocol(attributes, http.get("protocol"))
    put(attributes, "user_agent.original", http.get("userAgent") or carrier.get("user-agent"))
    domain = request.get("domainName")
    _server(attributes, carrier, domain)
    is_url = isinstance(domain, str) and ".lambda-url." in domain
    return Description(
        "http",
        f"{method} {route}" if route else method,
        attributes,
        _handed_on(carrier, request),
        status,
        source="lambda.url" if is_url else "apigateway.http",
        sent=request.get("timeEpoch"),
    )


def describe_v1(event: Raw, request: Raw) -> Description:
    """Describe an event with payload 1.0: a REST API's, or an HTTP API's that asked for it."""
    carrier = headers(event.get("multiValueHeaders"), headers(event.get("headers")))
    attributes: dict[str, object] = {}
    method = _method(attributes, event.get("httpMethod"))
    put(attributes, "url.path", text(request.get("path")) or event.get("path"))
    put(attributes, "url.query", _query(event))
    route = text(event.get("resource"))
    put(attributes, "http.route", route)
    _identity(attributes, request, carrier)
    return Description(
        "http",
        f"{method} {route}" if route else method,
        attributes,
        _handed_on(carrier, request),
        status,
        source="apigateway.rest",
        sent=request.get("requestTimeEpoch"),
    )


def describe(event: Raw, request: Raw | None) -> Description | None:
    """Describe what came by other ways; None for what is no request."""
    if request is None:
        if "raw_path" in event and "method" in event:
            return _lattice(event, {}, "vpclattice")
        return _agent(event) if "actionGroup" in event else None
    if "methodArn" in event or "routeArn" in event:
        return _authorizer(event, request)
    if isinstance(request.get("elb"), dict):
        return _balancer(event)
    if "connectionId" in request and "eventType" in request:
        return _websocket(event, request)
    if "serviceNetworkArn" in request or "targetGroupArn" in request:
        return _lattice(event, request, "vpclattice.v2")
    if "authorizationToken" in event and ("queryString" in request or "apiId" in request):
        attributes: dict[str, object] = {}
        put(attributes, "graphql.operation.name", request.get("operationName"))
        carrier = headers(event.get("requestHeaders"))
        return Description("other", "authorize", attributes, carrier, source="appsync.authorizer")
    return describe_v1(event, request) if "httpMethod" in event else None


def status(response: object) -> Raw | None:
    """Return the status code that API Gateway makes of a response, None when it would fail on it.

    A mapping with `statusCode`, a number or its text. Payload 2.0 also takes any other JSON
    value, as the body of a 200; which of the two a function means cannot be told from here.
    """
    return outcome(response.get("statusCode")) if isinstance(response, dict) else None


def outcome(code: object) -> Raw | None:
    """Return the attributes of a status code; those from 500 are failures of ours."""
    if isinstance(code, str) and code.isascii() and code.isdigit() and len(code) == 3:
        code = int(code)
    if isinstance(code, bool) or not isinstance(code, int) or not 100 <= code <= 999:
        return None
    if code < 500:
        return {"http.response.status_code": code}
    return {"http.response.status_code": code, "error.type": str(code)}


def _handed_on(carrier: dict[str, str], request: Raw) -> dict[str, str]:
    """Let the context that an authorizer handed on replace the request's: the authorizer ran in between."""
    given = request.get("authorizer")
    if isinstance(given, dict):
        inner = given.get("lambda")  # payload 2.0; 1.0 has it flat
        handed = headers(inner if isinstance(inner, dict) else given)
        if not CONTEXT.isdisjoint(handed):
            carrier.update({name: value for name, value in handed.items() if name in CONTEXT})
    return carrier


def _balancer(event: Raw) -> Description:
    """Describe a target group's event; a load balancer has no routes, and leaves the query encoded."""
    carrier = headers(event.get("multiValueHeaders"), headers(event.get("headers")))
    attributes: dict[str, object] = {}
    method = _method(attributes, event.get("httpMethod"))
    put(attributes, "url.path", event.get("path"))
    put(attributes, "url.query", scrubbed("&".join(f"{name}={value}" for name, value in _pairs(event))))
    _forwarded(attributes, carrier)
    return Description("http", method, attributes, carrier, status, source="alb")


def _lattice(event: Raw, request: Raw, source: str) -> Description:
    carrier = headers(event.get("headers"))
    attributes: dict[str, object] = {}
    method = _method(attributes, event.get("method"))
    path, _, query = text(event.get("path") or event.get("raw_path")).partition("?")
    put(attributes, "url.path", path)
    put(attributes, "url.query", scrubbed(query) or _query(event))
    _forwarded(attributes, carrier)
    return Description(
        "http", method, attributes, carrier, status, source=source, sent=request.get("timeEpoch")
    )


def _websocket(event: Raw, request: Raw) -> Description:
    """Describe one of a WebSocket's events; only the first, CONNECT, is a request with headers."""
    carrier = headers(event.get("multiValueHeaders"), headers(event.get("headers")))
    attributes: dict[str, object] = {"network.protocol.name": "websocket"}
    route = text(request.get("routeKey"))
    put(attributes, "http.route", route)
    if request.get("eventType") == "CONNECT":
        attributes["http.request.method"] = "GET"
        put(attributes, "url.query", _query(event))
    _identity(attributes, request, carrier)
    attributes["url.scheme"] = "wss"
    put(attributes, "aws.apigateway.connection.id", request.get("connectionId"))
    put(attributes, "messaging.message.id", request.get("messageId"))
    return Description(
        "http",
        f"{text(request.get('eventType'))} {route}".strip(),
        attributes,
        _handed_on(carrier, request),
        status,
        source="apigateway.websocket",
        sent=request.get("requestTimeEpoch"),
    )


def _authorizer(event: Raw, request: Raw) -> Description:
    """Describe an authorizer's question: its answer is a policy, not a response."""
    route = text(event.get("resource")) or text(event.get("routeKey")).partition(" ")[2]
    carrier = headers(event.get("multiValueHeaders"), headers(event.get("headers")))
    sent = request.get("requestTimeEpoch") or request.get("timeEpoch")
    return Description(
        "other", f"authorize {route}".rstrip(), None, carrier, source="apigateway.authorizer", sent=sent
    )


def _agent(event: Raw) -> Description | None:
    """Describe an action of a Bedrock agent: an operation of an API, or a function."""
    agent = event.get("agent")
    if not isinstance(agent, dict):
        return None
    attributes: dict[str, object] = {}
    put(attributes, "gen_ai.agent.id", agent.get("id"))
    put(attributes, "gen_ai.agent.name", agent.get("name"))
    put(attributes, "gen_ai.conversation.id", event.get("sessionId"))
    put(attributes, "gen_ai.tool.name", text(event.get("function")) or event.get("actionGroup"))
    route = text(event.get("apiPath"))
    if not route:
        return Description("other", text(event.get("function")), attributes, source="bedrock.agent")
    put(attributes, "http.route", route)
    method = _method(attributes, event.get("httpMethod"))
    return Description(
        "http", f"{method} {route}", attributes, read_response=_agent_status, source="bedrock.agent"
    )


def _agent_status(response: object) -> Raw | None:
    inner = response.get("response") if isinstance(response, dict) else None
    return outcome(inner.get("httpStatusCode")) if isinstance(inner, dict) else None


def describe_edge(record: Raw) -> Description:
    """Describe an event of Lambda@Edge, at any of its four points."""
    given = record.get("cf")
    cf = given if isinstance(given, dict) else {}
    parts = [part if isinstance(part, dict) else {} for part in (cf.get("request"), cf.get("config"))]
    asked, configuration = parts
    carrier: dict[str, str] = {}
    found = asked.get("headers")
    for name, values in found.items() if isinstance(found, dict) else ():
        # `{"host": [{"key": "Host", "value": "..."}]}`
        if isinstance(values, list):
            headers({name: [each.get("value") for each in values if isinstance(each, dict)]}, carrier)
    attributes: dict[str, object] = {}
    method = _method(attributes, asked.get("method")) if "method" in asked else ""
    put(attributes, "url.path", asked.get("uri"))
    put(attributes, "url.query", scrubbed(asked.get("querystring")))
    put(attributes, "client.address", asked.get("clientIp"))
    put(attributes, "user_agent.original", carrier.get("user-agent"))
    put(attributes, "server.address", carrier.get("host") or configuration.get("distributionDomainName"))
    put(attributes, "aws.cloudfront.distribution.id", configuration.get("distributionId"))
    put(attributes, "aws.request_id", configuration.get("requestId"))
    name = f"{method} {text(configuration.get('eventType'))}".strip()
    return Description("http", name, attributes, carrier, _edge_status, source="cloudfront")


def _edge_status(response: object) -> Raw | None:
    # A request that is passed on has no status.
    return outcome(response.get("status")) if isinstance(response, dict) else None


def describe_field(event: object) -> Description | None:
    """Describe a field that AppSync resolves, for one object or a batch of them; None for anything else."""
    first = event[0] if isinstance(event, list) and event else event
    if not isinstance(first, dict):
        return None
    info = first.get("info")
    info = info if isinstance(info, dict) else first
    attributes: dict[str, object] = {}
    asked = first.get("request")
    carrier = headers(asked.get("headers")) if isinstance(asked, dict) else {}
    identity = first.get("identity")
    if isinstance(identity, dict):
        _handed_on(carrier, {"authorizer": identity.get("resolverContext")})
    if "channelNamespace" in info:
        name = f"{text(info.get('operation'))} channel".strip()
        return Description("http", name, None, carrier, source="appsync.events")
    parent, field = text(info.get("parentTypeName") or info.get("typeName")), text(info.get("fieldName"))
    if not parent or not field:
        return None
    if parent in {"Query", "Mutation", "Subscription"}:
        attributes["graphql.operation.type"] = parent.lower()
    put(attributes, "user_agent.original", carrier.get("user-agent"))
    source = "appsync"
    if isinstance(event, list):
        attributes["lambent.batch.size"] = len(event)
        source = "appsync.batch"
    return Description("http", f"{parent}.{field}", attributes, carrier, source=source)


# Parts of a request.


def _method(attributes: dict[str, object], method: object) -> str:
    """Keep the method; an unknown one becomes `_OTHER` (HTTP conventions, "Common attributes")."""
    name = text(method)
    if name in _METHODS:
        attributes["http.request.method"] = name
        return name
    known = name.upper()
    put(attributes, "http.request.method_original", name)
    attributes["http.request.method"] = known if known in _METHODS else "_OTHER"
    return known if known in _METHODS else "HTTP"


def _protocol(attributes: dict[str, object], protocol: object) -> None:
    if protocol == "HTTP/1.1":
        attributes["network.protocol.version"] = "1.1"
        return
    name, slash, version = text(protocol).partition("/")
    if slash and version:
        attributes["network.protocol.version"] = version.removesuffix(".0") if version[0] in "23" else version
        if name.lower() != "http":
            attributes["network.protocol.name"] = name.lower()


def _identity(attributes: dict[str, object], request: Raw, carrier: Raw) -> None:
    given = request.get("identity")
    identity = given if isinstance(given, dict) else {}
    put(attributes, "client.address", identity.get("sourceIp"))
    _protocol(attributes, request.get("protocol"))
    put(attributes, "user_agent.original", identity.get("userAgent") or carrier.get("user-agent"))
    _server(attributes, carrier, request.get("domainName"))


def _forwarded(attributes: dict[str, object], carrier: Raw) -> None:
    put(attributes, "client.address", text(carrier.get("x-forwarded-for")).partition(",")[0].strip())
    put(attributes, "user_agent.original", carrier.get("user-agent") or carrier.get("user_agent"))
    _server(attributes, carrier, "")


def _server(attributes: dict[str, object], carrier: Raw, domain: object) -> None:
    attributes["url.scheme"] = carrier.get("x-forwarded-proto") or "https"
    put(attributes, "server.address", text(domain) or carrier.get("host"))
    port = text(carrier.get("x-forwarded-port"))
    if port.isascii() and port.isdigit() and len(port) < 6:
        attributes["server.port"] = int(port)


def _pairs(event: Raw) -> list[tuple[object, object]]:
    """Return the query's parameters, of those with several values each."""
    for name in (
        "multiValueQueryStringParameters",
        "queryStringParameters",
        "query_string_parameters",
    ):
        found = event.get(name)
        if isinstance(found, dict):
            return [
                (key, value)
                for key, values in found.items()
                for value in (values if isinstance(values, list) else [values])
            ]
    return []


def _query(event: Raw) -> str:
    """Return the query string of an event that brings the parameters decoded and apart."""
    pairs = _pairs(event)
    if not pairs:
        return ""
    from urllib.parse import urlencode

    return scrubbed(urlencode([(str(name), str(value)) for name, value in pairs], errors="replace"))


_SIGNED = frozenset(
    {"awsaccesskeyid", "signature", "sig", "x-goog-signature", "x-amz-signature", "x-amz-credential",
     "x-amz-security-token"}
)  # fmt: skip


def scrubbed(query: object) -> str:
    """Return a query string without what signs it (HTTP conventions, `url.query`)."""
    query = text(query)
    lower = query.lower()
    if not any(sign in lower for sign in ("sig", "awsacc", "x-amz-")):
        return query
    parts = [part.partition("=") for part in query.split("&")]
    return "&".join(
        f"{name}=REDACTED" if equals and name.lower() in _SIGNED else f"{name}{equals}{value}"
        for name, equals, value in parts
    )
