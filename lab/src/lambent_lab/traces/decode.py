"""What decoding OTLP has in common, be it protobuf or JSON: errors, limits, checked values.

A span without a valid trace id and span id is rejected and counted; the rest of its request is kept.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lambent_lab.errors import LabError

if TYPE_CHECKING:
    from lambent_lab.traces.model import SpanRecord

MAX_DECODED_BYTES = 64 * 1024 * 1024
"""What a compressed body may grow to: far above any real export, far below this machine's memory."""

MAX_DEPTH = 32
"""How deep attribute values may nest; deeper ones are cut off as None."""

MAX_GZIP_MEMBERS = 64
"""Exporters send one; every further one costs a copy of what follows it."""

_INT64_MAX = 2**63 - 1


class DecodeError(LabError):
    """A body that is not the OTLP it claims to be."""


class TooLargeError(DecodeError):
    """A compressed body that grows beyond what is allowed."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """The spans of one request, and how many were rejected for which (first) reason."""

    spans: list[SpanRecord] = field(default_factory=list)
    rejected: int = 0
    reason: str = ""


def gunzip(body: bytes, limit: int = MAX_DECODED_BYTES) -> bytes:
    """Decompress gzip, all members, to at most `limit` bytes. Raises DecodeError, TooLargeError."""
    parts: list[bytes] = []
    room = limit
    rest = body
    for _ in range(MAX_GZIP_MEMBERS):
        if not rest:
            return b"".join(parts)
        member = zlib.decompressobj(16 + zlib.MAX_WBITS)
        try:
            # One byte more than there is room for tells a full body from one that is too large.
            part = member.decompress(rest, room + 1)
        except zlib.error as error:
            raise DecodeError(f"the body is not valid gzip: {error}") from error
        if len(part) > room:
            raise TooLargeError(f"the body decompresses to more than {limit} bytes: send smaller batches")
        if not member.eof:
            raise DecodeError("the gzip body is cut off")
        parts.append(part)
        room -= len(part)
        rest = member.unused_data.lstrip(b"\0")
    raise DecodeError(f"the body has more than {MAX_GZIP_MEMBERS} gzip members: send one")


class Collector:
    """Gathers spans and counts those whose ids are unusable."""

    def __init__(self) -> None:
        self.spans: list[SpanRecord] = []
        self.rejected = 0
        self.reason = ""

    def reject(self, reason: str) -> None:
        """Count a span that cannot be kept."""
        self.rejected += 1
        self.reason = self.reason or reason

    def result(self) -> Decoded:
        """Return what was gathered."""
        return Decoded(self.spans, self.rejected, self.reason)


def integer(value: object) -> int | None:
    """Return a number, or the text of one, as an integer; None for anything else."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int):
        return value
    try:
        if isinstance(value, str):
            return int(value[:40])
        if isinstance(value, float):
            return int(value)
    except (ValueError, OverflowError):
        return None
    return None


def time_ns(value: object) -> int:
    """Return nanoseconds within what SQLite's signed integers hold; 0 for none."""
    return max(0, min(integer(value) or 0, _INT64_MAX))


def count(value: object) -> int:
    """Return a dropped count within the 32 bits that it has on the wire."""
    return max(0, min(integer(value) or 0, 2**32 - 1))


def valid_id(text: str, length: int) -> str:
    """Return a hexadecimal id in lower case, or an empty string when it is none."""
    text = text.lower()
    if len(text) != length or text == "0" * length or not set(text) <= set("0123456789abcdef"):
        return ""
    return text


def named(names: tuple[str, ...], value: object, prefix: str = "") -> str:
    """Return an enumeration's name from its number or its full name; unknown ones count as the first."""
    if isinstance(value, str) and value.startswith(prefix) and value.removeprefix(prefix) in names:
        return value.removeprefix(prefix)
    number = integer(value) or 0
    return names[number] if 0 <= number < len(names) else names[0]


def scope_name(name: str, version: str) -> str:
    """Return an instrumentation scope's name and version as one text."""
    return f"{name} {version}" if name and version else name
