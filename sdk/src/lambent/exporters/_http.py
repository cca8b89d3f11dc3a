"""One HTTP/1.1 server, reached over plain sockets with connections kept alive.

`http.client` costs more to load than a whole trace costs to make, so this is our own: one
`send` a request, one `recv` an answer in the common case, and one deadline across everything.
It stands on `_socket`, the C half of `socket`: the Python half brings `selectors` and `enum`
along and is needed for TLS only.
"""

from __future__ import annotations

import _socket
from _struct import pack
from os import getpid
from time import monotonic, time

from lambent.exporters._endpoint import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from select import poll
    from ssl import SSLContext
    from typing import TypeAlias

    from lambent.exporters._endpoint import Endpoint, TlsFiles
    from lambent.exporters._lookup import Lookup
    from lambent.exporters._response import Response
    from lambent.exporters._tls import SecureConnection

    AnyConnection: TypeAlias = "Connection | SecureConnection"
    Address: TypeAlias = "tuple[int, tuple[str, int] | tuple[str, int, int, int]]"
    AnyAnswer: TypeAlias = "Answer | Response"

__all__ = ["Answer", "Client", "Connection", "TransportError", "describe", "usual", "whole"]

IDLE_LIMIT = 30.0  # seconds; after a longer freeze, a NAT on the way may have forgotten the connection
DNS_LIFETIME = 60.0
MOST_LATE = 8  # reads: an answer without an end must not go on for ever
_MOST_IDLE = 4  # connections; more of them only come of many exports at once
_RECEIVE = 8192
_TICK = 0.05
_TICK_TIMEVAL = pack("@ll", 0, 50_000)
_last: dict[bytes, Answer] = {}


