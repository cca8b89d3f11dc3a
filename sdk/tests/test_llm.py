"""Language models: what is read of their responses, and streams measured from end to end."""

from __future__ import annotations

import asyncio
import copy
import gc
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lambent
from lambent import llm
from lambent.compat.lambda_otel_lite import TelemetryCompletionHandler
from lambent.testing import RecordingTracer, recording_tracer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

USAGE = {"gen_ai.usage.input_tokens": 12, "gen_ai.usage.output_tokens": 5}
CALLS = [{"type": "tool_call", "id": "call-1", "name": "weather"}]

OPENAI_CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o-2024",
    "choices": [
        {
            "index": 0,
            "finish_reason": "tool_calls",
            "message": {
                "role": "assistant",
                "content": "let me see",
                "tool_calls": [
                    {
                        "id": "call-1",
                        "type": "function",
                        "function": {"name": "weather", "arguments": '{"city": "Ulm"}'},
                    }
                ],
            },
        }
    ],
    "usage": {
        "prompt_tokens": 12,
        "completion_tokens": 5,
        "total_tokens": 17,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 2},
    },
}
OPENAI_RESPONSES = {
    "id": "resp-1",
    "object": "response",
    "created_at": 1,
    "model": "gpt-4o-2024",
    "output": [
        {
            "type": "message",
            "id": "m",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "let me see", "annotations": []}],
        },
        {
            "type": "function_call",
            "id": "fc",
            "call_id": "call-1",
            "name": "weather",
            "arguments": '{"city": "Ulm"}',
        },
    ],
    "usage": {"input_tokens": 12, "output_tokens": 5, "total_tokens": 17},
}
ANTHROPIC = {
    "id": "msg-1",
    "model": "claude-3",
    "role": "assistant",
    "stop_reason": "tool_use",
    "content": [
        {"type": "text", "text": "let me see"},
        {"type": "tool_use", "id": "call-1", "name": "weather", "input": {"city": "Ulm"}},
    ],
    "usage": {"input_tokens": 2, "output_tokens": 5, "cache_read_input_tokens": 10},
}
BEDROCK = {
    "output": {
        "message": {
            "role": "assistant",
            "content": [
                {"text": "let me see"},
                {"toolUse": {"toolUseId": "call-1", "name": "weather", "input": {"city": "Ulm"}}},
            ],
        }
    },
    "stopReason": "tool_use",
    "usage": {"inputTokens": 12, "outputTokens": 5, "totalTokens": 17},
}
GEMINI = {
    "responseId": "g-1",
    "modelVersion": "gemini-2",
    "candidates": [
        {
            "content": {
                "role": "model",
                "parts": [
                    {"text": "let me see"},
                    {"functionCall": {"id": "call-1", "name": "weather", "args": {"city": "Ulm"}}},
                ],
            },
            "finishReason": "STOP",
        }
    ],
    "usageMetadata": {"promptTokenCount": 12, "candidatesTokenCount": 5},
}
RESPONSES = {
    "openai": (OPENAI_CHAT, "chatcmpl-1", "gpt-4o-2024", ["tool_calls"]),
    "openai responses": (OPENAI_RESPONSES, "resp-1", "gpt-4o-2024", None),
    "anthropic": (ANTHROPIC, "msg-1", "claude-3", ["tool_use"]),
    "bedrock": (BEDROCK, None, None, ["tool_use"]),
    "gemini": (GEMINI, "g-1", "gemini-2", ["STOP"]),
}


def objects(value: Any) -> Any:
    """The same as objects with attributes."""
    if isinstance(value, list):
        return [objects(each) for each in value]
    if not isinstance(value, dict):
        return value
    made = type("Made", (), {})()
    # A tool's input is a mapping in the clients' objects, too.
    made.__dict__.update({name: each if name == "input" else objects(each) for name, each in value.items()})
    return made


@pytest.fixture
def tracer(monkeypatch: pytest.MonkeyPatch) -> RecordingTracer:
    made = recording_tracer()
    monkeypatch.setattr(lambent, "_default", made)
    return made


def test_what_passes_for_something_else_can_be_copied(tracer: RecordingTracer) -> None:
    with llm.call("m") as call:
        stream = copy.copy(call.stream(iter([1, 2])))
        assert list(stream) == [1, 2]
    handler = TelemetryCompletionHandler(tracer)
    assert copy.copy(handler).get_tracer("x").scope.name == "x"


