"""The configuration: every option from both sides, wrong values, precedence, secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import lambent
from lambent import ConfigError, Limits
from lambent._arguments import ARGUMENTS
from lambent.config import OPTIONS, Config, read
from lambent.exporters.choose import choose
from lambent.exporters.memory import MemoryExporter
from lambent.sampling import AlwaysOff
from lambent.testing import recording_tracer

if TYPE_CHECKING:
    from collections.abc import Mapping

SECRET = "hush-4711"
PROCESSOR = lambent.SpanProcessor()

# option → (text in the environment, the value it means, the argument that means the same or ... for none)
VALUES: dict[str, tuple[str, object, object]] = {
    "disabled": ("TRUE", True, True),
    "service_name": ("orders", "orders", "orders"),
    "resource_attributes": ("a=1,b=x%20y", {"a": "1", "b": "x y"}, {"a": "1", "b": "x y"}),
    "exporters": ("otlp, Console", ("otlp", "console"), ["otlp", "console"]),
    "traces_endpoint": ("http://a:1/x", "http://a:1/x", "http://a:1/x"),
    "endpoint": ("http://a:1", "http://a:1", "http://a:1"),
    "server_url": ("http://b", "http://b", "http://b"),
    "api_key": (SECRET, SECRET, SECRET),
    "headers": ("X-A=1,b=%2C", {"x-a": "1", "b": ","}, {"X-A": 1, "b": ","}),
    "protocol": ("http/json", "http/json", "http/json"),
    "compression": ("gzip", "gzip", "gzip"),
    "timeout": ("2500", 2.5, 2.5),
    "certificate": ("/ca.pem", "/ca.pem", "/ca.pem"),
    "client_certificate": ("/c.pem", "/c.pem", "/c.pem"),
    "client_key": ("/k.pem", "/k.pem", "/k.pem"),
    "proxy": ("http://p:3128", "http://p:3128", "http://p:3128"),
    "file": ("/tmp/x", "/tmp/x", "/tmp/x"),
    "backend": ("Honeycomb", "honeycomb", "honeycomb"),
    "console": ("true", True, True),
    "insecure": ("true", True, True),
    "stdout_output": ("PIPE", "pipe", "pipe"),
    "xray_daemon_address": ("10.0.0.1:2000", "10.0.0.1:2000", "10.0.0.1:2000"),
    "log_correlation": ("true", True, True),
    "log_events": ("Warning", "warning", "WARNING"),
    "log_level": ("DEBUG", "debug", "debug"),
    "stdout_compression_level": ("9", 9, 9),
    "stdout_log_level": ("INFO", "INFO", "INFO"),
    "mode": ("Finalize", "finalize", "finalize"),
    "processors": ("", (PROCESSOR,), [PROCESSOR]),
    "queue_size": ("17", 17, 17),
    "queue_bytes": ("4096", 4096, 4096),
    "schedule_delay": ("200", 0.2, 0.2),
    "deadline_margin": ("50", 0.05, 0.05),
    "watchdog": ("off", False, False),
    "recorder": ("off", False, False),
    "recorder_bytes": ("65536", 65_536, 65_536),
    "recorder_folder": ("/tmp/x", "/tmp/x", "/tmp/x"),
    "sampler": ("Always_Off", "always_off", "always_off"),
    "sampler_argument": ("0.25", "0.25", 0.25),
    "propagators": ("xray, tracecontext", ("xray", "tracecontext"), ["xray", "tracecontext"]),
    "xray_sampling": ("true", True, True),
    "cold_start_canary": ("1", True, True),
    "semconv": ("http/dup", ("http/dup",), "http/dup"),
    "capture": ("Request", "request", "request"),
    "capture_depth": ("3", 3, 3),
    "capture_size": ("100", 100, 100),
    "redact_keys": ("Tax-Number, pin", ("tax-number", "pin"), ["Tax-Number", "pin"]),
    "redact_pattern": (r"\d+-\d+", r"\d+-\d+", r"\d+-\d+"),
    "upstream": ("true", True, True),
    "project": ("p", "p", "p"),
    "source": ("prod", "prod", "prod"),
    "session_name": ("s", "s", "s"),
    "test_mode": ("1", True, True),
    "disable_http_tracing": ("yes", True, True),
    "otel_provider": ("Feed", "feed", "feed"),
    "set_global": ("on", True, True),
    "count_spans": ("true", True, True),
    "instrument": ("botocore, Requests", ("botocore", "requests"), ["botocore", "requests"]),
    "disabled_instrumentations": ("redis", ("redis",), "redis"),
    "handler": ("app.handler", "app.handler", ...),
    "function_name": ("f", "f", ...),
    "function_version": ("3", "3", ...),
    "log_stream": ("l", "l", ...),
    "memory_mb": ("512", 512, ...),
    "region": ("eu-west-1", "eu-west-1", ...),
    "initialization_type": ("snap-start", "snap-start", ...),
    "runtime_api": ("127.0.0.1:9001", "127.0.0.1:9001", ...),
    "max_concurrency": ("10", 10, ...),
}
LIMITS: dict[str, tuple[str, ...]] = {
    "attribute_count_limit": ("attributes", "event_attributes", "link_attributes"),
    "attribute_length_limit": ("attribute_length", "span_attribute_length"),
    "span_attribute_count_limit": ("attributes",),
    "span_attribute_length_limit": ("span_attribute_length",),
    "span_event_count_limit": ("events",),
    "span_link_count_limit": ("links",),
    "event_attribute_count_limit": ("event_attributes",),
    "link_attribute_count_limit": ("link_attributes",),
}
RENAMED = {"resource_attributes": "resource"}
VARIABLES = [(name, variable, variables) for name, variables, *_ in OPTIONS for variable in variables]
DEFAULTS: dict[str, object] = {name: default for name, _, _, default in OPTIONS}


def test_every_option_is_tested() -> None:
    assert {option[0] for option in OPTIONS} == set(VALUES) | set(LIMITS)
    variables = [variable for _, variable, _ in VARIABLES]
    assert len(variables) == len(set(variables))


@pytest.mark.parametrize(("name", "variable", "variables"), VARIABLES)
def test_an_option_from_the_environment(name: str, variable: str, variables: tuple[str, ...]) -> None:
    if name in LIMITS:
        limits = read({}, {variable: "7"}).limits
        for field in Limits.__slots__:
            expected = 7 if field in LIMITS[name] else getattr(Limits(), field)
            assert getattr(limits, field) == expected, field
        return
    text, value, _ = VALUES[name]
    assert getattr(read({}, {variable: f" {text}\n"}), name) == value
    for empty in ("", "  "):
        assert getattr(read({}, {variable: empty}), name) == DEFAULTS[name]
    for other in variables:
        # An earlier variable wins; an empty one is an unset one.
        first = next(candidate for candidate in variables if candidate in {variable, other})
        both = {variable: text, other: text, first: text}
        assert getattr(read({}, both), name) == value
        assert getattr(read({}, {**both, first: ""}), name) == (
            value if len({variable, other}) == 2 else DEFAULTS[name]
        )


@pytest.mark.parametrize("name", [name for name, (*_, argument) in VALUES.items() if argument is not ...])
def test_an_option_as_an_argument(name: str) -> None:
    _, value, argument = VALUES[name]
    keyword = RENAMED.get(name, name)
    assert keyword in ARGUMENTS
    config = read({keyword: argument}, {})
    assert getattr(config, name) == value
    assert config.arguments == {name}
    assert getattr(read({keyword: None}, {}), name) == DEFAULTS[name]


@pytest.mark.parametrize("name", [name for name, (*_, argument) in VALUES.items() if argument is ...])
def test_what_lambda_sets_is_no_argument(name: str) -> None:
    with pytest.raises(ConfigError):
        read({name: "x"}, {})


WRONG = {
    "disabled": "perhaps",
    "resource_attributes": "no pairs",
    "exporters": "otlp,carrier-pigeon",
    "headers": f"{SECRET}",
    "protocol": "http/xml",
    "backend": "honeycmb",
    "console": "x",
    "insecure": "x",
    "stdout_output": "stderr",
    "compression": "zstd",
    "timeout": "-3",
    "stdout_compression_level": "10",
    "mode": "sometimes",
    "queue_size": "many",
    "queue_bytes": "1 MB",
    "schedule_delay": "-5",
    "deadline_margin": "0",
    "watchdog": "x",
    "recorder": "perhaps",
    "recorder_bytes": "1024",
    "sampler": "coin",
    "test_mode": "2",
    "disable_http_tracing": "x",
    "set_global": "x",
    "count_spans": "x",
    "memory_mb": "1.5",
    **dict.fromkeys(LIMITS, "-1"),
}


@pytest.mark.parametrize(("name", "variable", "_"), [entry for entry in VARIABLES if entry[0] in WRONG])
def test_a_wrong_value_is_reported_once_and_replaced(
    name: str, variable: str, _: object, capsys: pytest.CaptureFixture[str]
) -> None:
    for attempt in range(2):
        config = read({}, {variable: WRONG[name]})
        if name in LIMITS:
            assert config.limits == Limits()
        else:
            assert getattr(config, name) == DEFAULTS[name]
        said = capsys.readouterr().err
        if attempt == 0:
            assert said.count("\n") == 1
            assert said.startswith(f"lambent: {variable}")
            assert said.endswith("the default is used\n")
            assert SECRET not in said
        else:
            assert said == ""


@pytest.mark.parametrize("digits", ["9" * 400, "9" * 5000])
def test_enormous_numbers(digits: str, capsys: pytest.CaptureFixture[str]) -> None:
    config = read({}, {"OTEL_EXPORTER_OTLP_TIMEOUT": digits})
    assert config.timeout == 1.0
    assert "OTEL_EXPORTER_OTLP_TIMEOUT" in capsys.readouterr().err


def test_a_wrong_first_variable_gives_way_to_the_second(capsys: pytest.CaptureFixture[str]) -> None:
    environ = {"OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "soon", "OTEL_EXPORTER_OTLP_TIMEOUT": "300"}
    assert read({}, environ).timeout == 0.3
    assert "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT 'soon' is ignored" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"servicename": "x"}, "did you mean 'service_name'?"),
        ({"apikey": SECRET}, "did you mean 'api_key'?"),
        ({"zzz": SECRET}, "the arguments are api_key"),
        ({"timeout": 0}, "seconds above 0"),
        ({"timeout": "1"}, "seconds above 0"),
        ({"timeout": True}, "seconds above 0"),
        ({"timeout": float("inf")}, "seconds above 0"),
        ({"queue_size": -1}, "a whole number"),
        ({"queue_size": 1.5}, "takes int"),
        ({"disabled": "perhaps"}, "true or false"),
        ({"disabled": 2}, "true or false"),
        ({"service_name": 5}, "takes str"),
        ({"api_key": 5}, "takes str"),
        ({"headers": 5}, "header names"),
        ({"headers": [SECRET]}, "header names"),
        ({"headers": SECRET}, "key=value"),
        ({"resource": 5}, "a mapping"),
        ({"resource": {1: 2}}, "text keys"),
        ({"exporter": 5}, "an exporter or a name"),
        ({"exporter": "pigeon"}, "otlp_http"),
        ({"exporters": [5]}, "an exporter or a name"),
        ({"exporter": "otlp", "exporters": "stdout"}, "keep one"),
        ({"sampler": 5}, "a sampler or its name"),
        ({"sampler": "coin"}, "use one of"),
        ({"sampler_argument": 2}, "between 0 and 1"),
        ({"sampler_argument": "much"}, "between 0 and 1"),
        ({"sampler_argument": 10**400}, "between 0 and 1"),
        ({"timeout": 10**400}, "a number of seconds"),
        ({"propagators": 5}, "names, not int"),
        ({"limits": {"nonsense": 1}}, "with keys among"),
        ({"limits": {"attributes": -1}}, "0 or more"),
        ({"limits": {"attributes": "5"}}, "0 or more"),
        ({"limits": 5}, "lambent.Limits"),
        ({"protocol": "http/xml"}, "http/protobuf"),
        ({"mode": "later"}, "use one of sync, async, finalize, auto"),
        ({"capture": "requests"}, "use one of none, request, response, both"),
        ({"backend": "honeycmb"}, "did you mean 'honeycomb'?"),
        ({"backend": "zzz"}, "it is one of honeyhive"),
        ({"backend": 5}, "takes str"),
    ],
)
def test_a_wrong_argument_is_an_error(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        lambent.init(**arguments)
    assert message in str(caught.value)
    assert SECRET not in str(caught.value)
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, ValueError)


def test_limits_out_of_range_are_errors() -> None:
    for value in (-1, "5", True, 1.5):
        with pytest.raises(ValueError, match="0 or more"):
            Limits(events=value)  # type: ignore[arg-type]  # wrong on purpose


def test_an_argument_wins_over_the_environment() -> None:
    environ = {
        "OTEL_SERVICE_NAME": "env",
        "OTEL_EXPORTER_OTLP_HEADERS": "a=1",
        "OTEL_SPAN_EVENT_COUNT_LIMIT": "1",
    }
    config = read({"service_name": "arg", "headers": {"b": "2"}, "limits": Limits(events=2)}, environ)
    assert (config.service_name, config.headers, config.limits.events) == ("arg", {"b": "2"}, 2)


def test_resource_attributes_of_both_sides_are_joined() -> None:
    config = read({"resource": {"b": 2, "c": [3]}}, {"OTEL_RESOURCE_ATTRIBUTES": "a=1,b=1"})
    assert config.resource_attributes == {"a": "1", "b": 2, "c": (3,)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=b=c", {"a": "b=c"}),
        (" a = b , ,c=d,", {"a": "b", "c": "d"}),
        ("a=", {"a": ""}),
        ("k%20x=%C3%BC%2C%3D", {"k x": "ü,="}),
        ("a=%zz", {"a": "%zz"}),
        ("a=%ff", {"a": "\ufffd"}),
    ],
)
def test_pairs_are_percent_decoded(text: str, expected: Mapping[str, str]) -> None:
    assert read({}, {"OTEL_RESOURCE_ATTRIBUTES": text}).resource_attributes == expected


def test_the_narrow_limit_wins_over_the_general_one() -> None:
    config = read(
        {},
        {
            "OTEL_ATTRIBUTE_COUNT_LIMIT": "5",
            "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "6",
            "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "7",
            "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "0",
        },
    )
    assert config.limits == Limits(
        attributes=6, event_attributes=5, link_attributes=5, attribute_length=7, span_attribute_length=0
    )


def test_a_configuration_does_not_change() -> None:
    config = read({}, {})
    with pytest.raises(AttributeError, match="does not change"):
        config.timeout = 3
    with pytest.raises(AttributeError, match="does not change"):
        del config.timeout
    assert config.timeout == 1.0


def test_secrets_are_not_shown() -> None:
    config = read(
        {
            "api_key": SECRET,
            "headers": {"authorization": SECRET},
            "endpoint": f"https://user:{SECRET}@host/p",
        },
        {
            "LAMBENT_PROXY": f"http://{SECRET}@proxy:1",
            "HH_API_URL": f"https://host/?token={SECRET}",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"https://a@b:{SECRET}@host",
        },
    )
    shown = repr(config)
    assert SECRET not in shown
    assert "https://****@host/p" in shown
    assert "timeout=1.0" in shown


def test_the_process_environment_is_read_when_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "from the process")
    assert read({}).service_name == "from the process"
    assert read({}, {}).service_name == ""


def test_no_bare_names_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(
        # What logs show is everybody's: every logging library reads this one. POSIX has the other.
        variable.startswith(("OTEL_", "OTLP_", "AWS_", "LAMBDA_", "LAMBENT_", "HH_"))
        or variable in {"LOG_LEVEL", "TMPDIR"}
        for _, variable, _ in VARIABLES
    )


# Where the key goes.


def headers(arguments: dict[str, object], environ: dict[str, str]) -> tuple[str, bool]:
    (exporter,) = choose(read(arguments, environ))
    head: bytes = exporter._head  # type: ignore[attr-defined]  # an OTLP exporter: what it will send
    return repr(exporter).split("'")[1], SECRET.encode() in head


KEY_IN_ENV = {"HH_API_KEY": SECRET}


@pytest.mark.parametrize(
    ("arguments", "environ", "origin", "sent"),
    [
        ({"server_url": "http://hh"}, KEY_IN_ENV, "http://hh", True),
        ({}, {**KEY_IN_ENV, "HH_API_URL": "http://hh"}, "http://hh", True),
        ({"endpoint": "http://other"}, KEY_IN_ENV, "http://other", False),
        ({"endpoint": "http://mine", "api_key": SECRET}, {}, "http://mine", True),
        ({}, {**KEY_IN_ENV, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://other"}, "http://other", False),
        (
            {"api_key": SECRET},
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://other", "HH_API_URL": "http://hh"},
            "http://other",
            False,
        ),
        ({"api_key": SECRET, "exporter": "otlp"}, {}, "http://localhost:4318", False),
        ({"server_url": "http://hh", "headers": {"x-key": "k"}}, {}, "http://hh", False),
        ({"endpoint": "http://other"}, {"HH_API_URL": "http://hh"}, "http://other", False),
        (
            {},
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://other", "HH_API_URL": "http://hh"},
            "http://other",
            False,
        ),
    ],
)
def test_the_key_goes_to_its_own_server_only(
    arguments: dict[str, object], environ: dict[str, str], origin: str, sent: bool
) -> None:
    found, with_key = headers(arguments, environ)
    assert found.startswith(origin)
    assert with_key is sent


def test_without_a_key_there_is_no_authorization() -> None:
    (exporter,) = choose(read({"endpoint": "http://hh"}, {}))
    assert b"uthorization" not in exporter._head  # type: ignore[attr-defined]  # what it will send


def test_without_a_key_nothing_goes_to_the_server_that_wants_one(capsys: pytest.CaptureFixture[str]) -> None:
    tracer = recording_tracer(exporter="otlp", server_url="http://127.0.0.1:9", project="p")
    tracer.start_span("a").end()
    assert tracer.force_flush() is False
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "lost 1 of 1 spans" in said
    assert "HH_API_KEY" in said
    tracer.close()


def test_which_exporters_are_chosen() -> None:
    def names(arguments: dict[str, object], environ: dict[str, str]) -> list[str]:
        return [type(exporter).__name__ for exporter in choose(read(arguments, environ))]

    in_lambda = {"AWS_LAMBDA_FUNCTION_NAME": "f"}
    assert names({}, {}) == ["OtlpHttpExporter"]
    assert names({}, in_lambda) == ["StdoutExporter"]
    assert names({}, {**in_lambda, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}) == ["OtlpHttpExporter"]
    assert names({}, {"OTEL_TRACES_EXPORTER": "none"}) == []
    assert names({"exporters": ["console", "stdout"]}, {}) == ["ConsoleExporter", "StdoutExporter"]
    assert names({"test_mode": True}, in_lambda) == ["MemoryExporter"]
    assert names({"test_mode": True, "exporter": "otlp"}, {}) == ["MemoryExporter"]
    # By the names of our modules and of OpenTelemetry's packages, whatever the protocol's variable says.
    for protocol in ("grpc", "http/protobuf", ""):
        environ = {"OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
        both = ["OtlpHttpExporter", "OtlpGrpcExporter"]
        assert names({"exporters": "otlp_http,otlp_grpc"}, environ) == both
        environ["OTEL_TRACES_EXPORTER"] = "otlp_proto_grpc,otlp_proto_http"
        assert names({}, environ) == both[::-1]
    assert names({"test_mode": True, "exporter": "otlp_grpc"}, {}) == ["MemoryExporter"]
    mine = MemoryExporter()
    assert choose(read({"exporter": mine}, {})) == [mine]
    assert isinstance(read({"sampler": AlwaysOff()}, {}).sampler, AlwaysOff)


def test_an_exporter_that_cannot_be_made_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    tracer = recording_tracer(exporter="otlp", endpoint=f"nonsense://u:{SECRET}@x")
    tracer.start_span("a").end()
    assert tracer.force_flush() is False
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "lost 1 of 1 spans: there is no exporter 'otlp'" in said
    assert SECRET not in said


def test_config_can_be_read_by_tools() -> None:
    assert isinstance(read({}, {}), Config)
    assert set(Config.__annotations__) == {
        *[name for name in DEFAULTS if not name.endswith("_limit")],
        "limits", "arguments", "variables", "backend_named",
    }  # fmt: skip


class OtelLike:
    """What OpenTelemetry's SDK calls an exporter."""

    def export(self, spans: object) -> None: ...
    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True


@pytest.mark.parametrize("value", [None, False, "off", "none", ()])
def test_what_is_not_wanted_may_be_switched_off(value: object) -> None:
    config = read({"capture": value, "processors": value}, {})
    assert (config.capture, config.processors) == ("none", ())


def test_an_exporter_of_another_library_is_translated_for() -> None:
    (exporter,) = read({"exporter": OtelLike()}, {}).exporters
    assert type(exporter).__name__ == "OtelExporter"


def test_an_empty_text_is_an_argument_not_given() -> None:
    environ = {"OTEL_SERVICE_NAME": "orders", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector"}
    config = read(
        {"service_name": "", "endpoint": " ", "api_key": "", "exporter": "", "timeout": ""}, environ
    )
    assert config.arguments == frozenset()
    assert (config.service_name, config.endpoint) == ("orders", "http://collector")
    (exporter,) = choose(read({"endpoint": "", "server_url": ""}, {}))
    assert "localhost" in repr(exporter)
