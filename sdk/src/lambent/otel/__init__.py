"""The bridge to OpenTelemetry. Nothing in here is loaded before something of OpenTelemetry's is.

`serve` is called for the tracer that serves the API: with the first import of anything named
`opentelemetry`, or at once where that is over. Each part then loads when the module it belongs to does.
"""

from __future__ import annotations

import sys

from lambent.errors import LambentError
from lambent.hooks import when_imported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from lambent.otel.provider import Provider
    from lambent.tracer import Tracer

__all__ = ["provider_of", "serve", "span_in"]

_PARTS = {
    "opentelemetry.context": "lambent.otel.context",
    "opentelemetry.trace": "lambent.otel.provider",
    "opentelemetry.baggage": "lambent.otel.context",
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


def span_in(context: Mapping[str, object]) -> object:
    """Return the span that a context of OpenTelemetry's holds."""
    serve(None)
    part = sys.modules.get("lambent.otel.context")
    return context.get(part.runtime.span_key) if part is not None else None


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
