"""OTLP over HTTPS, with certificates made on the spot: whom the exporter trusts, and what it shows."""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING, cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lambent.exporters import _tls
from lambent.exporters.otlp_http import OtlpHttpExporter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from typing import Any

    from lambent.exporters import Result
    from lambent.span import Span

BATCH = cast("Sequence[Span]", [object()])
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Authority:
    """A certificate authority that lives as long as the tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, folder.name)])
        self.file = self._save("ca", self._sign(self.name, self.key, []), None)

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, names: list[x509.GeneralName]
    ) -> bytes:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=not names, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def _save(self, name: str, certificate: bytes, key: bytes | None) -> str:
        path = self.folder / f"{name}.pem"
        path.write_bytes(certificate)
        if key is not None:
            path.with_suffix(".key").write_bytes(key)
        return str(path)

    def issue(self, name: str, *names: x509.GeneralName, password: bytes = b"") -> tuple[str, str]:
        """Return the paths of a new certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        encryption = (
            serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        )
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
        path = self._save(name, self._sign(subject, key, list(names)), pem)
        return path, path.replace(".pem", ".key")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def context(authority: Authority) -> ssl.SSLContext:
    certificate, key = authority.issue(
        "server", x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    )
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate, key)
    return made


@pytest.fixture
def exporters() -> Iterator[list[OtlpHttpExporter]]:
    made: list[OtlpHttpExporter] = []
    yield made
    for exporter in made:
        exporter.close()


def secure(context: ssl.SSLContext, seen: list[Any] | None = None) -> Any:
    """Return a script that speaks TLS and answers every request with 200."""

    def script(server: Any, peer: Any) -> None:
        upgrade(context, peer)
        if seen is not None:
            seen.append(peer.sock)
        while request := peer.request():
            server.requests.append(request)
            peer.send(OK)

    return script


def upgrade(context: ssl.SSLContext, peer: Any) -> None:
    peer.file.close()
    peer.sock = context.wrap_socket(peer.sock, server_side=True)
    peer.file = peer.sock.makefile("rb")


