"""AWS X-Ray's SDK in Lambda: subsegments below Lambda's own segment, each sent to the daemon as it closes."""

from __future__ import annotations

import os

from benchmarks.worker.work import ATTRIBUTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Handler = Callable[[object, object], object]

recorder: Any = None


def start(function: Handler) -> Handler:
    """Import the global recorder; a `capture` around the handler is the sixth subsegment."""
    from aws_xray_sdk.core import xray_recorder  # type: ignore[import-untyped] # only in its own environment

    global recorder  # noqa: PLW0603 - a worker is one process with one tool in it
    recorder = xray_recorder
    if os.environ["BENCH_DELIVERY"] == "discard":
        recorder.configure(emitter=_Discard())

    def handler(event: object, context: object) -> object:
        with recorder.in_subsegment("handler") as subsegment:
            _annotate(subsegment)
            return function(event, context)

    return handler


class _Discard:
    """An emitter that drops what it is given."""

    def send_entity(self, entity: object) -> None:
        """Drop it."""

    def set_daemon_address(self, address: object) -> None:
        """Needs none."""


def _annotate(subsegment: Any) -> None:
    put = subsegment.put_annotation
    for key, value in ATTRIBUTES.items():
        put(key, value)


def spans(count: int) -> None:
    """One root and its children, five annotations each."""
    with recorder.in_subsegment("bench.root") as root:
        _annotate(root)
        for _ in range(count - 1):
            with recorder.in_subsegment("bench.span") as subsegment:
                _annotate(subsegment)


def children() -> None:
    """The five subsegments inside the handler's."""
    with recorder.in_subsegment("bench.load") as load:
        _annotate(load)
        with recorder.in_subsegment("bench.query") as query:
            _annotate(query)
        with recorder.in_subsegment("bench.parse") as parse:
            _annotate(parse)
    with recorder.in_subsegment("bench.price") as price:
        _annotate(price)
        with recorder.in_subsegment("bench.tax") as tax:
            _annotate(tax)


def flush() -> None:
    """Nothing waits: each subsegment was sent as it closed."""


def recording() -> bool:
    """A subsegment really holds what it is given."""
    with recorder.in_subsegment("check") as subsegment:
        _annotate(subsegment)
        return bool(subsegment.sampled and subsegment.annotations == ATTRIBUTES)
