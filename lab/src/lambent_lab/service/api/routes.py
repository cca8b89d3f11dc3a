"""Which operation of AWS's Lambda API a request means. A table; nothing here runs anything.

Rules
- A segment of the path in braces is a parameter; it is percent-decoded, so an ARN is one segment.
- Some paths mean one operation or another by a parameter of the query.
- A path without an operation is 404, one with others 405.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Route:
    """One operation: its method and path, the status of its success, and what the lab does of it."""

    operation: str
    method: str
    path: str
    status: int
    scope: str = ""


FUNCTIONS = "/2015-03-31/functions"
_ONE = f"{FUNCTIONS}/{{FunctionName}}"
_URL = "/2021-10-31/functions/{FunctionName}/url"
_MAPPINGS = "/2015-03-31/event-source-mappings"
_EVENTS = "/2019-09-25/functions/{FunctionName}/event-invoke-config"

ROUTES = (
    Route(
        "Invoke", "POST", f"{_ONE}/invocations", 200,
        "RequestResponse, Event and DryRun; LogType, ClientContext, Qualifier, TenantId (environments are "
        "shared by tenants), the trace header",
    ),
    Route(
        "InvokeWithResponseStream", "POST",
        "/2021-11-15/functions/{FunctionName}/response-streaming-invocations", 200,
        "the response as it is written, as an event stream",
    ),
    Route(
        "CreateFunction", "POST", FUNCTIONS, 201,
        "ZipFile, or a local path as S3Key in the bucket `local`; no images",
    ),
    Route("GetFunction", "GET", _ONE, 200, "Code.Location is a URL of the lab"),
    Route("GetFunctionConfiguration", "GET", f"{_ONE}/configuration", 200),
    Route("ListFunctions", "GET", FUNCTIONS, 200, "Marker, MaxItems, FunctionVersion=ALL"),
    Route("DeleteFunction", "DELETE", _ONE, 204, "the function, or one version of it"),
    Route("UpdateFunctionCode", "PUT", f"{_ONE}/code", 200, "as CreateFunction; Publish, DryRun, RevisionId"),
    Route("UpdateFunctionConfiguration", "PUT", f"{_ONE}/configuration", 200),
    Route("PublishVersion", "POST", f"{_ONE}/versions", 201, "CodeSha256, RevisionId, Description"),
    Route("ListVersionsByFunction", "GET", f"{_ONE}/versions", 200, "Marker, MaxItems"),
    Route("CreateAlias", "POST", f"{_ONE}/aliases", 201, "RoutingConfig with one additional version"),
    Route("GetAlias", "GET", f"{_ONE}/aliases/{{Name}}", 200),
    Route("UpdateAlias", "PUT", f"{_ONE}/aliases/{{Name}}", 200),
    Route("DeleteAlias", "DELETE", f"{_ONE}/aliases/{{Name}}", 204),
    Route("ListAliases", "GET", f"{_ONE}/aliases", 200, "FunctionVersion, Marker, MaxItems"),
    Route(
        "PutFunctionConcurrency", "PUT", "/2017-10-31/functions/{FunctionName}/concurrency", 200,
        "more invocations at once are answered 429",
    ),
    Route("GetFunctionConcurrency", "GET", "/2019-09-30/functions/{FunctionName}/concurrency", 200),
    Route("DeleteFunctionConcurrency", "DELETE", "/2017-10-31/functions/{FunctionName}/concurrency", 204),
    Route(
        "PutFunctionEventInvokeConfig", "PUT", _EVENTS, 200,
        "what becomes of events; destinations are functions of the lab, or at an endpoint that is named",
    ),
    Route("UpdateFunctionEventInvokeConfig", "POST", _EVENTS, 200),
    Route("GetFunctionEventInvokeConfig", "GET", _EVENTS, 200),
    Route("DeleteFunctionEventInvokeConfig", "DELETE", _EVENTS, 204),
    Route("ListFunctionEventInvokeConfigs", "GET", f"{_EVENTS}/list", 200, "Marker, MaxItems"),
    Route(
        "CreateEventSourceMapping", "POST", _MAPPINGS, 202,
        "SQS queues, standard and FIFO, streams of Kinesis and DynamoDB, at the endpoint that is named",
    ),
    Route("GetEventSourceMapping", "GET", f"{_MAPPINGS}/{{UUID}}", 200),
    Route(
        "ListEventSourceMappings", "GET", _MAPPINGS, 200, "EventSourceArn, FunctionName, Marker, MaxItems"
    ),
    Route("UpdateEventSourceMapping", "PUT", f"{_MAPPINGS}/{{UUID}}", 202, "waits for a change under way"),
    Route("DeleteEventSourceMapping", "DELETE", f"{_MAPPINGS}/{{UUID}}", 202, "the same"),
    Route(
        "PutProvisionedConcurrencyConfig", "PUT",
        "/2019-09-30/functions/{FunctionName}/provisioned-concurrency", 202,
        "environments of a version or an alias's version, started ahead",
    ),
    Route(
        "GetProvisionedConcurrencyConfig", "GET",
        "/2019-09-30/functions/{FunctionName}/provisioned-concurrency", 200,
    ),
    Route(
        "DeleteProvisionedConcurrencyConfig", "DELETE",
        "/2019-09-30/functions/{FunctionName}/provisioned-concurrency", 204,
    ),
    Route(
        "ListProvisionedConcurrencyConfigs", "GET",
        "/2019-09-30/functions/{FunctionName}/provisioned-concurrency?List=ALL", 200,
    ),
    Route(
        "CreateFunctionUrlConfig", "POST", _URL, 201,
        "an HTTP endpoint of its own; AuthType, InvokeMode, Cors; Qualifier is an alias",
    ),
    Route("GetFunctionUrlConfig", "GET", _URL, 200),
    Route("UpdateFunctionUrlConfig", "PUT", _URL, 200),
    Route("DeleteFunctionUrlConfig", "DELETE", _URL, 204),
    Route("ListFunctionUrlConfigs", "GET", f"{_URL}s", 200, "Marker, MaxItems"),
    Route("AddPermission", "POST", f"{_ONE}/policy", 201, "kept and told; everybody may invoke"),
    Route("GetPolicy", "GET", f"{_ONE}/policy", 200),
    Route("RemovePermission", "DELETE", f"{_ONE}/policy/{{StatementId}}", 204),
    Route("GetAccountSettings", "GET", "/2016-08-19/account-settings", 200),
    Route("ListTags", "GET", "/2017-03-31/tags/{Resource}", 200),
    Route("TagResource", "POST", "/2017-03-31/tags/{Resource}", 204),
    Route("UntagResource", "DELETE", "/2017-03-31/tags/{Resource}", 204),
)  # fmt: skip
"""What the lab answers, in the order of the reference page."""


@dataclass(frozen=True, slots=True)
class Match:
    """A request's operation and the parameters of its path."""

    route: Route
    parameters: Mapping[str, str]


def _split(path: str) -> tuple[str, ...]:
    return tuple(path.rstrip("/").split("/"))


_TABLE = tuple(
    (_split(route.path.partition("?")[0]), route.path.partition("?")[2], route) for route in ROUTES
)


@lru_cache(maxsize=4096)
def match(method: str, path: str, query: str = "") -> Match | frozenset[str]:
    """Return the operation that a request means, or the methods that its path has (none: no such path)."""
    segments = _split(path)
    methods: set[str] = set()
    found: Match | None = None
    for template, wanted, route in _TABLE:
        parameters = _fit(template, segments)
        if parameters is None:
            continue
        methods.add(route.method)
        if route.method != method or (wanted and wanted not in query.split("&")):
            continue
        if found is None or wanted:  # the one with a parameter of its own is the more exact
            found = Match(route, parameters)
    return found or frozenset(methods)


def _fit(template: tuple[str, ...], segments: tuple[str, ...]) -> dict[str, str] | None:
    if len(template) != len(segments):
        return None
    parameters: dict[str, str] = {}
    for part, segment in zip(template, segments, strict=True):
        if part.startswith("{"):
            if not segment:
                return None
            parameters[part[1:-1]] = unquote(segment)
        elif part != segment:
            return None
    return parameters