def test_a_call_has_what_it_was_asked_with(tracer: RecordingTracer) -> None:
    with llm.call(
        "gpt-4o",
        provider="openai",
        temperature=0.2,
        max_completion_tokens=9,
        stop="END",
        n=2,
        user="u",
        tools=[1],
    ) as call:
        assert lambent.current_span() is call.span
    (span,) = tracer.spans
    assert span.name == "chat gpt-4o"
    assert span.kind.name == "CLIENT"
    assert dict(span.attributes) == {
        "lambent.event_type": "model",
        "lambent.event_name": "chat gpt-4o",
        "lambent.config.user": "u",
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.request.temperature": 0.2,
        "gen_ai.request.max_tokens": 9,
        "gen_ai.request.stop_sequences": ("END",),
        "gen_ai.request.choice.count": 2,
    }


def test_values_have_the_types_of_the_conventions(tracer: RecordingTracer) -> None:
    doubles = ("temperature", "top_p", "top_k", "frequency_penalty", "presence_penalty")
    whole: Any = dict.fromkeys(doubles, 1)
    with llm.call("m", **whole, max_tokens=9, seed=3):
        pass
    with llm.call("e", operation="embeddings", encoding_format="float", dimensions=512):
        pass
    asked, embedded = [span.attributes for span in tracer.spans]
    assert {type(asked[f"gen_ai.request.{name}"]) for name in doubles} == {float}
    assert {type(asked[f"gen_ai.request.{name}"]) for name in ("max_tokens", "seed")} == {int}
    assert embedded["gen_ai.request.encoding_formats"] == ("float",)
    assert embedded["gen_ai.embeddings.dimension.count"] == 512


@pytest.mark.parametrize("provider", RESPONSES)
@pytest.mark.parametrize("form", [lambda value: value, objects], ids=["mappings", "objects"])
def test_a_response_is_read(provider: str, form: Any, tracer: RecordingTracer) -> None:
    plain, identity, model, reasons = RESPONSES[provider]
    response = form(plain)
    with llm.call("m", operation="chat") as call:
        assert call.response(response) is response
    attributes = tracer.spans[0].attributes
    assert {name: attributes[name] for name in USAGE} == USAGE
    assert attributes.get("gen_ai.response.id") == identity
    assert attributes.get("gen_ai.response.model") == model
    assert attributes.get("gen_ai.response.finish_reasons") == (tuple(reasons) if reasons else None)
    (message,) = json.loads(str(attributes["gen_ai.output.messages"]))
    assert message["parts"] == CALLS
    assert "Ulm" not in str(attributes)
    assert "let me see" not in str(attributes)


def test_details_of_tokens(tracer: RecordingTracer) -> None:
    usage: Any = GEMINI["usageMetadata"]
    thinking = {"usageMetadata": {**usage, "thoughtsTokenCount": 30}}
    for response in (OPENAI_CHAT, ANTHROPIC, thinking):
        with llm.call("m") as call:
            call.response(response)
    openai, anthropic, gemini = [span.attributes for span in tracer.spans]
    assert openai["gen_ai.usage.cache_read.input_tokens"] == 4
    assert openai["gen_ai.usage.reasoning.output_tokens"] == 2
    assert anthropic["gen_ai.usage.cache_read.input_tokens"] == 10
    assert anthropic["gen_ai.usage.input_tokens"] == 12  # the conventions count all of them
    assert gemini["gen_ai.usage.reasoning.output_tokens"] == 30
    assert gemini["gen_ai.usage.output_tokens"] == 35


def test_openais_own_objects(tracer: RecordingTracer) -> None:
    from openai.types import chat, responses

    kinds: list[tuple[Any, object]] = [
        (chat.ChatCompletion, OPENAI_CHAT),
        (responses.Response, OPENAI_RESPONSES),
    ]
    for kind, value in kinds:
        with llm.call("m") as call:
            call.response(kind.construct(**json.loads(json.dumps(value))))
        attributes = tracer.spans[-1].attributes
        assert {name: attributes[name] for name in USAGE} == USAGE
        (message,) = json.loads(str(attributes["gen_ai.output.messages"]))
        assert message["parts"] == CALLS


