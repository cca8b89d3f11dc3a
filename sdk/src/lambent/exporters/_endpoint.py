"""What configuration says about a server, checked: its URL, its headers, its certificates.

URLs and headers carry credentials, so no error message here quotes a value.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Endpoint", "ProtocolError", "TlsFiles", "check_headers", "parse_url"]

_NAME_LETTERS = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
_PORTS = {"http": 80, "https": 443}


class ProtocolError(Exception):
    """What came is not HTTP/1.1. The message says what is wrong with it, quoting nothing."""


class TlsFiles:
    """Paths of PEM files: CA certificates instead of the system's, a client's certificate and key."""

    __slots__ = ("certificate", "client_certificate", "client_key")

    def __init__(
        self,
        certificate: str | None = None,
        client_certificate: str | None = None,
        client_key: str | None = None,
    ) -> None:
        self.certificate = certificate
        self.client_certificate = client_certificate
        self.client_key = client_key


class Endpoint:
    """The parts of an http or https URL.

    `host` is in ASCII and without brackets, `target` the path with its query, `authorization`
    the value of a basic Authorization header ("" without credentials), `secrets` what must not
    be printed.
    """

    __slots__ = ("authorization", "host", "port", "scheme", "secrets", "target")

    def __init__(
        self,
        scheme: str,
        host: str,
        port: int,
        target: str,
        *,
        authorization: str = "",
        secrets: tuple[str, ...] = (),
    ) -> None:
        self.scheme = scheme
        self.host = host
        self.port = port
        self.target = target
        self.authorization = authorization
        self.secrets = secrets

    @property
    def bracketed(self) -> str:
        """The host as it stands in a URL."""
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def authority(self) -> str:
        """Host and port, the port only where it is not the scheme's own."""
        return self.bracketed if self.port == _PORTS[self.scheme] else f"{self.bracketed}:{self.port}"

    @property
    def origin(self) -> str:
        """The URL without credentials, path and query: what may be printed."""
        return f"{self.scheme}://{self.authority}"


def parse_url(url: str, what: str) -> Endpoint:
    """Take a URL apart. `what` names it in errors.

    Raises ValueError for what is no http or https URL, or cannot stand in a request line.
    """
    scheme, separator, rest = url.strip().partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in _PORTS:
        raise ValueError(f"the {what} is no http:// or https:// URL such as http://localhost:4318/v1/traces")
    rest = rest.partition("#")[0]
    cut = min([position for position in (rest.find("/"), rest.find("?")) if position >= 0], default=len(rest))
    authority, target = rest[:cut], rest[cut:]
    userinfo, at, hostport = authority.rpartition("@")
    host, port = _host_and_port(hostport, _PORTS[scheme], what)
    authorization, secrets = _basic(userinfo) if at else ("", ())
    if not target.startswith("/"):
        target = f"/{target}"
    return Endpoint(scheme, host, port, _escape(target, what), authorization=authorization, secrets=secrets)


def _host_and_port(text: str, default: int, what: str) -> tuple[str, int]:
    if text.startswith("["):
        host, bracket, after = text[1:].partition("]")
        if not bracket or ":" not in host or after[:1] not in ("", ":"):
            raise ValueError(f"the {what} has a broken IPv6 address: write http://[::1]:4318/…")
        port = after[1:]
    else:
        host, _, port = text.partition(":")
    if not host:
        raise ValueError(f"the {what} names no host")
    try:
        host = (host if host.isascii() else host.encode("idna").decode("ascii")).lower()
    except UnicodeError:
        raise ValueError(f"the {what} has a host name that cannot be one") from None
    if any(letter <= " " or letter in '\x7f"<>\\^`{|}/@' for letter in host):
        raise ValueError(f"the {what} has a host name that cannot be one")
    if not port:
        return host, default
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536):
        raise ValueError(f"the {what} has a port that is no number from 1 to 65535")
    return host, int(port)


def _escape(target: str, what: str) -> str:
    if any(letter <= " " or letter == "\x7f" for letter in target):
        raise ValueError(f"the {what} has a blank or a control character in its path")
    if target.isascii():
        return target
    return "".join(
        [
            letter
            if letter.isascii()
            else "".join([f"%{b:02X}" for b in letter.encode("utf-8", "surrogateescape")])
            for letter in target
        ]
    )


def _basic(userinfo: str) -> tuple[str, tuple[str, ...]]:
    from binascii import b2a_base64
    from urllib.parse import unquote_to_bytes

    user, _, password = userinfo.partition(":")
    pair = unquote_to_bytes(user) + b":" + unquote_to_bytes(password)
    encoded = b2a_base64(pair, newline=False).decode("ascii")
    plain = unquote_to_bytes(password).decode("utf-8", "replace")
    return f"Basic {encoded}", (encoded, password, plain, user)


def check_headers(headers: Mapping[str, str], reserved: Iterable[str] = ()) -> dict[str, str]:
    """Return headers with lower-case names and trimmed values, without the reserved ones.

    Raises ValueError for what cannot be sent, naming the header and not its value.
    """
    checked: dict[str, str] = {}
    for name, value in headers.items():
        lower = name.strip().lower()
        if not lower or any(letter not in _NAME_LETTERS for letter in lower):
            raise ValueError(f"{name!r} is no name of a header")
        trimmed = value.strip(" \t")
        if any(letter in "\r\n\0" for letter in trimmed):
            raise ValueError(f"the value of header {lower!r} has a line break or a zero byte in it")
        if any(letter > "\xff" for letter in trimmed):
            raise ValueError(f"the value of header {lower!r} has characters beyond Latin-1")
        if lower not in reserved:
            checked[lower] = trimmed
    return checked
