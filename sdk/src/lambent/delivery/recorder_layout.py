"""What the flight recorder's file looks like. Shared by its writer and its reader; pure.

    file     := head (HEAD_SIZE bytes), zeros up to FIRST, segments
    head     := magic, Python version, segment size, file size, fingerprint, time of creation, check
    segment  := "SEGM", zeros, seed, check, records; all zeros while it is empty
    record   := kind << 24 | length of the payload (4 bytes), payload, check (8 bytes)

Rules:

* A record's check covers its first four bytes and its payload, keyed with the seed of its segment. A
  segment that is used again gets a higher seed, which makes garbage of what it held before.
* Seeds put segments into order. Within a segment records lie in the order of their writing.
* A record that is not complete fails its check: a process may be killed between any two instructions.
* Numbers of the frame are little-endian; payloads of several fields are in Python's marshal format,
  version 2, of which the reader knows the few plain types that a span can hold.

The check is the keyed hash (SipHash) that Python makes for its own .pyc files: part of every interpreter,
a tenth of a microsecond, and 64 bits wide. It depends on the version of Python, and so does the file.
"""

from __future__ import annotations

from _imp import source_hash as check
from _struct import Struct

__all__ = [
    "ACKNOWLEDGED",
    "CHECK_SIZE",
    "END",
    "FIRST",
    "FULL",
    "HEAD_SIZE",
    "INVOCATION",
    "KILLS_AT",
    "MAGIC",
    "NOTE",
    "OVERHEAD",
    "SEGMENT_HEAD_SIZE",
    "SLOTS",
    "SMALLEST",
    "START",
    "TRIES_AT",
    "check",
    "pack_end",
    "pack_frame",
    "pack_head",
    "pack_invocation",
    "pack_segment",
    "path_of",
    "segment_size",
    "unpack_head",
    "unpack_segment",
]

MAGIC = b"lambent\x01"
"""The last byte is the version of this layout."""

SLOTS = 32
"""How many recorders, alive or left behind, a folder holds at most."""

SMALLEST = 65_536
"""Bytes: below this a ring would hold next to nothing."""

FIRST = 4096
"""Where the first segment begins; what is mapped has to begin at a page."""

START, END, FULL, ACKNOWLEDGED, INVOCATION, NOTE = 1, 2, 3, 4, 5, 6
CHECK_SIZE = 8
OVERHEAD = 4 + CHECK_SIZE
"""Bytes of a record beside its payload."""

_HEAD_KEY = 0x6C616D62656E7431
_HEAD = Struct("<8sIIQ8sQ")
_SEGMENT = Struct("<4sIQ")
HEAD_SIZE = _HEAD.size + CHECK_SIZE
TRIES_AT = HEAD_SIZE
"""Where a byte says how many processes have tried to deliver the file."""
KILLS_AT = HEAD_SIZE + 8
"""Where eight bytes say, plus one, how often the kernel had killed for want of memory."""
SEGMENT_HEAD_SIZE = _SEGMENT.size + CHECK_SIZE

pack_frame = Struct("<I").pack
pack_end = Struct("<IQQ").pack
pack_invocation = Struct("<IQQQ").pack


def segment_size(size: int, page: int = 4096) -> int:
    """Return how large a segment of a file of `size` bytes is: a sixteenth, in whole pages."""
    return max(page, size // 16 // page * page)


def pack_head(version: int, segment: int, size: int, fingerprint: bytes, created: int) -> bytes:
    """Return the head of a file."""
    head = _HEAD.pack(MAGIC, version, segment, size, fingerprint, created)
    return head + check(_HEAD_KEY, head)


def unpack_head(data: bytes) -> tuple[int, int, int, bytes, int] | None:
    """Return version, segment size, size, fingerprint and time of creation; None for no head of ours."""
    head = data[: _HEAD.size]
    if len(data) < HEAD_SIZE or data[_HEAD.size : HEAD_SIZE] != check(_HEAD_KEY, head):
        return None
    magic, version, segment, size, fingerprint, created = _HEAD.unpack(head)
    return (version, segment, size, fingerprint, created) if magic == MAGIC else None


def pack_segment(seed: int) -> bytes:
    """Return the head of a segment."""
    head = _SEGMENT.pack(b"SEGM", 0, seed)
    return head + check(_HEAD_KEY, head)


def unpack_segment(data: bytes, start: int) -> int | None:
    """Return the seed of the segment that begins there, None when it is empty or damaged."""
    head = data[start : start + _SEGMENT.size]
    end = start + SEGMENT_HEAD_SIZE
    if len(data) < end or data[start + _SEGMENT.size : end] != check(_HEAD_KEY, head):
        return None
    magic, _, seed = _SEGMENT.unpack(head)
    return int(seed) if magic == b"SEGM" else None


def path_of(folder: str, slot: int) -> str:
    """Return the path of one recorder's file."""
    return f"{folder}/.lambent-recorder-{slot}"
