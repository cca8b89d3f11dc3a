"""The decision of a gate: from pairwise ratios and their interval to one of three verdicts. Pure.

Rules
- The statistic is the median of the pairwise ratios candidate / base, with the order-statistic interval of
  `stats`. FAIL: the interval's lower end is above 1 + δ. PASS: its upper end is at or below 1 + δ. Otherwise
  INCONCLUSIVE, and more pairs may decide it.
- A look is a number of pairs after which the question is asked. `CONFIDENCE` is what one look of one metric
  has; several metrics divide alpha = 1 - `CONFIDENCE` by their number (Bonferroni), and `confidence_for`
  widens the intervals further where repeated looks would use up more than that.
- What repeated looks do is not estimated but counted: the verdict depends only on how many ratios lie above
  1 + δ. For independent pairs that number is a random walk, whose chance to cross a bound at any look is a
  finite sum (`chances`). It holds for every distribution of the ratios.
- A/A pairs (the base against itself): when the median of their ratios is further from 1 than δ, on either
  side, the machine is unfit and the verdict is INCONCLUSIVE, whatever the interval says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from lambent_lab.measure import stats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambent_lab.measure.results_gate import Verdict

MAX_REGRESSION = 0.05
"""δ, unless asked otherwise: a candidate this much slower is still let through."""

CONFIDENCE = stats.CONFIDENCE
"""Of one look of one metric."""

MIN_PAIRS = 8
"""Fewer pairs have no 99% interval."""

LOOKS = (10, 20, 40, 60)
"""After how many pairs the question is asked; after the last one the answer is INCONCLUSIVE."""

COLD_LOOKS = (120, 240)
"""Further looks, where only cold starts are still open: they take little, and a pair has but one a side."""

EXIT_CODES: dict[Verdict, int] = {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 3}
"""What `lambent gate` ends with."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One metric's verdict after n pairs.

    ratio: the median of the pairwise ratios; interval: None below the number of pairs that it takes; aa: the
    median of the A/A ratios, None without any; fit: whether it lies within 1 ± δ (None without any).
    """

    verdict: Verdict
    n: int
    ratio: float | None
    interval: stats.Interval | None
    limit: float
    aa: float | None
    aa_n: int
    fit: bool | None


@dataclass(frozen=True, slots=True)
class Chances:
    """How probable each outcome of a whole procedure is, all its looks together."""

    fail: float
    passes: float
    inconclusive: float


def judge(interval: stats.Interval | None, limit: float) -> Verdict:
    """The verdict of an interval about a limit: wholly above it, nowhere above it, or neither."""
    if interval is None:
        return "INCONCLUSIVE"
    if interval.low > limit:
        return "FAIL"
    return "PASS" if interval.high <= limit else "INCONCLUSIVE"


def decide(
    ratios: Sequence[float],
    aa_ratios: Sequence[float] = (),
    *,
    max_regression: float = MAX_REGRESSION,
    confidence: float = CONFIDENCE,
) -> Decision:
    """Judge candidate / base ratios, and the machine by the ratios of its A/A pairs.

    Fewer than `MIN_PAIRS` pairs decide nothing. Raises ValueError for a ratio that is not a positive number.
    """
    for ratio in (*ratios, *aa_ratios):
        if not (math.isfinite(ratio) and ratio > 0):
            raise ValueError(f"a ratio of two times is positive, got {ratio}")
    limit = 1 + max_regression
    interval = stats.median_interval(ratios, confidence) if len(ratios) >= MIN_PAIRS else None
    same = stats.median(aa_ratios)
    # A factor of 1.06 and one of 1 / 1.06 are the same disturbance.
    fit = None if same is None else max(same, 1 / same) <= limit
    return Decision(
        verdict="INCONCLUSIVE" if fit is False else judge(interval, limit),
        n=len(ratios),
        ratio=stats.median(ratios),
        interval=interval,
        limit=limit,
        aa=same,
        aa_n=len(aa_ratios),
        fit=fit,
    )


def overall(verdicts: Sequence[Verdict]) -> Verdict:
    """One verdict of several: FAIL before INCONCLUSIVE before PASS; nothing measured is INCONCLUSIVE."""
    for worst in ("FAIL", "INCONCLUSIVE"):
        if worst in verdicts:
            return worst
    return "PASS" if verdicts else "INCONCLUSIVE"


def aa_pairs(pairs: int) -> int:
    """How many A/A pairs accompany so many pairs: a quarter, 3 at least."""
    return max(3, pairs // 4)


def chances(above: float, looks: Sequence[int], confidence: float = CONFIDENCE) -> Chances:
    """The chance of each outcome when every pair's ratio exceeds 1 + δ with this probability.

    Exact, for any distribution of independent pairs: 0.5 is a candidate that is slower by exactly δ (in the
    median); 0 one whose pairs never exceed it.
    """
    walk = {0: 1.0}  # how many ratios lie above the limit, among runs that are not decided yet
    before, fail, passes = 0, 0.0, 0.0
    for look in looks:
        step = look - before
        before = look
        weights = [math.comb(step, i) * above**i * (1 - above) ** (step - i) for i in range(step + 1)]
        moved: dict[int, float] = {}
        for high, share in walk.items():
            for i, weight in enumerate(weights):
                moved[high + i] = moved.get(high + i, 0.0) + share * weight
        found = stats.interval_rank(look, confidence)
        walk = {}
        for high, share in moved.items():
            # [k-th smallest, k-th largest]: above the limit when fewer than k ratios are not.
            if found is not None and look - high < found[0]:
                fail += share
            elif found is not None and high < found[0]:
                passes += share
            else:
                walk[high] = share
    return Chances(fail, passes, sum(walk.values()))


@cache
def confidence_for(metrics: int, looks: tuple[int, ...], confidence: float = CONFIDENCE) -> float:
    """The confidence of each interval, so that a whole gate keeps within alpha = 1 - confidence.

    With `metrics` gated metrics each may use alpha / metrics. That is the two-sided error of one look; when
    all looks together would fail a candidate that is slower by exactly δ more often than that, the intervals
    are made wider until they do not. Then the chance that a gate fails though no metric is slower by more
    than δ is at most alpha; so is the chance that one metric passes though it is.
    """
    alpha = (1 - confidence) / max(1, metrics)
    for twentieth in range(20, 0, -1):
        each = 1 - alpha * twentieth / 20
        if chances(0.5, looks, each).fail <= alpha:
            return each
    return 1 - alpha / len(looks)  # the sum of what each look may use


def first_look(looks: Sequence[int], confidence: float) -> int | None:
    """The first look at which an interval exists at all; None when at none."""
    return next((look for look in looks if look >= MIN_PAIRS and stats.interval_rank(look, confidence)), None)
