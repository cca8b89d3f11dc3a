"""What one invocation came to, as a caller of the lab sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

from lambent_lab import strictjson

if TYPE_CHECKING:
    from lambent_lab.environment import Invocation
    from lambent_lab.sandbox import BoxReport
    from lambent_lab.traces import SpanRecord
    from lambent_lab.traces.model import Json

SPANS_MADE = "lambent.spans"
"""The attribute by which the SDK says how many spans an invocation made, when it is asked to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The REPORT line's figures. Times in milliseconds, memory in MB; None is what could not be measured.

    `init_ms` is there for the first invocation after an init, `restore_ms` after a restore. `cpu_ms` is the
    CPU time that the box used, init included; `peak_rss` the most memory in bytes that its processes held
    since it was made, `rss` what they held when this invocation was over, and `peak_with_cache` the most that
    was charged to it, the page cache included.
    `extension_ms` is the part of the duration for which extensions went on after the answer.
    """

    request_id: str
    duration_ms: float
    billed_ms: int
    memory_mb: int
    max_memory_mb: int | None
    init_ms: float | None
    cpu_ms: float | None
    peak_rss: int | None = None
    rss: int | None = None
    peak_with_cache: int | None = None
    extension_ms: float | None = None
    restore_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One invocation's outcome.

    `payload` is the parsed response, or text when it is not JSON; of a failed one it is AWS's error object.
    `error` is that object's errorType, None on success. `log` holds every line, `spans` those of this
    invocation that had arrived when it ended, and `problems` what was wrong with spans in the log. `box` is
    how the function was held, and what that box cannot do. `started_ns` is when the event was handed over, in
    ns since the epoch.
    """

    payload: Json
    error: str | None
    status: Literal["success", "error", "timeout"]
    function_error: str | None
    report: Report
    log: str
    spans: list[SpanRecord]
    cold: bool
    problems: tuple[str, ...] = ()
    box: BoxReport | None = None
    started_ns: int = 0

    @property
    def request_id(self) -> str:
        """The invocation's request id."""
        return self.report.request_id

    @property
    def spans_made(self) -> int | None:
        """How many spans the function says it made (`LAMBENT_COUNT_SPANS`), None when it does not say."""
        counts = [span.attributes.get(SPANS_MADE) for span in self.spans]
        said = [count for count in counts if isinstance(count, int) and not isinstance(count, bool)]
        return sum(said) if said else None

    @property
    def ok(self) -> bool:
        """Whether the function answered without an error."""
        return self.status == "success"

    def to_json(self) -> dict[str, Json]:
        """Return what a line of `lambent invoke --json` holds; `restore_ms` is there after a restore only."""
        restored: dict[str, Json] = {}
        if self.report.restore_ms is not None:
            restored["restore_ms"] = self.report.restore_ms
        return {
            "request_id": self.request_id,
            "cold": self.cold,
            "status": self.status,
            "function_error": self.function_error,
            "payload": self.payload,
            "duration_ms": self.report.duration_ms,
            "init_ms": self.report.init_ms,
            **restored,
            "billed_ms": self.report.billed_ms,
            "memory_mb": self.report.memory_mb,
            "max_memory_mb": self.report.max_memory_mb,
            "box": None if self.box is None else self.box.to_json(),
            "spans": [span.to_json() for span in self.spans],
            "log": self.log,
        }


def make_result(invocation: Invocation, spans: list[SpanRecord], problems: list[str]) -> Result:
    """Return the result of an invocation whose spans have been collected."""
    payload = parse_payload(invocation.payload)
    error = None
    if invocation.status != "success":
        error = str(payload.get("errorType") or "Unknown") if isinstance(payload, dict) else "Unknown"
    return Result(
        payload=payload,
        error=error,
        status=invocation.status,
        function_error=invocation.function_error,
        report=Report(
            request_id=invocation.request_id,
            duration_ms=invocation.duration_ms,
            billed_ms=invocation.billed_ms,
            memory_mb=invocation.memory_mb,
            max_memory_mb=invocation.max_memory_mb,
            init_ms=invocation.init_ms,
            cpu_ms=invocation.cpu_ms,
            peak_rss=invocation.peak_rss,
            rss=invocation.rss,
            peak_with_cache=invocation.peak_with_cache,
            extension_ms=invocation.extension_overhead_ms,
            restore_ms=invocation.restore_ms,
        ),
        log="\n".join(invocation.log),
        spans=spans,
        cold=invocation.cold,
        problems=tuple(problems),
        box=invocation.box,
        started_ns=invocation.started_ns,
    )


def parse_payload(payload: bytes) -> Json:
    """Return a response as a JSON value, or as text when it is not (strict) JSON."""
    try:
        return cast("Json", strictjson.loads(payload))
    except (ValueError, RecursionError):
        return payload.decode("utf-8", "replace")
