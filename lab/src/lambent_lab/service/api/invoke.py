"""Invoke: the short way from a request to an environment and back.

Rules
- An event (`InvocationType=Event`) is answered at once, with 202 and nothing in it, and run later.
- The answer goes out when the function has given it. With `LogType=Tail` it waits for the end of the log.
- A caller that goes away does not end the invocation.
- An empty payload is `{}`. What is no JSON, or too large, does not reach the function.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from lambent_lab import strictjson, xray
from lambent_lab.errors import LabError
from lambent_lab.http import Later, Response
from lambent_lab.service import names
from lambent_lab.service.api import errors
from lambent_lab.service.core import Call
from lambent_lab.service.problems import ServiceError

if TYPE_CHECKING:
    from lambent_lab.environment import Invocation
    from lambent_lab.http import Request
    from lambent_lab.service.api.desk import Desk
    from lambent_lab.service.core import Deployed

MAX_PAYLOAD = 6_291_456
MAX_EVENT = 1_048_576
MAX_CONTEXT = 3583

_NO_JSON = ("image/", "audio/", "video/", "multipart/", "text/html", "text/xml", "application/xml")
_TYPES = ("RequestResponse", "DryRun", "Event")


def invoke(desk: Desk, name: str, request: Request) -> Response | Later:
    """Invoke. Raises ServiceError for what is refused at once."""
    headers = request.headers
    deployed, call = read(desk, name, request)
    kind = headers.get("x-amz-invocation-type") or "RequestResponse"
    if kind not in _TYPES:
        raise names.invalid(
            f"Value '{kind}' at 'invocationType' failed to satisfy constraint: "
            "Member must satisfy enum value set: [Event, RequestResponse, DryRun]"
        )
    if kind == "Event":
        return _queue(desk, deployed, call)
    tail = wants_tail(headers.get("x-amz-log-type"))
    version = desk.core.choose(deployed, call.qualifier)
    if kind == "DryRun":
        return Response(204, b"", (("X-Amz-Executed-Version", version.number),))
    later = Later()

    def answer(payload: bytes, error: str | None, log: str | None = None) -> None:
        fields = [
            ("X-Amzn-RequestId", call.request_id or ""),
            ("X-Amz-Executed-Version", version.number),
            ("X-Amzn-Remapped-Content-Length", "0"),
            ("X-Amzn-Trace-Id", call.trace_header or ""),
        ]
        if error is not None:
            fields.append(("X-Amz-Function-Error", error))
        if log is not None:
            fields.append(("X-Amz-Log-Result", log))
        later.set(Response(200, payload, tuple(fields)))

    async def run() -> None:
        try:
            invocation = await desk.core.run(deployed, version, call, None if tail else answer)
        except asyncio.CancelledError:
            later.set(errors.failure(LabError("The lab is closing."), request))
            raise
        except Exception as error:  # noqa: BLE001 - the edge: whatever is raised becomes an answer
            later.set(errors.failure(error, request))
        else:
            if tail:
                answer(invocation.payload, invocation.function_error, log_tail(invocation))

    desk.core.fleet.begin(run())
    return later


def _queue(desk: Desk, deployed: Deployed, call: Call) -> Response:
    """Take an event, to be run later. Only what runs at once has a client context."""
    if len(call.payload) > MAX_EVENT:
        raise too_large(MAX_EVENT)
    deployed.record.version(call.qualifier)  # raises where there is none
    desk.core.events.put(deployed, replace(call, client_context=None))
    fields = [
        ("X-Amzn-RequestId", call.request_id or ""),
        ("X-Amzn-Remapped-Content-Length", "0"),
        ("X-Amzn-Trace-Id", call.trace_header or ""),
    ]
    return Response(202, b"", tuple(fields))


def read(desk: Desk, name: str, request: Request) -> tuple[Deployed, Call]:
    """Return the function and the call that a request means. Raises ServiceError."""
    query = request.query
    qualifier = parse_qs(query).get("Qualifier", [None])[0] if query else None
    reference = names.parse(name, qualifier)
    deployed = desk.core.find(reference)
    headers = request.headers
    content_type = headers.get("content-type", "").lower()
    if content_type.startswith(_NO_JSON) or headers.get("content-encoding", "identity") != "identity":
        raise ServiceError(
            "UnsupportedMediaTypeException",
            415,
            "The content type of the Invoke request body is not JSON.",
        )
    payload = request.body or b"{}"
    if len(payload) > MAX_PAYLOAD:
        raise too_large()
    try:
        strictjson.loads(payload.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ServiceError(
            "InvalidRequestContentException",
            400,
            f"Could not parse request body into json: Could not parse payload into json: {error}",
        ) from error
    context = headers.get("x-amz-client-context")
    return deployed, Call(
        payload=payload,
        request_id=str(uuid.uuid4()),
        qualifier=reference.qualifier,
        trace_header=trace_header(headers.get("x-amzn-trace-id"), deployed),
        client_context=None if not context else client_context(context),
        tenant_id=headers.get("x-amz-tenant-id"),
    )


def trace_header(given: str | None, deployed: Deployed) -> str:
    """Return the trace header of an invocation whose caller gave this one. Active functions are sampled."""
    active = deployed.record.latest.about.get("TracingConfig", {}).get("Mode") == "Active"
    if active and "Sampled=" not in (given or ""):
        given = f"{given};Sampled=1" if given else "Sampled=1"
    return xray.header(given)


def client_context(text: str) -> str:
    """Return the JSON text that a ClientContext holds in base64. Raises ServiceError."""
    if len(text) > MAX_CONTEXT:
        raise ServiceError(
            "InvalidRequestContentException", 400, f"Client context must be no more than {MAX_CONTEXT} bytes."
        )
    try:
        decoded = base64.b64decode(text, validate=True).decode()
        found = strictjson.loads(decoded)
    except (binascii.Error, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ServiceError(
            "InvalidRequestContentException",
            400,
            "Client context must be a valid Base64-encoded JSON object.",
        )
    return decoded


def wants_tail(log_type: str | None) -> bool:
    """Tell whether a caller asks for the log. Raises ServiceError for what is neither of AWS's words."""
    if log_type not in {None, "None", "Tail"}:
        raise names.invalid(
            f"Value '{log_type}' at 'logType' failed to satisfy constraint: "
            "Member must satisfy enum value set: [None, Tail]"
        )
    return log_type == "Tail"


def log_tail(invocation: Invocation) -> str:
    """Return the last 4 KB of an invocation's log, in base64."""
    return base64.b64encode(invocation.tail).decode()


def too_large(limit: int = MAX_PAYLOAD) -> ServiceError:
    """Return the refusal of a payload over the limit."""
    return ServiceError(
        "RequestTooLargeException",
        413,
        f"Request must be smaller than {limit} bytes for the InvokeFunction operation",
    )