class TransportError(Exception):
    """No complete answer. The message is one line without secrets.

    `delivered` is true when the server may have got the whole request, `refused` when nothing
    listens there, `final` when trying again cannot help, `stale` when the connection ended
    before a byte of an answer.
    """

    def __init__(
        self, reason: str, *, delivered: bool = False, refused: bool = False, final: bool = False,
        stale: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(reason)
        self.delivered = delivered
        self.refused = refused
        self.final = final
        self.stale = stale


class Answer:
    """A response that came as a whole, with the attributes of a `Response`."""

    __slots__ = ("body", "headers", "reusable", "status")

    def __init__(self, status: int, headers: dict[bytes, bytes], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.reusable = b"close" not in headers.get(b"connection", b"").lower()


def usual(data: bytes) -> Answer | None:
    """Return the answer that nearly all servers give: complete, in one piece, as long as it says.

    None for all else, which may be as right: `Response` understands it, and is loaded for it. It is kept in
    `_last`: the same bytes, as of the same second, are the same answer.
    """
    head, end, body = data.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    code = first[9:12]
    if not end or first[:9] != b"HTTP/1.1 " or first[12:13] not in (b" ", b"") or not code.isdigit():
        return None
    headers: dict[bytes, bytes] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        name = name.lower()
        if not colon or name in headers or not name.replace(b"-", b"").isalnum():
            return None
        headers[name] = value.strip(b" \t")
    status = int(code)
    if headers.get(b"content-length") != b"%d" % len(body) or b"transfer-encoding" in headers:
        return None
    odd = status < 200 or status in (204, 304) or head.count(b"\n") + head.count(b"\r") > 2 * len(lines)
    if odd or b"\0" in head or len(head) > 8192:
        return None
    _last.clear()
    return _last.setdefault(data, Answer(status, headers, body))


class Connection:
    """A connected socket. `left` is a function that returns the seconds left or raises TimeoutError; where
    `ample` is true there is a tick of time for each step, and it need not be asked first.

    Python's own socket timeouts cost a system call to set and another one before each transfer.
    Here the kernel's timeout is set once, to a tick; who needs longer than that takes the slow
    and exact way.
    """

    __slots__ = ("_look", "late", "pid", "sock", "used_at")

    def __init__(self, sock: _socket.socket) -> None:
        self.sock = sock
        self._look: poll | None = None
        self.pid = getpid()
        self.used_at = 0.0
        sock.settimeout(None)
        for option in (_socket.SO_RCVTIMEO, _socket.SO_SNDTIMEO):
            sock.setsockopt(_socket.SOL_SOCKET, option, _TICK_TIMEVAL)

    def send(self, data: bytes, left: Callable[[], float], ample: bool = False) -> None:
        """Send everything."""
        self.late = sent = 0
        if ample or left() > _TICK:
            try:
                sent = self.sock.send(data)
            except BlockingIOError:
                sent = 0
            if sent == len(data):
                return
        self.sock.settimeout(left())
        self.sock.sendall(memoryview(data)[sent:])  # its timeout is one for all of its parts
        self.sock.settimeout(None)

    def receive(self, left: Callable[[], float], ample: bool = False) -> bytes:
        """Return what has arrived, b"" at the end."""
        try:
            ample = ample or left() > _TICK
        except TimeoutError:
            # The time may have passed in a freeze, and the answer have come before it or during it.
            return self._arrived()
        if ample:
            try:
                return self.sock.recv(_RECEIVE)
            except BlockingIOError:
                pass
        self.sock.settimeout(left())
        data = self.sock.recv(_RECEIVE)
        self.sock.settimeout(None)
        return data

    def _arrived(self) -> bytes:
        self.late += 1
        if self.late > MOST_LATE:
            raise TimeoutError
        try:
            return self.sock.recv(_RECEIVE, _socket.MSG_DONTWAIT)
        except BlockingIOError:
            raise TimeoutError from None

    def untouched(self) -> bool:
        """Return whether nothing has happened while idle: no byte, no end, no reset."""
        if self._look is None:
            from select import POLLIN, poll  # a module to load, and only for who exports twice

            self._look = poll()
            self._look.register(self.sock, POLLIN)
        return not self._look.poll(0)  # a third of the time that an exception takes


class Client:
    """Sends requests to one endpoint. Safe to use from several threads and after a fork.

    There is no lock: an idle connection is taken out of a list and put back when its answer is
    complete, so that two exports at once use two connections and a child process none of its
    parent's.
    """

    Error = TransportError  # for who cannot import it before there is a client

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        proxy: Endpoint | None = None,
        tls: TlsFiles | None = None,
        clock: Callable[[], float] = monotonic,
        wall_clock: Callable[[], float] = time,
    ) -> None:
        self._endpoint = endpoint
        self._proxy = proxy
        self._tls = tls
        self._tls_context: SSLContext | None = None
        self._clock = clock
        self._wall_clock = wall_clock
        self._idle: list[AnyConnection] = []
        self._addresses: list[Address] = []
        self._resolved_at = 0.0
        self._lookup: Lookup | None = None  # one that is under way

    def exchange(self, request: bytes, deadline: float) -> AnyAnswer:
        """Send one request and return its answer before the clock reads `deadline`.

        Raises TransportError.
        """
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            # By the wall clock: the monotonic one may stand still while the sandbox is frozen.
            idle = self._wall_clock() - connection.used_at
            if 0 <= idle <= IDLE_LIMIT and connection.pid == getpid() and connection.untouched():
                try:
                    return self._on(connection, request, deadline)
                except TransportError as error:
                    if not error.stale:
                        raise
                # The peer hung up between our look and our request, as keep-alive servers may:
                # it has not worked on it, so this one is for a fresh connection.
                break
            connection.sock.close()  # a child closes its copy only; the parent's stays open
        return self._on(self._open(deadline), request, deadline)

    def prepare(self) -> None:
        """Load what a secure connection needs."""
        if self._endpoint.scheme == "https" and self._tls_context is None:
            from lambent.exporters import _tls

            self._tls_context = _tls.context(self._tls)

    def close(self) -> None:
        """Close the idle connections."""
        while (connection := self._pop()) is not None:
            connection.sock.close()

    def __del__(self) -> None:
        # Nobody has to close a tracer for their tests to be free of ResourceWarnings.
        self.close()

    def _pop(self) -> AnyConnection | None:
        try:
            return self._idle.pop()
        except IndexError:  # another thread was faster
            return None

    def _left(self, deadline: float) -> float:
        left = deadline - self._clock()
        if left <= 0:
            raise TimeoutError
        return left

    def _on(self, connection: AnyConnection, request: bytes, deadline: float) -> AnyAnswer:
        sent = started = False

        def left() -> float:
            return self._left(deadline)

        try:
            ample = deadline - self._clock() > 2 * _TICK
            try:
                connection.send(request, left, ample)
                sent = True
            except (BrokenPipeError, ConnectionResetError):
                pass  # it may have answered before it had everything: "413", and hung up
            data = connection.receive(left, ample)
            started = bool(data)
            answer: AnyAnswer = _last.get(data) or usual(data) or whole(connection, data, left)
        except TimeoutError as error:
            connection.sock.close()
            what = "no complete answer" if sent else "the request could not be sent"
            raise TransportError(f"{what} in time", delivered=sent, final=True) from error
        except ProtocolError as error:
            connection.sock.close()
            what = str(error) if sent else "the connection ended while sending"
            raise TransportError(what, delivered=sent, stale=not started, final=started) from error
        except OSError as error:
            connection.sock.close()
            raise TransportError(describe(error), delivered=sent, stale=not started) from error
        except BaseException:
            connection.sock.close()  # half a conversation is of no use to the next one
            raise
        if answer.reusable and sent and len(self._idle) < _MOST_IDLE:
            connection.used_at = self._wall_clock()
            self._idle.append(connection)
        else:
            connection.sock.close()
        return answer

    def _open(self, deadline: float) -> AnyConnection:
        try:
            sock = self._connect(deadline)
        except TimeoutError as error:
            raise TransportError("no connection in time", final=True) from error
        except OSError as error:
            self._addresses = []
            refused = isinstance(error, ConnectionRefusedError)
            raise TransportError(describe(error), refused=refused) from error
        if self._endpoint.scheme != "https":
            return Connection(sock)
        from lambent.exporters._tls import secured

        return secured(self, sock, deadline)

    def _connect(self, deadline: float) -> _socket.socket:
        addresses = self._resolve(deadline)
        first_error: OSError | None = None
        for position, (family, address) in enumerate(addresses):
            try:
                sock = _socket.socket(family, _socket.SOCK_STREAM)
            except OSError as error:  # a kernel without IPv6
                first_error = first_error or error
                continue
            try:
                # An address that swallows packets must leave time for the next one.
                sock.settimeout(self._left(deadline) / (len(addresses) - position))
                sock.connect(address)
                sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
            except OSError as error:
                sock.close()
                # What the last one said matters less: "localhost" is refused, its IPv6 twin unknown.
                first_error = first_error or error
            except BaseException:
                sock.close()
                raise
            else:
                if position:
                    # It answers here, so ask here first the next time.
                    self._addresses = [(family, address), *addresses[:position], *addresses[position + 1 :]]
                return sock
        raise first_error or OSError("the host name has no address")

    def _resolve(self, deadline: float) -> list[Address]:
        """Return the addresses to try; asking for them takes until the deadline at most."""
        now = self._wall_clock()
        if self._addresses and 0 <= now - self._resolved_at <= DNS_LIFETIME:
            return self._addresses
        server = self._proxy or self._endpoint
        found = known(server.host, server.port)
        if not found:
            from lambent.exporters._lookup import begun

            self._lookup = begun(self._lookup, server.host, server.port)
            found = self._lookup.wait(self._left(deadline))
        self._addresses = found
        self._resolved_at = now
        return self._addresses


def whole(
    connection: AnyConnection, data: bytes, left: Callable[[], float], *, bodiless: bool = False
) -> Response:
    """Return the response that begins with this data. Raises ProtocolError."""
    from lambent.exporters._response import Response

    answer = Response(bodiless=bodiless)
    while not (answer.feed(data) if data else answer.end()):
        data = connection.receive(left)
    return answer


def known(host: str, port: int) -> list[Address]:
    """Return the addresses of literals and of localhost, none for a name that has to be asked for."""
    if host == "localhost":
        return [(_socket.AF_INET, ("127.0.0.1", port)), (_socket.AF_INET6, ("::1", port, 0, 0))]
    if ":" not in host:
        try:
            _socket.inet_pton(_socket.AF_INET, host)
        except OSError:
            return []
        return [(_socket.AF_INET, (host, port))]
    return [] if "%" in host else [(_socket.AF_INET6, (host, port, 0, 0))]


def describe(error: OSError) -> str:
    """Return what went wrong in a few words."""
    detail = getattr(error, "verify_message", None) or getattr(error, "reason", None) or error.strerror
    text = str(detail or error) or type(error).__name__
    return text[:1].lower() + text[1:] if text[1:2].islower() else text
