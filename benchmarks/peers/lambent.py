"""lambent by its README: `lambent.init()` outside the handler, `@tracer.handler` around it."""

from __future__ import annotations

import os

from benchmarks.worker.work import ATTRIBUTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Handler = Callable[[object, object], object]

tracer: Any = None


def start(function: Handler) -> Handler:
    """Every default feature on; only where the spans go is said, by the standard variables."""
    delivery = os.environ["BENCH_DELIVERY"]
    if delivery in ("collector", "async"):
        os.environ["OTEL_TRACES_EXPORTER"] = "otlp"
        os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = os.environ["BENCH_ENDPOINT"]

    import lambent

    global tracer  # noqa: PLW0603 - a worker is one process with one tool in it
    tracer = lambent.init(exporter=_discard()) if delivery == "discard" else lambent.init()
    handler: Handler = tracer.handler(function)
    return handler


def _discard() -> Any:
    """An exporter that drops what it is given."""
    from lambent.exporters import Exporter, Result

    class Discard(Exporter):
        def export(self, spans: Any, timeout: float) -> Result:  # noqa: ARG002 - the interface
            return Result(ok=True)

        def close(self) -> None:
            """Holds nothing."""

    return Discard()


def spans(count: int) -> None:
    """One root and its children, five attributes each."""
    with tracer.trace("bench.root", attributes=ATTRIBUTES):
        for _ in range(count - 1):
            with tracer.trace("bench.span", attributes=ATTRIBUTES):
                pass


def children() -> None:
    """The five spans inside the handler's."""
    with tracer.trace("bench.load", attributes=ATTRIBUTES):
        with tracer.trace("bench.query", attributes=ATTRIBUTES):
            pass
        with tracer.trace("bench.parse", attributes=ATTRIBUTES):
            pass
    with tracer.trace("bench.price", attributes=ATTRIBUTES), tracer.trace("bench.tax", attributes=ATTRIBUTES):
        pass


def flush() -> None:
    """Deliver everything finished so far."""
    tracer.force_flush()


def recording() -> bool:
    """A span really holds what it is given."""
    with tracer.trace("check", attributes=ATTRIBUTES) as span:
        return bool(span.is_recording() and dict(span.attributes) == ATTRIBUTES)
