"""The configuration: arguments and environment, read once, into one immutable value.

`OPTIONS` is the single list of what can be configured; the table in the documentation is made from it. An
argument wins over its variables, an earlier variable over a later one; an empty variable is an unset one
(OpenTelemetry's rule). A wrong value in the environment is reported once and replaced by the default, because
a deployed function must run; a wrong argument is an error, because a developer is looking. This is the only
module that reads the environment.
"""

from __future__ import annotations

import os

from lambent.limits import limits_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, TypeAlias

    from lambent.exporters import Exporter
    from lambent.limits import Limits
    from lambent.sampling import Sampler

    Option: TypeAlias = tuple[str, tuple[str, ...], Callable[[str], object], object]

__all__ = ["OPTIONS", "Config", "headers_in", "known", "read", "trace_header", "with_variables"]

_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})
_NAMED_EXPORTERS = frozenset({"otlp", "xray_udp", "stdout", "console", "file", "memory", "none"})
_OTLP = frozenset({"otlp_http", "otlp_grpc", "otlp_proto_http", "otlp_proto_grpc"})
_IMPLIED = (("HH_API_KEY", "honeyhive"), ("HH_API_URL", "honeyhive"), ("CORALOGIX_API_KEY", "coralogix"))
_SAMPLERS = (
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
)


def _text(raw: str) -> str:
    return raw


def _word(raw: str) -> str:
    return raw.lower()


def _words(raw: str) -> tuple[str, ...]:
    return tuple([word.strip().lower() for word in raw.split(",") if word.strip()])


def _flag(raw: str) -> bool:
    word = raw.lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError("use true or false")


def _count(raw: str) -> int:
    if not (raw.isascii() and raw.isdigit()):
        raise ValueError("use a whole number, 0 or more")
    return int(raw)


def _recorder_bytes(raw: str) -> int:
    value = _count(raw)
    if not 65_536 <= value <= 1 << 30:
        raise ValueError("use a number of bytes from 65536 to 1073741824")
    return value


def _level(raw: str) -> int:
    if raw not in {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}:
        raise ValueError("use a gzip level from 0 to 9")
    return int(raw)


def _millis(raw: str) -> float:
    value = float(raw) / 1000 if raw.isascii() and raw.isdigit() else 0.0
    if not 0 < value < float("inf"):
        raise ValueError("use a number of milliseconds above 0")
    return value


def _pairs(raw: str) -> dict[str, str]:
    """Parse `key=value,key2=value2` with percent-encoded parts (W3C baggage's form)."""
    pairs: dict[str, str] = {}
    for part in raw.split(","):
        key, equals, value = part.partition("=")
        key = key.strip()
        if not part.strip():
            continue
        if not equals or not key:
            raise ValueError("use key=value,key2=value2")
        pairs[_unquote(key)] = _unquote(value.strip())
    return pairs


def _unquote(text: str) -> str:
    if "%" not in text:
        return text
    from urllib.parse import unquote

    return unquote(text)


def headers_in(raw: str) -> dict[str, str]:
    """Return the headers that a variable has. Raises ValueError for what is not of the form."""
    return {key.lower(): value for key, value in _pairs(raw).items()}


def _backend(raw: str) -> str:
    from lambent.backends import canonical

    return canonical(raw)


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(raw: str) -> str:
        if raw.lower() not in words:
            raise ValueError(f"use one of {', '.join(words)}")
        return raw.lower()

    return parse


def _exporters(raw: str) -> tuple[str, ...]:
    names = _words(raw)
    for name in names:
        if name not in _NAMED_EXPORTERS and name not in _OTLP:
            raise ValueError(f"use names among {', '.join(sorted(_NAMED_EXPORTERS | _OTLP))}")
    return names


def _pattern(raw: str) -> str:
    import re

    try:
        re.compile(raw)
    except re.error as error:
        raise ValueError(f"use a regular expression ({error})") from None
    return raw


def _capture(raw: str) -> str:
    word = {"all": "both", "off": "none"}.get(raw.lower(), raw.lower())
    if word in _TRUE:
        return "both"
    return "none" if word in _FALSE else _one_of("none", "request", "response", "both")(word)