def test_each_of_several_choices_is_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    tracer = recording_tracer(capture="response")
    monkeypatch.setattr(lambent, "_default", tracer)

    def called(name: str, more: str) -> dict[str, Any]:
        return {"tool_calls": [{"index": 0, "id": name, "function": {"name": name, "arguments": more}}]}

    whole = [
        {"index": 0, "finish_reason": "stop", "message": {"content": "yes"}},
        {"index": 1, "finish_reason": "length", "message": {"content": "no"}},
        {"index": 2, "finish_reason": "tool_calls", "message": called("a", '{"n": [1]}')},
        {"index": 3, "finish_reason": "tool_calls", "message": called("b", "not JSON")},
    ]
    parts = [
        {"choices": [{"index": index, "delta": delta}]}
        for index, delta in [
            (0, {"content": "y"}), (1, {"content": "n"}), (2, called("a", '{"n"')), (3, called("b", "not ")),
            (1, {"content": "o"}), (0, {"content": "es"}), (3, called("", "JSON")), (2, called("", ": [1]}")),
        ]
    ]  # fmt: skip
    ends = [{"choices": [{**each, "message": None} for each in whole]}]
    with llm.call("m", n=4) as call:
        call.response({"choices": whole})
    with llm.call("m", n=4) as call:
        assert list(call.stream(iter(parts + ends))) == parts + ends
    for span in tracer.spans:
        assert span.attributes["gen_ai.response.finish_reasons"] == ("stop", "length", *["tool_calls"] * 2)
        messages = json.loads(str(span.attributes["gen_ai.output.messages"]))
        assert [message["finish_reason"] for message in messages] == ["stop", "length", *["tool_calls"] * 2]
        assert [message["parts"] for message in messages] == [
            [{"type": "text", "content": "yes"}],
            [{"type": "text", "content": "no"}],
            [{"type": "tool_call", "id": "a", "name": "a", "arguments": {"n": [1]}}],
            [{"type": "tool_call", "id": "b", "name": "b", "arguments": "not JSON"}],
        ]


TEXT = [{"type": "text", "content": "hi"}]
CALLED = {"type": "tool_call", "id": "c", "name": "weather", "arguments": {"city": "Ulm"}}
ANSWERED = {"type": "tool_call_response", "id": "c", "response": "22 °C"}


