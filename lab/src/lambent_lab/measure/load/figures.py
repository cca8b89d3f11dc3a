"""From the log of a load test to the figures that reports print. Pure: the same log gives the same figures.

Rules
- The latency of an operation of an open loop begins when it was meant to begin. Arrivals that nobody was free
  for are in `latency` with what they had waited when the load ended, the least that it can have been: left
  out, they would make an overload look fast. In a closed loop it begins when it began, and what coordinated
  omission left out is filled in, with the median time between two successful operations of one user as the
  interval: those that were throttled at once are no measure of it.
- Of operations only successful ones are in `latency` and `service`; the times of cold, failed and throttled
  ones stand apart (those of cold ones in both).
- Operations of one run are not independent. Intervals therefore are those of medians over slices of the time:
  as many as the part has seconds, at least 8 and at most 30.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lambent_lab.measure import stats
from lambent_lab.measure.load.latency import Latencies, share, usual_interval
from lambent_lab.measure.load.loops import COLD, FAILED, THROTTLED, WARM
from lambent_lab.measure.summary import figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambent_lab.measure.load.loops import Load, Log
    from lambent_lab.measure.results import Figure
    from lambent_lab.measure.results_load import (
        ErrorCount,
        Latency,
        LoadPart,
        LoadSlice,
        RawOperations,
        SpanTotals,
    )

MOST_SLICES = 240
"""How many slices a series has at most."""

RAW_KEPT = 100_000
"""How many operations a result file has at most, one by one."""

_SUCCEEDED = {WARM, COLD}


@dataclass(frozen=True, slots=True)
class Parts:
    """A load test whole, its ramp-up, and what came after that; None where there was none."""

    whole: LoadPart
    ramp_up: LoadPart | None
    steady: LoadPart | None


def parts(log: Log, load: Load, elapsed_s: float) -> Parts:
    """What happened in all, during the ramp-up, and after it. `elapsed_s`: how long it really went on."""
    end = max([elapsed_s, *log.ended]) if len(log) else elapsed_s
    begun = min(elapsed_s, load.duration_s)  # no operation begins later
    corrected = load.rate is None
    ramp = load.ramp_up_s
    return Parts(
        whole=part(log, 0.0, begun, end, corrected=corrected),
        ramp_up=part(log, 0.0, min(ramp, begun), min(ramp, end), corrected=corrected) if ramp > 0 else None,
        steady=part(log, ramp, begun, end, corrected=corrected) if begun > ramp else None,
    )


def part(log: Log, from_s: float, to_s: float, end_s: float, *, corrected: bool) -> LoadPart:
    """What was (meant to be) begun in a stretch of the time, which was over at `end_s`.

    `corrected`: whether coordinated omission is to be corrected, as in a closed loop.
    """
    mine = [i for i, intended in enumerate(log.intended) if from_s <= intended < to_s]
    kinds = Counter(log.outcome[i] for i in mine)
    succeeded = [i for i in mine if log.outcome[i] in _SUCCEEDED]
    expected = _interval(log, succeeded) if corrected else None
    waits = [log.ended[i] - log.intended[i] for i in succeeded]
    if succeeded:  # what only fails has no speed
        waits += [log.given_up_s - at for at in log.unstarted if from_s <= at < to_s]
    throughput, p50, p95 = _over_time(log, from_s, to_s)
    seconds = end_s - from_s
    return {
        "from_s": from_s,
        "to_s": end_s,
        "attempted": len(mine),
        "succeeded": len(succeeded),
        "failed": kinds[FAILED],
        "throttled": kinds[THROTTLED],
        "cold": kinds[COLD] if log.says_cold else None,
        "per_second": len(succeeded) / seconds if seconds > 0 else None,
        "throughput": throughput,
        "p50": p50,
        "p95": p95,
        "error_rate": share(kinds[FAILED], len(mine)),
        "throttle_rate": share(kinds[THROTTLED], len(mine)),
        "latency": Latencies.of(waits, expected).describe(),
        "service": Latencies.of(log.ended[i] - log.started[i] for i in succeeded).describe(),
        "cold_latency": _times(log, mine, COLD),
        "failed_latency": _times(log, mine, FAILED),
        "throttled_latency": _times(log, mine, THROTTLED),
    }


def _times(log: Log, mine: Sequence[int], outcome: int) -> Latency:
    return Latencies.of(log.ended[i] - log.intended[i] for i in mine if log.outcome[i] == outcome).describe()


def _interval(log: Log, mine: Sequence[int]) -> float | None:
    starts: dict[int, list[float]] = {}
    for i in mine:
        starts.setdefault(log.user[i], []).append(log.started[i])
    return usual_interval(starts.values())


def _over_time(log: Log, from_s: float, to_s: float) -> tuple[Figure | None, Figure | None, Figure | None]:
    """Throughput a second, and the latency's p50 and p95 in ms: medians over slices of the time.

    An operation belongs to the slice in which it ended.
    """
    if to_s <= from_s:
        return None, None, None
    number = max(8, min(30, int(to_s - from_s)))
    width = (to_s - from_s) / number
    times: list[list[float]] = [[] for _ in range(number)]
    for i, ended in enumerate(log.ended):
        if from_s <= ended < to_s and log.outcome[i] in _SUCCEEDED:
            times[min(number - 1, int((ended - from_s) / width))].append((ended - log.intended[i]) * 1000)
    middles = [stats.percentile(each, 50) for each in times]
    tails = [stats.percentile(each, 95) for each in times]
    return (
        figure([len(each) / width for each in times]),
        figure([each for each in middles if each is not None]),
        figure([each for each in tails if each is not None]),
    )


def series(log: Log, elapsed_s: float) -> list[LoadSlice]:
    """What happened over the time, by when operations ended: a slice a second, or fewer and longer ones."""
    if elapsed_s <= 0:
        return []
    number = max(1, min(MOST_SLICES, round(elapsed_s)))
    width = elapsed_s / number
    members: list[list[int]] = [[] for _ in range(number)]
    for i, ended in enumerate(log.ended):
        members[min(number - 1, int(ended / width))].append(i)
    return [_slice(log, n * width, (n + 1) * width, mine) for n, mine in enumerate(members)]


def _slice(log: Log, from_s: float, to_s: float, mine: Sequence[int]) -> LoadSlice:
    kinds = Counter(log.outcome[i] for i in mine)
    times = [(log.ended[i] - log.intended[i]) * 1000 for i in mine if log.outcome[i] in _SUCCEEDED]
    return {
        "from_s": from_s,
        "to_s": to_s,
        "succeeded": kinds[WARM] + kinds[COLD],
        "failed": kinds[FAILED],
        "throttled": kinds[THROTTLED],
        "cold": kinds[COLD] if log.says_cold else None,
        "users": sum(1 for begin, until in log.begun if begin < to_s and until > from_s),
        "p50_ms": stats.percentile(times, 50),
        "max_ms": max(times) if times else None,
    }


def errors(log: Log, most: int = 10) -> list[ErrorCount]:
    """The errors that happened most often."""
    counts = Counter(number for number in log.error if number >= 0)
    found: list[ErrorCount] = []
    for number, count in counts.most_common(most):
        text, kind = log.errors[number]
        found.append(
            {"error": text, "count": count, "kind": "throttled" if kind == "throttled" else "failed"}
        )
    return found


def spans(log: Log) -> SpanTotals | None:
    """The spans of successful invocations, None where nobody counted them."""
    return log.spans.totals() if log.spans.invocations else None


def raw(log: Log, kept: int = RAW_KEPT) -> RawOperations:
    """The operations one by one, by columns."""
    number = min(kept, len(log))

    def times(column: Sequence[float]) -> list[float]:
        return [round(each * 1000, 3) for each in column[:number]]

    return {
        "kept": number,
        "of": len(log),
        "user": list(log.user[:number]),
        "intended_ms": times(log.intended),
        "started_ms": times(log.started),
        "ended_ms": times(log.ended),
        "outcome": list(log.outcome[:number]),
    }
