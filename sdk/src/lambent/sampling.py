"""Which traces are kept: OpenTelemetry's standard samplers and the protocol for others.

The default, `parentbased_always_on`, is decided by the tracer itself; this module loads when
another one is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lambent.config import Config
    from lambent.context import SpanContext, TraceState
    from lambent.parts import Link
    from lambent.span import Span

__all__ = [
    "AlwaysOff",
    "AlwaysOn",
    "Decision",
    "ParentBased",
    "Sampler",
    "TraceIdRatio",
    "decide",
    "sampler_named",
    "sampler_of",
    "undecided",
]

_RATIO_BITS = 64


class Decision:
    """Whether a span is recorded, with attributes and a trace state that the sampler adds."""

    __slots__ = ("attributes", "sampled", "trace_state")

    def __init__(
        self,
        sampled: bool,
        attributes: Mapping[str, object] | None = None,
        trace_state: TraceState | None = None,
    ) -> None:
        self.sampled = sampled
        self.attributes = attributes
        self.trace_state = trace_state


@runtime_checkable
class Sampler(Protocol):
    """Decides at the start of each span whether it is kept."""

    def should_sample(
        self,
        parent: SpanContext | None,
        trace_id: int,
        name: str,
        kind: int,
        attributes: Mapping[str, object] | None,
        links: Sequence[Link],
    ) -> Decision:
        """Return the decision. An exception counts as "keep it"."""
        ...  # pragma: no cover  # a protocol has no body

    @property
    def description(self) -> str:
        """A short name with the argument, as `TraceIdRatioBased{0.1}`."""
        ...  # pragma: no cover  # a protocol has no body


class _Constant:
    """Always the same decision."""

    _sampled: bool
    description: str

    def should_sample(
        self,
        parent: SpanContext | None,
        trace_id: int,
        name: str,
        kind: int,
        attributes: Mapping[str, object] | None,
        links: Sequence[Link],
    ) -> Decision:
        """Return it, with the parent's trace state."""
        return Decision(self._sampled, None, parent.trace_state if parent else None)


class AlwaysOn(_Constant):
    """Keeps every span."""

    _sampled = True
    description = "AlwaysOnSampler"


class AlwaysOff(_Constant):
    """Keeps no span."""

    _sampled = False
    description = "AlwaysOffSampler"


class TraceIdRatio:
    """Keeps the share `ratio` (0 … 1) of all traces, the same ones in every service.

    Decided by the low 64 bits of the trace id against `ratio * 2^64`, as OpenTelemetry's SDK does.
    """

    def __init__(self, ratio: float) -> None:
        if not 0.0 <= ratio <= 1.0:
            raise ValueError(f"a sampling ratio lies between 0 and 1, not {ratio!r}")
        self._bound = round(ratio * (1 << _RATIO_BITS))
        self.description = f"TraceIdRatioBased{{{ratio}}}"

    def should_sample(
        self,
        parent: SpanContext | None,
        trace_id: int,
        name: str,
        kind: int,
        attributes: Mapping[str, object] | None,
        links: Sequence[Link],
    ) -> Decision:
        """Return whether the trace id lies below the bound."""
        sampled = trace_id & ((1 << _RATIO_BITS) - 1) < self._bound
        return Decision(sampled, None, parent.trace_state if parent else None)


class ParentBased:
    """Follows the parent's decision; asks `root` where there is no parent."""

    def __init__(self, root: Sampler) -> None:
        self.root = root
        self.description = f"ParentBased{{root:{root.description}}}"

    def should_sample(
        self,
        parent: SpanContext | None,
        trace_id: int,
        name: str,
        kind: int,
        attributes: Mapping[str, object] | None,
        links: Sequence[Link],
    ) -> Decision:
        """Return the parent's decision or the root sampler's."""
        if parent is None:
            return self.root.should_sample(None, trace_id, name, kind, attributes, links)
        return Decision(bool(parent.trace_flags & 1), None, parent.trace_state)


def sampler_of(config: Config) -> Sampler:
    """Return the sampler that is configured; an argument that cannot be right is said once."""
    if not isinstance(config.sampler, str):
        return config.sampler
    try:
        return sampler_named(config.sampler, config.sampler_argument)
    except ValueError as error:
        from lambent.diagnostics import say_once

        say_once("sampler argument", f"{error}; every trace is kept")
        return sampler_named(config.sampler)


def undecided(parent: SpanContext, sampler: Sampler | None) -> SpanContext:
    """Return a parent that said "not sampled" without meaning us, with the decision made here.

    The sampler that is asked about traces without a parent decides; without one the trace is kept.
    """
    from lambent.context import SpanContext

    kept = True
    if isinstance(sampler, ParentBased):
        kept = sampler.root.should_sample(None, parent.trace_id, "", 0, None, ()).sampled
    return SpanContext(parent.trace_id, parent.span_id, True, parent.trace_flags | kept, parent.trace_state)


def sampler_named(name: str, argument: str = "") -> Sampler:
    """Return the sampler that `OTEL_TRACES_SAMPLER` and `_ARG` name.

    Raises ValueError for a name or an argument that OpenTelemetry does not define.
    """
    if name.startswith("parentbased_"):
        return ParentBased(sampler_named(name.removeprefix("parentbased_"), argument))
    if name == "always_on":
        return AlwaysOn()
    if name == "always_off":
        return AlwaysOff()
    if name == "traceidratio":
        try:
            return TraceIdRatio(float(argument) if argument else 1.0)
        except ValueError:
            raise ValueError(f"OTEL_TRACES_SAMPLER_ARG={argument!r} is no ratio between 0 and 1") from None
    raise ValueError(
        f"there is no sampler {name!r}; the names are always_on, always_off, traceidratio, and these after "
        "parentbased_"
    )


def decide(
    sampler: Sampler, span: Span, attributes: Mapping[str, object] | None, links: Sequence[Link] | None
) -> Mapping[str, object] | None:
    """Ask a tracer's sampler; return the attributes that it adds, None for a span that is not kept."""
    try:
        decision = sampler.should_sample(
            span.parent, span._trace_id, span.name, span._kind, attributes, links or ()
        )
        if not decision.sampled:
            return None
        if decision.trace_state is not None:
            span._trace_state = decision.trace_state
            span._recorded = -1
        added = decision.attributes
    except Exception as error:  # noqa: BLE001  # a user's sampler: when in doubt, the span is kept
        from lambent.diagnostics import say_once

        say_once("sampler", f"the sampler failed ({type(error).__name__}: {error}); spans are kept")
        added = None
    return added or {}
