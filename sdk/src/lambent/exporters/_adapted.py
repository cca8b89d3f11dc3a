"""An exporter of the user's whose `export` takes spans and no time. Loaded when one is given."""

from __future__ import annotations

from lambent.delivery.again import understood
from lambent.delivery.bounded import Bounded, LateError
from lambent.exporters import Exporter, Result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from lambent.span import Span

__all__ = ["UntimedExporter", "takes_time"]


def takes_time(export: Any) -> bool:
    """Return whether it can be called with spans and a time."""
    from inspect import signature

    try:
        signature(export).bind((), 1.0)
    except TypeError:
        return False
    except ValueError:  # it does not say
        return True
    return True


class UntimedExporter(Exporter):
    """Hands batches to something with `export(spans)`. The time is kept here: what is late goes on."""

    def __init__(self, exporter: Any) -> None:
        self._exporter = exporter
        self._bounded = Bounded()
        self._name = type(exporter).__name__

    def export(self, spans: Sequence[Span], timeout: float) -> Result:
        """Export the spans within `timeout` seconds. Raises what the exporter raises."""
        try:
            answer = self._bounded.call(self._exporter.export, timeout, spans)
        except LateError as error:
            reason = f"{self._name}: {error}"
            return Result(False, len(spans), 0, reason, again=not error.called, unconfirmed=error.called)
        return answer if isinstance(answer, Result) else understood(answer, len(spans))

    def close(self) -> None:
        """Close the exporter, if it can be."""
        end = getattr(self._exporter, "close", None) or getattr(self._exporter, "shutdown", None)
        if end is not None:
            end()

    def __repr__(self) -> str:
        return f"UntimedExporter({self._exporter!r})"
