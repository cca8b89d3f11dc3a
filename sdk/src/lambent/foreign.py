"""Contexts of other libraries, OpenTelemetry's first of all: which span is the current one in them."""

from __future__ import annotations

from lambent.context import NonRecordingSpan, adopt
from lambent.span import Span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambent.context import SpanContext

__all__ = ["parent_in"]


def parent_in(context: object) -> Span | NonRecordingSpan | SpanContext | None:
    """Return the span, or its context, that another library's context names; None for none."""
    try:
        values = getattr(context, "values", None)
        for candidate in list(values()) if callable(values) else [context]:
            if isinstance(candidate, (Span, NonRecordingSpan)):
                return candidate
            get_span_context = getattr(candidate, "get_span_context", None)
            foreign = get_span_context() if callable(get_span_context) else None
            if foreign is not None and foreign.is_valid:
                return adopt(foreign)
    except Exception as error:  # noqa: BLE001  # another library's object: no reason for a function to fail
        from lambent.diagnostics import say_once

        say_once("parent", f"a context of {type(context).__name__} cannot be read: {type(error).__name__}")
    return None
