"""Trace context in and out of carriers: one module for each format.

A carrier is a mapping of header names to values. `extract` asks the formats in the order that
`OTEL_PROPAGATORS` names them; the first that finds a valid context wins.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lambent.context import SpanContext
    from lambent.propagation import baggage, tracecontext

__all__ = ["KNOWN", "baggage", "extract", "tracecontext"]

KNOWN = frozenset({"tracecontext"})
"""The formats that carry a span context here."""

_ELSEWHERE = frozenset({"baggage", "none"})


def extract(carrier: Mapping[str, str], propagators: Sequence[str]) -> SpanContext | None:
    """Return the remote parent that the carrier (lower-case names) holds, None without one."""
    for name in propagators:
        if name == "tracecontext":
            from lambent.propagation.tracecontext import extract as extract_tracecontext

            context = extract_tracecontext(carrier)
            if context is not None:
                return context
        elif name not in _ELSEWHERE:
            from lambent.diagnostics import say_once

            say_once(
                f"propagator {name}",
                f"OTEL_PROPAGATORS names {name!r}, which this version does not read; "
                f"it reads {', '.join(sorted(KNOWN))}",
            )
    return None


def __getattr__(name: str) -> object:
    # So that `import lambent` is enough to reach each of them.
    if name in KNOWN or name == "baggage":
        return __import__(f"lambent.propagation.{name}", fromlist=["__name__"])
    raise AttributeError(f"module 'lambent.propagation' has no attribute {name!r}")
