"""Tracing for AWS Lambda functions at a cost nobody notices.

    import lambent

    tracer = lambent.init()

    @tracer.handler
    def handler(event, context):
        with tracer.trace("load order"):
            ...

Importing this loads nothing else: each public name is found when it is first used.
"""

from __future__ import annotations

import sys

__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambent import carriers, exporters, llm, logging, propagation, sampling, testing, wire
    from lambent.carriers import extract, inject
    from lambent.codes import SpanKind, Status, StatusCode
    from lambent.config import Config
    from lambent.context import NonRecordingSpan, SpanContext, current_span
    from lambent.decorators import atrace, trace, trace_class
    from lambent.delivery.processors import SpanProcessor
    from lambent.enrich import EventType, enrich_session, enrich_span
    from lambent.errors import ConfigError, LambentError
    from lambent.limits import Limits
    from lambent.otel.provider import Provider
    from lambent.parts import Link
    from lambent.span import Span
    from lambent.tracer import Tracer

__all__ = [
    "ConfigError",
    "EventType",
    "LambentError",
    "Limits",
    "Link",
    "NonRecordingSpan",
    "Span",
    "SpanContext",
    "SpanKind",
    "SpanProcessor",
    "Status",
    "StatusCode",
    "Tracer",
    "__version__",
    "atrace",
    "carriers",
    "current_span",
    "enrich_session",
    "enrich_span",
    "exporters",
    "extract",
    "get_tracer",
    "init",
    "inject",
    "llm",
    "logging",
    "propagation",
    "sampling",
    "testing",
    "trace",
    "trace_class",
    "wire",
]

_HOMES = {
    "ConfigError": "errors",
    "EventType": "enrich",
    "LambentError": "errors",
    "Limits": "limits",
    "Link": "parts",
    "NonRecordingSpan": "context",
    "Span": "span",
    "SpanContext": "context",
    "SpanKind": "codes",
    "SpanProcessor": "delivery.processors",
    "Status": "codes",
    "StatusCode": "codes",
    "Tracer": "tracer",
    "atrace": "decorators",
    "carriers": "",
    "current_span": "context",
    "enrich_session": "enrich",
    "enrich_span": "enrich",
    "exporters": "",
    "extract": "carriers",
    "inject": "carriers",
    "llm": "",
    "logging": "",
    "propagation": "",
    "sampling": "",
    "testing": "",
    "trace": "decorators",
    "trace_class": "decorators",
    "wire": "",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'lambent' has no attribute {name!r}")
    if home:
        module = __import__(f"lambent.{home}", fromlist=[name])
        found: object = getattr(module, name)
    else:
        found = __import__(f"lambent.{name}", fromlist=["__name__"])
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)


_default: Tracer | None = None
_provisional: Tracer | None = None
"""One that `lambent.wrapper` made for want of another: the next takes its place."""


def init(**arguments: object) -> Tracer:
    """Return a new tracer. Makes no network call.

    Every argument has an environment variable as its twin; the reference lists both. The first
    tracer, or the one made with `set_global=True`, is what `get_tracer()` returns.

    Raises ConfigError for an argument that does not exist or cannot be right. Whatever else goes
    wrong is said once on stderr, and the function runs untraced.
    """
    from lambent.config import read  # bundled

    return _start(read(arguments))


def _start(config: Config) -> Tracer:
    global _default  # noqa: PLW0603  # which tracer is the default one is a matter of the process
    if config.log_correlation or config.log_events:
        from lambent.logging import install

        # Also when disabled: a log format that names the ids must not fail for that.
        install(config.log_events or None)
    if config.disabled:
        from lambent.disabled import DisabledTracer

        # It has the methods of a tracer without loading one: switched off should cost nothing.
        tracer: Tracer = DisabledTracer(config)  # type: ignore[assignment]
    else:
        from lambent.tracer import Tracer as RecordingTracer  # bundled

        tracer = RecordingTracer(config)
    if _default is None or _default is _provisional or config.set_global:
        _default = tracer
        if not config.disabled:
            _serve(tracer)
    if config.cold_start_canary:
        from lambent.root import canary

        canary(tracer)
    if config.instrument and not config.disabled:
        from lambent.instrument import start

        start(tracer)
    return tracer


def _serve(tracer: Tracer) -> None:
    """Have OpenTelemetry's API find the tracer: now if there is one, else once there is."""
    if "opentelemetry" in sys.modules:
        from lambent.otel import serve

        serve(tracer)
    elif _Waiting not in sys.meta_path:
        sys.meta_path.insert(0, _Waiting)


class _Waiting:
    """Stands on the import path until something named opentelemetry is imported; finds nothing itself."""

    @staticmethod
    def find_spec(name: str, *_: object) -> None:
        if name == "opentelemetry":
            sys.meta_path.remove(_Waiting)
            from lambent.otel import serve

            serve(None)


def get_tracer() -> Tracer:
    """Return the default tracer, made with `init()` if there is none yet."""
    return init() if _default is None else _default


def _forget(tracer: object) -> None:
    """Make a closed tracer no longer the default one, nor the one that OpenTelemetry's API finds."""
    global _default  # noqa: PLW0603  # see `init`
    if _default is tracer:
        _default = None
    provider: Provider | None = getattr(tracer, "_provider", None)
    if provider is not None:
        provider.leave()


# In the wheel the finder of bundled modules follows: docs/design/hot-set.md
