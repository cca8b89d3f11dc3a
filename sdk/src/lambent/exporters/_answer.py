"""What a server says in its answer, and when to ask again. Loaded when there is one worth reading.

A success may carry an ExportTraceServiceResponse (protobuf or JSON), a failure a
google.rpc.Status, or anything: HTML of a proxy, plain text, nonsense.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "BACKOFF", "RETRYABLE", "backoff", "message", "one_line", "partial_success", "retry_after", "retry_delay",
]  # fmt: skip

MESSAGE_LENGTH = 200
_LONGEST = 65_536  # bytes that are looked through one by one: a body of anything else may look like fields


def partial_success(body: bytes, content_type: str) -> tuple[int, str]:
    """Return how many spans were rejected and the message, (0, "") for what cannot be read."""
    try:
        if _is_json(body, content_type):
            from json import loads

            found = loads(body)
            partial = found.get("partialSuccess", found.get("partial_success")) or {}
            rejected = partial.get("rejectedSpans", partial.get("rejected_spans")) or 0
            return int(rejected), str(partial.get("errorMessage", partial.get("error_message")) or "")
        rejected, text = 0, ""
        for number, value in _fields(body):
            if number == 1 and isinstance(value, bytes):
                for inner, content in _fields(value):
                    if inner == 1 and isinstance(content, int):
                        rejected = content
                    elif inner == 2 and isinstance(content, bytes):
                        text = content.decode("utf-8", "replace")
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return 0, ""
    # A negative int64 is a varint of ten bytes; nobody can reject fewer than none.
    return (rejected if rejected < 1 << 63 else 0), text


def message(body: bytes, content_type: str) -> str:
    """Return the server's message in a failed answer, "" when it has none to read."""
    if not body:
        return ""
    try:
        if "protobuf" in content_type:
            for number, value in _fields(body):
                if number == 2 and isinstance(value, bytes):
                    return value.decode("utf-8", "replace")
            return ""
        if _is_json(body, content_type):
            from json import loads

            found = loads(body)
            for key in ("message", "error", "errors", "detail", "title"):
                if found.get(key):
                    return str(found[key])
    except (ValueError, TypeError, AttributeError, RecursionError):
        pass  # not what it says it is: shown as the text that it may be
    return body[:4096].decode("utf-8", "replace")


def retry_delay(details: bytes) -> float | None:
    """Return the seconds that a RetryInfo in a google.rpc.Status asks to wait, None without one.

    `details` is what gRPC carries as `grpc-status-details-bin`.
    """
    try:
        for number, detail in _fields(details):
            if number != 3 or not isinstance(detail, bytes):
                continue
            parts = dict(_fields(detail))
            kind = parts.get(1)
            if not isinstance(kind, bytes) or kind.rpartition(b"/")[2] != b"google.rpc.RetryInfo":
                continue
            info = parts.get(2, b"")
            delay = dict(_fields(info)).get(1, b"") if isinstance(info, bytes) else b""
            time = dict(_fields(delay)) if isinstance(delay, bytes) else {}
            seconds, nanos = time.get(1, 0), time.get(2, 0)
            if isinstance(seconds, int) and isinstance(nanos, int):
                return max(0.0, _signed(seconds) + _signed(nanos) / 1e9)
    except ValueError:
        pass  # not what it says it is
    return None


def _signed(number: int) -> int:
    """Return what a varint of 64 bits means as int64."""
    number &= (1 << 64) - 1
    return number - (1 << 64) if number >> 63 else number


def _is_json(body: bytes, content_type: str) -> bool:
    return "json" in content_type or (not content_type and body[:1] == b"{")


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of each protobuf field. Raises ValueError when it is none."""
    position, end = 0, min(len(data), _LONGEST)
    while position < end:
        key, position = _varint(data, position)
        wire = key & 7
        if wire == 0:
            value, position = _varint(data, position)
            yield key >> 3, value
            continue
        if wire == 2:
            size, position = _varint(data, position)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError("no protobuf")
        if position + size > end:
            raise ValueError("no protobuf")
        yield key >> 3, data[position : position + size]
        position += size


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("no protobuf")


def one_line(text: str) -> str:
    """Return the text without line breaks and control characters, at most 200 characters of it."""
    printable = "".join([letter if letter.isprintable() else " " for letter in text[:4096]])
    line = " ".join(printable.split())
    return line if len(line) <= MESSAGE_LENGTH else f"{line[: MESSAGE_LENGTH - 1]}…"


# When to ask again.

RETRYABLE = frozenset({429, 502, 503, 504})
"""The statuses that ask for another try (OTLP specification, "Failures" of OTLP/HTTP)."""

BACKOFF = (0.1, 0.2, 0.4, 0.8)
"""Seconds before each further try; after the last one it is over."""


def backoff(retries: int, random: float) -> float | None:
    """Return the wait after so many retries, a fifth more or less as `random` in [0, 1) says.

    None when there have been enough of them.
    """
    if retries >= len(BACKOFF):
        return None
    return BACKOFF[retries] * (0.8 + 0.4 * random)


def retry_after(value: str, now: float) -> float | None:
    """Return the seconds that a Retry-After header asks for, None when it makes no sense.

    It is a number of seconds or an HTTP date, compared with `now` in seconds since the epoch
    (RFC 9110 section 10.2.3).
    """
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:18])
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
