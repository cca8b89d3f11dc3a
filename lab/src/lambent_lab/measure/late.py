"""Spans that leave with the environment's end, as `finalize` lets them: counted when it has ended."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from lambent_lab.measure.sampler import Lingering

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambent_lab.measure.accounting import SpanCounter
    from lambent_lab.measure.records import ResultLike

MOST = 5000
"""Of so many invocations, the last ones, late spans are looked for: what is kept is bounded."""


def add_late(counter: SpanCounter, function: object, silent: Sequence[ResultLike]) -> None:
    """Count what came since for invocations of which nothing had arrived; the function has been stopped."""
    if not silent or not isinstance(function, Lingering):
        return
    late = function.late(silent)
    for result in silent:
        spans = late.get(result.request_id)
        if spans:
            whole = replace(cast("Any", result), spans=spans)
            counter.add_late(len(spans), whole.spans_made)
