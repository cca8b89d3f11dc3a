"""Delivery accounting: the spans that were made against the spans that were received.

A function says how many spans an invocation made in an attribute of its root span (`LAMBENT_COUNT_SPANS`). An
invocation whose root span is lost says nothing; it is found by the others' saying something.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambent_lab.environ import exporting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lambent_lab.measure.results_load import SpanTotals


def counting(env: Mapping[str, str], otlp_url: str | None = None) -> dict[str, str]:
    """The variables of a function that says how many spans it made, and with a URL sends them there.

    What the user has set stays. A tracer that does not know the variables says nothing.
    """
    sent = {} if otlp_url is None else exporting(otlp_url)
    return {"LAMBENT_COUNT_SPANS": "true", **sent, **env}


class SpanCounter:
    """Counts the spans of successful invocations, one invocation after the other."""

    __slots__ = ("_received_of_said", "_said", "invocations", "made", "received", "without")

    def __init__(self) -> None:
        self.invocations = self.made = self.received = self.without = 0
        self._said = self._received_of_said = 0

    def add(self, received: int, made: int | None) -> None:
        """Take one invocation; `made` is None when it does not say."""
        self.invocations += 1
        self.received += received
        self.without += received == 0
        if made is not None:
            self._said += 1
            self.made += made
            self._received_of_said += received

    def add_late(self, received: int, made: int | None) -> None:
        """Take spans of an invocation that was without any: they came when its environment ended."""
        self.invocations -= 1
        self.without -= 1
        self.add(received, made)

    @classmethod
    def of_totals(cls, totals: SpanTotals) -> SpanCounter:
        """A counter that goes on from what another one came to."""
        made = cls()
        made.invocations, made.received, made.without = (
            totals["invocations"],
            totals["received"],
            totals["without"],
        )
        if totals["made"] is not None:
            made.made = totals["made"]
            made._said = totals["invocations"] - totals["without"] - totals.get("unsaid", 0)
            made._received_of_said = totals["made"] - (totals["lost"] or 0)
        return made

    def totals(self) -> SpanTotals:
        """What it comes to."""
        said = self._said > 0
        return {
            "invocations": self.invocations,
            "made": self.made if said else None,
            "received": self.received,
            "lost": max(0, self.made - self._received_of_said) if said else None,
            "without": self.without,
            "unsaid": self.invocations - self._said - self.without if said else 0,
        }


def incomplete(totals: SpanTotals) -> str | None:
    """What is missing of the spans that were made, in words; None when nothing is known to be."""
    found: list[str] = []
    if totals["lost"]:
        found.append(f"{totals['lost']:,} of {totals['made']:,} spans that were made were not received")
    unsaid = totals.get("unsaid", 0)
    if unsaid:
        found.append(f"the root span of {unsaid:,} of {totals['invocations']:,} invocations is missing")
    return ", and ".join(found) or None
