"""Order statistics: medians, and confidence intervals that assume nothing about the distribution."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

CONFIDENCE = 0.99
FEWEST = 8  # below it no pair of order statistics covers the median with 99%


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A median, its n, and the interval that covers it with at least `CONFIDENCE`; none below 8 values."""

    median: float
    n: int
    low: float | None
    high: float | None


def interval(values: list[float], confidence: float = CONFIDENCE) -> tuple[float, float] | None:
    """The narrowest symmetric pair of order statistics that covers the median with `confidence` (sign test).

    None when there are too few values for any pair to do so.
    """
    ordered = sorted(values)
    n = len(ordered)
    tail = 0.0
    best: tuple[float, float] | None = None
    for rank in range(n // 2):
        tail += math.comb(n, rank) / 2**n
        if 1 - 2 * tail < confidence:
            break
        best = (ordered[rank], ordered[n - 1 - rank])
    return best


def estimate(values: list[float]) -> Estimate | None:
    """Median and interval; None when there is nothing to estimate, which is not 0."""
    if not values:
        return None
    low_high = interval(values)
    return Estimate(
        median=statistics.median(values),
        n=len(values),
        low=low_high[0] if low_high else None,
        high=low_high[1] if low_high else None,
    )


def outliers(values: list[float]) -> list[int]:
    """Indexes more than three interquartile ranges outside the quartiles: flagged, never dropped."""
    if len(values) < FEWEST:
        return []
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    reach = 3 * (third - first)
    return [index for index, value in enumerate(values) if not first - reach <= value <= third + reach]
