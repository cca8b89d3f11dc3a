"""Backends: what a preset makes of the environment, and what arrives at a server that stands for each."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

import lambent
from lambent import backends, diagnostics
from lambent.backends import PRESETS, canonical, missing, url_of
from lambent.config import Config, read
from lambent.exporters.choose import choose
from lambent.resource import detect
from lambent.testing import recording_tracer

if TYPE_CHECKING:
    from sdk.tests.exporters.conftest import Server, StartServer

KEY = "hush-4711-abcdef"
IN_LAMBDA = {"AWS_LAMBDA_FUNCTION_NAME": "orders", "AWS_REGION": "eu-west-1"}


@pytest.fixture
def server(serve: StartServer) -> Server:
    return serve()


Send = Callable[..., tuple[str, dict[str, str], dict[str, object]]]


@pytest.fixture
def send(server: Server, monkeypatch: pytest.MonkeyPatch) -> Send:
    """Export one span in an environment; return path, headers and resource attributes of what came."""

    def run(environ: dict[str, str], **arguments: Any) -> tuple[str, dict[str, str], dict[str, object]]:
        for name, value in environ.items():
            monkeypatch.setenv(name, value.format(url=server.base, authority=server.authority))
        tracer = lambent.init(timeout=20, **arguments)
        tracer.start_span("a").end()
        assert tracer.force_flush()
        tracer.close()
        (posted,) = server.requests
        request = ExportTraceServiceRequest.FromString(posted.body)
        found = {}
        for pair in request.resource_spans[0].resource.attributes:
            found[pair.key] = getattr(pair.value, pair.value.WhichOneof("value") or "string_value")
        assert [span.name for span in request.resource_spans[0].scope_spans[0].spans] == ["a"]
        return posted.line.split()[1], posted.headers, found

    return run


def basic(text: str) -> str:
    return f"Basic {base64.b64encode(text.encode()).decode()}"


AWS = {"AWS_REGION": "us-west-2", "AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": KEY}
EXPECTED: dict[str, tuple[dict[str, str], str, dict[str, str], dict[str, object]]] = {
    "honeyhive": (
        {
            "HH_API_KEY": KEY, "HH_API_URL": "{url}", "HH_PROJECT": "p", "HH_SOURCE": "s",
            "HH_SESSION_NAME": "n", "HH_SESSION_ID": "i",
        },
        "/opentelemetry/v1/traces",
        {"authorization": f"Bearer {KEY}"},
        {
            "honeyhive.project": "p", "honeyhive.source": "s", "honeyhive.session_name": "n",
            "honeyhive.session_id": "i", "honeyhive.session_auto_create": True,
        },
    ),
    "coralogix": (
        {
            "CORALOGIX_API_KEY": KEY, "CORALOGIX_OTLP_ENDPOINT": "{authority}",
            "CX_APPLICATION": "onboarding", "CX_SUBSYSTEM": "lambda", "SERVICE_NAME": "onboarding-lambda",
        },
        "/v1/traces",
        {"authorization": f"Bearer {KEY}"},
        {
            "cx.application.name": "onboarding", "cx.subsystem.name": "lambda",
            "service.name": "onboarding-lambda",
        },
    ),
    "cloudwatch": (
        {**AWS, "AWS_ENDPOINT_URL_XRAY": "{url}", "AWS_SESSION_TOKEN": "tok"},
        "/v1/traces",
        {"x-amz-security-token": "tok"},
        {},
    ),
    "datadog": (
        {
            "DD_API_KEY": KEY, "DD_OTLP_CONFIG_RECEIVER_PROTOCOLS_HTTP_ENDPOINT": "{authority}",
            "DD_SERVICE": "svc", "DD_ENV": "prod", "DD_VERSION": "3",
        },
        "/v1/traces",
        {"dd-api-key": KEY},
        {"service.name": "svc", "deployment.environment.name": "prod", "service.version": "3"},
    ),
    "newrelic": (
        {"NEW_RELIC_LICENSE_KEY": KEY, "NEW_RELIC_OTLP_ENDPOINT": "{url}"},
        "/v1/traces",
        {"api-key": KEY},
        {},
    ),
    "honeycomb": (
        {"HONEYCOMB_API_KEY": KEY, "HONEYCOMB_API_ENDPOINT": "{url}/", "HONEYCOMB_DATASET": "d"},
        "/v1/traces",
        {"x-honeycomb-team": KEY, "x-honeycomb-dataset": "d"},
        {},
    ),
    "grafana": (
        {
            "GRAFANA_CLOUD_API_KEY": KEY, "GRAFANA_CLOUD_INSTANCE_ID": "7",
            "GRAFANA_CLOUD_OTLP_ENDPOINT": "{url}/otlp",
        },
        "/otlp/v1/traces",
        {"authorization": basic(f"7:{KEY}")},
        {},
    ),
    "phoenix": (
        {
            "PHOENIX_API_KEY": KEY, "PHOENIX_COLLECTOR_ENDPOINT": "{url}", "PHOENIX_PROJECT": "pp",
            "PHOENIX_PROJECT_NAME": "another",
            "PHOENIX_CLIENT_HEADERS": f"API_KEY = {KEY} , X-Zone=a%20b==,authorization=none",
        },
        "/v1/traces",
        {"authorization": f"Bearer {KEY}", "api_key": KEY, "x-zone": "a b=="},
        {"openinference.project.name": "pp"},
    ),
    "langfuse": (
        {
            "LANGFUSE_PUBLIC_KEY": "pk", "LANGFUSE_SECRET_KEY": KEY, "LANGFUSE_HOST": "{url}",
            "LANGFUSE_TRACING_ENVIRONMENT": "prod", "LANGFUSE_RELEASE": "3",
        },
        "/api/public/otel/v1/traces",
        {"authorization": basic(f"pk:{KEY}"), "x-langfuse-ingestion-version": "4"},
        {"langfuse.environment": "prod", "langfuse.release": "3"},
    ),
}  # fmt: skip  # one backend, one paragraph


def test_every_preset_is_tested() -> None:
    assert set(EXPECTED) == set(PRESETS)


CHOICES = [(name, chosen) for name in EXPECTED for chosen in ("argument", "variable")]
CHOICES += [("honeyhive", "implied"), ("coralogix", "implied")]


@pytest.mark.parametrize(("name", "chosen"), CHOICES)
def test_what_arrives(name: str, chosen: str, send: Send) -> None:
    environ, path, headers, attributes = EXPECTED[name]
    found = send(
        environ | ({"LAMBENT_BACKEND": name} if chosen == "variable" else {}),
        **({"backend": name} if chosen == "argument" else {}),
    )
    assert found[0] == path
    assert headers.items() <= found[1].items()
    assert attributes.items() <= found[2].items()
    assert found[1]["content-type"] == "application/x-protobuf"


@pytest.mark.parametrize("name", EXPECTED)
def test_server_url_stands_for_the_backends_own_address(name: str, send: Send, server: Server) -> None:
    environ, _, headers, _ = EXPECTED[name]
    path, found, _ = send(environ, backend=name, server_url=f"{server.base}/sub")
    assert path == f"/sub{PRESETS[name].path}"
    assert headers.items() <= found.items()


@pytest.mark.parametrize("name", [name for name, preset in PRESETS.items() if preset.key])
def test_a_key_as_an_argument(name: str, send: Send, server: Server) -> None:
    others = {"LANGFUSE_PUBLIC_KEY": "pk", "GRAFANA_CLOUD_INSTANCE_ID": "7", "HH_API_KEY": "not this one"}
    _, headers, _ = send(others, backend=name, api_key=KEY, server_url=server.base)
    shown = " ".join(headers.values())
    for word in headers.get("authorization", "").split()[1:]:
        with contextlib.suppress(ValueError):
            shown += base64.b64decode(word, validate=True).decode("latin-1")
    assert KEY in shown
    assert "not this one" not in shown


def test_headers_of_a_variable_of_phoenix(
    send: Send, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of its own documents: pairs as in W3C's baggage, and what is no pair is passed over."""
    environ = {"PHOENIX_CLIENT_HEADERS": f"authorization=Bearer%20{KEY},nothing,,x=1,y=2"}
    _, found, _ = send(environ, backend="phoenix", server_url=server.base, headers={"y": "mine"})
    assert {"authorization": f"Bearer {KEY}", "x": "1", "y": "mine"}.items() <= found.items()
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "PHOENIX_CLIENT_HEADERS: use key=value" in said
    diagnostics.say(f"somebody says {KEY}")
    assert KEY not in capsys.readouterr().err


