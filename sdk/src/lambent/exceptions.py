"""An exception in OpenTelemetry's words. Loaded when the first one is recorded."""

from __future__ import annotations

import traceback

__all__ = ["describe", "message"]


def message(exception: BaseException) -> str:
    """Return the exception's text, whatever its `__str__` does."""
    try:
        return str(exception)
    except Exception:  # noqa: BLE001  # user code: anything may happen in it
        return "<exception str() failed>"


def describe(exception: BaseException, escaped: bool) -> dict[str, object]:
    """Return the attributes of the `exception` event (semantic conventions, "Exceptions on spans")."""
    kind = type(exception)
    module = kind.__module__
    try:
        stacktrace = "".join(traceback.format_exception(exception))
    except Exception:  # noqa: BLE001  # user code runs in here: __str__, __cause__, __notes__
        stacktrace = ""
    return {
        "exception.type": kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}",
        "exception.message": message(exception),
        "exception.stacktrace": stacktrace,
        "exception.escaped": str(escaped),
    }
