"""One invocation: event in, root span, response out, spans delivered.

Nothing in here may reach the user's function: whatever fails on our side is said once and the
function runs, exactly once, with its own arguments, and its result or exception comes out unchanged.
"""

from __future__ import annotations

from sys import modules
from time import monotonic

from lambent.config import trace_header
from lambent.context import CURRENT, NonRecordingSpan, SpanContext
from lambent.delivery import say_once
from lambent.span import Span
from lambent.triggers import UNKNOWN, Description, recognise
from lambent.wrapping import around, drop_own_frame, kind_of, look_like

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextvars import Token
    from types import TracebackType
    from typing import Any, ParamSpec, Self, TypeVar

    from lambent.tracer import Tracer

    P = ParamSpec("P")
    R = TypeVar("R")

__all__ = ["Invocation", "wrap"]

# A process is cold once, however many tracers and handlers it has.
_cold = True


def _goes_on_from(caller: SpanContext) -> bool:
    """Return whether a span that another tool has put around the function has this caller, and is nearer."""
    near: Any = CURRENT.get()
    if not isinstance(near, Span) or near.end_time is not None:
        return False
    while isinstance(near, Span):
        near = near._parent
    return bool(near == caller)


def _take_cold_start(initialization_type: str) -> bool:
    global _cold
    was_cold, _cold = _cold, False
    return was_cold and initialization_type != "provisioned-concurrency"


