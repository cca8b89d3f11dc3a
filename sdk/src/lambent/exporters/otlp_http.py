"""OTLP over HTTP: protobuf or JSON, one POST a batch, one connection kept for all of them."""

from __future__ import annotations

from time import monotonic, sleep, time

from lambent import __version__
from lambent.exporters import Delivered, Exporter, Result
from lambent.exporters._endpoint import TlsFiles, check_headers, parse_url

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Literal

    from lambent.exporters._http import Client
    from lambent.span import Span

__all__ = ["OtlpHttpExporter"]

# What the exporter says itself; a configured twin would contradict the body.
_FRAMING = (
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
)
_NOTHING_REJECTED = (b"", b"\n\x00", b"{}", b'{"partialSuccess":{}}')
_LONGEST = 86400.0  # seconds; sockets take no infinite time, and neither does a function


class OtlpHttpExporter(Exporter):
    """Posts batches to an OTLP/HTTP endpoint.

    `endpoint` is the full URL with its path; credentials in it become a basic Authorization
    header. `headers` go with every request, except those that frame the body, which are ours.
    `timeout` is in seconds and holds for an export that brings none. `proxy` is an http:// URL;
    proxies of the environment are not looked at. `certificate`, `client_certificate` and
    `client_key` are PEM files. With `quiet_refused` nobody has asked for this endpoint: a
    refused connection is not retried, and its result is marked `quiet`. `sign` is asked before
    each try for headers that depend on the body: it gets host, target, headers, body and the seconds left.

    Raises ValueError for a setting that cannot work; messages name settings, not values.
    """

    concurrent = True

    def __init__(
        self,
        endpoint: str,
        *,
        headers: Mapping[str, str] | None = None,
        protocol: Literal["http/protobuf", "http/json"] = "http/protobuf",
        compression: Literal["none", "gzip"] = "none",
        timeout: float = 10.0,
        proxy: str | None = None,
        certificate: str | None = None,
        client_certificate: str | None = None,
        client_key: str | None = None,
        quiet_refused: bool = False,
        encode: Callable[[Sequence[Span]], bytes] | None = None,
        sign: Callable[[str, str, dict[str, str], bytes, float], dict[str, str]] | None = None,
        clock: Callable[[], float] = monotonic,
        wall_clock: Callable[[], float] = time,
        wait: Callable[[float], None] = sleep,
    ) -> None:
        if protocol not in ("http/protobuf", "http/json"):
            raise ValueError(f"no protocol {protocol!r} over HTTP: choose http/protobuf or http/json")
        if compression not in ("none", "gzip"):
            raise ValueError(f"no compression {compression!r}: choose none or gzip")
        if client_key and not client_certificate:
            raise ValueError("a client key needs a client certificate")
        self._endpoint = parse_url(endpoint, "endpoint")
        self._proxy = parse_url(proxy, "proxy") if proxy else None
        if self._proxy is not None and self._proxy.scheme != "http":
            raise ValueError(
                "the proxy must be an http:// URL; https endpoints are reached through it as well"
            )
        self._headers = check_headers(headers or {}, _FRAMING)
        self._tls = TlsFiles(certificate, client_certificate, client_key)
        self._protocol = protocol
        self._gzip = compression == "gzip"
        self._timeout = timeout
        self._quiet_refused = quiet_refused
        self._encode = encode
        self._sign = sign
        self._clock = clock
        self._wall_clock = wall_clock
        self._wait = wait
        self._unreachable = False
        self._closed = False
        self._head = self._request_head()
        self._client: Client | None = None

    def export(self, spans: Sequence[Span], timeout: float | None = None) -> Result:
        """Post the spans within `timeout` seconds: connecting, waiting and repeating included."""
        count = len(spans)
        if not count:
            return Result()
        try:
            if timeout is None:
                timeout = self._timeout
            if timeout > _LONGEST:  # noqa: PLR1730  # min() takes thrice as long
                timeout = _LONGEST
            deadline = self._clock() + timeout
            if timeout <= 0 or self._closed:
                from lambent.exporters._trouble import not_tried

                return not_tried(self, count)
            body = (self._encode or self._find_encoder())(spans)
            if self._gzip:
                from lambent.exporters._gzip import compress

                body = compress(body, 6)
            client = self._client or self._make_client()
            request = b"".join((self._head, b"%d\r\n\r\n" % len(body), body))
            retries = 0
            while True:
                answer = failure = None
                if self._sign is not None:
                    try:
                        request = self._signed(body, deadline)
                    except ValueError as error:
                        from lambent.exporters._trouble import clean, lost

                        return lost(self, count, clean(self, str(error)), retries)
                try:
                    answer = client.exchange(request, deadline)
                except client.Error as error:
                    failure = error
                if answer is not None and 200 <= answer.status < 300:
                    self._unreachable = False
                    if answer.body in _NOTHING_REJECTED:
                        return Delivered(retries, len(body))
                from lambent.exporters._trouble import settle

                result = settle(self, answer, failure, deadline, count, retries, len(body))
                if result is not None:
                    return result
                retries += 1
        except Exception as error:  # noqa: BLE001  # tracing must not break the function, whatever this is
            from lambent.exporters._trouble import internal

            return internal(self, error, count)

    def prepare(self) -> None:
        """Load what an export needs, before there is one. Touches no network."""
        if self._encode is None:
            self._find_encoder()
        (self._client or self._make_client()).prepare()

    def close(self) -> None:
        """Close the connection."""
        self._closed = True
        if self._client is not None:
            self._client.close()

    def __repr__(self) -> str:
        return f"OtlpHttpExporter({self._endpoint.origin!r}, protocol={self._protocol!r})"

    def _find_encoder(self) -> Callable[[Sequence[Span]], bytes]:
        if self._protocol == "http/json":
            from lambent.wire import json

            self._encode = json.encode
        else:
            from lambent.wire import protobuf  # bundled

            self._encode = protobuf.encode
        return self._encode

    def _make_client(self) -> Client:
        from lambent.exporters._http import Client  # bundled

        self._client = Client(
            self._endpoint,
            proxy=self._proxy,
            tls=self._tls,
            clock=self._clock,
            wall_clock=self._wall_clock,
        )
        return self._client

    def _signed(self, body: bytes, deadline: float) -> bytes:
        assert self._sign is not None
        fields = {
            name: value for name, value in self._fields.items() if name not in ("host", "proxy-authorization")
        }
        left = max(0.0, deadline - self._clock())
        added = self._sign(self._endpoint.authority, self._endpoint.target, fields, body, left)
        self._headers = {**self._headers, **added}  # what is said about a failure must not quote it
        lines = "".join([f"{name}: {value}\r\n" for name, value in added.items()])
        head = self._head.removesuffix(b"content-length: ") + lines.encode("latin-1")
        return b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)

    def _request_head(self) -> bytes:
        """Return everything of a request up to the number of its length."""
        endpoint, proxy = self._endpoint, self._proxy
        target = endpoint.target
        fields = {
            "host": endpoint.authority,
            "user-agent": f"OTel-OTLP-Exporter-Python/{__version__} lambent/{__version__}",
        }
        if endpoint.authorization:
            fields["authorization"] = endpoint.authorization
        fields.update(self._headers)
        if proxy is not None and endpoint.scheme == "http":
            target = f"{endpoint.origin}{target}"
            if proxy.authorization:
                fields["proxy-authorization"] = proxy.authorization
        fields["content-type"] = (
            "application/json" if self._protocol == "http/json" else "application/x-protobuf"
        )
        if self._gzip:
            fields["content-encoding"] = "gzip"
        self._fields = fields
        lines = [f"POST {target} HTTP/1.1", *[f"{name}: {value}" for name, value in fields.items()]]
        return ("\r\n".join(lines) + "\r\ncontent-length: ").encode("latin-1")
