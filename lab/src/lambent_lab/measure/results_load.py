"""The sections that load, soak and tune write into a result file. See `results` for the rules of the shape.

A file has the section that its `kind` names. Nothing in a section needs to be computed again to be shown:
`headline` is the verdict in one sentence, `conclusion` the sentences below it, and every percentile, interval
and trend stands there. What is absent is null.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NotRequired, TypedDict

if TYPE_CHECKING:
    from lambent_lab.measure.results import Figure


class Share(TypedDict):
    """A share of n, from 0 to 1, with its 99% Wilson interval. `share` is null when n is 0."""

    n: int
    count: int
    share: float | None
    low: float | None
    high: float | None


class Latency(TypedDict):
    """A distribution of times in ms, from an HdrHistogram of three significant digits.

    n: the times that were measured; percentiles are null below the n that `stats.minimum_n` asks for.
    corrected: whether what coordinated omission left out was filled in, and with which interval between two
    operations of one user. `curve`: pairs of percentile and ms, for a chart. `histogram`: the HdrHistogram
    itself, in its V2 encoding and in microseconds, so that files can be added up.
    """

    n: int
    corrected: bool
    expected_interval_ms: float | None
    mean_ms: float | None
    min_ms: float | None
    max_ms: float | None
    p50_ms: float | None
    p90_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    p999_ms: float | None
    curve: list[list[float]]
    histogram: str


class LoadPart(TypedDict):
    """A stretch of a load test: all of it, its ramp-up, or the steady part after that.

    Operations belong to the part in which they were begun (an open loop: were meant to begin). `latency` is
    what a user would have waited, coordinated omission corrected; `service` what each call itself took; both
    of the successful ones only, `latency` with the arrivals that nobody was free for as well, by what they
    had waited when the load ended. `throughput` (per second), `p50` and `p95` (of `latency`, in ms) are
    medians over slices of the time, with n slices. Cold, failed and throttled calls have their own times.
    """

    from_s: float
    to_s: float
    attempted: int
    succeeded: int
    failed: int
    throttled: int
    cold: int | None
    per_second: float | None
    throughput: Figure | None
    p50: Figure | None
    p95: Figure | None
    error_rate: Share
    throttle_rate: Share
    latency: Latency
    service: Latency
    cold_latency: Latency
    failed_latency: Latency
    throttled_latency: Latency


class LoadSlice(TypedDict):
    """What happened in one slice of the time; times in s since the beginning. Never more than 240 of them."""

    from_s: float
    to_s: float
    succeeded: int
    failed: int
    throttled: int
    cold: int | None
    users: int
    p50_ms: float | None
    max_ms: float | None


class LoadConfig(TypedDict):
    """What was asked for. rate: arrivals a second, null in a closed loop; pause_s: of a user, after each
    operation; concurrency: environments at most (null: as many as users need); workers: Locust's processes.
    """

    mode: Literal["closed", "open"]
    engine: Literal["threads", "locust"]
    users: int
    duration_s: float
    ramp_up_s: float
    rate: float | None
    arrivals: Literal["constant", "poisson"] | None
    pause_s: float
    concurrency: int | None
    memory_mb: int | None
    workers: NotRequired[int]


class ErrorCount(TypedDict):
    """An error, and how often it happened."""

    error: str
    count: int
    kind: Literal["failed", "throttled"]


class RawOperations(TypedDict):
    """Every operation by columns, in the order of their ends: the first `kept` of `of`.

    Times in ms since the beginning. outcome: 0 succeeded warm, 1 succeeded cold, 2 failed, 3 throttled.
    """

    kept: int
    of: int
    user: list[int]
    intended_ms: list[float]
    started_ms: list[float]
    ended_ms: list[float]
    outcome: list[int]


class LoadSection(TypedDict):
    """What `lambent load` measured. `unstarted`: arrivals of an open loop that nobody was free for."""

    headline: str
    conclusion: list[str]
    config: LoadConfig
    elapsed_s: float
    all: LoadPart
    ramp_up: LoadPart | None
    steady: LoadPart | None
    series: list[LoadSlice]
    errors: list[ErrorCount]
    unstarted: int
    spans: SpanTotals | None
    raw: RawOperations


class SpanTotals(TypedDict):
    """Delivery accounting. made: what the function says that it made, null when it never says.

    lost: made and not received, of the invocations that say; without: successful invocations of which nothing
    was received; unsaid: those of which something was received and not the root span, which says how many.
    """

    invocations: int
    made: int | None
    received: int
    lost: int | None
    without: int
    unsaid: NotRequired[int]


Growth = Literal["steady", "grows", "shrinks", "inconclusive", "absent"]


class Trend(TypedDict):
    """The Theil-Sen slope of a block series against the number of invocations, with its 99% interval.

    per_1000: the slope for 1,000 invocations, in the series' unit; change: the slope over all blocks that
    count; blocks: how many count, after the first `skipped` (what fills up at first is no trend).
    verdict: "grows" when the whole interval lies above `tolerance_per_1000` and comes to more than
    `least_change` in all, "shrinks" when below their negatives, "steady" when it lies within the tolerance,
    else "inconclusive"; "absent" below 8 blocks.
    """

    unit: str
    blocks: int
    skipped: int
    first: float | None
    last: float | None
    per_1000: float | None
    low_per_1000: float | None
    high_per_1000: float | None
    change: float | None
    tolerance_per_1000: float | None
    least_change: NotRequired[float]
    confidence: float
    verdict: Growth


class SoakBlock(TypedDict):
    """A stretch of invocations of one side. `first` counts that side's invocations from 0.

    duration_ms: median; p95_ms: null below 59; cpu_ms: mean of an invocation; rss_mb: median of what was
    resident after each invocation; rss_end_mb: after the last one; peak_rss_mb: the most that was ever
    resident; high_water_mb: the most that was ever charged, page cache included.
    """

    number: int
    side: str
    first: int
    n: int
    failed: int
    cold: int
    from_s: float
    to_s: float
    duration_ms: float | None
    p95_ms: float | None
    cpu_ms: float | None
    rss_mb: float | None
    rss_end_mb: float | None
    peak_rss_mb: float | None
    high_water_mb: float | None
    spans: int
    spans_made: int | None
    without_spans: int


class SoakSide(TypedDict):
    """One side of a soak. `trends` by the names of a block's values; first_error: of those that failed."""

    label: str
    invocations: int
    failed: int
    cold: int
    environments: int
    blocks: list[SoakBlock]
    trends: dict[str, Trend]
    durations: Latency
    spans: SpanTotals
    first_error: NotRequired[str]