class Invocation:
    """The handling of one event, as a context manager; `tracer.handler` is made of it.

    The block runs inside the root span, which is what `with … as span` gives. At its end the
    spans are delivered in the time that the invocation has left.
    """

    _token: Token[Mapping[str, str]] | None = None
    _attached: Any = None
    _carrier: Mapping[str, str] | None = None
    _more: dict[str, Any] | None = None
    """What the root span is started with besides."""

    def __init__(
        self, tracer: Tracer, event: object, context: object, options: Mapping[str, Any] | None
    ) -> None:
        self._tracer = tracer
        self._description = UNKNOWN
        self._response: object = None
        self._has_response = False
        left: float | None
        try:
            left = context.get_remaining_time_in_millis()  # type: ignore[attr-defined]  # Lambda's context, if it is one
            # A mock's answer is no number, or none that could be, and nobody's deadline.
            left = left / 1000 if -1e9 < left < 1e9 and isinstance(left, (int, float)) else None
        except Exception:  # noqa: BLE001  # tests and other callers pass anything, None among it
            left = None
        self._left = left or 0.0
        self._deadline = None if left is None else monotonic() + left
        try:
            if "lambent.otel" in modules:
                self._attached = modules["lambent.otel"].runtime.enter()
            if left and tracer.recorder is not None:
                tracer.recorder.due = int(left * 1e9)
            self._span = self._start(event, context, options)
        except Exception as error:  # noqa: BLE001  # see the head of this module
            _say("invocation", f"an invocation is not traced ({type(error).__name__}: {error})")
            self._span = NonRecordingSpan(SpanContext(0, 0))

    @property
    def span(self) -> Span | NonRecordingSpan:
        """The root span."""
        return self._span

    def _start(
        self, event: object, context: object, options: Mapping[str, Any] | None
    ) -> Span | NonRecordingSpan:
        tracer = self._tracer
        config = tracer.config
        if options is not None:
            self._more = {**options}
            self._carrier = self._more.pop("carrier", None)
        parent: SpanContext | None = None
        try:
            self._description = description = recognise(event, context)
            if description is not UNKNOWN or self._carrier or "xray-lambda" in config.propagators:
                parent = self._origin(event, description)
        except Exception as error:  # noqa: BLE001  # whatever an event may hold, it is no reason to fail
            _say("event", f"an event could not be described ({type(error).__name__}: {error})")
            self._description = description = UNKNOWN
        described: dict[str, object] = {
            "faas.trigger": description.trigger,
            "faas.coldstart": _cold and _take_cold_start(config.initialization_type),
        }
        function: object = config.function_name
        try:
            try:
                said: Any = context
                request_id, arn, function = said.aws_request_id, said.invoked_function_arn, said.function_name
            except AttributeError:  # not Lambda's, or not all of it
                request_id, arn = (
                    getattr(context, "aws_request_id", ""),
                    getattr(context, "invoked_function_arn", ""),
                )
                function = getattr(context, "function_name", function)
            if request_id and isinstance(request_id, str):
                described["faas.invocation_id"] = request_id
            if arn and isinstance(arn, str):
                described.update(_of_arn.get(arn) or _read_arn(arn, context))
        except Exception as error:  # noqa: BLE001  # as for the event
            _say("context", f"a context could not be described ({type(error).__name__}: {error})")
        if description is not UNKNOWN:
            described.update(description.attributes)
            if description.source:
                described["lambent.trigger"] = description.source
                if description.origin:
                    described["lambent.trigger.origin"] = description.origin
        if parent is None or _goes_on_from(parent):
            current = CURRENT.get()
            # One that an earlier invocation has left current is no parent of this one.
            parent = SpanContext(0, 0) if isinstance(current, Span) and current.end_time is not None else None
        name = description.name or function or config.function_name or "invocation"
        if not isinstance(name, str):
            name = "invocation"
        if self._more is None and not tracer.says_more:
            return tracer.start_span(name, parent, description.kind, described)
        from lambent.root import start

        return start(self, event, name, parent, described)

    def _origin(self, event: object, description: Description) -> SpanContext | None:
        """Return who called, as the propagators have it; keep the baggage, and the links of a batch."""
        tracer = self._tracer
        config = tracer.config
        parent: SpanContext | None = None
        carrier = self._carrier or description.carrier
        if not carrier and len(description.records) == 1:
            carrier = description.records[0].carrier  # one message has one sender: that is who called
        environment = trace_header() if "xray-lambda" in config.propagators else ""
        if carrier or environment:
            from lambent.propagation import flat, parent_of

            if self._carrier:
                carrier = flat(carrier, every=True)
            parent, baggage = parent_of(carrier, config, tracer._sampler, environment)
            if baggage:
                from lambent.propagation.baggage import attach

                # Before the root span starts: it may say which session goes on.
                self._token = attach(baggage)
        if description.records:
            from lambent.batches import links

            self._more = more = self._more or {}
            more["links"] = links(tracer, event, description, more.get("links"))
        return parent

    def set_response(self, response: object) -> None:
        """Tell what the function answers, so that an HTTP status code reaches the span."""
        self._response = response
        self._has_response = True

    def __enter__(self) -> Self:
        span = self._span
        if type(span) is Span and span._token is None:
            span._token = CURRENT.set(span)  # as in `Span.__enter__`
        else:
            span.__enter__()
        tracer = self._tracer
        tracer.delivery.due = deadline = self._deadline
        tracer.delivery.begin(span)
        if deadline is not None:
            try:
                watchdog = tracer.watchdog or tracer._guard()
                if watchdog is not None:
                    watchdog.arm(span, deadline, self._left)
            except Exception as error:  # noqa: BLE001  # the span is current by now, and has to be left again
                _say("watchdog", f"a deadline is not watched ({type(error).__name__}: {error})")
        return self

    def __getattr__(self, name: str) -> Any:
        # The block's `as` name is used like a span: set_attribute and the others go there.
        if "_span" not in self.__dict__:  # a copy that is being made
            raise AttributeError(name)
        return getattr(self._span, name)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        tracer, span, description = self._tracer, self._span, self._description
        delivery = tracer.delivery
        if self._has_response and exc is None and (description.read_response is not None or tracer.says_more):
            try:
                self._read_response()
            except Exception as error:  # noqa: BLE001  # the response is the user's object
                _say("response", f"a response could not be read ({type(error).__name__}: {error})")
        try:
            if description.records:
                from lambent.batches import finish

                finish()
            if tracer.watchdog is not None:
                tracer.watchdog.disarm(span)
            if delivery.counter is not None:
                span.set_attribute("lambent.spans", delivery.counter.take(span) + 1)
            if delivery.untold and span.is_recording():
                delivery.untold = False
                span.set_attributes(delivery.stats().attributes())
            if isinstance(exc, Exception):
                span.set_attribute("error.type", type(exc).__qualname__)
            span.__exit__(exc_type, exc, traceback)
            if self._token is not None:
                from lambent.propagation.baggage import detach

                detach(self._token)
            if "lambent.otel" in modules:  # after all that was attached since it was told of the beginning
                modules["lambent.otel"].runtime.leave(self._attached)
            delivery.end(span, self._deadline)
        except Exception as error:  # noqa: BLE001  # see the head of this module
            _say("delivery", f"spans could not be delivered ({type(error).__name__}: {error})")

    def _read_response(self) -> None:
        config = self._tracer.config
        if config.capture in {"response", "both"}:
            from lambent.capture import payload

            self._span.set_attributes(payload(config, "response", self._response))
        read = self._description.read_response
        outcome = read(self._response) if read is not None else None
        if not outcome:
            return
        self._span.set_attributes(outcome)
        if "http/dup" in config.semconv and "http.response.status_code" in outcome:
            self._span.set_attribute("http.status_code", outcome["http.response.status_code"])
        if "error.type" in outcome:
            self._span.set_status(2)


