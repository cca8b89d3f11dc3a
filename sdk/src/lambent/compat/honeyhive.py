"""`honeyhive` on top of lambent: change the import, keep the program.

    from lambent.compat.honeyhive import HoneyHiveTracer, trace, enrich_span

Spans go to HoneyHive, under its names, unless the configuration says another backend. What of the original's
arguments means nothing here is said once and left out; its HTTP API (datasets, experiments) is not here.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import lambent
from lambent import enrich as _enrich
from lambent.compat._honeyhive import (
    ContextMethods,
    SessionConfig,
    TracerConfig,
    enrich_span_context,
    extract_context_from_carrier,
    inject_context_into_carrier,
    named_arguments,
    with_distributed_trace_context,
)
from lambent.config import OPTIONS, read
from lambent.decorators import atrace as _atrace
from lambent.decorators import trace as _trace
from lambent.decorators import trace_class
from lambent.diagnostics import say_once
from lambent.disabled import DisabledTracer
from lambent.enrich import EventType
from lambent.errors import ConfigError
from lambent.span import Span
from lambent.tracer import Tracer

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar, overload

    from lambent.config import Config
    from lambent.decorators import Tracing
    from lambent.enrich import Enrichment

    F = TypeVar("F", bound=Callable[..., Any])

__all__ = [
    "EventType",
    "HoneyHiveTracer",
    "SessionConfig",
    "TracerConfig",
    "atrace",
    "clear_registry",
    "enrich_session",
    "enrich_span",
    "enrich_span_context",
    "extract_context_from_carrier",
    "flush",
    "get_default_tracer",
    "inject_context_into_carrier",
    "set_default_tracer",
    "trace",
    "trace_class",
    "with_distributed_trace_context",
]

_NOTHING_HERE = frozenset({
    "disable_batch", "inputs", "is_evaluation", "run_id", "dataset_id", "datapoint_id", "link_carrier",
    "requests_session", "cache_enabled", "cache_max_size", "cache_ttl", "disable_tracing", "max_attributes",
    "max_events", "max_links", "max_span_size",
})  # fmt: skip
# The parameters of the original's functions and methods, in their order.
_SPAN = ("metadata", "metrics", "feedback", "inputs", "outputs", "config", "error", "event_id", "tracer")
_OWN_SPAN = (*_SPAN[:6], "user_properties", "error", "event_id", "update_event_id")
_SESSION = ("metadata", "tracer", "tracer_instance")
_OWN_SESSION = (
    "metadata", "inputs", "outputs", "config", "feedback", "metrics", "user_properties", "session_id",
)  # fmt: skip
_FIELDS = frozenset({*_SPAN, "user_properties", "event_type", "event_name"})
_OF_TRACE = _FIELDS | {"redact"}
_OF_SPANS = frozenset(
    {"context", "kind", "links", "start_time", "record_exception", "set_status_on_exception"}
)


def _arguments(given: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of `HoneyHiveTracer` as those of `lambent.init`."""
    for name in _NOTHING_HERE & given.keys():
        if given.pop(name):
            say_once(
                f"honeyhive {name}", f"HoneyHiveTracer({name}=…) has no meaning in lambent and is left out"
            )
    if given.pop("verbose", False):
        given.setdefault("log_level", "debug")
    key = given.pop("ingestion_api_key", None)
    if key and not given.get("api_key"):
        given["api_key"] = key
    return given


class _Methods(ContextMethods):
    """What a tracer of HoneyHive's has besides a tracer of lambent's."""

    if TYPE_CHECKING:
        config: Any
        start_span: Any
        force_flush: Any

    def trace(self, name: Any = None, event_type: Any = None, **more: Any) -> Any:
        """Start a span; what is no argument of `start_span` is an attribute. Without a name: decorate."""
        if not isinstance(name, str):
            return trace(name or event_type, **{**more, "tracer": self})
        if event_type is None and not more:
            return self.start_span(name)
        attributes = {**(more.pop("attributes", None) or {})}
        for key in more.keys() - _OF_SPANS:
            attributes[key] = more.pop(key)
        if event_type is not None:
            given = {"event_type": _known(event_type), "event_name": name}
            attributes.update(_enrich.named(self.config.backend == "honeyhive", given))
        return self.start_span(name, attributes=attributes, **more)

    def enrich_span(self, attributes: Any = None, *values: Any, **more: Any) -> Enrichment:
        """Say more about the current span of this tracer."""
        more.update(zip(_OWN_SPAN, values, strict=False))
        return enrich_span(attributes, **{**more, "tracer": self})

    def enrich_session(self, *values: Any, **more: Any) -> bool:
        """Say more about the session."""
        more.update(zip(_OWN_SESSION, values, strict=False))
        return enrich_session(more.pop("session_id", None), **{**more, "tracer": self})

    def flush(self, timeout_millis: float = 30000) -> bool:
        """Deliver what is finished; return whether all of it was taken."""
        return bool(self.force_flush(timeout_millis))

    @property
    def session_id(self) -> str | None:
        """The session of the current span, None outside."""
        found: str | None = getattr(lambent.current_span(), "attributes", {}).get("session.id")
        return found or self.get_baggage("session_id") or self.config.variables.get("HH_SESSION_ID")

    @property
    def project_name(self) -> str:
        """The project."""
        return str(self.config.project)

    @property
    def source_environment(self) -> str:
        """The source."""
        return str(self.config.source)

    @property
    def is_test_mode(self) -> bool:
        """Whether nothing leaves the process."""
        return bool(self.config.test_mode)

    is_initialized = True


