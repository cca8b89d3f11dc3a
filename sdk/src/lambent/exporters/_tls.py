"""TLS on a connected socket. Loaded for https endpoints only: `ssl` is a heavy module."""

from __future__ import annotations

import socket
import ssl
from os import getpid

from lambent.exporters._endpoint import ProtocolError
from lambent.exporters._http import MOST_LATE, Connection, TransportError, describe, whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable

    from lambent.exporters._endpoint import Endpoint, TlsFiles
    from lambent.exporters._http import Client

__all__ = ["SecureConnection", "context", "secured"]

_RECEIVE = 16384


class CertificateError(OSError):
    """A certificate file cannot be used."""


def context(files: TlsFiles | None) -> ssl.SSLContext:
    """Return what connections trust and show. Raises OSError when a file cannot be used."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks the certificate and the host name
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_alpn_protocols(["http/1.1"])
    if files is not None and files.certificate:
        try:
            made.load_verify_locations(cafile=files.certificate)
        except OSError as error:
            raise _unusable("CA certificate", files.certificate, error) from error
    else:
        made.load_default_certs()
    if files is not None and files.client_certificate:
        try:
            # A password that is given, and wrong, keeps OpenSSL from asking for one on a terminal.
            made.load_cert_chain(files.client_certificate, files.client_key, password=str)
        except (OSError, ValueError) as error:
            raise _unusable("client certificate or key", files.client_certificate, error) from error
    return made


def _unusable(what: str, path: str, error: Exception) -> CertificateError:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__
    return CertificateError(0, f"the {what} {path} cannot be used: {reason}")


class SecureConnection:
    """A connected socket with TLS on it, the handshake done within `timeout` seconds.

    It takes over the socket. `left` is a function that returns the seconds left or raises
    TimeoutError; `ample` is not needed here. Raises OSError, among them ssl.SSLError.
    """

    __slots__ = ("late", "pid", "sock", "used_at")

    def __init__(self, sock: _socket.socket, settings: ssl.SSLContext, host: str, timeout: float) -> None:
        self.pid = getpid()
        self.used_at = 0.0
        plain = socket.socket(fileno=sock.detach())
        try:
            self.sock = settings.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
        except BaseException:
            plain.close()
            raise
        try:
            self.sock.settimeout(timeout)
            self.sock.do_handshake()  # one deadline for all of its round trips
        except BaseException:
            self.sock.close()
            raise

    def send(self, data: bytes, left: Callable[[], float], ample: bool = False) -> None:  # noqa: ARG002  # as there
        """Send everything."""
        self.late = 0
        self.sock.settimeout(left())
        self.sock.sendall(data)

    def receive(self, left: Callable[[], float], ample: bool = False) -> bytes:  # noqa: ARG002  # as there
        """Return what has arrived, b"" at the end."""
        try:
            seconds = left()
        except TimeoutError:  # in a freeze, perhaps, and the answer has come before it or during it
            self.late += 1
            if self.late > MOST_LATE:
                raise
            seconds = 0.0
        self.sock.settimeout(seconds)
        try:
            return self.sock.recv(_RECEIVE)
        except ssl.SSLWantReadError:
            raise TimeoutError from None

    def untouched(self) -> bool:
        """Return whether nothing but TLS's own messages has arrived while idle."""
        try:
            self.sock.settimeout(0)
            self.sock.recv(1)
        except ssl.SSLWantReadError:
            return True
        except OSError:
            pass
        return False


def _is_final(error: OSError) -> bool:
    """Return whether trying again cannot help: what is wrong is a certificate or the protocol."""
    return isinstance(error, ssl.SSLError | CertificateError)


def secured(client: Client, sock: _socket.socket, deadline: float) -> SecureConnection:
    """Return a secure connection to the client's endpoint, through its proxy if it has one.

    Raises TransportError.
    """
    try:
        if client._tls_context is None:
            client._tls_context = context(client._tls)
        if client._proxy is not None:
            _tunnel(client, sock, client._proxy, deadline)
        return SecureConnection(sock, client._tls_context, client._endpoint.host, client._left(deadline))
    except TimeoutError as error:
        sock.close()
        raise TransportError("no secure connection in time", final=True) from error
    except ProtocolError as error:
        sock.close()
        raise TransportError(f"the proxy sent {error}", final=True) from error
    except OSError as error:
        sock.close()
        raise TransportError(describe(error), final=_is_final(error)) from error
    except BaseException:
        sock.close()
        raise


def _tunnel(client: Client, sock: _socket.socket, proxy: Endpoint, deadline: float) -> None:
    target = f"{client._endpoint.bracketed}:{client._endpoint.port}"
    request = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"
    if proxy.authorization:
        request += f"Proxy-Authorization: {proxy.authorization}\r\n"
    connection = Connection(sock)
    connection.send(f"{request}\r\n".encode("latin-1"), lambda: client._left(deadline))
    data = connection.receive(lambda: client._left(deadline))
    answer = whole(connection, data, lambda: client._left(deadline), bodiless=True)
    if not 200 <= answer.status < 300:
        raise TransportError(f"the proxy answered {answer.status}", final=True)
    if answer.surplus:
        raise ProtocolError("bytes before there was a tunnel")