class Odd:
    """A message that cannot be looked at."""

    @property
    def __dict__(self) -> Any:  # type: ignore[override]  # what makes it odd
        raise OSError


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("hi", [{"role": "user", "parts": TEXT}]),
        ({"role": "user", "content": "hi"}, [{"role": "user", "parts": TEXT}]),
        ([{"role": "user", "content": [{"type": "text", "text": "hi"}]}], [{"role": "user", "parts": TEXT}]),
        ([SimpleNamespace(role="user", content=["hi"])], [{"role": "user", "parts": TEXT}]),
        ([{"role": "user", "content": [{"text": "hi"}]}], [{"role": "user", "parts": TEXT}]),
        (
            [{"role": "assistant", "content": None, "tool_calls": [
                {"id": "c", "function": {"name": "weather", "arguments": '{"city":"Ulm"}'}}
            ]}, {"role": "tool", "tool_call_id": "c", "content": "22 °C"}],
            [{"role": "assistant", "parts": [CALLED]}, {"role": "tool", "parts": [ANSWERED]}],
        ),
        (
            [{"role": "assistant", "content": [
                {"type": "tool_use", "id": "c", "name": "weather", "input": {"city": "Ulm"}}]},
             {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "22 °C"}]}],
            [{"role": "assistant", "parts": [CALLED]}, {"role": "user", "parts": [ANSWERED]}],
        ),
        (
            [{"role": "assistant", "content": [
                {"toolUse": {"toolUseId": "c", "name": "weather", "input": {"city": "Ulm"}}}]},
             {"role": "user", "content": [{"toolResult": {"toolUseId": "c", "content": "22 °C"}}]}],
            [{"role": "assistant", "parts": [CALLED]}, {"role": "user", "parts": [ANSWERED]}],
        ),
        ([{"role": "user", "parts": TEXT}], [{"role": "user", "parts": TEXT}]),
        ([{"role": "user", "parts": [{"text": "hi"}]}], [{"role": "user", "parts": TEXT}]),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}],
         [{"role": "user", "parts": [{"type": "image_url", "image_url": "x"}]}]),
        ([7, {"a": 1}], [7, {"a": 1}]),
        ([{"role": "user", "tool_calls": 7}], [{"role": "user", "tool_calls": 7}]),
    ],
)  # fmt: skip
def test_messages_in_the_form_of_the_conventions(
    given: Any, kept: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracer = recording_tracer(capture="request")
    monkeypatch.setattr(lambent, "_default", tracer)
    with llm.call("m", messages=given):
        pass
    assert json.loads(str(tracer.spans[0].attributes["gen_ai.input.messages"])) == kept
    with llm.call("m", messages=[Odd(), given]):
        pass


@pytest.mark.parametrize("capture", ["none", "request"])
def test_other_contents_of_a_request_are_kept_on_demand_too(
    capture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracer = recording_tracer(capture=capture)
    monkeypatch.setattr(lambent, "_default", tracer)
    tools = [{"type": "function", "function": {"name": "weather"}}]
    brief: list[object] = ["be brief", [{"type": "text", "text": "be brief"}], ["be brief"]]
    for number, name in enumerate(("input", "prompt", "contents")):
        system = ("system", "instructions")[number % 2]
        asked: dict[str, Any] = {name: "a question", "user": "u-1", "tools": tools, system: brief[number]}
        with llm.call("m", **asked):
            pass
    for span in tracer.spans:
        found = dict(span.attributes)
        assert found["lambent.config.user"] == "u-1"
        for text in ("a question", "be brief", "weather"):
            assert (text in str(found)) is (capture == "request")
        if capture == "request":
            (message,) = json.loads(str(found["gen_ai.input.messages"]))
            assert message == {"role": "user", "parts": [{"type": "text", "content": "a question"}]}
            assert json.loads(str(found["gen_ai.system_instructions"])) == [
                {"type": "text", "content": "be brief"}
            ]
            assert json.loads(str(found["gen_ai.tool.definitions"])) == tools


def test_contents_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    tracer = recording_tracer(capture="both")
    monkeypatch.setattr(lambent, "_default", tracer)
    with llm.call("m", messages=[{"role": "user", "content": "password=hunter2"}]) as call:
        call.response(OPENAI_CHAT)
    with llm.tool("weather", call_id="call-1", arguments={"city": "Ulm", "token": "x"}) as tool:
        assert tool.result({"sky": "blue"}) == {"sky": "blue"}
    chat, run = [span.attributes for span in tracer.spans]
    assert "hunter2" not in str(chat)
    (message,) = json.loads(str(chat["gen_ai.output.messages"]))
    assert message["parts"] == [
        {"type": "text", "content": "let me see"},
        {**CALLS[0], "arguments": {"city": "Ulm"}},
    ]
    assert message["finish_reason"] == "tool_calls"
    assert json.loads(str(run["gen_ai.tool.call.arguments"])) == {"city": "Ulm", "token": "[redacted]"}
    assert json.loads(str(run["gen_ai.tool.call.result"])) == {"sky": "blue"}


def test_a_tool(tracer: RecordingTracer) -> None:
    run = llm.tool("weather", call_id="c", arguments={"city": "Ulm"}, description="The weather")
    with pytest.raises(KeyError), run:
        raise KeyError(run.result("blue"))
    (span,) = tracer.spans
    assert span.name == "execute_tool weather"
    assert span.attributes["gen_ai.operation.name"] == "execute_tool"
    assert span.attributes["gen_ai.tool.name"] == "weather"
    assert span.attributes["gen_ai.tool.call.id"] == "c"
    assert span.attributes["gen_ai.tool.type"] == "function"
    assert span.attributes["gen_ai.tool.description"] == "The weather"
    assert span.attributes["error.type"] == "KeyError"
    assert "Ulm" not in str(span.attributes)


def test_names_of_the_backend_honeyhive(monkeypatch: pytest.MonkeyPatch) -> None:
    tracer = recording_tracer(backend="honeyhive", api_key="k")
    monkeypatch.setattr(lambent, "_default", tracer)
    with llm.call("m") as call:
        call.response(OPENAI_CHAT)
    attributes = tracer.spans[0].attributes
    assert attributes["honeyhive_event_type"] == "model"
    assert attributes["gen_ai.usage.input_tokens"] == 12


# Streams.

OPENAI_PARTS: list[Any] = [
    {
        "id": "c-1",
        "model": "gpt-4o-2024",
        "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}],
    },
    {"id": "c-1", "choices": [{"index": 0, "delta": {"content": "let me"}}]},
    {
        "id": "c-1",
        "choices": [
            {
                "index": 0,
                "delta": {
                    "tool_calls": [
                        {"index": 0, "id": "call-1", "function": {"name": "weather", "arguments": ""}}
                    ]
                },
            }
        ],
    },
    {
        "id": "c-1",
        "choices": [
            {"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": '{"city": '}}]}}
        ],
    },
    {
        "id": "c-1",
        "choices": [
            {"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": '"Ulm"}'}}]}}
        ],
    },
    {"id": "c-1", "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
    {"id": "c-1", "choices": [], "usage": {"prompt_tokens": 12, "completion_tokens": 5}},
]
ANTHROPIC_PARTS: list[Any] = [
    {
        "type": "message_start",
        "message": {
            "id": "c-1",
            "model": "gpt-4o-2024",
            "content": [],
            "stop_reason": None,
            "usage": {"input_tokens": 12, "output_tokens": 1},
        },
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "let me"}},
    {
        "type": "content_block_start",
        "index": 1,
        "content_block": {"type": "tool_use", "id": "call-1", "name": "weather", "input": {}},
    },
    {
        "type": "content_block_delta",
        "index": 1,
        "delta": {"type": "input_json_delta", "partial_json": '{"city": '},
    },
    {
        "type": "content_block_delta",
        "index": 1,
        "delta": {"type": "input_json_delta", "partial_json": '"Ulm"}'},
    },
    {"type": "message_delta", "delta": {"stop_reason": "tool_calls"}, "usage": {"output_tokens": 5}},
    {"type": "message_stop"},
]
BEDROCK_PARTS: list[Any] = [
    {"messageStart": {"role": "assistant"}},
    {"contentBlockDelta": {"delta": {"text": "let me"}, "contentBlockIndex": 0}},
    {
        "contentBlockStart": {
            "start": {"toolUse": {"toolUseId": "call-1", "name": "weather"}},
            "contentBlockIndex": 1,
        }
    },
    {"contentBlockDelta": {"delta": {"toolUse": {"input": '{"city": '}}, "contentBlockIndex": 1}},
    {"contentBlockDelta": {"delta": {"toolUse": {"input": '"Ulm"}'}}, "contentBlockIndex": 1}},
    {"messageStop": {"stopReason": "tool_calls"}},
    {"metadata": {"usage": {"inputTokens": 12, "outputTokens": 5}, "metrics": {"latencyMs": 9}}},
]
RESPONSES_PARTS: list[Any] = [
    {"type": "response.created", "response": {"id": "c-1", "model": "gpt-4o-2024", "output": []}},
    {"type": "response.output_text.delta", "output_index": 0, "delta": "let me"},
    {
        "type": "response.output_item.added",
        "output_index": 1,
        "item": {
            "type": "function_call",
            "id": "fc",
            "call_id": "call-1",
            "name": "weather",
            "arguments": "",
        },
    },
    {"type": "response.function_call_arguments.delta", "output_index": 1, "delta": '{"city":'},
    {
        "type": "response.completed",
        "response": {
            "id": "c-1",
            "model": "gpt-4o-2024",
            "output": [
                {"type": "message", "content": [{"type": "output_text", "text": "let me"}]},
                {
                    "type": "function_call",
                    "id": "fc",
                    "call_id": "call-1",
                    "name": "weather",
                    "arguments": '{"city": "Ulm"}',
                },
            ],
            "usage": {"input_tokens": 12, "output_tokens": 5},
        },
    },
]
# As above, but with the events that have a part, or all of it, once more.
RESPONSES_WITH_ENDS: list[Any] = [
    RESPONSES_PARTS[0],
    {**RESPONSES_PARTS[1], "snapshot": "let me"},
    {"type": "response.output_text.done", "output_index": 0, "text": "let me"},
    {
        "type": "response.output_item.done",
        "output_index": 0,
        "item": RESPONSES_PARTS[4]["response"]["output"][0],
    },
    *RESPONSES_PARTS[2:4],
    {"type": "response.function_call_arguments.delta", "output_index": 1, "delta": ' "Ulm"}'},
    {
        "type": "response.output_item.done",
        "output_index": 1,
        "item": RESPONSES_PARTS[4]["response"]["output"][1],
    },
    {**RESPONSES_PARTS[4], "type": "response.incomplete"},
]
ANTHROPIC_HELPER_PARTS: list[Any] = [
    *ANTHROPIC_PARTS[:3],
    {"type": "text", "text": "let me", "snapshot": "let me"},
    {"type": "content_block_stop", "index": 0, "content_block": {"type": "text", "text": "let me"}},
    *ANTHROPIC_PARTS[3:6],
    {"type": "input_json", "partial_json": '{"city": "Ulm"}', "snapshot": {"city": "Ulm"}},
    ANTHROPIC_PARTS[6],
    {
        "type": "message_stop",
        "message": {
            "content": [
                {"type": "text", "text": "let me"},
                {"type": "tool_use", "id": "call-1", "name": "weather", "input": {"city": "Ulm"}},
            ],
            "stop_reason": "tool_calls",
            "usage": {"input_tokens": 12, "output_tokens": 5},
        },
    },
]
OPENAI_HELPER_PARTS: list[Any] = [
    *[{"type": "chunk", "chunk": part, "snapshot": {"choices": []}} for part in OPENAI_PARTS],
    {"type": "content.delta", "delta": "let me", "snapshot": "let me"},
    {"type": "content.done", "content": "let me"},
    {"type": "tool_calls.function.arguments.done", "name": "weather", "arguments": '{"city": "Ulm"}'},
]
STREAMS = {
    "openai": OPENAI_PARTS,
    "openai helper": OPENAI_HELPER_PARTS,
    "openai responses": RESPONSES_PARTS,
    "openai responses with ends": RESPONSES_WITH_ENDS,
    "anthropic": ANTHROPIC_PARTS,
    "anthropic helper": ANTHROPIC_HELPER_PARTS,
    "bedrock": BEDROCK_PARTS,
}


