"""Calls of language models and of the tools they ask for, in the words of OpenTelemetry's conventions.

    with llm.call("gpt-4o", provider="openai", temperature=0.2) as call:
        response = call.response(client.chat.completions.create(...))

What a response says is read by the names that the providers use, in objects and mappings alike: OpenAI (both
APIs), Anthropic, Bedrock's Converse, Gemini, and those that are like them. Whatever else it is, is left out.
Texts and arguments are kept only where `capture` asks for them. Semantic conventions, "Generative AI".
"""

from __future__ import annotations

from time import time_ns
from weakref import ref

from lambent.enrich import named, tracer_here
from lambent.span import Span
from lambent.values import as_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Any, Self, TypeVar

    from lambent.capture import Capture

    T = TypeVar("T")

__all__ = ["Call", "Stream", "Tool", "call", "tool"]

_TOKENS = {
    "prompt_tokens": "input_tokens", "input_tokens": "input_tokens", "inputTokens": "input_tokens",
    "promptTokenCount": "input_tokens", "prompt_token_count": "input_tokens",
    "completion_tokens": "output_tokens", "output_tokens": "output_tokens", "outputTokens": "output_tokens",
    "candidatesTokenCount": "output_tokens", "candidates_token_count": "output_tokens",
    "cached_tokens": "cache_read.input_tokens", "cachedContentTokenCount": "cache_read.input_tokens",
    "cached_content_token_count": "cache_read.input_tokens",
    "reasoning_tokens": "reasoning.output_tokens", "thoughtsTokenCount": "reasoning.output_tokens",
    "thoughts_token_count": "reasoning.output_tokens",
    # Of those that count what was cached apart from the input.
    "cache_read_input_tokens": "cache_read", "cacheReadInputTokens": "cache_read",
    "cache_creation_input_tokens": "cache_creation", "cacheWriteInputTokens": "cache_creation",
}  # fmt: skip
_REASONS = frozenset({"finish_reason", "stop_reason", "stopReason", "finishReason"})
_WHO = {"model": "model", "modelVersion": "model", "model_version": "model", "id": "id", "responseId": "id",
        "response_id": "id"}  # fmt: skip
_INSIDE = frozenset({
    "choices", "message", "delta", "usage", "prompt_tokens_details", "completion_tokens_details",
    "input_tokens_details", "output_tokens_details", "output", "content", "content_block", "response",
    "contentBlockStart", "start", "contentBlockDelta", "messageStop", "metadata", "usageMetadata",
    "usage_metadata", "candidates", "parts", "tool_calls", "toolUse", "functionCall", "function_call",
    "function", "item",
})  # fmt: skip
_TEXTS = frozenset({"content", "text", "output_text"})
_CALLED = frozenset({"toolUse", "functionCall", "function_call", "function"})
_LISTED = frozenset({"tool_calls", "content", "parts", "output"})
_REQUEST = {
    **{name: name for name in ("temperature", "top_p", "top_k", "max_tokens", "frequency_penalty",
                               "presence_penalty", "seed", "stop_sequences", "stream")},
    "max_completion_tokens": "max_tokens",
    "max_output_tokens": "max_tokens",
    "stop": "stop_sequences",
    "n": "choice.count",
}  # fmt: skip


