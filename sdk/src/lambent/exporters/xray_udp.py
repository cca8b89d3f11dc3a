"""OTLP to the X-Ray daemon, one datagram for as many spans as it holds.

Rules (those of AWS's own OTLP UDP exporters): a datagram is a header line, a prefix that says whether its
spans are sampled (T1S) or not (T1U), and an ExportTraceServiceRequest in base64. UDP has no answer: what
the kernel took is counted as delivered, unless it knows that nobody listens.
"""

from __future__ import annotations

import _socket
from binascii import b2a_base64
from os import getpid, strerror

from lambent.exporters import Exporter, Result
from lambent.exporters._endpoint import parse_url

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lambent.span import Span

__all__ = ["MAX_DATAGRAM", "XRayUdpExporter", "daemon_address"]

MAX_DATAGRAM = 65507
"""Bytes: what UDP over IPv4 can carry."""

_HEADER = b'{"format":"json","version":1}\n'
_DEFAULT_PORT = 2000
_LOOKUP_S = 1.0


def daemon_address(text: str) -> tuple[str, int]:
    """Return host and port of AWS_XRAY_DAEMON_ADDRESS: `host:port`, or `tcp:host:port udp:host:port`.

    Raises ValueError for what is neither.
    """
    parts = text.split()
    udp = [part[4:] for part in parts if part.lower().startswith("udp:")]
    plain = [part for part in parts if not part.lower().startswith(("udp:", "tcp:"))]
    if len(udp) > 1 or len(plain) > 1 or (udp and plain) or not (udp or plain):
        raise ValueError("AWS_XRAY_DAEMON_ADDRESS is neither host:port nor tcp:host:port udp:host:port")
    chosen = (udp or plain)[0]
    if "/" in chosen or "@" in chosen:
        raise ValueError("AWS_XRAY_DAEMON_ADDRESS is no host:port")
    endpoint = parse_url(f"http://{chosen}", "X-Ray daemon's address")
    has_port = chosen.rpartition("]")[2].partition(":")[2]
    return endpoint.host, endpoint.port if has_port else _DEFAULT_PORT


class XRayUdpExporter(Exporter):
    """Sends spans to the X-Ray daemon at `address`, in Lambda that of AWS_XRAY_DAEMON_ADDRESS.

    Spans that need more than a datagram are split; a single one that does is lost, and said to be.
    Raises ValueError for an address that is none.
    """

    waits = False
    concurrent = True

    def __init__(
        self,
        address: str = "127.0.0.1:2000",
        *,
        encode: Callable[[Sequence[Span]], bytes] | None = None,
    ) -> None:
        self._host, self._port = daemon_address(address)
        self._encode = encode
        self._socket: _socket.socket | None = None
        self._pid = 0
        self._closed = False

    def export(self, spans: Sequence[Span], timeout: float = 0.0) -> Result:  # noqa: ARG002  # UDP does not wait
        """Send the spans, the sampled and the others apart."""
        result = Result()
        try:
            groups: dict[bytes, list[Span]] = {b"T1S": [], b"T1U": []}
            for span in spans:
                groups[b"T1S" if span.context.trace_flags & 1 else b"T1U"].append(span)
            for prefix, group in groups.items():
                if group:
                    self._send(prefix, group, result)
        except Exception as error:  # noqa: BLE001  # tracing must not break the function, whatever this is
            result.lost = len(spans)
            self._because(result, f"internal {type(error).__name__}")
        result.ok = not result.lost
        return result

    def close(self) -> None:
        """Close the socket."""
        self._closed = True
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __repr__(self) -> str:
        return f"XRayUdpExporter('{self._host}:{self._port}')"

    def _send(self, prefix: bytes, spans: Sequence[Span], result: Result) -> None:
        encode = self._encode
        if encode is None:
            from lambent.wire import protobuf

            encode = self._encode = protobuf.encode
        datagram = _HEADER + prefix + b2a_base64(encode(spans), newline=False)
        if len(datagram) > MAX_DATAGRAM:
            half = len(spans) // 2
            if half:
                self._send(prefix, spans[:half], result)
                self._send(prefix, spans[half:], result)
                return
            result.lost += 1
            self._because(result, f"a span of {len(datagram)} bytes is larger than a datagram")
            return
        try:
            sock = self._connected()
            sock.send(datagram)
            # On this machine the kernel knows at once that nobody has the port open.
            code = sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
            failure = OSError(code, strerror(code)) if code else None
        except OSError as error:
            failure = error
        if failure is not None:
            from lambent.exporters._http import describe

            result.lost += len(spans)
            self._because(result, describe(failure))
            return
        result.bytes += len(datagram)

    def _because(self, result: Result, reason: str) -> None:
        if not result.reason:
            result.reason = f"X-Ray daemon at {self._host}:{self._port}: {reason}"

    def _connected(self) -> _socket.socket:
        if self._closed:
            raise OSError(0, "the exporter is closed")
        if self._socket is not None and self._pid == getpid():
            return self._socket
        from lambent.exporters._http import known

        addresses = known(self._host, self._port)
        if not addresses:
            from lambent.exporters._lookup import Lookup

            addresses = Lookup(self._host, self._port).wait(_LOOKUP_S)
        family, address = addresses[0]
        sock = _socket.socket(family, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
        try:
            sock.setblocking(False)
            sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDBUF, 1 << 20)
            sock.connect(address)
        except BaseException:
            sock.close()
            raise
        self._socket, self._pid = sock, getpid()
        return sock
