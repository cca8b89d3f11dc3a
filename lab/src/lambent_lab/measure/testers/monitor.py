"""Figures and alerts for a monitoring system: `PerformanceMonitor` of specification 001.

A system that does not answer is said on standard error and costs nobody a test: `send_metrics` and
`create_alert` do not raise for it, they return whether what was sent was taken. What is wrong with the
arguments is a UsageError at once. Addresses may hold secrets (Slack's do): no message names one.
"""

from __future__ import annotations

import json
import socket
import sys
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, Literal, get_args
from urllib.parse import urlsplit, urlunsplit

from lambent_lab import __version__
from lambent_lab.errors import UsageError
from lambent_lab.measure.testers import monitor_formats as formats
from lambent_lab.measure.testers.plain import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lambent_lab.measure.testers.monitor_formats import Point

Kind = Literal["webhook", "slack", "prometheus", "otlp", "otlp-json", "emf"]

_TIMEOUT_S = 5.0
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

    source: the sender's name: the job, the service, the namespace. headers: further ones, for keys.
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
        self._headers = dict(headers or {})
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
        except (OSError, ValueError) as error:  # urllib's errors are OSErrors
            verb = "create" if what == "alert" else "send"
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            print(f"Failed to {verb} {what}: {reason or type(error).__name__}", file=sys.stderr)
            return False
        return True

    def _url(self, path: str) -> str:
        """The endpoint with a path below its own."""
        parts = urlsplit(self.monitoring_endpoint or "")
        if not path:
            return parts.geturl()
        return urlunsplit(parts._replace(path=parts.path.rstrip("/") + path))

    def _post_json(self, url: str, document: object) -> None:
        self._post(url, json.dumps(document, allow_nan=False).encode(), _JSON)

    def _push(self, points: list[Point], grouping: Mapping[str, str]) -> None:
        path = formats.pushgateway_path(self.source, grouping)
        if _JOB in (self.monitoring_endpoint or ""):
            path = formats.pushgateway_path("", grouping).removeprefix(formats.pushgateway_path("", {}))
        body = formats.prometheus_text(points, self.source).encode()
        self._post(self._url(path), body, "text/plain; version=0.0.4; charset=utf-8")

    def _otlp(self, points: list[Point]) -> None:
        as_json = self.kind == "otlp-json"
        request = formats.otlp_request(
            points, service=self.source, version=__version__, time_ns=round(self._clock() * 1e6) * 1000
        )
        body = formats.otlp_json(request) if as_json else request.SerializeToString()
        there = urlsplit(self.monitoring_endpoint or "").path.rstrip("/").endswith("/v1/metrics")
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
        parts = urlsplit(self.monitoring_endpoint)
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
        opener = urllib.request.build_opener(_NoRedirects)
        with opener.open(request, timeout=self._timeout) as answer:
            content: bytes = answer.read()
        return content


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A POST that is sent elsewhere would arrive there as an empty GET, and look like a success."""

    def redirect_request(self, *_: object) -> None:
        """Follow none."""


def _kind_of(endpoint: str) -> Kind:
    """What an endpoint looks like."""
    parts = urlsplit(endpoint)
    if parts.scheme in {"tcp", "udp"}:
        return "emf"
    if parts.hostname == "hooks.slack.com":
        return "slack"
    if _JOB in parts.path:
        return "prometheus"
    return "otlp" if parts.path.rstrip("/").endswith("/v1/metrics") else "webhook"


def _check(endpoint: str, kind: Kind) -> None:
    parts = urlsplit(endpoint)
    schemes = {"tcp", "udp"} if kind == "emf" else {"http", "https"}
    if parts.scheme not in schemes or not parts.hostname:
        begins = " or ".join(f"{scheme}://" for scheme in sorted(schemes))
        raise UsageError(f"The endpoint of kind {kind!r} is an address that begins with {begins}.")


def _without(points: list[Point], *names: str) -> list[Point]:
    """The points without labels that their group has."""
    return [
        formats.Point(
            point.name, point.value, {key: value for key, value in point.labels.items() if key not in names}
        )
        for point in points
    ]