class _Read:
    """What has been read of a response, or of the parts of one so far."""

    def __init__(self, keeps: bool) -> None:
        self.keeps = keeps
        self.tokens: dict[str, int] = {}
        self.who: dict[str, str] = {}
        self.reasons: list[str] = []
        self.tools: dict[object, dict[str, str]] = {}
        self.texts: list[str] = []

    def take(self, node: Any, within: str = "", place: object = None, depth: int = 0) -> bool:
        """Read a response or a part of one; return whether there is text or a tool's call in it."""
        if isinstance(node, (list, tuple)):
            listed = within in _LISTED
            found = [
                self.take(each, within, number if listed else place, depth + 1)
                for number, each in enumerate(node)
            ]
            return any(found)
        if isinstance(node, str):
            return (within in _TEXTS or not within) and self._text(node)
        fields = node if isinstance(node, dict) else getattr(node, "__dict__", None)
        if not isinstance(fields, dict) or depth > 12:
            return False
        kind = fields.get("type")
        for index in ("index", "contentBlockIndex", "output_index"):
            place = fields.get(index, place)
        if kind == "response.completed":  # it has all that came before once more
            self.texts.clear()
            self.tools.clear()
        called = within == "tool_calls" and "name" in fields
        has_more = False
        if called or within in _CALLED or kind in {"tool_use", "function_call"}:
            self._tool(fields, place)
            has_more = True
        for key, value in fields.items():
            if key == "delta" and kind == "response.output_text.delta":
                has_more |= self._text(str(value))
            elif key in _INSIDE or key in _TEXTS:
                has_more |= self.take(value, key, place, depth + 1)
            elif value is not None:
                self._field(key, value, within, place)
        return has_more

    def _field(self, key: str, value: Any, within: str, place: object) -> None:
        if key in _TOKENS and type(value) is int:
            self.tokens[_TOKENS[key]] = value
        elif key in _REASONS:
            self.reasons.append(str(getattr(value, "value", value)))
        elif key in _WHO and within in {"", "message", "response"} and isinstance(value, str):
            self.who.setdefault(_WHO[key], value)
        elif within == "tool_calls" and key == "id":
            self.tools.setdefault(place, {})["id"] = str(value)
        elif key == "partial_json" or (key == "input" and within == "toolUse" and isinstance(value, str)):
            self._argument(place, str(value))

    def _text(self, text: str) -> bool:
        if text and self.keeps:
            self.texts.append(text)
        return bool(text)

    def _tool(self, fields: dict[str, Any], place: object) -> None:
        called = self.tools.setdefault(place, {})
        for name, names in (("id", ("call_id", "toolUseId", "id")), ("name", ("name",))):
            value = next((fields[each] for each in names if fields.get(each)), None)
            if value is not None:
                called.setdefault(name, str(value))
        for name in ("arguments", "input", "args"):
            given = fields.get(name)
            if given and isinstance(given, dict if name == "input" else (dict, str)):
                self._argument(place, as_text(given))

    def _argument(self, place: object, text: str) -> None:
        called = self.tools.setdefault(place, {})
        if self.keeps:
            called["arguments"] = called.get("arguments", "") + text

    def attributes(self, capture: Any) -> dict[str, object]:
        """Return what has been read under the names of the conventions."""
        tokens = dict(self.tokens)
        for apart in ("cache_read", "cache_creation"):
            count = tokens.pop(apart, 0)
            if count:
                tokens["input_tokens"] = tokens.get("input_tokens", 0) + count
                tokens[f"{apart}.input_tokens"] = count
        found: dict[str, object] = {f"gen_ai.usage.{name}": count for name, count in tokens.items()}
        found |= {f"gen_ai.response.{name}": value for name, value in self.who.items()}
        if self.reasons:
            found["gen_ai.response.finish_reasons"] = self.reasons
        parts: list[dict[str, object]] = []
        if capture is not None and self.texts:
            parts.append({"type": "text", "content": capture.text("".join(self.texts))})
        for called in self.tools.values():
            part: dict[str, object] = {"type": "tool_call", **called}
            arguments = part.pop("arguments", None)
            if capture is not None and arguments is not None:
                part["arguments"] = capture.text(arguments)
            parts.append(part)
        if parts:
            message = {"role": "assistant", "parts": parts}
            if self.reasons:
                message["finish_reason"] = self.reasons[-1]
            found["gen_ai.output.messages"] = as_text([message])
        return found


class _Block:
    """The span of a call, as a context manager."""

    def __init__(
        self, tracer: Any, name: str, kind: int, given: Mapping[str, object], attributes: dict[str, object]
    ) -> None:
        maker = tracer_here(tracer)
        config = maker.config
        self._clock: Callable[[], int] = getattr(maker, "clock", time_ns)
        self._capture: Capture | None = None
        self._captured = config.capture
        if config.capture != "none":
            from lambent.capture import capture_for

            self._capture = capture_for(config)
        attributes = {
            **named(config.backend == "honeyhive", given),
            **{each: value for each, value in attributes.items() if value is not None},
        }
        self.span: Any = maker.start_span(name, None, kind, attributes)

    def _keep(self, part: str, name: str, value: object) -> None:
        """Keep a content, where that is asked for."""
        if value is not None and self._capture is not None and self._captured in {part, "both"}:
            self.span.set_attribute(name, self._capture.text(value))

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
        read = self._reading()
        self._take(read, response)
        self._finish(read)
        return response

    def stream(self, parts: T) -> T:
        """Return the parts of a streaming response, sync or async, measured to the first and to the last.

        The span lasts until the last of them, also where that comes after the end of the block.
        """
        self.span.set_attribute("gen_ai.request.stream", True)
        stream = Stream(self, parts, self._reading())
        self._stream = ref(stream)  # no more: one that nobody reads any more ends at once
        return stream  # type: ignore[return-value]  # it stands for the parts

    def __exit__(self, *details: Any) -> None:
        stream = self._stream()
        if stream is not None and stream.going and details[1] is None and isinstance(self.span, Span):
            stream.ends = True
            self.span._end_on_exit = False
            self.span._recorded = -1
        super().__exit__(*details)

    def _reading(self) -> _Read:
        return _Read(self._captured in {"response", "both"})

    def _take(self, read: _Read, part: object) -> bool:
        try:
            return read.take(part)
        except Exception as error:  # noqa: BLE001  # an object of the user's, and no reason to fail
            from lambent.diagnostics import say_once

            say_once("llm", f"a response could not be read ({type(error).__name__}: {error})")
            return False

    def _finish(self, read: _Read) -> None:
        self.span.set_attributes(read.attributes(self._capture if read.keeps else None))


