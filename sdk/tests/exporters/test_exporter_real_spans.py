"""Every exporter with the encoders it finds itself, and spans that a tracer made."""

from __future__ import annotations

import base64
import gzip
import io
import json
from typing import TYPE_CHECKING

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from lambent.exporters.console import ConsoleExporter
from lambent.exporters.file import FileExporter
from lambent.exporters.otlp_http import OtlpHttpExporter
from lambent.exporters.stdout import StdoutExporter
from lambent.testing import recording_tracer

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any, Literal

    from lambent.span import Span


@pytest.fixture
def spans() -> list[Span]:
    tracer = recording_tracer()
    with tracer.trace("outer", attributes={"größe": 3}) as outer, tracer.trace("inner"):
        outer.set_status("ERROR", "broke")
    return list(tracer.spans)


def names(request: ExportTraceServiceRequest) -> list[str]:
    return [
        span.name
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def from_json(text: bytes | str) -> ExportTraceServiceRequest:
    # OTLP JSON writes ids in hex, where protobuf's own JSON has base64: names are enough here.
    found = json.loads(text)
    for resource in found["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                for key in ("traceId", "spanId", "parentSpanId"):
                    span.pop(key, None)
    return json_format.ParseDict(found, ExportTraceServiceRequest())


@pytest.mark.parametrize("protocol", ["http/protobuf", "http/json"])
def test_http(serve: Any, spans: list[Span], protocol: Literal["http/protobuf", "http/json"]) -> None:
    server = serve()
    exporter = OtlpHttpExporter(server.url, protocol=protocol)
    assert exporter.export(spans, 10).ok
    exporter.close()
    body = server.requests[0].body
    request = from_json(body) if protocol == "http/json" else ExportTraceServiceRequest.FromString(body)
    assert names(request) == ["inner", "outer"]


def test_stdout(capsys: pytest.CaptureFixture[str], spans: list[Span]) -> None:
    assert StdoutExporter(source="s").export(spans, 10).ok
    payload = json.loads(capsys.readouterr().out)["payload"]
    request = ExportTraceServiceRequest.FromString(gzip.decompress(base64.b64decode(payload)))
    assert names(request) == ["inner", "outer"]


def test_file(tmp_path: Path, spans: list[Span]) -> None:
    exporter = FileExporter(tmp_path / "spans.jsonl")
    assert exporter.export(spans[:1], 10).ok
    assert exporter.export(spans[1:], 10).ok
    lines = (tmp_path / "spans.jsonl").read_text().splitlines()
    assert [names(from_json(line)) for line in lines] == [["inner"], ["outer"]]


def test_console(spans: list[Span]) -> None:
    stream = io.StringIO()
    assert ConsoleExporter(stream).export(spans, 10).ok
    outer, inner = stream.getvalue().splitlines()
    assert "ms  outer INTERNAL ERROR (broke) größe=3" in outer
    assert "ms    inner INTERNAL" in inner
