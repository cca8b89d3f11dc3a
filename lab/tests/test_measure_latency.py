"""Distributions of latency: percentiles, coordinated omission, encoding, shares."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambent_lab.measure import stats
from lambent_lab.measure.load.latency import Latencies, share, usual_interval

TIMES = st.lists(st.floats(min_value=2e-6, max_value=100, allow_nan=False), min_size=300, max_size=400)


@settings(max_examples=15)
@given(TIMES)
def test_percentiles_are_those_of_the_times_to_three_digits(times: list[float]) -> None:
    found = Latencies.of(times).describe()
    ordered = sorted(times)
    for percent, value in ((50, found["p50_ms"]), (95, found["p95_ms"]), (99, found["p99_ms"])):
        rank = math.ceil(percent / 100 * len(ordered))
        assert value is not None
        # Of the two order statistics beside the percentile; 0.5 µs is the unit's rounding.
        low, high = ordered[rank - 2] * 1000, ordered[min(rank, len(ordered) - 1)] * 1000
        assert low * 0.999 - 0.0006 <= value <= high * 1.001 + 0.0006
    assert found["n"] == len(times)
    assert found["min_ms"] == min(times) * 1000
    assert found["max_ms"] == max(times) * 1000
    assert found["mean_ms"] == pytest.approx(sum(times) / len(times) * 1000)


@pytest.mark.parametrize(
    ("name", "percent"), [("p50_ms", 50), ("p90_ms", 90), ("p95_ms", 95), ("p99_ms", 99), ("p999_ms", 99.9)]
)
def test_a_percentile_is_absent_below_its_minimum(name: str, percent: float) -> None:
    least = stats.minimum_n(percent)
    assert Latencies.of([0.001] * (least - 1)).describe()[name] is None  # type: ignore[literal-required]
    assert Latencies.of([0.001] * least).describe()[name] == 1.0  # type: ignore[literal-required]


def test_nothing_measured_has_no_figures() -> None:
    found = Latencies().describe()
    assert (found["n"], found["mean_ms"], found["max_ms"], found["p50_ms"]) == (0, None, None, None)
    assert found["curve"] == []


def test_a_stall_is_filled_in() -> None:
    """The classic case: 100 s of answers in 1 ms at 100 a second, then nothing for 100 s."""
    times = [0.001] * 10_000 + [100.0]
    plain, corrected = Latencies.of(times).describe(), Latencies.of(times, 0.01).describe()
    assert plain["p99_ms"] == 1.0
    assert corrected["p50_ms"] == 1.0
    curve = {point[0]: point[1] for point in corrected["curve"]}
    assert curve[75] == pytest.approx(50_000, rel=0.01)
    assert corrected["p99_ms"] == pytest.approx(98_000, rel=0.01)
    assert (corrected["n"], corrected["corrected"], plain["corrected"]) == (10_001, True, False)
    assert corrected["expected_interval_ms"] == 10.0
    # What was filled in is in no mean.
    assert corrected["mean_ms"] == plain["mean_ms"]


@given(st.integers(1, 10**9), st.integers(1, 10**6))
def test_only_whole_intervals_are_filled_in(value_us: int, interval_us: int) -> None:
    corrected = Latencies.of([value_us / 1e6], interval_us / 1e6)
    expected = max(1, value_us // interval_us)
    assert corrected.entries == expected
    least = corrected.describe()["curve"][0][1] * 1000
    assert least >= min(value_us, interval_us) * 0.998


def test_histograms_add_up_across_processes() -> None:
    first, second = [0.001 * i for i in range(1, 200)], [0.5] * 200
    total = Latencies()
    for part in (first, second, []):
        some = Latencies.of(part)
        total.merge(some)
    whole, added = Latencies.of(first + second).describe(), total.describe()
    for name in ("n", "p50_ms", "p90_ms", "p95_ms", "p99_ms", "curve"):
        assert added[name] == whole[name]
    assert added["mean_ms"] == pytest.approx(whole["mean_ms"], rel=0.002)
    assert added["max_ms"] == pytest.approx(whole["max_ms"], rel=0.002)


def test_the_usual_interval_is_not_moved_by_a_stall() -> None:
    assert usual_interval([[0, 1, 2, 3, 103], [0.5]]) == 1
    assert usual_interval([[0.5], []]) is None


def test_a_share_has_an_interval() -> None:
    nothing = share(0, 0)
    assert (nothing["share"], nothing["low"], nothing["high"]) == (None, None, None)
    none = share(0, 100)
    assert (none["share"], none["low"]) == (0.0, 0.0)
    # The exact upper end for 0 of 100 at 99% (two-sided) is 5.16%; Wilson's lies beside it.
    assert none["high"] == pytest.approx(0.0622, abs=0.001)
    some = share(3, 1000)
    assert some["low"] is not None
    assert some["high"] is not None
    assert 0.0005 < some["low"] < 0.003 < some["high"] < 0.015
    assert share(5, 5)["high"] == 1.0
