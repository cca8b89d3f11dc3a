"""OpenTelemetry's context over lambent's: one current span, one baggage, whoever asks.

- `lambent.context.CURRENT` says which span is current, `BAGGAGE` which entries travel. OpenTelemetry's
  current context is the one attached last, with span and entries replaced where lambent's have changed since.
- Attaching a context makes its span lambent's current one. A span of another library is current as
  `Foreign`, which carries its context and passes on what is written to it; OpenTelemetry sees the other one.
- A web framework that traces itself takes the caller that the request's headers name for its parent, or none.
  What stands between the two in Lambda is the invocation: its current span is given in the caller's place.
- While lambent exports (`SUPPRESSED` is current), a context says what OpenTelemetry's instrumentations heed.
"""

from __future__ import annotations

import sys
from _contextvars import ContextVar

from opentelemetry.context.context import Context, _RuntimeContext

from lambent.context import CURRENT, SUPPRESSED, NonRecordingSpan, adopt
from lambent.span import Span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeAlias

    from lambent.context import AnySpan

    State: TypeAlias = "tuple[Context, AnySpan | None, Mapping[str, str] | None]"

__all__ = ["Foreign", "RuntimeContext", "install", "runtime"]

_UNKNOWN: Any = object()
"""The span of a context that was attached when nobody could name one."""
_state: ContextVar[State | None] = ContextVar("lambent-otel-context", default=None)


class Foreign(NonRecordingSpan):
    """Another library's span, current in lambent."""

    __slots__ = ("foreign",)
    foreign: Any

    def get_span_context(self) -> Any:
        """Return what identifies the span elsewhere."""
        return self.foreign.get_span_context()

    def set_status(self, status: object, description: str | None = None) -> None:
        """Set how the other span ended. What is no status changes nothing."""
        from opentelemetry.trace import StatusCode

        from lambent.codes import StatusCode as Ours

        description = getattr(status, "description", description)
        try:
            code = StatusCode(int(Ours.of(getattr(status, "status_code", status))))
        except ValueError:
            return
        self.foreign.set_status(code, description)


def _passing_on(name: str) -> Callable[..., object]:
    def call(self: Foreign, *arguments: object, **keywords: object) -> object:
        result: object = getattr(self.foreign, name)(*arguments, **keywords)
        return result

    return call


for _name in ("is_recording", "set_attribute", "set_attributes", "add_event", "add_link", "update_name",
              "record_exception", "end"):  # fmt: skip
    setattr(Foreign, _name, _passing_on(_name))


def _ours(span: Any) -> AnySpan | None:
    """Return the span that lambent takes for this one; None for one that names no trace."""
    if span is None or isinstance(span, (Span, NonRecordingSpan)):
        return span
    try:
        context = span.get_span_context()
        if context is None or not context.is_valid:
            return None
        ours = Foreign(adopt(context))
    except Exception:  # noqa: BLE001  # whatever somebody has put there, it is no span
        return None
    ours.foreign = span
    return ours


class _Attached(tuple[object, ...]):
    """What `detach` needs: each variable that was set, with its token."""

    __slots__ = ()


class RuntimeContext(_RuntimeContext):
    """Where OpenTelemetry's API keeps the current context. There is one in a process."""

    span_key = baggage_key = http_key = ""
    """Under which names a context holds these; "" until the module that says so is imported."""
    baggage: ContextVar[Mapping[str, str]] | None = None
    leave_http = False
    """Whether the function's HTTP calls are not to be traced, whatever instrumentation there is."""

    def __init__(self) -> None:
        self.quiet: dict[str, object] = {}
        self._before: _RuntimeContext | None = None

    def attach(self, context: Context) -> Any:
        """Make a context current, its span and baggage with it."""
        span: Any = _UNKNOWN
        entries: Any = None
        resets: list[object] = []
        if self.span_key:
            span = _ours(context.get(self.span_key))
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
            state = Context() if self._before is None else self._before.get_current(), None, None
        context, known, entries = state
        span = CURRENT.get()
        current = entries if self.baggage is None else self.baggage.get()
        changes: dict[str, object] = {}
        if span is not known and self.span_key:
            changes[self.span_key] = span.foreign if type(span) is Foreign else span
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
        return Context(values)

    def replace(self, before: _RuntimeContext | None) -> None:
        """Take the place of another one, with what is current there."""
        self._before = before
        current = None if before is None else before.get_current()
        if current:
            self.attach(current)


runtime = RuntimeContext()


def _within_the_invocation(extract: Callable[..., Context]) -> Callable[..., Context]:
    def nearest(carrier: object, context: Context | None = None, *args: Any, **kwargs: Any) -> Context:
        extracted = extract(carrier, context, *args, **kwargs)
        span: Any = CURRENT.get()
        if context is None and isinstance(span, Span) and span.end_time is None:
            root: Any = span
            while isinstance(root._parent, Span):
                root = root._parent
            named = extracted.get(runtime.span_key)
            caller: Any = named and named.get_span_context()  # type: ignore[attr-defined]  # it is a span
            if root.attributes.get("faas.trigger") == "http" and (
                not caller
                or not caller.is_valid
                or (root.parent is not None and root.parent.span_id == caller.span_id)
            ):
                return Context({**extracted, runtime.span_key: span})
        return extracted

    nearest.__wrapped__ = extract  # type: ignore[attr-defined]  # as functools.wraps has it
    return nearest


def install(module: Any) -> None:
    """Take over from `opentelemetry.context`, or learn what `opentelemetry.baggage` keeps where."""
    if module.__name__ == "opentelemetry.propagate":
        module.extract = _within_the_invocation(module.extract)
        return
    if module.__name__ == "opentelemetry.baggage":
        from lambent.propagation.baggage import BAGGAGE

        runtime.baggage_key, runtime.baggage = module._BAGGAGE_KEY, BAGGAGE
        return
    keys = [
        getattr(module, f"_SUPPRESS_{what}INSTRUMENTATION_KEY", f"suppress_{what.lower()}instrumentation")
        for what in ("", "HTTP_")
    ]
    runtime.http_key = keys[1]
    runtime.quiet = dict.fromkeys([*keys, "suppress_instrumentation"], True)
    propagation = sys.modules.get("opentelemetry.trace.propagation")  # perhaps another thread is at it still
    runtime.span_key = getattr(propagation, "_SPAN_KEY", runtime.span_key)
    if module._RUNTIME_CONTEXT is not runtime:
        runtime.replace(module._RUNTIME_CONTEXT)
        module._RUNTIME_CONTEXT = runtime
