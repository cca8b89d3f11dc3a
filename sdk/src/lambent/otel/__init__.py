"""The bridge to OpenTelemetry. Nothing in here is loaded before something of OpenTelemetry's is.

`serve` is called for the tracer that serves the API: with the first import of anything named
`opentelemetry`, or at once where that is over. Each part then loads when the module it belongs to does.
"""

from __future__ import annotations

import sys

from lambent.context import NonRecordingSpan, adopt
from lambent.errors import LambentError
from lambent.hooks import when_imported
from lambent.span import Span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from lambent.context import AnySpan, SpanContext
    from lambent.otel.provider import Provider
    from lambent.tracer import Tracer

__all__ = ["parent_in", "provider_of", "serve"]

_PARTS = {
    "opentelemetry.context": "lambent.otel.context",
    "opentelemetry.trace": "lambent.otel.provider",
    "opentelemetry.baggage": "lambent.otel.context",
    "opentelemetry.propagate": "lambent.otel.context",
}
_asked: set[str] = set()


def serve(tracer: Tracer | None) -> None:
    """Have OpenTelemetry's API find this tracer; None: the default one, once the API is there."""
    if not _asked:
        _asked.update(_PARTS)
        for name in _PARTS:
            when_imported(name, _load)
    loaded = sys.modules.get("lambent.otel.provider")
    if loaded is not None and tracer is not None:
        loaded.serve(tracer)


def _load(module: ModuleType) -> None:
    part = __import__(_PARTS[module.__name__], fromlist=["install"])
    part.install(module)


def parent_in(context: Any) -> AnySpan | SpanContext | None:
    """Return the parent that a context, a span or a span context of OpenTelemetry's names, if any."""
    try:
        if isinstance(context, dict):
            serve(None)
            part = sys.modules.get("lambent.otel.context")
            context = context.get(part.runtime.span_key) if part is not None else None
        if context is None or isinstance(context, (Span, NonRecordingSpan)):
            return context
        get_span_context = getattr(context, "get_span_context", None)
        foreign: Any = get_span_context() if callable(get_span_context) else context
        return adopt(foreign) if foreign.is_valid else None
    except Exception as error:  # noqa: BLE001  # another library's object: no reason for a function to fail
        from lambent.diagnostics import say_once

        say_once("parent", f"a context of {type(context).__name__} cannot be read: {type(error).__name__}")
        return None


def provider_of(tracer: Tracer) -> Provider:
    """Return the provider of OpenTelemetry's API that makes the tracer's spans: always the same one.

    Raises LambentError where that API is not installed.
    """
    try:
        import opentelemetry.trace  # noqa: F401  # the bridge's own modules come with it
    except ImportError as error:
        raise LambentError(
            "tracer.provider is for instrumentations of OpenTelemetry's: pip install opentelemetry-api"
        ) from error
    serve(None)
    from lambent.otel.provider import Provider

    provider: Provider = tracer.__dict__.setdefault("_provider", Provider(tracer))
    return provider