_of_arn: dict[str, dict[str, str]] = {}
"""What the last ARN says: it is nearly always the same one."""


def _read_arn(arn: str, context: object) -> dict[str, str]:
    found = {"cloud.resource_id": arn}
    parts = arn.split(":")
    if len(parts) > 7:  # an alias, or a version: the resource is the version that runs
        version = getattr(context, "function_version", None)
        named = [version] if isinstance(version, str) and version not in {"", "$LATEST"} else []
        found = {"cloud.resource_id": ":".join([*parts[:7], *named]), "aws.lambda.invoked_arn": arn}
    if len(parts) > 4 and parts[4]:
        found["cloud.account.id"] = parts[4]
    _of_arn.clear()
    _of_arn[arn] = found
    return found


def _say(key: str, text: str) -> None:
    say_once(key, f"{text}; the function is not affected")


def _begin(
    tracer: Tracer, args: tuple[Any, ...], kwargs: Mapping[str, Any], options: Mapping[str, Any] | None
) -> Invocation | None:
    try:
        if len(args) > 2 and hasattr(args[2], "aws_request_id"):
            args = args[1:]  # those of a method: what it belongs to comes first
        event = args[0] if args else kwargs.get("event")
        context = args[1] if len(args) > 1 else kwargs.get("context")
        return Invocation(tracer, event, context, options).__enter__()
    except Exception as error:  # noqa: BLE001  # see the head of this module
        _say("invocation", f"an invocation is not traced ({type(error).__name__}: {error})")
        return None


def _fail(invocation: Invocation | None, exc: BaseException) -> None:
    if invocation is not None:
        invocation.__exit__(type(exc), exc, None)


def _succeed(invocation: Invocation | None, response: object) -> None:
    if invocation is not None:
        invocation._response = response
        invocation._has_response = True
        invocation.__exit__(None, None, None)


def wrap(tracer: Tracer, function: Callable[P, R], **root: Any) -> Callable[P, R]:
    """Return the handler with each of its calls an invocation of its own, unless they are already."""
    if getattr(function, "__dict__", {}).get("_lambent_tracer") is tracer:
        return function
    kind = kind_of(function)
    if kind == "sync" and not root:
        wrapped = look_like(_plainly(tracer, function), function)
    else:
        wrapped = around(
            function, lambda args, kwargs: _begin(tracer, args, kwargs, root or None), _fail, _succeed, kind
        )
    wrapped.__dict__["_lambent_tracer"] = tracer  # whoever wraps handlers finds this one wrapped
    return wrapped


def _plainly(tracer: Tracer, call: Callable[..., Any]) -> Callable[..., Any]:
    """Do as `around` does, for what nearly all handlers are, without the calls in between."""

    def sync(*args: Any, **kwargs: Any) -> Any:
        if len(args) != 2 or kwargs:
            invocation = _begin(tracer, args, kwargs, None)
        else:
            event, context = args
            try:
                invocation = Invocation(tracer, event, context, None)
                invocation.__enter__()
            except Exception as error:  # noqa: BLE001  # see the head of this module
                _say("invocation", f"an invocation is not traced ({type(error).__name__}: {error})")
                invocation = None
        try:
            response = call(*args, **kwargs) if kwargs or len(args) != 2 else call(event, context)
        except BaseException as exc:
            drop_own_frame(exc)
            _fail(invocation, exc)
            raise
        if invocation is not None:
            invocation._response = response
            invocation._has_response = True
            invocation.__exit__(None, None, None)
        return response

    return sync
