"""One invocation, as a load test's users make it: of a function in the lab, in AWS, or behind a URL.

Rules
- What the caller is told decides: an error of the function (or a timeout) is `failed`, a 429 is `throttled`.
  A call that is not answered at all is failed.
- Nothing is sent twice: a client that tries again by itself hides what a load test is to show.
- A cold start is what the lab says, or REPORT's Init Duration (or Restore Duration) in the tail of AWS's log.
  Behind a URL nobody says.
"""

from __future__ import annotations

import base64
import http.client
import json
import threading
from collections import deque
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from lambent_lab.measure.late import MOST, add_late
from lambent_lab.measure.load.loops import Outcome
from lambent_lab.measure.records import reason
from lambent_lab.measure.remote import aws, reportline, rie

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lambent_lab.measure.accounting import SpanCounter
    from lambent_lab.measure.records import ResultLike
    from lambent_lab.measure.sampler import FunctionLike

    Call = Callable[[int], Outcome]
    """Makes one invocation for a user, who has a number; users may call at the same time."""

_THROTTLED = "TooManyRequestsException"


class InLab:
    """Invocations of a function in the lab."""

    def __init__(self, function: FunctionLike, event: object) -> None:
        self._function = function
        self._event = event
        self._silent: deque[ResultLike] = deque(maxlen=MOST)

    def __call__(self, _user: int) -> Outcome:
        """Make one."""
        from lambent_lab.service.problems import ServiceError

        try:
            result = self._function.invoke(self._event)
        except ServiceError as error:
            if error.status == HTTPStatus.TOO_MANY_REQUESTS:
                return Outcome("throttled", f"{error.code}: {error.reason or error}")
            raise
        failure = reason(result)
        if failure is not None:
            return Outcome("failed", failure, result.cold)
        spans = None if result.spans is None else len(result.spans)
        if spans == 0:
            self._silent.append(result)
        return Outcome("ok", None, result.cold, spans, result.spans_made)

    def end(self, counter: SpanCounter) -> None:
        """End the environments, and count the spans that leave with them."""
        self._function.stop()
        add_late(counter, self._function, [*self._silent])


@contextmanager
def in_aws(
    text: str, event: object, *, region: str | None, endpoint_url: str | None, users: int
) -> Iterator[Call]:
    """Invocations of `FUNCTION[:QUALIFIER]`, by name or ARN, through AWS's API. Raises UsageError."""
    name, qualifier = aws.split(text)
    client = aws_client(region, endpoint_url, users)
    try:
        yield aws_call(client, name, qualifier, json.dumps({} if event is None else event).encode())
    finally:
        client.close()


def aws_client(region: str | None, endpoint_url: str | None, users: int) -> Any:
    """A client with a connection for each user, which tries nothing twice. Raises UsageError."""
    return aws.connect(region, endpoint_url, connections=max(10, users))[0]


def aws_call(client: Any, name: str, qualifier: str | None, payload: bytes) -> Call:
    """Invocations through a client."""
    from botocore.exceptions import ClientError

    about: dict[str, Any] = {"FunctionName": name, "LogType": "Tail"}
    if qualifier is not None:
        about["Qualifier"] = qualifier

    def call(_user: int) -> Outcome:
        try:
            answer = client.invoke(Payload=payload, **about)
            body = answer["Payload"].read()
        except ClientError as error:
            said = error.response.get("Error", {})
            text = f"{said.get('Code')}: {error.response.get('Reason') or said.get('Message')}"
            return Outcome("throttled" if said.get("Code") == _THROTTLED else "failed", text)
        tail = base64.b64decode(answer.get("LogResult") or b"").decode("utf-8", "replace")
        request_id = str(answer["ResponseMetadata"].get("RequestId", ""))
        figures = reportline.parse(tail.splitlines(), request_id)
        cold = None if figures is None else figures.init_ms is not None
        failure = failure_of(body, answer.get("FunctionError"))
        return Outcome("ok", None, cold) if failure is None else Outcome("failed", failure, cold)

    return call


@contextmanager
def at_url(url: str, event: object, *, timeout_s: float) -> Iterator[Call]:
    """Invocations by POST to a URL as RIE has it; without a path it is RIE's own. Raises UsageError."""
    with connections(url, timeout_s=timeout_s) as (connect, path):
        yield url_call(connect, path, json.dumps({} if event is None else event).encode())


@contextmanager
def connections(
    url: str, *, timeout_s: float
) -> Iterator[tuple[Callable[[], http.client.HTTPConnection], str]]:
    """What gives each thread its connection to a URL's server, and the path. Raises UsageError."""
    at = rie.address(url)
    kind = http.client.HTTPSConnection if at.secure else http.client.HTTPConnection
    mine = threading.local()
    opened: list[http.client.HTTPConnection] = []

    def connect() -> http.client.HTTPConnection:
        made: http.client.HTTPConnection | None = getattr(mine, "connection", None)
        if made is None:
            made = mine.connection = kind(at.host, at.port, timeout=timeout_s)
            opened.append(made)
        return made

    try:
        yield connect, at.path
    finally:
        for connection in opened:
            with suppress(OSError):
                connection.close()


def url_call(connect: Callable[[], http.client.HTTPConnection], path: str, payload: bytes) -> Call:
    """Invocations over the connection that `connect` gives to each user."""

    def call(_user: int) -> Outcome:
        connection = connect()
        try:
            connection.request("POST", path, payload, {"Content-Type": "application/json"})
            rie.acknowledge_at_once(connection)
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            with suppress(OSError):
                connection.close()  # the next request opens it again
            return Outcome(
                "failed", f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            )
        if response.status == HTTPStatus.TOO_MANY_REQUESTS:
            return Outcome("throttled", _THROTTLED)
        if response.status >= HTTPStatus.BAD_REQUEST:
            return Outcome("failed", f"HTTP {response.status}: {body[:200].decode('utf-8', 'replace')}")
        failure = failure_of(body, response.headers.get("X-Amz-Function-Error"))
        return Outcome() if failure is None else Outcome("failed", failure)

    return call


def failure_of(body: bytes, function_error: str | None) -> str | None:
    """Why an answer is that of a failed invocation; None when it is not.

    RIE marks an exception by its document only, and a timeout by a plain text.
    """
    try:
        answer: object = json.loads(body or b"null")
    except (ValueError, RecursionError):
        text = body[:200].decode("utf-8", "replace")
        return text if function_error or "Task timed out after" in text else None
    if isinstance(answer, dict):
        kind, message = answer.get("errorType"), answer.get("errorMessage")
        if function_error or (kind and message is not None):
            return ": ".join(str(each) for each in (kind or function_error, message) if each)[:300]
        code = answer.get("statusCode")
        if isinstance(code, int) and not isinstance(code, bool) and code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return f"it answered with statusCode {code}"
    return function_error
