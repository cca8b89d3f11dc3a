"""Processors and exporters of other makers: what they are given, in which order, what they may do wrong."""

from __future__ import annotations

import io
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import baggage, trace
from opentelemetry import context as otel_context
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, SynchronousMultiSpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    ConsoleSpanExporter,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import lambent
from lambent import ConfigError
from lambent.exporters.memory import MemoryExporter
from lambent.otel import readable as otel_readable
from lambent.otel.readable import Translator
from lambent.span import Span
from lambent.testing import recording_tracer
from lambent.wire import protobuf

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hypothesis import strategies as st


def busy_span(tracer: lambent.Tracer) -> None:
    """One trace with everything that a span can hold."""
    with tracer.trace("outer", kind=2, attributes={"text": "ü", "n": 3, "f": 1.5, "ok": True}) as outer:
        outer.add_event("happened", {"list": [1, 2], "b": b"raw"}, 1_700_000_000_000_000_000)
        outer.add_link(lambent.SpanContext(7, 8, True, 1), {"why": "because"})
        outer.set_attribute("nested", {"a": [1, "x"]})
        with pytest.raises(ValueError, match="no"), tracer.trace("inner"):
            raise ValueError("no")


class Recorder(SpanProcessor):
    """Keeps what it was called with."""

    def __init__(self, calls: list[tuple[str, str]] | None = None, name: str = "r") -> None:
        self.calls = calls if calls is not None else []
        self.name = name
        self.started: list[Any] = []
        self.contexts: list[Any] = []
        self.ended: list[ReadableSpan] = []

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        self.calls.append((self.name, f"start {span.name}"))
        self.started.append(span)
        self.contexts.append(parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        self.calls.append((self.name, f"end {span.name}"))
        self.ended.append(span)

    def shutdown(self) -> None:
        self.calls.append((self.name, "shutdown"))

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        self.calls.append((self.name, "flush"))
        return True


def test_processors_are_called_in_order() -> None:
    calls: list[tuple[str, str]] = []
    tracer = lambent.init(processors=[Recorder(calls, "a"), Recorder(calls, "b")])
    with tracer.trace("s"):
        pass
    assert tracer.force_flush()
    tracer.close()
    steps = ["start s", "end s", "flush", "flush", "shutdown"]
    assert calls == [(name, step) for step in steps for name in "ab"]  # closing flushes once more


def test_all_are_told_of_an_ending_before_one_is_given_the_end() -> None:
    class Ending(Recorder):
        def _on_ending(self, span: Any) -> None:
            assert not span.is_recording()
            assert isinstance(span, trace.Span)
            self.calls.append((self.name, f"ending {getattr(span, 'name', '')}"))

    class Ours(lambent.SpanProcessor):
        def __init__(self, calls: list[tuple[str, str]]) -> None:
            self.calls = calls

        def _on_ending(self, span: Span) -> None:
            self.calls.append(("ours", f"ending {span.name}"))

    calls: list[tuple[str, str]] = []
    both = SynchronousMultiSpanProcessor()  # type: ignore[no-untyped-call]  # so it is in there
    both.add_span_processor(Ending(calls, "c"))
    tracer = lambent.init(
        processors=[Ending(calls, "a"), Recorder(calls, "without"), Ours(calls), both], exporter="none"
    )
    with tracer.trace("s"):
        pass
    tracer.close()
    assert [call for call in calls if call[1].split()[0] in ("ending", "end")] == [
        ("a", "ending s"), ("ours", "ending s"), ("c", "ending s"),
        ("a", "end s"), ("without", "end s"), ("c", "end s"),
    ]  # fmt: skip

    reference: list[tuple[str, str]] = []
    provider = TracerProvider()
    for name in "ab":
        provider.add_span_processor(Ending(reference, name))
    provider.get_tracer("sdk").start_span("s").end()
    assert [call[0] for call in reference if call[1] != "start s"] == ["a", "b", "a", "b"], "as the SDK does"
    provider.shutdown()


def test_a_processor_is_given_real_objects_of_opentelemetrys() -> None:
    recorder = Recorder()
    tracer = lambent.init(processors=recorder)
    with tracer.trace("outer", attributes={"a": 1}) as outer, tracer.trace("inner"):
        pass
    started = recorder.started[0]
    assert isinstance(started, trace.Span)
    assert isinstance(started, ReadableSpan)
    assert started.get_span_context().span_id == outer.context.span_id
    (inner, ended) = recorder.ended
    assert isinstance(ended, ReadableSpan)
    assert (ended.name, ended.attributes, ended.kind) == ("outer", {"a": 1}, trace.SpanKind.INTERNAL)
    assert inner.parent == ended.context
    assert ended.context is not None
    assert ended.context.trace_flags.sampled
    assert ended.resource.attributes["telemetry.sdk.name"] == "lambent"
    assert ended.instrumentation_scope is not None
    assert ended.instrumentation_scope.name == "lambent"
    tracer.close()


def test_on_start_may_write_to_the_span() -> None:
    class Metrics(SpanProcessor):
        def on_start(self, span: trace.Span, parent_context: Any = None) -> None:
            span.set_attribute("cpu", 12.5)
            span.set_attributes({"more": "x"})
            span.add_event("began")
            span.update_name("renamed")
            span.set_status(trace.Status(trace.StatusCode.ERROR, "bad"))
            span.record_exception(ValueError("v"))
            span.add_link(trace.SpanContext(1, 2, False))
            assert span.is_recording()
            assert span.attributes["cpu"] == 12.5  # type: ignore[attr-defined]  # the SDK's spans can be read
            assert json.loads(span.to_json())["name"] == "renamed"  # type: ignore[attr-defined]  # as above

    memory = InMemorySpanExporter()
    tracer = lambent.init(processors=[Metrics(), SimpleSpanProcessor(memory)])
    with tracer.trace("s") as span:
        assert isinstance(span, Span)
    (exported,) = memory.get_finished_spans()
    assert exported.name == "renamed"
    assert exported.attributes == {"cpu": 12.5, "more": "x"}
    assert [event.name for event in exported.events] == ["began", "exception"]
    assert exported.status.description == "bad"
    assert exported.links[0].context.span_id == 2
    tracer.close()


def test_the_parent_context_has_the_parent_and_the_baggage() -> None:
    recorder = Recorder()
    tracer = lambent.init(processors=[recorder])
    token = otel_context.attach(baggage.set_baggage("user", "u-1"))
    try:
        with tracer.trace("outer", attributes={"tenant": "t"}), tracer.trace("inner"):
            pass
        remote = lambent.SpanContext(5, 6, True, 1)
        tracer.start_span("remote", context=remote).end()
    finally:
        otel_context.detach(token)
    outside, inside, remote_context = recorder.contexts
    assert not trace.get_current_span(outside).get_span_context().is_valid
    parent: Any = trace.get_current_span(inside)
    assert parent.attributes == {"tenant": "t"}
    assert baggage.get_baggage("user", inside) == "u-1"
    assert trace.get_current_span(remote_context).get_span_context().span_id == 6
    tracer.close()


def test_ours_are_given_our_spans_and_need_only_what_they_use() -> None:
    seen: list[object] = []

    class Ours(lambent.SpanProcessor):
        def on_start(self, span: Span, parent_context: object = None) -> None:
            span.set_attribute("seen", True)
            seen.append(span)

    class Duck:
        def on_end(self, span: Span) -> None:
            seen.append(span.attributes["seen"])

    tracer = lambent.init(processors=(Ours(), Duck()))
    with tracer.trace("s") as span:
        pass
    assert seen == [span, True]
    assert tracer.force_flush()
    tracer.close()


def test_without_opentelemetry_it_is_not_imported(run_python: Any) -> None:
    program = """
import sys, lambent
class P:
    def on_start(self, span, parent_context): span.set_attribute("a", 1)
    def on_end(self, span): print(span.name, dict(span.attributes))
tracer = lambent.init(processors=[P()])
tracer.trace("s").end()
assert not any(name.split(".")[0] == "opentelemetry" for name in sys.modules)
"""
    assert run_python(program).stdout == "s {'a': 1}\n"


def test_processors_and_named_exporters_work_side_by_side() -> None:
    memory, recorder = MemoryExporter(), Recorder()
    tracer = lambent.init(processors=[recorder], exporters=[memory])
    with tracer.trace("s"):
        pass
    assert [span.name for span in memory.spans] == [span.name for span in recorder.ended] == ["s"]
    tracer.close()


class Broken(SpanProcessor):
    def on_start(self, span: Any, parent_context: Any = None) -> None:
        raise RuntimeError("start")

    def on_end(self, span: Any) -> None:
        raise RuntimeError("end")

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        raise RuntimeError("flush")

    def shutdown(self) -> None:
        raise RuntimeError("shutdown")


def test_a_processor_that_fails_is_said_once_and_stops_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    recorder = Recorder()
    tracer = lambent.init(processors=[Broken(), recorder])
    for _ in range(2):
        with tracer.trace("s"):
            pass
    assert tracer.force_flush() is False
    tracer.close()
    assert len(recorder.ended) == 2
    said = capsys.readouterr().err.splitlines()
    assert [line.rpartition(": ")[2] for line in said] == ["start", "end", "flush", "shutdown"]


def test_a_flush_that_hangs_is_left_behind(capsys: pytest.CaptureFixture[str]) -> None:
    release = threading.Event()

    class Hanging(Recorder):
        def force_flush(self, timeout_millis: int = 30000) -> bool:
            return release.wait(30)

    second = Recorder()
    tracer = lambent.init(processors=[Hanging(), second], timeout=0.1)
    start = time.monotonic()
    assert tracer.force_flush() is False
    assert tracer.force_flush(timeout_millis=50) is False
    assert time.monotonic() - start < 10
    release.set()
    assert "Hanging was not flushed: it did not return in time" in capsys.readouterr().err
    tracer.close()


def test_a_processor_that_traces_does_not_go_round_in_circles() -> None:
    class Tracing(SpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            tracer.trace("in on_start").end()

        def on_end(self, span: Any) -> None:
            with tracer.trace("in on_end"):
                pass

    memory = MemoryExporter()
    tracer = lambent.init(processors=[Tracing()], exporters=[memory], sampler="always_on")
    tracer.trace("s").end()
    assert [span.name for span in memory.spans] == ["s"]
    assert tracer.stats().sampled_out == 2
    tracer.close()


@pytest.mark.parametrize("wrong", [[object()], "batch", [Recorder], 5])
def test_what_is_no_processor(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="span processors"):
        lambent.init(processors=wrong)


# Exporters of OpenTelemetry's.


def test_the_readable_span_is_faithful(span_batches: st.SearchStrategy[Sequence[Span]]) -> None:
    from hypothesis import given

    @given(span_batches)
    def compare(spans: Sequence[Span]) -> None:
        translator = Translator()
        for span in spans:
            readable = translator.finished(span)
            assert (readable.name, readable.start_time, readable.end_time) == (
                span.name, span.start_time, span.end_time,
            )  # fmt: skip
            assert repr(dict(readable.attributes or {})) == repr(dict(span.attributes))
            assert readable.dropped_attributes == span.dropped_attributes
            assert readable.dropped_events == span.dropped_events
            assert readable.dropped_links == span.dropped_links
            assert len(readable.events) == len(span.events)
            assert [link.context.span_id for link in readable.links] == [
                link.context.span_id for link in span.links
            ]
            here: Any
            there: Any
            parts = [*zip(readable.events, span.events), *zip(readable.links, span.links)]  # noqa: B905  # see above
            for here, there in parts:
                assert here.attributes == there.attributes
                # The first is where OpenTelemetry's exporters looked for it before version 1.26.
                assert here.attributes.dropped == here.dropped_attributes == there.dropped_attributes

    compare()


def test_opentelemetrys_encoder_makes_the_same_of_both() -> None:
    tracer = recording_tracer()
    busy_span(tracer)
    translator = Translator()
    theirs = encode_spans([translator.finished(span) for span in tracer.spans])
    ours = ExportTraceServiceRequest.FromString(protobuf.encode(tracer.spans))
    for message in (ours, theirs):
        for spans in message.resource_spans[0].scope_spans[0].spans:
            spans.flags &= 0x300  # whether a span is sampled is said by us alone
            for link in spans.links:
                link.flags &= 0x300
    assert ours == theirs


def test_an_sdk_whose_scopes_have_no_attributes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Scope:  # as before version 1.26
        def __init__(self, name: str, version: str | None = None, schema_url: str | None = None) -> None:
            self.given = name, version, schema_url

    monkeypatch.setattr(otel_readable, "InstrumentationScope", Scope)
    tracer = recording_tracer()
    tracer.trace("s").end()
    scope: Any = Translator().finished(tracer.spans[0]).instrumentation_scope
    assert scope.given == (tracer.scope.name, tracer.scope.version, tracer.scope.schema_url)


def test_in_memory_and_console_exporters() -> None:
    memory, out = InMemorySpanExporter(), io.StringIO()
    tracer = lambent.init(exporters=[memory, ConsoleSpanExporter(out=out)])
    with tracer.trace("s", attributes={"a": 1}):
        pass
    assert tracer.force_flush()
    assert [span.name for span in memory.get_finished_spans()] == ["s"]
    printed = json.loads(out.getvalue())
    assert (printed["name"], printed["attributes"]) == ("s", {"a": 1})
    tracer.close()


@pytest.fixture
def collector() -> Iterator[tuple[str, list[bytes]]]:
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", bodies
    server.shutdown()
    server.server_close()
    thread.join(10)


def test_otlp_of_opentelemetrys_exporter_equals_ours(collector: tuple[str, list[bytes]]) -> None:
    url, bodies = collector
    memory = MemoryExporter()
    theirs = OTLPSpanExporter(endpoint=f"{url}/v1/traces")
    tracer = lambent.init(exporters=[memory, theirs], timeout=30)
    busy_span(tracer)
    assert tracer.force_flush()
    tracer.close()
    (body,) = bodies
    sent = ExportTraceServiceRequest.FromString(body).resource_spans[0]
    ours = ExportTraceServiceRequest.FromString(protobuf.encode(memory.spans)).resource_spans[0]
    assert sent.resource == ours.resource
    assert [span.name for span in sent.scope_spans[0].spans] == ["inner", "outer"]
    for mine, other in zip(ours.scope_spans[0].spans, sent.scope_spans[0].spans, strict=True):
        mine.flags = other.flags = 0
        for link in (*mine.links, *other.links):
            link.flags = 0
        assert mine == other


def test_a_batch_processor_exports_what_was_traced(collector: tuple[str, list[bytes]]) -> None:
    url, bodies = collector
    processor = BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{url}/v1/traces"))
    tracer = lambent.init(processors=[processor], timeout=30)

    @tracer.handler
    def handler(event: object, context: object) -> int:
        with tracer.trace("work"):
            return 5

    assert handler({}, None) == 5
    # In mode sync an invocation's end flushes processors too.
    names = [
        span.name
        for body in bodies
        for span in ExportTraceServiceRequest.FromString(body).resource_spans[0].scope_spans[0].spans
    ]
    assert names == ["work", "invocation"]
    tracer.close()


class Odd(SpanExporter):
    def __init__(self, does: Any) -> None:
        self.does = does

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result: SpanExportResult = self.does(spans)
        return result

    def shutdown(self) -> None:
        return


def fail(spans: object) -> SpanExportResult:
    raise OSError("no")


def leave(spans: object) -> SpanExportResult:
    sys.exit(3)


@pytest.mark.parametrize(
    ("does", "said"),
    [
        (fail, "OSError: no"),
        (leave, "SystemExit: 3"),
        (lambda spans: SpanExportResult.FAILURE, "reported a failure"),
    ],
)
def test_an_exporter_of_opentelemetrys_that_fails(
    does: Any, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tracer = lambent.init(exporter=Odd(does))
    tracer.trace("s").end()
    assert tracer.force_flush() is False
    assert tracer.stats().dropped == {"failed": 1}
    assert said in capsys.readouterr().err
    tracer.close()


def test_an_exporter_of_opentelemetrys_that_hangs_is_left_behind(capsys: pytest.CaptureFixture[str]) -> None:
    release = threading.Event()

    def hang(spans: object) -> SpanExportResult:
        release.wait(30)
        return SpanExportResult.SUCCESS

    tracer = lambent.init(exporter=Odd(hang), timeout=0.1)
    tracer.trace("s").end()
    assert tracer.force_flush() is False
    tracer.trace("t").end()
    assert tracer.force_flush() is False
    release.set()
    said = capsys.readouterr().err
    assert "did not return in time" in said
    assert "still busy" in said
    tracer.close()


def test_what_an_exporter_traces_is_not_recorded() -> None:
    def export(spans: object) -> SpanExportResult:
        tracer.trace("while exporting").end()
        assert otel_context.get_value(_SUPPRESS_INSTRUMENTATION_KEY)
        return SpanExportResult.SUCCESS

    tracer = lambent.init(exporter=Odd(export))
    tracer.trace("s").end()
    assert tracer.force_flush()
    stats = tracer.stats()
    assert (stats.ended, stats.acknowledged, stats.waiting) == (1, 1, 0)
    tracer.close()
