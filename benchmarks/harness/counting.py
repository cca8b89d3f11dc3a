"""Which spans are in what a tool sent: OTLP (protobuf, JSON), Datadog's msgpack, X-Ray's datagrams, stdout.

Counting happens after the clock has stopped. Each function returns the name of every span it found.
"""

from __future__ import annotations

import base64
import gzip
import json
import struct
from collections import Counter
from typing import Any

STDOUT_MARK = '"__otel_otlp_stdout"'


def otlp_protobuf(body: bytes) -> list[str]:
    """Span names in an ExportTraceServiceRequest."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request = ExportTraceServiceRequest.FromString(body)
    return [
        span.name
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def otlp_json(body: bytes) -> list[str]:
    """Span names in the JSON form of the same; both spellings of its keys are in use."""
    document = json.loads(body)
    names = []
    for resource in document.get("resourceSpans", document.get("resource_spans", [])):
        for scope in resource.get("scopeSpans", resource.get("scope_spans", [])):
            names += [span["name"] for span in scope.get("spans", [])]
    return names


def datadog(body: bytes, version: str) -> list[str]:
    """Span names in a Datadog agent payload, `v0.4` (maps) or `v0.5` (string table and arrays)."""
    value, _ = unpack(body, 0)
    if version == "v0.5":
        strings, traces = value
        return [strings[span[1]] for trace in traces for span in trace]
    return [span["name"] for trace in value for span in trace]


def datagram(body: bytes) -> list[str]:
    """Names in one datagram to the X-Ray daemon: a segment, or OTLP as AWS's distribution wraps it."""
    _, _, payload = body.partition(b"\n")
    if payload[:3] in (b"T1S", b"T1U"):
        return otlp_protobuf(base64.b64decode(payload[3:]))

    def walk(entity: dict[str, Any]) -> list[str]:
        names = [entity["name"]]
        for child in entity.get("subsegments", []):
            names += walk(child)
        return names

    return walk(json.loads(payload))


def stdout(text: str) -> list[str]:
    """Span names in the OTLP lines that a tool wrote to its standard output."""
    names: list[str] = []
    for line in text.splitlines():
        if STDOUT_MARK not in line:
            continue
        record = json.loads(line[line.index("{") :])
        payload = record["payload"]
        if record.get("base64"):
            raw = base64.b64decode(payload)
        else:
            raw = payload.encode() if isinstance(payload, str) else json.dumps(payload).encode()
        if record.get("content-encoding") == "gzip":
            raw = gzip.decompress(raw)
        names += otlp_json(raw) if "json" in record["content-type"] else otlp_protobuf(raw)
    return names


def request(path: str, headers: dict[str, str], body: bytes) -> list[str]:
    """Span names in one HTTP request; a request that carries no spans has none."""
    if headers.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    if path.endswith("/v1/traces"):
        return otlp_json(body) if "json" in headers.get("content-type", "") else otlp_protobuf(body)
    for version in ("v0.4", "v0.5"):
        if path.endswith(f"/{version}/traces"):
            return datadog(body, version) if body else []
    return []


def tally(names: list[str]) -> dict[str, int]:
    """How often each name occurs."""
    return dict(sorted(Counter(names).items()))


_SCALARS = {
    0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q",
    0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q",
}  # fmt: skip
_SIZED = {
    0xC4: (">B", "bin"), 0xC5: (">H", "bin"), 0xC6: (">I", "bin"),
    0xD9: (">B", "str"), 0xDA: (">H", "str"), 0xDB: (">I", "str"),
    0xDC: (">H", "array"), 0xDD: (">I", "array"), 0xDE: (">H", "map"), 0xDF: (">I", "map"),
}  # fmt: skip


def unpack(data: bytes, at: int) -> tuple[Any, int]:
    """The msgpack value at `at` and where the next one starts. Extension types do not occur in traces.

    Raises ValueError for a byte that starts no value.
    """
    byte = data[at]
    at += 1
    if byte <= 0x7F:
        return byte, at
    if byte >= 0xE0:
        return byte - 0x100, at
    if byte <= 0x8F:
        return _collect(data, at, "map", byte & 0x0F)
    if byte <= 0x9F:
        return _collect(data, at, "array", byte & 0x0F)
    if byte <= 0xBF:
        return _collect(data, at, "str", byte & 0x1F)
    if byte in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[byte], at
    if byte in _SCALARS:
        layout = _SCALARS[byte]
        return struct.unpack_from(layout, data, at)[0], at + struct.calcsize(layout)
    if byte in _SIZED:
        layout, kind = _SIZED[byte]
        (size,) = struct.unpack_from(layout, data, at)
        return _collect(data, at + struct.calcsize(layout), kind, size)
    raise ValueError(f"not msgpack: byte 0x{byte:02x} at {at - 1}")


def _collect(data: bytes, at: int, kind: str, size: int) -> tuple[Any, int]:
    if kind in ("str", "bin"):
        raw = data[at : at + size]
        return (raw.decode("utf-8", "replace") if kind == "str" else raw), at + size
    if kind == "array":
        items = []
        for _ in range(size):
            item, at = unpack(data, at)
            items.append(item)
        return items, at
    pairs = {}
    for _ in range(size):
        key, at = unpack(data, at)
        pairs[key], at = unpack(data, at)
    return pairs, at
