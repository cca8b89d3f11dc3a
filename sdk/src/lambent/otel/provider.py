"""`tracer.provider`: a tracer as a TracerProvider of OpenTelemetry's API. Loaded with `opentelemetry.trace`.

- What the API hands out are lambent's own spans, under the scope of the library that asked. As the API has
  it, a `with` block around one ends it and does not make it current.
- `get_span_context()` of any lambent span gives OpenTelemetry's kind from now on: its SDK insists on it.
- The API is served by the default tracer: the first one, or the last made with `set_global=True`. What the
  API gave away goes on with the next of these once its own is closed; before that, it records nothing.
- Another provider that was there first, or comes later, is dealt with in `lambent.otel.join`.
"""

from __future__ import annotations

from functools import partial
from operator import attrgetter

from opentelemetry import trace
from opentelemetry.trace.propagation import _SPAN_KEY
from opentelemetry.util._once import Once

import lambent
from lambent.context import CURRENT, NonRecordingSpan
from lambent.hooks import when_imported
from lambent.limits import NO_SHAPES
from lambent.otel import runtime
from lambent.span import Span
from lambent.tracer import Tracer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Any, ParamSpec, Self, TypeVar

    from lambent.context import SpanContext
    from lambent.limits import Attributes
    from lambent.resource import InstrumentationScope, Resource

    P = ParamSpec("P")
    R = TypeVar("R")
    _Api = trace.TracerProvider
else:
    _Api = object  # and registered: a class under an abstract one takes ten times as long to make

__all__ = ["ApiSpan", "ApiTracer", "Provider", "api_context", "install", "serve"]


def api_context(context: SpanContext) -> trace.SpanContext:
    """Return a span context of ours as one of OpenTelemetry's."""
    return trace.SpanContext(
        context.trace_id,
        context.span_id,
        context.is_remote,
        trace.TraceFlags(context.trace_flags),
        trace.TraceState(list(context.trace_state.items())) if context.trace_state else None,
    )


def _get_span_context(self: Span | NonRecordingSpan) -> Any:
    """Return what identifies this span elsewhere."""
    return api_context(self.context)


class ApiSpan(Span):
    """A span that was started through the API."""

    _api_context: trace.SpanContext | None = None

    def get_span_context(self) -> Any:
        """Return what identifies this span elsewhere: always the same object."""
        if self._api_context is None:
            self._api_context = api_context(self.context)
        return self._api_context

    @property
    def parent(self) -> Any:
        """The context of the span that this one is a child of."""
        parent = self._parent
        return parent.get_span_context() if isinstance(parent, Span) else parent

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc is not None and self.is_recording():
            self.fail(exc)
        self.end()


