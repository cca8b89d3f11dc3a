"""Which exporters a configuration means, made ready. Loaded when the first one is needed."""

from __future__ import annotations

from lambent.exporters import Exporter, Result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambent.config import Config
    from lambent.span import Span

__all__ = ["choose"]

_LOCAL = "http://localhost:4318"
_PATH = "/v1/traces"


def choose(config: Config) -> list[Exporter]:
    """Return the exporters, in the order they were named.

    Without a name: OTLP when an endpoint is set; else the stdout line in Lambda; else OTLP to this
    machine's collector, if one listens. In test mode those that stay in the process only. In the place of
    one that cannot be made stands one that says so with every batch.
    """
    exporters: list[Exporter] = []
    for wanted in config.exporters or (_default(config),):
        if isinstance(wanted, str):
            name = "memory" if config.test_mode and wanted == "otlp" else wanted
            try:
                made = _make(name, config)
            except ValueError as error:
                made = _Unavailable(f"there is no exporter {name!r}: {error}")
            if made is not None:
                exporters.append(made)
        else:
            exporters.append(wanted)
    return exporters


class _Unavailable(Exporter):
    """Stands for an exporter whose settings cannot work: its spans are lost, and counted as such."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def export(self, spans: Sequence[Span], timeout: float) -> Result:  # noqa: ARG002  # nothing to wait for
        """Lose the spans, and say why."""
        return Result(False, len(spans), 0, self._reason)


def _default(config: Config) -> str:
    if config.test_mode:
        return "memory"
    if config.endpoint or config.traces_endpoint or config.server_url or not config.function_name:
        return "otlp"
    return "stdout"


def _make(name: str, config: Config) -> Exporter | None:
    if name == "otlp":
        return _otlp(config)
    if name == "stdout":
        from lambent.exporters.stdout import StdoutExporter
        from lambent.resource import detect

        return StdoutExporter(
            source=str(detect(config, "").attributes["service.name"]),
            level=config.stdout_compression_level,
            log_level=config.stdout_log_level or None,
        )
    if name == "console":
        from lambent.exporters.console import ConsoleExporter

        return ConsoleExporter()
    if name == "file":
        from lambent.exporters.file import FileExporter

        return FileExporter(config.file)
    if name == "memory":
        from lambent.exporters.memory import MemoryExporter

        return MemoryExporter(limit=config.queue_size)
    return None  # "none": spans are recorded for whoever looks at them here, and go nowhere


def _otlp(config: Config) -> Exporter:
    from lambent.exporters.otlp_http import OtlpHttpExporter

    headers = _headers(config)
    if not headers and _to_server(config):
        raise ValueError("server_url wants a key; set api_key= or HH_API_KEY, or headers of your own")
    return OtlpHttpExporter(
        _endpoint(config),
        headers=headers,
        protocol="http/json" if config.protocol == "http/json" else "http/protobuf",
        compression="gzip" if config.compression == "gzip" else "none",
        timeout=config.timeout,
        proxy=config.proxy or None,
        certificate=config.certificate or None,
        client_certificate=config.client_certificate or None,
        client_key=config.client_key or None,
        quiet_refused=not (
            config.exporters or config.endpoint or config.traces_endpoint or config.server_url
        ),
    )


def _endpoint(config: Config) -> str:
    """Return the full URL: an argument's before a variable's, a full one before a base."""
    if "endpoint" in config.arguments:
        base, slashes, rest = config.endpoint.partition("://")
        host, _, path = rest.partition("/")
        return config.endpoint if path.strip("/") else f"{base}{slashes}{host}{_PATH}"
    if "server_url" not in config.arguments:
        if config.traces_endpoint:
            return config.traces_endpoint
        if config.endpoint:
            return config.endpoint.rstrip("/") + _PATH
    return (config.server_url or _LOCAL).rstrip("/") + _PATH


def _headers(config: Config) -> dict[str, str]:
    """Return the headers, with the key for the server that it is meant for and for no other."""
    headers = dict(config.headers)
    if config.api_key and "authorization" not in headers and _key_belongs(config):
        headers["authorization"] = f"Bearer {config.api_key}"
    return headers


def _key_belongs(config: Config) -> bool:
    if "endpoint" in config.arguments:
        return "api_key" in config.arguments
    return _to_server(config)


def _to_server(config: Config) -> bool:
    """Whether spans go to `server_url`, not to an endpoint."""
    if "endpoint" in config.arguments or not config.server_url:
        return False
    return "server_url" in config.arguments or not (config.endpoint or config.traces_endpoint)
