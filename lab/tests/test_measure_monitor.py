"""`PerformanceMonitor` against a server on this machine, and its formats against their own decoders."""

from __future__ import annotations

import base64
import json
import math
import re
import socket
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest
from google.protobuf.json_format import Parse
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsPartialSuccess,
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from lambent_lab.errors import UsageError
from lambent_lab.measure import PerformanceMetrics, PerformanceMonitor
from lambent_lab.measure.testers import monitor_formats as formats
from lambent_lab.measure.testers.monitor_formats import Point
from lambent_lab.measure.testers.plain import numbers, plain, unit

if TYPE_CHECKING:
    from collections.abc import Iterator

REGRESSION = {
    "status": "regression",
    "regressions": [{"metric": "avg_time_ms", "baseline": 10.0, "current": 13.0, "change_percent": 30.0}],
    "improvements": [],
}
METRICS = {
    "avg_time_ms": 1.5,
    "n": 100,
    "p95_time_ms": None,
    "inner": {"rss_mb": 20.0},
    "times_ms": [1.0, 2.0],
}
TAGS = {"branch": "main", "path": "a/b"}


@dataclass
class Received:
    path: str
    body: bytes
    headers: dict[str, str]


class Server(ThreadingHTTPServer):
    daemon_threads = True
    received: list[Received]
    answer: tuple[int, bytes, dict[str, str]]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append(Received(self.path, body, dict(self.headers)))
        status, content, headers = self.server.answer
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server(("127.0.0.1", 0), _Handler)
    made.received, made.answer = [], (200, b"", {})
    thread = threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join(10)


def monitor(url: str | None, **options: Any) -> PerformanceMonitor:
    return PerformanceMonitor(url, **{"clock": lambda: 1700000000.25, **options})


# The webhook of the specification.


def test_the_webhook_s_metrics(server: Server) -> None:
    assert monitor(server.url, headers={"Authorization": "Bearer s"}).send_metrics(METRICS, TAGS) is True
    (got,) = server.received
    assert got.path == "/"
    assert json.loads(got.body) == {
        "timestamp": 1700000000.25,
        "metrics": METRICS,
        "tags": TAGS,
        "source": "honeyhive_performance_tests",
    }
    assert got.headers["Content-Type"] == "application/json"
    assert got.headers["Authorization"] == "Bearer s"


def test_the_webhook_s_alert(server: Server) -> None:
    assert monitor(f"{server.url}/hooks/?team=a").create_alert("orders", REGRESSION) is True
    (got,) = server.received
    assert got.path == "/hooks/alerts?team=a"
    assert json.loads(got.body) == {
        "alert_type": "performance_regression",
        "test_name": "orders",
        "severity": "warning",
        "details": REGRESSION,
        "timestamp": 1700000000.25,
    }


def test_results_of_this_room_can_be_sent(server: Server) -> None:
    metrics = PerformanceMetrics(1.5, math.nan, 1.0, 2.0, None, None, 600.0, 0.1)
    assert monitor(server.url).send_metrics({"comparison": metrics})
    sent = json.loads(server.received[0].body)["metrics"]["comparison"]
    assert (sent["avg_time_ms"], sent["std_dev_ms"], sent["times_ms"]) == (1.5, None, [])


def test_without_an_endpoint_nothing_is_sent(capsys: pytest.CaptureFixture[str]) -> None:
    assert PerformanceMonitor().send_metrics(METRICS) is False
    assert PerformanceMonitor().create_alert("t", REGRESSION) is False
    assert capsys.readouterr() == ("", "")


