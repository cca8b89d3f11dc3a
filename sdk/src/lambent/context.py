"""Which span is current, what of a span travels to others, and the span that is nothing but that.

The current span lives in a `contextvars.ContextVar`: every thread has its own, an asyncio task
starts with its creator's, and a span activated in one is unseen in the other.
"""

from __future__ import annotations

from _contextvars import ContextVar  # `contextvars` only passes it on, and is a module to load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextvars import Token
    from types import TracebackType
    from typing import Any, Self, TypeAlias

    from lambent.limits import Attributes
    from lambent.span import Span
    from lambent.tracer import Tracer

    AnySpan: TypeAlias = "Span | NonRecordingSpan"

__all__ = [
    "CURRENT",
    "EMPTY_TRACE_STATE",
    "SUPPRESSED",
    "NonRecordingSpan",
    "SpanContext",
    "TraceFlags",
    "TraceState",
    "adopt",
    "current_span",
    "deactivate",
]

CURRENT: ContextVar[AnySpan | None] = ContextVar("lambent-span", default=None)


def current_span() -> AnySpan | None:
    """Return the span that is active here, or None; with tracing switched off, one that keeps nothing."""
    span = CURRENT.get()
    if span is None:
        from lambent import _default as tracer

        if tracer is not None and tracer.config.disabled:
            # What a function does with its current span must not fail because tracing is off.
            return tracer.start_span("")
    return span


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


class TraceFlags(int):
    """The flags byte of W3C Trace Context."""

    @property
    def sampled(self) -> bool:
        """Whether the caller says that the trace is kept."""
        return bool(self & 1)


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
        self.trace_flags = TraceFlags(trace_flags)
        if trace_state is None:
            trace_state = EMPTY_TRACE_STATE
        self.trace_state = trace_state if isinstance(trace_state, TraceState) else TraceState(trace_state)

    @property
    def is_valid(self) -> bool:
        """Whether both ids are in range and not zero."""
        return 0 < self.trace_id < 1 << 128 and 0 < self.span_id < 1 << 64

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SpanContext):
            if not hasattr(other, "trace_flags"):
                return NotImplemented
            other = adopt(other)  # OpenTelemetry's
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


class NonRecordingSpan:
    """A span that is not sampled: it carries its context and keeps nothing."""

    __slots__ = ("_tokens", "_tracer", "context")
    _recorded = -1  # as of a span that has something unusual: its children are not started the short way

    def __init__(self, context: SpanContext, tracer: Tracer | None = None) -> None:
        self.context = context
        self._tracer = tracer
        self._tokens: list[Token[AnySpan | None]] = []

    def get_span_context(self) -> SpanContext:
        """Return what identifies this span elsewhere."""
        return self.context

    def is_recording(self) -> bool:
        """Return False: nothing is kept."""
        return False

    def set_attribute(self, key: str, value: object) -> None:
        """Keep nothing."""

    def set_attributes(self, attributes: Attributes) -> None:
        """Keep nothing."""

    def add_event(
        self, name: str, attributes: Attributes | None = None, timestamp: int | None = None
    ) -> None:
        """Keep nothing."""

    def add_link(self, context: SpanContext, attributes: Attributes | None = None) -> None:
        """Keep nothing."""

    def set_status(self, status: object, description: str | None = None) -> None:
        """Keep nothing."""

    def update_name(self, name: str) -> None:
        """Keep nothing."""

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes | None = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Keep nothing."""

    def end(self, end_time: int | None = None) -> None:
        """Do nothing: there is nothing to hand over."""

    def __enter__(self) -> Self:
        self._tokens.append(CURRENT.set(self))
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        deactivate(self._tokens)


SUPPRESSED = NonRecordingSpan(SpanContext(0, 0))
"""Current while spans are exported: whatever is traced under it is not recorded, by any sampler."""


def deactivate(tokens: list[Token[AnySpan | None]]) -> None:
    """Undo the newest of a span's activations that was made in this context, and forget its token.

    A span may be entered in several threads or tasks at once, and left in any order. One that was
    never entered here (a generator or callback closed in another context than it was opened in)
    has nothing to undo: its newest token goes.
    """
    for token in reversed(tokens):
        try:
            CURRENT.reset(token)
        except (ValueError, RuntimeError):
            continue
        tokens.remove(token)
        return
    if tokens:
        tokens.pop()


def adopt(foreign: Any) -> SpanContext:
    """Return the span context of another library, OpenTelemetry's for one, as one of ours."""
    return SpanContext(
        foreign.trace_id,
        foreign.span_id,
        foreign.is_remote,
        int(foreign.trace_flags),
        TraceState(foreign.trace_state or {}),
    )
