"""Order statistics: percentiles, medians and their exact intervals. Pure functions of lists of numbers.

Rules
- One definition of a percentile, everywhere: linear interpolation between order statistics (Hyndman and Fan's
  type 7, the one of NumPy and of `statistics.quantiles(method="inclusive")`). The median is its 50th.
- A percentile is absent (`None`) below the number of values at which the largest of them lies above it with
  95% probability: 5 for p50, 29 for p90, 59 for p95, 299 for p99. A tail that was not sampled is not
  printed. The median as the *estimate* of a typical value (`median`) has no such minimum: it is always
  shown with its n.
- The interval of a median is the distribution-free one of the sign test: the k-th smallest and k-th largest
  value, k the largest whose binomial coverage is at least the confidence asked for. Exact, no resampling, no
  normal approximation. For 99% it exists from 8 values on; below that it is absent.
- Outliers are named, never removed.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIDENCE = 0.99
"""The confidence of every interval, unless asked otherwise."""

_IN_INTEGERS = 10_000
"""Up to so many values an interval's probability is computed in integers; above, that takes minutes."""

OUTLIER_SCORE = 3.5
"""Modified z-score above which a value is flagged (Iglewicz and Hoaglin, 1993)."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An interval that holds the median with the given probability; `coverage` is the exact, larger one."""

    low: float
    high: float
    confidence: float
    coverage: float


def median(values: Sequence[float]) -> float | None:
    """The median, the mean of the two middle values when their number is even; `None` of nothing."""
    return statistics.median(values) if values else None


def minimum_n(percent: float) -> int:
    """How many values it takes before the largest exceeds this percentile with 95% probability."""
    if not 0 < percent < 100:
        raise ValueError(f"a percentile lies between 0 and 100, got {percent}")
    return math.ceil(math.log(0.05) / math.log(percent / 100))


def percentile(values: Sequence[float], percent: float) -> float | None:
    """The percentile by linear interpolation (type 7), or `None` below `minimum_n(percent)` values."""
    if len(values) < minimum_n(percent):
        return None
    ordered = sorted(values)
    position = (len(ordered) - 1) * percent / 100
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    if ordered[below] == ordered[above]:
        return ordered[below]
    part = position - below
    return ordered[below] * (1 - part) + ordered[above] * part


def interval_rank(n: int, confidence: float = CONFIDENCE) -> tuple[int, float] | None:
    """The largest rank k (from 1) so that [k-th smallest, k-th largest] of n values covers the median.

    Returns k and the exact coverage 1 - 2 P(Binomial(n, 1/2) < k), or `None` when even the whole range covers
    less than the confidence asked for.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence lies between 0 and 1, got {confidence}")
    if n > _IN_INTEGERS:
        return _rank_of_many(n, confidence)
    total = 2**n
    outside = 0  # 2^n times the probability that fewer than k values lie below the median
    ways = 1  # to choose k - 1 of n: from one k to the next, since thousands of values are asked about too
    best: tuple[int, float] | None = None
    for k in range(1, n // 2 + 1):
        outside += ways
        ways = ways * (n - k + 1) // k
        coverage = (total - 2 * outside) / total
        if coverage < confidence:
            break
        best = (k, coverage)
    return best


def _rank_of_many(n: int, confidence: float) -> tuple[int, float]:
    """The same in floating point, from where the probability begins to be one: right to some 1e-8."""
    k = max(1, math.floor(n / 2 - 6 * math.sqrt(n)))  # twelve standard deviations below the middle
    term = math.exp(math.lgamma(n + 1) - math.lgamma(k) - math.lgamma(n - k + 2) - n * math.log(2))
    outside = 0.0
    best = (k, 1.0)
    while True:
        outside += term
        coverage = 1 - 2 * outside
        if coverage < confidence:
            return best
        best = (k, coverage)
        term *= (n - k + 1) / k
        k += 1


def median_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """The exact order-statistic (sign test) interval of the median; `None` when n is too small for it."""
    found = interval_rank(len(values), confidence)
    if found is None:
        return None
    rank, coverage = found
    ordered = sorted(values)
    return Interval(ordered[rank - 1], ordered[-rank], confidence, coverage)


def outliers(values: Sequence[float]) -> list[int]:
    """The positions of values far from the rest: modified z-score (median, MAD) above `OUTLIER_SCORE`.

    Empty for fewer than five values, and when more than half of them are equal (the spread is then zero, and
    every other value would be called one).
    """
    if len(values) < 5:
        return []
    center = statistics.median(values)
    spread = statistics.median(abs(value - center) for value in values)
    if spread == 0:
        return []
    return [i for i, value in enumerate(values) if 0.6745 * abs(value - center) / spread > OUTLIER_SCORE]
