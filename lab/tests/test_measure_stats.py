from __future__ import annotations

import itertools
import math
import random
import statistics
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent_lab.measure import stats

finite = st.floats(-1e9, 1e9, allow_nan=False)


def brute_force_coverage(n: int, rank: int) -> Fraction:
    """Walk all 2^n ways in which n values fall below or above the median, and count those that cover it."""
    covered = 0
    for sides in itertools.product((0, 1), repeat=n):
        below = sum(sides)
        # The k-th smallest is at most the median when k or more lie below it, and so from the other end.
        covered += below >= rank and n - below >= rank
    return Fraction(covered, 2**n)


@pytest.mark.parametrize("n", range(15))
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99])
def test_rank_is_the_largest_whose_counted_coverage_suffices(n: int, confidence: float) -> None:
    suffice = [k for k in range(1, n // 2 + 1) if brute_force_coverage(n, k) >= Fraction(confidence)]
    found = stats.interval_rank(n, confidence)
    if not suffice:
        assert found is None
    else:
        assert found is not None
        assert found[0] == max(suffice)
        assert found[1] == pytest.approx(float(brute_force_coverage(n, found[0])), rel=1e-12)


@given(st.integers(0, 400))
def test_rank_agrees_with_the_binomial_distribution_summed_term_by_term(n: int) -> None:
    def coverage(k: int) -> Fraction:
        tail = sum((Fraction(math.comb(n, i), 2**n) for i in range(k)), Fraction(0))
        return 1 - 2 * tail

    found = stats.interval_rank(n)
    if found is None:
        assert n < 8
        return
    rank, said = found
    assert coverage(rank) >= Fraction(99, 100)
    assert coverage(rank + 1) < Fraction(99, 100) or 2 * (rank + 1) > n
    assert said == pytest.approx(float(coverage(rank)), rel=1e-12)


def test_the_interval_begins_at_eight_pairs() -> None:
    values = [5.0, 1, 7, 3, 8, 2, 6, 4]
    assert stats.median_interval(values[:7]) is None
    interval = stats.median_interval(values)
    assert interval is not None
    assert (interval.low, interval.high, interval.coverage) == (1, 8, 1 - 2 / 256)


@pytest.mark.parametrize(
    ("n", "rank"), [(8, 1), (10, 1), (11, 1), (12, 2), (20, 4), (25, 6), (60, 20), (100, 37)]
)
def test_known_ranks_at_99_percent(n: int, rank: int) -> None:
    # Tables of the sign test: two-sided alpha = 0.01, critical value r = rank - 1.
    found = stats.interval_rank(n)
    assert found is not None
    assert found[0] == rank


@given(st.lists(finite, min_size=8, max_size=200))
def test_the_interval_holds_the_sample_median_and_consists_of_values(values: list[float]) -> None:
    interval = stats.median_interval(values)
    middle = stats.median(values)
    assert interval is not None
    assert middle is not None
    assert interval.low <= middle <= interval.high
    assert {interval.low, interval.high} <= set(values)
    assert interval.coverage >= interval.confidence == 0.99


@given(st.lists(finite, min_size=8, max_size=60), st.randoms())
def test_the_interval_does_not_depend_on_the_order(values: list[float], source: random.Random) -> None:
    shuffled = list(values)
    source.shuffle(shuffled)
    assert stats.median_interval(shuffled) == stats.median_interval(values)


def test_the_interval_covers_the_true_median_of_a_skewed_distribution_as_often_as_it_says() -> None:
    source = random.Random(20)
    true, hits, rounds = math.exp(0), 0, 3000
    for _ in range(rounds):
        interval = stats.median_interval([source.lognormvariate(0, 1) for _ in range(12)])
        assert interval is not None
        hits += interval.low <= true <= interval.high
    # 12 values: coverage 0.9937; three standard deviations of 3000 draws are 0.0043.
    assert hits / rounds == pytest.approx(0.9937, abs=0.0045)


@pytest.mark.parametrize(("percent", "n"), [(50, 5), (90, 29), (95, 59), (99, 299)])
def test_percentiles_are_absent_below_their_minimum(percent: float, n: int) -> None:
    assert stats.minimum_n(percent) == n
    assert stats.percentile(list(range(n - 1)), percent) is None
    assert stats.percentile(list(range(n)), percent) is not None


@given(st.lists(finite, min_size=300, max_size=400), st.sampled_from([50, 95, 99]))
def test_percentile_is_the_inclusive_definition(values: list[float], percent: int) -> None:
    expected = statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
    assert stats.percentile(values, percent) == pytest.approx(expected, rel=1e-9, abs=1e-6)


@given(st.lists(finite, min_size=5))
def test_the_50th_percentile_is_the_median(values: list[float]) -> None:
    middle = stats.median(values)
    assert middle is not None
    assert stats.percentile(values, 50) == pytest.approx(middle, rel=1e-9, abs=1e-6)


def test_nothing_has_no_median() -> None:
    assert stats.median([]) is None
    assert stats.median([4]) == 4
    assert stats.median([1, 2]) == 1.5


def test_outliers_are_found_by_their_position() -> None:
    assert stats.outliers([10, 11, 10.5, 30, 10.2, 9.9]) == [3]
    assert stats.outliers([10, 11, 10.5, 10.2, 9.9]) == []
    assert stats.outliers([1, 1.1, 1.2, 100]) == []  # too few to say
    assert stats.outliers([5, 5, 5, 5, 6]) == []  # more than half are equal


@given(st.lists(finite, max_size=50))
def test_never_is_half_of_the_values_an_outlier(values: list[float]) -> None:
    assert len(stats.outliers(values)) <= len(values) / 2


@pytest.mark.parametrize("percent", [0, 100, -1, 101])
def test_percentiles_outside_are_refused(percent: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 100"):
        stats.minimum_n(percent)


@pytest.mark.parametrize("confidence", [0, 1, 1.5])
def test_confidences_outside_are_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        stats.interval_rank(10, confidence)


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99, 0.999999])
def test_the_interval_of_very_many_values_is_that_of_many(
    confidence: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in (10_001, 12_345, 20_000):
        with monkeypatch.context() as patched:
            found = stats.interval_rank(n, confidence)
            patched.setattr(stats, "_IN_INTEGERS", n)
            exact = stats.interval_rank(n, confidence)
        assert found is not None
        assert exact is not None
        assert found[0] == exact[0]
        assert found[1] == pytest.approx(exact[1], abs=1e-7)
    million = stats.interval_rank(1_000_000, confidence)
    assert million is not None
    assert million[1] >= confidence
