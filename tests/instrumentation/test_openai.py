"""OpenAI's client against the example's local server, by OpenInference's instrumentor and OpenTelemetry's."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SERVER = Path(__file__).parents[2] / "examples" / "openai-agent" / "local_openai.py"
OPENINFERENCE, OPENTELEMETRY = (
    "openinference-instrumentation-openai",
    "opentelemetry-instrumentation-openai-v2",
)


@pytest.fixture(scope="module")
def model() -> Iterator[str]:
    """The base URL of a server that speaks OpenAI's API."""
    spec = importlib.util.spec_from_file_location("local_openai", SERVER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with module.serve() as url:
        yield url


PROGRAM = """
import asyncio, json
{first}
import lambent
tracer = lambent.init()
{second}

question = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "How warm is it in Oslo ?"}]}
tools = [{"type": "function", "function": {"name": "weather", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}]
client = openai.OpenAI(base_url="{model}", api_key="local")

def plain():
    return client.chat.completions.create(**question).choices[0].message.content

def streamed():
    parts = []
    options = {"include_usage": True}
    for chunk in client.chat.completions.create(**question, stream=True, stream_options=options):
        with tracer.trace("chunk"):
            parts += [choice.delta.content or "" for choice in chunk.choices]
    with tracer.trace("after"):
        return "".join(parts)

def tool():
    answer = client.chat.completions.create(**question, tools=tools).choices[0]
    with tracer.trace("weather"):
        return answer.message.tool_calls[0].function.name

async def asked():
    async with openai.AsyncOpenAI(base_url="{model}", api_key="local") as client:
        return (await client.chat.completions.create(**question)).choices[0].message.content

async def asked_streamed():
    parts = []
    async with openai.AsyncOpenAI(base_url="{model}", api_key="local") as client:
        async for chunk in await client.chat.completions.create(**question, stream=True):
            parts += [choice.delta.content or "" for choice in chunk.choices]
    return "".join(parts)

def failed():
    try:
        openai.OpenAI(base_url="{model}", api_key="local", max_retries=0).chat.completions.create(
            **{**question, "model": "model-500"})
    except openai.InternalServerError:
        return "failed"

@tracer.handler
def handler(event, context):
    with tracer.trace("agent"):
        return {call}

print(json.dumps(handler({}, None)))
"""
NAMES = {
    OPENINFERENCE: (
        "openinference.instrumentation.openai: ChatCompletion INTERNAL",
        "llm.invocation_parameters",
    ),
    OPENTELEMETRY: ("opentelemetry.util.genai.handler: chat gpt-4o-mini CLIENT", "gen_ai.request.model"),
}


def source(model: str, call: str, order: str = "lambent first") -> str:
    first, second = ("import openai", "") if order == "library first" else ("", "import openai")
    text = PROGRAM.replace("{model}", model).replace("{first}", first).replace("{second}", second)
    return text.replace("{call}", call)


@pytest.mark.parametrize("order", ["library first", "lambent first"])
@pytest.mark.parametrize("package", NAMES)
def test_calls_are_children(program: Callable[..., Any], model: str, package: str, order: str) -> None:
    run = program(source(model, "plain()", order), package)
    line, attribute = NAMES[package]
    assert run.outline == ["lambent: shop SERVER", "  lambent: agent INTERNAL", f"    {line}"]
    assert "gpt-4o-mini" in run.spans[2].attributes[attribute]
    assert run.output
    assert len({span.trace_id for span in run.spans}) == 1


@pytest.mark.parametrize(
    "call", ["tool()", "asyncio.run(asked())", "asyncio.run(asked_streamed())", "failed()"]
)
@pytest.mark.parametrize("package", NAMES)
def test_other_calls(program: Callable[..., Any], model: str, package: str, call: str) -> None:
    run = program(source(model, call), package)
    line = NAMES[package][0]
    if call == "failed()":
        line = line.replace("gpt-4o-mini", "model-500") + " failed"
    below = ["    lambent: weather INTERNAL"] if call == "tool()" else []
    assert run.outline == ["lambent: shop SERVER", "  lambent: agent INTERNAL", f"    {line}", *below]


@pytest.mark.parametrize(("package", "indent"), [(OPENINFERENCE, "    "), (OPENTELEMETRY, "      ")])
def test_a_stream(program: Callable[..., Any], model: str, package: str, indent: str) -> None:
    """The call's span lasts as long as the stream; OpenTelemetry's is the reader's parent until then."""
    run = program(source(model, "streamed()"), package)
    assert run.output
    lines = run.outline
    assert lines[:3] == ["lambent: shop SERVER", "  lambent: agent INTERNAL", f"    {NAMES[package][0]}"]
    assert set(lines[3:-1]) == {f"{indent}lambent: chunk INTERNAL"}
    assert len(lines) > 6
    assert lines[-1] == "    lambent: after INTERNAL"
    call, *chunks, after = run.spans[2:]
    assert all(call.start <= chunk.start for chunk in chunks)
    assert max(chunk.end for chunk in chunks[:-1]) <= call.end <= after.start


def test_the_first_of_both_is_used_and_http_calls_are_below(program: Callable[..., Any], model: str) -> None:
    run = program(source(model, "plain()"), "openai,httpx")
    assert run.outline == [
        "lambent: shop SERVER",
        "  lambent: agent INTERNAL",
        f"    {NAMES[OPENINFERENCE][0]}",
        "      httpx: POST CLIENT",
    ]
    messages = [value for key, value in run.spans[2].attributes.items() if key.endswith("message.content")]
    assert "How warm is it in Oslo ?" in messages
    assert run.output
