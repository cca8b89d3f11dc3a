"""HTTP messages as plain values."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def _no_fields() -> Mapping[str, str]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Request:
    """A request, complete with its body. Field names are lower case; repeated fields are joined by ', '."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=_no_fields)
    body: bytes = b""
    trailers: Mapping[str, str] = field(default_factory=_no_fields)


@dataclass(frozen=True, slots=True)
class Response:
    """An answer. Content-Length, Connection and (unless given) Content-Type are added by the server."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()

    def encode(self, *, keep_alive: bool, head: bool = False) -> bytes:
        """Return the bytes for the wire. `head` leaves the body out but states its length."""
        try:
            reason = HTTPStatus(self.status).phrase
        except ValueError:
            reason = "Status"
        lines = [f"HTTP/1.1 {self.status} {reason}"]
        lines += [f"{name}: {_one_line(value)}" for name, value in self.headers]
        if not any(name.lower() == "content-type" for name, _ in self.headers):
            lines.append("Content-Type: application/json")
        lines.append(f"Content-Length: {len(self.body)}")
        lines.append(f"Connection: {'keep-alive' if keep_alive else 'close'}")
        start = "\r\n".join(lines).encode("utf-8", "replace") + b"\r\n\r\n"
        return start if head else start + self.body


def _one_line(value: str) -> str:
    """Return a header value that cannot end its line early."""
    return value.replace("\r", " ").replace("\n", " ").replace("\0", " ")


class BadBody(enum.Enum):
    """Why a request's body is not there."""

    TOO_LARGE = "too large"
    TRUNCATED = "truncated"
