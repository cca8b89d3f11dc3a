"""Figures and alerts for a monitoring system: `PerformanceMonitor` of specification 001.

A system that does not answer is said on standard error and costs nobody a test: `send_metrics` and
`create_alert` do not raise for it, they return whether what was sent was taken. What is wrong with the
arguments is a UsageError at once. Addresses and headers hold secrets (Slack's do): no message names one, also
where the answer does. The timeout is that of the whole exchange, finding the address and reading the answer
among it: what answers a byte a second costs no more.
"""

from __future__ import annotations

import base64
import http.client
import json
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args
from urllib.parse import unquote, urlsplit, urlunsplit

from lambent_lab import __version__
from lambent_lab.errors import UsageError
from lambent_lab.measure.testers import monitor_formats as formats
from lambent_lab.measure.testers.plain import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lambent_lab.measure.testers.monitor_formats import Point

Kind = Literal["webhook", "slack", "prometheus", "otlp", "otlp-json", "emf"]

_Result = TypeVar("_Result")

_TIMEOUT_S = 5.0
_MOST_READ = 1 << 20
_MOST_SAID = 200
_SECRET = 4
"""What is shorter than so many characters is no secret: to replace it would only garble a message."""

_JSON = "application/json"
_JOB = "/metrics/job/"


class PerformanceMonitor:
    """Sends figures and alerts to one place; to none when it has no endpoint.

    kind, and what the endpoint is (by default the kind that the endpoint looks like, else a webhook):

    - "webhook": JSON as specification 001 has it, alerts to the path `/alerts` below the endpoint.
    - "slack": the address of an incoming webhook.
    - "prometheus": a Pushgateway, or a job's address there; tags, and the test of an alert, make the group.
    - "otlp", "otlp-json": a collector over HTTP, in protobuf or JSON (`/v1/metrics` is added).
    - "emf": lines of CloudWatch's embedded metric format on standard output, as Lambda takes them; or
      `tcp://` or `udp://` and the address of a CloudWatch agent.

    source: the sender's name: the job, the service, the namespace. headers: further ones, for keys; user and
    password of the address become HTTP's basic authentication. timeout: seconds for one exchange.
    """

    def __init__(
        self,
        monitoring_endpoint: str | None = None,
        *,
        kind: Kind | None = None,
        source: str = "honeyhive_performance_tests",
        headers: Mapping[str, str] | None = None,
        timeout: float = _TIMEOUT_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        # What was read from a file ends with its line.
        monitoring_endpoint = None if monitoring_endpoint is None else monitoring_endpoint.strip()
        kind = kind or _kind_of(monitoring_endpoint or "")
        if kind not in get_args(Kind):
            raise UsageError(f"kind is one of {', '.join(get_args(Kind))}, not {kind!r}.")
        if not timeout > 0:
            raise UsageError(f"timeout must be above 0 seconds, got {timeout}.")
        if monitoring_endpoint:
            _check(monitoring_endpoint, kind)
        self.monitoring_endpoint = monitoring_endpoint
        self.kind = kind
        self.source = source
        self._address, credentials = _without_user(monitoring_endpoint or "")
        self._headers = {**credentials, **(headers or {})}
        self._secrets = _secrets(monitoring_endpoint or "", self._headers)
        self._timeout = timeout
        self._clock = clock

    def send_metrics(
        self, metrics: Mapping[str, Any] | object, tags: Mapping[str, str] | None = None
    ) -> bool:
        """Send figures: a dictionary, or a result of this room. Return whether they were taken.

        All formats but the webhook's send the numbers only, those of inner objects as `outer.inner`.
        """
        labels = {str(name): str(value) for name, value in (tags or {}).items()}
        points = formats.points_of(metrics, labels)
        return self._try(
            "metrics",
            {
                "webhook": lambda: self._post_json(
                    self._url(""),
                    {
                        "timestamp": self._clock(),
                        "metrics": plain(metrics),
                        "tags": labels,
                        "source": self.source,
                    },
                ),
                "slack": lambda: self._post_json(
                    self._url(""), formats.slack_metrics(points, self.source, labels)
                ),
                "prometheus": lambda: self._push(_without(points, *labels), labels),
                "otlp": lambda: self._otlp(points),
                "otlp-json": lambda: self._otlp(points),
                "emf": lambda: self._emf(points),
            },
        )

    def create_alert(self, test_name: str, regression_info: Mapping[str, Any]) -> bool:
        """Send an alert about a regression, as `PerformanceBenchmark.check_regression` returns it.

        Return whether it was taken.
        """
        details = plain(regression_info)
        points = formats.points_of_alert(test_name, details)
        return self._try(
            "alert",
            {
                "webhook": lambda: self._post_json(
                    self._url("/alerts"),
                    {
                        "alert_type": "performance_regression",
                        "test_name": test_name,
                        "severity": "warning",
                        "details": details,
                        "timestamp": self._clock(),
                    },
                ),
                "slack": lambda: self._post_json(
                    self._url(""), formats.slack_alert(test_name, "warning", details)
                ),
                "prometheus": lambda: self._push(_without(points, "test"), {"test": test_name}),
                "otlp": lambda: self._otlp(points),
                "otlp-json": lambda: self._otlp(points),
                "emf": lambda: self._emf(points),
            },
        )

    def _try(self, what: str, senders: Mapping[str, Callable[[], None]]) -> bool:
        if not self.monitoring_endpoint and self.kind != "emf":
            return False
        try:
            senders[self.kind]()
        except (OSError, ValueError, http.client.HTTPException) as error:  # urllib's errors are OSErrors
            verb = "create" if what == "alert" else "send"
            print(f"Failed to {verb} {what}: {self._reason(error)}", file=sys.stderr)
            return False
        return True

    def _reason(self, error: Exception) -> str:
        """What went wrong, in a line without secrets."""
        if isinstance(error, http.client.HTTPException) and not isinstance(error, OSError):
            return f"the answer is no HTTP ({type(error).__name__})"
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        for secret in self._secrets:
            reason = reason.replace(secret, "…")
        line = " ".join(reason.split())
        return line[:_MOST_SAID] or type(error).__name__

    def _url(self, path: str) -> str:
        """The endpoint with a path below its own."""
        parts = urlsplit(self._address)
        if not path:
            return parts.geturl()
        return urlunsplit(parts._replace(path=parts.path.rstrip("/") + path))

    def _post_json(self, url: str, document: object) -> None:
        self._post(url, json.dumps(document, allow_nan=False).encode(), _JSON)

    def _push(self, points: list[Point], grouping: Mapping[str, str]) -> None:
        path = formats.pushgateway_path(self.source, grouping)
        if _JOB in self._address:
            path = formats.pushgateway_path("", grouping).removeprefix(formats.pushgateway_path("", {}))
        body = formats.prometheus_text(points, self.source).encode()
        self._post(self._url(path), body, "text/plain; version=0.0.4; charset=utf-8")

    def _otlp(self, points: list[Point]) -> None:
        as_json = self.kind == "otlp-json"
        request = formats.otlp_request(
            points, service=self.source, version=__version__, time_ns=round(self._clock() * 1e6) * 1000
        )
        body = formats.otlp_json(request) if as_json else request.SerializeToString()
        there = urlsplit(self._address).path.rstrip("/").endswith("/v1/metrics")
        answer = self._post(
            self._url("" if there else "/v1/metrics"), body, _JSON if as_json else "application/x-protobuf"
        )
        rejected = formats.otlp_rejected(answer, as_json=as_json)
        if rejected:
            raise ValueError(rejected)

    def _emf(self, points: list[Point]) -> None:
        documents = formats.emf_documents(points, namespace=self.source, time_ms=round(self._clock() * 1000))
        lines = [f"{document}\n" for document in documents]
        if not self.monitoring_endpoint:
            for line in lines:
                sys.stdout.write(line)
            sys.stdout.flush()
            return
        _within(self._timeout, lambda: self._to_agent(lines))

    def _to_agent(self, lines: list[str]) -> None:
        parts = urlsplit(self._address)
        address = (parts.hostname or "127.0.0.1", parts.port or 25888)
        if parts.scheme == "udp":
            family = socket.getaddrinfo(*address, type=socket.SOCK_DGRAM)[0][0]
            with socket.socket(family, socket.SOCK_DGRAM) as datagrams:
                for line in lines:
                    datagrams.sendto(line.encode(), address)
            return
        with socket.create_connection(address, self._timeout) as connection:
            connection.sendall("".join(lines).encode())

    def _post(self, url: str, body: bytes, content_type: str) -> bytes:
        headers = {
            "Content-Type": content_type,
            "User-Agent": f"lambent-lab/{__version__}",
            **self._headers,
        }
        request = urllib.request.Request(url, data=body, headers=headers, method="POST")  # noqa: S310 - http(s), checked
        return _within(self._timeout, lambda: self._exchange(request))

    def _exchange(self, request: urllib.request.Request) -> bytes:
        """Send a request and return the answer: the part of it that came in time."""
        until = time.monotonic() + self._timeout
        content = bytearray()
        opener = urllib.request.build_opener(_NoRedirects)
        try:
            opened = opener.open(request, timeout=self._timeout)
        except urllib.error.HTTPError as error:
            error.close()  # it is the answer as well
            raise
        with opened as answer:
            while time.monotonic() < until and len(content) < _MOST_READ:
                some: bytes = answer.read1(_MOST_READ)
                if not some:
                    break
                content += some
        return bytes(content)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A POST that is sent elsewhere would arrive there as an empty GET, and look like a success."""

    def redirect_request(self, *_: object) -> None:
        """Follow none."""


def _kind_of(endpoint: str) -> Kind:
    """What an endpoint looks like."""
    try:
        parts = urlsplit(endpoint)
    except ValueError:
        return "webhook"  # whatever it is: it will be refused
    if parts.scheme in {"tcp", "udp"}:
        return "emf"
    if parts.hostname == "hooks.slack.com":
        return "slack"
    if _JOB in parts.path:
        return "prometheus"
    return "otlp" if parts.path.rstrip("/").endswith("/v1/metrics") else "webhook"


def _check(endpoint: str, kind: Kind) -> None:
    schemes = {"tcp", "udp"} if kind == "emf" else {"http", "https"}
    begins = " or ".join(f"{scheme}://" for scheme in sorted(schemes))
    try:
        parts = urlsplit(endpoint)
        right = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets, or a port that is no number
        right = False
    if not right:
        raise UsageError(f"The endpoint of kind {kind!r} is an address that begins with {begins}.")
    if not endpoint.isascii() or not endpoint.isprintable() or " " in endpoint:
        raise UsageError(
            "The endpoint has a character that no address has: write it as %20 and so on, without blanks."
        )


def _without_user(endpoint: str) -> tuple[str, dict[str, str]]:
    """The endpoint without user and password, and the header that stands for them."""
    parts = urlsplit(endpoint)
    if parts.username is None:
        return endpoint, {}
    user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    header = {"Authorization": f"Basic {base64.b64encode(user.encode()).decode()}"}
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])), header


def _secrets(endpoint: str, headers: Mapping[str, str]) -> list[str]:
    """What no message may show, the longest first: all of the endpoint but its host, and the headers."""
    parts = urlsplit(endpoint)
    found = {endpoint, parts.path, parts.query, parts.username or "", parts.password or "", *headers.values()}
    found |= {unquote(part) for part in parts.path.split("/")} | {unquote(each) for each in found}
    return sorted((each for each in found if len(each) >= _SECRET), key=len, reverse=True)


def _within(seconds: float, work: Callable[[], _Result]) -> _Result:
    """Do the work in a thread, and give it up after so long: a name may be looked up for minutes."""
    done: list[_Result] = []
    failed: list[Exception] = []

    def run() -> None:
        try:
            done.append(work())
        except Exception as error:  # noqa: BLE001 - it is raised again where it is waited for
            failed.append(error)

    thread = threading.Thread(target=run, name="monitor", daemon=True)
    thread.start()
    thread.join(seconds + 0.1)  # the socket's own timeout comes first, and says more
    if failed:
        raise failed[0]
    if not done:
        raise TimeoutError("timed out")
    return done[0]


def _without(points: list[Point], *names: str) -> list[Point]:
    """The points without labels that their group has."""
    return [
        formats.Point(
            point.name, point.value, {key: value for key, value in point.labels.items() if key not in names}
        )
        for point in points
    ]
