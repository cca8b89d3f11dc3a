"""Every sample of a real event goes through every kind of handler."""

from __future__ import annotations

import asyncio
import copy
import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.span import Span
from lambent.testing import LambdaContext, recording_tracer
from lambent.triggers import recognise
from lambent.wire import protobuf

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

TRIGGERS = {"http", "pubsub", "datasource", "timer", "other"}
RESPONSE = {"statusCode": 200, "body": "ok"}


def sync(event: object, context: object) -> object:
    return RESPONSE


async def coroutine(event: object, context: object) -> object:
    await asyncio.sleep(0)
    return RESPONSE


def generator(event: object, context: object) -> Iterator[object]:
    yield RESPONSE


async def async_generator(event: object, context: object) -> AsyncIterator[object]:
    yield RESPONSE


def respond(handler: Callable[..., Any], event: object) -> Any:
    result = handler(event, LambdaContext())
    if handler.__name__ == "coroutine":
        return asyncio.run(result)
    if handler.__name__ == "generator":
        (only,) = result
        return only
    if handler.__name__ == "async_generator":

        async def collect() -> list[Any]:
            return [item async for item in result]

        (only,) = asyncio.run(collect())
        return only
    return result


@pytest.mark.parametrize("function", [sync, coroutine, generator, async_generator])
def test_a_sample_goes_through(
    event_name: str,
    function: Callable[..., Any],
    load_event: Callable[[str], Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    event = load_event(event_name)
    before = copy.deepcopy(event)
    tracer = recording_tracer(environ={"OTEL_SEMCONV_STABILITY_OPT_IN": "http/dup"})
    assert respond(tracer.handler(function), event) is RESPONSE
    assert event == before
    (span,) = tracer.spans
    assert span.kind.name == ("CONSUMER" if span.attributes["faas.trigger"] == "pubsub" else "SERVER")
    assert span.parent is None or span.parent.is_remote
    assert span.attributes["faas.trigger"] in TRIGGERS
    assert span.status.status_code == 0
    assert protobuf.encode([span])
    assert capsys.readouterr().err == ""


def mutate(event: Any, draw: Callable[[Any], Any], junk: Any) -> Any:
    """Return the event with one of its values, at any depth, replaced, removed or renamed."""
    if isinstance(event, dict) and event:
        key = draw(st.sampled_from(sorted(event)))
        action = draw(st.sampled_from(["deeper", "deeper", "deeper", "replace", "remove", "upper"]))
        if action == "deeper":
            return {**event, key: mutate(event[key], draw, junk)}
        rest = {name: value for name, value in event.items() if name != key}
        if action == "remove":
            return rest
        return {**rest, key.upper(): event[key]} if action == "upper" else {**event, key: draw(junk)}
    if isinstance(event, list) and event:
        return [mutate(event[0], draw, junk), *event[1:]]
    return draw(junk)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@given(data=st.data())
def test_malformed_events_never_raise(data: st.DataObject, load_event: Callable[[str], Any]) -> None:
    name = data.draw(
        st.sampled_from(
            [
                "apiGatewayProxyEvent.json",
                "apiGatewayProxyV2Event.json",
                "lambdaFunctionUrlEvent.json",
                "albEvent.json",
            ]
        )
    )
    event = load_event(name)
    for _ in range(data.draw(st.integers(1, 6))):
        event = mutate(event, data.draw, JUNK)
    description = recognise(event)
    assert description.trigger in TRIGGERS
    tracer = recording_tracer(semconv="http/dup")
    response = data.draw(JUNK | st.builds(dict, statusCode=JUNK))
    assert tracer.handler(lambda event, context: response)(event, LambdaContext()) is response
    (span,) = tracer.spans
    assert isinstance(span, Span)
    assert protobuf.encode([span])
    tracer.close()


def test_headers_in_any_case_and_shape(load_event: Callable[[str], Any]) -> None:
    traceparent = f"00-{10:032x}-{11:016x}-01"
    shuffled = "".join(random.Random(5).choice([letter.upper(), letter]) for letter in "traceparent")
    shapes: list[dict[str, Any]] = [
        {"headers": {shuffled: traceparent}, "multiValueHeaders": None},
        {"headers": None, "multiValueHeaders": {shuffled: [traceparent]}},
        {"headers": {"other": None}, "multiValueHeaders": {shuffled: ["x", traceparent]}},
    ]
    for shape in shapes:
        tracer = recording_tracer()
        event = {**load_event("apiGatewayProxyEvent.json"), **shape}
        tracer.handler(sync)(event, LambdaContext())
        assert tracer.spans[0].context.trace_id == 10
        tracer.close()
