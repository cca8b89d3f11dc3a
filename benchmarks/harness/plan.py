"""What is measured: each measure, the process it comes from, and lambent's budget for it.

A `Probe` is one kind of fresh process. A `Measure` is a number taken from a probe's outcome; several measures
may come from one probe. Marginal measures have the baseline's value of the same round subtracted.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One kind of process. `delivery` tells the worker where its spans go."""

    name: str
    host: str  # "lambda": inside the runtime client; "bare": python alone; otherwise the loop's name
    delivery: str = "default"  # default | collector | discard | async
    bytecode: bool = True
    recorder: bool = True  # lambent's flight recorder and watchdog; the others have none
    share: bool = False
    invocations: int = 1
    rounds: int | None = None  # at most so many; None: as many as asked for
    only: tuple[str, ...] = ()  # peers; empty: all
    others: str = ""  # why the others have no part in it
    expects: str = ""  # which spans must arrive: "" | "children" | "batch"
    seconds: float = 1.0  # a guess, until the first round has been timed


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One number of a probe's outcome."""

    name: str
    title: str
    probe: str
    unit: str
    take: Callable[[Mapping[str, Any]], float]
    marginal: bool = True
    budget: float | None = None
    digits: int = 1
    table: bool = False  # in the README's table


LAMBDA = "lambda"
BARE = "bare"

PROBES = (
    Probe(name="bare", host=BARE, seconds=0.25),
    Probe(name="bare_nopyc", host=BARE, bytecode=False, seconds=0.6),
    Probe(name="lambda", host=LAMBDA, expects="children", seconds=0.5),
    Probe(name="lambda_nopyc", host=LAMBDA, bytecode=False, seconds=0.8),
    Probe(name="lambda_share", host=LAMBDA, share=True, rounds=8, seconds=2.4),
    Probe(name="lambda_share_nopyc", host=LAMBDA, share=True, bytecode=False, rounds=8, seconds=5.0),
    Probe(
        name="lambda_collector",
        host=LAMBDA,
        delivery="collector",
        invocations=60,
        expects="children",
        seconds=0.6,
    ),
    Probe(
        name="lambda_async",
        host=LAMBDA,
        delivery="async",
        invocations=60,
        only=("none", "lambent", "lambda-otel-lite"),
        others="it has no async mode",
        expects="children",
        seconds=0.5,
    ),
    Probe(name="record", host="record", delivery="discard", seconds=0.5),
    Probe(
        name="record_off",
        host="record",
        delivery="discard",
        recorder=False,
        only=("none", "lambent"),
        others="it has no flight recorder",
        seconds=0.5,
    ),
    Probe(name="deliver", host="deliver", delivery="collector", expects="batch", seconds=0.6),
    Probe(name="invoke", host="invoke", delivery="collector", expects="children", seconds=0.6),
)
"""Every kind of process. `lambda_share_nopyc` is slow and runs only when a measure of it is named."""


def _ms(key: str) -> Callable[[Mapping[str, Any]], float]:
    return lambda outcome: float(outcome[key]) / 1e6


def _first_above_warm(outcome: Mapping[str, Any]) -> float:
    """The first invocation above the median of the warm ones, in ms; the second may still be settling."""
    calls = outcome["calls_ns"]
    return float(calls[0] - statistics.median(calls[2:])) / 1e6


def _warm(outcome: Mapping[str, Any]) -> float:
    return float(statistics.median(outcome["calls_ns"][2:])) / 1e3


def _invocation(outcome: Mapping[str, Any]) -> float:
    return float(statistics.median(outcome["calls_ns"])) / 1e3


def _round_trip(outcome: Mapping[str, Any]) -> float:
    return float(statistics.median(outcome["round_trips_ns"])) / 1e3


def _per_span(outcome: Mapping[str, Any]) -> float:
    return float(statistics.median(outcome["batches_ns"])) / int(outcome["spans_per_batch"]) / 1e3


def _rss_mb(outcome: Mapping[str, Any]) -> float:
    return float(outcome["rss_kb"][0]) / 1024


