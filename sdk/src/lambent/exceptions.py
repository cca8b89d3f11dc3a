"""An exception in OpenTelemetry's words. Loaded when the first one is recorded."""

from __future__ import annotations

import traceback

from lambent.span import Span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambent.limits import Attributes

__all__ = ["describe", "fail", "message", "record_exception"]


def message(exception: BaseException) -> str:
    """Return the exception's text, whatever its `__str__` does."""
    try:
        return str(exception)
    except Exception:  # noqa: BLE001  # user code: anything may happen in it
        return "<exception str() failed>"


def describe(
    exception: BaseException, escaped: bool, attributes: Attributes | None = None
) -> dict[str, object]:
    """Return the attributes of the `exception` event (semantic conventions, "Exceptions on spans").

    Those given win over ours; what is no mapping is left out.
    """
    kind = type(exception)
    module = kind.__module__
    try:
        stacktrace = "".join(traceback.format_exception(exception))
    except Exception:  # noqa: BLE001  # user code runs in here: __str__, __cause__, __notes__
        stacktrace = ""
    described: dict[str, object] = {
        "exception.type": kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}",
        "exception.message": message(exception),
        "exception.stacktrace": stacktrace,
        "exception.escaped": str(escaped),
    }
    if attributes is not None:
        try:
            described.update(attributes)
        except Exception:  # noqa: BLE001  # no mapping, or one that fails
            return described
    return described


def record_exception(
    span: Span, exception: BaseException, attributes: Attributes | None, timestamp: int | None, escaped: bool
) -> None:
    """Add an `exception` event to an open span, unless it is the last one again."""
    if span._recorded_exception is not exception:
        span._recorded_exception = exception  # itself, until the end: an id is soon another's
        span._recorded = -1
        span.add_event("exception", describe(exception, escaped, attributes), timestamp)


def fail(span: Span, exception: BaseException) -> None:
    """Keep an exception that leaves a span."""
    if span._record_exception:
        span.record_exception(exception, escaped=True)
        parent = span._parent
        if isinstance(parent, Span) and parent.end_time is None and parent._tracer is span._tracer:
            parent._passed = exception
            parent._recorded = -1
    if span._set_status_on_exception:
        span.set_status(2, f"{type(exception).__name__}: {message(exception)}")
