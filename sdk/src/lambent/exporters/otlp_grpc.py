"""OTLP over gRPC: grpcio moves our bytes, without protobuf and without generated stubs.

grpcio takes a tenth of a second to load, so it is loaded with the first export, which in async mode is
after the first response. Install it with `lambent[grpc]`.

Rules (OTLP specification, "OTLP/gRPC"; OpenTelemetry Protocol Exporter, "Endpoint URLs for OTLP/gRPC")
* https means TLS and http none; without a scheme the `insecure` setting decides.
* `_RETRYABLE` codes are tried again, RESOURCE_EXHAUSTED if the server says when; its RetryInfo is obeyed,
  and nothing is tried past the deadline.
* What may have arrived is not sent again: a connection that broke under a request is a loss, unlike one
  that never was.
"""

from __future__ import annotations

from os import getpid
from time import monotonic, sleep, time

from lambent import __version__
from lambent.exporters import Exporter, Result
from lambent.exporters._endpoint import check_headers, parse_url

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, Literal

    from lambent.span import Span

__all__ = ["OtlpGrpcExporter"]

_METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_RETRYABLE = frozenset(
    {"CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"}
)
_RESERVED = ("content-type", "te", "user-agent", "host", "connection")
_IDLE_LIMIT = 30.0  # seconds; after a longer freeze, a NAT on the way may have forgotten the connection
_CONNECTION_RETRIES = 2
_LONGEST = 86400.0
_VARIABLES = {
    "GRPC_VERBOSITY": "ERROR",  # its core writes a failed handshake to stderr, beside what we say of it
    "GRPC_ENABLE_FORK_SUPPORT": "1",  # without it a child hangs where its parent had a channel
}
_TARGETS = ("dns:", "unix:", "unix-abstract:", "ipv4:", "ipv6:", "vsock:", "xds:")


