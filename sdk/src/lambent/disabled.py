"""The tracer of a function whose tracing is switched off: it records nothing and changes nothing."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Any, Self, TypeVar

    from lambent.config import Config
    from lambent.otel.provider import Provider
    from lambent.resource import Resource
    from lambent.stats import Stats

    F = TypeVar("F", bound=Callable[..., object])

__all__ = ["DisabledTracer"]


class _DisabledSpan:
    """A span that is nobody's: accepts everything, keeps nothing, is never current."""

    __slots__ = ()

    def is_recording(self) -> bool:
        """Return False."""
        return False

    def get_span_context(self) -> object:
        """Return a context that names no span."""
        from lambent.context import SpanContext

        return SpanContext(0, 0)

    context = property(get_span_context)

    @property
    def span(self) -> Self:
        """Itself, as an invocation gives its root span."""
        return self

    def _ignore(self, *args: object, **kwargs: object) -> None:
        """Keep nothing."""

    set_attribute = set_attributes = add_event = add_link = set_status = _ignore
    update_name = record_exception = end = set_response = _ignore

    def __call__(self, function: F) -> F:
        return function

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass


_SPAN = _DisabledSpan()


class DisabledTracer:
    """The methods of `lambent.Tracer`, doing nothing."""

    whole = None

    _provider: Provider | None = None

    def __init__(self, config: Config) -> None:
        self.config = config

    def start_span(self, *args: object, **kwargs: object) -> _DisabledSpan:
        """Return a span that keeps nothing."""
        return _SPAN

    trace = start_as_current_span = invocation = process = start_span

    def records(self, event: object, name: str | None = None) -> Iterator[Any]:
        """Give the records of an event."""
        from lambent.batches import records

        return records(self, event, name)  # type: ignore[arg-type]  # what is needed of a tracer, it has

    def batch_handler(self, function: Any = None, **names: Any) -> Any:
        """Make a function for one record a Lambda handler for batches: what it answers is not tracing."""
        from lambent.batches import decorate

        return decorate(self, function, **names)  # type: ignore[arg-type]  # as above

    def handler(self, function: F) -> F:
        """Return the handler as it is."""
        return function

    @property
    def resource(self) -> Resource:
        """Who would make the spans."""
        from lambent import __version__
        from lambent.resource import detect

        return detect(self.config, __version__)

    @property
    def provider(self) -> Provider:
        """A provider of OpenTelemetry's API whose tracers make spans that keep nothing."""
        from lambent.otel import provider_of

        return provider_of(self)  # type: ignore[arg-type]  # it has the methods of a tracer

    def force_flush(self, timeout_millis: float | None = None) -> bool:
        """Return True: there is nothing to deliver."""
        return True

    def stats(self) -> Stats:
        """Return an account of no spans."""
        from lambent.stats import Stats

        return Stats()

    def close(self) -> None:
        """Do nothing but stop being the default tracer."""
        from lambent import _forget

        _forget(self)
