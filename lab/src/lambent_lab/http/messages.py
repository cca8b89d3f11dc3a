"""HTTP messages as plain values."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping

    from lambent_lab.http.body import Body

_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode("ascii") for status in HTTPStatus
}
_BODILESS = frozenset({204, 304})
NO_REPEATED: Mapping[str, tuple[str, ...]] = MappingProxyType({})


def _no_fields() -> Mapping[str, str]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Request:
    """A request. Field names are lower case; repeated fields are joined by ', '.

    `body` and `trailers` are complete, except in a request that is handled from its head on: there `stream`
    gives the body as it arrives. `began` is when the head was complete, on the performance counter.
    `repeated` has the single values of fields that came more than once, `peer` is the client's address.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=_no_fields)
    body: bytes = b""
    trailers: Mapping[str, str] = field(default_factory=_no_fields)
    stream: Body | None = field(default=None, compare=False)
    began: float = field(default=0.0, compare=False)
    repeated: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: NO_REPEATED, compare=False)
    peer: str = field(default="", compare=False)
    version: str = field(default="1.1", compare=False)


@dataclass(frozen=True, slots=True)
class Response:
    """An answer. Content-Length, Connection and (unless given) Content-Type are added by the server."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()

    def encode(self, *, keep_alive: bool, head: bool = False) -> bytes:
        """Return the bytes for the wire. `head` leaves the body out but states its length."""
        start = self.encode_head(keep_alive=keep_alive)
        return start if head else start + self.body

    def encode_head(self, *, keep_alive: bool) -> bytes:
        """Return everything that comes before the body."""
        length = "" if self.status in _BODILESS else f"Content-Length: {len(self.body)}\r\n"
        return _head(self.status, self.headers, length, keep_alive=keep_alive)


class CutOff(Exception):  # noqa: N818 - no error of ours: whoever made the body has failed
    """Raised by a body's iterator: there will be no more of it, and everybody knows why."""


@dataclass(frozen=True, slots=True)
class StreamedResponse:
    """An answer whose body is sent while it is being made, chunked.

    Each piece of `body` is sent at once; when the client reads slowly, the next one is not asked for. When
    the client goes away the iterator is cancelled and closed; when the iterator raises, the connection is
    cut, so that the client sees that the body is not complete, and the error is logged (a CutOff is not).
    `trailers` is asked for the trailer fields after the last piece; name them in a `Trailer` field. A client
    of HTTP/1.0 gets no chunks and no trailers: its body ends with the connection.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: AsyncIterator[bytes]
    trailers: Callable[[], Iterable[tuple[str, str]]] | None = None

    def encode_head(self, *, keep_alive: bool, chunked: bool) -> bytes:
        """Return everything that comes before the body."""
        coding = "Transfer-Encoding: chunked\r\n" if chunked and self.status not in _BODILESS else ""
        return _head(self.status, self.headers, coding, keep_alive=keep_alive)

    def encode_end(self) -> bytes:
        """Return the last chunk with the trailers."""
        fields = self.trailers() if self.trailers is not None else ()
        lines = "".join(f"{_one_line(name)}: {_one_line(value)}\r\n" for name, value in fields)
        return f"0\r\n{lines}\r\n".encode("utf-8", "replace")


class Later:
    """An answer that is not known yet, as of a long poll: return it from a handler and call `set` in time.

    `on_gone` is called when the client goes away before; nothing is sent then. No task waits for it.
    """

    __slots__ = ("_deliver", "_on_gone", "_response")

    def __init__(self, on_gone: Callable[[], None] | None = None) -> None:
        self._on_gone = on_gone
        self._response: Response | None = None
        self._deliver: Callable[[Response], None] | None = None

    def set(self, response: Response) -> None:
        """Answer. Only the first answer counts, and none when the client has gone."""
        if self._response is None:
            self._response = response
            if self._deliver is not None:
                self._deliver(response)

    # -- the server's side

    def then(self, deliver: Callable[[Response], None]) -> None:
        """Have the answer delivered once it is known."""
        if self._response is not None:
            deliver(self._response)
        else:
            self._deliver = deliver

    def drop(self) -> None:
        """The client has gone."""
        self._deliver = None
        if self._response is None and self._on_gone is not None:
            self._on_gone()


Answer = Response | StreamedResponse | Later


class BadBody(enum.Enum):
    """Why a request's body is not there."""

    TOO_LARGE = "too large"
    TRUNCATED = "truncated"


def _head(status: int, headers: Iterable[tuple[str, str]], framing: str, *, keep_alive: bool) -> bytes:
    lines = [f"{_one_line(name)}: {_one_line(value)}\r\n" for name, value in headers]
    if not any(name.lower() == "content-type" for name, _ in headers):
        lines.append("Content-Type: application/json\r\n")
    lines.append(framing)
    lines.append("Connection: keep-alive\r\n\r\n" if keep_alive else "Connection: close\r\n\r\n")
    start = _STATUS_LINES.get(status) or f"HTTP/1.1 {status} Status\r\n".encode("ascii")
    return start + "".join(lines).encode("utf-8", "replace")


def _one_line(text: str) -> str:
    """Return text that cannot end its line early."""
    if "\r" in text or "\n" in text or "\0" in text:
        return text.replace("\r", " ").replace("\n", " ").replace("\0", " ")
    return text
