"""Which of the received spans belong to which invocation.

Spans printed to the log carry their invocation with them. Spans that came to the receiver are matched by
the request id that they, or the nearest span above them that has one, carry; those without any by when they
arrived.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambent_lab.traces import SpanRecord

MAX_WAITING = 100_000
"""How many spans wait to be claimed by an invocation; beyond it the oldest are only in the store."""

_KEPT_NS = 16 * 60 * 10**9  # somewhat more than an invocation can last


@dataclass(frozen=True, slots=True)
class Arrival:
    """A span, and when it was received in Unix nanoseconds."""

    span: SpanRecord
    received_ns: int


class Arrivals:
    """Received spans that no invocation has claimed yet. Thread-safe."""

    def __init__(self, limit: int = MAX_WAITING) -> None:
        self._waiting: deque[Arrival] = deque(maxlen=limit)
        self._lock = threading.Lock()

    def add(self, spans: Sequence[SpanRecord], received_ns: int) -> None:
        """Keep the spans of one request."""
        with self._lock:
            self._waiting.extend(Arrival(span, received_ns) for span in spans)

    def forget(self, before_ns: int) -> None:
        """Drop what was received long before a Unix time: no invocation that is under way claims it."""
        with self._lock:
            while self._waiting and self._waiting[0].received_ns < before_ns - _KEPT_NS:
                self._waiting.popleft()

    def claim(self, request_id: str, started_ns: int, ended_ns: int) -> list[SpanRecord]:
        """Take out and return the spans of one invocation that ran between these Unix times."""
        with self._lock:
            mine, others = divide(self._waiting, request_id, started_ns, ended_ns)
            self._waiting.clear()
            self._waiting.extend(others)
        return mine


def divide(
    arrivals: Sequence[Arrival] | deque[Arrival], request_id: str, started_ns: int, ended_ns: int
) -> tuple[list[SpanRecord], list[Arrival]]:
    """Divide arrivals into one invocation's spans and the rest."""
    by_id = {(arrival.span.trace_id, arrival.span.span_id): arrival.span for arrival in arrivals}
    named: dict[str, set[str]] = {}
    for arrival in arrivals:
        if arrival.span.invocation_id:
            named.setdefault(arrival.span.trace_id, set()).add(arrival.span.invocation_id)
    mine: list[SpanRecord] = []
    others: list[Arrival] = []
    for arrival in arrivals:
        span = arrival.span
        owner = _owner(span, by_id)
        if not owner and len(named.get(span.trace_id, ())) == 1:
            (owner,) = named[span.trace_id]
        belongs = owner == request_id if owner else started_ns <= arrival.received_ns <= ended_ns
        if belongs:
            mine.append(span)
        else:
            others.append(arrival)
    return mine, others


def _owner(span: SpanRecord, by_id: dict[tuple[str, str], SpanRecord]) -> str:
    """Return the request id that a span or its nearest ancestor names, or an empty string."""
    met: set[str] = set()
    current: SpanRecord | None = span
    while current is not None and current.span_id not in met:
        if current.invocation_id:
            return current.invocation_id
        met.add(current.span_id)
        current = by_id.get((current.trace_id, current.parent_span_id))
    return ""
