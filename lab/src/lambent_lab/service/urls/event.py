"""A request to a function URL as its function gets it: the event, payload format 2.0. Pure.

Rules
- Names of header fields are in lower case; the values of one that came more than once are joined by a comma.
  Cookies are listed in `cookies` as well. Fields that concern one connection (Connection, Transfer-Encoding,
  Expect, …) are not the function's; `content-length` says the length of a body that came in chunks.
- `rawPath` and `requestContext.http.path` are the path as it was sent, percent-encoded (API Gateway decodes
  it); `rawQueryString` is the query as it was sent. `queryStringParameters` are decoded, and those of one
  name joined by a comma.
- The body is text for the content types text/*, JSON, XML and JavaScript, if it is UTF-8, and in base64 for
  everything else, forms and no content type included. Without a body there is no `body`.
- `host` is what the client called; `domainName` has the form that it has in AWS, by which libraries know a
  function URL. `x-forwarded-proto` and `-port` say where the client really came in, `x-forwarded-for` gets
  the client's address appended.
- `requestId` is that of the invocation. `accountId` is `anonymous`, or the caller's with AWS_IAM.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote

from lambent_lab.service.urls.settings import domain_name

if TYPE_CHECKING:
    import datetime as dt

    from lambent_lab.http import Request
    from lambent_lab.service.urls.signature import Caller

ASCII = "".join(map(chr, range(0x21, 0x7F)))

_OF_ONE_CONNECTION = frozenset(
    {
        "connection", "expect", "http2-settings", "keep-alive", "proxy-authenticate", "proxy-authorization",
        "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
_TEXT = frozenset({"application/json", "application/javascript", "application/xml"})
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def make(
    request: Request,
    identity: str,
    *,
    request_id: str,
    root: str,
    now: dt.datetime,
    port: int,
    caller: Caller | None = None,
) -> dict[str, Any]:
    """Return the event of a request to the URL with this id.

    `now` is in UTC; `root` is the X-Ray trace's id, `port` the URL's.
    """
    path, query = target(request)
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
    }
    cookies = [part.strip() for value in values(request, "cookie") for part in value.split(";")]
    if any(cookies):
        event["cookies"] = [cookie for cookie in cookies if cookie]
    event["headers"] = _headers(request, identity, root, port)
    if query:
        event["queryStringParameters"] = parameters(query)
    event["requestContext"] = _context(request, path, identity, request_id, now, caller)
    if request.body:
        event["body"], event["isBase64Encoded"] = body(request.body, request.headers.get("content-type", ""))
    else:
        event["isBase64Encoded"] = False
    return event


def target(request: Request) -> tuple[str, str]:
    """Return path and query as they were sent; what is no ASCII is percent-encoded."""
    path, query = request.path, request.query
    if not path.startswith("/"):
        # The form that proxies are given: with scheme and host. `OPTIONS *` means no path at all.
        path = "/" + path.partition("://")[2].partition("/")[2]
    return _ascii(path), _ascii(query)


def _ascii(text: str) -> str:
    return text if text.isascii() else quote(text.encode("latin-1", "replace"), safe=ASCII)


def values(request: Request, name: str) -> tuple[str, ...]:
    """Return every value of a header field, in order."""
    repeated = request.repeated.get(name)
    if repeated is not None:
        return repeated
    value = request.headers.get(name)
    return () if value is None else (value,)


def parameters(query: str) -> dict[str, str]:
    """Return the query's parameters, decoded; values of the same name are joined by a comma."""
    found: dict[str, list[str]] = {}
    for name, value in parse_qsl(query, keep_blank_values=True, errors="replace"):
        found.setdefault(name, []).append(value)
    return {name: ",".join(parts) for name, parts in found.items()}


def body(data: bytes, content_type: str) -> tuple[str, bool]:
    """Return a body as the event has it, and whether that is base64."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind.startswith("text/") or kind in _TEXT or kind.endswith(("+json", "+xml")):
        try:
            return data.decode(), False
        except UnicodeDecodeError:
            pass
    return base64.b64encode(data).decode("ascii"), True


def _headers(request: Request, identity: str, root: str, port: int) -> dict[str, str]:
    own = {part.strip().lower() for part in request.headers.get("connection", "").split(",")}
    headers = {
        name: ",".join(values(request, name))
        for name in request.headers
        if name not in _OF_ONE_CONNECTION and (name not in own or name == "close")
    }
    headers.setdefault("host", domain_name(identity))
    if "transfer-encoding" in request.headers:
        headers["content-length"] = str(len(request.body))
    before = headers.get("x-forwarded-for")
    headers["x-forwarded-for"] = f"{before}, {request.peer}" if before else request.peer
    headers["x-forwarded-proto"] = "http"
    headers["x-forwarded-port"] = str(port)
    given = headers.get("x-amzn-trace-id")
    if given is None or "Root=" not in given:
        headers["x-amzn-trace-id"] = f"Root={root}" if not given else f"{given};Root={root}"
    return headers


def _context(
    request: Request, path: str, identity: str, request_id: str, now: dt.datetime, caller: Caller | None
) -> dict[str, Any]:
    context: dict[str, Any] = {
        "accountId": "anonymous" if caller is None else caller.account,
        "apiId": identity,
        "domainName": domain_name(identity),
        "domainPrefix": identity,
        "http": {
            "method": request.method,
            "path": path,
            "protocol": f"HTTP/{request.version}",
            "sourceIp": request.peer,
            "userAgent": ",".join(values(request, "user-agent")),
        },
        "requestId": request_id,
        "routeKey": "$default",
        "stage": "$default",
        # Not strftime: its months are those of the locale.
        "time": f"{now:%d}/{_MONTHS[now.month - 1]}/{now:%Y:%H:%M:%S} +0000",
        "timeEpoch": int(now.timestamp() * 1000),
    }
    if caller is not None:
        context["authorizer"] = {"iam": caller.document()}
    return context
