"""The OTLP/HTTP receiver, spoken to as exporters do and as they should not."""

from __future__ import annotations

import asyncio
import gzip
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import requests
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from lambent_lab.errors import LabError
from lambent_lab.traces.receiver import JSON, PROTOBUF, Receiver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from lambent_lab.traces import SpanRecord

TRACE = "5b8efff798038103d269b633813fc60c"
SPAN = "eee19b7ec3c1b174"


def protobuf(*trace_ids: str) -> bytes:
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for trace_id in trace_ids:
        spans.add(trace_id=bytes.fromhex(trace_id), span_id=bytes.fromhex(SPAN), name="hello")
    return request.SerializeToString()


@asynccontextmanager
async def receiving() -> AsyncIterator[tuple[Receiver, list[SpanRecord]]]:
    got: list[SpanRecord] = []

    def keep(spans: Sequence[SpanRecord], received_ns: int) -> None:
        assert received_ns > 0
        got.extend(spans)

    receiver = await Receiver.start(keep)
    try:
        yield receiver, got
    finally:
        await receiver.close()
        await receiver.close()


async def send(
    receiver: Receiver, body: bytes, *, method: str = "POST", path: str = "/v1/traces", **headers: str
) -> requests.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    url = receiver.url + path
    return await asyncio.to_thread(
        lambda: requests.request(method, url, data=body, headers=named, timeout=10)
    )


async def test_the_opentelemetry_exporter_delivers() -> None:
    async with receiving() as (receiver, got):

        def export() -> None:
            for compression in (Compression.NoCompression, Compression.Gzip):
                provider = TracerProvider()
                exporter = OTLPSpanExporter(f"{receiver.url}/v1/traces", compression=compression, timeout=10)
                provider.add_span_processor(SimpleSpanProcessor(exporter))
                with provider.get_tracer("test").start_as_current_span(compression.value):
                    pass
                provider.shutdown()

        await asyncio.to_thread(export)
        assert [span.name for span in got] == ["none", "gzip"]
        assert (receiver.counts.requests, receiver.counts.spans, receiver.counts.failed) == (2, 2, 0)
        assert receiver.counts.bytes > 100


async def test_answers_come_in_the_encoding_of_the_request() -> None:
    async with receiving() as (receiver, _):
        binary = await send(receiver, protobuf(TRACE), content_type=PROTOBUF)
        assert (binary.status_code, binary.headers["content-type"]) == (200, PROTOBUF)
        assert ExportTraceServiceResponse.FromString(binary.content) == ExportTraceServiceResponse()
        text = await send(receiver, b"{}", content_type="application/json; charset=utf-8")
        assert (text.status_code, text.headers["content-type"], text.json()) == (200, JSON, {})


async def test_rejected_spans_are_a_partial_success() -> None:
    async with receiving() as (receiver, got):
        binary = await send(receiver, protobuf(TRACE, "00" * 16), content_type=PROTOBUF)
        answer = ExportTraceServiceResponse.FromString(binary.content)
        assert answer.partial_success.rejected_spans == 1
        assert "trace id" in answer.partial_success.error_message
        body = json.dumps(
            {"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "x", "spanId": SPAN}]}]}]}
        )
        text = await send(receiver, body.encode(), content_type=JSON)
        assert text.json()["partialSuccess"]["rejectedSpans"] == "1"
        assert (len(got), receiver.counts.rejected) == (1, 2)


@pytest.mark.parametrize(
    ("status", "changes"),
    [
        (404, {"path": "/v1/metrics"}),
        (404, {"path": "/"}),
        (405, {"method": "GET"}),
        (415, {"content_type": "text/plain"}),
        (415, {"content_type": ""}),
        (415, {"content_encoding": "br"}),
        (400, {"body": b"\xff\xff"}),
        (400, {"content_encoding": "gzip"}),
        (400, {"content_type": JSON}),
        (413, {"content_encoding": "gzip", "body": gzip.compress(b"\0" * (65 * 1024 * 1024), 1)}),
    ],
)
async def test_what_is_refused(status: int, changes: dict[str, Any]) -> None:
    async with receiving() as (receiver, got):
        response = await send(receiver, **{"body": protobuf(TRACE), "content_type": PROTOBUF, **changes})
        assert response.status_code == status
        if response.headers["content-type"] == JSON:
            assert response.json()["message"]
        else:  # google.rpc.Status: its fields 1 and 2
            assert response.content[0] == 0x08
            assert response.content[2] == 0x12
        assert (got, receiver.counts.failed) == ([], 1)


async def test_the_methods_that_are_allowed_are_named() -> None:
    async with receiving() as (receiver, _):
        assert (await send(receiver, b"", method="PUT")).headers["allow"] == "POST"


async def test_a_store_that_fails_asks_for_another_try() -> None:
    def fail(spans: Sequence[SpanRecord], received_ns: int) -> None:
        raise LabError("the disk is full")

    receiver = await Receiver.start(fail)
    try:
        response = await send(receiver, protobuf(TRACE), content_type=PROTOBUF)
        assert response.status_code == 503
        assert b"the disk is full" in response.content
    finally:
        await receiver.close()


def test_a_receiver_that_does_not_run_has_no_url() -> None:
    with pytest.raises(LabError, match="not running"):
        assert Receiver(lambda spans, received_ns: None).url
