"""`lambda_otel_lite` on top of lambent: change the import, keep the program.

    from lambent.compat.lambda_otel_lite import init_telemetry, traced_handler

Both of its interfaces: `traced_handler` as a block (versions to 0.5) and `create_traced_handler` as a
decorator (later ones). What it documents is what happens here, also where it does not happen there. The
older HTTP attributes are on. Spans go to stdout unless OTEL_TRACES_EXPORTER says otherwise. Of the
environment and an argument for the mode the environment wins, as in the original.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import lambent
from lambent.compat._lite_names import Defaults, EnvVars, ProcessorMode, TriggerType
from lambent.compat._returning import tell_returned
from lambent.config import read
from lambent.delivery.processors import SpanProcessor
from lambent.diagnostics import say_once
from lambent.hooks import when_imported
from lambent.propagation import flat
from lambent.triggers import recognise
from lambent.triggers.http import outcome
from lambent.wrapping import around

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType
    from typing import ParamSpec, TypeVar

    from lambent.handler import Invocation
    from lambent.span import Span

    P = ParamSpec("P")
    R = TypeVar("R")

__all__ = [
    "Defaults",
    "EnvVars",
    "LambdaSpanProcessor",
    "ProcessorMode",
    "SpanAttributes",
    "TelemetryCompletionHandler",
    "TracedHandler",
    "TriggerType",
    "alb_extractor",
    "api_gateway_v1_extractor",
    "api_gateway_v2_extractor",
    "create_traced_handler",
    "default_extractor",
    "get_lambda_resource",
    "init_telemetry",
    "traced_handler",
]


class SpanAttributes:
    """What an extractor says of an event."""

    def __init__(
        self,
        trigger: str,
        attributes: dict[str, Any],
        span_name: str | None = None,
        carrier: dict[str, str] | None = None,
        kind: object = 1,
        links: list[Any] | None = None,
    ) -> None:
        self.trigger = trigger
        self.attributes = attributes
        self.span_name = span_name
        self.carrier = carrier
        self.kind = kind
        self.links = links


class LambdaSpanProcessor(SpanProcessor):
    """An exporter with a queue before it, which goes out with each flush.

    In the `span_processors` of `init_telemetry` one stands for its exporter, behind lambent's own queue.
    """

    def __init__(self, span_exporter: object, max_queue_size: int = Defaults.QUEUE_SIZE) -> None:
        self.span_exporter = span_exporter
        self.max_queue_size = max_queue_size
        self._queue: list[Span] = []
        self._exporters: Any = None
        self._closed = False

    def on_end(self, span: Span) -> None:
        """Queue a finished span; one that finds the queue full is dropped, which is said once."""
        if len(self._queue) < self.max_queue_size and not self._closed:
            self._queue.append(span)
        elif not self._closed:
            say_once("queue", f"LambdaSpanProcessor drops spans: its queue of {self.max_queue_size} is full")

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Export what is queued, within a time; return whether all of it was taken."""
        spans, self._queue = self._queue, []
        self._exporters = self._exporters or read({"exporters": [self.span_exporter]}).exporters
        sent = [not spans or each.export(spans, timeout_millis / 1000).ok for each in self._exporters]
        return all(sent) and not self._closed

    process_spans = force_flush

    def shutdown(self) -> None:
        """Export what is queued, and close the exporter."""
        self.force_flush()
        self._closed = True
        for each in self._exporters or ():
            each.close()


class TelemetryCompletionHandler:
    """The second value of `init_telemetry`: a completion handler, and used as a tracer provider as well."""

    def __init__(self, tracer: lambent.Tracer, extract: Callable[[Any], Any] | None = None) -> None:
        self._tracer: Any = tracer
        self.extract = extract
        """What reads the caller's context out of a carrier, where propagators were given."""

    @property
    def tracer_provider(self) -> Any:
        """The OpenTelemetry provider of this tracer."""
        return self._tracer.provider

    def get_tracer(self, *name: Any, **more: Any) -> Any:
        """Return the tracer; with a name, one for the library of that name."""
        return self.tracer_provider.get_tracer(*name, **more) if name or more else self._tracer

    def complete(self) -> None:
        """Export what is finished if nobody else will; otherwise after the response, or at the end."""
        if self._tracer.config.mode == "sync":
            self._tracer.force_flush()

    def force_flush(self, timeout_millis: float | None = None) -> bool:
        """Deliver what is finished; return whether all of it was taken."""
        return bool(self._tracer.force_flush(timeout_millis))

    def shutdown(self) -> None:
        """Deliver what is finished and let go of everything."""
        self._tracer.close()

    def __getattr__(self, name: str) -> Any:
        if name in {"_tracer", "tracer_provider"}:  # of a copy that is just being made
            raise AttributeError(name)
        return getattr(self.tracer_provider, name)


