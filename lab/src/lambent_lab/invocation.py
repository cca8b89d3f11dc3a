"""The result of one invocation, and the errors that Lambda itself reports."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lambent_lab.protocol.runtime import MAX_RESPONSE

if TYPE_CHECKING:
    from lambent_lab.sandbox import Usage

Status = Literal["success", "error", "timeout"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """One invocation, as the caller and the log saw it.

    `payload` is what the caller gets: the response, or the error document. Durations are in ms; `init_ms` is
    there when the invocation was cold; `billed_ms` includes it. `max_memory_mb` is what REPORT says,
    `peak_rss` and `peak_with_cache` (bytes) are what it comes from. `cpu_ms` is the box's CPU time, init
    included when cold. `log` has every line. The two times are wall clock, ns since the epoch: `init_ms` lies
    before `started_ns`.
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
    peak_rss: int | None = None
    peak_with_cache: int | None = None


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
    return json.dumps({"errorType": error_type, "errorMessage": message}).encode()


def timeout(request_id: str, timeout_s: float) -> Failure:
    """Return the failure of an invocation that ran out of time."""
    kind = "Sandbox.Timedout"
    message = f"RequestId: {request_id} Error: Task timed out after {timeout_s:.2f} seconds"
    return Failure(error_type=kind, body=document(kind, message), report_status="timeout")


def ended(request_id: str, kind: str, how: str) -> Failure:
    """Return the failure of an invocation whose runtime ended (Runtime.ExitError, Runtime.OutOfMemory)."""
    body = document(kind, f"RequestId: {request_id} Error: {how}")
    return Failure(error_type=kind, body=body, report_status="error", exit=how)


def too_large() -> Failure:
    """Return the failure of an invocation whose response was over the limit."""
    kind = "Function.ResponseSizeTooLarge"
    message = f"Response payload size exceeded maximum allowed payload size ({MAX_RESPONSE} bytes)."
    return Failure(error_type=kind, body=document(kind, message), report_status="error")


def billed(duration_ms: float, init_ms: float | None) -> int:
    """Return what is billed, in whole ms: since August 2025 the init phase counts as well."""
    return math.ceil(round(duration_ms + (init_ms or 0.0), 6))


def megabytes(size: int) -> int:
    """Return bytes as whole MB, rounded up as REPORT does."""
    return math.ceil(size / (1024 * 1024))


class Run:
    """One invocation while it is under way: its clock and what was measured."""

    def __init__(self, request_id: str, trace_header: str, timeout_s: float) -> None:
        self.request_id = request_id
        self.trace_header = trace_header
        self.timeout_s = timeout_s
        self.cold = False
        self.init_ms: float | None = None
        self.init_inside = False
        self.out_of_memory = False
        self.process_gone = False
        self.usage: Usage | None = None
        self.started_ns = self.ended_ns = 0
        self._from = 0.0
        self._until: float | None = None

    def begin(self) -> None:
        """Start the clock (again)."""
        self.started_ns = time.time_ns()
        self._from = time.perf_counter()

    def end(self, at: float | None) -> None:
        """Stop the clock, at a moment of the performance counter or now. The first stop counts."""
        if self._until is None:
            self._until = time.perf_counter() if at is None else at
            self.ended_ns = self.started_ns + int((self._until - self._from) * 1e9)

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
