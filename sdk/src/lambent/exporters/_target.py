"""The OTLP exporter that a configuration means: its URL, its headers, its signature.

Rules
* An endpoint (argument, `…_TRACES_ENDPOINT`, `…_ENDPOINT`, in this order) is used before a backend's address,
  a `server_url=` argument before the endpoints of the environment.
* A key goes to its own server: with an endpoint in use, a backend's headers are sent there only if the
  backend was asked for by name.
* Headers of the user's win over a backend's.
"""

from __future__ import annotations

from lambent.config import headers_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lambent.config import Config
    from lambent.exporters import Exporter
    from lambent.exporters.otlp_http import OtlpHttpExporter

__all__ = ["otlp"]

_LOCAL = "http://localhost:4318"
_LOCAL_GRPC = "http://localhost:4317"
_PATH = "/v1/traces"


def otlp(config: Config, transport: str = "") -> Exporter:
    """Return the exporter, over "http" or "grpc" where that is named and else as configured.

    Raises ValueError for settings that cannot work.
    """
    preset = config.backend
    explicit = "endpoint" in config.arguments or (
        "server_url" not in config.arguments and bool(config.endpoint or config.traces_endpoint)
    )
    grpc = transport == "grpc" or (config.protocol == "grpc" and transport != "http")
    if preset in {"", "generic"} or (explicit and not config.backend_named):
        return _exporter(config, _endpoint(config, grpc), _headers(config), grpc)
    from lambent import backends

    found = backends.PRESETS[preset]
    if explicit:
        url = _endpoint(config, grpc)
    else:
        if grpc and not found.grpc:
            from lambent.diagnostics import say_once

            say_once("protocol", f"{found.title} takes no gRPC; http/protobuf is used")
            grpc = False
        url = backends.url_of(preset, config, grpc=grpc)
    headers = {
        **_in_variable(found.more_headers, config),
        **backends.headers_of(preset, config),
        **config.headers,
    }
    lacking = backends.missing(preset, config)
    if lacking and not explicit and not any(name in config.headers for name in found.headers):
        or_argument = " (or api_key=)" if found.key in lacking else ""
        raise ValueError(f"{found.title} wants {' and '.join(lacking)}{or_argument}, which is not set")
    if not url:
        names = [text[1:-1] for text in found.urls if text.startswith("{") and text.endswith("}")]
        raise ValueError(
            f"the address of {found.title} is not known; set {names[0] if names else 'server_url='}"
        )
    return _exporter(config, url, headers, grpc, found.signed)


def _exporter(config: Config, url: str, headers: dict[str, str], grpc: bool, signed: str = "") -> Exporter:
    # Nobody asked for the collector on this machine; others' failures are worth a line.
    unasked = not (
        config.exporters
        or config.endpoint
        or config.traces_endpoint
        or config.server_url
        or config.backend not in {"", "generic"}
    )
    if grpc:
        from lambent.exporters.otlp_grpc import OtlpGrpcExporter

        return OtlpGrpcExporter(
            url,
            headers=headers,
            insecure=config.insecure,
            compression="gzip" if config.compression == "gzip" else "none",
            timeout=config.timeout,
            proxy=config.proxy or None,
            certificate=config.certificate or None,
            client_certificate=config.client_certificate or None,
            client_key=config.client_key or None,
            quiet_refused=unasked,
        )
    from lambent.exporters.otlp_http import OtlpHttpExporter  # bundled

    made: type[OtlpHttpExporter] = OtlpHttpExporter
    return made(
        url,
        headers=headers,
        protocol="http/json" if config.protocol == "http/json" else "http/protobuf",
        compression="gzip" if config.compression == "gzip" else "none",
        timeout=config.timeout,
        proxy=config.proxy or None,
        certificate=config.certificate or None,
        client_certificate=config.client_certificate or None,
        client_key=config.client_key or None,
        quiet_refused=unasked,
        sign=_signature(config, url, signed),
    )


def _signature(
    config: Config, url: str, service: str
) -> Callable[[str, str, dict[str, str], bytes, float], dict[str, str]] | None:
    """Return what signs requests to AWS: asked for by the backend, or by an address of X-Ray's own."""
    host = url.partition("://")[2].partition("/")[0].lower()
    region = config.region
    if host.startswith("xray.") and host.endswith((".amazonaws.com", ".amazonaws.com.cn")):
        service, region = "xray", host.split(".")[1]
    if not service:
        return None
    from lambent.exporters._sigv4 import Signer

    return Signer(config.variables, region, service).headers


def _endpoint(config: Config, grpc: bool) -> str:
    """Return the full URL: an argument's before a variable's, a full one before a base."""
    if grpc:
        # gRPC has a path of its own: what stands behind the host means nothing.
        if "endpoint" in config.arguments:
            return config.endpoint
        if "server_url" not in config.arguments:
            return config.traces_endpoint or config.endpoint or config.server_url or _LOCAL_GRPC
        return config.server_url
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


def _in_variable(name: str, config: Config) -> dict[str, str]:
    """Return the headers that a backend's own variable holds, without what is not of W3C baggage's form."""
    headers: dict[str, str] = {}
    for part in config.variables.get(name, "").split(","):
        try:
            headers.update(headers_in(part))
        except ValueError as error:
            from lambent.diagnostics import say_once

            say_once(f"variable {name}", f"{name}: {error}; what is not of that form is left out")
    return headers


def _headers(config: Config) -> dict[str, str]:
    """Return the headers, with the key for the server that it is meant for and for no other."""
    headers = dict(config.headers)
    to_server = _to_server(config)
    belongs = "api_key" in config.arguments if "endpoint" in config.arguments else to_server
    if config.api_key and "authorization" not in headers and belongs:
        headers["authorization"] = f"Bearer {config.api_key}"
    if not headers and to_server:
        raise ValueError("server_url wants a key; set api_key= or HH_API_KEY, or headers of your own")
    return headers


def _to_server(config: Config) -> bool:
    """Whether spans go to `server_url`, not to an endpoint."""
    if "endpoint" in config.arguments or not config.server_url:
        return False
    return "server_url" in config.arguments or not (config.endpoint or config.traces_endpoint)