class OtlpGrpcExporter(Exporter):
    """Calls TraceService/Export at `endpoint`: a URL, `host:port`, or a target in gRPC's own notation.

    `headers` go along as metadata, credentials in the URL as a basic authorization. `timeout` is in
    seconds and holds for an export that brings none. `insecure` is for endpoints without a scheme.
    `certificate`, `client_certificate` and `client_key` are PEM files; `proxy` is an http:// URL. With
    `quiet_refused` nobody has asked for this endpoint: that it is not there is marked `quiet`.

    Raises ValueError for a setting that cannot work; messages name settings, not values.
    """

    concurrent = True

    def __init__(
        self,
        endpoint: str = "http://localhost:4317",
        *,
        headers: Mapping[str, str] | None = None,
        insecure: bool = False,
        compression: Literal["none", "gzip"] = "none",
        timeout: float = 10.0,
        proxy: str | None = None,
        certificate: str | None = None,
        client_certificate: str | None = None,
        client_key: str | None = None,
        quiet_refused: bool = False,
        encode: Callable[[Sequence[Span]], bytes] | None = None,
        clock: Callable[[], float] = monotonic,
        wall_clock: Callable[[], float] = time,
        wait: Callable[[float], None] = sleep,
    ) -> None:
        if compression not in ("none", "gzip"):
            raise ValueError(f"no compression {compression!r}: choose none or gzip")
        if client_key and not client_certificate:
            raise ValueError("a client key needs a client certificate")
        self._target, self._secure, authorization, secrets = _address(endpoint, insecure)
        self._secrets = list(secrets)
        if proxy:
            self._secrets += parse_url(proxy, "proxy").secrets
        self._proxy = proxy
        self._headers = check_headers(headers or {}, _RESERVED)
        if authorization:
            self._headers.setdefault("authorization", authorization)
        self._files = certificate, client_certificate, client_key
        self._gzip = compression == "gzip"
        self._timeout = timeout
        self._quiet_refused = quiet_refused
        self._encode = encode
        self._clock = clock
        self._wall_clock = wall_clock
        self._wait = wait
        self._unreachable = False
        self._closed = False
        self._not_installed = False
        self._grpc: Any = None  # the module
        self._channel: Any = None
        self._call: Any = None
        self._pid = 0
        self._used_at = 0.0

    def export(self, spans: Sequence[Span], timeout: float | None = None) -> Result:
        """Send the spans within `timeout` seconds: connecting, waiting and repeating included."""
        count = len(spans)
        if not count:
            return Result()
        try:
            return self._export(spans, count, self._timeout if timeout is None else timeout)
        except Exception as error:  # noqa: BLE001  # tracing must not break the function, whatever this is
            # Its text is left out: it may quote a header.
            return self._lost(count, f"internal {type(error).__name__}")

    def close(self) -> None:
        """Close the channel."""
        self._closed = True
        channel = self._channel
        self._drop_channel()
        if channel is not None and self._pid == getpid():
            channel.close()

    def __repr__(self) -> str:
        return f"OtlpGrpcExporter({self._target!r})"

    def _export(self, spans: Sequence[Span], count: int, timeout: float) -> Result:
        deadline = self._clock() + min(timeout, _LONGEST)
        if self._closed:
            return self._lost(count, "the exporter is closed")
        if timeout <= 0:
            return self._lost(count, "no time was left to send", again=True)
        encode = self._encode
        if encode is None:
            from lambent.wire import protobuf

            encode = self._encode = protobuf.encode
        body = encode(spans)
        if self._grpc is None and not self._load():
            result = self._lost(count, "gRPC needs grpcio: install lambent[grpc], or choose http/protobuf")
            result.quiet, self._not_installed = self._not_installed, True
            return result
        if self._pid not in (0, getpid()) and not _may_fork():
            return self._lost(count, "gRPC does not survive a fork unless GRPC_ENABLE_FORK_SUPPORT=1 is set")
        try:
            call = self._connect()
        except OSError as error:
            return self._lost(count, str(error.strerror or type(error).__name__))
        compression = self._grpc.Compression.Gzip if self._gzip else None
        metadata = tuple(self._headers.items())
        retries = 0
        while True:
            left = deadline - self._clock()
            if left <= 0:
                return self._lost(count, "no time was left to send", retries, again=True)
            try:
                answer = call(body, timeout=left, metadata=metadata, compression=compression)
            except self._grpc.RpcError as error:
                wait, note = self._next_wait(error, retries)
                if wait is not None and wait >= deadline - self._clock():
                    wait, note = None, note or "no time for another try"
                if wait is None:
                    return self._failed(error, note, count, retries)
                self._wait(wait)
                retries += 1
                continue
            self._unreachable = False
            self._used_at = self._wall_clock()
            return self._answered(answer, count, retries, len(body))

    def _answered(self, answer: bytes, count: int, retries: int, size: int) -> Result:
        if not answer:
            return Result(retries=retries, bytes=size)
        from lambent.exporters._answer import partial_success

        rejected, text = partial_success(answer, "application/x-protobuf")
        rejected, text = min(max(rejected, 0), count), self._clean(text)
        if not rejected:
            return Result(retries=retries, bytes=size, warning=text)
        reason = f"{self._target} rejected {rejected} of {count} spans" + (f": {text}" if text else "")
        return Result(False, 0, rejected, reason, retries=retries, bytes=size)

    def _next_wait(self, error: Any, retries: int) -> tuple[float | None, str]:
        """Return the seconds to wait before the next try, None for no further one, and why."""
        from os import urandom

        from lambent.exporters._answer import backoff

        code = error.code().name
        wait = backoff(retries, urandom(1)[0] / 256)
        outcome = _outcome(error, code)
        if outcome != "peer":
            # As over HTTP: who could not be reached the last time is tried once until he can be.
            enough = self._unreachable or self._quiet_refused or retries >= _CONNECTION_RETRIES
            return (None if enough or outcome != "unreached" else wait), ""
        if not _passes(error, code):
            return None, ""
        asked = _asked(error)
        if wait is not None and asked is not None:
            return asked, f"it asks to wait {asked:g} s, longer than there is"
        return wait, ""

    def _failed(self, error: Any, note: str, count: int, retries: int) -> Result:
        code = error.code().name
        outcome = _outcome(error, code)
        self._unreachable = outcome in {"unreached", "untrusted", "late"}
        if self._unreachable:
            # What hangs gets no second call, and who is back is not to be waited for as grpcio would.
            self._drop_channel()
        if outcome == "late":
            reason = "no answer in time"
        else:
            text = self._clean(error.details() or "")
            reason = _SAID.get(outcome) or f"answered {code}"
            reason += (f": {text}" if text else "") + (f" ({note})" if note else "")
        result = self._lost(count, reason, retries)
        result.again = outcome in {"unreached", "untrusted"} or (outcome == "peer" and _passes(error, code))
        result.unconfirmed = outcome in {"late", "broken"}
        result.quiet = outcome == "unreached" and self._quiet_refused
        return result

    def _lost(self, count: int, reason: str, retries: int = 0, *, again: bool = False) -> Result:
        return Result(False, count, 0, f"{self._target}: {reason}", retries=retries, again=again)

    def _clean(self, text: str) -> str:
        from lambent.diagnostics import masked
        from lambent.exporters._answer import one_line

        return one_line(masked(text, [*self._headers.values(), *self._secrets]))

    def _load(self) -> bool:
        from lambent.config import with_variables

        def load() -> Any:
            import grpc

            return grpc

        try:
            self._grpc = with_variables(_VARIABLES, load)
        except ImportError:
            return False
        return True

    def _connect(self) -> Any:
        """Return what calls the server, on a channel of this process that is not too old.

        Raises OSError for unreadable files.
        """
        if self._channel is not None and self._pid != getpid():
            self._channel = self._call = None  # the parent's, and not ours to close
        if self._wall_clock() - self._used_at > _IDLE_LIMIT:
            self._drop_channel()
        call = self._call
        if call is not None:
            return call
        options: list[tuple[str, str | int]] = [
            ("grpc.primary_user_agent", f"OTel-OTLP-Exporter-Python/{__version__} lambent/{__version__}"),
            ("grpc.enable_http_proxy", 0),  # proxies of the environment are not looked at
            ("grpc.enable_retries", 0),
            ("grpc.use_local_subchannel_pool", 1),  # a new channel is a new connection
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
        ]
        if self._proxy:
            options[1:2] = [("grpc.http_proxy", self._proxy)]
        # As its library made it: an export that is traced would have to be exported.
        if self._secure:
            secure = _bare(self._grpc.secure_channel)
            channel = secure(self._target, self._credentials(), options)
        else:
            channel = _bare(self._grpc.insecure_channel)(self._target, options)
        call = channel.unary_unary(_METHOD)  # without serializers bytes go as they are
        self._pid, self._used_at = getpid(), self._wall_clock()
        self._channel, self._call = channel, call
        return call

    def _credentials(self) -> Any:
        certificate, client_certificate, client_key = [_read(path) for path in self._files]
        return self._grpc.ssl_channel_credentials(
            certificate, client_key or client_certificate, client_certificate
        )

    def _drop_channel(self) -> None:
        # Not closed: that would end the calls that other threads have on it. It ends with the last of them.
        self._channel = self._call = None


