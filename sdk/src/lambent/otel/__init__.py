"""The bridge to OpenTelemetry. Nothing in here is loaded before something of OpenTelemetry's is.

`serve` is called for the tracer that serves the API: with the first import of anything named
`opentelemetry`, or at once where that is over. Each part then loads when the module it belongs to does.

There is one current span and one baggage, whoever asks:

- `lambent.context.CURRENT` says which span is current, `BAGGAGE` which entries travel. OpenTelemetry's
  current context is the one attached last, with span and entries replaced where lambent's have changed since.
- Attaching a context makes its span lambent's current one. A span of another library is current as
  `Foreign`, which carries its context and passes on what is written to it; OpenTelemetry sees the other one.
- While lambent exports (`SUPPRESSED` is current), a context says what OpenTelemetry's instrumentations heed.
"""

from __future__ import annotations

import sys
from _contextvars import ContextVar
from _thread import allocate_lock
from os import register_at_fork

from lambent.context import CURRENT, SUPPRESSED, NonRecordingSpan, adopt
from lambent.hooks import when_imported
from lambent.span import Span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TypeAlias

    from opentelemetry.context.context import Context, _RuntimeContext

    from lambent.context import AnySpan, SpanContext
    from lambent.otel.provider import Provider
    from lambent.tracer import Tracer

    State: TypeAlias = "tuple[Context, AnySpan | None, Mapping[str, str] | None]"

__all__ = ["RuntimeContext", "parent_in", "provider_of", "runtime", "serve"]

# Baggage before the context, where both are loaded: entries that are current already are found with it.
_PARTS = ("opentelemetry.baggage", "opentelemetry.context", "opentelemetry.trace", "opentelemetry.propagate")
_gate = allocate_lock()
_asked: set[str] = set()
_UNKNOWN: Any = object()
"""The span of a context that was attached when nobody could name one."""
_state: ContextVar[State | None] = ContextVar("lambent-otel-context", default=None)


def _renew() -> None:
    global _gate  # noqa: PLW0603  # a forked child has not the thread that may hold it
    _gate = allocate_lock()


register_at_fork(after_in_child=_renew)


class _Attached(tuple[object, ...]):
    """What `detach` needs: each variable that was set, with its token."""

    __slots__ = ()


class RuntimeContext:  # a class under the API's abstract one takes ten times as long to make
    """Where OpenTelemetry's API keeps the current context. There is one in a process."""

    span_key = baggage_key = http_key = ""
    """Under which names a context holds these; "" until the module that says so is imported."""
    make: Any = dict
    """What a context is made with."""
    baggage: ContextVar[Mapping[str, str]] | None = None
    feeds = False
    """Whether another SDK serves the API, and what the API gave away before goes on there."""
    leave_http = False
    """Whether the function's HTTP calls are not to be traced, whatever instrumentation there is."""

    def __init__(self) -> None:
        self.quiet: dict[str, object] = {}
        self._before: _RuntimeContext | None = None

    def attach(self, context: Context | None) -> Any:
        """Make a context current, its span and baggage with it; None changes nothing."""
        if context is None:
            context = self.get_current()
        span: Any = _UNKNOWN
        entries: Any = None
        resets: list[object] = []
        if self.span_key:
            span = context.get(self.span_key)
            if span is not None and not isinstance(span, (Span, NonRecordingSpan)):
                from lambent.otel.foreign import current_for

                span = current_for(span)
            resets.append((CURRENT, CURRENT.set(span)))
        if self.baggage is not None:
            entries = context.get(self.baggage_key)
            entries = entries if isinstance(entries, dict) else {}
            resets.append((self.baggage, self.baggage.set(entries)))
        return _Attached([(_state, _state.set((context, span, entries))), *resets])

    def detach(self, token: Any) -> None:
        """Make the context current that was before an `attach`. Raises as `ContextVar.reset` does."""
        if type(token) is _Attached:
            pair: Any
            for pair in token:
                pair[0].reset(pair[1])
        elif self._before is None:
            raise ValueError(f"{token!r} is no token of an attach")
        else:  # attached before lambent was there
            self._before.detach(token)
            self.attach(self._before.get_current())

    def get_current(self) -> Context:
        """Return the current context."""
        state = _state.get()
        if state is None:
            state = self.make() if self._before is None else self._before.get_current(), None, None
        context, known, entries = state
        span = CURRENT.get()
        current = entries if self.baggage is None else self.baggage.get()
        changes: dict[str, object] = {}
        if span is not known and self.span_key:
            changes[self.span_key] = getattr(span, "foreign", span)
            if span is SUPPRESSED:
                changes.update(self.quiet)
        if current is not entries and (current or entries):
            changes[self.baggage_key] = dict(current or {})
        if self.leave_http and self.http_key not in context:
            changes[self.http_key] = True
        if not changes:
            return context
        values = {**context, **changes}
        if span is None:
            values.pop(self.span_key, None)
        made: Context = self.make(values)
        return made

    def now(self) -> tuple[Any, Any]:
        """Return what `back` needs."""
        return _state.get(), self.baggage and self.baggage.get()

    def back(self, before: tuple[Any, Any]) -> None:
        """Undo what was attached since `now`, but for the span, and never detached."""
        state, entries = before
        if _state.get() is not state:
            _state.set(state)
            if self.baggage is not None and entries is not None:
                self.baggage.set(entries)

    def enter(self) -> Any:
        """Begin an invocation: what its function leaves attached is not the next one's."""
        return self.attach(self.get_current())

    def leave(self, attached: Any) -> None:
        """End one. `attached` is None if the bridge was loaded in it: then nothing was attached before."""
        try:
            if attached is None:
                _state.set(None)
            else:
                self.detach(attached)
        except (ValueError, RuntimeError):  # closed in another context than it was opened in
            return

    def replace(self, before: _RuntimeContext | None) -> None:
        """Take the place of another one, with what is current there."""
        self._before = before
        current = None if before is None else before.get_current()
        if current:
            self.attach(current)


