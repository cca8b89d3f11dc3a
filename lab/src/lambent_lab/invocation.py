"""The result of one invocation, and the errors that Lambda itself reports."""

from __future__ import annotations

import json
import math
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lambent_lab.protocol import Event
from lambent_lab.protocol.runtime import MAX_RESPONSE
from lambent_lab.response import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable

    from lambent_lab.sandbox import BoxReport, Usage

Status = Literal["success", "error", "timeout"]

TAIL_BYTES = 4096
"""How much of the log a caller that asks for it gets with the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """One invocation, as the caller and the log saw it.

    `payload` is what the caller gets: the response, or the error document. `cold` tells that the caller
    waited for an init or a restore. Durations are in ms; `init_ms` is there for the first invocation after
    an init, `restore_ms` for the first after a restore; `billed_ms` is REPORT's. `max_memory_mb` is what
    REPORT says, `peak_rss` and `peak_with_cache` (bytes) are what it comes from;
    `rss` was resident at the end. `cpu_ms` is the box's CPU time, init included when cold. `log` has every
    line, those of init before START. The two times are wall
    clock, ns since the epoch: `init_ms` lies before `started_ns`. `response_ms` is when the caller had the
    first byte of its answer. A response that the function streamed (`streamed`) went on for
    `response_duration_ms` from there; where a sink took it, it is not in `payload`. `produced_bytes` is its
    size, streamed or not. With extensions the duration goes on until they are done, `extension_overhead_ms`
    longer, and `status` can tell of their failure after a good answer. `box` is how it was
    held, and what that box cannot do.
    """

    request_id: str
    cold: bool
    status: Status
    function_error: str | None
    payload: bytes
    duration_ms: float
    init_ms: float | None
    billed_ms: int
    memory_mb: int
    max_memory_mb: int | None
    cpu_ms: float | None
    log: tuple[str, ...]
    trace_header: str
    started_ns: int
    ended_ns: int
    response_ms: float
    response_duration_ms: float = 0.0
    streamed: bool = False
    produced_bytes: int = 0
    extension_overhead_ms: float | None = None
    peak_rss: int | None = None
    peak_with_cache: int | None = None
    rss: int | None = None
    restore_ms: float | None = None
    log_start: int = 0
    box: BoxReport | None = None

    @property
    def tail(self) -> bytes:
        """What LogType=Tail gives: the last 4 KB of the log from START to REPORT."""
        text = "".join(f"{line}\n" for line in self.log[self.log_start :])
        return text.encode("utf-8", "replace")[-TAIL_BYTES:]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An invocation or an init that failed: its type, the document for the caller, and how REPORT puts it.

    `exit` is how Lambda words the end of the process, where that was the failure.
    `report_status` is None for errors that the function's own code reported: Lambda's REPORT does not mention
    them.
    """

    error_type: str
    body: bytes
    report_status: Literal["error", "timeout"] | None = None
    exit: str | None = None


def document(error_type: str, message: str) -> bytes:
    """Return an error document in AWS's shape."""
    return json.dumps({"errorType": error_type, "errorMessage": message}, separators=(",", ":")).encode()


def timeout(request_id: str, timeout_s: float) -> Failure:
    """Return the failure of an invocation that ran out of time."""
    kind = "Sandbox.Timedout"
    message = f"RequestId: {request_id} Error: Task timed out after {timeout_s:.2f} seconds"
    return Failure(error_type=kind, body=document(kind, message), report_status="timeout")


def ended(request_id: str, kind: str, how: str) -> Failure:
    """Return the failure of an invocation whose runtime or extension ended (Runtime.ExitError, …)."""
    body = document(kind, f"RequestId: {request_id} Error: {how}")
    return Failure(error_type=kind, body=body, report_status="error", exit=how)


def too_large(limit: int = MAX_RESPONSE) -> Failure:
    """Return the failure of an invocation whose response was over the limit, in bytes."""
    kind = "Function.ResponseSizeTooLarge"
    message = f"Response payload size exceeded maximum allowed payload size ({limit} bytes)."
    return Failure(error_type=kind, body=document(kind, message), report_status="error")


def truncated() -> Failure:
    """Return the failure of an invocation whose streamed response broke off."""
    kind = "Runtime.TruncatedResponse"
    body = document(kind, "The connection was closed before the response was complete.")
    return Failure(error_type=kind, body=body, report_status="error")


def whole_ms(duration_ms: float) -> int:
    """Return a duration as it is billed: whole ms, rounded up."""
    return math.ceil(round(duration_ms, 6))


def megabytes(size: int) -> int:
    """Return bytes as whole MB, rounded up as REPORT does."""
    return math.ceil(size / (1024 * 1024))


