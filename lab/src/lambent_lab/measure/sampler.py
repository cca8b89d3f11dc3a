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
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast, runtime_checkable

from lambent_lab.errors import LabError
from lambent_lab.measure import phases
from lambent_lab.measure.remote.answer import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from lambent_lab.measure.results import InvocationRecord, Sample, SampleKind


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


class FunctionLike(Protocol):
    """A function in the lab, with at most one idle environment."""

    def invoke(self, event: object = ...) -> ResultLike:
        """Run it once, in the idle environment or a new one."""

    def stop(self) -> None:
        """End the idle environment: the next invocation is cold."""

    @property
    def box(self) -> object:
        """How its environment is held."""


@runtime_checkable
class Lingering(Protocol):
    """A function that can tell which spans came after the end of their invocations, once it has stopped."""

    def late(self, results: Sequence[Any]) -> Mapping[str, Sequence[object]]:
        """The spans that no result has yet, by request id."""


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
        runtime: str | None = ...,
        layers: Iterable[Path] = ...,
    ) -> FunctionLike:
        """Make a function."""


def empty_sample(
    identity: int,
    *,
    pair: int | None,
    kind: SampleKind,
    side: str,
    memory_mb: int,
    python: str | None = None,
) -> Sample:
    """A sample that has not run."""
    return {
        "id": identity,
        "pair": pair,
        "kind": kind,
        "side": side,
        "memory_mb": memory_mb,
        "python": python,
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
    fill_together([(sample, function)], event, warm, lambda _: on_invocation(), list)


def fill_together(
    pairs: Sequence[tuple[Sample, FunctionLike]],
    event: object,
    warm: int,
    on_invocation: Callable[[FunctionLike], None],
    shuffle: Callable[[list[Any]], object],
) -> None:
    """Run several samples' invocations step by step: all cold starts, then a warm one of each, and so on.

    The cold starts come in the order given, each later step in the order that `shuffle` leaves them in. A
    sample whose environment breaks (LabError) ends with its error; the others go on. Where there are several,
    their invocations of the same index belong together, and the samples say so.
    """
    going = [_Going(sample, function, 1 + warm) for sample, function in pairs]
    with ExitStack() as ends:
        for each in going:
            if len(going) > 1:
                each.sample["alternating"] = True
            ends.callback(each.end)
            each.begin()
        for index in range(1 + warm):
            order = [each for each in going if each.sample["error"] is None]
            if index:
                shuffle(order)
            for each in order:
                if each.invoke(event, index):
                    on_invocation(each.function)


class _Going:
    """A sample under way."""

    def __init__(self, sample: Sample, function: FunctionLike, planned: int) -> None:
        self.sample, self.function, self._planned = sample, function, planned
        self._results: list[ResultLike] = []

    def begin(self) -> None:
        """See to it that the next environment is a new one."""
        try:
            self.function.stop()
        except LabError as error:
            self.sample["error"] = str(error)

    def invoke(self, event: object, index: int) -> bool:
        """Run the function once, and return whether there was an environment to do it."""
        try:
            result = self.function.invoke(event)
        except LabError as error:
            self.sample["error"] = str(error)
            return False
        self._results.append(result)
        self.sample["invocations"].append(record(index, result))
        return True

    def end(self) -> None:
        """End the environment, and say what the sample came to."""
        sample = self.sample
        try:
            self.function.stop()
            if sample["error"] is None and len(self._results) == self._planned:
                if isinstance(self.function, Lingering):
                    _add_late(sample, self._results, self.function.late(self._results))
                sample["complete"] = True
        except LabError as error:
            sample["error"] = sample["error"] or str(error)
        finally:
            sample["values"] = values(sample["invocations"])


def _add_late(sample: Sample, results: Sequence[ResultLike], late: Mapping[str, Sequence[object]]) -> None:
    """Count spans that left with the environment's end, as `finalize` lets them, for their invocations."""
    for index, result in enumerate(results):
        spans = late.get(result.request_id)
        if spans:
            whole = replace(cast("Any", result), spans=[*(result.spans or ()), *spans])
            sample["invocations"][index] = record(index, whole)


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
