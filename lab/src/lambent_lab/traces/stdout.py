"""The OTLP line that exporters print to standard output inside Lambda.

One JSON object on a line, with the keys of the `otlp-stdout-span-exporter` packages: `__otel_otlp_stdout`
(the writer's version), `source` (the service), `endpoint`, `method`, `content-type`, `content-encoding`,
`payload`, `base64`, `headers`, `level`. Whatever stands in a function's log must never fail its invocation,
so a malformed line is a result with a problem, not an exception.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lambent_lab.traces.decode import Decoded, DecodeError, gunzip
from lambent_lab.traces.otlp_json import read_json, read_json_object
from lambent_lab.traces.otlp_protobuf import read_protobuf

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lambent_lab.traces.model import SpanRecord

MARKER = "__otel_otlp_stdout"

_START = re.compile(r'\{\s*"' + MARKER + r'"')


@dataclass(frozen=True, slots=True)
class StdoutBatch:
    """What one line carried.

    `problem` says in a sentence why spans are missing, or is empty. `before` is what the function had written
    on the same line without ending it.
    """

    spans: list[SpanRecord] = field(default_factory=list)
    source: str = ""
    problem: str = ""
    before: str = ""


def parse_stdout_line(line: str) -> list[SpanRecord] | None:
    """Return the spans that a log line carries, or None when it is an ordinary line."""
    batch = read_stdout_line(line)
    return None if batch is None else batch.spans


def read_stdout_line(line: str) -> StdoutBatch | None:
    """Return what an OTLP line carries, or None when it is an ordinary line. Never raises."""
    if MARKER not in line:
        return None
    found = _START.search(line)
    begin = found.start() if found else line.find("{")
    if begin < 0:
        return None
    try:
        record = json.loads(line[begin:])
    except (ValueError, RecursionError):
        if not found:
            return None  # a sentence about the marker, not a line of it
        return StdoutBatch(problem="an OTLP line in the log is not complete JSON", before=line[:begin])
    if not isinstance(record, dict) or MARKER not in record:
        return None
    source = record.get("source")
    source = source if isinstance(source, str) else ""
    try:
        decoded = _decode(record)
    except DecodeError as error:
        return StdoutBatch(source=source, problem=f"an OTLP line in the log: {error}", before=line[:begin])
    problem = f"{decoded.rejected} spans rejected: {decoded.reason}" if decoded.rejected else ""
    return StdoutBatch(decoded.spans, source, problem, line[:begin])


def split_log(lines: Iterable[str]) -> tuple[list[str], list[SpanRecord], list[str]]:
    """Separate a log: the lines for people, the spans, and the problems met on the way."""
    text: list[str] = []
    spans: list[SpanRecord] = []
    problems: list[str] = []
    for line in lines:
        batch = read_stdout_line(line)
        if batch is None:
            text.append(line)
            continue
        if batch.before.strip():
            text.append(batch.before)
        spans += batch.spans
        if batch.problem:
            problems.append(batch.problem)
    return text, spans, problems


def _decode(record: Mapping[str, object]) -> Decoded:
    endpoint = str(record.get("endpoint") or "")
    if endpoint.rstrip("/").endswith(("/v1/metrics", "/v1/logs")):
        return Decoded()
    payload = record.get("payload")
    content_type = (
        str(record.get("content-type") or "application/x-protobuf").partition(";")[0].strip().lower()
    )
    if isinstance(payload, dict):
        return read_json_object(payload)
    if not isinstance(payload, str):
        raise DecodeError("its payload is missing")
    if record.get("base64"):
        try:
            body = base64.b64decode(payload, validate=True)
        except (binascii.Error, ValueError) as error:
            raise DecodeError(f"its payload is not base64: {error}") from error
    else:
        body = payload.encode("utf-8", "replace")
    encoding = str(record.get("content-encoding") or "").strip().lower()
    if encoding == "gzip":
        body = gunzip(body)
    elif encoding not in {"", "identity", "none"}:
        raise DecodeError(f"its content-encoding {encoding[:40]!r} is not known; use gzip or none")
    if content_type == "application/json":
        return read_json(body)
    if content_type in {"application/x-protobuf", "application/protobuf"}:
        return read_protobuf(body)
    raise DecodeError(f"its content-type {content_type[:60]!r} is not known; use application/x-protobuf")