def init_telemetry(
    name: str = "",
    resource: object = None,
    span_processors: Sequence[object] | None = None,
    *,
    propagators: Sequence[Any] | None = None,
    id_generator: Any = None,
    processor_mode: ProcessorMode | None = None,
) -> tuple[lambent.Tracer, TelemetryCompletionHandler]:
    """Return a tracer, which is the process's from now on, and what completes its telemetry.

    `name` is that of the instrumentation scope; `resource` adds to what is detected; with `span_processors`
    nothing else exports; `propagators` and `id_generator` are OpenTelemetry's.
    """
    environment = read({})
    arguments: dict[str, Any] = {
        "semconv": (*environment.semconv, "http/dup"),
        "resource": resource,
        "set_global": True,
    }
    if processor_mode is not None and not environment.variables.get(EnvVars.PROCESSOR_MODE):
        arguments["mode"] = processor_mode.value
    if span_processors is not None:
        # Not one that does more: that is asked to.
        ours = [each for each in span_processors if type(each) is LambdaSpanProcessor]
        arguments["processors"] = [each for each in span_processors if each not in ours]
        arguments["exporters"] = [each.span_exporter for each in ours] or "none"
        if ours and "LAMBDA_SPAN_PROCESSOR_QUEUE_SIZE" not in environment.variables:
            arguments["queue_size"] = ours[0].max_queue_size
    elif not environment.exporters:
        arguments["exporters"] = "stdout"
    tracer = lambent.init(**arguments)
    if not tracer.config.disabled:
        _adjust(tracer, name, id_generator)
    if propagators is None:
        return tracer, TelemetryCompletionHandler(tracer)
    from opentelemetry.propagate import set_global_textmap
    from opentelemetry.propagators.composite import CompositePropagator

    propagator = CompositePropagator(list(propagators))
    set_global_textmap(propagator)
    return tracer, TelemetryCompletionHandler(tracer, propagator.extract)


def _adjust(tracer: lambent.Tracer, name: str, id_generator: Any) -> None:
    """Give a new tracer what is no option of lambent's."""
    if name:
        from lambent.resource import InstrumentationScope

        tracer._identity = tracer.resource, InstrumentationScope(name)
    if id_generator is not None:

        class Ids:
            trace_id = staticmethod(id_generator.generate_trace_id)
            span_id = staticmethod(id_generator.generate_span_id)

        tracer._ids = Ids()
        tracer._pop_span_id = Ids.span_id
    tracer.delivery.ready()


def get_lambda_resource(custom_resource: Any = None) -> Any:
    """Return what is detected, as OpenTelemetry's `Resource`, with another one merged over it."""
    from opentelemetry.sdk.resources import Resource

    from lambent import __version__
    from lambent.resource import detect

    found = Resource(detect(read({}), __version__).attributes)  # type: ignore[arg-type]  # attribute values
    return found if custom_resource is None else found.merge(custom_resource)


