"""What language models answer, whole or in parts, in the words of OpenTelemetry's conventions.

A response is read by the names that the providers use, in objects and mappings alike: OpenAI (both APIs),
Anthropic, Bedrock's Converse, Gemini, and those that are like them. Whatever else it is, is left out. Texts
and arguments are kept only where `capture` asks for them. Semantic conventions, "Generative AI".
"""

from __future__ import annotations

from lambent.context import CURRENT
from lambent.span import Span
from lambent.values import as_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self

    from lambent.capture import Capture
    from lambent.config import Config

__all__ = ["Reading", "Stream", "answering", "streaming"]

_TOKENS = {
    "prompt_tokens": "input_tokens", "input_tokens": "input_tokens", "inputTokens": "input_tokens",
    "promptTokenCount": "input_tokens", "prompt_token_count": "input_tokens",
    "completion_tokens": "output_tokens", "output_tokens": "output_tokens", "outputTokens": "output_tokens",
    "candidatesTokenCount": "output_tokens", "candidates_token_count": "output_tokens",
    "cached_tokens": "cache_read.input_tokens", "cachedContentTokenCount": "cache_read.input_tokens",
    "cached_content_token_count": "cache_read.input_tokens",
    "reasoning_tokens": "reasoning.output_tokens",
    # Of those that count what was cached apart from the input, and what was thought apart from the output.
    "thoughtsTokenCount": "reasoning", "thoughts_token_count": "reasoning",
    "cache_read_input_tokens": "cache_read", "cacheReadInputTokens": "cache_read",
    "cache_creation_input_tokens": "cache_creation", "cacheWriteInputTokens": "cache_creation",
}  # fmt: skip
_APART = {"cache_read": "input_tokens", "cache_creation": "input_tokens", "reasoning": "output_tokens"}
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
_CHOICES = frozenset({"choices", "candidates"})


