"""The shape of the performance result file: `lambent.performance-results/2`.

The file is the contract between measuring and reporting. It keeps every raw value in the order in which it
was measured, and the summary that reports print; a report computes nothing. Rules of the shape:

- What is absent is null (or missing from a list of figures), never 0.
- Times are milliseconds and memory is megabytes (2^20 bytes), as the names say; dates are UTC in ISO 8601.
- A *sample* is one fresh environment (process). Its cold values come from its first invocation, its warm
  value is the median of its successful warm invocations. A *block* is one sample of the baseline and one of
  each variant, run one after the other; a *pair* is a variant's and the baseline's sample of one block.
  Summaries compare pairs: the medians of the differences and of the ratios candidate / baseline.
- A *cell* is one memory size, one Python and one variant: what a report shows as one table.
- `kind` says what was done; each kind has a section of its own name beside those of the benchmark.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

FAMILY = "lambent.performance-results"
VERSION = "2"
SCHEMA = f"{FAMILY}/{VERSION}"

FileKind = Literal["bench", "gate", "load", "soak", "tune"]
TargetKind = Literal["lab", "http", "docker", "aws"]
SampleKind = Literal["ab", "aa", "preflight", "partial"]


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

    kind: where it runs; python: the version or path it was asked to run on, or a remote function's runtime;
    mode: when its spans leave, where a variant says so ("off" is no tracing); digest: of the function's
    files, where they are at hand.
    """

    target: str
    label: str
    handler: str
    env: dict[str, str]
    switch: str | None
    kind: TargetKind
    python: str | None
    mode: str | None
    digest: NotRequired[str | None]


class Settings(TypedDict):
    """What was asked for. What was done stands in `counts` and in the samples.

    pairs: samples of each variant in each cell; python: the interpreters, as they were asked for, joined by
    commas; init_cpu: the CPU of the init phase; missing where it was "boost", as Lambda's is.
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

    spans: how many were received, null where that cannot be seen; spans_made: how many the function says
    that it made, missing when it does not say; counted_as: how it is counted; peak_rss: the box's peak
    resident memory in bytes, peak_with_cache: its high-water mark of all memory, the page cache included,
    where it measures those; handler_ms, flush_ms, extension_ms: the parts of duration_ms (see `Phases`);
    init_included: duration_ms is the caller's wait and has the init in it, as RIE's has;
    problems: what was wrong with spans in its log, missing when nothing was.
    """

    index: int
    request_id: str
    cold: bool
    status: str
    error: str | None
    duration_ms: float
    init_ms: float | None
    billed_ms: int | None
    max_memory_mb: int | None
    cpu_ms: float | None
    spans: int | None
    spans_made: NotRequired[int]
    counted_as: Literal["cold", "warm", "failed"]
    peak_rss: NotRequired[int]
    peak_with_cache: NotRequired[int]
    handler_ms: NotRequired[float]
    flush_ms: NotRequired[float]
    extension_ms: NotRequired[float]
    init_included: NotRequired[bool]
    problems: NotRequired[list[str]]


class Sample(TypedDict):
    """One fresh environment: its invocations and the values they come to (absent ones are missing).

    pair: the number of its block; side: a name of `targets`; python: the interpreter as it was asked for,
    null where none was; kind: "partial" is one of a block that Ctrl-C cut short and `--resume` ran again:
    it is in no figure. alternating: its invocations took turns with those of the block's other samples.
    """

    id: int
    pair: int | None
    kind: SampleKind
    side: str
    memory_mb: int
    python: str | None
    started: str
    complete: bool
    error: str | None
    invocations: list[InvocationRecord]
    values: dict[str, float]
    alternating: NotRequired[bool]


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
    """What one pair came to. `ratio` is absent when the baseline's value is 0.

    Of warm invocations that took turns, difference and ratio are the medians of those between the two that
    ran next to each other, not the difference and ratio of the two medians beside them.
    """

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

    Only invocations whose spans can be seen count. made: how many the function said that it made, in the
    invocations that said so; lost: how many of these were not delivered. Both are null when none said so.
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
    """Invocations, spans and warm percentiles of one side of a cell."""

    invocations: InvocationCount
    spans: SpanCount
    warm_percentiles: Percentiles


class Phases(TypedDict):
    """Where the time of one side goes, medians over its samples in ms; an absent figure is null.

    init_ms: the init phase. handler_ms, flush_ms and extension_ms are the parts of a *warm* invocation, the
    ones with `cold_` those of the first: until the root span ended (until the answer, when there is no root
    span to see), from there to the answer, and what extensions went on for after it. flush_ms is null
    without a root span.
    """

    init_ms: Figure | None
    handler_ms: Figure | None
    flush_ms: Figure | None
    extension_ms: Figure | None
    cold_handler_ms: Figure | None
    cold_flush_ms: Figure | None
    cold_extension_ms: Figure | None


