"""The performance result file: its shape, written and read. `lambent.performance-results/1`.

The file is the contract between measuring and reporting. It keeps every raw value in the order in which it
was measured, and the summary that reports print; a report computes nothing. Rules of the shape:

- What is absent is null (or missing from a list of figures), never 0.
- Times are milliseconds and memory is megabytes (2^20 bytes), as the names say; dates are UTC in ISO 8601.
- A *sample* is one fresh environment (process). Its cold values come from its first invocation, its warm
  value is the median of its successful warm invocations. A *pair* is a candidate's and a baseline's sample,
  run one after the other. Summaries compare pairs: the medians of the differences and of the ratios
  candidate / baseline.
- A reader accepts a newer file of the same major version: unknown keys are ignored.
"""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict, cast

from lambent_lab.errors import LabError, UsageError

SCHEMA = "lambent.performance-results/1"
_FAMILY, _, _MAJOR = SCHEMA.rpartition("/")


class Machine(TypedDict):
    """Facts about the machine; see `lambent_lab.measure.machine`."""

    cpu_model: str | None
    architecture: str
    cores: int | None
    cores_usable: int
    memory_mb: int
    governor: str | None
    system: str
    kernel: str
    python: str
    function_python: str | None


class Box(TypedDict):
    """How the environments were held: the mechanism of each part, and what this machine could not do."""

    kind: str
    freeze: str | None
    memory: str | None
    cpu: str | None
    kill: str | None
    tmp: str | None
    user: NotRequired[str | None]
    network: NotRequired[str | None]
    limits: NotRequired[str | None]
    cannot: list[str]


class TargetInfo(TypedDict):
    """One side: what the user named, its label in reports, its variables (secrets masked), its switch
    (K=V).
    """

    target: str
    label: str
    handler: str
    env: dict[str, str]
    switch: str | None


class Settings(TypedDict):
    """What was asked for. What was done stands in `counts` and in the samples.

    init_cpu: the CPU of the init phase; missing where it was "boost", as Lambda's is.
    """

    memory_mb: list[int]
    pairs: int
    aa_pairs: int
    warm_per_sample: int
    timeout_s: float
    event: str | None
    python: str | None
    bytecode: bool
    otlp: bool
    init_cpu: NotRequired[Literal["boost", "share"]]


class InvocationRecord(TypedDict):
    """One invocation, raw.

    spans: how many were received; spans_made: how many the function says that it made, missing when it does
    not say; counted_as: how it is counted; peak_rss: the box's peak resident memory in bytes, where it
    measures that;
    problems: what was wrong with spans in its log, missing when nothing was.
    """

    index: int
    request_id: str
    cold: bool
    status: str
    error: str | None
    duration_ms: float
    init_ms: float | None
    billed_ms: int
    max_memory_mb: int | None
    cpu_ms: float | None
    spans: int
    spans_made: NotRequired[int]
    counted_as: Literal["cold", "warm", "failed"]
    peak_rss: NotRequired[int]
    problems: NotRequired[list[str]]


class Sample(TypedDict):
    """One fresh environment: its invocations and the values they come to (absent ones are missing)."""

    id: int
    pair: int | None
    kind: Literal["ab", "aa", "preflight"]
    side: Literal["candidate", "baseline"]
    memory_mb: int
    started: str
    complete: bool
    error: str | None
    invocations: list[InvocationRecord]
    values: dict[str, float]


class IntervalInfo(TypedDict):
    """An order-statistic interval of a median; coverage is the exact probability, at least the confidence."""

    low: float
    high: float
    confidence: float
    coverage: float


class Figure(TypedDict):
    """A median over n samples or pairs, with its interval (null below 8)."""

    n: int
    median: float
    interval: IntervalInfo | None


class PairValue(TypedDict):
    """What one pair came to. `ratio` is absent when the baseline's value is 0."""

    pair: int
    candidate: float
    baseline: float
    difference: float
    ratio: NotRequired[float]


class Metric(TypedDict):
    """One quantity at one memory size. An absent side or comparison is null."""

    unit: Literal["ms", "MB"]
    candidate: Figure | None
    baseline: Figure | None
    difference: Figure | None
    ratio: Figure | None
    pairs: list[PairValue]
    aa_difference: Figure | None
    aa_ratio: Figure | None
    outliers: list[int]


class Percentiles(TypedDict):
    """Percentiles of all warm invocations of a side together (a description: they are not independent)."""

    n: int
    p50: float | None
    p95: float | None
    p99: float | None


