"""Traces as the lines of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambent_lab.traces.text import cut, duration, escape, timestamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambent_lab.traces.store import TraceSummary

ID_DIGITS = 16
"""Enough of an id to be unique, also of ids that begin with the time."""


def table(traces: Sequence[TraceSummary], width: int, *, ascii_only: bool = False) -> list[str]:
    """Return a heading and a line a trace, each at most `width` cells wide (80 or more)."""
    width = max(80, width)
    ellipsis = "..." if ascii_only else "…"
    lines = [f"{'trace':<{ID_DIGITS}} {'started (UTC)':<14} {'duration':>9} {'spans':>5} {'errors':>6} what"]
    for trace in traces:
        started = timestamp(trace.start_ns)[5:19] if trace.start_ns else "not known"
        took = duration(round(trace.duration_ms * 1e6), ascii_only=ascii_only)
        what = f"{trace.service}: {trace.name}" if trace.service else trace.name
        line = f"{trace.trace_id[:ID_DIGITS]} {started:<14} {took:>9} {trace.spans:>5} {trace.errors:>6} "
        shown = escape(what, ascii_only=ascii_only)
        lines.append(line + cut(shown, width - len(line), ellipsis))
    return lines