def test_a_system_that_is_gone_is_survived(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    gone = PerformanceMonitor(f"http://127.0.0.1:{port}/secret-token")
    assert gone.send_metrics(METRICS) is False
    assert gone.create_alert("t", REGRESSION) is False
    out, err = capsys.readouterr()
    assert out == ""
    first, second = err.splitlines()
    assert first.startswith("Failed to send metrics: ")
    assert second.startswith("Failed to create alert: ")
    assert "secret-token" not in err


def test_a_system_that_never_answers_is_given_up(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert PerformanceMonitor(f"http://127.0.0.1:{port}", timeout=0.2).send_metrics(METRICS) is False
    assert "timed out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"220 mail.example.com ESMTP\r\n", "the answer is no HTTP (BadStatusLine)"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", "the answer is no HTTP (HTTPException)"),
        (
            b"HTTP/1.1 404 no T0/secret-token, /T0/secret-token?key=h1dden\r\n\r\n",
            "HTTP Error 404: no T0/…, …",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", None),
    ],
)
def test_any_answer_is_survived_and_none_tells_the_address(
    answer: bytes, says: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as there:

        def once() -> None:
            connection, _ = there.accept()
            with connection, connection.makefile("rb") as request:
                while (line := request.readline().lower()) != b"\r\n":
                    if line.startswith(b"content-length:"):
                        length = int(line.split()[1])
                request.read(length)  # what is left unread would reset the connection
                connection.sendall(answer)

        thread = threading.Thread(target=once, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{there.getsockname()[1]}/T0/secret-token?key=h1dden"
        assert PerformanceMonitor(url).send_metrics(METRICS) is (says is None)
        thread.join(10)
    said = capsys.readouterr().err
    assert said.startswith(f"Failed to send metrics: {says}" if says else "")
    assert "secret-token" not in said
    assert "h1dden" not in said


def test_an_answer_that_comes_a_byte_at_a_time_costs_no_more_than_the_timeout() -> None:
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as slow:

        def drip() -> None:
            connection, _ = slow.accept()
            with connection:
                while not over.wait(0.02):
                    connection.sendall(b"H")

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        assert (
            PerformanceMonitor(f"http://127.0.0.1:{slow.getsockname()[1]}", timeout=0.3).send_metrics({})
            is False
        )
        over.set()
        thread.join(10)


def test_an_address_that_was_read_from_a_file_ends_with_its_line(server: Server) -> None:
    assert PerformanceMonitor(f"{server.url}/hook\n").send_metrics(METRICS) is True
    assert server.received[0].path == "/hook"


def test_user_and_password_of_an_address_are_basic_authentication(server: Server) -> None:
    url = server.url.replace("http://", "http://me:p%40ss@")
    assert PerformanceMonitor(url).create_alert("t", REGRESSION) is True
    (got,) = server.received
    assert got.path == "/alerts"
    assert base64.b64decode(got.headers["Authorization"].removeprefix("Basic ")) == b"me:p@ss"


@pytest.mark.parametrize("kind", ["webhook", "slack", "prometheus", "otlp"])
@pytest.mark.parametrize(
    "info",
    [
        {},
        {"regressions": 2},
        {"regressions": ["it is slow"]},
        {"regressions": [{"change": 5}]},
        {"regressions": [{"metric": "p95", "baseline": None, "current": "2 ms", "change_percent": "much"}]},
    ],
)
def test_an_alert_about_anything_is_sent(server: Server, kind: Any, info: dict[str, Any]) -> None:
    assert PerformanceMonitor(server.url, kind=kind).create_alert("t", info) is True
    assert len(server.received) == 1


@pytest.mark.parametrize(("status", "headers"), [(500, {}), (403, {}), (302, {"Location": "/elsewhere"})])
def test_an_answer_that_is_no_success(
    server: Server, status: int, headers: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    server.answer = (status, b"no", headers)
    assert monitor(server.url).send_metrics(METRICS) is False
    assert str(status) in capsys.readouterr().err
    assert len(server.received) == 1  # a redirect is not followed: it would be an empty GET


@pytest.mark.parametrize(
    ("endpoint", "options", "says"),
    [
        ("ftp://example.com", {}, "http:// or https://"),
        ("example.com/hook-secret", {}, "http:// or https://"),
        ("http://127.0.0.1:secret/", {}, "http:// or https://"),
        ("http://[127.0.0.1/secret", {}, "http:// or https://"),
        ("http://127.0.0.1/T0/secret token", {}, "a character that no address has"),
        ("http://127.0.0.1/T0/secret\ntoken", {}, "a character that no address has"),
        ("http://127.0.0.1/T0/secrét", {}, "a character that no address has"),
        ("http://127.0.0.1", {"kind": "emf"}, "tcp:// or udp://"),
        ("http://127.0.0.1", {"kind": "carbon"}, "kind is one of webhook, slack"),
        ("http://127.0.0.1", {"timeout": 0}, "timeout must be above 0"),
    ],
)
def test_wrong_arguments(endpoint: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        PerformanceMonitor(endpoint, **options)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("endpoint", "kind"),
    [
        (None, "webhook"),
        ("https://example.com/performance", "webhook"),
        ("https://hooks.slack.com/services/T/B/x", "slack"),
        ("http://127.0.0.1:9091/metrics/job/nightly", "prometheus"),
        ("http://127.0.0.1:4318/v1/metrics", "otlp"),
        ("udp://127.0.0.1:25888", "emf"),
    ],
)
def test_the_kind_that_an_endpoint_looks_like(endpoint: str | None, kind: str) -> None:
    assert PerformanceMonitor(endpoint).kind == kind


# Slack.


def test_slack(server: Server) -> None:
    slack = monitor(f"{server.url}/services/T/B/x", kind="slack", source="<nightly>")
    assert slack.send_metrics(METRICS, {"branch": "a&b"})
    assert slack.create_alert("orders", REGRESSION)
    figures, alert = (json.loads(got.body) for got in server.received)
    assert [got.path for got in server.received] == ["/services/T/B/x"] * 2
    assert figures["text"] == "&lt;nightly&gt;: performance, branch a&amp;b"
    assert "inner.rss_mb: 20" in figures["blocks"][1]["text"]["text"]
    assert alert["text"] == ":warning: Performance regression (warning): orders"
    assert alert["blocks"][1]["text"]["text"] == "avg_time_ms: 10 to 13 (+30.0%)"


def test_slack_s_limits() -> None:
    message = formats.slack_metrics([Point(f"metric_{i}" * 20, i) for i in range(2000)], "s", {})
    assert len(message["blocks"]) <= 50
    assert all(len(block["text"]["text"]) <= 3000 for block in message["blocks"])
    assert formats.slack_alert("t", "warning", {"ms": 2.0})["blocks"][1]["text"]["text"] == "ms: 2"
    said = formats.slack_alert("t", "warning", {"message": "slower"})
    assert said["blocks"][1]["text"]["text"] == "slower"


# Prometheus.

SAMPLE = re.compile(
    r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*",?)*)\})? (\S+)'
)
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')


def parsed(text: str) -> list[tuple[str, dict[str, str], float]]:
    """What a Prometheus text says; it must follow the format's grammar."""
    assert text == "" or text.endswith("\n")
    assert "{__" not in text
    assert ",__" not in re.sub(r'"(?:[^"\\]|\\.)*"', "", text)  # Prometheus's own labels begin with two
    found = []
    for line in text.split("\n")[:-1]:
        if line.startswith("#"):
            assert re.fullmatch(r"# (HELP|TYPE) [a-zA-Z_:][a-zA-Z0-9_:]* .*", line), line
            continue
        match = SAMPLE.fullmatch(line)
        assert match, line
        labels = {
            name: re.sub(r"\\(.)", lambda each: "\n" if each[1] == "n" else each[1], value)
            for name, value in LABEL.findall(match[2] or "")
        }
        found.append((match[1], labels, float(match[3])))
    return found


def test_a_pushgateway(server: Server) -> None:
    assert monitor(server.url, kind="prometheus", source="nightly").send_metrics(METRICS, TAGS)
    (got,) = server.received
    assert got.path == "/metrics/job/nightly/branch/main/path@base64/YS9i"
    assert got.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert parsed(got.body.decode()) == [("avg_time_ms", {}, 1.5), ("n", {}, 100), ("inner_rss_mb", {}, 20)]
    assert b"# TYPE avg_time_ms gauge\n" in got.body


def test_a_pushgateway_s_alert(server: Server) -> None:
    assert monitor(f"{server.url}/push/", kind="prometheus").create_alert("orders", REGRESSION)
    (got,) = server.received
    assert got.path == "/push/metrics/job/honeyhive_performance_tests/test/orders"
    assert parsed(got.body.decode()) == [
        ("performance_regression", {}, 1),
        ("performance_regression_baseline", {"metric": "avg_time_ms"}, 10),
        ("performance_regression_current", {"metric": "avg_time_ms"}, 13),
        ("performance_regression_change_percent", {"metric": "avg_time_ms"}, 30),
    ]


def test_a_job_s_own_address(server: Server) -> None:
    assert monitor(f"{server.url}/metrics/job/mine/").send_metrics({"ms": 1}, {"branch": "main"})
    assert monitor(f"{server.url}/metrics/job/mine").send_metrics({"ms": 1})
    assert [got.path for got in server.received] == [
        "/metrics/job/mine/branch/main",
        "/metrics/job/mine",
    ]


def test_a_group_s_path() -> None:
    path = formats.pushgateway_path("a b", {"x-y": "", "x.y": "1/2", "job": "ä", "2": "q?"})
    assert path == "/metrics/job/a%20b/x_y@base64/=/x_y_2@base64/MS8y/tag_job/%C3%A4/tag_2/q%3F"


names = st.sampled_from(["service", "tag_service", "_aws", "job"]) | st.text(min_size=1, max_size=12)
values = st.floats() | st.integers(-(2**70), 2**70)
labels = st.dictionaries(names, st.text(max_size=20), max_size=4)
point_lists = st.lists(st.builds(Point, names, values, labels), max_size=12)


@given(point_lists)
def test_prometheus_text_says_every_point(points: list[Point]) -> None:
    found = parsed(formats.prometheus_text(points, "s"))
    assert len(found) == len(points)
    assert sorted(tuple(sorted(each.values())) for _, each, _ in found) == sorted(
        tuple(sorted(point.labels.values())) for point in points
    )
    assert len({name for name, _, _ in found}) == len({point.name for point in points})


@given(st.text(min_size=1), st.dictionaries(names, st.text(max_size=20), max_size=4))
def test_a_group_s_path_says_every_value(job: str, grouping: dict[str, str]) -> None:
    parts = formats.pushgateway_path(job, grouping).split("/")[2:]
    found = []
    for name, value in zip(parts[::2], parts[1::2], strict=True):
        if name.endswith("@base64"):
            found.append(base64.urlsafe_b64decode("" if value == "=" else value).decode())
        else:
            found.append(unquote(value))
    assert found == [job, *grouping.values()]


# OpenTelemetry.


def decoded(request: ExportMetricsServiceRequest) -> list[tuple[str, str, float, dict[str, str]]]:
    (resource,) = request.resource_metrics
    (scope,) = resource.scope_metrics
    return [
        (
            metric.name,
            metric.unit,
            data.as_int if data.HasField("as_int") else data.as_double,
            {each.key: each.value.string_value for each in data.attributes},
        )
        for metric in scope.metrics
        for data in metric.gauge.data_points
    ]


@pytest.mark.parametrize("kind", ["otlp", "otlp-json"])
@pytest.mark.parametrize("path", ["", "/v1/metrics", "/tenant/"])
def test_otlp(server: Server, kind: str, path: str) -> None:
    assert monitor(server.url + path, kind=kind, source="nightly").send_metrics(METRICS, TAGS)
    (got,) = server.received
    assert got.path == path.rstrip("/").removesuffix("/v1/metrics") + "/v1/metrics"
    request = ExportMetricsServiceRequest()
    if kind == "otlp":
        assert got.headers["Content-Type"] == "application/x-protobuf"
        request.ParseFromString(got.body)
    else:
        assert got.headers["Content-Type"] == "application/json"
        Parse(got.body, request)
        document = json.loads(got.body)
        assert "resourceMetrics" in document
    assert decoded(request) == [
        ("avg_time_ms", "ms", 1.5, TAGS),
        ("n", "1", 100, TAGS),
        ("inner.rss_mb", "MiBy", 20.0, TAGS),
    ]
    resource = request.resource_metrics[0]
    assert [(each.key, each.value.string_value) for each in resource.resource.attributes] == [
        ("service.name", "nightly")
    ]
    point = resource.scope_metrics[0].metrics[0].gauge.data_points[0]
    assert point.time_unix_nano == 1700000000250000000
    assert monitor(server.url, kind=kind).create_alert("orders", REGRESSION)


@pytest.mark.parametrize("kind", ["otlp", "otlp-json"])
def test_what_a_collector_rejects_was_not_taken(
    server: Server, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    partial = ExportMetricsPartialSuccess(rejected_data_points=2, error_message="too old")
    answer = ExportMetricsServiceResponse(partial_success=partial)
    as_json = b'{"partialSuccess":{"rejectedDataPoints":"2","errorMessage":"too old"}}'
    server.answer = (200, answer.SerializeToString() if kind == "otlp" else as_json, {})
    assert monitor(server.url, kind=kind).send_metrics(METRICS) is False
    assert "2 data points rejected: too old" in capsys.readouterr().err
    server.answer = (200, b"ok", {})
    assert monitor(server.url, kind=kind).send_metrics(METRICS) is True


@given(point_lists)
def test_otlp_says_every_point(points: list[Point]) -> None:
    request = formats.otlp_request(points, service="s", version="1", time_ns=1)
    again = ExportMetricsServiceRequest.FromString(request.SerializeToString())
    from_json = Parse(formats.otlp_json(request), ExportMetricsServiceRequest())
    wanted = sorted((point.name, dict(point.labels)) for point in points) if not points else None
    for each in (again, from_json):
        found = decoded(each)
        assert len(found) == len(points)
        for point in points:
            assert any(
                name == point.name
                and dict(point.labels) == attributes
                and (value == point.value or math.isnan(point.value) or abs(point.value) > 2**53)
                for name, _, value, attributes in found
            )
    assert wanted is None or wanted == []


# CloudWatch.


def test_emf_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert monitor(None, kind="emf", source="my tests").send_metrics(METRICS, {"branch": "main", "n": ""})
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {
        "_aws": {
            "Timestamp": 1700000000250,
            "CloudWatchMetrics": [
                {
                    "Namespace": "my_tests",
                    "Dimensions": [["branch"]],  # a dimension is not empty: `n` is a property
                    "Metrics": [
                        {"Name": "avg_time_ms", "Unit": "Milliseconds"},
                        {"Name": "n", "Unit": "None"},
                        {"Name": "inner.rss_mb", "Unit": "Megabytes"},
                    ],
                }
            ],
        },
        "branch": "main",
        "tag_n": "",
        "avg_time_ms": 1.5,
        "n": 100,
        "inner.rss_mb": 20.0,
    }


def test_an_emf_alert_is_one_line_for_each_metric(capsys: pytest.CaptureFixture[str]) -> None:
    assert monitor(None, kind="emf").create_alert("orders", REGRESSION)
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert monitor(None, kind="emf", source="nightly").send_metrics({"ms": 1})
    bare = json.loads(capsys.readouterr().out)
    assert (bare["service"], bare["_aws"]["CloudWatchMetrics"][0]["Dimensions"]) == ("nightly", [["service"]])
    assert (first["test"], first["performance_regression"]) == ("orders", 1)
    assert (second["metric"], second["performance_regression_change_percent"]) == ("avg_time_ms", 30)


@pytest.mark.parametrize("scheme", ["tcp", "udp"])
def test_emf_for_an_agent(scheme: str) -> None:
    if scheme == "udp":
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as agent:
            agent.bind(("127.0.0.1", 0))
            agent.settimeout(10)
            port = agent.getsockname()[1]
            assert monitor(f"udp://127.0.0.1:{port}", kind="emf").send_metrics({"ms": 1.0})
            line = agent.recv(65536)
    else:
        with socket.create_server(("127.0.0.1", 0)) as agent:
            agent.settimeout(10)
            port = agent.getsockname()[1]
            assert monitor(f"tcp://127.0.0.1:{port}", kind="emf").send_metrics({"ms": 1.0})
            connection, _ = agent.accept()
            with connection:
                line = connection.makefile("rb").read()
    assert line.endswith(b"}\n")
    assert json.loads(line)["ms"] == 1.0


@given(point_lists)
def test_emf_is_within_its_limits(points: list[Point]) -> None:
    finite = [point for point in points if math.isfinite(point.value)]
    for text in formats.emf_documents(finite, namespace="n", time_ms=1):
        document = json.loads(text)
        assert "\n" not in text
        (directive,) = document["_aws"]["CloudWatchMetrics"]
        assert len(directive["Metrics"]) <= 100
        (dimensions,) = directive["Dimensions"]
        assert 1 <= len(dimensions) <= 30
        for name in dimensions:
            assert isinstance(document[name], str)
            assert document[name].strip()
        for metric in directive["Metrics"]:
            assert isinstance(document[metric["Name"]], (int, float))


def test_emf_splits_what_is_too_much() -> None:
    tags = {f"tag{i}": "v" for i in range(40)} | {"long": "x" * 2000, "_aws": "mine"}
    points = [Point(f"m{i}", i, tags) for i in range(250)] + [Point("_aws", 1, tags)]
    documents = [json.loads(text) for text in formats.emf_documents(points, namespace="n", time_ms=1)]
    counts = [len(each["_aws"]["CloudWatchMetrics"][0]["Metrics"]) for each in documents]
    assert counts == [100, 100, 51]
    assert len(documents[0]["_aws"]["CloudWatchMetrics"][0]["Dimensions"][0]) == 30
    assert (documents[0]["long"], documents[0]["tag__aws"], documents[2]["aws"]) == ("x" * 2000, "mine", 1)


# Plain data.


def test_plain_and_numbers() -> None:
    value = {"a": (1, 2.5, math.inf), "b": {"c": True, "d": None, "e": b"x"}, 3: {4}, "f": Point("p", 1)}
    assert plain(value) == {
        "a": [1, 2.5, None],
        "b": {"c": True, "d": None, "e": "b'x'"},
        "3": [4],
        "f": {"name": "p", "value": 1, "labels": {}},
    }
    assert numbers(value) == {"f.value": 1}
    assert numbers(7) == {"": 7}


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("avg_time_ms", "ms"),
        ("total_time_s", "s"),
        ("throughput_ops_per_sec", "1/s"),
        ("memory.rss_mb", "MB"),
        ("change_percent", "%"),
        ("memory_per_span_kb", "KB"),
        ("errors", None),
        ("items", None),
        ("ms", "ms"),
    ],
)
def test_units(name: str, wanted: str | None) -> None:
    assert unit(name) == wanted