class _Choice:
    """One of the answers to a request: there are several where several were asked for."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.tools: dict[object, dict[str, str]] = {}
        self.reason = ""


class Reading:
    """What has been read of a response, or of the parts of one so far."""

    def __init__(self, config: Config) -> None:
        self.capture: Capture | None = None
        if config.capture in {"response", "both"}:
            from lambent.capture import capture_for

            self.capture = capture_for(config)
        self.tokens: dict[str, int] = {}
        self.who: dict[str, str] = {}
        self.choices: dict[object, _Choice] = {}

    def see(self, part: object) -> bool:
        """Read a response or a part of one, whatever it is; return whether text or a tool's call is in it."""
        try:
            return self.take(part)
        except Exception as error:  # noqa: BLE001  # an object of the user's, and no reason to fail
            from lambent.diagnostics import say_once

            say_once("llm", f"a response could not be read ({type(error).__name__}: {error})")
            return False

    def take(
        self, node: Any, within: str = "", place: object = None, depth: int = 0, choice: object = 0
    ) -> bool:
        """Do it. `within` is the name under which the node stands, `place` its number among tools' calls."""
        if isinstance(node, (list, tuple)):
            listed, chosen = within in _LISTED, within in _CHOICES
            found = [
                self.take(each, within, number if listed else place, depth + 1, number if chosen else choice)
                for number, each in enumerate(node)
            ]
            return any(found)
        if isinstance(node, str):
            return (within in _TEXTS or not within) and self._text(choice, node)
        fields = node if isinstance(node, dict) else getattr(node, "__dict__", None)
        if not isinstance(fields, dict) or depth > 12:
            return False
        kind = fields.get("type")
        if within in _CHOICES:
            choice = fields.get("index", choice)
        for index in ("index", "contentBlockIndex", "output_index"):
            place = fields.get(index, place)
        if not within and isinstance(kind, str) and self._is_known(kind, fields):
            return self.take(fields.get("chunk"))
        called = within == "tool_calls" and "name" in fields
        has_more = False
        if called or within in _CALLED or kind in {"tool_use", "function_call"}:
            self._tool(fields, choice, place)
            has_more = True
        for key, value in fields.items():
            if key == "delta" and kind == "response.output_text.delta":
                has_more |= self._text(choice, str(value))
            elif key == "delta" and kind == "response.function_call_arguments.delta":
                self._field("partial_json", value, within, (choice, place))
            elif key in _INSIDE or key in _TEXTS:
                has_more |= self.take(value, key, place, depth + 1, choice)
            elif value is not None:
                self._field(key, value, within, (choice, place))
        return has_more

    def _is_known(self, kind: str, fields: dict[str, Any]) -> bool:
        """Return whether an event says what others have said, but for the part that may be its `chunk`."""
        if kind != "error" and ("response" in fields or "message" in fields):
            self.choices.clear()  # it has all that came before once more, if there was anything
        if kind.endswith((".done", "_block_stop")):
            return True
        # What the clients' helpers make of parts; those of the Responses API they only add to.
        return "snapshot" in fields and not kind.startswith("response.")

    def _choice(self, number: object) -> _Choice:
        return self.choices.setdefault(number, _Choice())

    def _field(self, key: str, value: Any, within: str, where: tuple[object, object]) -> None:
        choice, place = where
        if key in _TOKENS and type(value) is int:
            self.tokens[_TOKENS[key]] = value
        elif key in _REASONS:
            self._choice(choice).reason = str(getattr(value, "value", value))
        elif key in _WHO and within in {"", "message", "response"} and isinstance(value, str):
            self.who.setdefault(_WHO[key], value)
        elif within == "tool_calls" and key == "id" and value:  # later parts may have an empty one
            self._choice(choice).tools.setdefault(place, {})["id"] = str(value)
        elif key == "partial_json" or (key == "input" and within == "toolUse" and isinstance(value, str)):
            self._argument(self._choice(choice).tools.setdefault(place, {}), str(value))

    def _text(self, choice: object, text: str) -> bool:
        if text and self.capture is not None:
            self._choice(choice).texts.append(text)
        return bool(text)

    def _tool(self, fields: dict[str, Any], choice: object, place: object) -> None:
        called = self._choice(choice).tools.setdefault(place, {})
        for name, names in (("id", ("call_id", "toolUseId", "id")), ("name", ("name",))):
            value = next((fields[each] for each in names if fields.get(each)), None)
            if value is not None:
                called.setdefault(name, str(value))
        for name in ("arguments", "input", "args"):
            given = fields.get(name)
            if given and isinstance(given, dict if name == "input" else (dict, str)):
                self._argument(called, as_text(given))

    def _argument(self, called: dict[str, str], text: str) -> None:
        if self.capture is not None:
            called["arguments"] = called.get("arguments", "") + text

    def attributes(self) -> dict[str, object]:
        """Return what has been read under the names of the conventions."""
        tokens = dict(self.tokens)
        for apart, whole in _APART.items():
            count = tokens.pop(apart, 0)
            if count:
                tokens[whole] = tokens.get(whole, 0) + count
                tokens[f"{apart}.{whole}"] = count
        found: dict[str, object] = {f"gen_ai.usage.{name}": count for name, count in tokens.items()}
        found |= {f"gen_ai.response.{name}": value for name, value in self.who.items()}
        reasons = [choice.reason for choice in self.choices.values() if choice.reason]
        if reasons:
            found["gen_ai.response.finish_reasons"] = reasons
        messages = [message for choice in self.choices.values() for message in self._message(choice)]
        if messages:
            found["gen_ai.output.messages"] = as_text(messages)
        return found

    def _message(self, choice: _Choice) -> list[dict[str, object]]:
        """Return a choice as the conventions have it; nothing of one in which nothing may be kept."""
        parts: list[dict[str, object]] = []
        if self.capture is not None and choice.texts:
            parts.append({"type": "text", "content": self.capture.text("".join(choice.texts))})
        for called in choice.tools.values():
            part: dict[str, object] = {"type": "tool_call", **called}
            arguments = called.get("arguments")
            if self.capture is not None and arguments is not None:
                from lambent.conversation import parsed

                part["arguments"] = self.capture.clean(parsed(arguments))
            parts.append(part)
        message: dict[str, object] = {"role": "assistant", "parts": parts}
        if choice.reason:
            message["finish_reason"] = choice.reason
        return [message] if parts else []


