"""A function's response as the HTTP response that it means: payload format 2.0. Pure.

Rules
- A JSON object with `statusCode` is a response: `headers` (name to text), `cookies` (each a Set-Cookie of its
  own), `body`, `isBase64Encoded`. Anything else in it is ignored, `multiValueHeaders` too: function URLs do
  not have them.
- Every other JSON value is the body of a 200: text as it is, the rest as JSON without white space.
- The content type is application/json where the function does not say.
- A status is a number from 200 to 599, or its text. A body that is no text is written as JSON.
- Fields that belong to the connection or to Lambda (Connection, Content-Length, Date, Server,
  Transfer-Encoding, WWW-Authenticate, …) come as `x-amzn-Remapped-…`.
- What is not JSON, or is no such response, is an AnswerError: 502, as when the function fails.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lambent_lab import strictjson
from lambent_lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lambent_lab.protocol.prelude import Prelude

JSON = ("Content-Type", "application/json")
STREAM_TYPE = "application/octet-stream"
PRELUDE_TYPE = "application/vnd.awslambda.http-integration-response"

BODILESS = frozenset({204, 304})
"""The statuses with which HTTP has no body."""

_REMAPPED = frozenset(
    {
        "connection", "content-length", "date", "host", "keep-alive", "max-forwards", "proxy-authenticate",
        "proxy-connection", "server", "te", "trailer", "transfer-encoding", "upgrade", "via",
        "www-authenticate",
    }
)  # fmt: skip
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|[ \t\r\n]+')
_MIN_STATUS, _MAX_STATUS = 200, 599

Fields = tuple[tuple[str, str], ...]


class AnswerError(LabError):
    """The function's response is none that HTTP could carry; the message says why."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An HTTP response, without the fields that the server adds."""

    status: int
    headers: Fields
    body: bytes


def read(payload: bytes) -> HttpAnswer:
    """Return the response that a function's payload means. Raises AnswerError."""
    try:
        text = payload.decode("utf-8")
        value = strictjson.loads(text)
    except (ValueError, RecursionError) as error:
        raise AnswerError("The function's response is not JSON.") from error
    if isinstance(value, dict) and value.get("statusCode") is not None:
        return _given(value)
    body = _bytes(value) if isinstance(value, str) else compact(text).encode()
    return HttpAnswer(200, (JSON,), body)


def begun(prelude: Prelude) -> tuple[int, Fields]:
    """Return status and header fields of a streamed response that begins so. Raises AnswerError."""
    status = _status(prelude.status)
    headers = [*prelude.headers, *(("Set-Cookie", cookie) for cookie in prelude.cookies)]
    return status, remapped(_with_type(headers, STREAM_TYPE))


def compact(text: str) -> str:
    """Return JSON without the white space between its values. Numbers stay as they are written."""
    return _TOKENS.sub(lambda match: match[0] if match[0].startswith('"') else "", text)


def remapped(headers: Iterable[tuple[str, str]]) -> Fields:
    """Return header fields with those that are not the function's under another name."""
    return tuple(
        (f"x-amzn-Remapped-{name}" if name.lower() in _REMAPPED else name, value) for name, value in headers
    )


def _given(value: dict[str, Any]) -> HttpAnswer:
    status = _status(value["statusCode"])
    headers: list[tuple[str, str]] = []
    for name, text in _object(value.get("headers"), "headers").items():
        if not _NAME.fullmatch(name):
            raise AnswerError(f"{name!r} cannot be the name of a header field.")
        if text is not None:
            headers.append((name, _text(text, f"the header {name}")))
    cookies = value.get("cookies")
    if cookies is not None and not isinstance(cookies, list):
        raise AnswerError("cookies is not a list.")
    headers += [("Set-Cookie", _text(cookie, "a cookie")) for cookie in cookies or ()]
    body = _body(value.get("body"), decode=value.get("isBase64Encoded") is True)
    return HttpAnswer(status, remapped(_with_type(headers, JSON[1])), b"" if status in BODILESS else body)


def _with_type(headers: list[tuple[str, str]], default: str) -> list[tuple[str, str]]:
    if any(name.lower() == "content-type" for name, _ in headers):
        return headers
    return [(JSON[0], default), *headers]


def _status(value: object) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 4:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and _MIN_STATUS <= value <= _MAX_STATUS:
        return value
    raise AnswerError(f"statusCode is no number from {_MIN_STATUS} to {_MAX_STATUS}.")


def _object(value: object, name: str) -> dict[str, object]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise AnswerError(f"{name} is not an object.")
    return value


def _text(value: object, what: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if not isinstance(value, str) or any(char in value for char in "\r\n\0"):
        raise AnswerError(f"The value of {what} is no text that fits on one line.")
    return value


def _body(value: object, *, decode: bool) -> bytes:
    if value is None:
        return b""
    if not isinstance(value, str):
        import json

        return _bytes(json.dumps(value, separators=(",", ":"), ensure_ascii=False))
    if not decode:
        return _bytes(value)
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise AnswerError("isBase64Encoded is true, and the body is not base64.") from error


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")