def failed(result: Result, word: str) -> None:
    assert (result.ok, result.lost, result.retries) == (False, 1, 0)
    assert word in result.reason


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_hundred_exports_use_one_secure_connection(
    serve: Any,
    authority: Authority,
    exporters: list[OtlpHttpExporter],
    host: str,
    version: ssl.TLSVersion,
) -> None:
    certificate, key = authority.issue(
        "either", x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.maximum_version = version
    context.set_alpn_protocols(["h2", "http/1.1"])
    asked = []
    context.sni_callback = lambda _sock, name, _context: asked.append(name)
    seen: list[ssl.SSLSocket] = []
    server = serve(secure(context, seen))
    exporter = OtlpHttpExporter(
        f"https://{host}:{server.port}/v1/traces", certificate=authority.file, encode=lambda _: b"x" * 100_000
    )
    exporters.append(exporter)
    for _ in range(100):
        result = exporter.export(BATCH, 10)
        assert result.ok, result
    assert (len(server.requests), server.connections) == (100, 1)
    assert len(server.requests[0].body) == 100_000
    assert asked == (["localhost"] if host == "localhost" else [None])
    assert seen[0].selected_alpn_protocol() == "http/1.1"


def test_an_answer_that_came_in_a_freeze_counts(
    serve: Any,
    authority: Authority,
    context: ssl.SSLContext,
    exporters: list[OtlpHttpExporter],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answered = threading.Event()
    receive = _tls.SecureConnection.receive

    def over() -> float:
        raise TimeoutError

    def late(self: _tls.SecureConnection, _: Callable[[], float], ample: bool = False) -> bytes:
        assert answered.wait(20)
        return receive(self, over)

    def script(server: Any, peer: Any) -> None:
        peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # sent is arrived, then
        upgrade(context, peer)
        while peer.request():
            if not server.requests:
                peer.send(OK)
                answered.set()
            server.requests.append(1)

    monkeypatch.setattr(_tls.SecureConnection, "receive", late)
    server = serve(script)
    exporter = OtlpHttpExporter(
        f"https://localhost:{server.port}/", certificate=authority.file, encode=lambda _: b"x"
    )
    exporters.append(exporter)
    assert exporter.export(BATCH, 10).ok
    result = exporter.export(BATCH, 10)  # nothing comes any more
    assert "no complete answer in time" in result.reason


def test_a_peer_that_hung_up_meanwhile_is_replaced(
    serve: Any, authority: Authority, context: ssl.SSLContext, exporters: list[OtlpHttpExporter]
) -> None:
    gone = threading.Event()

    def script(server: Any, peer: Any) -> None:
        upgrade(context, peer)
        server.requests.append(peer.request())
        peer.send(OK)
        peer.file.close()
        peer.sock.close()
        gone.set()

    server = serve(script)
    exporter = OtlpHttpExporter(
        f"https://localhost:{server.port}/", certificate=authority.file, encode=lambda _: b"x"
    )
    exporters.append(exporter)
    for _ in range(3):
        gone.clear()
        assert exporter.export(BATCH, 10).ok
        assert gone.wait(5)
    assert server.connections == len(server.requests) == 3


def test_a_server_nobody_vouches_for(
    serve: Any, context: ssl.SSLContext, tmp_path: Path, authority: Authority
) -> None:
    server = serve(secure(context))
    url = f"https://localhost:{server.port}/"
    failed(OtlpHttpExporter(url, encode=lambda _: b"x").export(BATCH, 10), "certificate")
    other = Authority(tmp_path)
    exporter = OtlpHttpExporter(url, certificate=other.file, encode=lambda _: b"x")
    failed(exporter.export(BATCH, 10), "certificate")
    assert server.requests == []


def test_a_certificate_for_another_name(serve: Any, authority: Authority) -> None:
    certificate, key = authority.issue("elsewhere", x509.DNSName("elsewhere.example"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = serve(secure(context))
    exporter = OtlpHttpExporter(
        f"https://localhost:{server.port}/", certificate=authority.file, encode=lambda _: b"x"
    )
    failed(exporter.export(BATCH, 10), "ostname mismatch")
    assert server.requests == []


def test_a_client_certificate(serve: Any, authority: Authority, exporters: list[OtlpHttpExporter]) -> None:
    certificate, key = authority.issue("strict", x509.DNSName("localhost"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(authority.file)
    context.verify_mode = ssl.CERT_REQUIRED
    seen: list[ssl.SSLSocket] = []
    server = serve(secure(context, seen))
    client, client_key = authority.issue("client", x509.DNSName("client.example"))
    exporter = OtlpHttpExporter(
        f"https://localhost:{server.port}/",
        certificate=authority.file,
        client_certificate=client,
        client_key=client_key,
        encode=lambda _: b"x",
    )
    exporters.append(exporter)
    assert exporter.export(BATCH, 10).ok
    shown = seen[0].getpeercert()
    assert shown is not None
    assert shown["subject"] == ((("commonName", "client"),),)
    without = OtlpHttpExporter(
        f"https://localhost:{server.port}/", certificate=authority.file, encode=lambda _: b"x"
    )
    result = without.export(BATCH, 10)
    assert (result.ok, result.lost) == (False, 1)
    assert len(server.requests) == 1


@pytest.mark.parametrize("broken", ["missing CA", "empty CA", "missing client", "wrong key", "locked key"])
def test_certificate_files_that_cannot_be_used(
    serve: Any, authority: Authority, context: ssl.SSLContext, tmp_path: Path, broken: str
) -> None:
    server = serve(secure(context))
    client, client_key = authority.issue("mine", x509.DNSName("mine.example"))
    _, other_key = authority.issue("other", x509.DNSName("other.example"))
    locked, locked_key = authority.issue("locked", x509.DNSName("x.example"), password=b"password")
    empty = tmp_path / "empty.pem"
    empty.touch()
    settings = {
        "missing CA": {"certificate": str(tmp_path / "none.pem")},
        "empty CA": {"certificate": str(empty)},
        "missing client": {"client_certificate": str(tmp_path / "none.pem"), "client_key": client_key},
        "wrong key": {"client_certificate": client, "client_key": other_key},
        "locked key": {"client_certificate": locked, "client_key": locked_key},
    }[broken]
    url = f"https://localhost:{server.port}/"
    exporter = OtlpHttpExporter(url, **{"certificate": authority.file, "encode": lambda _: b"x", **settings})  # type: ignore[arg-type]  # built from a table
    failed(exporter.export(BATCH, 10), "cannot be used")
    assert server.requests == []


def test_a_server_without_tls(serve: Any, authority: Authority) -> None:
    server = serve(OK)
    exporter = OtlpHttpExporter(
        f"https://localhost:{server.port}/", certificate=authority.file, encode=lambda _: b"x"
    )
    start = time.monotonic()
    result = exporter.export(BATCH, 0.5)
    assert (result.ok, result.lost) == (False, 1)
    assert time.monotonic() - start < 10


def hang_before_the_handshake(server: Any, peer: Any) -> None:
    peer.hang()


def test_a_handshake_that_hangs(serve: Any, authority: Authority) -> None:
    server = serve(hang_before_the_handshake)
    exporter = OtlpHttpExporter(
        f"https://localhost:{server.port}/", certificate=authority.file, encode=lambda _: b"x"
    )
    start = time.monotonic()
    failed(exporter.export(BATCH, 0.3), "in time")
    assert 0.29 <= time.monotonic() - start < 10


def test_an_answer_that_trickles(serve: Any, authority: Authority, context: ssl.SSLContext) -> None:
    def script(server: Any, peer: Any) -> None:
        upgrade(context, peer)
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not peer.stopping.wait(0.02):
            peer.send(b"z")

    server = serve(script)
    exporter = OtlpHttpExporter(
        f"https://localhost:{server.port}/", certificate=authority.file, encode=lambda _: b"x"
    )
    start = time.monotonic()
    failed(exporter.export(BATCH, 0.4), "in time")
    assert 0.39 <= time.monotonic() - start < 10


def test_through_a_proxy(
    serve: Any, authority: Authority, context: ssl.SSLContext, exporters: list[OtlpHttpExporter]
) -> None:
    """The proxy sees the name and its own credentials; the name is not looked up here."""
    tunnels = []

    def script(server: Any, peer: Any) -> None:
        tunnels.append(peer.request())
        peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        secure(context)(server, peer)

    proxy = serve(script)
    certificate_url = "https://user:upstream@localhost:1/v1/traces"
    exporter = OtlpHttpExporter(
        certificate_url,
        proxy=f"http://us:passw@127.0.0.1:{proxy.port}",
        certificate=authority.file,
        encode=lambda _: b"x",
    )
    exporters.append(exporter)
    for _ in range(3):
        result = exporter.export(BATCH, 10)
        assert result.ok, result
    assert proxy.connections == 1
    (tunnel,) = tunnels
    assert tunnel.line == "CONNECT localhost:1 HTTP/1.1"
    assert base64.b64decode(tunnel.headers["proxy-authorization"].partition(" ")[2]) == b"us:passw"
    assert "authorization" not in tunnel.headers
    assert proxy.requests[0].line == "POST /v1/traces HTTP/1.1"
    assert "proxy-authorization" not in proxy.requests[0].headers


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", "407"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "502"),
        (b"nonsense\r\n\r\n", "the proxy sent no HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\nand more", "the proxy sent bytes"),
    ],
)
def test_a_proxy_that_refuses(serve: Any, answer: bytes, word: str) -> None:
    proxy = serve(answer)
    exporter = OtlpHttpExporter(
        "https://collector.invalid/", proxy=f"http://us:passw@127.0.0.1:{proxy.port}", encode=lambda _: b"x"
    )
    result = exporter.export(BATCH, 10)
    failed(result, word)
    assert "passw" not in result.reason
