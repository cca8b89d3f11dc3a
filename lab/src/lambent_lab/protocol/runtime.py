"""The Runtime API as a state machine over values.

Rules
- A runtime starts in STARTED. Its first `next` ends the init phase: READY. `init/error` ends it too:
  INIT_ERROR, from which nothing leads on.
- With SnapStart the init phase may end with `restore/next` instead: the runtime waits in SNAPSHOT, is copied,
  and goes on in RESTORING when that is answered. Its hooks run then, until its first `next` (READY) or
  `restore/error` (RESTORE_ERROR, from which nothing leads on). Without SnapStart both paths do not exist.
- An event is handed to a runtime in READY only and makes it RUNNING. While RUNNING, `next` serves the same
  event again (a runtime that lost its connection asks twice); in READY, another `next` waits beside the
  first, and the newest one is served.
- `response` and `error` must carry the id of the event being run: any other id is InvalidRequestID (400),
  checked before the state as the real service does. With the right id they are legal once, in RUNNING; the
  second one is InvalidStateTransition (403). After that only `next` leads on.
- A runtime may say which attempt it answers (`Lambda-Runtime-Invocation-Id`, which comes with the events of
  managed instances). One that is over is refused, though a retry has its request id: InvokeTimeout (410).
- A refused call changes nothing.
- A response body may have 6 MiB + 100 bytes; above that the call is answered 413 and the invocation ends with
  Function.ResponseSizeTooLarge. It counts as the one response.
- `Lambda-Runtime-Function-Error-Type` must be (Runtime|Function).Name; anything else becomes
  Function.Unknown, or Runtime.Unknown during init.
- The response mode is absent or "streaming"; any other is 400 InvalidFunctionResponseMode.
- A streamed response begins with its head (`begin`): RESPONDING. Until its body is over (`finish`) every
  other call of this runtime is an InvalidStateTransition. An error in it travels in the trailers
  `Lambda-Runtime-Function-Error-Type` and `-Error-Body` (base64); a body that breaks off is 400
  TruncatedHTTPRequest, and the invocation ends with Runtime.TruncatedResponse; one that is too large is 413.
  However it ends, it was the one response.
- Paths that do not exist are 404, wrong methods 405, and `ping` answers pong in every state.

The table below is all there is: (state, call) -> next state. What is not in it is InvalidStateTransition.
"""

from __future__ import annotations

import base64
import binascii
import enum
import json
import re
from typing import TYPE_CHECKING

