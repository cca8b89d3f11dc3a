"""HoneyHive's SDK by its README: `HoneyHiveTracer.init`, `start_span`, a flush at the end of the handler.

Its server is the benchmark's, on loopback. Where nothing may be exported its documented test mode is on.
"""

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
    """One tracer for the environment's life, made outside the handler."""
    from honeyhive import HoneyHiveTracer  # type: ignore[import-not-found] # only in its own environment

    global tracer  # noqa: PLW0603 - a worker is one process with one tool in it
    tracer = HoneyHiveTracer.init(
        api_key="bench",
        project="bench",
        source="bench",
        server_url=os.environ["BENCH_ENDPOINT"],
        disable_http_tracing=True,
        test_mode=os.environ["BENCH_DELIVERY"] == "discard",
    )

    def handler(event: object, context: object) -> object:
        try:
            with tracer.start_span("handler", attributes=ATTRIBUTES):
                return function(event, context)
        finally:
            tracer.force_flush()

    return handler


def spans(count: int) -> None:
    """One root and its children, five attributes each."""
    with tracer.start_span("bench.root", attributes=ATTRIBUTES):
        for _ in range(count - 1):
            with tracer.start_span("bench.span", attributes=ATTRIBUTES):
                pass


def children() -> None:
    """The five spans inside the handler's."""
    with tracer.start_span("bench.load", attributes=ATTRIBUTES):
        with tracer.start_span("bench.query", attributes=ATTRIBUTES):
            pass
        with tracer.start_span("bench.parse", attributes=ATTRIBUTES):
            pass
    with (
        tracer.start_span("bench.price", attributes=ATTRIBUTES),
        tracer.start_span("bench.tax", attributes=ATTRIBUTES),
    ):
        pass


def flush() -> None:
    """Deliver everything finished so far."""
    tracer.force_flush()


def recording() -> bool:
    """A span really holds what it is given."""
    with tracer.start_span("check", attributes=ATTRIBUTES) as span:
        held = dict(span.attributes)
        return bool(span.is_recording() and all(held.get(key) == value for key, value in ATTRIBUTES.items()))
