"""Where the time of one invocation goes: the handler, the flush, the extensions. Pure.

Rules
- The platform says when the answer was there and how long extensions went on after it
  (`platform.runtimeDone`, and the `extensionOverhead` of `platform.report`); the invocation's root span says
  when the handler had returned. What lies between that and the answer is what a tracer does before it lets
  the answer go: the flush. The three come to the invocation's duration.
- The root span is the one that carries the request's id (`faas.invocation_id`, once `faas.execution`); of
  several the one that ended last. Without one there is no flush to tell, and the handler's phase goes on
  until the answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_REQUEST = ("faas.invocation_id", "faas.execution")


class Phases(NamedTuple):
    """The parts of an invocation's duration, in ms. Of those that are absent nothing is known."""

    handler_ms: float
    flush_ms: float | None
    extension_ms: float | None


def split(duration_ms: float, extension_ms: float | None, started_ns: int, root_end_ns: int | None) -> Phases:
    """The phases of an invocation that began at `started_ns` (wall clock, as its spans' times)."""
    answered = duration_ms - (extension_ms or 0.0)
    if root_end_ns is None:
        return Phases(answered, None, extension_ms)
    # A clock that was set meanwhile must not make a phase longer than the invocation, or shorter than none.
    handler = min(max((root_end_ns - started_ns) / 1e6, 0.0), answered)
    return Phases(handler, answered - handler, extension_ms)


def root_end(spans: Iterable[object], request_id: str) -> int | None:
    """When the root span of this request ended, in ns since the epoch; None when there is none."""
    ends: list[int] = []
    for span in spans:
        attributes, end = getattr(span, "attributes", None), getattr(span, "end_ns", None)
        if not isinstance(attributes, dict) or not isinstance(end, int):
            continue
        # Inner spans that carry the id too (a record of a batch, say) end before the root does.
        if any(attributes.get(name) == request_id for name in _REQUEST):
            ends.append(end)
    return max(ends, default=None)