def test_the_key_of_another_backend_stays_at_home(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HH_API_KEY", KEY)
    (exporter,) = choose(read({"backend": "phoenix", "server_url": server.base}))
    assert KEY.encode() not in exporter._head  # type: ignore[attr-defined]  # what it will send
    monkeypatch.setenv("LAMBENT_API_KEY", "ours")
    (exporter,) = choose(read({"backend": "phoenix", "server_url": server.base}))
    assert b"Bearer ours" in exporter._head  # type: ignore[attr-defined]  # as above


URLS: list[tuple[str, dict[str, str], str]] = [
    ("honeyhive", {}, "https://api.honeyhive.ai/opentelemetry/v1/traces"),
    ("honeyhive", {"HH_API_URL": "https://x/opentelemetry/v1/traces"}, "https://x/opentelemetry/v1/traces"),
    ("coralogix", {"CORALOGIX_OTLP_ENDPOINT": "ingress.us2.coralogix.com:443"},
     "https://ingress.us2.coralogix.com:443/v1/traces"),
    ("coralogix", {"CORALOGIX_DOMAIN": "eu2.coralogix.com"}, "https://ingress.eu2.coralogix.com/v1/traces"),
    ("coralogix", {"CORALOGIX_REGION": "AP3"}, "https://ingress.ap3.coralogix.com/v1/traces"),
    ("coralogix", {"AWS_REGION": "us-west-2"}, "https://ingress.us2.coralogix.com/v1/traces"),
    ("coralogix", {"AWS_REGION": "sa-east-1"}, ""),
    ("cloudwatch", {"AWS_REGION": "eu-west-1"}, "https://xray.eu-west-1.amazonaws.com/v1/traces"),
    ("cloudwatch", {"AWS_REGION": "cn-north-1"}, "https://xray.cn-north-1.amazonaws.com.cn/v1/traces"),
    ("cloudwatch", {}, ""),
    ("datadog", {}, "http://localhost:4318/v1/traces"),
    ("datadog", {"DD_API_KEY": "k"}, "https://otlp.datadoghq.com/v1/traces"),
    ("datadog", {"DD_API_KEY": "k", "DD_SITE": "datadoghq.eu"}, "https://otlp.datadoghq.eu/v1/traces"),
    ("datadog", {"DD_SITE": "datadoghq.eu"}, "http://localhost:4318/v1/traces"),
    ("newrelic", {"NEW_RELIC_LICENSE_KEY": "abc"}, "https://otlp.nr-data.net/v1/traces"),
    ("newrelic", {"NEW_RELIC_LICENSE_KEY": "eu01xxabc"}, "https://otlp.eu01.nr-data.net/v1/traces"),
    ("honeycomb", {}, "https://api.honeycomb.io/v1/traces"),
    ("grafana", {"GRAFANA_CLOUD_ZONE": "prod-eu-west-0"},
     "https://otlp-gateway-prod-eu-west-0.grafana.net/otlp/v1/traces"),
    ("grafana", {}, ""),
    ("phoenix", {}, "http://localhost:6006/v1/traces"),
    ("phoenix", {"PHOENIX_COLLECTOR_ENDPOINT": "http://p:1/v1/traces"}, "http://p:1/v1/traces"),
    ("langfuse", {}, "https://cloud.langfuse.com/api/public/otel/v1/traces"),
    ("langfuse", {"LANGFUSE_BASE_URL": "us.cloud.langfuse.com"},
     "https://us.cloud.langfuse.com/api/public/otel/v1/traces"),
]  # fmt: skip  # a table


@pytest.mark.parametrize(("name", "environ", "url"), URLS)
def test_addresses(name: str, environ: dict[str, str], url: str) -> None:
    assert url_of(name, read({"backend": name}, environ)) == url


@pytest.mark.parametrize("name", [name for name, preset in PRESETS.items() if preset.needs])
def test_without_its_key_nothing_is_sent_and_that_is_said_once(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tracer = lambent.init(backend=name)
    for _ in range(2):
        tracer.start_span("a").end()
        assert tracer.force_flush() is False
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert PRESETS[name].title in said
    for variable in missing(name, read({"backend": name}, {})):
        assert variable in said
    assert "None" not in said
    tracer.close()


def test_an_address_that_is_not_known_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    tracer = recording_tracer(exporter="otlp", backend="coralogix", api_key=KEY)
    tracer.start_span("a").end()
    assert tracer.force_flush() is False
    said = capsys.readouterr().err
    assert "set CORALOGIX_OTLP_ENDPOINT" in said
    assert KEY not in said


def test_headers_of_the_users_own_stand_for_the_key(send: Send, server: Server) -> None:
    _, headers, _ = send(
        {}, backend="honeycomb", server_url=server.base, headers={"x-honeycomb-team": "mine"}
    )
    assert headers["x-honeycomb-team"] == "mine"


# An explicit endpoint wins.


def test_an_endpoint_wins_over_an_implied_backend(send: Send) -> None:
    path, headers, attributes = send(
        {"CORALOGIX_API_KEY": KEY, "CX_APPLICATION": "a", "OTEL_EXPORTER_OTLP_ENDPOINT": "{url}"}
    )
    assert path == "/v1/traces"
    assert "authorization" not in headers
    assert attributes["cx.application.name"] == "a"


@pytest.mark.parametrize("endpoint", ["argument", "variable", "full"])
def test_an_endpoint_wins_over_a_named_backends_address(endpoint: str, send: Send, server: Server) -> None:
    environ = {"HONEYCOMB_API_KEY": KEY}
    arguments: dict[str, Any] = {"backend": "honeycomb"}
    if endpoint == "argument":
        arguments["endpoint"] = server.base
    elif endpoint == "variable":
        environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = "{url}"
    else:
        environ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] = "{url}/x"
    path, headers, _ = send(environ, **arguments)
    assert path == ("/x" if endpoint == "full" else "/v1/traces")
    assert headers["x-honeycomb-team"] == KEY


def test_an_endpoint_needs_no_key(send: Send) -> None:
    _, headers, _ = send({"LAMBENT_BACKEND": "honeycomb", "OTEL_EXPORTER_OTLP_ENDPOINT": "{url}"})
    assert not any("honeycomb" in name for name in headers)


def test_generic_is_no_backend() -> None:
    config = read({"backend": "generic"}, {"HH_API_KEY": KEY, **IN_LAMBDA})
    assert (config.backend, config.backend_named) == ("generic", True)
    assert [type(exporter).__name__ for exporter in choose(config)] == ["StdoutExporter"]


def test_a_backend_chooses_the_exporter_in_lambda() -> None:
    for environ in ({"HH_API_KEY": KEY}, {"LAMBENT_BACKEND": "phoenix"}):
        (exporter,) = choose(read({}, {**IN_LAMBDA, **environ}))
        assert type(exporter).__name__ == "OtlpHttpExporter"
    (exporter,) = choose(read({"test_mode": True}, {**IN_LAMBDA, "HH_API_KEY": KEY}))
    assert type(exporter).__name__ == "MemoryExporter"


# Names


@pytest.mark.parametrize(
    ("given_name", "name"),
    [("New Relic", "newrelic"), ("new-relic", "newrelic"), ("XRAY", "cloudwatch"), ("Arize", "phoenix")],
)
def test_names_as_people_write_them(given_name: str, name: str) -> None:
    assert canonical(given_name) == name


def test_an_unknown_backend_in_the_environment_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert read({}, {"LAMBENT_BACKEND": "honeycmb"}).backend == ""
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "LAMBENT_BACKEND" in said
    assert "'honeycomb'" in said


def test_grpc_where_it_is_spoken_and_where_not(capsys: pytest.CaptureFixture[str]) -> None:
    environ = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "HONEYCOMB_API_KEY": KEY, "HH_API_KEY": KEY}
    (exporter,) = choose(read({"backend": "honeycomb"}, environ))
    assert repr(exporter) == "OtlpGrpcExporter('api.honeycomb.io:443')"
    (exporter,) = choose(read({"backend": "honeyhive"}, environ))
    assert "OtlpHttpExporter('https://api.honeyhive.ai'" in repr(exporter)
    assert "HoneyHive takes no gRPC" in capsys.readouterr().err


