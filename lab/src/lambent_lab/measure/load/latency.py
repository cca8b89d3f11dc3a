"""Distributions of times: HdrHistograms, and what coordinated omission left out of them.

A load generator that waits for an answer before it asks again asks less while the target is slow, and so
measures too few slow answers. Gil Tene's correction fills in what a user that goes on asking would have
seen: after an answer that took longer than the usual interval between two questions come the answers to the
questions that were not asked, each an interval shorter. An open loop needs no correction: there a latency
begins when the question was meant to be asked.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

from hdrh.histogram import HdrHistogram

from lambent_lab.measure import stats

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lambent_lab.measure.results_load import Latency, Share

LONGEST_US = 3_600_000_000
"""An hour: what takes longer is counted as that long."""

DIGITS = 3

_MOST_FILLED_IN = 10_000

_Z99 = 2.5758293035489004
_CURVE = (0, 10, 20, 30, 40, 50, 60, 70, 75, 80, 85, 90, 92.5, 95, 97, 98, 99, 99.5, 99.9, 99.95, 99.99, 100)


class Latencies:
    """Times in seconds, kept in a histogram of constant size (1 µs to an hour, three significant digits).

    `expected_s`: the interval between two operations of one user; with it, what coordinated omission left out
    is filled in.
    """

    def __init__(self, expected_s: float | None = None) -> None:
        self.measured = 0
        self.expected_us = None if expected_s is None else max(1, round(expected_s * 1e6))
        self._histogram = HdrHistogram(1, LONGEST_US, DIGITS)
        self._total_s = 0.0
        self._least = math.inf
        self._most = 0.0

    @classmethod
    def of(cls, times: Iterable[float], expected_s: float | None = None) -> Latencies:
        """Return the distribution of these times."""
        made = cls(expected_s)
        for time in times:
            made.record(time)
        return made

    def record(self, seconds: float) -> None:
        """Take one time."""
        value = min(LONGEST_US, max(1, round(seconds * 1e6)))
        self.measured += 1
        self._total_s += seconds
        self._least = min(self._least, seconds)
        self._most = max(self._most, seconds)
        self._histogram.record_value(value)
        if self.expected_us is not None:
            self._fill_in(value, self.expected_us)

    def _fill_in(self, value: int, expected: int, count: int = 1) -> None:
        """Record what was not asked for while this was waited for: an interval less, down to one interval.

        As the reference implementation does it; hdrh's own goes on to a remainder below the interval.
        """
        missing = value // expected - 1
        if missing <= 0:
            return
        # Of very many, some for all: 10,000 of them are no different from all in a histogram.
        each = -(-missing // _MOST_FILLED_IN)
        for number in range(0, missing, each):
            some = min(each, missing - number)
            self._histogram.record_value(value - (number + 1) * expected, count * some)

    def corrected(self, expected_s: float | None) -> Latencies:
        """Return the same with what was left out at this interval filled in; of the times to three digits."""
        made = Latencies(expected_s)
        made.measured, made._total_s = self.measured, self._total_s
        made._least, made._most = self._least, self._most
        for index, count in enumerate(self._histogram.counts):
            if count:
                value = self._histogram.get_value_from_index(index)
                made._histogram.record_value(value, count)
                if made.expected_us is not None:
                    made._fill_in(value, made.expected_us, count)
        return made

    def merge(self, other: Latencies) -> None:
        """Add those of another one, of which nothing was filled in."""
        if other.measured:
            self.absorb(other.state())

    def state(self) -> list[Any]:
        """Return it in plain values, for `absorb` elsewhere."""
        return [self.encoded(), self.measured, self._total_s, self._least, self._most]

    def absorb(self, state: Sequence[Any]) -> None:
        """Add what another one's `state` returned, if there was anything in it."""
        encoded, measured, total_s, least, most = state
        if measured:
            self._histogram.add(HdrHistogram.decode(encoded.encode()))
            self.measured += measured
            self._total_s += total_s
            self._least, self._most = min(self._least, least), max(self._most, most)

    @classmethod
    def of_described(cls, found: Latency) -> Latencies:
        """Return what `describe` told of times of which nothing was filled in."""
        made = cls()
        mean, least, most = found["mean_ms"], found["min_ms"], found["max_ms"]
        if mean is not None and least is not None and most is not None:
            n = found["n"]
            made.absorb([found["histogram"], n, mean * n / 1000, least / 1000, most / 1000])
        return made

    @property
    def entries(self) -> int:
        """How many times there are, those that were filled in among them."""
        return int(self._histogram.get_total_count())

    def encoded(self) -> str:
        """Return the histogram in HdrHistogram's V2 encoding."""
        return bytes(self._histogram.encode()).decode()

    def percentile(self, percent: float) -> float | None:
        """Return a percentile in ms, None below the number of measured times that it needs."""
        if self.measured < stats.minimum_n(percent):
            return None
        return float(self._histogram.get_value_at_percentile(percent)) / 1000

    def describe(self) -> Latency:
        """Return everything there is to know of it. The mean is that of the measured times."""
        some = self.measured > 0
        known = [p for p in _CURVE if not 0 < p < 100 or self.measured >= stats.minimum_n(p)] if some else []
        found = self._histogram.get_percentile_to_value_dict(known)  # in one pass
        at = {percent: float(found[percent]) / 1000 for percent in known}
        return {
            "n": self.measured,
            "corrected": self.expected_us is not None,
            "expected_interval_ms": None if self.expected_us is None else self.expected_us / 1000,
            "mean_ms": self._total_s * 1000 / self.measured if some else None,
            "min_ms": self._least * 1000 if some else None,
            "max_ms": self._most * 1000 if some else None,
            "p50_ms": at.get(50),
            "p90_ms": at.get(90),
            "p95_ms": at.get(95),
            "p99_ms": at.get(99),
            "p999_ms": at.get(99.9),
            "curve": [[percent, value] for percent, value in at.items()],
            "histogram": self.encoded(),
        }


def usual_interval(starts_by_user: Iterable[Sequence[float]]) -> float | None:
    """Return the median time between two starts of one user, None when nobody started twice.

    The median: the mean would be longer by the very stalls that are to be corrected.
    """
    gaps = [later - earlier for starts in starts_by_user for earlier, later in itertools.pairwise(starts)]
    return stats.median(gaps)


def share(count: int, n: int) -> Share:
    """Return a share with its 99% Wilson score interval."""
    if n == 0:
        return {"n": 0, "count": count, "share": None, "low": None, "high": None}
    part, square = count / n, _Z99 * _Z99
    middle = (part + square / (2 * n)) / (1 + square / n)
    half = _Z99 * math.sqrt(part * (1 - part) / n + square / (4 * n * n)) / (1 + square / n)
    low = 0.0 if count == 0 else max(0.0, middle - half)
    high = 1.0 if count == n else min(1.0, middle + half)
    return {"n": n, "count": count, "share": part, "low": low, "high": high}
