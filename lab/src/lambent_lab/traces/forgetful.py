"""A store that keeps nothing: for so many invocations that their spans would fill the memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambent_lab.traces.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambent_lab.traces.model import SpanRecord


class Forgetful(Store):
    """Takes spans and forgets them. They are counted by whoever claims them, invocation by invocation."""

    def __init__(self) -> None:
        super().__init__(":memory:")

    def add(self, spans: Sequence[SpanRecord], source: str = "") -> int:  # noqa: ARG002 - the store's signature
        """Forget them."""
        return 0