from lambent_lab.http.messages import BadBody, Request
from lambent_lab.protocol.outcomes import (
    Answer,
    Event,
    InitFailed,
    Outcome,
    Polled,
    Reply,
    ResponseTooLarge,
    ResponseTruncated,
    RestoreFailed,
    SnapshotReady,
    StreamBegan,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = "/2018-06-01"
MAX_RESPONSE = 6 * 1024 * 1024 + 100
STREAMING_PRELUDE_TYPE = "application/vnd.awslambda.http-integration-response"

_ERROR_TYPE = re.compile(r"(Runtime|Function)\.[A-Z][a-zA-Z]+")
_MODE = "lambda-runtime-function-response-mode"
_INVOCATION_ID = "lambda-runtime-invocation-id"
_ERROR_TYPE_FIELD = "lambda-runtime-function-error-type"
_INVOCATION = re.compile(rf"{VERSION}/runtime/invocation/([^/]+)/(response|error)")


_PLAIN = ("Content-Type", "text/plain; charset=utf-8")


class State(enum.Enum):
    """Where a runtime is in its life."""

    STARTED = "started"
    INIT_ERROR = "init error"
    SNAPSHOT = "snapshot"
    RESTORING = "restoring"
    RESTORE_ERROR = "restore error"
    READY = "ready"
    RUNNING = "running"
    RESPONDING = "responding"
    RESPONDED = "responded"

    __hash__ = object.__hash__  # there is one of each, and Enum's own hash is slow


class Call(enum.Enum):
    """What can happen to a runtime: its own calls, being restored, and being handed an event."""

    NEXT = "next"
    INIT_ERROR = "init error"
    RESTORE_NEXT = "restore next"
    RESTORE = "restore"
    RESTORE_ERROR = "restore error"
    RESPONSE = "response"
    STREAM = "streamed response"
    STREAM_END = "end of streamed response"
    ERROR = "error"
    OFFER = "offer"

    __hash__ = object.__hash__  # as State's


TRANSITIONS: Mapping[tuple[State, Call], State] = {
    (State.STARTED, Call.NEXT): State.READY,
    (State.STARTED, Call.INIT_ERROR): State.INIT_ERROR,
    (State.STARTED, Call.RESTORE_NEXT): State.SNAPSHOT,
    (State.SNAPSHOT, Call.RESTORE_NEXT): State.SNAPSHOT,
    (State.SNAPSHOT, Call.RESTORE): State.RESTORING,
    (State.RESTORING, Call.NEXT): State.READY,
    (State.RESTORING, Call.RESTORE_ERROR): State.RESTORE_ERROR,
    (State.READY, Call.NEXT): State.READY,
    (State.READY, Call.OFFER): State.RUNNING,
    (State.RUNNING, Call.NEXT): State.RUNNING,
    (State.RUNNING, Call.RESPONSE): State.RESPONDED,
    (State.RUNNING, Call.ERROR): State.RESPONDED,
    (State.RUNNING, Call.STREAM): State.RESPONDING,
    (State.RESPONDING, Call.STREAM_END): State.RESPONDED,
    (State.RESPONDED, Call.NEXT): State.READY,
}


_OK = Reply(202, b'{"status":"OK"}\n')


def refusal(status: int, error_type: str, message: str) -> Reply:
    """Return an error reply in the API's shape."""
    body = json.dumps({"errorMessage": message, "errorType": error_type}, separators=(",", ":"))
    return Reply(status, body.encode())


def error_type_of(header: str, fallback: str) -> str:
    """Return the error type that a header names, or the fallback when it is not of the allowed form."""
    return header if _ERROR_TYPE.fullmatch(header) else fallback


class RuntimeApi:
    """One runtime process's conversation with Lambda. `snap_start` says whether it may be restored."""

    def __init__(self, *, snap_start: bool = False) -> None:
        self.state = State.STARTED
        self._snap_start = snap_start
        self._event: Event | None = None

    @property
    def event(self) -> Event | None:
        """The event that the runtime works on or worked on last."""
        return self._event

    def offer(self, event: Event) -> Reply:
        """Hand an event to a waiting runtime and return the answer to its `next`. Only legal in READY."""
        if (self.state, Call.OFFER) not in TRANSITIONS:
            raise ValueError(
                f"No event can be handed to a runtime that is {self.state.value}: wait for its next."
            )
        self._move(Call.OFFER)
        self._event = event
        return self._serve(event)

    def restore(self) -> Reply:
        """Let a runtime that waits in SNAPSHOT go on; return the answer to its `restore/next`."""
        if (self.state, Call.RESTORE) not in TRANSITIONS:
            raise ValueError(f"A runtime that is {self.state.value} cannot be restored.")
        self._move(Call.RESTORE)
        return Reply(200)

    def receive(self, request: Request, bad: BadBody | None = None) -> Outcome:
        """Take one call and say what it means. `bad` tells that its body did not arrive as it should have."""
        path = request.path
        if path == f"{VERSION}/ping":
            return only("GET", request) or Reply(200, b"pong", (_PLAIN,))
        if path == f"{VERSION}/runtime/invocation/next":
            return only("GET", request) or self._next()
        if path == f"{VERSION}/runtime/init/error":
            return only("POST", request) or self._init_error(request, bad)
        if self._snap_start and path == f"{VERSION}/runtime/restore/next":
            return only("GET", request) or self._restore_next()
        if self._snap_start and path == f"{VERSION}/runtime/restore/error":
            return only("POST", request) or self._restore_error(request, bad)
        if match := _INVOCATION.fullmatch(path):
            return only("POST", request) or self._answer(request, match[1], match[2], bad)
        return Reply(404, b"404 page not found\n", (_PLAIN,))

    def begin(self, request: Request) -> Reply | StreamBegan:
        """Take the head of a streamed response (see `is_stream`)."""
        match = _INVOCATION.fullmatch(request.path)
        assert match is not None
        refused = self._refused(request, match[1], Call.STREAM)
        if refused is not None:
            return refused
        self._move(Call.STREAM)
        return StreamBegan(match[1], request.headers.get("content-type", ""))

    def finish(
        self, began: StreamBegan, body: bytes, trailers: Mapping[str, str], bad: BadBody | None = None
    ) -> Answer | ResponseTooLarge | ResponseTruncated:
        """Take the end of a streamed response. `body` is what the answer shall hold of it."""
        if (self.state, Call.STREAM_END) not in TRANSITIONS:
            raise ValueError(f"A runtime that is {self.state.value} is not streaming a response.")
        self._move(Call.STREAM_END)
        if bad is BadBody.TOO_LARGE:
            return ResponseTooLarge(bad_body(bad), began.request_id)
        if bad is BadBody.TRUNCATED:
            return ResponseTruncated(bad_body(bad), began.request_id)
        return _streamed(began, body, trailers)

    def _next(self) -> Outcome:
        if (self.state, Call.NEXT) not in TRANSITIONS:
            return self._illegal(Call.NEXT)
        first = self.state in {State.STARTED, State.RESTORING}
        self._move(Call.NEXT)
        if self.state is State.RUNNING:
            assert self._event is not None
            return Polled(first=False, reply=self._serve(self._event))
        return Polled(first=first)

    def _init_error(self, request: Request, bad: BadBody | None) -> Outcome:
        if (self.state, Call.INIT_ERROR) not in TRANSITIONS:
            return self._illegal(Call.INIT_ERROR)
        if bad is not None:
            return bad_body(bad)
        self._move(Call.INIT_ERROR)
        kind = error_type_of(request.headers.get(_ERROR_TYPE_FIELD, ""), "Runtime.Unknown")
        return InitFailed(_OK, kind, request.body)

    def _restore_next(self) -> Outcome:
        if (self.state, Call.RESTORE_NEXT) not in TRANSITIONS:
            return self._illegal(Call.RESTORE_NEXT)
        self._move(Call.RESTORE_NEXT)
        return SnapshotReady()

    def _restore_error(self, request: Request, bad: BadBody | None) -> Outcome:
        if (self.state, Call.RESTORE_ERROR) not in TRANSITIONS:
            return self._illegal(Call.RESTORE_ERROR)
        if bad is not None:
            return bad_body(bad)
        self._move(Call.RESTORE_ERROR)
        kind = error_type_of(request.headers.get(_ERROR_TYPE_FIELD, ""), "Runtime.Unknown")
        return RestoreFailed(_OK, kind, request.body)

    def _answer(self, request: Request, request_id: str, what: str, bad: BadBody | None) -> Outcome:
        call = Call.RESPONSE if what == "response" else Call.ERROR
        refused = self._refused(request, request_id, call)
        if refused is not None:
            return refused
        if bad is BadBody.TRUNCATED:
            return bad_body(bad)
        headers = request.headers
        mode = headers.get(_MODE, "")
        if call is Call.RESPONSE and mode not in {"", "streaming"}:
            return refusal(400, "InvalidFunctionResponseMode", "Invalid function response mode")
        if bad is BadBody.TOO_LARGE or len(request.body) > MAX_RESPONSE:
            self._move(call)
            return ResponseTooLarge(bad_body(BadBody.TOO_LARGE), request_id)
        self._move(call)
        content_type = headers.get("content-type", "")
        if call is Call.ERROR:
            kind = error_type_of(headers.get(_ERROR_TYPE_FIELD, ""), "Function.Unknown")
            return Answer(_OK, request_id, request.body, kind, content_type)
        if mode:
            return _streamed(StreamBegan(request_id, content_type), request.body, request.trailers)
        return Answer(_OK, request_id, request.body, None, content_type)

    def _refused(self, request: Request, request_id: str, call: Call) -> Reply | None:
        """Return the refusal of an answer to another event, or of one that comes when it must not."""
        event = self._event
        if event is None or request_id != event.request_id:
            return refusal(400, "InvalidRequestID", "Invalid request ID")
        attempt = request.headers.get(_INVOCATION_ID)
        if attempt and event.invocation_id and attempt != event.invocation_id:
            return refusal(410, "InvokeTimeout", "Invoke timeout")
        return None if (self.state, call) in TRANSITIONS else self._illegal(call)

    def _move(self, call: Call) -> None:
        self.state = TRANSITIONS[self.state, call]

    def _illegal(self, call: Call) -> Reply:
        return refusal(
            403,
            "InvalidStateTransition",
            f"Transition from {self.state.value} on {call.value} is not allowed",
        )

    @staticmethod
    def _serve(event: Event) -> Reply:
        return Reply(200, event.payload, event.headers())


def is_stream(request: Request) -> bool:
    """Tell from its head whether a request is a streamed response, for `begin`."""
    if request.headers.get(_MODE) != "streaming" or request.method != "POST":
        return False
    match = _INVOCATION.fullmatch(request.path)
    return match is not None and match[2] == "response"


def _streamed(began: StreamBegan, body: bytes, trailers: Mapping[str, str]) -> Answer:
    kind = trailers.get(_ERROR_TYPE_FIELD)
    if kind:
        body = _decoded(trailers.get("lambda-runtime-function-error-body", ""))
    error_type = error_type_of(kind, "Function.Unknown") if kind else None
    return Answer(_OK, began.request_id, body, error_type, began.content_type, streaming=True)


def only(method: str, request: Request) -> Reply | None:
    """Return the refusal of a request whose method is another, None when it is this one."""
    if request.method == method:
        return None
    return Reply(405, b"", (("Allow", method),))


def bad_body(bad: BadBody) -> Reply:
    """Return the refusal of a request whose body did not arrive as it should have."""
    if bad is BadBody.TOO_LARGE:
        return refusal(
            413, "RequestEntityTooLarge", f"Exceeded maximum allowed payload size ({MAX_RESPONSE} bytes)."
        )
    return refusal(400, "TruncatedHTTPRequest", "HTTP request is truncated")


def _decoded(trailer: str) -> bytes:
    """Return the error body of a streamed response: base64 in the trailer, or the text itself."""
    try:
        return base64.b64decode(trailer, validate=True)
    except (binascii.Error, ValueError):
        return trailer.encode("utf-8", "replace")
