"""An agent: a model that may call a tool for as long as it wants, until it has an answer.

Without OPENAI_API_KEY it talks to a local stand-in for OpenAI's API, so it runs anywhere. Each call of the
model and of the tool is a span with what OpenTelemetry's conventions for generative AI say of it: the model,
the tokens, why it stopped, which tools it asked for; a streaming response is measured to its first and its
last part. What was asked and answered stays out of the spans, unless LAMBENT_CAPTURE asks for it.
"""

import json
import os

import openai

import lambent
from lambent import llm

tracer = lambent.init(service_name="openai-agent", session_name="weather agent")

MODEL = os.environ.get("OPENAI_MODEL", "gpt-4o-mini")
MOST_TURNS = 5
TEMPERATURES = {"Paris": 19, "Oslo": 11, "New York": 24}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The temperature in a city, in degrees Celsius.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        },
    }
]


def connect():
    if os.environ.get("OPENAI_API_KEY"):
        return openai.OpenAI()
    from local_openai import start

    return openai.OpenAI(base_url=start(), api_key="local", max_retries=0)


client = connect()


def ask(messages, model):
    """Return the model's next message."""
    with llm.call(model, provider="openai", temperature=0, messages=messages) as call:
        response = client.chat.completions.create(model=model, messages=messages, tools=TOOLS, temperature=0)
        return call.response(response).choices[0].message.model_dump(exclude_none=True)


def ask_streaming(messages, model):
    """The same, put together from the parts of a stream as they come."""
    message = {"role": "assistant", "content": ""}
    calls = {}
    with llm.call(model, provider="openai", temperature=0, messages=messages) as call:
        parts = client.chat.completions.create(
            model=model,
            messages=messages,
            tools=TOOLS,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
        for part in call.stream(parts):
            for choice in part.choices:
                message["content"] += choice.delta.content or ""
                for piece in choice.delta.tool_calls or ():
                    whole = calls.setdefault(
                        piece.index,
                        {"id": piece.id, "type": "function", "function": {"name": "", "arguments": ""}},
                    )
                    whole["function"]["name"] += piece.function.name or ""
                    whole["function"]["arguments"] += piece.function.arguments or ""
    return message | ({"tool_calls": list(calls.values())} if calls else {})


def weather(city):
    if city not in TEMPERATURES:
        raise LookupError(f"no weather is known of {city}")
    return f"{TEMPERATURES[city]} degrees in {city}"


def use_tool(asked):
    """Return what the model is told of a tool that it asked for; a failure is for it to deal with."""
    name, arguments = asked["function"]["name"], json.loads(asked["function"]["arguments"])
    try:
        with llm.tool(name, call_id=asked["id"], arguments=arguments) as tool:
            return tool.result(weather(**arguments))
    except LookupError as error:
        return str(error)


@lambent.trace(event_type="chain", event_name="answer")
def answer(question, model, streaming):
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": question}]
    for turn in range(1, MOST_TURNS + 1):
        message = (ask_streaming if streaming else ask)(messages, model)
        messages.append(message)
        if not message.get("tool_calls"):
            lambent.enrich_span(metrics={"turns": turn})
            return message["content"]
        for asked in message["tool_calls"]:
            told = use_tool(asked)
            messages.append({"role": "tool", "tool_call_id": asked["id"], "content": told})
    raise RuntimeError(f"no answer after {MOST_TURNS} turns")


@tracer.handler
def handler(event, context):
    return {"answer": answer(event["question"], event.get("model", MODEL), event.get("stream", False))}