class _ApiNonRecordingSpan(NonRecordingSpan):
    """One that is not sampled."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.end()


class _Block:
    """What `start_as_current_span` returns: a context manager, and a decorator."""

    __slots__ = ("_before", "_end_on_exit", "_given", "_span", "_token", "_tracer")

    def __init__(self, tracer: ApiTracer, end_on_exit: bool, given: tuple[Any, ...]) -> None:
        self._tracer, self._end_on_exit, self._given = tracer, end_on_exit, given

    def __enter__(self) -> Any:
        self._span = span = self._tracer.start_span(*self._given)
        self._before = runtime.now()
        if type(span) is ApiSpan:
            self._token: Any = CURRENT.set(span)
        else:  # not recorded: what else the context says, as that lambent is exporting, goes on below it
            self._token = runtime.attach(trace.set_span_in_context(span))
        return span

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        span = self._span
        try:
            (CURRENT.reset if type(span) is ApiSpan else runtime.detach)(self._token)
            runtime.back(self._before)
        except (ValueError, RuntimeError):  # left in another context than it was entered in
            self._token = None
        if isinstance(exc, Exception) and span.is_recording():  # no other is an error, for the API
            span.fail(exc)
        if self._end_on_exit:
            span.end()

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        from lambent.current import decorate

        return decorate(function, lambda: _Block(self._tracer, self._end_on_exit, self._given))


# What a tracer keeps all its life is copied, what may change is asked for. To share its `__dict__`, or
# only to look at it, would make its own spans slower.
_FIXED = (
    "config",
    "clock",
    "limits",
    "plain_limits",
    "attribute_count",
    "_ids",
    "_pop_span_id",
    "_sampler",
    "delivery",
)
_SHARED = ("on_end", "on_start", "provider", "resource", "close", "_guard", "_watch")


class ApiTracer(Tracer):
    """A tracer under another scope, as the API hands it out. All but the scope is the tracer's own."""

    whole: Tracer
    straight, shapes = None, NO_SHAPES

    def __init__(self, tracer: Tracer, scope: InstrumentationScope, *, api: bool) -> None:
        self.whole = tracer
        self._scope = scope
        self._of_api = api
        for name in _FIXED:
            setattr(self, name, getattr(tracer, name))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.whole, name)

    def _identify(self) -> tuple[Resource, InstrumentationScope]:
        return self.whole.resource, self._scope

    def start_span(
        self,
        name: str,
        context: Any = None,
        kind: Any = 0,
        attributes: Attributes | None = None,
        links: Sequence[Any] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> Any:
        """Start a span, a child of the current one or of the one in `context`; it is not made current."""
        if self.delivery.closed or (self._of_api and runtime.feeds):
            tracer: Any = self._next() or trace.NoOpTracer()
            kind = kind or trace.SpanKind.INTERNAL
            return tracer.start_span(
                name,
                context,
                kind,
                attributes,
                links or (),
                start_time,
                record_exception,
                set_status_on_exception,
            )
        span: Any = self._start(
            name,
            context,
            getattr(kind, "value", kind),
            attributes,
            links or None,
            start_time,
            record_exception,
            set_status_on_exception,
        )
        span.__class__ = ApiSpan if type(span) is Span else _ApiNonRecordingSpan
        return span

    def start_as_current_span(  # type: ignore[override]  # a block of the API's kind
        self,
        name: str,
        context: Any = None,
        kind: Any = 0,
        attributes: Attributes | None = None,
        links: Sequence[Any] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> _Block:
        """Start a span for a `with` block, or decorate a function, as the API has it."""
        given = name, context, kind, attributes, links, start_time, record_exception, set_status_on_exception
        return _Block(self, end_on_exit, given)

    def _next(self) -> trace.Tracer | None:
        provider: Any = trace._TRACER_PROVIDER
        if not self._of_api or provider is None or getattr(provider, "closed", False):
            return None
        scope = self._scope
        tracer: trace.Tracer = provider.get_tracer(
            scope.name, scope.version, scope.schema_url, scope.attributes
        )
        return tracer


for _name in _SHARED:
    setattr(ApiTracer, _name, property(attrgetter(f"whole.{_name}")))


class Provider(_Api):
    """A TracerProvider that makes the spans of one tracer."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._tracers: dict[object, ApiTracer] = {}

    @property
    def closed(self) -> bool:
        """Whether it makes no spans, or no more."""
        return self._tracer.config.disabled or self._tracer.delivery.closed

    @property
    def resource(self) -> Resource:
        """Who makes the spans."""
        return self._tracer.resource

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Any = None,
    ) -> Any:
        """Return the tracer for a library's spans: the same one for the same arguments."""
        if self._tracer.config.disabled:
            return trace.NoOpTracer()
        key = (instrumenting_module_name, instrumenting_library_version, schema_url,
               repr(sorted(attributes.items())) if attributes else "")  # fmt: skip
        tracer = self._tracers.get(key)
        if tracer is None:
            from lambent.cleaning import clean_attributes
            from lambent.limits import clean_name
            from lambent.resource import InstrumentationScope

            name, version, url = [clean_name(text) if text else "" for text in key[:3]]
            scope = InstrumentationScope(
                name, version, url, clean_attributes(attributes or {}, None, None)[0]
            )
            served: Any = trace._TRACER_PROVIDER
            tracer = ApiTracer(self._tracer, scope, api=served is self)
            tracer = self._tracers.setdefault(key, tracer)
        return tracer

    def add_span_processor(self, span_processor: Any) -> None:
        """Have a processor, lambent's or one of OpenTelemetry's SDK, called for the spans from now on."""
        if not self._tracer.config.disabled:
            from lambent.delivery.processors import add

            add(self._tracer, span_processor)

    def force_flush(self, timeout_millis: float | None = None) -> bool:
        """Deliver what is finished, within the time given (default: the configured timeout)."""
        return self._tracer.force_flush(timeout_millis)

    def shutdown(self) -> None:
        """Close the tracer."""
        self._tracer.close()

    def leave(self) -> None:
        """Serve the API no longer: what it gives away from now on waits for the next provider, silently."""
        if trace._TRACER_PROVIDER is self:
            trace._TRACER_PROVIDER = None


class _Guard(Once):
    """Decides about a provider that somebody sets while a tracer of ours serves the API."""

    def __init__(self) -> None:
        super().__init__()
        self._done, self._chosen = True, False

    def do_once(self, func: Callable[[], None]) -> bool:
        tracer = lambent._default
        if not self._done or tracer is None:
            func()
            return True
        if self._chosen:  # by the program already: once is the API's rule
            return False
        from lambent.otel.join import welcome

        self._chosen = welcome(tracer, func)
        return self._chosen


def serve(tracer: Tracer) -> None:
    """Have the API find this tracer, or join the provider that it finds already."""
    runtime.leave_http = tracer.config.disable_http_tracing
    if "propagators" in tracer.config.arguments:  # what the environment names the API finds by itself
        when_imported("opentelemetry.propagate", partial(_propagate, tracer.config.propagators))
    other: Any = trace._TRACER_PROVIDER
    if other is not None and not isinstance(other, Provider):
        from lambent.otel.join import join

        if join(tracer, other):
            return
    trace._TRACER_PROVIDER = tracer.provider
    trace._TRACER_PROVIDER_SET_ONCE = _Guard()


def _propagate(names: tuple[str, ...], module: Any) -> None:
    from lambent.otel.propagators import composite

    module.set_global_textmap(composite(names))


def install(module: Any) -> None:
    """Make lambent's spans spans of the API, and have the default tracer serve it."""
    module.Span.register(Span)
    module.NonRecordingSpan.register(NonRecordingSpan)
    module.Tracer.register(ApiTracer)
    module.TracerProvider.register(Provider)
    Span.get_span_context = _get_span_context  # type: ignore[method-assign]  # see the head of this module
    NonRecordingSpan.get_span_context = _get_span_context  # type: ignore[method-assign]  # as above
    runtime.span_key = _SPAN_KEY
    tracer = lambent._default
    if tracer is not None and not tracer.config.disabled:
        serve(tracer)