MEASURES = (
    Measure(
        name="import_lambda",
        title="import + init inside awslambdaric",
        probe="lambda",
        unit="ms",
        take=_ms("init_ns"),
        budget=2.5,
        digits=2,
        table=True,
    ),
    Measure(
        name="import_lambda_share",
        title="the same at the CPU share of 256 MB",
        probe="lambda_share",
        unit="ms",
        take=_ms("init_ns"),
        budget=20.0,
        table=True,
    ),
    Measure(
        name="import_lambda_nopyc",
        title="the same without .pyc files",
        probe="lambda_nopyc",
        unit="ms",
        take=_ms("init_ns"),
        budget=25.0,
        table=True,
    ),
    Measure(
        name="import_lambda_share_nopyc",
        title="the same at 256 MB without .pyc files",
        probe="lambda_share_nopyc",
        unit="ms",
        take=_ms("init_ns"),
    ),
    Measure(
        name="import_bare",
        title="import + init in a bare process",
        probe="bare",
        unit="ms",
        take=_ms("init_ns"),
        digits=2,
    ),
    Measure(
        name="import_bare_nopyc",
        title="import + init in a bare process without .pyc files",
        probe="bare_nopyc",
        unit="ms",
        take=_ms("init_ns"),
    ),
    Measure(
        name="start_to_ready",
        title="process start to the first /next",
        probe="lambda",
        unit="ms",
        take=_ms("ready_ns"),
    ),
    Measure(
        name="first_invocation",
        title="first invocation above a warm one, to a collector",
        probe="lambda_collector",
        unit="ms",
        take=_first_above_warm,
        budget=2.5,
        digits=2,
        table=True,
    ),
    Measure(
        name="memory",
        title="resident memory added",
        probe="lambda_collector",
        unit="MB",
        take=_rss_mb,
        budget=1.5,
        digits=2,
        table=True,
    ),
    Measure(
        name="memory_default",
        title="resident memory added, tool's default export",
        probe="lambda",
        unit="MB",
        take=_rss_mb,
        digits=2,
    ),
    Measure(
        name="span_recorded",
        title="one span with five attributes, not exported",
        probe="record",
        unit="µs",
        take=_per_span,
        budget=3.0,
        digits=2,
        table=True,
    ),
    Measure(
        name="span_unrecorded",
        title="the same without the flight recorder",
        probe="record_off",
        unit="µs",
        take=_per_span,
        digits=2,
    ),
    Measure(
        name="span_delivered",
        title="the same, encoded and posted in batches of 100",
        probe="deliver",
        unit="µs",
        take=_per_span,
        budget=9.0,
        digits=2,
        table=True,
    ),
    Measure(
        name="invocation_sync",
        title="an invocation of 6 spans, flushed to a collector",
        probe="invoke",
        unit="µs",
        take=_invocation,
        budget=140.0,
        table=True,
    ),
    Measure(
        name="round_trip",
        title="for scale: a bare round trip to the collector on a bare socket",
        probe="invoke",
        unit="µs",
        take=_round_trip,
        marginal=False,
    ),
    Measure(
        name="invocation_warm",
        title="the same inside awslambdaric, warm",
        probe="lambda_collector",
        unit="µs",
        take=_warm,
    ),
    Measure(
        name="invocation_async",
        title="an invocation of 6 spans in async mode, on the critical path",
        probe="lambda_async",
        unit="µs",
        take=_warm,
        budget=45.0,
        table=True,
    ),
)
NOT_BY_DEFAULT = frozenset({"import_lambda_share_nopyc"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeMeasure:
    """The size of what is installed: a count, not a timing; taken once, from the virtual environment."""

    name: str = "wheel_size"
    title: str = "installed, zipped, with its dependencies"
    unit: str = "kB"
    budget: float = 120.0


SIZE = SizeMeasure()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one run does."""

    peers: tuple[str, ...]
    measures: tuple[Measure, ...]
    rounds: int
    seed: int
    probes: tuple[Probe, ...] = field(default=())

    @classmethod
    def make(cls, *, peers: tuple[str, ...], names: tuple[str, ...], rounds: int, seed: int) -> Plan:
        """The probes that the named measures need; without names, all but the slowest measure."""
        known = {measure.name: measure for measure in MEASURES}
        chosen = names or tuple(name for name in known if name not in NOT_BY_DEFAULT)
        measures = tuple(known[name] for name in chosen if name != SIZE.name)
        needed = {measure.probe for measure in measures}
        return cls(
            peers=peers,
            measures=measures,
            rounds=rounds,
            seed=seed,
            probes=tuple(probe for probe in PROBES if probe.name in needed),
        )