def test_grpc_addresses() -> None:
    def target(arguments: dict[str, object], environ: dict[str, str]) -> str:
        (exporter,) = choose(read(arguments, {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", **environ}))
        return repr(exporter)

    assert target({}, {}) == "OtlpGrpcExporter('localhost:4317')"
    assert target({}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:1"}) == "OtlpGrpcExporter('c:1')"
    assert target({"endpoint": "c:2"}, {}) == "OtlpGrpcExporter('c:2')"
    coralogix = {"CORALOGIX_API_KEY": KEY, "CORALOGIX_OTLP_ENDPOINT": "ingress.us2.coralogix.com:443"}
    assert target({}, coralogix) == "OtlpGrpcExporter('ingress.us2.coralogix.com:443')"
    # Phoenix has a port of its own for it.
    assert target({"backend": "phoenix"}, {}) == "OtlpGrpcExporter('localhost:4317')"
    assert target({"backend": "phoenix"}, {"PHOENIX_GRPC_PORT": "5"}) == "OtlpGrpcExporter('localhost:5')"
    collector = {"PHOENIX_COLLECTOR_ENDPOINT": "http://p:4317"}
    assert target({"backend": "phoenix"}, collector) == "OtlpGrpcExporter('p:4317')"


def test_the_service_name_of_a_backend_comes_last_but_one() -> None:
    environ = {"CORALOGIX_API_KEY": KEY, "SERVICE_NAME": "cx", **IN_LAMBDA}

    def name(more: dict[str, str]) -> object:
        return detect(read({}, {**environ, **more}), "1").attributes["service.name"]

    assert name({}) == "cx"
    assert name({"OTEL_RESOURCE_ATTRIBUTES": "service.name=r"}) == "r"
    assert name({"OTEL_SERVICE_NAME": "s", "OTEL_RESOURCE_ATTRIBUTES": "service.name=r"}) == "s"
    assert name({"CORALOGIX_API_KEY": ""}) == "orders"


def test_what_was_read_is_not_shown() -> None:
    assert KEY not in repr(read({}, {"HONEYCOMB_API_KEY": KEY, "LAMBENT_BACKEND": "honeycomb"}))


@given(st.text("{}|?aA", max_size=12))
def test_any_template_fills_or_is_refused(template: str) -> None:
    values = backends._Values(PRESETS["honeyhive"], Config({}, (), {"A": "value"}))
    with contextlib.suppress(ValueError):
        assert isinstance(values.fill(template), str)
