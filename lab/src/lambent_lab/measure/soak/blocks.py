"""A block of a soak: a stretch of invocations of one side, taken together as they come. Constant storage."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from lambent_lab.measure import stats
from lambent_lab.measure.accounting import SpanCounter
from lambent_lab.measure.records import reason

if TYPE_CHECKING:
    from lambent_lab.measure.load.latency import Latencies
    from lambent_lab.measure.records import ResultLike
    from lambent_lab.measure.results_load import SoakBlock

_MB = 2**20


class Block:
    """Takes the invocations of one block.

    A failed invocation is counted, and no value of it used; of a cold one its memory is.
    """

    def __init__(self, number: int, side: str, first: int, from_s: float) -> None:
        self.number, self.side, self.first, self.from_s = number, side, first, from_s
        self.n = self.failed = self.cold = 0
        self.spans = SpanCounter()
        self.error: str | None = None
        self._durations: list[float] = []
        self._cpu: list[float] = []
        self._rss: list[int] = []
        self._peak: int | None = None
        self._charged: int | None = None

    def add(self, result: ResultLike, durations: Latencies, spans: SpanCounter) -> bool:
        """Take one invocation, also into the side's durations and spans; return whether it was a success."""
        self.n += 1
        report = result.report
        self.cold += result.cold
        self._rss += [] if (rss := getattr(report, "rss", None)) is None else [rss]
        self._peak = _most(self._peak, getattr(report, "peak_rss", None))
        self._charged = _most(self._charged, getattr(report, "peak_with_cache", None))
        if reason(result) is not None:
            self.failed += 1
            return False
        if result.spans is not None:
            for counter in (self.spans, spans):
                counter.add(len(result.spans), result.spans_made)
        if not result.cold:
            self._durations.append(report.duration_ms)
            durations.record(report.duration_ms / 1000)
            if report.cpu_ms is not None:
                self._cpu.append(report.cpu_ms)
        return True

    def close(self, to_s: float) -> SoakBlock:
        """What it came to."""
        warm, totals = self._durations, self.spans.totals()
        return {
            "number": self.number,
            "side": self.side,
            "first": self.first,
            "n": self.n,
            "failed": self.failed,
            "cold": self.cold,
            "from_s": round(self.from_s, 3),
            "to_s": round(to_s, 3),
            "duration_ms": stats.median(warm),
            "p95_ms": stats.percentile(warm, 95),
            "cpu_ms": statistics.fmean(self._cpu) if self._cpu else None,
            "rss_mb": statistics.median(self._rss) / _MB if self._rss else None,
            "rss_end_mb": self._rss[-1] / _MB if self._rss else None,
            "peak_rss_mb": None if self._peak is None else self._peak / _MB,
            "high_water_mb": None if self._charged is None else self._charged / _MB,
            "spans": totals["received"],
            "spans_made": totals["made"],
            "without_spans": totals["without"],
        }


def _most(known: int | None, more: int | None) -> int | None:
    if more is None:
        return known
    return more if known is None else max(known, more)