class SpanCount(TypedDict):
    """Spans delivered by one side: per successful invocation, how many invocations delivered that many.

    made: how many the function said that it made, in the invocations that said so; lost: how many of these
    were not delivered. Both are null when none said so.
    """

    invocations: int
    made: NotRequired[int | None]
    lost: NotRequired[int | None]
    delivered: int
    without: int
    per_invocation: dict[str, int]
    uniform: bool


class InvocationCount(TypedDict):
    """How the invocations of one side were counted."""

    samples: int
    cold: int
    warm: int
    failed: int
    unexpectedly_cold: int
    failed_durations_ms: list[float]


class SideCounts(TypedDict):
    """Invocations, spans and warm percentiles of one side at one memory size."""

    invocations: InvocationCount
    spans: SpanCount
    warm_percentiles: Percentiles


class SizeSummary(TypedDict):
    """Everything a report prints about one memory size."""

    memory_mb: int
    pairs: int
    aa_pairs: int
    metrics: dict[str, Metric]
    candidate: SideCounts
    baseline: SideCounts


class Doubt(TypedDict):
    """Something a reader of the numbers must know. `failure` makes the run fail, `warning` does not.

    memory_mb: the memory size it is about; null when about all. A size with a failure has no cost to report.
    """

    code: str
    severity: Literal["failure", "warning"]
    memory_mb: int | None
    text: str


class Counts(TypedDict):
    """What was really run, in all."""

    samples: int
    pairs: int
    aa_pairs: int
    invocations: int
    failed: int


class Results(TypedDict):
    """A whole result file. `samples` stand in the order in which they ran, preflight ones first."""

    schema: str
    tool: str
    command: list[str]
    started: str
    ended: str
    elapsed_s: float
    interrupted: bool
    error: str | None
    seed: int
    settings: Settings
    targets: dict[str, TargetInfo]
    machine: Machine
    load_before: list[float] | None
    load_after: list[float] | None
    box: Box | None
    counts: Counts
    samples: list[Sample]
    summary: list[SizeSummary]
    warnings: list[Doubt]


METRICS: dict[str, tuple[str, Literal["ms", "MB"]]] = {
    "cold_ms": ("cold start (init + first invocation)", "ms"),
    "init_ms": ("init", "ms"),
    "first_ms": ("first invocation", "ms"),
    "warm_ms": ("warm invocation", "ms"),
    "memory_mb": ("peak memory", "MB"),
    "cold_cpu_ms": ("CPU time of a cold start", "ms"),
    "warm_cpu_ms": ("CPU time of a warm invocation", "ms"),
}
"""The quantities of a sample, in the order in which reports show them: what it is, and its unit."""


def dumps(results: Results) -> str:
    """The file's text. Raises ValueError for a number JSON does not have."""
    return json.dumps(results, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write_text(path: Path, text: str) -> None:
    """Put text into a file in one step: a reader finds the old content or the new one. Raises LabError."""
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise LabError(f"Could not write {path}: {error.strerror}.") from error
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        mask = os.umask(0)
        os.umask(mask)
        Path(temporary).chmod(0o666 & ~mask)
        Path(temporary).replace(path)
    except OSError as error:
        raise LabError(f"Could not write {path}: {error.strerror}.") from error
    finally:
        with suppress(FileNotFoundError):
            Path(temporary).unlink()


def read(path: Path) -> Results:
    """A result file. Raises UsageError when it is not one that this version can read."""
    try:
        return loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"Could not read {path}: {error.strerror}.") from error
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from error


def loads(text: str | bytes) -> Results:
    """Results from their text. Raises ValueError that says what is wrong with it."""
    try:
        document: Any = json.loads(text)
    except ValueError as error:
        raise ValueError("it is not JSON; expected a file written by `lambent bench`.") from error
    schema = document.get("schema") if isinstance(document, dict) else None
    if not isinstance(schema, str) or not schema.startswith(f"{_FAMILY}/"):
        raise ValueError(f"it is not a {_FAMILY} file; expected one written by `lambent bench`.")
    if schema.rpartition("/")[2].partition(".")[0] != _MAJOR:
        raise ValueError(
            f"its schema is {schema}, this version reads {SCHEMA}; use the version that wrote it."
        )
    missing = sorted(Results.__required_keys__ - document.keys())
    if missing:
        raise ValueError(f"it is incomplete: {', '.join(missing)} missing. Was it cut short while copying?")
    return cast("Results", document)
