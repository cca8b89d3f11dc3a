"""Those that are told of each span as it starts and ends, in order. Loaded when there is one.

`Tracer._watch` is for lambent's own use: what is called here runs in the middle of the function's code,
so it is quick and does not raise.
"""

from __future__ import annotations

from lambent.limits import NO_SHAPES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lambent.span import Span
    from lambent.tracer import Tracer

__all__ = ["ends", "starts", "watch"]


def watch(
    tracer: Tracer,
    on_start: Callable[[Span, object], object] | None,
    on_end: Callable[[Span], None] | None,
) -> None:
    """Have these called for a tracer's spans, after those that are called already."""
    if on_start is not None:
        tracer._watching_starts += (on_start,)
        tracer.shapes = NO_SHAPES
        tracer.on_start = starts(tracer._watching_starts)
    if on_end is not None:
        tracer._watching_ends += (on_end,)
        tracer.straight = None
        deliver = ends(tracer._watching_ends, tracer.delivery.on_end)
        if tracer.recorder is None:
            tracer.on_end = deliver
        else:  # what it does comes first
            tracer.recorder.deliver = deliver


def starts(watchers: tuple[Callable[[Span, object], object], ...]) -> Callable[[Span, object], object]:
    """Return one function that calls each with a started span and the context it was started in."""
    if len(watchers) == 1:
        return watchers[0]

    def on_start(span: Span, context: object) -> None:
        for watcher in watchers:
            if watcher(span, context):
                return  # the recorder was made just now, and has told them all

    return on_start


def ends(
    watchers: tuple[Callable[[Span], None], ...], deliver: Callable[[Span], None]
) -> Callable[[Span], None]:
    """Return one function that calls each with a finished span, and then hands it to delivery."""
    if len(watchers) == 1:
        (only,) = watchers

        def on_end_one(span: Span) -> None:
            only(span)
            deliver(span)

        return on_end_one

    def on_end(span: Span) -> None:
        for watcher in watchers:
            watcher(span)
        deliver(span)

    return on_end
