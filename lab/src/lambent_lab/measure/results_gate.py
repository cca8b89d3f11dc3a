"""The `gate` section of a result file: its types. What they mean is decided in the room `gate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict

if TYPE_CHECKING:
    from lambent_lab.measure.shape import Figure

Verdict = Literal["PASS", "FAIL", "INCONCLUSIVE"]

Outcome = Literal["PASS", "FAIL", "INCONCLUSIVE", "WARN", "INFO"]
"""Of one check. A WARN does not change the verdict, and an INFO judges nothing."""


class Check(TypedDict):
    """One rule about one thing.

    rule: which kind of rule; subject: the metric or count; limit: what `ratio`, or else `candidate`, was held
    against, null when nothing was; ratio: of the pairs, with the interval that decided; aa_ratio: of the A/A
    pairs; culprit: what made a cold start slower, as far as the import trees tell.
    """

    rule: str
    subject: str
    memory_mb: int | None
    python: str | None
    verdict: Outcome
    text: str
    unit: NotRequired[str]
    baseline: NotRequired[float | None]
    candidate: NotRequired[float | None]
    limit: NotRequired[float | None]
    ratio: NotRequired[Figure | None]
    aa_ratio: NotRequired[Figure | None]
    culprit: NotRequired[str]


class Look(TypedDict):
    """What was known after so many pairs."""

    pairs: int
    verdict: Verdict


class Grown(TypedDict):
    """An import that costs more on the candidate's side than on the base's, in µs.

    new: the base does not import it; parent: what imports it, empty for the function itself.
    """

    name: str
    more_us: int
    new: bool
    parent: str


class GateSection(TypedDict):
    """What a gate came to.

    reason: a sentence about the check that decided, decided_by: its place in `checks` (null if none did);
    gated: how many comparisons share alpha = 1 - 0.99; confidence: the one of each of their intervals;
    looks: the verdict after each look; counts: what was counted, by side; imports: those that cost the
    candidate more than the base, in one cold start each, the most expensive first; config: all the limits.
    """

    verdict: Verdict
    reason: str
    decided_by: int | None
    max_regression: float
    gated: int
    confidence: float
    looks: list[Look]
    checks: list[Check]
    counts: dict[str, dict[str, float]]
    imports: list[Grown]
    config: dict[str, Any]
