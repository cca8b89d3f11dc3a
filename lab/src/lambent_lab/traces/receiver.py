"""An OTLP/HTTP receiver on the loopback interface: `POST /v1/traces`, protobuf or JSON, gzip or not.

Answers as the OTLP specification asks: 200 with an ExportTraceServiceResponse in the request's own encoding,
with `partial_success` when spans were rejected; errors carry a google.rpc.Status message. 400 and 415 tell an
exporter not to try again, 503 that it may.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lambent_lab.errors import LabError
from lambent_lab.http import BadBody, Request, Response, Server
from lambent_lab.traces.decode import MAX_DECODED_BYTES, DecodeError, TooLargeError, gunzip
from lambent_lab.traces.otlp_json import read_json
from lambent_lab.traces.otlp_protobuf import read_protobuf

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lambent_lab.traces.decode import Decoded
    from lambent_lab.traces.model import SpanRecord

PATH = "/v1/traces"
PROTOBUF = "application/x-protobuf"
JSON = "application/json"
MAX_BODY_BYTES = 16 * 1024 * 1024

# google.rpc.Code
_INVALID_ARGUMENT = 3
_NOT_FOUND = 5
_UNIMPLEMENTED = 12
_UNAVAILABLE = 14


@dataclass(slots=True)
class Counts:
    """What a receiver has seen; `bytes` are those of the bodies as they arrived."""

    requests: int = 0
    failed: int = 0
    bytes: int = 0
    spans: int = 0
    rejected: int = 0


class Receiver:
    """Receives spans and hands each request's to `on_spans(spans, received_ns)`, which must not block long.

    `url` is the base URL that OTEL_EXPORTER_OTLP_ENDPOINT takes. `counts` grows as requests arrive.
    """

    def __init__(self, on_spans: Callable[[Sequence[SpanRecord], int], None]) -> None:
        self.counts = Counts()
        self._on_spans = on_spans
        self._server: Server | None = None

    @classmethod
    async def start(
        cls, on_spans: Callable[[Sequence[SpanRecord], int], None], *, host: str = "127.0.0.1", port: int = 0
    ) -> Receiver:
        """Start receiving; port 0 takes a free one."""
        receiver = cls(on_spans)
        receiver._server = await Server.start(
            receiver.handle, host=host, port=port, max_body=MAX_BODY_BYTES, refuse=receiver.refuse
        )
        return receiver

    @property
    def url(self) -> str:
        """The base URL, without a path. Raises LabError before the start and after the end."""
        if self._server is None:
            raise LabError("The OTLP receiver is not running: start it first.")
        return self._server.url

    @property
    def port(self) -> int:
        """The port of the loopback. Raises LabError before the start and after the end."""
        if self._server is None:
            raise LabError("The OTLP receiver is not running: start it first.")
        return self._server.port

    async def close(self) -> None:
        """Stop receiving. Safe to call twice."""
        server, self._server = self._server, None
        if server is not None:
            await server.close()

    # A coroutine because the server asks for one; nothing here waits.
    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        self.counts.requests += 1
        self.counts.bytes += len(request.body)
        response = self._answer(request)
        if response.status != 200:
            self.counts.failed += 1
        return response

    async def refuse(self, request: Request, why: BadBody) -> Response:
        """Answer a request whose body was too large or broke off."""
        self.counts.requests += 1
        self.counts.failed += 1
        as_json = _content_type(request) == JSON
        if why is BadBody.TOO_LARGE:
            limit = f"the body is larger than {MAX_BODY_BYTES} bytes: send smaller batches"
            return _failure(413, _INVALID_ARGUMENT, limit, as_json=as_json)
        return _failure(400, _INVALID_ARGUMENT, "the body broke off", as_json=as_json)

    def _answer(self, request: Request) -> Response:
        content_type = _content_type(request)
        as_json = content_type == JSON
        if request.path != PATH:
            return _failure(404, _NOT_FOUND, f"traces are received at {PATH}", as_json=as_json)
        if request.method != "POST":
            failure = _failure(
                405, _UNIMPLEMENTED, f"send traces with POST, not {request.method}", as_json=as_json
            )
            return Response(failure.status, failure.body, (*failure.headers, ("Allow", "POST")))
        if content_type not in {JSON, PROTOBUF}:
            return _failure(415, _INVALID_ARGUMENT, f"send {PROTOBUF} or {JSON}", as_json=as_json)
        encoding = request.headers.get("content-encoding", "").strip().lower()
        if encoding not in {"", "identity", "gzip"}:
            return _failure(415, _INVALID_ARGUMENT, "send gzip or no content-encoding", as_json=as_json)
        try:
            body = gunzip(request.body, MAX_DECODED_BYTES) if encoding == "gzip" else request.body
            decoded = read_json(body) if as_json else read_protobuf(body)
        except TooLargeError as error:
            return _failure(413, _INVALID_ARGUMENT, str(error), as_json=as_json)
        except DecodeError as error:
            return _failure(400, _INVALID_ARGUMENT, str(error), as_json=as_json)
        self.counts.spans += len(decoded.spans)
        self.counts.rejected += decoded.rejected
        try:
            if decoded.spans:
                self._on_spans(decoded.spans, time.time_ns())
        except LabError as error:
            return _failure(503, _UNAVAILABLE, str(error), as_json=as_json)
        return Response(200, _success(decoded, as_json=as_json), (("Content-Type", content_type),))


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _success(decoded: Decoded, *, as_json: bool) -> bytes:
    """Return an ExportTraceServiceResponse; an empty one is full success."""
    if as_json:
        partial = {"rejectedSpans": str(decoded.rejected), "errorMessage": decoded.reason}
        return json.dumps({"partialSuccess": partial} if decoded.rejected else {}).encode()
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    response = ExportTraceServiceResponse()
    if decoded.rejected:
        response.partial_success.rejected_spans = decoded.rejected
        response.partial_success.error_message = decoded.reason
    return response.SerializeToString()


def _failure(status: int, code: int, message: str, *, as_json: bool) -> Response:
    """Return an error with a google.rpc.Status body: `code` is field 1, `message` field 2."""
    if as_json:
        return Response(
            status, json.dumps({"code": code, "message": message}).encode(), (("Content-Type", JSON),)
        )
    text = message.encode()
    body = bytes((0x08, code, 0x12)) + _varint(len(text)) + text
    return Response(status, body, (("Content-Type", PROTOBUF),))


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
