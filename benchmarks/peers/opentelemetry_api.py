"""OpenTelemetry's API alone: what instrumented libraries cost a function that installs no SDK."""

from __future__ import annotations

from benchmarks.worker.work import ATTRIBUTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Handler = Callable[[object, object], object]

tracer: Any = None


def start(function: Handler) -> Handler:
    """Import the API and get a tracer, which records nothing."""
    from opentelemetry import trace

    global tracer  # noqa: PLW0603 - a worker is one process with one tool in it
    tracer = trace.get_tracer("bench")

    def handler(event: object, context: object) -> object:
        with tracer.start_as_current_span("handler", attributes=ATTRIBUTES):
            return function(event, context)

    return handler


def spans(count: int) -> None:
    """Spans that record nothing."""
    for _ in range(count):
        with tracer.start_as_current_span("bench.span", attributes=ATTRIBUTES):
            pass


def children() -> None:
    """The five spans inside the handler's, recording nothing."""
    spans(5)


def flush() -> None:
    """Nothing to deliver."""


def recording() -> bool:
    """It does not record."""
    return False