class Cell(TypedDict):
    """Everything a report prints about one memory size, Python and variant.

    variant: the name of the cell's candidate in `targets`; `candidate` is that side, here. phases: by the
    names of `targets`, the variant's and "baseline".
    """

    memory_mb: int
    python: str | None
    variant: str
    pairs: int
    aa_pairs: int
    metrics: dict[str, Metric]
    candidate: SideCounts
    baseline: SideCounts
    phases: dict[str, Phases]


SizeSummary = Cell
"""The name a cell had when there was one for each memory size."""


class ImportNode(TypedDict):
    """One module of a cold start's import tree: what it cost itself, and with those it imported, in µs."""

    name: str
    self_us: int
    cumulative_us: int
    children: list[ImportNode]


class ImportAdded(TypedDict):
    """A module that a side's cold start imports and the baseline's does not, in µs.

    self_us: what it cost itself; cumulative_us: with those it brings that the baseline does not have either;
    modules: how many these are, itself among them; parent: what imports it, empty for the process itself.
    """

    name: str
    parent: str
    self_us: int
    cumulative_us: int
    modules: int


class Doubt(TypedDict):
    """Something a reader of the numbers must know. `failure` makes the run fail, `warning` does not.

    memory_mb: the memory size it is about; null when about all. python and variant, where they stand, narrow
    it further. A cell with a failure has no cost to report.
    """

    code: str
    severity: Literal["failure", "warning"]
    memory_mb: int | None
    text: str
    python: NotRequired[str | None]
    variant: NotRequired[str | None]


class Counts(TypedDict):
    """What was really run, in all."""

    samples: int
    pairs: int
    aa_pairs: int
    invocations: int
    failed: int


class Header(TypedDict):
    """What every file of the family begins with, whatever its kind."""

    schema: str
    kind: FileKind
    tool: str
    command: list[str]
    started: str
    ended: str
    elapsed_s: float
    interrupted: bool
    error: str | None
    machine: Machine
    load_before: list[float] | None
    load_after: list[float] | None
    box: Box | None


class Results(Header):
    """A whole result file. `samples` stand in the order in which they ran, preflight ones first.

    The sections of the benchmark are there in every kind, empty where nothing of them was measured.
    imports_added: by side, what it imports and the baseline does not, the dearest first; missing where the
    baseline has no tree. resumed: when the run was gone on with after an interruption, missing when it was
    not.
    """

    seed: int
    settings: Settings
    targets: dict[str, TargetInfo]
    counts: Counts
    samples: list[Sample]
    summary: list[Cell]
    warnings: list[Doubt]
    imports: dict[str, ImportNode]
    imports_added: NotRequired[dict[str, list[ImportAdded]]]
    resumed: NotRequired[list[str]]
    gate: NotRequired[dict[str, Any]]
    load: NotRequired[dict[str, Any]]
    soak: NotRequired[dict[str, Any]]
    tune: NotRequired[dict[str, Any]]


METRICS: dict[str, tuple[str, Literal["ms", "MB"]]] = {
    "cold_ms": ("cold start (init + first invocation)", "ms"),
    "init_ms": ("init", "ms"),
    "first_ms": ("first invocation", "ms"),
    "warm_ms": ("warm invocation", "ms"),
    "memory_mb": ("peak memory", "MB"),
    "peak_rss_mb": ("peak resident memory", "MB"),
    "page_cache_mb": ("peak memory with the page cache", "MB"),
    "cold_cpu_ms": ("CPU time of a cold start", "ms"),
    "warm_cpu_ms": ("CPU time of a warm invocation", "ms"),
}
"""The quantities of a sample, in the order in which reports show them: what it is, and its unit.

`memory_mb` is what REPORT calls "Max Memory Used", unrounded where the box measures it; `peak_rss_mb` is
what the processes held resident; `page_cache_mb` is the high-water mark of all that was charged, with the
page cache. The latter two are in a cell only where the box measures them.
"""

COLD = frozenset({"cold_ms", "init_ms", "first_ms", "cold_cpu_ms"})
"""The metrics that a cold start alone has."""

OPTIONAL_METRICS = frozenset({"peak_rss_mb", "page_cache_mb"})
"""The metrics that a cell has only where some sample has them."""
