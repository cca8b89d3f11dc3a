"""lambent's formats as propagators of OpenTelemetry's API, so that `OTEL_PROPAGATORS` needs no other package.

The API finds them by the wheel's entry points. What `init(propagators=…)` names is used by the API as well.
"""

from __future__ import annotations

from opentelemetry.context.context import Context
from opentelemetry.propagators.textmap import TextMapPropagator, default_getter, default_setter
from opentelemetry.trace import NonRecordingSpan, get_current_span, set_span_in_context

from lambent.context import SpanContext, adopt
from lambent.otel.provider import api_context
from lambent.propagation import KNOWN, extract, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

__all__ = ["B3", "B3Multi", "XRay", "XRayLambda", "composite"]


class XRay(TextMapPropagator):
    """X-Ray's header. The other formats differ in their names."""

    name = "xray"

    def extract(self, carrier: Any, context: Context | None = None, getter: Any = default_getter) -> Context:
        """Return the context with the remote span that the carrier holds, if there is one."""
        found: dict[str, str] = {}
        for key in {*KNOWN[self.name][1], *self.fields, *getter.keys(carrier)}:
            values = getter.get(carrier, key) if key.lower() in KNOWN[self.name][1] else None
            if values:
                found[key.lower()] = ",".join(values)
        parent = extract(found, (self.name,), self.environment(context))
        base = Context() if context is None else context
        return base if parent is None else set_span_in_context(NonRecordingSpan(api_context(parent)), base)

    def environment(self, context: Context | None) -> str:  # noqa: ARG002  # for who overrides it
        """Return the header to take for want of another."""
        return ""

    def inject(self, carrier: Any, context: Context | None = None, setter: Any = default_setter) -> None:
        """Write the span of the context into the carrier."""
        headers: dict[str, str] = {}
        current = adopt(get_current_span(context).get_span_context())
        if current.is_valid:
            write(self.name, current, headers)
        for key, value in headers.items():
            setter.set(carrier, key, value)

    @property
    def fields(self) -> set[str]:
        """The names that are written."""
        headers: dict[str, str] = {}
        write(self.name, SpanContext(1, 1), headers)
        return set(headers)


class XRayLambda(XRay):
    """The same; where neither carrier nor context has a span, the one that Lambda gives the process."""

    name = "xray-lambda"

    def environment(self, context: Context | None) -> str:
        """Return the header of this invocation, unless there is a span already."""
        from lambent.config import trace_header

        return "" if get_current_span(context).get_span_context().is_valid else trace_header()


class B3(XRay):
    """Zipkin's B3 in one header."""

    name = "b3"


class B3Multi(XRay):
    """Zipkin's B3 in several headers."""

    name = "b3multi"


def composite(names: Iterable[str]) -> TextMapPropagator:
    """Return what `OTEL_PROPAGATORS` with these names gives; one that nobody knows is left out, and said."""
    from opentelemetry.baggage.propagation import W3CBaggagePropagator
    from opentelemetry.propagators.composite import CompositePropagator
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    from lambent.propagation.foreign import propagator

    own: dict[str, Any] = {each.name: each for each in (XRay, XRayLambda, B3, B3Multi)}
    own |= {"tracecontext": TraceContextTextMapPropagator, "baggage": W3CBaggagePropagator}
    chosen = [own[name]() if name in own else propagator(name) for name in names if name != "none"]
    return CompositePropagator([each for each in chosen if each is not None] if "none" not in names else [])
