"""What application code says of its spans: kinds of events, and values under the backend's names.

One place decides on names. With the backend `honeyhive` they are that product's (`honeyhive_metadata.*`),
else `lambent.*`, and where OpenTelemetry's conventions for generative AI know a value, its name there too.
"""

from __future__ import annotations

from enum import StrEnum

import lambent
from lambent.context import CURRENT, NonRecordingSpan, SpanContext
from lambent.errors import ConfigError
from lambent.span import Span
from lambent.values import as_text, flatten

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Any, Protocol, TypeVar

    from lambent.context import AnySpan
    from lambent.tracer import Tracer

    T_co = TypeVar("T_co", covariant=True)

    class Enters(Protocol[T_co]):
        """A block of `with`."""

        def __enter__(self) -> T_co: ...


__all__ = [
    "Block",
    "Enrichment",
    "EventType",
    "enrich_session",
    "enrich_span",
    "event_type_of",
    "named",
    "says_error",
    "tracer_here",
    "tracer_of",
    "typed",
]


class EventType(StrEnum):
    """What kind of work a span stands for."""

    model = "model"
    tool = "tool"
    chain = "chain"
    session = "session"
    generic = "generic"


_REQUEST = (
    "model", "temperature", "top_p", "top_k", "max_tokens", "frequency_penalty", "presence_penalty", "seed",
)  # fmt: skip
_DOUBLES = frozenset({"temperature", "top_p", "top_k", "frequency_penalty", "presence_penalty"})
_USAGE = {
    "prompt_tokens": "input_tokens",
    "completion_tokens": "output_tokens",
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
}
_GEN_AI = {
    "lambent.config.provider": "gen_ai.provider.name",
    **{f"lambent.config.{name}": f"gen_ai.request.{name}" for name in _REQUEST},
    **{
        f"lambent.{group}.{name}": f"gen_ai.usage.{standard}"
        for group in ("metadata", "metrics")
        for name, standard in _USAGE.items()
    },
}
_OPERATIONS = {
    "model": ("chat", ""),
    "tool": ("execute_tool", "gen_ai.tool.name"),
    "chain": ("invoke_workflow", "gen_ai.workflow.name"),
}
"""Semantic conventions, "Generative AI": the operation, and what the event's name is there."""


