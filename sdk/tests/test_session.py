"""Sessions: one an invocation, on every span, in the baggage of what is called."""

from __future__ import annotations

import _socket
import asyncio
import json
import threading
import uuid
from typing import Any

import pytest

import lambent
from lambent.exporters.memory import MemoryExporter
from lambent.propagation import baggage
from lambent.testing import LambdaContext

FUNCTION = {"AWS_LAMBDA_FUNCTION_NAME": "orders", "LAMBENT_RECORDER": "false"}

QUEUE = "arn:aws:sqs:eu-west-1:123456789012:orders"


@pytest.fixture(autouse=True)
def in_lambda(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in FUNCTION.items():
        monkeypatch.setenv(name, value)


def sessions_of(exporter: MemoryExporter) -> list[object]:
    return [span.attributes.get("session.id") for span in exporter.spans]


def invoke(tracer: lambent.Tracer, *work: Any) -> None:
    @tracer.handler
    def handler(event: object, context: object) -> None:
        for each in work:
            each()
        with tracer.trace("inside"):
            pass

    handler({}, LambdaContext())


def test_each_invocation_has_one_of_its_own() -> None:
    exporter = MemoryExporter()
    tracer = lambent.init(exporter=exporter, session_name="checkout")
    invoke(tracer)
    invoke(tracer)
    first, again, second, third = sessions_of(exporter)
    assert first == again
    assert second == third
    assert first != second
    assert uuid.UUID(str(first)).version == 4
    assert [span.attributes.get("lambent.session_name") for span in exporter.spans] == [
        None, "checkout", None, "checkout",
    ]  # fmt: skip


def test_nothing_of_it_without_asking() -> None:
    exporter = MemoryExporter()
    tracer = lambent.init(exporter=exporter)
    invoke(tracer, lambda: seen.append(dict(baggage.current())))
    assert sessions_of(exporter) == [None, None]
    assert seen == [{}]


seen: list[dict[str, str]] = []


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    seen.clear()


def look() -> None:
    seen.append(dict(baggage.current()))


def test_the_backend_honeyhive_has_them_under_its_names_too() -> None:
    exporter = MemoryExporter()
    tracer = lambent.init(exporter=exporter, backend="honeyhive", api_key="k")
    invoke(tracer, look)
    for span in exporter.spans:
        session = span.attributes["session.id"]
        assert span.attributes["honeyhive.session_id"] == session
        assert span.attributes["traceloop.association.properties.session_id"] == session
    assert seen == [{"session_id": exporter.spans[0].attributes["session.id"]}]
    assert exporter.spans[1].attributes["honeyhive_session_name"] == "orders"
    assert exporter.spans[0].resource.attributes["honeyhive.session_name"] == "orders"


def test_a_session_that_is_given_by_name_stays() -> None:
    exporter = MemoryExporter()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HH_SESSION_ID", "11111111-2222-4333-8444-555555555555")
        tracer = lambent.init(exporter=exporter, backend="honeyhive", api_key="k")
    invoke(tracer)
    invoke(tracer)
    assert set(sessions_of(exporter)) == {"11111111-2222-4333-8444-555555555555"}


def test_it_is_in_the_baggage_while_it_lasts() -> None:
    exporter = MemoryExporter()
    tracer = lambent.init(exporter=exporter, session_name="s")
    token = baggage.attach({"user": "me"})
    invoke(tracer, look)
    assert seen == [{"user": "me", "session.id": exporter.spans[0].attributes["session.id"]}]
    assert dict(baggage.current()) == {"user": "me"}
    baggage.detach(token)


@pytest.mark.parametrize("entry", ["session.id", "session_id"])
def test_a_callers_session_goes_on(entry: str) -> None:
    exporter = MemoryExporter()
    tracer = lambent.init(exporter=exporter, session_name="s")
    token = baggage.attach({entry: "upstream"})
    invoke(tracer)
    assert sessions_of(exporter) == ["upstream", "upstream"]
    baggage.detach(token)
    invoke(tracer)
    assert "upstream" not in sessions_of(exporter)[2:]


def test_a_callers_session_comes_with_the_event() -> None:
    exporter = MemoryExporter()
    tracer = lambent.init(exporter=exporter, session_name="s")

    @tracer.handler
    def handler(event: object, context: object) -> dict[str, str]:
        return dict(baggage.current())

    headers = {"traceparent": f"00-{1:032x}-{2:016x}-01", "baggage": "session.id=theirs,user=me"}
    event = {"version": "2.0", "headers": headers, "requestContext": {"http": {"method": "GET", "path": "/"}}}
    assert handler(event, LambdaContext()) == {"session.id": "theirs", "user": "me"}
    assert dict(baggage.current()) == {}
    assert "theirs" not in handler({}, LambdaContext()).values()
    first, second = sessions_of(exporter)
    assert first == "theirs"
    assert second not in {None, "theirs"}


def test_records_go_on_with_their_senders_sessions() -> None:
    exporter = MemoryExporter()
    tracer = lambent.init(exporter=exporter, session_name="s")
    found: list[str | None] = []

    def message(number: int, session: str) -> dict[str, object]:
        attributes = {
            "traceparent": {"stringValue": f"00-{number:032x}-{number:016x}-01", "dataType": "String"},
            "baggage": {"stringValue": session, "dataType": "String"},
        }
        return {"messageId": str(number), "eventSource": "aws:sqs", "body": "", "attributes": {},
                "eventSourceARN": QUEUE, "messageAttributes": attributes}  # fmt: skip

    @tracer.handler
    def handler(event: dict[str, list[object]], context: object) -> None:
        for record in event["Records"]:
            with tracer.process(record) as span:
                found.append(baggage.current().get("session.id"))
                assert isinstance(span, lambent.Span)
                assert span.attributes["session.id"] == found[-1]

    handler({"Records": [message(1, "session.id=one"), message(2, "user=me")]}, LambdaContext())
    root = exporter.spans[-1].attributes["session.id"]
    assert found == ["one", root]


def test_an_inferred_span_is_in_its_invocations_session() -> None:
    exporter = MemoryExporter()
    tracer = lambent.init(exporter=exporter, session_name="s", upstream=True)
    at = str(int(tracer.clock() / 1e6) - 50)
    record = {"messageId": "1", "eventSource": "aws:sqs", "body": "", "messageAttributes": {},
              "attributes": {"SentTimestamp": at}, "eventSourceARN": QUEUE}  # fmt: skip

    @tracer.handler
    def handler(event: object, context: object) -> str | None:
        return baggage.current().get("session.id")

    session = handler({"Records": [record]}, LambdaContext())
    assert len(exporter.spans) > 1
    assert set(sessions_of(exporter)) == {session}
    assert dict(baggage.current()) == {}


def test_a_new_trace_inside_belongs_to_the_session() -> None:
    exporter = MemoryExporter()
    tracer = lambent.init(exporter=exporter, session_name="s")
    with tracer.trace("root"), tracer.trace("record", context=lambent.SpanContext(1, 2, True, 1)):
        pass
    assert len(set(sessions_of(exporter))) == 1


def test_tracers_have_sessions_of_their_own() -> None:
    first, second = MemoryExporter(), MemoryExporter()
    one = lambent.init(exporter=first, session_name="one")
    two = lambent.init(exporter=second, session_name="two")
    with one.trace("a"), two.trace("b"), one.trace("c"), two.trace("d"):
        pass
    assert len(set(sessions_of(first))) == 1
    assert len(set(sessions_of(second))) == 1
    assert set(sessions_of(first)) != set(sessions_of(second))
    assert dict(baggage.current()) == {}


def test_one_that_ended_elsewhere_is_not_taken_up_again() -> None:
    exporter = MemoryExporter()
    tracer = lambent.init(exporter=exporter, session_name="s")
    span = tracer.start_span("left open here")
    thread = threading.Thread(target=span.end)
    thread.start()
    thread.join(30)
    with tracer.trace("next"):
        pass
    first, second = sessions_of(exporter)
    assert first != second


def test_handlers_at_once_have_one_each() -> None:
    exporter = MemoryExporter()
    tracer = lambent.init(exporter=exporter, session_name="s")

    @tracer.handler
    async def handler(event: object, context: object) -> None:
        await asyncio.sleep(0)
        with tracer.trace("inside"):
            await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(*[handler({}, LambdaContext()) for _ in range(5)])

    asyncio.run(main())
    by_trace: dict[int, set[object]] = {}
    for span in exporter.spans:
        by_trace.setdefault(span.context.trace_id, set()).add(span.attributes["session.id"])
    assert len(by_trace) == 5
    assert all(len(found) == 1 for found in by_trace.values())
    assert len(set.union(*by_trace.values())) == 5


def test_init_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def refuse(*arguments: object, **_: object) -> None:
        asked.append(arguments)
        raise OSError("no socket")

    for name in ("socket", "getaddrinfo"):
        monkeypatch.setattr(_socket, name, refuse)  # what the SDK stands on, and `socket` as well
    tracer = lambent.init(backend="honeyhive", api_key="k", session_name="s", recorder=False)
    tracer.start_span("first").end()
    assert asked == []  # what a socket raises nobody would hear of
    tracer.close()
    assert asked != []


KILLED = """
import os, lambent

class Marks(lambent.SpanProcessor):
    def on_start(self, span, parent_context=None):
        span.set_attribute("told", span.attributes.get("told", 0) + 1)

tracer = lambent.init(session_name="s", processors=[Marks()], exporters=["file"], recorder=True)
with tracer.trace("outer"), tracer.trace("inner"):
    os._exit(9)
"""


def test_spans_of_a_killed_process_have_their_session(run_python: Any, tmp_path: Any) -> None:
    env = {**FUNCTION, "LAMBENT_RECORDER": "true", "LAMBENT_FILE": str(tmp_path / "spans.jsonl")}
    env["LAMBENT_RECORDER_FOLDER"] = str(tmp_path)
    run_python(KILLED, env, code=9)
    run_python("import lambent\ntracer = lambent.init(session_name='s', exporters=['file'], recorder=True)\n"
               "tracer.start_span('next').end()\ntracer.close()", env)  # fmt: skip
    found: dict[str, dict[str, object]] = {}
    for line in (tmp_path / "spans.jsonl").read_text().splitlines():
        for span in json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"]:
            found[span["name"]] = {each["key"]: each["value"] for each in span["attributes"]}
    assert found["outer"]["session.id"] == found["inner"]["session.id"]
    assert found["outer"]["told"] == found["inner"]["told"] == {"intValue": "1"}
    assert "lambent.unfinished" in found["inner"]


def test_what_is_said_of_a_session_is_on_its_outermost_span() -> None:
    exporter = MemoryExporter()
    tracer = lambent.init(exporter=exporter, session_name="s")
    with tracer.trace("outer"), tracer.trace("inner"):
        assert lambent.enrich_session({"tier": "gold"}, user_properties={"id": 7}, feedback={"stars": 5})
    inner, outer = exporter.spans
    assert "lambent.metadata.tier" not in inner.attributes
    assert outer.attributes["lambent.metadata.tier"] == "gold"
    assert outer.attributes["lambent.user_properties.id"] == 7
    assert outer.attributes["lambent.feedback.stars"] == 5
    assert not lambent.enrich_session({"tier": "gold"})
