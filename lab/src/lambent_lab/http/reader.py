"""Bytes in, requests out: httptools reads them, and what must not be is refused here. No sockets.

The rules are in `server`. After a refusal nothing more may be fed.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

import httptools

from lambent_lab.http.body import Body
from lambent_lab.http.messages import NO_REPEATED, BadBody, Request, Response

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_HEAD = 2 * 1024 * 1024  # awslambdaric sends up to 1 MB of cause in a header
MAX_FIELDS = 1000
MAX_TARGET = 64 * 1024
MAX_DISCARD = (
    1024 * 1024 * 1024
)  # what is read of a body that is refused, so that its sender hears the answer


class Limits(Protocol):
    """What a reader needs of its server."""

    max_body: int
    max_streamed: int

    def wants_stream(self, request: Request) -> bool:
        """Whether a request is handled from its head on."""


@dataclass(slots=True)
class Arrived:
    """A request that can be handled. `bad` says why it must be refused for its body instead."""

    request: Request
    keep_alive: bool
    http11: bool
    bad: BadBody | None = None


@dataclass(slots=True)
class _Incoming:
    """A request while it is being read."""

    began: float
    target: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    trailers: dict[str, str] = field(default_factory=dict)
    fields: int = 0
    repeated: dict[str, tuple[str, ...]] | None = None
    parts: list[bytes] = field(default_factory=list)
    size: int = 0
    arrived: Arrived | None = None  # made when the head is complete
    owes_continue: bool = False


class _Stop(Exception):  # noqa: N818 - no error: this is how a callback stops the parser
    """The parser need not go on: what came has been refused."""


class Reader:
    """Reads the requests of one connection. `throttle` is told when a streamed body should come slower.

    `arrived` takes the requests, in order. `refused` is the answer to what is none: the last one here.
    """

    def __init__(self, limits: Limits, throttle: Callable[[bool], None]) -> None:
        self.arrived: deque[Arrived] = deque()
        self.refused: Response | None = None
        self.peer = ""
        self._limits = limits
        self._throttle = throttle
        self._parser = httptools.HttpRequestParser(self)
        self._incoming: _Incoming | None = None
        self._unproductive = 0  # bytes since the parser last had something to say
        self._began = self._touched = time.perf_counter()

    @property
    def more(self) -> bool:
        """Whether there is something to do besides waiting: a request is there, or has begun."""
        return self._incoming is not None or bool(self.arrived)

    def feed(self, data: bytes | memoryview) -> None:
        """Read on."""
        self._touched = time.perf_counter()
        if self._incoming is None:
            self._began = self._touched
        self._unproductive += len(data)
        while data:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = self._no_upgrade(data, int(upgrade.args[0]))
            except httptools.HttpParserError:
                if self.refused is None and not (self.arrived and self.arrived[-1].bad):
                    self.refused = _MALFORMED
                break
            else:
                break
        if self.refused is None and self._unproductive > MAX_HEAD:
            self.refused = _HEAD_TOO_LARGE
        if self.refused is not None:
            self.cut_off()

    def _no_upgrade(self, data: bytes | memoryview, read: int) -> bytes | memoryview:
        """Go on in HTTP/1.1, as who offers another HTTP expects of servers that have none.

        The parser leaves an upgrade's body unread: the request is read again, without what offers it.
        """
        request = self.arrived.pop().request if self.arrived else None
        wanted = "" if request is None else request.headers.get("upgrade", "")
        if request is None or wanted.partition(",")[0].strip().lower() != "h2c":
            self.refused = _MALFORMED
            return b""
        self._parser = httptools.HttpRequestParser(self)
        return _without_upgrade(request) + bytes(data[read:])

    def end(self) -> None:
        """Nothing more will come. A request that was cut off arrives truncated, if its head is complete."""
        incoming, self._incoming = self._incoming, None
        if incoming is None or incoming.arrived is None:
            return
        arrived = incoming.arrived
        arrived.keep_alive = False
        if arrived.request.stream is not None:
            arrived.request.stream.fail(BadBody.TRUNCATED)
        else:
            self.arrived.append(_completed(incoming, BadBody.TRUNCATED))

    def cut_off(self) -> None:
        """Forget what is being read."""
        incoming, self._incoming = self._incoming, None
        if incoming is not None and incoming.arrived is not None:
            stream = incoming.arrived.request.stream
            if stream is not None:
                stream.fail(BadBody.TRUNCATED)

    def touch(self, now: float) -> None:
        """Start the clock of `overdue` anew: the client could not go on until now."""
        self._began = self._touched = now

    def overdue(self, now: float, head_s: float, stall_s: float | None) -> bool:
        """Tell whether a request has been coming for too long."""
        incoming = self._incoming
        if incoming is None:
            return False
        if incoming.arrived is None:
            return now - self._began > head_s
        if incoming.arrived.request.stream is not None or stall_s is None:
            return False
        return now - self._touched > stall_s

    def take_continue(self, current: Request | None) -> bool:
        """Tell, once, that the next request's body waits for 100-continue. `current` is being answered."""
        incoming = self._incoming
        if incoming is None or not incoming.owes_continue or incoming.arrived is None or self.arrived:
            return False
        if current is not None and current is not incoming.arrived.request:
            return False
        incoming.owes_continue = False
        return True

    # -- httptools' side

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._incoming = _Incoming(self._touched)

    def on_url(self, url: bytes) -> None:
        """Take (a part of) the target."""
        incoming = self._now()
        incoming.target += url
        if len(incoming.target) > MAX_TARGET:
            self._refuse(_TARGET_TOO_LONG)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field of the head or a trailer."""
        incoming = self._now()
        fields = incoming.headers if incoming.arrived is None else incoming.trailers
        incoming.fields += 1
        if incoming.fields > MAX_FIELDS:
            self._refuse(_HEAD_TOO_LARGE)
        key, text = name.decode("latin-1").lower(), value.decode("utf-8", "replace")
        if key in fields:
            if key == "host":
                self._refuse(_MALFORMED)
            if incoming.arrived is None:
                repeated = incoming.repeated = incoming.repeated or {}
                repeated[key] = (*repeated.get(key, (fields[key],)), text)
            text = f"{fields[key]}, {text}"
        fields[key] = text

    def on_headers_complete(self) -> None:
        """Decide what is done with the body."""
        incoming = self._now()
        self._unproductive = 0
        path, _, query = incoming.target.decode("latin-1").partition("?")
        headers, parser = incoming.headers, self._parser
        version = parser.get_http_version()
        request = Request(
            method=parser.get_method().decode("latin-1"),
            path=path,
            query=query,
            headers=MappingProxyType(headers),
            began=self._touched,
            repeated=NO_REPEATED if incoming.repeated is None else MappingProxyType(incoming.repeated),
            peer=self.peer,
            version=version,
        )
        if version not in {"1.0", "1.1"}:
            self._refuse(_MALFORMED)
        http11 = version == "1.1"
        arrived = incoming.arrived = Arrived(request, parser.should_keep_alive(), http11)
        if "content-length" not in headers and "transfer-encoding" not in headers:
            return
        incoming.owes_continue = http11 and headers.get("expect", "").lower() == "100-continue"
        if self._limits.wants_stream(request):
            arrived.request = _with(request, stream=Body(self._throttle))
            self.arrived.append(arrived)
        elif _length(headers) > self._limits.max_body + (0 if incoming.owes_continue else MAX_DISCARD):
            arrived.keep_alive, arrived.bad = False, BadBody.TOO_LARGE
            self.arrived.append(arrived)
            self._incoming = None
            raise _Stop

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        incoming = self._now()
        self._unproductive = 0
        incoming.owes_continue = False
        incoming.size += len(body)
        arrived, limits = incoming.arrived, self._limits
        assert arrived is not None
        stream = arrived.request.stream
        if stream is not None:
            if incoming.size > limits.max_streamed:
                stream.fail(BadBody.TOO_LARGE)
            stream.feed(body)
        elif incoming.size <= limits.max_body:
            incoming.parts.append(body)
        else:
            incoming.parts.clear()
        if incoming.size > max(limits.max_body, limits.max_streamed) + MAX_DISCARD:
            self._refuse(_BODY_TOO_LARGE)

    def on_message_complete(self) -> None:
        """The request is there to its end."""
        incoming, self._incoming = self._now(), None
        self._unproductive = 0
        assert incoming.arrived is not None
        stream = incoming.arrived.request.stream
        if stream is not None:
            stream.end(MappingProxyType(incoming.trailers))
        else:
            too_large = incoming.size > self._limits.max_body
            self.arrived.append(_completed(incoming, BadBody.TOO_LARGE if too_large else None))

    def _now(self) -> _Incoming:
        assert self._incoming is not None
        return self._incoming

    def _refuse(self, response: Response) -> None:
        self.refused = response
        raise _Stop


def _completed(incoming: _Incoming, bad: BadBody | None) -> Arrived:
    arrived, parts = incoming.arrived, incoming.parts
    assert arrived is not None
    arrived.bad = bad
    if parts or incoming.trailers:
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        arrived.request = _with(arrived.request, body=body, trailers=MappingProxyType(incoming.trailers))
    return arrived


def _with(
    request: Request,
    *,
    body: bytes = b"",
    trailers: MappingProxyType[str, str] | None = None,
    stream: Body | None = None,
) -> Request:
    """Return the request with what comes after its head."""
    return Request(
        request.method,
        request.path,
        request.query,
        request.headers,
        body,
        request.trailers if trailers is None else trailers,
        stream,
        request.began,
        request.repeated,
        request.peer,
        request.version,
    )


def _without_upgrade(request: Request) -> bytes:
    """Return the head of a request as it came, but for the fields that offer to go on in another protocol."""
    target = f"{request.path}?{request.query}" if request.query else request.path
    lines = [f"{request.method} {target} HTTP/{request.version}"]
    for name, joined in request.headers.items():
        if name not in {"connection", "http2-settings", "upgrade"}:
            lines += [f"{name}: {value}" for value in request.repeated.get(name, (joined,))]
    head, _, fields = "\r\n".join([*lines, "", ""]).partition("\r\n")
    return head.encode("latin-1") + b"\r\n" + fields.encode()


def _length(headers: dict[str, str]) -> int:
    text = headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() else 0


def _refusal(status: int, kind: str, message: str) -> Response:
    return Response(status, f'{{"errorMessage":"{message}","errorType":"{kind}"}}'.encode())


_MALFORMED = _refusal(400, "InvalidRequest", "Malformed HTTP request")
_HEAD_TOO_LARGE = _refusal(431, "InvalidRequest", "The request's header fields are too large")
_TARGET_TOO_LONG = _refusal(414, "InvalidRequest", "The request's target is too long")
_BODY_TOO_LARGE = _refusal(413, "RequestEntityTooLarge", "The request body is too large")
TIMEOUT = _refusal(408, "RequestTimeout", "The request did not arrive in time")