class SoakDifference(TypedDict):
    """What the candidate has or takes more than the baseline, over pairs of blocks after the first ones.

    trend: of the differences: what grows with tracing only.
    """

    unit: str
    baseline: Figure | None
    candidate: Figure | None
    difference: Figure | None
    ratio: Figure | None
    trend: Trend


class SoakSection(TypedDict):
    """What `lambent soak` measured. The series is bounded: at most `blocks` blocks a side, however long.

    memory_verdict decides the exit code: "grows" when a side, or the difference between them, does.
    """

    headline: str
    conclusion: list[str]
    invocations: int
    done: int
    blocks: int
    memory_mb: int
    freeze: bool
    seed: int
    sides: dict[str, SoakSide]
    differences: dict[str, SoakDifference]
    memory_verdict: Growth


class PriceInfo(TypedDict):
    """What was reckoned with, in USD; see prices.json."""

    as_of: str
    source: str
    region: str
    request: float
    gb_second: dict[str, float]


class TuneCost(TypedDict):
    """USD for a million invocations on one architecture: warm, cold (init billed), and mixed.

    assumed: the times were measured on the other architecture, and taken as they are.
    """

    assumed: bool
    warm: Figure | None
    cold: Figure | None
    mixed: Figure | None


class TuneSize(TypedDict):
    """One memory size: times and billed times in ms over n environments, and cost by architecture.

    mixed_ms: what an invocation takes on average, with the share of cold starts that was asked for; score:
    by architecture, cost and time of the mix, each as a part of the highest of all sizes, weighed: least is
    best.
    """

    memory_mb: int
    vcpus: float
    environments: int
    invocations: int
    failed: int
    cold_ms: Figure | None
    init_ms: Figure | None
    warm_ms: Figure | None
    mixed_ms: Figure | None
    billed_cold_ms: Figure | None
    billed_warm_ms: Figure | None
    peak_memory_mb: Figure | None
    cost: dict[str, TuneCost]
    score: dict[str, Figure | float]


class TuneChoice(TypedDict):
    """A size, and those that tie with it: whose intervals overlap its own. proven: there were intervals."""

    memory_mb: int | None
    ties: list[int]
    proven: bool


class TuneSection(TypedDict):
    """What `lambent tune` measured. choices: architecture, then cheapest, fastest and balanced."""

    headline: str
    conclusion: list[str]
    architecture: str
    cold_share: float
    weight: float
    prices: PriceInfo
    sizes: list[TuneSize]
    choices: dict[str, dict[str, TuneChoice]]
