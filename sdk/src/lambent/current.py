"""What `start_as_current_span` returns. Loaded with the first one."""

from __future__ import annotations

from lambent.span import Span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Any, ParamSpec, TypeVar

    from lambent.context import AnySpan, NonRecordingSpan
    from lambent.tracer import Tracer

    P = ParamSpec("P")
    R = TypeVar("R")

__all__ = ["CurrentSpan", "decorate"]


class CurrentSpan:
    """What `start_as_current_span` returns: a context manager, and a decorator."""

    __slots__ = ("_arguments", "_end_on_exit", "_span", "_tracer")

    def __init__(self, tracer: Tracer, end_on_exit: bool, arguments: Mapping[str, object]) -> None:
        self._tracer = tracer
        self._end_on_exit = end_on_exit
        self._arguments = arguments
        self._span: AnySpan | None = None

    def __enter__(self) -> Span | NonRecordingSpan:
        span = self._tracer.start_span(**self._arguments)  # type: ignore[arg-type]  # its own arguments
        if not self._end_on_exit and isinstance(span, Span):
            span._end_on_exit = False
            span._recorded = -1
        self._span = span
        return span.__enter__()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        span, self._span = self._span, None
        if span is not None:
            span.__exit__(exc_type, exc, traceback)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Return the function with each of its calls in a span of its own."""
        return decorate(function, lambda: CurrentSpan(self._tracer, self._end_on_exit, self._arguments))


def decorate(function: Callable[P, R], block: Callable[[], Any]) -> Callable[P, R]:
    """Return the function with each of its calls in a `with` block of its own."""
    from lambent.wrapping import around

    def begin(_args: object, _kwargs: object) -> Any:
        made = block()
        made.__enter__()
        return made

    def fail(made: Any, exc: BaseException) -> None:
        made.__exit__(type(exc), exc, None)

    def succeed(made: Any, _response: object) -> None:
        made.__exit__(None, None, None)

    return around(function, begin, fail, succeed)