class _Disabled(_Methods, DisabledTracer):  # type: ignore[misc]  # its `trace` takes an event type as well
    """Switched off."""


class HoneyHiveTracer(_Methods, Tracer):  # type: ignore[misc]  # as above
    """A tracer. `HoneyHiveTracer.init(api_key=…, project=…)`, or the same without `.init`."""

    def __new__(cls, *values: Any, **arguments: Any) -> Self:
        """Return a new tracer; one that does nothing where tracing is switched off."""
        arguments = named_arguments(values, arguments)
        session = arguments.pop("session_id", None)
        instrumentors = arguments.pop("instrumentors", None) or ()
        config = read(_arguments(arguments), implied="honeyhive")
        if session:
            config.__dict__["variables"] = {**config.variables, "HH_SESSION_ID": str(session)}
        in_lambda = bool(config.function_name) and not config.test_mode
        known = in_lambda and _known_tracer(cls, config)
        if known:
            known._holders += 1
            return known  # type: ignore[no-any-return]  # it is of this class
        made: Any = lambent._start(config)
        made.__class__ = cls if isinstance(made, Tracer) else _Disabled
        tracer: Self = made
        if config.disabled:
            return tracer
        tracer._ids.trace_id()  # so that the pool of ids is filled now, and the first span waits for nothing
        if in_lambda:
            _opened(tracer)
        for instrumentor in instrumentors:
            instrumentor.instrument(tracer_provider=tracer.provider)
        return tracer

    def __init__(self, *_: object, **_arguments: object) -> None:
        """Do nothing: it is made already."""

    @classmethod
    def init(cls, *values: Any, **arguments: Any) -> Self:
        """Return a new tracer. Makes no network call."""
        return cls(*values, **arguments)

    _holders = 1
    _lost = False  # whether the end of a span has lost some: then nothing is left to be flushed

    def force_flush(self, timeout_millis: float | None = None) -> bool:
        """Deliver what is finished, within a time; return whether all since the last call was taken."""
        lost, self._lost = self._lost, False
        return super().force_flush(timeout_millis) and not lost

    def close(self) -> None:
        """Deliver what is finished; the last one who has asked for this tracer lets go of everything."""
        if self._holders > 1:
            self._holders -= 1
            self.force_flush()
            return
        if self in _open:
            _open.remove(self)
        super().close()

    @classmethod
    def flush_all(cls, timeout_millis: float = 30000) -> bool:
        """Deliver what the default tracer has finished."""
        return flush(None, timeout_millis)


# Programs make a tracer in each invocation and close none: each would keep its connection. So who asks for
# the same again, in Lambda, is given the same; of others the oldest sleep.
_open: list[HoneyHiveTracer] = []
_MOST = 16


def _known_tracer(cls: type, config: Config) -> Any:
    """Return a tracer that was made with these arguments and variables; None if there is none."""

    def identity(of: Config) -> list[object]:
        given = sorted(of.arguments)
        names = ["HH_SESSION_ID", *[name for option in OPTIONS for name in option[1]]]
        return [given, [getattr(of, name) for name in given], [of.variables.get(name) for name in names]]

    wanted = identity(config)
    alike = (each for each in _open if type(each) is cls and identity(each.config) == wanted)
    return next((each for each in alike if not each.delivery.closed), None)


def _opened(tracer: HoneyHiveTracer) -> None:
    """Note a tracer that has been made, or has been woken, in Lambda."""
    if not tracer.config.max_concurrency:
        _deliver_at_the_end(tracer)
    _open.append(tracer)
    if len(_open) > _MOST:
        from lambent.compat._asleep import rest

        try:
            rest(_open, _MOST, _opened)
        except Exception as error:  # noqa: BLE001  # the function has its tracer, and goes on
            say_once("honeyhive tracers", f"old tracers stay open ({type(error).__name__}: {error})")


def _deliver_at_the_end(tracer: HoneyHiveTracer) -> None:
    """Export with the end of a tracer's outermost span: these programs do not decorate their handlers.

    Not inside an invocation of lambent's own, which exports at its end, and not where somebody else does.
    """
    delivery = tracer.delivery
    deliver = delivery.on_end

    def on_end(span: Span) -> None:
        deliver(span)
        inner = isinstance(span._parent, Span) and span._parent._tracer.delivery is delivery
        if not inner and not delivery.active and delivery.mode in {"sync", "async"}:
            extension = getattr(delivery, "_extension", None)
            if extension is None or not extension.alive:
                tracer._lost |= not Tracer.force_flush(tracer) and not delivery.waiting

    delivery.on_end = on_end  # type: ignore[method-assign]  # for this tracer only
    tracer._watch(on_end=lambda _span: None)  # so that it is looked up again


