"""The server that stands for OpenAI's, asked by OpenAI's own client, whose types are the oracle."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "openai-agent"
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
                "days": {"type": "integer"},
            },
        },
    },
}
MODEL = "gpt-4o-mini"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("local_openai", FOLDER / "local_openai.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with load().serve() as base_url:
        yield base_url


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=url, api_key="local", max_retries=0) as made:
        yield made


def asked(text: str) -> Any:
    return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]


def test_an_answer(client: openai.OpenAI) -> None:
    made = client.chat.completions.create(model=MODEL, messages=asked("good morning"))
    (choice,) = made.choices
    assert (choice.message.content, choice.finish_reason) == ("You said: good morning", "stop")
    assert made.model == f"{MODEL}-local"
    assert made.usage is not None
    assert (made.usage.prompt_tokens, made.usage.completion_tokens, made.usage.total_tokens) == (10, 4, 14)
    again = client.chat.completions.create(model=MODEL, messages=asked("good morning"))
    assert again.id == made.id


def test_limits_and_several_choices(client: openai.OpenAI) -> None:
    made = client.chat.completions.create(model=MODEL, messages=asked("a b c"), max_tokens=3, n=2)
    assert [(c.index, c.message.content, c.finish_reason) for c in made.choices] == [
        (0, "You said: a", "length"),
        (1, "You said: a", "length"),
    ]
    stopped = client.chat.completions.create(model=MODEL, messages=asked("a b c"), stop=" b")
    assert stopped.choices[0].message.content == "You said: a"


def test_a_tool_is_called_for_each_name_and_its_results_are_told(client: openai.OpenAI) -> None:
    messages = asked("What will it be like for 3 days in New York and in Oslo, in fahrenheit?")
    made = client.chat.completions.create(model=MODEL, messages=messages, tools=[WEATHER])
    (choice,) = made.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls is not None
    calls = [call for call in choice.message.tool_calls if call.type == "function"]
    assert [json.loads(call.function.arguments) for call in calls] == [
        {"city": "New York", "unit": "fahrenheit", "days": 3},
        {"city": "Oslo", "unit": "fahrenheit", "days": 3},
    ]
    assert len({call.id for call in calls}) == 2
    messages.append(choice.message.model_dump())
    messages += [
        {"role": "tool", "tool_call_id": call.id, "content": f"{i} degrees"} for i, call in enumerate(calls)
    ]
    told = client.chat.completions.create(model=MODEL, messages=messages, tools=[WEATHER])
    assert told.choices[0].message.content == "Here is what I found: 0 degrees; 1 degrees."


def test_the_choice_of_tools(client: openai.OpenAI) -> None:
    other: Any = {"type": "function", "function": {"name": "news"}}

    def names(**options: Any) -> list[str]:
        made = client.chat.completions.create(
            model=MODEL, messages=asked("What about Oslo and Rome?"), tools=[WEATHER, other], **options
        )
        return [
            call.function.name for call in made.choices[0].message.tool_calls or [] if call.type == "function"
        ]

    assert names() == ["weather", "weather"]
    assert names(parallel_tool_calls=False) == ["weather"]
    assert names(tool_choice="none") == []
    assert names(tool_choice={"type": "function", "function": {"name": "news"}}) == ["news"]
    with pytest.raises(openai.BadRequestError):
        names(tool_choice={"type": "function", "function": {"name": "sports"}})


def test_a_stream(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model=MODEL, messages=asked("good morning"), stream=True, stream_options={"include_usage": True}
    )
    got = list(stream)
    assert [c.choices[0].delta.content for c in got[:-2]] == ["", "You", " said:", " good", " morning"]
    assert got[0].choices[0].delta.role == "assistant"
    assert got[-2].choices[0].finish_reason == "stop"
    assert got[-1].choices == []
    assert got[-1].usage is not None
    assert got[-1].usage.completion_tokens == 4
    assert all(chunk.usage is None for chunk in got[:-1])


def test_a_stream_of_tool_calls_is_put_together_by_the_client(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(
        model=MODEL, messages=asked("What about Oslo and Rome?"), tools=[WEATHER]
    ) as stream:
        made = stream.get_final_completion()
    calls = made.choices[0].message.tool_calls
    assert calls is not None
    assert [json.loads(call.function.arguments)["city"] for call in calls] == ["Oslo", "Rome"]
    assert made.choices[0].finish_reason == "tool_calls"


def test_a_stream_that_is_left_early_disturbs_nobody(client: openai.OpenAI) -> None:
    with client.chat.completions.create(model=MODEL, messages=asked("x " * 5000), stream=True) as stream:
        next(iter(stream))
    assert client.chat.completions.create(model=MODEL, messages=asked("x")).choices


async def test_the_asynchronous_client(url: str) -> None:
    async with openai.AsyncOpenAI(base_url=url, api_key="local") as client:
        stream = await client.chat.completions.create(model=MODEL, messages=asked("hello"), stream=True)
        words = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert "".join(words) == "You said: hello"


def test_embeddings_and_models(client: openai.OpenAI) -> None:
    made = client.embeddings.create(model="text-embedding-3-small", input=["a", "b c"], dimensions=4)
    assert [len(each.embedding) for each in made.data] == [4, 4]
    assert made.data[0].embedding != made.data[1].embedding
    assert made.usage.prompt_tokens == 3
    assert [model.id for model in client.models.list()] == [MODEL]


@pytest.mark.parametrize(
    ("model", "kind", "code"),
    [
        ("gpt-unknown", openai.NotFoundError, "model_not_found"),
        ("gpt-429", openai.RateLimitError, "rate_limit_exceeded"),
        ("gpt-500", openai.InternalServerError, None),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors(
    client: openai.OpenAI, model: str, kind: type[openai.APIStatusError], code: str | None, stream: bool
) -> None:
    with pytest.raises(kind) as caught:
        client.chat.completions.create(model=model, messages=asked("x"), stream=stream)
    assert caught.value.code == code


def test_wrong_requests(client: openai.OpenAI) -> None:
    nothing: Any = []
    with pytest.raises(openai.BadRequestError, match="messages"):
        client.chat.completions.create(model=MODEL, messages=nothing)
    with pytest.raises(openai.BadRequestError, match="not understood"):
        client.chat.completions.create(model=MODEL, messages=asked("x"), tools=[{"type": "function"}])  # type: ignore[list-item]
    with pytest.raises(openai.NotFoundError):
        client.moderations.create(input="x")
    with pytest.raises(openai.AuthenticationError):
        client.chat.completions.create(
            model=MODEL, messages=asked("x"), extra_headers={"Authorization": "Bearer"}
        )
