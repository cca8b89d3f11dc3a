"""Zipkin's B3: the single header `b3`, and the several headers `X-B3-…`. Either is read, the single first.

A caller that leaves the decision about sampling open has not said "no": its trace is kept.
"""

from __future__ import annotations

from lambent.context import SpanContext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

__all__ = ["extract", "inject", "inject_multi"]

_HEX = frozenset("0123456789abcdefABCDEF")
_SAMPLED = frozenset({"1", "d", "true", ""})


def extract(carrier: Mapping[str, str]) -> SpanContext | None:
    """Return the context of a carrier with lower-case names, None when it has no valid one."""
    single = carrier.get("b3")
    if single:
        trace_id, span_id, sampled, *_ = [*single.strip().split("-"), "", ""]
    else:
        trace_id = carrier.get("x-b3-traceid", "").strip()
        span_id = carrier.get("x-b3-spanid", "").strip()
        sampled = "d" if carrier.get("x-b3-flags") == "1" else carrier.get("x-b3-sampled", "")
    if len(trace_id) not in {16, 32} or len(span_id) != 16 or not _HEX.issuperset(trace_id + span_id):
        return None
    flags = int(sampled.strip().lower() in _SAMPLED)
    context = SpanContext(int(trace_id, 16), int(span_id, 16), True, flags)
    return context if context.is_valid else None


def inject(context: SpanContext, carrier: MutableMapping[str, str]) -> None:
    """Write the context into the carrier as one header."""
    carrier["b3"] = f"{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags & 1}"


def inject_multi(context: SpanContext, carrier: MutableMapping[str, str]) -> None:
    """Write the context into the carrier as several headers."""
    carrier["x-b3-traceid"] = f"{context.trace_id:032x}"
    carrier["x-b3-spanid"] = f"{context.span_id:016x}"
    carrier["x-b3-sampled"] = str(context.trace_flags & 1)
