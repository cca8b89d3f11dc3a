"""Other libraries' spans in lambent's context, a caller's within an invocation, the SDK's samplers.

Loaded with the first of them.
"""

from __future__ import annotations

from opentelemetry.context.context import Context

from lambent.context import CURRENT, NonRecordingSpan, TraceState, adopt
from lambent.otel import runtime
from lambent.span import Span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from lambent.context import SpanContext
    from lambent.sampling import Decision

__all__ = ["Foreign", "ForeignSampler", "current_for", "within_the_invocation"]


class Foreign(NonRecordingSpan):
    """Another library's span, current in lambent."""

    __slots__ = ("foreign",)
    foreign: Any

    def get_span_context(self) -> Any:
        """Return what identifies the span elsewhere."""
        return self.foreign.get_span_context()

    def set_status(self, status: object, description: str | None = None) -> None:
        """Set how the other span ended. What is no status changes nothing."""
        from opentelemetry.trace import StatusCode

        from lambent.codes import StatusCode as Ours

        description = getattr(status, "description", description)
        try:
            code = StatusCode(int(Ours.of(getattr(status, "status_code", status))))
        except ValueError:
            return
        self.foreign.set_status(code, description)


def _passing_on(name: str) -> Callable[..., object]:
    def call(self: Foreign, *arguments: object, **keywords: object) -> object:
        result: object = getattr(self.foreign, name)(*arguments, **keywords)
        return result

    return call


for _name in ("is_recording", "set_attribute", "set_attributes", "add_event", "add_link", "update_name",
              "record_exception", "end"):  # fmt: skip
    setattr(Foreign, _name, _passing_on(_name))


def current_for(span: Any) -> Foreign | None:
    """Return the span that lambent takes for another library's; None for one that names no trace."""
    try:
        context = span.get_span_context()
        if context is None or not context.is_valid:
            return None
        ours = Foreign(adopt(context))
    except Exception:  # noqa: BLE001  # whatever somebody has put there, it is no span
        return None
    ours.foreign = span
    return ours


def within_the_invocation(extract: Callable[..., Context]) -> Callable[..., Context]:
    """Return the API's `extract` as frameworks in a function need it: their caller is the invocation's."""

    def nearest(carrier: object, context: Context | None = None, *args: Any, **kwargs: Any) -> Context:
        extracted = extract(carrier, context, *args, **kwargs)
        span: Any = CURRENT.get()
        # OpenTelemetry's own extracts None where it has no formats.
        if context is None is not extracted and isinstance(span, Span) and span.end_time is None:
            root: Any = span
            while isinstance(root._parent, Span):
                root = root._parent
            named = extracted.get(runtime.span_key)
            caller: Any = named and named.get_span_context()  # type: ignore[attr-defined]  # it is a span
            if root.attributes.get("faas.trigger") == "http" and (
                not caller
                or not caller.is_valid
                or (root.parent is not None and root.parent.span_id == caller.span_id)
            ):
                return Context({**extracted, runtime.span_key: span})
        return extracted

    nearest.__wrapped__ = extract  # type: ignore[attr-defined]  # as functools.wraps has it
    return nearest


class ForeignSampler:
    """A sampler of OpenTelemetry's SDK, asked as one of ours. What it only wants recorded is not kept."""

    def __init__(self, sampler: Any) -> None:
        self._sampler = sampler
        self.description = sampler.get_description()

    def should_sample(
        self, parent: SpanContext | None, trace_id: int, name: str, kind: int, *rest: Any
    ) -> Decision:
        """Return its decision."""
        from opentelemetry import trace

        from lambent.otel.provider import api_context
        from lambent.sampling import Decision

        context = Context()
        if parent is not None:
            context = trace.set_span_in_context(trace.NonRecordingSpan(api_context(parent)), context)
        result = self._sampler.should_sample(context, trace_id, name, trace.SpanKind(kind), *rest)
        state = TraceState.of((result.trace_state or {}).items())
        return Decision(result.decision.is_sampled(), result.attributes, state)