class TracedHandler:
    """A block around the handling of one event, and a decorator of handlers. See `traced_handler`."""

    def __init__(
        self,
        tracer: Any,
        provider: Any,
        name: str,
        event: object = None,
        context: object = None,
        *,
        get_carrier: Callable[[Any], Any] | None = None,
        attributes_extractor: Callable[[Any, Any], Any] | None = None,
        **more: Any,
    ) -> None:
        ours = isinstance(provider, TelemetryCompletionHandler)
        if not hasattr(tracer, "invocation") or hasattr(tracer, "_of_api"):
            # One of OpenTelemetry's API, whose spans are not made current by `with`.
            tracer = provider.get_tracer() if ours else lambent.get_tracer()
        self._tracer: lambent.Tracer = tracer
        self._extract = provider.extract if ours else None
        self._name = name
        self._about = event, context
        self._get_carrier = get_carrier
        self._extractor = attributes_extractor
        self._more = more
        self._invocation: Any = None

    def _begin(self, event: Any, context: Any) -> Invocation:
        more = dict(self._more)
        name, carrier = self._name, None
        try:
            if self._extractor is not None:
                found = self._extractor(event, context)
                name = found.span_name or name
                carrier = found.carrier
                more.setdefault("kind", found.kind)
                more["attributes"] = {
                    "faas.trigger": found.trigger,
                    **found.attributes,
                    **(more.get("attributes") or {}),
                }
                more["links"] = found.links or more.get("links")
            elif self._get_carrier is not None:
                carrier = self._get_carrier(event)
            elif isinstance(event, dict):
                carrier = event.get("headers")
            carrier = flat(carrier, every=True)
            if carrier and self._extract is not None and more.get("parent") is None:
                more["parent"] = self._extract(carrier)
        except Exception as error:  # noqa: BLE001  # the program's own functions, and whatever an event holds
            say_once("carrier", f"an event's context could not be read: {type(error).__name__}: {error}")
        return self._tracer.invocation(event, context, name=name, carrier=carrier, **more).__enter__()

    def __enter__(self) -> Any:
        self._invocation = self._begin(*self._about)
        return self._invocation.span

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        invocation, self._invocation = self._invocation, None
        if exc is None and tell_returned(sys._getframe(1), lambda response: _succeed(invocation, response)):
            return
        invocation.__exit__(exc_type, exc, traceback)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Return the handler with each of its calls traced."""

        def begin(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Invocation:
            event, context = (*args, kwargs.get("event"), kwargs.get("context"))[:2]
            return self._begin(event, context)

        wrapped = around(function, begin, _fail, _succeed)
        wrapped.__dict__["_lambent_tracer"] = self._tracer  # so that nobody traces it a second time
        return wrapped


def _fail(invocation: Invocation, exc: BaseException) -> None:
    invocation.__exit__(type(exc), exc, None)


def _succeed(invocation: Invocation, response: object) -> None:
    if isinstance(response, dict):
        found = outcome(response.get("statusCode")) or {}
        code = found.get("http.response.status_code")
        if code is not None:  # whatever the event was, as in the original
            invocation.span.set_attribute("http.status_code", code)
        if "error.type" in found:
            invocation.span.set_status(2)
    invocation.set_response(response)
    invocation.__exit__(None, None, None)


def traced_handler(
    tracer: Any,
    tracer_provider: object,
    name: str,
    event: object = None,
    context: object = None,
    kind: object = 1,
    attributes: Mapping[str, object] | None = None,
    links: Sequence[Any] | None = None,
    start_time: int | None = None,
    record_exception: bool = True,
    set_status_on_exception: bool = True,
    end_on_exit: bool = True,
    parent_context: object = None,
    get_carrier: Callable[[Any], Any] | None = None,
) -> TracedHandler:
    """Return a block around the handling of one event; its span is what `with … as span` gives.

    A response that is returned out of the block reaches the span. `get_carrier` takes the caller's context
    out of the event; without it the event's `headers` are looked at. `start_time` is in nanoseconds.
    """
    return TracedHandler(
        tracer,
        tracer_provider,
        name,
        event,
        context,
        kind=kind,
        attributes=attributes,
        links=links,
        start_time=start_time,
        record_exception=record_exception,
        set_status_on_exception=set_status_on_exception,
        end_on_exit=end_on_exit,
        parent=parent_context,
        get_carrier=get_carrier,
    )


def create_traced_handler(
    name: str,
    completion_handler: TelemetryCompletionHandler,
    *,
    attributes_extractor: Callable[[Any, Any], Any] | None = None,
) -> TracedHandler:
    """Return a decorator for a Lambda handler. An extractor's word counts for more than lambent's own."""
    tracer = completion_handler.get_tracer()
    return TracedHandler(tracer, completion_handler, name, attributes_extractor=attributes_extractor)


_OF_CONTEXT = {"faas.invocation_id": "aws_request_id", "cloud.resource_id": "invoked_function_arn"}


def default_extractor(event: Any, context: Any) -> SpanAttributes:
    """Return what lambent knows of an event, of whatever kind; for extractors that add to it."""
    found = recognise(event, context)
    attributes = dict(found.attributes)
    for attribute, name in _OF_CONTEXT.items():
        value = getattr(context, name, None)
        if isinstance(value, str):
            attributes[attribute] = value
    account = str(attributes.get("cloud.resource_id")).split(":")[4:5]
    if account:
        attributes["cloud.account.id"] = account[0]
    carrier = dict(found.carrier) or (
        flat(event.get("headers"), every=True) if isinstance(event, dict) else None
    )
    return SpanAttributes(found.trigger, attributes, found.name or None, carrier or None, found.kind)


api_gateway_v1_extractor = api_gateway_v2_extractor = alb_extractor = default_extractor

when_imported("opentelemetry.trace", lambda api: api.TracerProvider.register(TelemetryCompletionHandler))

for _name in ("extractors", "extension", "handler", "processor", "telemetry", "resource", "constants"):
    # The original's modules: their names all lead here.
    sys.modules[f"{__name__}.{_name}"] = sys.modules[__name__]