def _address(endpoint: str, insecure: bool) -> tuple[str, bool, str, tuple[str, ...]]:
    """Return target, whether it wants TLS, the authorization and what must not be printed."""
    text = endpoint.strip()
    scheme = text.partition("://")[0].lower()
    if scheme in {"http", "https"}:
        url = parse_url(text, "endpoint")
        return f"{url.bracketed}:{url.port}", scheme == "https", url.authorization, url.secrets
    if text.lower().startswith(_TARGETS):
        return text, not insecure, "", ()
    if "://" in text or not text:
        raise ValueError("the endpoint is no http:// or https:// URL and no host:port such as localhost:4317")
    url = parse_url(f"http://{text}", "endpoint")
    port = url.port if text.rpartition("]")[2].rpartition("@")[2].partition(":")[2] else 4317
    return f"{url.bracketed}:{port}", not insecure, url.authorization, url.secrets


def _read(path: str | None) -> bytes | None:
    if not path:
        return None
    try:
        with open(path, "rb") as file:  # noqa: PTH123  # pathlib is a module to load
            return file.read()
    except OSError as error:
        raise OSError(error.errno, f"{path} cannot be read: {error.strerror}") from None


def _may_fork() -> bool:
    """Whether grpcio was told, before it was loaded, that there may be forks."""
    from grpc._cython import cygrpc

    asked = getattr(cygrpc, "is_fork_support_enabled", None)
    return bool(asked is not None and asked())


def _bare(function: Any) -> Any:
    """Return a function as its library made it, without what instrumentation has put around it."""
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    return function


_SAID = {"unreached": "unreachable", "untrusted": "no secure connection", "broken": "the connection broke"}
_UNREACHED = ("connect to all addresses", "errors resolving", "dns resolution failed", "name resolution")
_BROKEN = (
    "stream removed",
    "socket closed",
    "recvmsg",
    "sendmsg",
    "connection reset",
    "broken pipe",
    "goaway",
)
_RESET = ("stream removed", "rst_stream")


def _asked(error: Any) -> float | None:
    """Return the seconds that the server asks to wait, None if it does not."""
    from lambent.exporters._answer import retry_delay

    asked = None
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            asked = retry_delay(value)
    return asked


def _passes(error: Any, code: str) -> bool:
    """Whether the server may take the same another time."""
    return code in _RETRYABLE or (code == "RESOURCE_EXHAUSTED" and _asked(error) is not None)


def _outcome(error: Any, code: str) -> str:
    """Return who says so: "peer" for the server, else what went wrong before it could.

    grpcio tells its own statuses from a server's by their texts only.
    """
    text = (error.details() or "").lower()
    reset = any(sign in text for sign in _RESET)
    if code == "DEADLINE_EXCEEDED" and (reset or text == "deadline exceeded"):
        return "late"  # the server knows the deadline, and may be the first to hang up
    if code == "CANCELLED" and reset:
        return "broken"
    if code == "UNAVAILABLE":
        if any(sign in text for sign in _UNREACHED):
            return "untrusted" if "handshake" in text else "unreached"
        if any(sign in text for sign in _BROKEN):
            return "broken"
    return "peer"
