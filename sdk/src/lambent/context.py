"""Which span is current, and what of a span travels to others.

The current span lives in a `contextvars.ContextVar`: every thread has its own, an asyncio task
starts with its creator's, and a span activated in one is unseen in the other.
"""

from __future__ import annotations

from _contextvars import ContextVar  # `contextvars` only passes it on, and is a module to load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from lambent.span import AnySpan

__all__ = ["CURRENT", "EMPTY_TRACE_STATE", "SpanContext", "TraceState", "current_span"]

CURRENT: ContextVar[AnySpan | None] = ContextVar("lambent-span", default=None)


def current_span() -> AnySpan | None:
    """Return the span that is active here, or None."""
    return CURRENT.get()


class TraceState(dict[str, str]):
    """The vendor entries of a W3C `tracestate`, newest first; read-only by convention."""

    __slots__ = ()

    def to_header(self) -> str:
        """Return the `tracestate` header value, "" when there are no entries."""
        return ",".join([f"{key}={value}" for key, value in self.items()])

    @classmethod
    def of(cls, entries: Iterable[tuple[str, str]]) -> TraceState:
        """Return a trace state of the pairs given, the first of a repeated key winning."""
        state = cls()
        for key, value in entries:
            state.setdefault(key, value)
        return state


EMPTY_TRACE_STATE = TraceState()


class SpanContext:
    """What identifies a span, here or in another process.

    `trace_id` and `span_id` are integers of 128 and 64 bits; `trace_flags` is the W3C byte, of
    which bit 0 says "sampled"; `is_remote` is true when it came out of a carrier.
    """

    __slots__ = ("is_remote", "span_id", "trace_flags", "trace_id", "trace_state")

    def __init__(
        self,
        trace_id: int,
        span_id: int,
        is_remote: bool = False,
        trace_flags: int = 0,
        trace_state: TraceState | None = None,
    ) -> None:
        self.trace_id = trace_id
        self.span_id = span_id
        self.is_remote = is_remote
        self.trace_flags = trace_flags
        self.trace_state = trace_state if trace_state is not None else EMPTY_TRACE_STATE

    @property
    def is_valid(self) -> bool:
        """Whether both ids are in range and not zero."""
        return 0 < self.trace_id < 1 << 128 and 0 < self.span_id < 1 << 64

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SpanContext):
            return NotImplemented
        return (
            self.trace_id == other.trace_id
            and self.span_id == other.span_id
            and self.is_remote == other.is_remote
            and self.trace_flags == other.trace_flags
            and self.trace_state == other.trace_state
        )

    def __hash__(self) -> int:
        return hash((self.trace_id, self.span_id))

    def __repr__(self) -> str:
        return (
            f"SpanContext(trace_id=0x{self.trace_id:032x}, span_id=0x{self.span_id:016x}, "
            f"trace_flags=0x{self.trace_flags:02x}, is_remote={self.is_remote})"
        )
