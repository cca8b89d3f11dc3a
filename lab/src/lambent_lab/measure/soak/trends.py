"""Whether something grows: the Theil-Sen slope of a series, with its interval. Pure.

Rules
- The estimate is the median of the slopes between all pairs of points (Theil 1950, Sen 1968): 29% of the
  points may be wild before it is. A single step, as an allocator makes when it takes its next arena, is not
  much of a slope.
- The interval is Sen's, from Kendall's statistic. It supposes independent points; those of a process's
  memory are not, so the interval alone would call too many a small drift growth. The verdict therefore asks
  for more: the whole interval has to lie beyond a tolerance.
- The first fifth of the points is left out: what fills up at first (caches, arenas, a warm allocator) is no
  trend. Below eight points there is no verdict.
- Where there is a least change, less than that in all is not called growth, however steadily it came: a
  Python process goes on filling its arenas for some thousands of invocations, until its garbage collector has
  been through all generations.
- A series may have several parts, one for each process: memory begins anew with a process. Slopes are those
  between points of one part, their variances add up (Hirsch, Slack and Smith 1982, whose parts are seasons),
  and each part has a first fifth of its own. A part that is shorter than a series must be does not count.
"""

from __future__ import annotations

import itertools
import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambent_lab.measure.results_load import Growth, Trend

CONFIDENCE = 0.99
LEAST_POINTS = 8
SKIPPED = 0.2
"""The share of the points, from the first, that is no part of a trend."""

_Z = statistics.NormalDist().inv_cdf(1 - (1 - CONFIDENCE) / 2)


@dataclass(frozen=True, slots=True)
class Slope:
    """A slope and its interval, in the series' unit for one step of x."""

    slope: float
    low: float
    high: float


def theil_sen(*parts: Sequence[tuple[float, float]]) -> Slope | None:
    """The median slope between all pairs of points of one part with different x.

    None where no part has `LEAST_POINTS` points; parts with fewer do not count.
    """
    long = [part for part in parts if len(part) >= LEAST_POINTS]
    slopes = sorted(
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for part in long
        for earlier, later in itertools.combinations(part, 2)
        if earlier[0] != later[0]
    )
    if not slopes:
        return None
    number = len(slopes)
    variance = sum(len(part) * (len(part) - 1) * (2 * len(part) + 5) / 18 for part in long)
    reach = _Z * math.sqrt(variance)
    low = max(0, math.floor((number - reach) / 2) - 1)
    high = min(number - 1, math.ceil((number + reach) / 2))
    return Slope(statistics.median(slopes), slopes[low], slopes[high])


def judge(
    low: float, high: float, tolerance: float, span: float = math.inf, least_change: float = 0.0
) -> Growth:
    """Say what an interval of a slope means, when so much is nothing.

    span: over how many steps of x; least_change: what there must have been of change at least.
    """
    if low > tolerance:
        return "grows" if low * span > least_change else "inconclusive"
    if high < -tolerance:
        return "shrinks" if high * span < -least_change else "inconclusive"
    return "steady" if -tolerance <= low and high <= tolerance else "inconclusive"


def _parts(
    x: Sequence[float], y: Sequence[float | None], process: Sequence[object]
) -> list[list[tuple[float, float]]]:
    """The points that count, by the process that they are of: without its first fifth.

    Of several those that are too short are left out, if there is one that is not.
    """
    known: dict[object, list[tuple[float, float]]] = {}
    for at, value, of in zip(x, y, process, strict=True):
        if value is not None:
            known.setdefault(of, []).append((at, value))
    parts = [points[math.ceil(len(points) * SKIPPED) :] for points in known.values()]
    return [part for part in parts if len(part) >= LEAST_POINTS] or [part for part in parts if part]


def trend(
    x: Sequence[float],
    y: Sequence[float | None],
    unit: str,
    tolerance_per_1000: float | None,
    least_change: float = 0.0,
    process: Sequence[object] = (),
) -> Trend:
    """The trend of a series of blocks; `x` counts invocations. A missing value is left out.

    tolerance_per_1000: how much change in 1,000 invocations is nothing, in the series' unit; least_change:
    how much it is in all; process: of which each point is, where there were several.
    """
    parts = _parts(x, y, process or [None] * len(x))
    counting = [point for part in parts for point in part]
    found = theil_sen(*parts)
    empty: Trend = {
        "unit": unit,
        "blocks": len(counting),
        "skipped": sum(value is not None for value in y) - len(counting),
        "first": counting[0][1] if counting else None,
        "last": counting[-1][1] if counting else None,
        "per_1000": None,
        "low_per_1000": None,
        "high_per_1000": None,
        "change": None,
        "tolerance_per_1000": tolerance_per_1000,
        "least_change": least_change,
        "confidence": CONFIDENCE,
        "verdict": "absent",
    }
    if found is None:
        return empty
    low, high = found.low * 1000, found.high * 1000
    # Of the longest: what one process does not fill up, no process does.
    span = max(part[-1][0] - part[0][0] for part in parts)
    verdict: Growth = "inconclusive"
    if tolerance_per_1000 is not None:
        verdict = judge(low, high, tolerance_per_1000, span / 1000, least_change)
    return {
        **empty,
        "per_1000": found.slope * 1000,
        "low_per_1000": low,
        "high_per_1000": high,
        "change": found.slope * span,
        "verdict": verdict,
    }
