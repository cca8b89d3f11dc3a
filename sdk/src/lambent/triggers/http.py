"""API Gateway's REST (payload 1.0) and HTTP (payload 2.0) events; function URLs speak 2.0 as well.

Attributes: OpenTelemetry's HTTP and FaaS semantic conventions (stable names).
"""

from __future__ import annotations

from lambent.triggers import Description

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["describe_v1", "describe_v2", "outcome", "status"]

_METHODS = frozenset(
    {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"}
)


def describe_v2(
    event: Mapping[str, object], request: Mapping[str, object], http: Mapping[str, object]
) -> Description:
    """Describe an HTTP API or function URL event."""
    headers = _headers(event.get("headers"), None)
    attributes: dict[str, object] = {}
    method = _method(attributes, http.get("method"))
    path = _text(event.get("rawPath")) or _text(http.get("path"))
    _put(attributes, "url.path", path)
    _put(attributes, "url.query", event.get("rawQueryString"))
    # "GET /users/{id}"; "$default" is no route.
    route_key = _text(event.get("routeKey"))
    route = route_key.partition(" ")[2] if " " in route_key else ""
    _put(attributes, "http.route", route)
    _put(attributes, "client.address", http.get("sourceIp"))
    _protocol(attributes, http.get("protocol"))
    _put(attributes, "user_agent.original", http.get("userAgent") or headers.get("user-agent"))
    _server(attributes, headers, request.get("domainName"))
    return Description("http", _name(method, route), attributes, headers, status)


def describe_v1(event: Mapping[str, object], request: Mapping[str, object]) -> Description:
    """Describe a REST API event."""
    headers = _headers(event.get("headers"), event.get("multiValueHeaders"))
    identity = request.get("identity")
    identity = identity if isinstance(identity, dict) else {}
    attributes: dict[str, object] = {}
    method = _method(attributes, event.get("httpMethod"))
    _put(attributes, "url.path", _text(request.get("path")) or event.get("path"))
    _put(attributes, "url.query", _query(event))
    route = _text(event.get("resource"))
    _put(attributes, "http.route", route)
    _put(attributes, "client.address", identity.get("sourceIp"))
    _protocol(attributes, request.get("protocol"))
    _put(attributes, "user_agent.original", identity.get("userAgent") or headers.get("user-agent"))
    _server(attributes, headers, request.get("domainName"))
    return Description("http", _name(method, route), attributes, headers, status)


def status(response: object) -> Mapping[str, object] | None:
    """Return the status code that API Gateway makes of a response, None when it would fail on it.

    A mapping with `statusCode`, a number or its text. Payload 2.0 also takes any other JSON
    value, as the body of a 200; which of the two a function means cannot be told from here.
    """
    return outcome(response.get("statusCode")) if isinstance(response, dict) else None


def outcome(code: object) -> Mapping[str, object] | None:
    """Return the attributes of a status code; those from 500 are failures of ours."""
    if isinstance(code, str) and code.isascii() and code.isdigit() and len(code) == 3:
        code = int(code)
    if isinstance(code, bool) or not isinstance(code, int) or not 100 <= code <= 999:
        return None
    if code < 500:
        return {"http.response.status_code": code}
    return {"http.response.status_code": code, "error.type": str(code)}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _put(attributes: dict[str, object], key: str, value: object) -> None:
    if isinstance(value, str) and value:
        attributes[key] = value


def _method(attributes: dict[str, object], method: object) -> str:
    """Keep the method; an unknown one becomes `_OTHER` (HTTP conventions, "Common attributes")."""
    name = _text(method)
    known = name.upper()
    if known in _METHODS:
        attributes["http.request.method"] = known
        if known != name:
            attributes["http.request.method_original"] = name
        return known
    attributes["http.request.method"] = "_OTHER"
    _put(attributes, "http.request.method_original", name)
    return "HTTP"


def _name(method: str, route: str) -> str:
    return f"{method} {route}" if route else method


def _protocol(attributes: dict[str, object], protocol: object) -> None:
    name, slash, version = _text(protocol).partition("/")
    if slash and version:
        attributes["network.protocol.version"] = version.removesuffix(".0") if version[0] in "23" else version
        if name.lower() != "http":
            attributes["network.protocol.name"] = name.lower()


def _server(attributes: dict[str, object], headers: Mapping[str, str], domain: object) -> None:
    attributes["url.scheme"] = headers.get("x-forwarded-proto") or "https"
    _put(attributes, "server.address", _text(domain) or headers.get("host"))
    port = headers.get("x-forwarded-port", "")
    if port.isascii() and port.isdigit() and len(port) < 6:
        attributes["server.port"] = int(port)


def _headers(single: object, multi: object) -> dict[str, str]:
    """Return all headers, names in lower case; of several values the last, as Lambda's `headers` has it."""
    found: dict[str, str] = {}
    if isinstance(multi, dict):
        for name, values in multi.items():
            if isinstance(name, str) and isinstance(values, list) and values:
                last = values[-1]
                if isinstance(last, str):
                    found[name.lower()] = last
    if isinstance(single, dict):
        for name, value in single.items():
            if isinstance(name, str) and isinstance(value, str):
                found[name.lower()] = value
    return found


def _query(event: Mapping[str, object]) -> str:
    """Return the query string of a REST event, which brings the parameters decoded and apart."""
    pairs: list[tuple[str, str]] = []
    multi = event.get("multiValueQueryStringParameters")
    single = event.get("queryStringParameters")
    if isinstance(multi, dict):
        for name, values in multi.items():
            pairs.extend(
                (str(name), str(value)) for value in (values if isinstance(values, list) else [values])
            )
    elif isinstance(single, dict):
        pairs.extend((str(name), str(value)) for name, value in single.items())
    if not pairs:
        return ""
    from urllib.parse import urlencode

    return urlencode(pairs, errors="replace")
