"""What goes over the Runtime API as values: the event, replies, and what a runtime's calls mean."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """An invocation as the runtime gets it. `deadline_ms` is since the epoch; empty texts are left out.

    `invocation_id` is another one for each attempt, where a retry has the request id of the first.
    """

    request_id: str
    payload: bytes
    deadline_ms: int
    function_arn: str = ""
    trace_header: str = ""
    client_context: str = ""
    cognito_identity: str = ""
    tenant_id: str = ""
    invocation_id: str = ""

    def headers(self) -> tuple[tuple[str, str], ...]:
        """Return the header fields of the answer to `next`."""
        fields = (
            ("Lambda-Runtime-Aws-Request-Id", self.request_id),
            ("Lambda-Runtime-Deadline-Ms", str(self.deadline_ms)),
            ("Lambda-Runtime-Invoked-Function-Arn", self.function_arn),
            ("Lambda-Runtime-Trace-Id", self.trace_header),
            ("Lambda-Runtime-Client-Context", self.client_context),
            ("Lambda-Runtime-Cognito-Identity", self.cognito_identity),
            ("Lambda-Runtime-Aws-Tenant-Id", self.tenant_id),
            ("Lambda-Runtime-Invocation-Id", self.invocation_id),
        )
        return tuple((name, value) for name, value in fields if value)


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to one call."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Polled:
    """The runtime asked for the next event. `reply` is None when it has to wait for one.

    `first` tells that its init is over, or its restore.
    """

    first: bool
    reply: Reply | None = None


@dataclass(frozen=True, slots=True)
class SnapshotReady:
    """The runtime has finished its init and may be copied; it waits to be restored."""


@dataclass(frozen=True, slots=True)
class RestoreFailed:
    """The runtime gave up after it was restored: what it said."""

    reply: Reply
    error_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class InitFailed:
    """The runtime gave up its init: what it said."""

    reply: Reply
    error_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """The runtime answered the event. `error_type` is None for a response."""

    reply: Reply
    request_id: str
    body: bytes
    error_type: str | None = None
    content_type: str = ""
    streaming: bool = False


@dataclass(frozen=True, slots=True)
class ResponseTooLarge:
    """The runtime answered the event with more than is allowed."""

    reply: Reply
    request_id: str


@dataclass(frozen=True, slots=True)
class ResponseTruncated:
    """The connection broke off in the middle of a streamed response."""

    reply: Reply
    request_id: str


@dataclass(frozen=True, slots=True)
class StreamBegan:
    """The runtime begins to answer the event with a streamed response."""

    request_id: str
    content_type: str


Outcome = Reply | Polled | SnapshotReady | InitFailed | RestoreFailed | Answer | ResponseTooLarge
