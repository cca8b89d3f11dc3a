"""One sample: a fresh environment, its cold start, its warm invocations, and what they come to.

Rules
- A sample begins with a stopped function, so its first invocation makes a new environment. If that
  invocation was not cold, the sample has no cold values.
- An invocation that failed is counted as failed, whatever its time. A later invocation that turned out cold
  (the environment was reset) is counted as cold; it is no warm value and not the sample's cold value
  either.
- A value whose parts are not all there is absent.
"""

from __future__ import annotations

import statistics
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, Protocol

from lambent_lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from lambent_lab.measure.results import InvocationRecord, Sample


class ReportLike(Protocol):
    """The figures of an invocation's REPORT line."""

    @property
    def duration_ms(self) -> float: ...  # noqa: D102 - the field's own names
    @property
    def billed_ms(self) -> int: ...  # noqa: D102
    @property
    def init_ms(self) -> float | None: ...  # noqa: D102
    @property
    def max_memory_mb(self) -> int | None: ...  # noqa: D102
    @property
    def cpu_ms(self) -> float | None: ...  # noqa: D102
    @property
    def peak_rss(self) -> int | None: ...  # noqa: D102


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
    def spans(self) -> Sequence[object]: ...  # noqa: D102
    @property
    def spans_made(self) -> int | None: ...  # noqa: D102
    @property
    def problems(self) -> Sequence[str]: ...  # noqa: D102


class FunctionLike(Protocol):
    """A function in the lab, with at most one idle environment."""

    def invoke(self, event: object = ...) -> ResultLike:
        """Run it once, in the idle environment or a new one."""

    def stop(self) -> None:
        """End the idle environment: the next invocation is cold."""

    @property
    def box(self) -> object:
        """How its environment is held."""


class LabLike(Protocol):
    """The service, as far as measuring needs it."""

    @property
    def otlp_url(self) -> str:
        """The base URL of the lab's own OTLP receiver."""

    def function(
        self,
        name: str,
        *,
        code: Path,
        handler: str,
        memory: int = ...,
        timeout: float = ...,
        env: Mapping[str, str] | None = ...,
        python: Path | None = ...,
        bytecode: bool = ...,
        init_cpu: Literal["boost", "share"] = ...,
    ) -> FunctionLike:
        """Make a function."""


def empty_sample(
    identity: int,
    *,
    pair: int | None,
    kind: Literal["ab", "aa", "preflight"],
    side: Literal["candidate", "baseline"],
    memory_mb: int,
) -> Sample:
    """A sample that has not run."""
    return {
        "id": identity,
        "pair": pair,
        "kind": kind,
        "side": side,
        "memory_mb": memory_mb,
        "started": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "complete": False,
        "error": None,
        "invocations": [],
        "values": {},
    }


def fill(
    sample: Sample, function: FunctionLike, event: object, warm: int, on_invocation: Callable[[], None]
) -> None:
    """Run the sample's invocations into it. What was measured stays in it also when it is interrupted.

    A LabError (the environment could not be made or held) is recorded as the sample's error and ends it.
    """
    try:
        function.stop()
        with _stopped_after(function):
            for index in range(1 + warm):
                sample["invocations"].append(record(index, function.invoke(event)))
                on_invocation()
    except LabError as error:
        sample["error"] = str(error)
    else:
        sample["complete"] = True
    finally:
        sample["values"] = values(sample["invocations"])


@contextmanager
def _stopped_after(function: FunctionLike) -> Iterator[None]:
    try:
        yield
    finally:
        function.stop()


def record(index: int, result: ResultLike) -> InvocationRecord:
    """The raw record of one invocation and how it is counted."""
    failed = result.status != "success" or bool(result.function_error)
    report = result.report
    made: InvocationRecord = {
        "index": index,
        "request_id": result.request_id,
        "cold": result.cold,
        "status": result.status,
        "error": _reason(result) if failed else None,
        "duration_ms": report.duration_ms,
        "init_ms": report.init_ms,
        "billed_ms": report.billed_ms,
        "max_memory_mb": report.max_memory_mb,
        "cpu_ms": report.cpu_ms,
        "spans": len(result.spans),
        "counted_as": "failed" if failed else "cold" if result.cold else "warm",
    }
    # Finer than REPORT's whole megabytes, where the box measures it.
    if report.peak_rss is not None:
        made["peak_rss"] = report.peak_rss
    if result.spans_made is not None:
        made["spans_made"] = result.spans_made
    if result.problems:
        made["problems"] = list(result.problems)
    return made


def _reason(result: ResultLike) -> str:
    """Why an invocation failed: its error type and message, cut at 300 characters."""
    message = ""
    if isinstance(result.payload, dict):
        message = str(result.payload.get("errorMessage") or "")
    kind = result.error or result.function_error or result.status
    return (f"{kind}: {message}" if message else kind)[:300]


def values(invocations: Sequence[InvocationRecord]) -> dict[str, float]:
    """What a sample's invocations come to, by the names of `results.METRICS`; absent values are left out."""
    found: dict[str, float] = {}
    if not invocations:
        return found
    first = invocations[0]
    if first["counted_as"] == "cold":
        _put(found, "init_ms", first["init_ms"])
        _put(found, "first_ms", first["duration_ms"])
        _put(found, "cold_cpu_ms", first["cpu_ms"])
        if "init_ms" in found and "first_ms" in found:
            found["cold_ms"] = found["init_ms"] + found["first_ms"]
    warm = [invocation for invocation in invocations if invocation["counted_as"] == "warm"]
    _put(found, "warm_ms", _median([i["duration_ms"] for i in warm]))
    _put(found, "warm_cpu_ms", _median([i["cpu_ms"] for i in warm]))
    if all(invocation["counted_as"] != "failed" for invocation in invocations):
        _put(found, "memory_mb", _peak(invocations))
    return found


def _peak(invocations: Sequence[InvocationRecord]) -> float | None:
    """The sample's peak memory in MB: from bytes when each invocation has them, else from whole megabytes."""
    exact = [invocation["peak_rss"] for invocation in invocations if "peak_rss" in invocation]
    if len(exact) == len(invocations):
        return max(exact) / 2**20
    whole = [i["max_memory_mb"] for i in invocations if i["max_memory_mb"] is not None]
    return max(whole) if len(whole) == len(invocations) else None


def _median(figures: Sequence[float | None]) -> float | None:
    known = [figure for figure in figures if figure is not None]
    return statistics.median(known) if known and len(known) == len(figures) else None


def _put(found: dict[str, float], name: str, value: float | None) -> None:
    if value is not None:
        found[name] = value
