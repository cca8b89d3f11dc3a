"""Invocations of a function, counted as what they were. The rules are those of `LambdaPerformanceTester`."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from lambent_lab.measure import stats
from lambent_lab.measure.summary import figure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lambent_lab.measure.records import ResultLike
    from lambent_lab.measure.results import Figure


@dataclass(frozen=True, slots=True)
class Timed:
    """One invocation: what the caller waited, what came back, and why that is no success (None: it is)."""

    total_ms: float
    result: ResultLike
    failure: str | None
    body: Mapping[str, Any]

    @property
    def cold(self) -> bool:
        """Whether it began in a new environment, and the function does not say otherwise."""
        said = self.body.get("cold_start")
        return self.result.cold if said is None else self.result.cold and said is True

    @property
    def warm(self) -> bool:
        """Whether it ran in an environment that had been used, and the function does not say otherwise."""
        return not self.result.cold and self.body.get("cold_start") is not True


@dataclass(slots=True)
class Tally:
    """What so many invocations of one kind came to."""

    wanted: Literal["cold", "warm"]
    times: list[float] = field(default_factory=list)
    raw: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    others: int = 0
    made: int | None = None
    delivered: int = 0
    broken: int = 0

    def add(self, iteration: int, timed: Timed) -> None:
        """Count one invocation as what it was."""
        if timed.failure is not None:
            self.fail(iteration, timed.failure, timed.total_ms)
            return
        self.broken = 0
        self._count_spans(timed.result)
        if not (timed.cold if self.wanted == "cold" else timed.warm):
            self.others += 1
            return
        self.times.append(timed.total_ms)
        self.raw.append(measurement(iteration, timed, self.wanted))

    def fail(self, iteration: int, error: str, after_ms: float | None = None) -> None:
        """Count a failure; its time is kept apart from the others."""
        self.broken += 1
        self.errors.append({"iteration": iteration, "error": error, "failed_after_ms": after_ms})

    def _count_spans(self, result: ResultLike) -> None:
        if result.spans_made is not None:
            self.made = (self.made or 0) + result.spans_made
            self.delivered += len(result.spans or ())

    @property
    def average(self) -> float | None:
        """The mean, of something."""
        return statistics.fmean(self.times) if self.times else None

    @property
    def lost(self) -> int | None:
        """How many spans were made and did not arrive, None when nothing says how many were made."""
        return None if self.made is None else max(0, self.made - self.delivered)

    def _median(self) -> Figure | None:
        found = figure(self.times)
        if found is not None and self.wanted == "warm":
            found["interval"] = None
        return found

    def results(self, iterations: int, target_ms: float) -> dict[str, Any]:
        """What both kinds of results have."""
        name, average = f"{self.wanted}_start_ms", self.average
        clean = not self.errors and not self.others and not self.lost
        return {
            "iterations": iterations,
            "n": len(self.times),
            "failed": len(self.errors),
            "errors": self.errors,
            f"not_{self.wanted}": self.others,
            f"avg_{name}": average,
            f"median_{name}": self._median(),
            **{f"p{each}_{name}": stats.percentile(self.times, each) for each in (50, 95, 99)},
            "raw_measurements": self.raw,
            "spans_made": self.made,
            "spans_lost": self.lost,
            "target_ms": target_ms,
            "meets_target": clean and average is not None and average < target_ms,
        }


def measurement(iteration: int, timed: Timed, kind: str) -> dict[str, Any]:
    """What is kept of one invocation; what is not known is None."""
    timings = timed.body.get("timings")
    said = timings if isinstance(timings, dict) else {}
    parts = ["sdk_import_ms", "tracer_init_ms"] if kind == "cold" else []
    report = timed.result.report
    return {
        "iteration": iteration,
        "total_time_ms": timed.total_ms,
        **{name: _time(said.get(name)) for name in (*parts, "handler_total_ms")},
        "init_ms": report.init_ms,
        "duration_ms": report.duration_ms,
        "max_memory_mb": report.max_memory_mb,
        "request_id": timed.result.request_id,
    }


def _time(said: object) -> float | None:
    """A time that a function tells; some say -1 of what they did not measure."""
    if isinstance(said, (int, float)) and not isinstance(said, bool) and said >= 0:
        return float(said)
    return None


def failure_of(result: ResultLike) -> str | None:
    """Why an invocation was no success, None when it was one. Of a response with a status code: 2xx."""
    answer = result.payload if isinstance(result.payload, dict) else {}
    if result.status != "success" or result.function_error:
        message = str(answer.get("errorMessage") or "")
        kind = result.error or result.function_error or result.status
        return (f"{kind}: {message}" if message else kind)[:300]
    code = answer.get("statusCode", 200)
    if str(code).isdecimal() and 200 <= int(code) < 300:
        return None
    return f"it answered with statusCode {code}: {answer.get('body') or ''}"[:300]


def body_of(payload: object) -> Mapping[str, Any]:
    """The JSON object that a proxy's response carries, an empty one when it carries none."""
    body = payload.get("body") if isinstance(payload, dict) else None
    if isinstance(body, str):
        try:
            body = json.loads(body)
        except ValueError:
            body = None
    return body if isinstance(body, dict) else {}
