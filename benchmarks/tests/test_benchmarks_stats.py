from __future__ import annotations

import itertools
import math
import random

import pytest
from benchmarks.harness import stats


def test_the_interval_is_the_narrowest_that_covers_the_median_with_99_percent() -> None:
    values = [float(value) for value in range(1, 21)]
    assert stats.interval(values) == (4.0, 17.0)  # the sign test's table for n = 20, 99%


def test_eight_values_are_the_fewest_that_have_an_interval() -> None:
    assert stats.interval([float(value) for value in range(7)]) is None
    assert stats.interval([float(value) for value in range(8)]) == (0.0, 7.0)


@pytest.mark.parametrize("n", [8, 9, 10, 15, 30])
def test_the_coverage_is_what_the_binomial_distribution_says(n: int) -> None:
    found = stats.interval([float(value) for value in range(n)])
    assert found is not None
    rank = int(found[0])
    outside = 2 * sum(math.comb(n, k) for k in range(rank + 1)) / 2**n
    one_narrower = 2 * sum(math.comb(n, k) for k in range(rank + 2)) / 2**n
    assert outside <= 0.01 < one_narrower


def test_the_interval_does_not_depend_on_the_order() -> None:
    values = [random.Random(7).gauss(10, 2) for _ in range(12)]
    assert stats.interval(values) == stats.interval(sorted(values, reverse=True))


def test_nothing_measured_is_absent_and_not_zero() -> None:
    assert stats.estimate([]) is None


def test_an_estimate_says_how_many_values_it_has() -> None:
    found = stats.estimate([3.0, 1.0, 2.0])
    assert found is not None
    assert (found.median, found.n, found.low, found.high) == (2.0, 3, None, None)


def test_outliers_are_flagged_by_their_place() -> None:
    assert stats.outliers([10.0, 10.1, 9.9, 10.0, 30.0, 10.2, 9.8, 10.1]) == [4]


def test_too_few_values_have_no_outliers() -> None:
    assert stats.outliers([1.0, 1.0, 1.0, 99.0]) == []


def test_the_interval_holds_the_true_median_of_a_skewed_distribution() -> None:
    source = random.Random(1)
    held = 0
    for _ in itertools.repeat(None, 400):
        low_high = stats.interval([source.expovariate(1.0) for _ in range(10)])
        assert low_high is not None
        held += low_high[0] <= math.log(2) <= low_high[1]
    assert held >= 388  # 99% of 400, less three standard deviations