def _known(event_type: object) -> object:
    """Return the event type, None for one that does not exist: a program must not fail for a label."""
    try:
        return _enrich.event_type_of(event_type)
    except ConfigError as error:
        say_once("event type", str(error))
        return None


def _tracing(decorate: Any, event_type: Any, event_name: str | None, more: dict[str, Any]) -> Any:
    function = None
    if not isinstance(event_type, str) and (callable(event_type) or hasattr(event_type, "__get__")):
        function, event_type = event_type, None
    if more.get("config") is None and "span_config" in more:
        more["config"] = more.pop("span_config")
    others = {name: more.pop(name) for name in more.keys() - _OF_TRACE}
    if others:  # source, project, user_id …
        more["metadata"] = _merged(more.get("metadata"), others)
    made = decorate(event_type=event_type and _known(event_type), event_name=event_name, **more)
    return made if function is None else made(function)


if TYPE_CHECKING:

    @overload
    def trace(event_type: F, /) -> F: ...
    @overload
    def trace(event_type: str | None = None, event_name: str | None = None, **more: Any) -> Tracing: ...


def trace(event_type: Any = None, event_name: str | None = None, **more: Any) -> Any:
    """Trace each call of a function: `@trace`, `@trace(event_type="tool", event_name=…, tracer=…)`."""
    return _tracing(_trace, event_type, event_name, more)


if TYPE_CHECKING:

    @overload
    def atrace(event_type: F, /) -> F: ...
    @overload
    def atrace(event_type: str | None = None, event_name: str | None = None, **more: Any) -> Tracing: ...


def atrace(event_type: Any = None, event_name: str | None = None, **more: Any) -> Any:
    """Trace each call of a coroutine function."""
    return _tracing(_atrace, event_type, event_name, more)


def _enriched(function: Callable[..., Any], given: dict[str, Any]) -> Any:
    instance = given.pop("tracer_instance", None)
    if given.get("tracer") is None:
        given["tracer"] = instance
    if given.get("event_type") is not None:
        given["event_type"] = _known(given["event_type"])
    attributes = given.pop("attributes", None)
    others = {name: given.pop(name) for name in given.keys() - _FIELDS}
    given["metadata"] = _merged(given.get("metadata"), attributes, others)
    return function(**given)


def _merged(*parts: Any) -> Any:
    """Return mappings as one, the later ones winning; None for none. What is no mapping is its `value`."""
    mappings = [part for part in parts if isinstance(part, Mapping)]
    others = [part for part in parts if part is not None and not isinstance(part, Mapping)]
    merged = {name: value for part in mappings for name, value in part.items()}
    if not others:
        return merged or None
    return {"value": others[-1], **merged} if merged else others[-1]


def enrich_span(attributes: Any = None, *values: Any, **more: Any) -> Enrichment:
    """Say more about the current span, as a call (true if it took it) or as a block.

    What is no argument is metadata. An `error` of None is none.
    """
    more.update(zip(_SPAN, values, strict=False))
    more["attributes"] = attributes
    more.pop("verbose", None)
    if "update_event_id" in more:
        more["event_id"] = more.pop("update_event_id")
    return _enriched(_enrich.enrich_span, more)  # type: ignore[no-any-return]  # what that returns


def enrich_session(session_id: str | None = None, *values: Any, **more: Any) -> bool:
    """Say more about the session that is under way."""
    del session_id  # there is one: that of the current trace
    more.update(zip(_SESSION, values, strict=False))
    more.pop("event_id", None)
    if lambent.current_span() is None:
        say_once("session", "enrich_session needs an open span: with @tracer.handler there is one all along")
        return False
    return bool(_enriched(_enrich.enrich_session, more))


def set_default_tracer(tracer: Any) -> None:
    """Make a tracer the one that is used where none is named; None: none."""
    lambent._default = tracer


def get_default_tracer() -> Any:
    """Return that tracer, or None."""
    return lambent._default


def clear_registry() -> None:
    """Forget it."""
    set_default_tracer(None)


def flush(tracer: Any = None, timeout_millis: float = 30000, *, tracer_instance: Any = None) -> bool:
    """Deliver what a tracer has finished, the default one if none is named."""
    tracer = tracer or tracer_instance or lambent._default
    return tracer is None or bool(tracer.force_flush(timeout_millis))


for _name in ("tracer", "tracer.otel_tracer", "tracer.decorators", "decorators", "models", "config",
              "config.models", "tracer.processing", "tracer.processing.context"):  # fmt: skip
    # The original's modules: their names all lead here.
    sys.modules[f"{__name__}.{_name}"] = sys.modules[__name__]
tracer = models = decorators = otel_tracer = config = processing = context = sys.modules[__name__]
