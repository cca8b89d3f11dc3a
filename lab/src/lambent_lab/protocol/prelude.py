"""What a streamed response to an HTTP front end begins with: status, header fields and cookies.

Rules
- The content type is `application/vnd.awslambda.http-integration-response`. First comes a JSON object, then
  8 NUL bytes, then the body. Object and NUL bytes lie within the first 16 KB (API Gateway's documentation).
- The object's fields are all optional: `statusCode` (100 to 599, 200 by default), `headers` (name to text),
  `multiValueHeaders` (name to list of texts), `cookies` (list of texts, each a Set-Cookie of its own).
  Numbers and booleans count as their text. Other fields are ignored.
- Everything else is a PreludeError. An HTTP front end answers it with 502, as it does a failed function.
- A response of another content type has no prelude: status 200, its own content type, all of it body.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lambent_lab import strictjson
from lambent_lab.errors import LabError

DELIMITER = bytes(8)
MAX_PRELUDE = 16 * 1024

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class PreludeError(LabError):
    """The response does not begin as it must; the message says why."""


@dataclass(frozen=True, slots=True)
class Prelude:
    """The head of an HTTP response. `headers` has every field in order, cookies not included."""

    status: int
    headers: tuple[tuple[str, str], ...]
    cookies: tuple[str, ...]


class PreludeReader:
    """Finds the prelude of a response that comes in pieces."""

    def __init__(self) -> None:
        self.prelude: Prelude | None = None
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Take the next piece and return what of it is body. Raises PreludeError."""
        if self.prelude is not None:
            return data
        self._held += data
        end = self._held.find(DELIMITER, 0, MAX_PRELUDE)
        if end < 0:
            if len(self._held) >= MAX_PRELUDE:
                raise PreludeError(
                    f"There are no 8 NUL bytes in the first {MAX_PRELUDE} bytes of the response."
                )
            return b""
        held, self._held = self._held, b""
        self.prelude = parse_prelude(held[:end])
        return held[end + len(DELIMITER) :]

    def end(self) -> Prelude:
        """Return the prelude of a response that is over. Raises PreludeError when it had none."""
        if self.prelude is None:
            raise PreludeError("The response ended before the 8 NUL bytes that its prelude ends with.")
        return self.prelude


def parse_prelude(text: bytes) -> Prelude:
    """Read the JSON object. Raises PreludeError."""
    try:
        value = strictjson.loads(text)
    except (ValueError, RecursionError) as error:
        raise PreludeError("The response's prelude is not JSON.") from error
    if not isinstance(value, dict):
        raise PreludeError("The response's prelude is not a JSON object.")
    headers = [(_name(name), _text(name, text)) for name, text in _object(value, "headers").items()]
    for name, texts in _object(value, "multiValueHeaders").items():
        headers += [(_name(name), _text(name, text)) for text in _list(texts, f"multiValueHeaders.{name}")]
    cookies = tuple(_text("cookies", cookie) for cookie in _list(value.get("cookies"), "cookies"))
    return Prelude(_status(value.get("statusCode")), tuple(headers), cookies)


def _status(value: object) -> int:
    if value is None:
        return 200
    if isinstance(value, int) and not isinstance(value, bool) and 100 <= value <= 599:
        return value
    raise PreludeError("statusCode is not a number from 100 to 599.")


def _object(value: dict[str, object], name: str) -> dict[str, object]:
    field = value.get(name)
    if field is None:
        return {}
    if not isinstance(field, dict):
        raise PreludeError(f"{name} is not an object.")
    return field


def _list(value: object, name: str) -> list[object]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise PreludeError(f"{name} is not a list.")
    return value


def _name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise PreludeError(f"{name!r} cannot be the name of a header field.")
    return name


def _text(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if not isinstance(value, str) or any(char in value for char in "\r\n\0"):
        raise PreludeError(f"A value of {name} is no text that fits on one line.")
    return value