OPTIONS: tuple[Option, ...] = (
    ("disabled", ("LAMBENT_DISABLED", "OTEL_SDK_DISABLED"), _flag, False),
    ("service_name", ("OTEL_SERVICE_NAME",), _text, ""),
    ("resource_attributes", ("OTEL_RESOURCE_ATTRIBUTES",), _pairs, {}),
    ("exporters", ("OTEL_TRACES_EXPORTER", "LAMBENT_EXPORTERS"), _exporters, ()),
    ("backend", ("LAMBENT_BACKEND",), _backend, ""),
    ("console", ("LAMBENT_CONSOLE",), _flag, False),
    ("processors", (), _words, ()),
    ("traces_endpoint", ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",), _text, ""),
    ("endpoint", ("OTEL_EXPORTER_OTLP_ENDPOINT",), _text, ""),
    ("server_url", ("HH_API_URL", "LAMBENT_SERVER_URL"), _text, ""),
    ("api_key", ("HH_API_KEY", "LAMBENT_API_KEY"), _text, ""),
    ("headers", ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"), headers_in, {}),
    ("protocol", ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"),
     _one_of("grpc", "http/protobuf", "http/json"), "http/protobuf"),
    ("insecure", ("OTEL_EXPORTER_OTLP_TRACES_INSECURE", "OTEL_EXPORTER_OTLP_INSECURE"), _flag, False),
    ("compression", ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"),
     _one_of("gzip", "none"), "none"),
    ("timeout", ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"), _millis, 1.0),
    ("certificate", ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"), _text, ""),
    ("client_certificate",
     ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"), _text, ""),
    ("client_key", ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "OTEL_EXPORTER_OTLP_CLIENT_KEY"), _text, ""),
    ("proxy", ("LAMBENT_PROXY",), _text, ""),
    ("file", ("LAMBENT_FILE",), _text, "lambent-traces.jsonl"),
    ("stdout_compression_level", ("OTLP_STDOUT_SPAN_EXPORTER_COMPRESSION_LEVEL",), _level, 6),
    ("stdout_log_level", ("OTLP_STDOUT_SPAN_EXPORTER_LOG_LEVEL",), _text, ""),
    ("stdout_output", ("OTLP_STDOUT_SPAN_EXPORTER_OUTPUT_TYPE",), _one_of("stdout", "pipe"), "stdout"),
    ("xray_daemon_address", ("AWS_XRAY_DAEMON_ADDRESS",), _text, "127.0.0.1:2000"),
    ("log_level", ("LAMBENT_LOG_LEVEL", "LOG_LEVEL"), _word, ""),
    ("log_correlation", ("LAMBENT_LOG_CORRELATION",), _flag, False),
    ("log_events", ("LAMBENT_LOG_EVENTS",),
     _one_of("debug", "info", "warn", "warning", "error", "critical", "fatal"), ""),
    ("mode", ("LAMBDA_EXTENSION_SPAN_PROCESSOR_MODE", "LAMBENT_MODE"),
     _one_of("sync", "async", "finalize", "auto"), "sync"),
    ("queue_size", ("LAMBDA_SPAN_PROCESSOR_QUEUE_SIZE",), _count, 2048),
    ("queue_bytes", ("LAMBENT_QUEUE_BYTES",), _count, 8 * 1024 * 1024),
    ("schedule_delay", ("OTEL_BSP_SCHEDULE_DELAY",), _millis, 1.0),
    ("deadline_margin", ("LAMBENT_DEADLINE_MARGIN",), _millis, 0.0),
    ("watchdog", ("LAMBENT_WATCHDOG",), _flag, True),
    ("recorder", ("LAMBENT_RECORDER",), _flag, None),
    ("recorder_bytes", ("LAMBENT_RECORDER_BYTES",), _recorder_bytes, 1_048_576),
    ("recorder_folder", ("LAMBENT_RECORDER_FOLDER", "TMPDIR"), _text, "/tmp"),  # noqa: S108  # Lambda's own
    ("sampler", ("OTEL_TRACES_SAMPLER",), _one_of(*_SAMPLERS), "parentbased_always_on"),
    ("sampler_argument", ("OTEL_TRACES_SAMPLER_ARG",), _text, ""),
    ("propagators", ("OTEL_PROPAGATORS",), _words, ("tracecontext", "baggage")),
    ("xray_sampling", ("LAMBENT_XRAY_SAMPLING",), _flag, False),
    ("cold_start_canary", ("LAMBENT_COLD_START_CANARY",), _flag, False),
    ("semconv", ("OTEL_SEMCONV_STABILITY_OPT_IN",), _words, ()),
    ("capture", ("LAMBENT_CAPTURE",), _capture, "none"),
    ("capture_depth", ("LAMBENT_CAPTURE_DEPTH",), _count, 8),
    ("capture_size", ("LAMBENT_CAPTURE_SIZE",), _count, 4096),
    ("redact_keys", ("LAMBENT_REDACT_KEYS",), _words, ()),
    ("redact_pattern", ("LAMBENT_REDACT_PATTERN",), _pattern, ""),
    ("upstream", ("LAMBENT_UPSTREAM",), _flag, False),
    ("project", ("HH_PROJECT", "LAMBENT_PROJECT"), _text, ""),
    ("source", ("HH_SOURCE", "LAMBENT_SOURCE"), _text, ""),
    ("session_name", ("HH_SESSION_NAME", "LAMBENT_SESSION_NAME"), _text, ""),
    ("test_mode", ("HH_TEST_MODE", "LAMBENT_TEST_MODE"), _flag, False),
    ("disable_http_tracing", ("HH_DISABLE_HTTP_TRACING", "LAMBENT_DISABLE_HTTP_TRACING"), _flag, False),
    ("instrument", ("LAMBENT_INSTRUMENT",), _words, ()),
    ("disabled_instrumentations", ("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS",), _words, ()),
    ("count_spans", ("LAMBENT_COUNT_SPANS",), _flag, False),
    ("otel_provider", ("LAMBENT_OTEL_PROVIDER",), _one_of("replace", "feed"), "replace"),
    ("set_global", ("LAMBENT_SET_GLOBAL",), _flag, False),
    ("attribute_count_limit", ("OTEL_ATTRIBUTE_COUNT_LIMIT",), _count, None),
    ("attribute_length_limit", ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",), _count, None),
    ("span_attribute_count_limit", ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",), _count, None),
    ("span_attribute_length_limit", ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",), _count, None),
    ("span_event_count_limit", ("OTEL_SPAN_EVENT_COUNT_LIMIT",), _count, None),
    ("span_link_count_limit", ("OTEL_SPAN_LINK_COUNT_LIMIT",), _count, None),
    ("event_attribute_count_limit", ("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",), _count, None),
    ("link_attribute_count_limit", ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",), _count, None),
    ("handler", ("LAMBENT_HANDLER",), _text, ""),
    ("function_name", ("AWS_LAMBDA_FUNCTION_NAME",), _text, ""),
    ("function_version", ("AWS_LAMBDA_FUNCTION_VERSION",), _text, ""),
    ("log_stream", ("AWS_LAMBDA_LOG_STREAM_NAME",), _text, ""),
    ("memory_mb", ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE",), _count, 0),
    ("region", ("AWS_REGION", "AWS_DEFAULT_REGION"), _text, ""),
    ("runtime_api", ("AWS_LAMBDA_RUNTIME_API",), _text, ""),
    ("max_concurrency", ("AWS_LAMBDA_MAX_CONCURRENCY",), _count, 0),
    ("initialization_type", ("AWS_LAMBDA_INITIALIZATION_TYPE",), _text, ""),
)  # fmt: skip  # one option, one entry: the table is read by people
"""Name, variables, what reads them, default. What each of them means stands in tools/options.py."""


class Config:
    """One configuration. Every option of `OPTIONS` is an attribute; none can be changed."""

    disabled: bool
    service_name: str
    resource_attributes: Mapping[str, object]
    exporters: tuple[str | Exporter, ...]
    backend: str
    console: bool
    processors: tuple[object, ...]
    traces_endpoint: str
    endpoint: str
    server_url: str
    api_key: str
    headers: Mapping[str, str]
    protocol: str
    insecure: bool
    compression: str
    timeout: float
    certificate: str
    client_certificate: str
    client_key: str
    proxy: str
    file: str
    stdout_compression_level: int
    stdout_log_level: str
    stdout_output: str
    xray_daemon_address: str
    log_level: str
    log_correlation: bool
    log_events: str
    mode: str
    queue_size: int
    queue_bytes: int
    schedule_delay: float
    deadline_margin: float
    watchdog: bool
    recorder: bool | None
    recorder_bytes: int
    recorder_folder: str
    sampler: str | Sampler
    sampler_argument: str
    propagators: tuple[str, ...]
    xray_sampling: bool
    cold_start_canary: bool
    semconv: tuple[str, ...]
    capture: str
    capture_depth: int
    capture_size: int
    redact_keys: tuple[str, ...]
    redact_pattern: str
    upstream: bool
    project: str
    source: str
    session_name: str
    test_mode: bool
    disable_http_tracing: bool
    instrument: tuple[str, ...]
    disabled_instrumentations: tuple[str, ...]
    count_spans: bool
    otel_provider: str
    set_global: bool
    limits: Limits
    handler: str
    function_name: str
    function_version: str
    log_stream: str
    memory_mb: int
    region: str
    initialization_type: str
    runtime_api: str
    max_concurrency: int
    arguments: frozenset[str]
    """The names of the options that were given as arguments."""
    variables: Mapping[str, str]
    """The environment that was read: backends have variables of their own. Never shown."""
    backend_named: bool
    """Whether the backend was asked for, and not only implied by the variables of its key."""

    def __init__(
        self,
        values: Mapping[str, object],
        arguments: Iterable[str] = (),
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.__dict__.update(values)
        self.__dict__["arguments"] = frozenset(arguments)
        self.__dict__["variables"] = environ or {}

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a configuration does not change; pass {name}= to lambent.init() instead")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a configuration does not change; {name} stays")

    def __repr__(self) -> str:
        from lambent.diagnostics import shown

        return f"Config({shown(self.__dict__)})"


known: list[tuple[list[Any], Mapping[str, str]]] = []
"""Of the last configurations what may hold secrets: what is said must not show these. Not the configurations,
which hold exporters, and so the spans of tracers that have been closed."""
_SECRETS = ("api_key", "headers", "endpoint", "traces_endpoint", "server_url", "proxy")


def read(
    arguments: Mapping[str, object], environ: Mapping[str, str] | None = None, implied: str = ""
) -> Config:
    """Return the configuration of these arguments and this environment (default: the process's).

    `implied` is the backend where neither names one; a variable of some backend's key does not.

    Raises ConfigError for an unknown or a wrong argument.
    """
    given: dict[str, object] = {}
    if arguments:
        from lambent._arguments import check

        given = check(arguments)
    env: Mapping[str, str] = dict(os.environ) if environ is None else environ
    values: dict[str, object] = {}
    for name, variables, parse, default in OPTIONS:
        if name in given:
            continue
        value = default
        for variable in variables:
            raw = env.get(variable)
            if raw and not raw.isspace():
                try:
                    value = parse(raw.strip())
                except ValueError as error:
                    _report(variable, raw, error)
                    continue
                break
        values[name] = value
    values["limits"] = limits_of(values)
    resource = given.get("resource_attributes")
    values.update(given)
    if resource is not None:
        from_environment = _pairs_or_none(env.get("OTEL_RESOURCE_ATTRIBUTES", ""))
        values["resource_attributes"] = {**from_environment, **resource}  # type: ignore[dict-item]  # checked
    values["backend_named"] = bool(values["backend"])
    if not values["backend"]:
        keys = (name for variable, name in _IMPLIED if env.get(variable, "").strip())
        values["backend"] = implied or next(keys, "")
    config = Config(values, given, env)
    known[:] = [*known[-7:], ([values[name] for name in _SECRETS], env)]
    return config


def trace_header() -> str:
    """Return X-Ray's header of this invocation: the one variable that changes while the process lives."""
    return os.environ.get("_X_AMZN_TRACE_ID", "")


def with_variables(variables: Mapping[str, str], call: Callable[[], object]) -> object:
    """Call with environment variables set that nobody has set: some libraries read theirs while they load."""
    ours = {name: value for name, value in variables.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        return call()
    finally:
        for name in ours:
            os.environ.pop(name, None)


def _pairs_or_none(raw: str) -> dict[str, str]:
    try:
        return _pairs(raw)
    except ValueError as error:
        _report("OTEL_RESOURCE_ATTRIBUTES", raw, error)
        return {}


def _report(variable: str, raw: str, error: ValueError) -> None:
    from lambent.diagnostics import say_once

    # A header or a key may hold a secret: say where, not what.
    shown = "" if "HEADERS" in variable or "KEY" in variable else f" {raw[:80]!r}"
    say_once(f"variable {variable}", f"{variable}{shown} is ignored: {error}; the default is used")


def fingerprint(config: Config) -> bytes:
    """Return what tells the files of differently configured tracers apart; no secret can be read from it."""
    identity = (
        config.function_name, config.function_version, config.service_name, config.project, config.source,
        config.session_name, config.endpoint, config.traces_endpoint, config.server_url,
        [each if isinstance(each, str) else type(each).__name__ for each in config.exporters],
        sorted(map(str, config.resource_attributes)),
    )  # fmt: skip
    from _imp import source_hash as check

    return check(0, repr(identity).encode("utf-8", "replace"))
