"""What tracing costs in memory: many tracers, many spans, a long time. The tester of specification 001.

Rules
- Memory is resident memory (RSS, psutil) after collecting garbage, in MB of 2^20 bytes; a peak is the
  kernel's high-water mark (see `measure.memory_probe`). `blocks` are the memory blocks that Python has given
  out: exact where RSS moves by pages and by what the allocator keeps.
- What is paid once (modules that the first span loads) is paid before the beginning, and reported apart.
- A growth rate is the median of the slopes of all pairs of samples (Theil and Sen): one odd sample does not
  make a trend.
- Tracers need `trace(name)`, a context manager that gives a span with `set_attribute`; `close` or `shutdown`
  is called where there is one.
"""

from __future__ import annotations

import statistics
import sys
import time
import weakref
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from lambent_lab.measure.summary import figure
from lambent_lab.measure.testers.memory_probe import MemoryProbe, collect, set_aside
from lambent_lab.measure.testers.timing import at_least

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lambent_lab.measure.testers.memory_probe import Memory

_SAMPLES = 10
_SPANS_EACH = 10
_WARM_UP = 100
_POINTS = 400
"""Of more points than this, evenly spread ones make the slope: it takes the square of their number."""


class MemoryTester:
    """Measures the memory of this process while it traces.

    tracer: whose spans are made, instead of those of a new one; it is not closed. make_tracer: makes the
    tracer of that number; by default one of lambent's that neither keeps nor sends spans (in test mode it
    would keep them all, and its memory be that of the spans). The others are for tests of tests: clock and
    sleep are in seconds.
    """

    def __init__(
        self,
        tracer: object = None,
        *,
        make_tracer: Callable[[int], Any] | None = None,
        memory: Memory | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.tracer = tracer
        self.baseline_memory: float | None = None
        self._make = make_tracer or _keeping_nothing
        self._memory = MemoryProbe() if memory is None else memory
        self._clock = clock
        self._sleep = sleep

    def start_monitoring(self) -> None:
        """Collect garbage and remember the memory from here: `baseline_memory`, in MB. A peak begins too."""
        collect()
        self._memory.begin_peak()
        self.baseline_memory = self._memory.rss_mb()

    def measure_memory_usage(self) -> float:
        """The memory that is resident now, in MB."""
        return self._memory.rss_mb()

    def test_tracer_memory_usage(self, num_tracers: int = 10) -> dict[str, Any]:
        """Make so many tracers with ten spans each, then close them; all of it twice.

        `memory_per_tracer_mb` and the peak are those of the first round. `memory_leak_mb` is what it left, as
        documented; `second_round_leak_mb` and `leaked_blocks` are what the second left on top, when the
        allocator had all that it keeps: those are a leak. `tracers_alive`: how many were not freed (None
        when they cannot be watched). Raises UsageError for less than one tracer.
        """
        at_least("num_tracers", num_tracers, 1)
        with set_aside():
            return self._tracers(num_tracers)

    def _tracers(self, num_tracers: int) -> dict[str, Any]:
        before_first = self.measure_memory_usage()
        self._round(1, [], [])
        self.start_monitoring()
        first_tracer = self.measure_memory_usage() - before_first
        initial = self.measure_memory_usage()
        grown: list[float] = []
        watched: list[weakref.ref[Any]] = []
        created = self._round(num_tracers, grown, watched)
        peak = max(self._memory.peak_mb(), created)
        collect()
        cleaned = self.measure_memory_usage()
        blocks = sys.getallocatedblocks()
        self._round(num_tracers, [], watched)
        collect()
        again = self.measure_memory_usage()
        return {
            "initial_mb": initial,
            "after_creation_mb": created,
            "after_cleanup_mb": cleaned,
            "peak_usage_mb": peak - initial,
            "memory_leak_mb": cleaned - initial,
            "memory_per_tracer_mb": (created - initial) / num_tracers,
            "n": num_tracers,
            "peak_source": self._memory.peak_source,
            "first_tracer_mb": first_tracer,
            "second_round_leak_mb": again - cleaned,
            "leaked_blocks": sys.getallocatedblocks() - blocks,
            "tracers_alive": _alive(watched) if len(watched) == 2 * num_tracers else None,
            "tracer_mb": figure(grown),
            "memory_samples": grown,
        }

    def test_span_memory_growth(self, num_spans: int = 1000) -> dict[str, Any]:
        """Make so many spans with two attributes each; memory is looked at ten times on the way.

        `memory_growth_rate_mb` is the growth from one sample to the next by their slope, `growth_mb` the
        median of these steps with its interval, `blocks_per_span` Python's memory blocks. Raises UsageError
        for less than one span.
        """
        at_least("num_spans", num_spans, 1)
        with set_aside():
            return self._spans(num_spans)

    def _spans(self, num_spans: int) -> dict[str, Any]:
        tracer, own = self._tracer()
        for number in range(min(_WARM_UP, num_spans)):
            _span(tracer, number)
        self.start_monitoring()
        initial = self.measure_memory_usage()
        every = max(1, num_spans // _SAMPLES)
        samples: list[tuple[int, float]] = [(0, initial)]
        blocks = sys.getallocatedblocks()
        for number in range(1, num_spans + 1):
            _span(tracer, number)
            if number % every == 0 or number == num_spans:
                collect()
                samples.append((number, self.measure_memory_usage()))
        more_blocks = sys.getallocatedblocks() - blocks
        final = samples[-1][1]
        peak = max(self._memory.peak_mb(), final)
        if own:
            _close(tracer)
        per_span = slope(samples)
        return {
            "initial_mb": initial,
            "final_mb": final,
            "total_growth_mb": final - initial,
            "memory_per_span_kb": (final - initial) * 1024 / num_spans,
            "memory_growth_rate_mb": None if per_span is None else per_span * every,
            "memory_samples": [value for _, value in samples],
            "n": num_spans,
            "sampled_at_span": [number for number, _ in samples],
            "growth_mb": figure([after - before for (_, before), (_, after) in pairwise(samples)]),
            "peak_usage_mb": peak - initial,
            "peak_source": self._memory.peak_source,
            "blocks_per_span": more_blocks / num_spans,
        }

    def test_long_running_memory_stability(
        self,
        duration_seconds: float = 60,
        *,
        spans_per_second: float = 10,
        samples_per_second: float = 1,
    ) -> dict[str, Any]:
        """Make spans at a steady pace for so long, looking at the memory every second, first and last.

        `memory_variance_mb` is, as documented, the largest sample less the smallest. `spans_per_second` is
        what was reached, over the time that it really took (`elapsed_s`); `growth_mb_per_hour` the slope.
        Raises UsageError when the duration or the pace is not above 0.
        """
        for name, value in (
            ("duration_seconds", duration_seconds),
            ("spans_per_second", spans_per_second),
            ("samples_per_second", samples_per_second),
        ):
            at_least(name, value, 1e-3)
        with set_aside():
            return self._stability(duration_seconds, spans_per_second, samples_per_second)

    def _stability(
        self, duration_seconds: float, spans_per_second: float, samples_per_second: float
    ) -> dict[str, Any]:
        tracer, own = self._tracer()
        for number in range(_WARM_UP):
            _span(tracer, number)
        self.start_monitoring()
        count = 0
        started = self._clock()
        samples = [self._sample(started, count)]
        while (now := self._clock() - started) < duration_seconds:
            _span(tracer, count)
            count += 1
            if now >= len(samples) / samples_per_second:
                samples.append(self._sample(started, count))
            # By the number of spans, not by the last pause: the pace does not drift.
            self._sleep(max(0.0, count / spans_per_second - (self._clock() - started)))
        elapsed = self._clock() - started
        samples.append(self._sample(started, count))
        peak = self._memory.peak_mb()
        if own:
            _close(tracer)
        memories = [sample["memory_mb"] for sample in samples]
        per_second = slope([(sample["time"], sample["memory_mb"]) for sample in samples])
        return {
            "duration_seconds": duration_seconds,
            "span_count": count,
            "memory_samples": samples,
            "avg_memory_mb": statistics.fmean(memories),
            "max_memory_mb": max(memories),
            "min_memory_mb": min(memories),
            "memory_variance_mb": max(memories) - min(memories),
            "spans_per_second": count / elapsed,
            "n": len(samples),
            "elapsed_s": elapsed,
            "memory_mb": figure(memories),
            "growth_mb_per_hour": None if per_second is None else per_second * 3600,
            "peak_memory_mb": max(peak, *memories),
            "peak_source": self._memory.peak_source,
        }

    def _tracer(self) -> tuple[Any, bool]:
        """The tracer to use, and whether it is to be closed."""
        return (self._make(0), True) if self.tracer is None else (self.tracer, False)

    def _round(self, number: int, grown: list[float], watched: list[weakref.ref[Any]]) -> float:
        """Make tracers, keep what each one took, close them all; return the memory while all were there."""
        tracers: list[Any] = []
        before = self.measure_memory_usage()
        for index in range(number):
            tracer = self._make(index)
            tracers.append(tracer)
            with suppress(TypeError):  # it has no room for weak references: it cannot be watched
                watched.append(weakref.ref(tracer))
            for span in range(_SPANS_EACH):
                _span(tracer, span, index)
            after = self.measure_memory_usage()
            grown.append(after - before)
            before = after
        collect()
        created = self.measure_memory_usage()
        for tracer in tracers:
            _close(tracer)
        return created

    def _sample(self, started: float, count: int) -> dict[str, Any]:
        collect()
        return {
            "time": self._clock() - started,
            "memory_mb": self.measure_memory_usage(),
            "span_count": count,
        }


def slope(points: Sequence[tuple[float, float]]) -> float | None:
    """The slope through points (x, y): the median of those of all pairs; None of fewer than two."""
    if len(points) > _POINTS:
        step = (len(points) - 1) / (_POINTS - 1)
        points = [points[round(i * step)] for i in range(_POINTS)]
    slopes = [
        (y2 - y1) / (x2 - x1) for i, (x1, y1) in enumerate(points) for x2, y2 in points[i + 1 :] if x2 != x1
    ]
    return statistics.median(slopes) if slopes else None


def _keeping_nothing(number: int) -> Any:
    import lambent

    return lambent.init(service_name=f"memory-test-{number}", exporters=["none"])


def _span(tracer: Any, number: int, index: int = 0) -> None:
    with tracer.trace(f"memory-test-span-{number}") as span:
        span.set_attribute("span.index", number)
        span.set_attribute("span.data", f"data-{number}-{index}" * 10)


def _close(tracer: Any) -> None:
    for name in ("close", "shutdown"):
        close = getattr(tracer, name, None)
        if callable(close):
            close()
            return


def _alive(watched: Sequence[weakref.ref[Any]]) -> int:
    return sum(1 for each in watched if each() is not None)
