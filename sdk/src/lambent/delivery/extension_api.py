"""The Extensions API, spoken by an internal extension over one plain socket.

A client of its own, because it is loaded during init, and because waiting for an event has no timeout:
the environment may be frozen for hours in the middle of it.
"""

from __future__ import annotations

import _socket

__all__ = ["ExtensionApi", "RefusedError", "deadline_of"]

_PATH = "/2020-01-01/extension"
_MOST = 1 << 20  # bytes of an answer; an event has a few hundred


class RefusedError(Exception):
    """The API said no. The message is what it said."""


class ExtensionApi:
    """One extension's conversation. `address` is the value of AWS_LAMBDA_RUNTIME_API."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._address = (host or address, int(port) if host else 80)
        self._host = address.encode("ascii")
        self._identifier = b""
        self._socket: _socket.socket | None = None

    def register(self, name: str, events: tuple[str, ...]) -> None:
        """Ask to be registered; `registered` reads the answer. Raises OSError."""
        body = ('{"events":[' + ",".join([f'"{event}"' for event in events]) + "]}").encode("ascii")
        self._send(
            b"POST %b/register HTTP/1.1\r\nHost: %b\r\nLambda-Extension-Name: %b\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (_PATH.encode(), self._host, name.encode(), len(body), body)
        )

    def registered(self) -> None:
        """Wait for the answer to `register`. Raises RefusedError and OSError."""
        status, headers, body = self._receive()
        identifier = headers.get(b"lambda-extension-identifier", b"")
        if status != 200 or not identifier:
            raise RefusedError(f"{status} {body[:200].decode('utf-8', 'replace')}")
        self._identifier = identifier

    def ask(self) -> None:
        """Ask for the next event: until it comes this extension is idle. Raises OSError."""
        self._send(
            b"GET %b/event/next HTTP/1.1\r\nHost: %b\r\nLambda-Extension-Identifier: %b\r\n\r\n"
            % (_PATH.encode(), self._host, self._identifier)
        )

    def event(self) -> bytes:
        """Wait for the event that was asked for, however long. Raises RefusedError and OSError."""
        status, _, body = self._receive()
        if status != 200:
            raise RefusedError(f"{status} {body[:200].decode('utf-8', 'replace')}")
        return body

    def fileno(self) -> int:
        """The socket's number, for who waits for more than an event."""
        return -1 if self._socket is None else self._socket.fileno()

    def close(self) -> None:
        """Close the connection."""
        sock, self._socket = self._socket, None
        if sock is not None:
            sock.close()

    def _send(self, request: bytes) -> None:
        if self._socket is None:
            sock = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
            try:
                sock.connect(self._address)
                sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
            except BaseException:
                sock.close()
                raise
            self._socket = sock
        self._socket.sendall(request)

    def _receive(self) -> tuple[int, dict[bytes, bytes], bytes]:
        sock = self._socket
        if sock is None:
            raise OSError("no connection")
        data = b""
        while True:
            piece = sock.recv(8192)
            if not piece:
                self.close()
                raise OSError("the connection was closed")
            data += piece
            head, end, body = data.partition(b"\r\n\r\n")
            if end:
                first, *lines = head.split(b"\r\n")
                headers = {key.strip().lower(): value.strip() for key, _, value in
                           [line.partition(b":") for line in lines]}  # fmt: skip
                if b"transfer-encoding" in headers:
                    return _chunked(sock, data, headers)
                if len(body) >= int(headers.get(b"content-length", b"0")):
                    return int(first.split(b" ", 2)[1]), headers, body
            if len(data) > _MOST:
                self.close()
                raise OSError("an endless answer")


def _chunked(
    sock: _socket.socket, data: bytes, headers: dict[bytes, bytes]
) -> tuple[int, dict[bytes, bytes], bytes]:
    from lambent.exporters._response import ProtocolError, Response

    answer = Response()
    try:
        while not answer.feed(data):
            data = sock.recv(8192)
            if not data:
                raise OSError("the connection was closed")
    except ProtocolError as error:
        raise OSError(str(error)) from error
    return answer.status, headers, answer.body


def deadline_of(event: bytes) -> float | None:
    """Return an event's deadline in milliseconds since the epoch, None when it has none."""
    digits = event.partition(b'"deadlineMs":')[2].lstrip()[:20]
    number = b""
    for position in range(len(digits)):
        digit = digits[position : position + 1]
        if not digit.isdigit():
            break
        number += digit
    return float(number) if number else None
