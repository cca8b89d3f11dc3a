"""Propagators of other packages, by OpenTelemetry's entry point `opentelemetry_propagator`.

Loaded only when `OTEL_PROPAGATORS` names one that is not built in; with it comes OpenTelemetry's API.
"""

from __future__ import annotations

from lambent.context import SpanContext, adopt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping
    from typing import Any

__all__ = ["extract", "inject", "propagator"]

_loaded: dict[str, Any] = {}


def propagator(name: str) -> Any:
    """Return the propagator that an installed package has under this name, None without one."""
    if name not in _loaded:
        _loaded[name] = None
        from importlib.metadata import entry_points

        try:
            for point in entry_points(group="opentelemetry_propagator", name=name):
                _loaded[name] = point.load()()
            reason = "no installed package provides it"
        except Exception as error:  # noqa: BLE001  # another package's code
            reason = f"it cannot be loaded ({type(error).__name__}: {error})"
        if _loaded[name] is None:
            from lambent.propagation import KNOWN

            _say(name, f"{reason}; built in are {', '.join(KNOWN)} and none")
    return _loaded[name]


def _say(name: str, text: str) -> None:
    from lambent.diagnostics import say_once

    say_once(f"propagator {name}", f"propagator {name!r}: {text}")


def extract(name: str, carrier: Mapping[str, str]) -> SpanContext | None:
    """Return the context that this propagator finds in a flat carrier, None without one."""
    found = propagator(name)
    if found is None:
        return None
    try:
        from opentelemetry.context import Context
        from opentelemetry.trace import get_current_span

        context = adopt(get_current_span(found.extract(carrier, Context())).get_span_context())
    except Exception as error:  # noqa: BLE001  # another package's code
        _say(name, f"it fails ({type(error).__name__}: {error})")
        return None
    return context if context.is_valid else None


def inject(name: str, context: SpanContext, carrier: MutableMapping[str, str]) -> None:
    """Have this propagator write the context into a carrier."""
    found = propagator(name)
    if found is None:
        return
    try:
        from opentelemetry import trace
        from opentelemetry.context import Context

        state = trace.TraceState(list(context.trace_state.items()))
        flags = trace.TraceFlags(context.trace_flags)
        theirs = trace.SpanContext(context.trace_id, context.span_id, context.is_remote, flags, state)
        found.inject(carrier, trace.set_span_in_context(trace.NonRecordingSpan(theirs), Context()))
    except Exception as error:  # noqa: BLE001  # another package's code
        _say(name, f"it fails ({type(error).__name__}: {error})")
