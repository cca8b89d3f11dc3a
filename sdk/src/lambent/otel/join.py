"""Another SDK's provider beside lambent. Loaded when there is one.

What happens is said once, and decided by the option `otel_provider`, whichever of the two came first:

- `replace`: lambent serves the API. The other one is given no more spans to export; those that its tracers
  still make, since some libraries keep theirs, are fed to lambent.
- `feed`: the other one serves the API and exports as it did. Each span it records is fed to lambent too.

A provider that takes no processors cannot be fed from, so it is replaced.
"""

from __future__ import annotations

from opentelemetry import trace

import lambent
from lambent.context import adopt
from lambent.diagnostics import say, say_once
from lambent.otel import runtime
from lambent.otel.provider import Provider
from lambent.span import Span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from lambent.tracer import Tracer

__all__ = ["join", "welcome"]

_joined: list[object] = []


def join(tracer: Tracer, other: Any) -> bool:
    """Come to terms with the provider that the API has; return whether the API keeps it."""
    can_feed = hasattr(other, "add_span_processor")
    runtime.feeds = feeds = can_feed and tracer.config.otel_provider == "feed"
    if not any(each is other for each in _joined):
        _joined.append(other)
        name = f"{type(other).__module__}.{type(other).__qualname__}"
        if can_feed:
            _feed(other, alone=not feeds)
        say(
            f"OpenTelemetry's API {'has' if feeds else 'had'} a provider, {name}: "
            + ("it keeps the API, and its spans go to lambent too" if feeds else "lambent has replaced it")
            + (" (LAMBENT_OTEL_PROVIDER=feed takes its spans and leaves it)" if can_feed > feeds else "")
        )
    return feeds


def welcome(tracer: Tracer, set_other: Callable[[], None]) -> bool:
    """Decide about a provider that is about to be set; return whether it was."""
    ours = trace._TRACER_PROVIDER
    set_other()
    other = trace._TRACER_PROVIDER
    inner = getattr(other, "tracer_provider", None)
    if isinstance(inner, Provider):  # what lambda-otel-lite's programs have for a provider
        other = trace._TRACER_PROVIDER = inner
    if other is not ours and not isinstance(other, Provider) and not join(tracer, other):
        trace._TRACER_PROVIDER = ours
        return False
    return True


def _feed(other: Any, *, alone: bool) -> None:
    # Logfire's stands before one of the SDK's. Phoenix's drops its exporter for the first processor that it
    # is given, unless that comes in behind its back. AWS's, for Lambda, keeps its processors itself.
    holder: Any = getattr(getattr(other, "provider", other), "_active_span_processor", other)
    add = holder.add_span_processor
    add(_Feed())
    members = getattr(holder, "_span_processors", None)
    if alone and isinstance(members, (list, tuple)):
        holder._span_processors = type(members)([*map(_Retired, members[:-1]), members[-1]])
        holder.add_span_processor = lambda processor: add(_Retired(processor))


class _Processor:
    """What OpenTelemetry's SDK takes for a processor."""

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        """Take no notice."""

    def on_end(self, span: Any) -> None:
        """Take no notice."""

    _on_ending = on_end

    def shutdown(self) -> None:
        """Have nothing to let go of."""

    def force_flush(self, timeout_millis: float = 30000) -> bool:
        """Deliver what lambent has: who flushes a provider of their own may know of no other."""
        tracer = lambent._default
        if tracer is None:
            return True
        # The SDK's half minute is nobody's wish.
        return tracer.force_flush(timeout_millis if timeout_millis < tracer.config.timeout * 1000 else None)


class _Retired(_Processor):
    """One that is given no spans any more; it still sends those that it has."""

    def __init__(self, processor: Any) -> None:
        self.__dict__.update(shutdown=processor.shutdown, force_flush=processor.force_flush)


class _Feed(_Processor):
    """Hands the spans that another SDK has recorded to the default tracer."""

    def on_end(self, span: Any) -> None:
        """Take a finished `ReadableSpan`. Runs in the function's code, which must not notice."""
        if isinstance(span, Span):
            return  # lambent's own: the other provider passes on to lambent's
        try:
            _take(span)
        except Exception as error:  # noqa: BLE001  # another library's object
            say_once("feed", f"a span of another SDK is not taken: {type(error).__name__}: {error}")


def _take(span: Any) -> None:
    tracer = lambent._default
    context = span.context
    if tracer is None or tracer.provider.closed or not context.trace_flags.sampled:
        return
    maker, scope = tracer, span.instrumentation_scope
    if scope is not None:
        maker = tracer.provider.get_tracer(
            scope.name, scope.version, scope.schema_url, getattr(scope, "attributes", None)
        )
    ids = context.trace_id, context.span_id
    parent = None if span.parent is None else adopt(span.parent)
    twin = Span(maker, span.name, *ids, parent, span.kind.value, span.start_time)
    twin._trace_state = adopt(context).trace_state
    twin._start_attributes(span.attributes or {})
    for event in span.events:
        twin.add_event(event.name, event.attributes, event.timestamp)
        if twin._events:
            twin._events[-1].dropped_attributes += getattr(event, "dropped_attributes", 0)
    if span.links:
        twin._add_links(span.links)
    twin.set_status(span.status)
    for what in ("dropped_attributes", "dropped_events", "dropped_links"):
        setattr(twin, what, getattr(twin, what) + getattr(span, what, 0))
    tracer.delivery.started += 1
    if tracer.on_start is not None:
        tracer.on_start(twin, None)
    twin.end(span.end_time)