def event_type_of(given: object) -> str:
    """Return the word for a kind of event, given as one of ours, as text or as another library's member.

    Raises ConfigError for what is none.
    """
    word = getattr(given, "value", given)
    if isinstance(word, str) and word.lower() in EventType.__members__:
        return word.lower()
    from difflib import get_close_matches

    near = get_close_matches(str(word).lower(), EventType.__members__, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? It is" if near else "it is"
    raise ConfigError(f"there is no event type {as_text(word)[:40]!r}; {hint} one of {', '.join(EventType)}")


def typed(name: str, value: object) -> object:
    """Return what a model is asked with as the conventions want it: some whole numbers are none there."""
    return float(value) if name in _DOUBLES and isinstance(value, int) else value


def named(honeyhive: bool, given: Mapping[str, object]) -> dict[str, object]:
    """Return values by what they are (`metadata`, `inputs`, `event_type` …) as attributes."""
    prefix = "honeyhive_" if honeyhive else "lambent."
    attributes: dict[str, object] = {}
    for name, value in given.items():
        if isinstance(value, BaseException):
            attributes[prefix + name] = f"{type(value).__name__}: {as_text(value)}"
        else:
            try:
                flatten(attributes, prefix + name, value)
            except Exception:  # noqa: BLE001  # a mapping of the user's that fails: the others go on
                attributes[prefix + name] = f"<{type(value).__name__}>"
    if not honeyhive:
        for name in list(attributes):
            if name in _GEN_AI:
                attributes[_GEN_AI[name]] = typed(name.rpartition(".")[2], attributes[name])
        operation, name = _OPERATIONS.get(str(given.get("event_type")), ("", ""))
        if operation:
            attributes["gen_ai.operation.name"] = operation
            if name and given.get("event_name"):
                attributes[name] = given["event_name"]
    return attributes


def says_error(value: object) -> bool:
    """Whether what is given as `error` is one: an empty text and False say that there was none."""
    return isinstance(value, BaseException) or bool(value)


def tracer_of(given: Any) -> Tracer | None:
    """Return the tracer that is meant by one, by a part of one or by its provider; None for None."""
    tracer = given if given is None or hasattr(given, "config") else getattr(given, "_tracer", None)
    if tracer is None and given is not None:
        from lambent.diagnostics import say_once

        what = type(given).__name__
        say_once("tracer", f"tracer= takes a tracer of lambent's and got a {what}: the current one is used")
    return getattr(tracer, "whole", None) or tracer


def tracer_here(given: Any = None) -> Tracer:
    """Return the tracer that is given, else that of the current span, else the default one."""
    tracer = given and tracer_of(given)
    tracer = tracer or getattr(CURRENT.get(), "_tracer", None) or lambent._default or lambent.get_tracer()
    return getattr(tracer, "whole", None) or tracer


def _names_of(span: object) -> bool:
    """Whether values for a span go under HoneyHive's names."""
    tracer = getattr(span, "_tracer", None) or lambent._default
    return tracer is not None and tracer.config.backend == "honeyhive"


def _current_of(tracer: object) -> AnySpan | None:
    """Return the innermost active span, of one tracer if any is named."""
    span: Any = CURRENT.get()
    tracer = tracer_of(tracer)
    if tracer is not None:
        # One tracer may have several faces, one for each scope: what they share is where the spans go.
        wanted = getattr(tracer, "delivery", tracer)
        while isinstance(span, Span) and span._tracer.delivery is not wanted:
            span = span._parent
        maker = getattr(span, "_tracer", None)
        if maker is not None and maker.delivery is not wanted:
            return None
    return span if hasattr(span, "set_attributes") else None


def _give(span: AnySpan | None, given: Mapping[str, object]) -> bool:
    """Put the values on a span; return whether it took them."""
    if span is None or not span.is_recording():
        return False
    error = given.get("error")
    if error is not None and not says_error(error):
        error = None
        given = {name: value for name, value in given.items() if name != "error"}
    span.set_attributes(named(_names_of(span), given))
    if error is not None:
        if isinstance(error, BaseException):
            span.record_exception(error)
        span.set_status(2, as_text(error))
    return True


class Block:
    """What is a block of `with`, and so of `async with`, too."""

    async def __aenter__(self: Enters[T_co]) -> T_co:
        return self.__enter__()

    async def __aexit__(self: Any, *details: object) -> None:
        self.__exit__(*details)


class Enrichment(Block, int):
    """What `enrich_span` returns: equal to True where a span took the values; and a block to go with them."""

    _enters: Any = None
    _span: Any = None

    def __enter__(self) -> Any:
        """Return the span: a child of its own where the values have an `event_name`, else the current one."""
        if self._enters is not None:
            self._span = self._enters().__enter__()
            return self._span
        return self._span if self._span is not None else NonRecordingSpan(SpanContext(0, 0))

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._enters is not None:
            self._span.__exit__(exc_type, exc, traceback)

    def __repr__(self) -> str:
        return repr(bool(self))


def enrich_span(
    metadata: object = None,
    *,
    metrics: object = None,
    feedback: object = None,
    inputs: object = None,
    outputs: object = None,
    config: object = None,
    error: object = None,
    event_id: str | None = None,
    user_properties: object = None,
    event_type: object = None,
    event_name: str | None = None,
    tracer: object = None,
) -> Enrichment:
    """Say more about the current span, or about a part of it.

    As a call the values go to the current span (that of `tracer`, where one is given), and the result is true
    if there was one. In a `with` statement with `event_name` they go to a span of the block's own, a child of
    the current one. `error`, a text or an exception, marks the span as failed. Never raises.
    """
    given = {name: value for name, value in locals().items() if value is not None and name != "tracer"}
    try:
        if event_type is not None:
            given["event_type"] = event_type_of(event_type)
        if event_name is None:
            span = _current_of(tracer)
            result = Enrichment(_give(span, given))
            result._span = span
            return result
        maker: Any = tracer_here(tracer)

        def enters() -> Any:
            span = maker.start_span(event_name)
            _give(span, given)
            return span

        result = Enrichment(True)
        result._enters = enters
    except Exception as failure:  # noqa: BLE001  # what is said of the work must not break the work
        from lambent.diagnostics import say_once

        say_once("enrich", f"enrich_span failed ({type(failure).__name__}: {failure})")
        return Enrichment(False)
    return result


def enrich_session(
    metadata: object = None,
    *,
    metrics: object = None,
    feedback: object = None,
    inputs: object = None,
    outputs: object = None,
    config: object = None,
    error: object = None,
    user_properties: object = None,
    tracer: object = None,
) -> bool:
    """Say more about the session: its values go to the outermost open span of the trace in this process.

    That span stands for the session at the backend; nothing is sent for this. Returns whether there was one.
    """
    given = {name: value for name, value in locals().items() if value is not None and name != "tracer"}
    try:
        span: Any = _current_of(tracer)
        while isinstance(getattr(span, "_parent", None), Span) and (
            span._parent._tracer.delivery is span._tracer.delivery
        ):
            span = span._parent
        return _give(span, given)
    except Exception as failure:  # noqa: BLE001  # as above
        from lambent.diagnostics import say_once

        say_once("enrich", f"enrich_session failed ({type(failure).__name__}: {failure})")
        return False
