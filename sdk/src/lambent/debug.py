"""What `LOG_LEVEL=DEBUG` adds to the log: a readable line for each context, export and flush.

Loaded with the first of them. Nothing in here shows a header, a query or a password.
"""

from __future__ import annotations

from lambent.diagnostics import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from lambent.context import AnySpan, SpanContext
    from lambent.exporters import Exporter

__all__ = ["exported", "extracted", "flushed"]


def extracted(carrier: Mapping[str, object], parent: SpanContext | None, span: AnySpan) -> None:
    """Say where an invocation's span hangs."""
    own = span.context
    if parent is None or not parent.is_valid:
        where = "the event carries none" if not carrier else f"none among {', '.join(sorted(carrier))[:120]}"
        say(f"debug: context: {where}; trace {own.trace_id:032x} begins with span {own.span_id:016x}")
        return
    sampled = "sampled" if parent.trace_flags & 1 else "not sampled"
    say(
        f"debug: context: extracted trace {parent.trace_id:032x}, parent {parent.span_id:016x}, {sampled}; "
        f"the invocation is span {own.span_id:016x}"
    )


def exported(
    exporter: Exporter, spans: int, lost: int, seconds: float, *, sent: int, retries: int, reason: str
) -> None:
    """Say what became of one batch."""
    kind = type(exporter)
    ours = kind.__module__.startswith("lambent.") and kind.__repr__ is not object.__repr__
    name = repr(exporter) if ours else kind.__name__
    outcome = f"{lost} of them not delivered: {reason or 'no reason given'}" if lost else "all delivered"
    say(
        f"debug: export: {spans} spans by {name} in {seconds * 1000:.1f} ms, {sent} bytes, "
        f"{retries} retries; {outcome}"
    )


def flushed(spans: int, seconds: float, delivered: bool) -> None:
    """Say how a flush ended."""
    say(
        f"debug: flush: {spans} spans in {seconds * 1000:.1f} ms, {'complete' if delivered else 'incomplete'}"
    )