def source(tracer: RecordingTracer, parts: list[Any]) -> Iterator[Any]:
    for part in parts:
        tracer.fake_clock.advance(0.5)
        yield part


async def source_async(tracer: RecordingTracer, parts: list[Any]) -> AsyncIterator[Any]:
    for part in source(tracer, parts):
        await asyncio.sleep(0)
        yield part


@pytest.mark.parametrize("provider", STREAMS)
@pytest.mark.parametrize("capture", [None, "both"])
@pytest.mark.parametrize("form", [lambda value: value, objects], ids=["mappings", "objects"])
def test_a_stream_is_read_part_by_part(
    provider: str, capture: str | None, form: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracer = recording_tracer(capture=capture)
    monkeypatch.setattr(lambent, "_default", tracer)
    parts = [form(part) for part in STREAMS[provider]]
    with llm.call("m") as call:
        got = list(call.stream(source(tracer, parts)))
    assert got == parts
    attributes = tracer.spans[0].attributes
    assert {name: attributes[name] for name in USAGE} == USAGE
    if provider != "bedrock":
        assert attributes["gen_ai.response.id"] == "c-1"
        assert attributes["gen_ai.response.model"] == "gpt-4o-2024"
    if "responses" not in provider:
        assert attributes["gen_ai.response.finish_reasons"] == ("tool_calls",)
    (message,) = json.loads(str(attributes["gen_ai.output.messages"]))
    if capture is None:
        assert message["parts"] == CALLS
    else:
        text, called = message["parts"]
        assert text["content"] == "let me"
        assert called["arguments"] == {"city": "Ulm"}
    assert attributes["gen_ai.request.stream"] is True
    assert attributes["gen_ai.response.time_to_first_chunk"] == 0.5
    assert attributes["lambent.llm.time_to_first_token"] == (1.5 if "anthropic" in provider else 1.0)
    assert attributes["lambent.llm.time_to_last_chunk"] == 0.5 * len(parts)
    assert attributes["lambent.llm.chunks"] == len(parts)


@pytest.mark.parametrize("provider", ["openai responses with ends", "anthropic helper"])
def test_a_part_that_comes_again_is_kept_once(provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the event that has all of it is never read."""
    tracer = recording_tracer(capture="both")
    monkeypatch.setattr(lambent, "_default", tracer)
    with llm.call("m") as call:
        for part in call.stream(iter(STREAMS[provider][:-1])):
            assert part
    (message,) = json.loads(str(tracer.spans[0].attributes["gen_ai.output.messages"]))
    text, called = message["parts"]
    assert text["content"] == "let me"
    assert called["arguments"] == {"city": "Ulm"}


def test_an_async_stream(tracer: RecordingTracer) -> None:
    async def main() -> list[Any]:
        with llm.call("m") as call:
            return [part async for part in call.stream(source_async(tracer, OPENAI_PARTS))]

    assert asyncio.run(main()) == OPENAI_PARTS
    attributes = tracer.spans[0].attributes
    assert {name: attributes[name] for name in USAGE} == USAGE
    assert attributes["lambent.llm.time_to_last_chunk"] == 3.5


def test_a_span_lasts_until_the_last_part(tracer: RecordingTracer) -> None:
    def answer() -> Iterator[str]:
        with llm.call("m") as call:
            return call.stream(iter(["a", "b"]))

    stream = answer()
    assert lambent.current_span() is None
    assert next(stream) == "a"
    tracer.fake_clock.advance(2)
    assert tracer.spans == []
    assert list(stream) == ["b"]
    (span,) = tracer.spans
    assert span.end_time is not None
    assert span.end_time - span.start_time == 2_000_000_000
    assert list(stream) == []
    assert len(tracer.spans) == 1


@pytest.mark.parametrize("how", ["closed", "forgotten", "failing"])
def test_a_stream_that_is_not_read_to_its_end(how: str, tracer: RecordingTracer) -> None:
    def parts() -> Iterator[str]:
        yield "a"
        raise ConnectionError("gone")

    def answer() -> Any:
        with llm.call("m") as call:
            return call.stream(parts())

    stream = answer()
    next(stream)
    if how == "closed":
        stream.close()
    elif how == "forgotten":
        del stream
        gc.collect()
    else:
        with pytest.raises(ConnectionError, match="gone"):
            next(stream)
    (span,) = tracer.spans
    assert span.attributes["lambent.llm.chunks"] == 1
    assert (span.status.status_code.name == "ERROR") == (how == "failing")
    assert span.attributes.get("error.type") == ("ConnectionError" if how == "failing" else None)


def test_a_stream_that_is_a_context_manager(tracer: RecordingTracer) -> None:
    class Source:
        status = 200
        closed = False

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            self.closed = True

        def __iter__(self) -> Iterator[str]:
            return iter(["a", "b"])

        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *_: object) -> None:
            self.closed = True

    given = Source()
    with llm.call("m") as call, call.stream(given) as stream:
        assert stream.status == 200
        assert list(stream) == ["a", "b"]
    assert given.closed

    async def main() -> None:
        other = Source()
        with llm.call("m") as call:
            async with call.stream(other):
                pass
        assert other.closed

    asyncio.run(main())
    assert [span.attributes["lambent.llm.chunks"] for span in tracer.spans] == [2, 0]


def test_a_loop_over_a_stream_that_is_left_early_is_measured_at_once(tracer: RecordingTracer) -> None:
    with llm.call("m") as call:
        for _part in call.stream(iter(["a", "b"])):
            break
    (span,) = tracer.spans
    assert span.attributes["lambent.llm.chunks"] == 1


def test_a_manager_that_gives_the_stream_when_it_is_entered(tracer: RecordingTracer) -> None:
    class Stream:
        text = "all of it"

        def __iter__(self) -> Iterator[str]:
            return iter(["a", "b"])

        async def __aiter__(self) -> AsyncIterator[str]:
            yield "c"

    class Manager:
        """As `client.messages.stream(…)` of Anthropic's is: nothing to read before it is entered."""

        left = 0

        def __enter__(self) -> Stream:
            return Stream()

        def __exit__(self, *_: object) -> None:
            self.left += 1

        async def __aenter__(self) -> Stream:
            return Stream()

        async def __aexit__(self, *_: object) -> None:
            self.left += 1

    given = Manager()
    with llm.call("m") as call, call.stream(given) as stream:
        assert list(stream) == ["a", "b"]
        assert stream.text == "all of it"

    async def main() -> None:
        with llm.call("m") as call:
            async with call.stream(given) as parts:
                assert [part async for part in parts] == ["c"]

    asyncio.run(main())
    assert given.left == 2
    assert [span.attributes["lambent.llm.chunks"] for span in tracer.spans] == [2, 1]


# Decorated functions of the type "model".


def test_a_decorated_model_call_is_read(tracer: RecordingTracer) -> None:
    @lambent.trace(event_type="model", config={"model": "gpt-4o", "provider": "openai"})
    def ask(prompt: str) -> object:
        return OPENAI_CHAT

    @lambent.trace(event_type=lambent.EventType.model)
    async def ask_async(prompt: str) -> object:
        return ANTHROPIC

    @lambent.trace(event_type="tool")
    def weather() -> object:
        return OPENAI_CHAT

    assert ask("hi") is OPENAI_CHAT
    assert asyncio.run(ask_async("hi")) is ANTHROPIC
    weather()
    one, two, three = [span.attributes for span in tracer.spans]
    for attributes in (one, two):
        assert {name: attributes[name] for name in USAGE} == USAGE
    assert one["gen_ai.operation.name"] == "chat"
    assert one["gen_ai.provider.name"] == "openai"
    assert one["gen_ai.response.finish_reasons"] == ("tool_calls",)
    assert json.loads(str(one["gen_ai.output.messages"]))[0]["parts"] == CALLS
    assert not USAGE.keys() & three.keys()


def test_a_decorated_model_stream_is_measured(tracer: RecordingTracer) -> None:
    @lambent.trace(event_type="model")
    def ask() -> Any:
        yield from source(tracer, OPENAI_PARTS)
        return "done"

    @lambent.trace(event_type="model")
    async def ask_async() -> Any:
        async for part in source_async(tracer, OPENAI_PARTS):
            yield part

    async def main() -> list[Any]:
        return [part async for part in ask_async()]

    stream = ask()
    assert next(stream) == OPENAI_PARTS[0]
    assert [*stream] == OPENAI_PARTS[1:]
    assert asyncio.run(main()) == OPENAI_PARTS
    traced: Any = ask
    assert traced.__wrapped__.__name__ == traced.__name__ == "ask"
    for span in tracer.spans:
        assert {name: span.attributes[name] for name in USAGE} == USAGE
        assert span.attributes["gen_ai.request.stream"] is True
        assert span.attributes["gen_ai.response.time_to_first_chunk"] == 0.5
        assert span.attributes["lambent.llm.time_to_first_token"] == 1.0
        assert span.attributes["lambent.llm.time_to_last_chunk"] == 3.5


@pytest.mark.parametrize("how", ["close", "throw", "send"])
def test_a_decorated_model_stream_is_a_generator(how: str, tracer: RecordingTracer) -> None:
    @lambent.trace(event_type="model")
    def ask() -> Any:
        try:
            got = yield "a"
        except KeyError:
            got = "caught"
        yield got

    stream = ask()
    assert next(stream) == "a"
    if how == "close":
        stream.close()
    elif how == "throw":
        assert stream.throw(KeyError()) == "caught"
    else:
        assert stream.send("sent") == "sent"
    assert list(stream) == []
    (span,) = tracer.spans
    assert span.attributes["lambent.llm.chunks"] == (1 if how == "close" else 2)
    assert span.status.is_unset


@pytest.mark.parametrize("how", ["close", "throw", "send"])
def test_a_decorated_async_model_stream_is_a_generator(how: str, tracer: RecordingTracer) -> None:
    @lambent.trace(event_type="model")
    async def ask() -> Any:
        try:
            got = yield "a"
        except KeyError:
            got = "caught"
        yield got

    async def main() -> None:
        stream = ask()
        assert await anext(stream) == "a"
        if how == "close":
            await stream.aclose()
        elif how == "throw":
            assert await stream.athrow(KeyError()) == "caught"
        else:
            assert await stream.asend("sent") == "sent"
        assert [part async for part in stream] == []

    asyncio.run(main())
    (span,) = tracer.spans
    assert span.attributes["lambent.llm.chunks"] == (1 if how == "close" else 2)
    assert span.status.is_unset


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "choices",
                    "message",
                    "content",
                    "usage",
                    "id",
                    "model",
                    "index",
                    "type",
                    "tool_calls",
                    "function",
                    "prompt_tokens",
                    "finish_reason",
                    "name",
                    "arguments",
                    "delta",
                    "output",
                    "toolUse",
                    "input",
                    "text",
                ]
            )
            | st.integers(),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)


@given(_ANYTHING, st.booleans())
def test_whatever_a_response_is_it_is_no_problem(response: Any, streams: bool) -> None:
    tracer = recording_tracer(capture="both")
    with llm.call("m", tracer=tracer) as call:
        if streams:
            assert list(call.stream([response])) == [response]
        else:
            assert call.response(response) is response
    assert len(tracer.spans) == 1


def test_a_tracer_that_is_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    lambent.init(disabled=True)
    with llm.call("m", messages=[]) as call:
        call.response(OPENAI_CHAT)
        assert list(call.stream(["a"])) == ["a"]
    with llm.tool("t") as tool:
        tool.result(1)
