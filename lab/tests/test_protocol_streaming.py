"""The bandwidth of streamed responses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent_lab.protocol.streaming import AWS_LIMITS, MIB, Bandwidth, StreamLimits

SIZES = st.integers(0, 10_000)


def test_the_first_six_mebibytes_pass_and_the_rest_goes_at_two_a_second() -> None:
    assert (AWS_LIMITS.size, AWS_LIMITS.burst, AWS_LIMITS.rate) == (200 * MIB, 6 * MIB, 2 * MIB)
    bandwidth = Bandwidth(AWS_LIMITS, 100.0)
    assert bandwidth.take(6 * MIB, 100.0) == 0
    assert bandwidth.take(MIB, 100.0) == pytest.approx(0.5)
    assert bandwidth.take(MIB, 100.5) == pytest.approx(0.5)
    assert bandwidth.take(MIB, 101.75) == 0  # the half second that was owed is over, and another one
    assert bandwidth.take(6 * MIB, 1000.0) == 0  # full again, and no fuller
    assert bandwidth.take(MIB, 1000.0) == pytest.approx(0.5)


def test_without_a_rate_nothing_waits() -> None:
    bandwidth = Bandwidth(StreamLimits(burst=0, rate=None), 0.0)
    assert bandwidth.take(10**12, 0.0) == 0


@given(
    st.integers(1, 10_000),
    st.integers(1, 10_000),
    st.lists(st.tuples(SIZES, st.floats(0, 5)), min_size=1, max_size=50),
)
def test_never_more_than_the_bucket_and_its_refill(
    burst: int, rate: int, pieces: list[tuple[int, float]]
) -> None:
    now, moved = 0.0, 0
    bandwidth = Bandwidth(StreamLimits(burst=burst, rate=float(rate)), now)
    for size, idle in pieces:
        now += idle
        now += bandwidth.take(size, now)
        moved += size
        assert moved <= burst + rate * now + 1e-3


@given(st.integers(1, 10_000), st.integers(1, 10_000), st.lists(SIZES, min_size=1, max_size=50))
def test_a_sender_that_never_rests_gets_all_of_it(burst: int, rate: int, sizes: list[int]) -> None:
    now = 0.0
    bandwidth = Bandwidth(StreamLimits(burst=burst, rate=float(rate)), now)
    for size in sizes:
        now += bandwidth.take(size, now)
    assert now == pytest.approx(max(0.0, sum(sizes) - burst) / rate, abs=1e-6)
