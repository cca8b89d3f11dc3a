"""The OTLP line in a function's log."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from lambent_lab.traces import parse_stdout_line, read_stdout_line
from lambent_lab.traces.stdout import MARKER, split_log

TRACE = "5b8efff798038103d269b633813fc60c"
SPAN = "eee19b7ec3c1b174"


def protobuf() -> bytes:
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add()
    span.trace_id, span.span_id, span.name = bytes.fromhex(TRACE), bytes.fromhex(SPAN), "hello"
    return request.SerializeToString()


def record(**changes: Any) -> dict[str, Any]:
    return {
        MARKER: "0.1.0",
        "source": "orders",
        "endpoint": "http://localhost:4318/v1/traces",
        "method": "POST",
        "content-type": "application/x-protobuf",
        "content-encoding": "gzip",
        "headers": {},
        "payload": base64.b64encode(gzip.compress(protobuf())).decode(),
        "base64": True,
        **changes,
    }


def test_gzipped_protobuf() -> None:
    spans = parse_stdout_line(json.dumps(record()) + "\n")
    assert spans is not None
    assert [(span.trace_id, span.name) for span in spans] == [(TRACE, "hello")]


def test_the_line_of_the_package_that_defined_it(capsys: pytest.CaptureFixture[str]) -> None:
    package = pytest.importorskip("otlp_stdout_span_exporter", reason="needs Python 3.12")
    provider = TracerProvider(resource=Resource({"service.name": "orders"}))
    provider.add_span_processor(SimpleSpanProcessor(package.OTLPStdoutSpanExporter()))
    with provider.get_tracer("test").start_as_current_span("GET /orders"):
        pass
    provider.shutdown()
    (line,) = capsys.readouterr().out.splitlines()
    batch = read_stdout_line(line)
    assert batch is not None
    assert (batch.problem, batch.before) == ("", "")
    assert [(span.name, span.service) for span in batch.spans] == [("GET /orders", "orders")]


REQUEST = {
    "resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": TRACE, "spanId": SPAN, "name": "hello"}]}]}]
}
OTLP_JSON = json.dumps(REQUEST)


JSON = {"content-type": "application/json"}
PLAIN = {"content-encoding": ""}


@pytest.mark.parametrize(
    "changes",
    [
        {"content-encoding": "", "payload": base64.b64encode(protobuf()).decode()},
        {"content-encoding": None, "payload": base64.b64encode(protobuf()).decode()},
        {**JSON, "payload": base64.b64encode(gzip.compress(OTLP_JSON.encode())).decode()},
        {**PLAIN, "content-type": "application/json; charset=utf-8", "base64": False, "payload": OTLP_JSON},
        {**PLAIN, **JSON, "base64": False, "payload": REQUEST},
    ],
    ids=["plain", "null encoding", "gzipped JSON", "JSON text", "JSON object"],
)
def test_the_other_encodings(changes: dict[str, Any]) -> None:
    spans = parse_stdout_line(json.dumps(record(**changes)))
    assert spans is not None
    assert [(span.trace_id, span.name) for span in spans] == [(TRACE, "hello")]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "hello",
        "{}",
        "[1]",
        '{"message": "hi"}',
        f"the key is {MARKER}",
        f'{{"note": "{MARKER}"}}',
        f"{{{MARKER}",
    ],
)
def test_ordinary_lines(line: str) -> None:
    assert read_stdout_line(line) is None


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"payload": "***"}, "not base64"),
        ({"payload": None}, "payload is missing"),
        ({"payload": base64.b64encode(b"plain").decode()}, "not valid gzip"),
        ({"payload": base64.b64encode(gzip.compress(b"\xff\xff")).decode()}, "not an OTLP protobuf"),
        ({"content-encoding": "br"}, "content-encoding 'br'"),
        ({"content-type": "text/plain"}, "content-type 'text/plain'"),
    ],
)
def test_malformed_lines_say_why(changes: dict[str, Any], problem: str) -> None:
    line = json.dumps(record(**changes))
    batch = read_stdout_line(line)
    assert batch is not None
    assert batch.spans == []
    assert problem in batch.problem
    assert batch.source == "orders"
    assert parse_stdout_line(line) == []


def test_a_line_that_is_cut_off() -> None:
    batch = read_stdout_line(json.dumps(record())[:80])
    assert batch is not None
    assert "not complete JSON" in batch.problem


@pytest.mark.parametrize("signal", ["metrics", "logs"])
def test_metrics_and_logs_are_left_alone(signal: str) -> None:
    batch = read_stdout_line(json.dumps(record(endpoint=f"http://localhost:4318/v1/{signal}")))
    assert batch is not None
    assert (batch.spans, batch.problem) == ([], "")


def test_a_log_is_split_into_text_spans_and_problems() -> None:
    good, bad = json.dumps(record()), json.dumps(record(payload="***"))
    text, spans, problems = split_log(["START", "loading..." + good, bad, "END"])
    assert text == ["START", "loading...", "END"]
    assert [span.name for span in spans] == ["hello"]
    assert len(problems) == 1


anything = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.just({"resourceSpans": [1]})
    | st.lists(st.text())
)


@given(
    st.dictionaries(st.sampled_from([key for key in record() if key != MARKER]), anything),
    st.text(max_size=5),
)
def test_no_line_ever_raises(changes: dict[str, Any], before: str) -> None:
    batch = read_stdout_line(before + json.dumps({**record(), **changes}))
    assert batch is not None
    assert batch.spans or batch.problem or set(changes) & {"payload", "endpoint", "content-type"}


@given(st.text())
def test_no_text_ever_raises(text: str) -> None:
    read_stdout_line(text)
    read_stdout_line(f'{{"{MARKER}": {text}')
