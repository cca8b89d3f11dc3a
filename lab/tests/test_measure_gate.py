"""The decision rule by itself, and its error rates: exact ones, and those of simulated machines."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent_lab.measure import stats
from lambent_lab.measure.gate import decision as gate

if TYPE_CHECKING:
    from collections.abc import Callable


def test_all_of_the_interval_above_the_limit_fails() -> None:
    decision = gate.decide([1.10, 1.11, 1.09, 1.12, 1.08, 1.10, 1.13, 1.07])
    assert decision.verdict == "FAIL"
    assert decision.interval is not None
    assert (decision.interval.low, decision.interval.high) == (1.07, 1.13)
    assert decision.limit == pytest.approx(1.05)


def test_none_of_the_interval_above_the_limit_passes() -> None:
    assert (
        gate.decide([1.00, 1.01, 0.99, 1.02, 0.98, 1.05, 1.03, 0.97], max_regression=0.05).verdict == "PASS"
    )


def test_the_limit_within_the_interval_decides_nothing() -> None:
    assert gate.decide([1.00, 1.01, 0.99, 1.02, 0.98, 1.06, 1.03, 0.97]).verdict == "INCONCLUSIVE"


def test_an_interval_that_begins_at_the_limit_does_not_fail() -> None:
    assert gate.decide([1.5] * 7 + [1.25], max_regression=0.25).verdict == "INCONCLUSIVE"


def test_faster_passes() -> None:
    assert gate.decide([0.5] * 8).verdict == "PASS"


@pytest.mark.parametrize("n", range(8))
def test_fewer_than_eight_pairs_decide_nothing(n: int) -> None:
    decision = gate.decide([2.0] * n)
    assert (decision.verdict, decision.interval, decision.n) == ("INCONCLUSIVE", None, n)


def test_more_metrics_need_more_pairs_for_an_interval() -> None:
    assert gate.decide([2.0] * 8, confidence=1 - 0.01 / 3).verdict == "INCONCLUSIVE"
    assert gate.decide([2.0] * 10, confidence=1 - 0.01 / 3).verdict == "FAIL"


@pytest.mark.parametrize("same", [[1.06], [1 / 1.06], [0.9, 1.0, 1.2, 1.3, 1.1], [2.0, 2.0, 1.0]])
@pytest.mark.parametrize("ratios", [[1.0] * 10, [2.0] * 10])
def test_a_machine_that_differs_from_itself_is_unfit(same: list[float], ratios: list[float]) -> None:
    decision = gate.decide(ratios, same)
    assert decision.verdict == "INCONCLUSIVE"
    assert decision.fit is False
    assert gate.decide(ratios).verdict != "INCONCLUSIVE"


@pytest.mark.parametrize("same", [[1.04], [0.96], [1.0, 1.3, 0.9]])
def test_a_machine_within_the_limit_is_fit(same: list[float]) -> None:
    decision = gate.decide([1.0] * 10, same)
    assert (decision.verdict, decision.fit, decision.aa_n) == ("PASS", True, len(same))


def test_without_aa_pairs_nothing_is_said_about_the_machine() -> None:
    assert gate.decide([1.0] * 10).fit is None


@pytest.mark.parametrize("ratio", [0.0, -1.0, float("nan"), float("inf")])
def test_what_is_no_ratio_is_refused(ratio: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        gate.decide([1.0] * 8 + [ratio])


def test_one_bad_metric_spoils_the_whole() -> None:
    assert gate.overall(["PASS", "INCONCLUSIVE", "FAIL"]) == "FAIL"
    assert gate.overall(["PASS", "INCONCLUSIVE"]) == "INCONCLUSIVE"
    assert gate.overall(["PASS", "PASS"]) == "PASS"
    assert gate.overall([]) == "INCONCLUSIVE"
    assert gate.EXIT_CODES == {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 3}


@given(st.lists(st.floats(0.5, 2.0), min_size=8, max_size=60), st.floats(0, 0.5))
def test_the_verdict_is_that_of_the_interval(ratios: list[float], delta: float) -> None:
    decision = gate.decide(ratios, max_regression=delta)
    interval = stats.median_interval(ratios)
    assert interval is not None
    assert (decision.verdict == "FAIL") == (interval.low > 1 + delta)
    assert (decision.verdict == "PASS") == (interval.high <= 1 + delta)
    assert gate.decide(list(reversed(ratios)), max_regression=delta).verdict == decision.verdict


@given(st.floats(0, 1), st.sampled_from([(10, 20, 40, 60), (8,), (20, 60), (8, 9, 10, 11)]))
def test_the_chances_of_all_outcomes_are_all_there_is(above: float, looks: tuple[int, ...]) -> None:
    chance = gate.chances(above, looks)
    assert chance.fail + chance.passes + chance.inconclusive == pytest.approx(1)
    mirrored = gate.chances(1 - above, looks)
    assert mirrored.fail == pytest.approx(chance.passes, abs=1e-12)


def test_one_look_errs_as_often_as_its_interval_does() -> None:
    found = stats.interval_rank(20)
    assert found is not None
    assert gate.chances(0.5, (20,)).fail == pytest.approx((1 - found[1]) / 2)


def test_the_chances_are_those_of_simulated_gates() -> None:
    """The exact figure against the rule itself, run on made-up pairs."""
    source = random.Random(20)
    outcomes = [sequential(lambda: 1.05 * source.choice((0.97, 1.04))) for _ in range(4000)]
    exact = gate.chances(0.5, gate.LOOKS)
    assert outcomes.count("FAIL") / 4000 == pytest.approx(exact.fail, abs=0.006)
    assert outcomes.count("PASS") / 4000 == pytest.approx(exact.passes, abs=0.006)


@pytest.mark.parametrize("metrics", range(1, 13))
@pytest.mark.parametrize("looks", [gate.LOOKS, (8, 20, 40, 60), (20, 40, 60), tuple(range(8, 61)), (8,)])
def test_looks_and_metrics_together_keep_to_alpha(metrics: int, looks: tuple[int, ...]) -> None:
    """A candidate that is slower by exactly δ in every metric fails by mistake with 1% at most."""
    each = gate.confidence_for(metrics, looks)
    assert each >= 1 - 0.01 / metrics
    assert metrics * gate.chances(0.5, looks, each).fail <= 0.01


def test_more_metrics_never_narrow_an_interval() -> None:
    levels = [gate.confidence_for(metrics, gate.LOOKS) for metrics in range(1, 20)]
    assert levels[0] == 0.99
    assert all(one <= other for one, other in pairwise(levels))


def sequential(ratio: Callable[[], float], delta: float = 0.05, looks: tuple[int, ...] = gate.LOOKS) -> str:
    """A whole gate on made-up ratios: go on until decided."""
    ratios: list[float] = []
    for look in looks:
        ratios += [ratio() for _ in range(look - len(ratios))]
        verdict = gate.decide(ratios, max_regression=delta).verdict
        if verdict != "INCONCLUSIVE":
            return verdict
    return "INCONCLUSIVE"


class Noisy:
    """A machine: each environment has a speed of its own (3%), and the machine drifts by up to 20%."""

    def __init__(self, seed: int, slower: float = 1.0) -> None:
        self.random = random.Random(seed)
        self.slower, self.drift, self.pairs = slower, 1.0, 0

    def environment(self, speed: float) -> float:
        """The median of the warm values of a fresh environment."""
        self.drift = min(1.2, max(1.0, self.drift + self.random.gauss(0, 0.004)))
        return speed * self.drift * self.random.gauss(1, 0.03)

    def __call__(self) -> float:
        self.pairs += 1
        if self.random.random() < 0.5:
            base = self.environment(1)
            return self.environment(self.slower) / base
        candidate = self.environment(self.slower)
        return candidate / self.environment(1)


def gates(slower: float, many: int) -> tuple[list[str], float]:
    machines = [Noisy(seed, slower) for seed in range(many)]
    return [sequential(machine) for machine in machines], sum(m.pairs for m in machines) / many


def test_no_change_passes_and_never_fails() -> None:
    verdicts, pairs = gates(1.0, 400)
    assert verdicts.count("FAIL") == 0
    assert verdicts.count("PASS") >= 380
    assert 15 < pairs < 35  # measurement.md: about 25


def test_eight_per_cent_mostly_fail_and_ten_per_cent_do() -> None:
    eight, _ = gates(1.08, 300)
    assert eight.count("FAIL") >= 0.85 * 300
    assert eight.count("PASS") <= 3
    ten, _ = gates(1.10, 300)
    assert ten.count("FAIL") >= 0.97 * 300
    assert ten.count("PASS") == 0


def test_pooled_values_would_have_raised_false_alarms() -> None:
    """Why a sample is an environment: thousands of warm values taken as independent see what is not there."""
    alarms = 0
    for seed in range(100):
        machine = Noisy(seed)
        sides = []
        for _ in range(2):  # one side after the other, as naive benchmarks do
            environments = [machine.environment(1) for _ in range(20)]
            sides.append([each * machine.random.gauss(1, 0.02) for each in environments for _ in range(30)])
        ratios = [candidate / base for base, candidate in zip(*sides, strict=True)]
        interval = stats.median_interval(ratios)
        assert interval is not None
        alarms += not interval.low <= 1 <= interval.high
    assert alarms > 50