class Stream:
    """The parts of a response, passed on. What else their source can do is passed on too."""

    def __init__(self, call: Call, parts: Any, read: _Read) -> None:
        self._call = call
        self._parts = parts
        self._manager: Any = None  # what gave the parts when it was entered
        self._source: Any = None
        self._read = read
        self._count = 0
        self._token = False
        self._seconds = 0.0
        self.going = True
        self.ends = False
        """Whether the block is over, so that the span ends here."""

    def __iter__(self) -> Self:
        return self

    __aiter__ = __iter__

    def __next__(self) -> Any:
        if self._source is None:
            self._source = iter(self._parts)
        try:
            part = next(self._source)
        except BaseException as exc:
            self._done(None if isinstance(exc, StopIteration) else exc)
            raise
        return self._passed(part)

    async def __anext__(self) -> Any:
        if self._source is None:
            self._source = aiter(self._parts)
        try:
            part = await anext(self._source)
        except BaseException as exc:
            self._done(None if isinstance(exc, StopAsyncIteration) else exc)
            raise
        return self._passed(part)

    def close(self) -> Any:
        """Close the source, which may be something to await."""
        self._done(None)
        return self._parts.close()

    def __enter__(self) -> Self:
        self._manager, self._parts = self._parts, self._parts.__enter__()
        return self

    def __exit__(self, *details: object) -> Any:
        self._done(details[1])  # type: ignore[arg-type]  # the exception, or None
        return self._manager.__exit__(*details)

    async def __aenter__(self) -> Self:
        self._manager, self._parts = self._parts, await self._parts.__aenter__()
        return self

    async def __aexit__(self, *details: object) -> Any:
        self._done(details[1])  # type: ignore[arg-type]  # the exception, or None
        return await self._manager.__aexit__(*details)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parts, name)

    def __del__(self) -> None:
        if self.__dict__.get("going"):
            self._done(None)

    def _passed(self, part: Any) -> Any:
        span = self._call.span
        self._seconds = max(0.0, (self._call._clock() - getattr(span, "start_time", 0)) / 1e9)
        if not self._count:
            span.set_attribute("gen_ai.response.time_to_first_chunk", self._seconds)
        self._count += 1
        if self._call._take(self._read, part) and not self._token:
            self._token = True
            span.set_attribute("lambent.llm.time_to_first_token", self._seconds)
        return part

    def _done(self, exc: BaseException | None) -> None:
        if not self.going:
            return
        self.going = False
        span = self._call.span
        self._call._finish(self._read)
        if self._count:
            span.set_attribute("lambent.llm.time_to_last_chunk", self._seconds)
        span.set_attribute("lambent.llm.chunks", self._count)
        if self.ends:
            if exc is not None and not isinstance(exc, GeneratorExit):
                span.set_attribute("error.type", type(exc).__qualname__)
                span.fail(exc)
            span.end()


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
    the names of the conventions, other plain values as `config`. `messages` are kept where `capture` asks.
    """
    attributes: dict[str, object] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": provider,
        "gen_ai.request.model": model,
    }
    others: dict[str, object] = {}
    for name, value in request.items():
        if name in _REQUEST:
            one = name == "stop" and isinstance(value, str)
            attributes[f"gen_ai.request.{_REQUEST[name]}"] = [value] if one else value
        elif isinstance(value, (str, int, float)):
            others[name] = value
    name = f"{operation} {model}"
    given = {"event_type": "model", "event_name": name, "config": others}
    made = Call(tracer, name, 2, given, attributes)
    made._keep("request", "gen_ai.input.messages", messages)
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