class Run:
    """One invocation while it is under way: its clock and what was measured."""

    def __init__(
        self,
        *,
        request_id: str,
        payload: bytes,
        trace_header: str,
        function_arn: str,
        timeout_s: float,
        client_context: str = "",
        cognito_identity: str = "",
        tenant_id: str = "",
        on_answer: Callable[[bytes, str | None], None] | None = None,
        delivery: Delivery | None = None,
    ) -> None:
        self.request_id = request_id
        self.trace_header = trace_header
        self.timeout_s = timeout_s
        self._payload = payload
        self._function_arn = function_arn
        self._client_context = client_context
        self._cognito_identity = cognito_identity
        self._tenant_id = tenant_id
        self.cold = False
        self.init_ms: float | None = None
        self.init_inside = False
        self.init_ahead = False  # init ran before there was an invocation, and is billed by itself
        self.restore_ms: float | None = None
        self.billed_restore_ms = 0
        self.reported = False  # subscribers of the Telemetry API have heard the report
        self.out_of_memory = False
        self.process_gone = False
        self.usage: Usage | None = None
        self.started_ns = self.ended_ns = 0
        self._from = 0.0
        self._until: float | None = None
        self._answered: float | None = None
        self._extended = False
        self._on_answer = on_answer
        self.delivery = delivery or Delivery()
        self.responding: tuple[float, float] | None = None  # from and to, on the performance counter

    def event(self, *, alone: bool) -> Event:
        """Return the event as the runtime gets it, with the deadline of the clock that runs now.

        Not `alone`, beside others and in a process that outlives its timeout, it says which attempt it is.
        """
        return Event(
            request_id=self.request_id,
            payload=self._payload,
            deadline_ms=self.deadline_ms,
            function_arn=self._function_arn,
            trace_header=self.trace_header,
            client_context=self._client_context,
            cognito_identity=self._cognito_identity,
            tenant_id=self._tenant_id,
            invocation_id="" if alone else str(uuid.uuid4()),
        )

    def begin(self) -> None:
        """Start the clock (again)."""
        self.started_ns = time.time_ns()
        self._from = time.perf_counter()

    def end(self, at: float | None) -> None:
        """Stop the clock, at a moment of the performance counter or now. The first stop counts."""
        if self._until is None:
            self._until = time.perf_counter() if at is None else at
            self.ended_ns = self.started_ns + int((self._until - self._from) * 1e9)

    def answer(self, payload: bytes, function_error: str | None) -> None:
        """Give the caller what it gets: it is settled with the end so far. The first answer counts."""
        if self._answered is not None:
            return
        self.end(None)
        self._answered = self._until
        if self._on_answer is not None:
            self._on_answer(payload, function_error)

    def extend(self, at: float) -> None:
        """Stop the clock again, later: what went on beside the runtime counts as well."""
        assert self._until is not None
        self._until = max(self._until, at)
        self._extended = True
        self.ended_ns = self.started_ns + int((self._until - self._from) * 1e9)

    @property
    def reported_init_ms(self) -> float | None:
        """The init phase that came before the invocation, for the first one after it; else None."""
        return None if self.init_inside else self.init_ms

    @property
    def billed_ms(self) -> int:
        """What is billed, in whole ms: since August 2025 an on-demand init counts as well.

        An init that ran ahead (provisioned concurrency) is billed by itself. Of a restore the hooks are
        billed: from the moment the runtime runs again.
        """
        init_ms = 0.0 if self.init_ahead else self.reported_init_ms or 0.0
        return whole_ms(self.duration_ms + init_ms + self.billed_restore_ms)

    @property
    def overhead_ms(self) -> float | None:
        """How long extensions went on after the answer, None when there were none to wait for."""
        return self.duration_ms - self.answered_ms if self._extended else None

    @property
    def answered_ms(self) -> float:
        """How long it took until the caller had all of its answer."""
        assert self._answered is not None
        return (self._answered - self._from) * 1000

    @property
    def response_ms(self) -> float:
        """How long the caller waited for the first byte of its answer."""
        began = self.delivery.began
        return self.answered_ms if began is None else (began - self._from) * 1000

    def span(self) -> tuple[float, float, float] | None:
        """Return when the runtime began to respond, in ms from the start and in s since the epoch.

        The last figure is how long it went on, in ms. None: it did not respond.
        """
        if self.responding is None:
            return None
        began, ended = self.responding
        latency_s = max(0.0, began - self._from)
        return latency_s * 1000, self.started_ns / 1e9 + latency_s, max(0.0, ended - began) * 1000

    @property
    def deadline_ms(self) -> int:
        """When the time is over, in ms since the epoch."""
        return self.started_ns // 1_000_000 + round(self.timeout_s * 1000)

    @property
    def left_s(self) -> float:
        """How much time is left."""
        return self._from + self.timeout_s - time.perf_counter()

    @property
    def duration_ms(self) -> float:
        """The measured duration."""
        assert self._until is not None
        return (self._until - self._from) * 1000

    def note(self, usage: Usage | None) -> None:
        """Keep what has been used so far."""
        if usage is not None:
            self.usage = usage

    def max_memory_mb(self, memory_mb: int) -> int | None:
        """Return REPORT's memory used: the resident peak; the whole size after an out-of-memory kill.

        Of a process that ended it is at least what the box was charged with, the page cache included.
        """
        if self.out_of_memory:
            return memory_mb
        if self.usage is None:
            return None
        resident, charged = self.usage.peak_rss, self.usage.peak_with_cache
        # A process that is gone was last looked at before its invocation: what was charged since counts too.
        peak = max(resident or 0, charged or 0) if self.process_gone else resident or charged
        return min(memory_mb, megabytes(peak)) if peak else None
