"""An exception in OpenTelemetry's words. Loaded when the first one is recorded."""

from __future__ import annotations

import traceback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambent.limits import Attributes

__all__ = ["describe", "message"]


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
