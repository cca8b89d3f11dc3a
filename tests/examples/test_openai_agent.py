"""The example `openai-agent`, run in the lab without a key: its answers and its whole traces."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from lambent.testing import Expected, assert_trace, expect

if TYPE_CHECKING:
    from tests.examples.conftest import Run

    from lambent_lab.service import Result

NAME = "openai-agent"
MODEL = "gpt-4o-mini"
TOOL_CALLS = re.compile(r'^\[\{"role": "assistant", "parts": \[\{"type": "tool_call", .*"name": "weather"\}')


def root(result: Result, *children: Expected, error: str = "", **fields: Any) -> Expected:
    return expect(
        re.compile("^openai-agent"),
        *children,
        attributes={
            "faas.trigger": "other",
            "faas.coldstart": result.cold,
            "faas.invocation_id": result.request_id,
            "cloud.resource_id": ...,
            "cloud.account.id": "123456789012",
            "lambent.session_name": "weather agent",
            "session.id": session(result),
            **({"error.type": error} if error else {}),
        },
        kind="SERVER",
        **fields,
    )


def session(result: Result) -> Any:
    (found,) = {span.attributes.get("session.id") for span in result.spans}
    return found


def answer(result: Result, *children: Expected, turns: int | None = 2, **fields: Any) -> Expected:
    return expect(
        "answer",
        *children,
        attributes={
            "lambent.event_type": "chain",
            "lambent.event_name": "answer",
            "gen_ai.operation.name": "invoke_workflow",
            "gen_ai.workflow.name": "answer",
            "session.id": session(result),
            **({"lambent.metrics.turns": turns} if turns else {}),
        },
        kind="INTERNAL",
        **fields,
    )


def asked(result: Result, model: str = MODEL) -> dict[str, Any]:
    return {
        "lambent.event_type": "model",
        "lambent.event_name": f"chat {model}",
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": model,
        "gen_ai.request.temperature": 0,
        "session.id": session(result),
    }


def chat(result: Result, read: int, wrote: int, reason: str, streams: int = 0) -> Expected:
    """A call of the model: tokens read and written, why it ended, and how many parts were streamed."""
    said = {
        "gen_ai.response.id": re.compile("^chatcmpl-"),
        "gen_ai.response.model": f"{MODEL}-local",
        "gen_ai.response.finish_reasons": [reason],
        "gen_ai.usage.input_tokens": read,
        "gen_ai.usage.output_tokens": wrote,
        "gen_ai.usage.cache_read.input_tokens": 0,
        "gen_ai.usage.reasoning.output_tokens": 0,
    }
    if reason == "tool_calls":
        said["gen_ai.output.messages"] = TOOL_CALLS
    if streams:
        said |= {
            "gen_ai.request.stream": True,
            "gen_ai.response.time_to_first_chunk": lambda seconds: 0 < seconds < 60,
            "lambent.llm.time_to_first_token": lambda seconds: 0 < seconds < 60,
            "lambent.llm.time_to_last_chunk": lambda seconds: 0 < seconds < 60,
            "lambent.llm.chunks": streams,
        }
    return expect(
        f"chat {MODEL}", attributes={**asked(result), **said}, kind="CLIENT", status="UNSET", events=[]
    )


def weather(result: Result, **more: Any) -> Expected:
    attributes = {
        "lambent.event_type": "tool",
        "lambent.event_name": "weather",
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "weather",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.id": re.compile("^call_"),
        "session.id": session(result),
        **more.pop("attributes", {}),
    }
    return expect("execute_tool weather", attributes=attributes, kind="INTERNAL", **more)


def test_a_tool_that_is_called_twice(run: Run) -> None:
    result = run(NAME, "question")
    assert result.payload == {"answer": "Here is what I found: 19 degrees in Paris; 11 degrees in Oslo."}
    assert_trace(
        result,
        root(
            result,
            answer(
                result,
                chat(result, 18, 6, "tool_calls"),
                weather(result, status="UNSET", events=[]),
                weather(result, status="UNSET", events=[]),
                chat(result, 35, 13, "stop"),
                status="UNSET",
            ),
            status="UNSET",
            events=[],
        ),
        exact=True,
    )
    tools = [span.attributes["gen_ai.tool.call.id"] for span in result.spans if "tool" in span.name]
    said = next(str(m) for s in result.spans if (m := s.attributes.get("gen_ai.output.messages")))
    assert [part["id"] for part in json.loads(said)[0]["parts"]] == tools
    assert result.spans[0].service == "openai-agent"


def test_streams(run: Run) -> None:
    result = run(NAME, "streaming")
    assert result.payload == {"answer": "Here is what I found: 24 degrees in New York."}
    assert_trace(
        result,
        root(
            result,
            answer(
                result,
                chat(result, 16, 4, "tool_calls", streams=7),
                weather(result),
                chat(result, 27, 10, "stop", streams=13),
            ),
            status="UNSET",
        ),
        exact=True,
    )
    for span in result.spans:
        if span.kind == "CLIENT":
            first, token, last = [
                float(str(span.attributes[name]))
                for name in (
                    "gen_ai.response.time_to_first_chunk",
                    "lambent.llm.time_to_first_token",
                    "lambent.llm.time_to_last_chunk",
                )
            ]
            assert first <= token <= last <= span.duration_ms / 1000


def test_a_tool_that_fails_is_the_models_to_deal_with(run: Run) -> None:
    result = run(NAME, "unknown-city")
    assert result.payload == {"answer": "Here is what I found: no weather is known of Atlantis."}
    failed = weather(
        result,
        attributes={"error.type": "LookupError"},
        status=("ERROR", "LookupError: no weather is known of Atlantis"),
        events=[("exception", {"exception.type": "LookupError"})],
    )
    assert_trace(
        result,
        root(
            result,
            answer(result, chat(result, 15, 3, "tool_calls"), failed, chat(result, 27, 11, "stop")),
            status="UNSET",
            events=[],
        ),
        exact=True,
    )


def test_a_model_that_does_not_exist(run: Run) -> None:
    result = run(NAME, "unknown-model")
    assert result.error == "NotFoundError"
    message = ("ERROR", re.compile("The model `gpt-unknown` does not exist"))
    call = expect(
        "chat gpt-unknown",
        attributes={**asked(result, "gpt-unknown"), "error.type": "NotFoundError"},
        kind="CLIENT",
        status=message,
        events=[("exception", {"exception.type": "openai.NotFoundError"})],
    )
    assert_trace(
        result,
        root(result, answer(result, call, turns=None, status=message), error="NotFoundError", status=message),
        exact=True,
    )


@pytest.mark.parametrize("event", ["question", "streaming"])
def test_what_was_asked_and_answered_where_it_is_wanted(run: Run, event: str) -> None:
    result = run(NAME, event, env={"LAMBENT_CAPTURE": "both"})
    calls = [span.attributes for span in result.spans if span.kind == "CLIENT"]
    tools = [span.attributes for span in result.spans if span.name == "execute_tool weather"]
    assert "Be brief." in str(calls[0]["gen_ai.input.messages"])
    assert "degrees" in str(calls[-1]["gen_ai.output.messages"])
    assert "city" in str(tools[0]["gen_ai.tool.call.arguments"])
    assert "degrees" in str(tools[0]["gen_ai.tool.call.result"])


def test_each_invocation_is_a_session(run: Run) -> None:
    assert session(run(NAME, "question")) != session(run(NAME, "question"))