class Stream:
    """The parts of a response, passed on and measured. What else their source can do is passed on too."""

    def __init__(self, span: Any, parts: Any, reading: Reading, clock: Any) -> None:
        self._span = span
        self._parts = parts
        self._manager: Any = None  # what gave the parts when it was entered
        self._source: Any = None
        self._reading = reading
        self._clock = clock
        self._count = 0
        self._token = False
        self._seconds = 0.0
        self.going = True
        self.ends = False
        """Whether the span ends here: the block around it is over."""

    def __iter__(self) -> Self:
        return self

    __aiter__ = __iter__

    def __next__(self) -> Any:
        if self._source is None:
            self._source = iter(self._parts)
        return self._step(next, self._source)

    def send(self, value: Any) -> Any:
        """Send a value into a generator."""
        return self._step(self._parts.send, value)

    def throw(self, *details: Any) -> Any:
        """Throw an exception into a generator."""
        return self._step(self._parts.throw, *details)

    def close(self) -> Any:
        """Close the source, which may be something to await."""
        self._done(None)
        return self._parts.close()

    def __anext__(self) -> Any:
        if self._source is None:
            self._source = aiter(self._parts)
        return self._step_async(self._source.__anext__)

    def asend(self, value: Any) -> Any:
        """Send a value into an async generator."""
        return self._step_async(self._parts.asend, value)

    def athrow(self, *details: Any) -> Any:
        """Throw an exception into an async generator."""
        return self._step_async(self._parts.athrow, *details)

    def aclose(self) -> Any:
        """Close an async generator."""
        self._done(None)
        return self._parts.aclose()

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
        if name == "_parts":  # of a copy that is just being made
            raise AttributeError(name)
        return getattr(self._parts, name)

    def __del__(self) -> None:
        if self.__dict__.get("going"):
            self._done(None)

    def _step(self, step: Any, *arguments: Any) -> Any:
        try:
            part = step(*arguments)
        except BaseException as exc:
            self._done(None if isinstance(exc, StopIteration) else exc)
            raise
        return self._passed(part)

    async def _step_async(self, step: Any, *arguments: Any) -> Any:
        try:
            part = await step(*arguments)
        except BaseException as exc:
            self._done(None if isinstance(exc, StopAsyncIteration) else exc)
            raise
        return self._passed(part)

    def _passed(self, part: Any) -> Any:
        span = self._span
        self._seconds = max(0.0, (self._clock() - getattr(span, "start_time", 0)) / 1e9)
        if not self._count:
            span.set_attribute("gen_ai.response.time_to_first_chunk", self._seconds)
        self._count += 1
        if self._reading.see(part) and not self._token:
            self._token = True
            span.set_attribute("lambent.llm.time_to_first_token", self._seconds)
        return part

    def _done(self, exc: BaseException | None) -> None:
        if not self.going:
            return
        self.going = False
        span = self._span
        if not span.is_recording():
            return
        span.set_attribute("gen_ai.request.stream", True)
        span.set_attributes(self._reading.attributes())
        if self._count:
            span.set_attribute("lambent.llm.time_to_last_chunk", self._seconds)
        span.set_attribute("lambent.llm.chunks", self._count)
        if self.ends:
            if exc is not None and not isinstance(exc, GeneratorExit):
                span.set_attribute("error.type", type(exc).__qualname__)
                span.fail(exc)
            span.end()


def answering(succeed: Callable[[Any, object], None]) -> Callable[[Any, object], None]:
    """Return what a decorator does with a model's response: it is read first."""

    def answered(state: Any, response: object) -> None:
        span = state[0] if type(state) is tuple else state
        if type(span) is Span and response is not None:
            reading = Reading(span._tracer.config)
            reading.see(response)
            span.set_attributes(reading.attributes())
        succeed(state, response)

    return answered


def streaming(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a generator function, which gives a model's parts, with the parts measured on its span."""

    def parts(*args: Any, **kwargs: Any) -> Any:
        source, span = function(*args, **kwargs), CURRENT.get()
        if type(span) is not Span:
            return source
        return Stream(span, source, Reading(span._tracer.config), span._tracer.clock)

    return parts
