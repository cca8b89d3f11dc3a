"""Calls of language models and of the tools they ask for, in the words of OpenTelemetry's conventions.

    with llm.call("gpt-4o", provider="openai", temperature=0.2) as call:
        response = call.response(client.chat.completions.create(...))

What a response says is read by `lambent.gen_ai`. Messages, arguments and results are kept only where
`capture` asks for them. Semantic conventions, "Generative AI".
"""

from __future__ import annotations

from time import time_ns
from weakref import ref

from lambent.enrich import Block, named, tracer_here, typed
from lambent.gen_ai import Reading, Stream
from lambent.span import Span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Any, Self, TypeVar

    T = TypeVar("T")

__all__ = ["Call", "Stream", "Tool", "call", "tool"]

_REQUEST = {
    **{name: f"request.{name}" for name in (
        "temperature", "top_p", "top_k", "max_tokens", "frequency_penalty", "presence_penalty", "seed",
        "stop_sequences", "stream", "encoding_formats")},
    "max_completion_tokens": "request.max_tokens",
    "max_output_tokens": "request.max_tokens",
    "stop": "request.stop_sequences",
    "n": "request.choice.count",
    "encoding_format": "request.encoding_formats",
    "dimensions": "embeddings.dimension.count",
}  # fmt: skip
_LISTS = frozenset({"request.stop_sequences", "request.encoding_formats"})


_CONTENTS = {
    **dict.fromkeys(("input", "prompt", "contents"), "input.messages"),
    **dict.fromkeys(("system", "instructions"), "system_instructions"),
    "tools": "tool.definitions",
}
"""What a model is asked with that is not about how it answers: kept only where that is asked for."""


class _Block(Block):
    """The span of a call, as a context manager."""

    def __init__(
        self, tracer: Any, name: str, kind: int, given: Mapping[str, object], attributes: dict[str, object]
    ) -> None:
        maker = tracer_here(tracer)
        config = maker.config
        self._config: Any = config
        self._clock: Callable[[], int] = getattr(maker, "clock", time_ns)
        attributes = {
            **named(config.backend == "honeyhive", given),
            **{each: value for each, value in attributes.items() if value is not None},
        }
        self.span: Any = maker.start_span(name, None, kind, attributes)

    def _keep(self, part: str, name: str, value: object) -> None:
        """Keep a content, where that is asked for."""
        if value is not None and self._config.capture in {part, "both"}:
            from lambent.capture import capture_for

            self.span.set_attribute(name, capture_for(self._config).text(value))

    def __enter__(self) -> Self:
        self.span.__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc_type is not None:
            self.span.set_attribute("error.type", exc_type.__qualname__)
        self.span.__exit__(exc_type, exc, traceback)


class Call(_Block):
    """The call of a model. Get one from `call`."""

    _stream: Callable[[], Stream | None] = staticmethod(lambda: None)

    def response(self, response: T) -> T:
        """Keep what a response says of itself: model, tokens, finish reasons, tool calls. Returns it."""
        reading = Reading(self._config)
        reading.see(response)
        self.span.set_attributes(reading.attributes())
        return response

    def stream(self, parts: T) -> T:
        """Return the parts of a streaming response, sync or async, measured to the first and to the last.

        The span lasts until the last of them, also where that comes after the end of the block.
        """
        stream = Stream(self.span, parts, Reading(self._config), self._clock)
        self._stream = ref(stream)  # no more: one that nobody reads any more ends at once
        return stream  # type: ignore[return-value]  # it stands for the parts

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        stream = self._stream()
        if stream is not None and stream.going and exc is None and isinstance(self.span, Span):
            stream.ends = True
            self.span._end_on_exit = False
            self.span._recorded = -1
        super().__exit__(exc_type, exc, traceback)


class Tool(_Block):
    """The run of a tool. Get one from `tool`."""

    def result(self, value: T) -> T:
        """Keep what the tool answers, where `capture` asks for it. Returns it."""
        self._keep("response", "gen_ai.tool.call.result", value)
        return value


def call(
    model: str,
    *,
    operation: str = "chat",
    provider: str | None = None,
    messages: object = None,
    tracer: object = None,
    **request: object,
) -> Call:
    """Trace the call of a model: a span of kind CLIENT, named `chat gpt-4o`, as a context manager.

    `request` is what the model is asked with: `temperature`, `max_tokens`, `top_p`, `seed`, `stop` … under
    the names of the conventions, other plain values as `config`. `messages` are kept where `capture` asks,
    and so are `input`, `prompt`, `system`, `instructions` and `tools`.
    """
    attributes: dict[str, object] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": provider,
        "gen_ai.request.model": model,
    }
    contents = {name: request.pop(name) for name in _CONTENTS if name in request}
    others: dict[str, object] = {}
    for name, value in request.items():
        if name in _REQUEST:
            standard = _REQUEST[name]
            one = standard in _LISTS and isinstance(value, str)
            attributes[f"gen_ai.{standard}"] = [value] if one else typed(name, value)
        elif isinstance(value, (str, int, float)):
            others[name] = value
    name = f"{operation} {model}"
    given = {"event_type": "model", "event_name": name, "config": others}
    made = Call(tracer, name, 2, given, attributes)
    if messages is not None or contents:
        from lambent.conversation import conversation

        for name, value in {**contents, "messages": messages}.items():
            kind = _CONTENTS.get(name, "input.messages")
            if value is not None:
                made._keep("request", f"gen_ai.{kind}", conversation(value, kind))
    return made


def tool(
    name: str,
    *,
    call_id: str | None = None,
    arguments: object = None,
    description: str | None = None,
    tracer: object = None,
) -> Tool:
    """Trace the run of a tool that a model asked for: `execute_tool get_weather`, as a context manager."""
    attributes: dict[str, object] = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": name,
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.id": call_id,
        "gen_ai.tool.description": description,
    }
    made = Tool(tracer, f"execute_tool {name}", 0, {"event_type": "tool", "event_name": name}, attributes)
    made._keep("request", "gen_ai.tool.call.arguments", arguments)
    return made
