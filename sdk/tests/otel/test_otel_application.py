"""What application code writes, beside what the OpenTelemetry API gives it."""

from __future__ import annotations

import lambent
from lambent import llm
from lambent.exporters.memory import MemoryExporter


def parents(memory: MemoryExporter) -> dict[str, str | None]:
    """The name of each span's parent."""
    by_id = {span.context.span_id: span.name for span in memory.spans}
    return {span.name: by_id.get(span.parent.span_id) if span.parent else None for span in memory.spans}


def test_a_traced_function_inside_a_span_of_the_api() -> None:
    from opentelemetry import trace

    memory = MemoryExporter()
    ours = lambent.init(exporter=memory)

    @lambent.trace
    def work() -> None:
        with lambent.trace("inside"), trace.get_tracer("lib").start_as_current_span("deepest"):
            assert lambent.enrich_span({"a": 1})

    theirs = trace.get_tracer("lib")
    with theirs.start_as_current_span("outer"):
        work()
        for tracer in (None, ours, theirs):
            assert lambent.enrich_span({"b": 2}, tracer=tracer)
        with lambent.enrich_span(event_name="part"), llm.call("m"):
            pass
    assert parents(memory) == {
        "deepest": "inside", "inside": "work", "work": "outer", "chat m": "part", "part": "outer",
        "outer": None,
    }  # fmt: skip
    scopes = {span.name: span.instrumentation_scope.name for span in memory.spans}
    assert scopes == {
        "deepest": "lib", "inside": "lambent", "work": "lambent", "chat m": "lambent", "part": "lambent",
        "outer": "lib",
    }  # fmt: skip
    attributes = {span.name: dict(span.attributes) for span in memory.spans}
    assert attributes["deepest"] == {"lambent.metadata.a": 1}
    assert attributes["outer"] == {"lambent.metadata.b": 2}


def test_an_invocation_is_below_the_span_that_another_tool_put_around_it() -> None:
    """As OpenTelemetry's own instrumentor for Lambda does, which goes on from the same caller."""
    from opentelemetry import propagate, trace

    memory = MemoryExporter()
    ours = lambent.init(exporter=memory, service_name="function")
    caller = {"traceparent": "00-0000000000000000000000000000000a-000000000000000b-01"}
    another = {"traceparent": "00-0000000000000000000000000000000a-000000000000000c-01"}

    @ours.handler
    def handler(event: object, context: object) -> None:
        """Do nothing."""

    theirs = trace.get_tracer("lib")
    with theirs.start_as_current_span("around", context=propagate.extract(caller)):
        with theirs.start_as_current_span("nearer"):
            handler({"headers": caller}, None)
        handler({"headers": another}, None)
    handler({"headers": caller}, None)
    first, nearer, second, _, third = memory.spans
    parents = [span.parent and span.parent.span_id for span in (first, second, third)]
    assert parents == [nearer.context.span_id, 12, 11]
    ours.close()


def test_a_session_is_in_the_apis_baggage() -> None:
    from opentelemetry import baggage, trace

    memory = MemoryExporter()
    tracer = lambent.init(exporter=memory, session_name="s")
    with tracer.trace("outer"), trace.get_tracer("lib").start_as_current_span("inner"):
        session = baggage.get_baggage("session.id")
    assert [span.attributes["session.id"] for span in memory.spans] == [session, session]
    assert baggage.get_all() == {}


def test_anothers_span_takes_values_too() -> None:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    memory = MemoryExporter()
    lambent.init(exporter=memory)
    foreign = TracerProvider().get_tracer("other").start_span("foreign")
    with trace.use_span(foreign):
        assert lambent.enrich_span({"a": 1})
        lambent.trace("inside")(lambda: None)()
    assert foreign.attributes == {"lambent.metadata.a": 1}  # type: ignore[attr-defined]  # the SDK's have them
    (span,) = memory.spans
    assert span.parent is not None
    assert span.parent.span_id == foreign.get_span_context().span_id
