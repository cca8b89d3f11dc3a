"""Frames of `application/vnd.amazon.eventstream`, which InvokeWithResponseStream answers with.

Rules
- A frame is: its whole length and the length of its headers (4 bytes each, big-endian), the CRC-32 of these
  eight bytes, the headers, the payload, and the CRC-32 of everything before it.
- A header is the length of its name (one byte), the name, the type 7 (a string), the length of the value (two
  bytes) and the value.
- PayloadChunk carries bytes of the response as they are; InvokeComplete carries JSON and comes once, last.
"""

from __future__ import annotations

import json
from struct import Struct
from typing import TYPE_CHECKING
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Sequence

CONTENT_TYPE = "application/vnd.amazon.eventstream"

_PRELUDE = Struct(">II")
_CRC = Struct(">I")
_LENGTH = Struct(">H")
_STRING = 7


def frame(headers: Sequence[tuple[str, str]], payload: bytes) -> bytes:
    """Return one frame. Names have at most 255 bytes, values at most 65535."""
    head = b"".join(map(_header, headers))
    prelude = _PRELUDE.pack(16 + len(head) + len(payload), len(head))
    prelude += _CRC.pack(crc32(prelude))
    body = prelude + head + payload
    return body + _CRC.pack(crc32(body))


def _header(header: tuple[str, str]) -> bytes:
    name, value = (text.encode() for text in header)
    return bytes((len(name),)) + name + bytes((_STRING,)) + _LENGTH.pack(len(value)) + value


def payload_chunk(data: bytes) -> bytes:
    """Return the event that carries a part of the response."""
    return _event("PayloadChunk", "application/octet-stream", data)


def invoke_complete(error: str | None = None, details: str | None = None, log: str | None = None) -> bytes:
    """Return the event that ends the stream. `log` is the base64 of the log's tail."""
    said = {"ErrorCode": error, "ErrorDetails": details, "LogResult": log}
    document = {name: value for name, value in said.items() if value is not None}
    return _event("InvokeComplete", "application/json", json.dumps(document).encode())


def _event(kind: str, content_type: str, payload: bytes) -> bytes:
    return frame(
        ((":message-type", "event"), (":event-type", kind), (":content-type", content_type)), payload
    )
