"""How many spans each invocation made, for `count_spans`. Loaded when that is on.

A span counts for the invocation whose root it is under. One that is under none (a trace of its own, a
callback's) counts for the invocation that runs, if there is only one.
"""

from __future__ import annotations

from lambent.delivery.sync import outermost

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambent.context import AnySpan
    from lambent.delivery.sync import SyncDelivery
    from lambent.span import Span

__all__ = ["Counter"]


class Counter:
    """Counts the finished spans of the invocations that run."""

    def __init__(self, delivery: SyncDelivery) -> None:
        self._delivery = delivery
        self._made: dict[AnySpan, int] = {}

    def on_end(self, span: Span) -> None:
        """Count a span, delivered or not. An invocation's root, which ends after `take`, is counted there."""
        active = self._delivery.active
        owner: AnySpan = outermost(span)
        if owner not in active:
            if len(active) != 1:
                return
            owner = next(iter(active))
        elif owner is span:
            return
        self._made[owner] = self._made.get(owner, 0) + 1

    def take(self, root: AnySpan) -> int:
        """Return how many spans an invocation has made, its root not yet among them."""
        return self._made.pop(root, 0)
