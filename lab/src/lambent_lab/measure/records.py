"""One invocation as result files have it, and what those of a sample come to. Pure.

Rules
- An invocation that failed is counted as failed, whatever its time. A later invocation that turned out cold
  (the environment was reset) is counted as cold; it is no warm value and not the sample's cold value
  either. A sample whose first invocation was not cold has no cold values.
- A value whose parts are not all there is absent.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Literal, Protocol

from lambent_lab.measure import phases
from lambent_lab.measure.remote.answer import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambent_lab.measure.results import InvocationRecord, Sample


_PARTS: tuple[Literal["handler_ms", "flush_ms", "extension_ms"], ...] = (
    "handler_ms",
    "flush_ms",
    "extension_ms",
)


class ReportLike(Protocol):
    """The figures of an invocation's REPORT line."""

    @property
    def duration_ms(self) -> float: ...  # noqa: D102 - the field's own names
    @property
    def billed_ms(self) -> int | None: ...  # noqa: D102
    @property
    def init_ms(self) -> float | None: ...  # noqa: D102
    @property
    def max_memory_mb(self) -> int | None: ...  # noqa: D102
    @property
    def cpu_ms(self) -> float | None: ...  # noqa: D102
    @property
    def peak_rss(self) -> int | None: ...  # noqa: D102
    @property
    def peak_with_cache(self) -> int | None: ...  # noqa: D102
    @property
    def extension_ms(self) -> float | None: ...  # noqa: D102


class ResultLike(Protocol):
    """What an invocation came to."""

    @property
    def request_id(self) -> str: ...  # noqa: D102
    @property
    def cold(self) -> bool: ...  # noqa: D102
    @property
    def status(self) -> str: ...  # noqa: D102
    @property
    def error(self) -> str | None: ...  # noqa: D102
    @property
    def function_error(self) -> str | None: ...  # noqa: D102
    @property
    def payload(self) -> object: ...  # noqa: D102
    @property
    def report(self) -> ReportLike: ...  # noqa: D102
    @property
    def spans(self) -> Sequence[object] | None: ...  # noqa: D102
    @property
    def spans_made(self) -> int | None: ...  # noqa: D102
    @property
    def problems(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def started_ns(self) -> int: ...  # noqa: D102
    @property
    def log(self) -> str: ...  # noqa: D102


def record(index: int, result: ResultLike) -> InvocationRecord:
    """The raw record of one invocation and how it is counted."""
    failure = reason(result)
    report, spans = result.report, result.spans
    made: InvocationRecord = {
        "index": index,
        "request_id": result.request_id,
        "cold": result.cold,
        "status": result.status,
        "error": failure,
        "duration_ms": report.duration_ms,
        "init_ms": report.init_ms,
        "billed_ms": report.billed_ms,
        "max_memory_mb": report.max_memory_mb,
        "cpu_ms": report.cpu_ms,
        "spans": None if spans is None else len(spans),
        "counted_as": "failed" if failure is not None else "cold" if result.cold else "warm",
    }
    # Finer than REPORT's whole megabytes, where the box measures it.
    if report.peak_rss is not None:
        made["peak_rss"] = report.peak_rss
    if report.peak_with_cache is not None:
        made["peak_with_cache"] = report.peak_with_cache
    if result.started_ns:
        end = phases.root_end(spans or (), result.request_id)
        parts = phases.split(report.duration_ms, report.extension_ms, result.started_ns, end)
        made["handler_ms"] = parts.handler_ms
        if parts.flush_ms is not None:
            made["flush_ms"] = parts.flush_ms
        if parts.extension_ms is not None:
            made["extension_ms"] = parts.extension_ms
    if isinstance(result, Answer) and result.init_included:
        made["init_included"] = True
    if result.spans_made is not None:
        made["spans_made"] = result.spans_made
    if result.problems:
        made["problems"] = list(result.problems)
    return made


def reason(result: ResultLike) -> str | None:
    """Why an invocation failed, cut at 300 characters; None when it did not.

    A function that answers a proxy (API Gateway, a function URL) reports a failure of its own with a status
    code from 500 on: that is no success, and its time is no speed.
    """
    answer = result.payload if isinstance(result.payload, dict) else {}
    if result.status != "success" or result.function_error:
        message = str(answer.get("errorMessage") or "")
        kind = result.error or result.function_error or result.status
        return (f"{kind}: {message}" if message else kind)[:300]
    code = answer.get("statusCode")
    status = int(code) if isinstance(code, str) and code.isdecimal() and len(code) == 3 else code
    if isinstance(status, int) and not isinstance(status, bool) and status >= 500:
        body = str(answer.get("body") or "")
        return (f"it answered with statusCode {status}" + (f": {body}" if body else ""))[:300]
    return None


def broken(sample: Sample) -> str | None:
    """Why no invocation of a sample was a success; None when one was."""
    reasons = [invocation["error"] for invocation in sample["invocations"]]
    if sample["error"] is None and (not reasons or not all(reasons)):
        return None
    return sample["error"] or reasons[0]


def values(invocations: Sequence[InvocationRecord]) -> dict[str, float]:
    """What a sample's invocations come to, by the names of METRICS and of phases; without absent ones."""
    found: dict[str, float] = {}
    if not invocations:
        return found
    first = invocations[0]
    if first["counted_as"] == "cold":
        _put(found, "init_ms", first["init_ms"])
        _put(found, "first_ms", first["duration_ms"])
        _put(found, "cold_cpu_ms", first["cpu_ms"])
        if first.get("init_included"):
            found["cold_ms"] = found.pop("first_ms")
        elif "init_ms" in found and "first_ms" in found:
            found["cold_ms"] = found["init_ms"] + found["first_ms"]
        for name in _PARTS:
            _put(found, f"cold_{name}", first.get(name))
    warm = [invocation for invocation in invocations if invocation["counted_as"] == "warm"]
    _put(found, "warm_ms", _median([i["duration_ms"] for i in warm]))
    _put(found, "warm_cpu_ms", _median([i["cpu_ms"] for i in warm]))
    for name in _PARTS:
        _put(found, name, _median([i.get(name) for i in warm]))
    if all(invocation["counted_as"] != "failed" for invocation in invocations):
        _put(found, "memory_mb", _peak(invocations))
        _put(found, "peak_rss_mb", _highest(invocations, "peak_rss"))
        _put(found, "page_cache_mb", _highest(invocations, "peak_with_cache"))
    return found


def _highest(
    invocations: Sequence[InvocationRecord], name: Literal["peak_rss", "peak_with_cache"]
) -> float | None:
    """The highest of what each invocation has in bytes, in MB; None when one has none."""
    exact = [invocation[name] for invocation in invocations if name in invocation]
    return max(exact) / 2**20 if len(exact) == len(invocations) else None


def _peak(invocations: Sequence[InvocationRecord]) -> float | None:
    """The sample's peak memory in MB: from bytes when each invocation has them, else from whole megabytes."""
    exact = _highest(invocations, "peak_rss")
    if exact is not None:
        return exact
    whole = [i["max_memory_mb"] for i in invocations if i["max_memory_mb"] is not None]
    return max(whole) if len(whole) == len(invocations) else None


def _median(figures: Sequence[float | None]) -> float | None:
    known = [figure for figure in figures if figure is not None]
    return statistics.median(known) if known and len(known) == len(figures) else None


def _put(found: dict[str, float], name: str, value: float | None) -> None:
    if value is not None:
        found[name] = value