runtime = RuntimeContext()


def serve(tracer: Tracer | None) -> None:
    """Have OpenTelemetry's API find this tracer; None: the default one, once the API is there."""
    if not _asked:
        _asked.update(_PARTS)
        for name in _PARTS:
            when_imported(name, _load)
    loaded = sys.modules.get("lambent.otel.provider")
    if loaded is not None and tracer is not None:
        loaded.serve(tracer)


def _load(module: Any) -> None:
    """Join a module of the API that has just been imported."""
    if module.__name__ == "opentelemetry.trace":
        from lambent.otel.provider import install

        install(module)
        return
    if module.__name__ == "opentelemetry.propagate":
        from lambent.otel.foreign import within_the_invocation

        module.extract = within_the_invocation(module.extract)
        return
    if module.__name__ == "opentelemetry.baggage":
        from lambent.propagation.baggage import BAGGAGE

        runtime.baggage_key, runtime.baggage = module._BAGGAGE_KEY, BAGGAGE
        return
    keys = [
        getattr(module, f"_SUPPRESS_{what}INSTRUMENTATION_KEY", f"suppress_{what.lower()}instrumentation")
        for what in ("", "HTTP_")
    ]
    runtime.make, runtime.http_key = module.Context, keys[1]
    runtime.quiet = dict.fromkeys([*keys, "suppress_instrumentation"], True)
    propagation = sys.modules.get("opentelemetry.trace.propagation")  # perhaps another thread is at it still
    runtime.span_key = getattr(propagation, "_SPAN_KEY", runtime.span_key)
    if module._RUNTIME_CONTEXT is not runtime:
        runtime.replace(module._RUNTIME_CONTEXT)
        module._RUNTIME_CONTEXT = runtime


def parent_in(context: Any) -> AnySpan | SpanContext | None:
    """Return the parent that a context, a span or a span context of OpenTelemetry's names, if any."""
    try:
        if isinstance(context, dict):
            serve(None)
            context = context.get(runtime.span_key)
        if context is None or isinstance(context, (Span, NonRecordingSpan)):
            return context
        get_span_context = getattr(context, "get_span_context", None)
        foreign: Any = get_span_context() if callable(get_span_context) else context
        return adopt(foreign) if foreign.is_valid else None
    except Exception as error:  # noqa: BLE001  # another library's object: no reason for a function to fail
        from lambent.diagnostics import say_once

        say_once("parent", f"a context of {type(context).__name__} cannot be read: {type(error).__name__}")
        return None


def provider_of(tracer: Tracer) -> Provider:
    """Return the provider of OpenTelemetry's API that makes the tracer's spans: always the same one.

    Raises LambentError where that API is not installed.
    """
    try:
        import opentelemetry.trace  # noqa: F401  # the bridge's own modules come with it
    except ImportError as error:
        from lambent.errors import LambentError

        raise LambentError(
            "tracer.provider is for instrumentations of OpenTelemetry's: pip install opentelemetry-api"
        ) from error
    serve(None)
    from lambent.otel.provider import Provider

    with _gate:
        if tracer._provider is None:
            tracer._provider = Provider(tracer)
    return tracer._provider
