"""What the backends want of an OTLP exporter, as data: address, headers, resource attributes.

Rules of a template: `{NAME}` is an environment variable, `{name}` an option of ours or a name of
`_Values`, `{NAME|text}` has a default, `{?NAME}` stands for nothing and only asks whether NAME is
set. A template with a gap is left out. A header that begins with "Basic " is encoded as RFC 7617
asks. Loaded when a backend is chosen; touches nothing but what it is handed.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from lambent.config import Config

__all__ = ["PRESETS", "Preset", "attributes_of", "canonical", "headers_of", "missing", "url_of"]


class Preset:
    """One backend.

    `urls` are templates of base URLs, the first without a gap counts; `path` is added to it. `key` is
    the variable that `api_key` stands for; `needs` are those without which nothing can be sent. `signed`
    names the AWS service of a signature (SigV4). `grpc` says whether OTLP/gRPC is spoken there, `grpc_url`
    what stands in the place of the last URL then. `more_headers` is a variable that holds further headers.
    `regions` gives the part of the address that follows from the AWS region.
    """

    __slots__ = (
        "attributes",
        "grpc",
        "grpc_url",
        "headers",
        "key",
        "more_headers",
        "needs",
        "path",
        "regions",
        "signed",
        "title",
        "urls",
    )

    def __init__(
        self,
        title: str,
        urls: tuple[str, ...],
        *,
        path: str = "/v1/traces",
        key: str = "",
        needs: tuple[str, ...] | None = None,
        headers: Mapping[str, str] | None = None,
        more_headers: str = "",
        attributes: Mapping[str, object] | None = None,
        regions: Mapping[str, str] | None = None,
        signed: str = "",
        grpc: bool = False,
        grpc_url: str = "",
    ) -> None:
        self.title = title
        self.urls = urls
        self.path = path
        self.key = key
        self.needs = needs if needs is not None else (key,) if key else ()
        self.headers = headers or {}
        self.more_headers = more_headers
        self.attributes = attributes or {}
        self.regions = regions or {}
        self.signed = signed
        self.grpc = grpc
        self.grpc_url = grpc_url


_PROJECT = {"project": "{project}", "source": "{source}", "session_name": "{session_name}"}

PRESETS: dict[str, Preset] = {
    "honeyhive": Preset(
        "HoneyHive",
        ("{HH_API_URL}", "https://api.honeyhive.ai"),
        path="/opentelemetry/v1/traces",
        key="HH_API_KEY",
        headers={"authorization": "Bearer {HH_API_KEY}"},
        attributes={
            **{f"honeyhive.{name}": value for name, value in _PROJECT.items()},
            "honeyhive.session_id": "{HH_SESSION_ID}",
            "honeyhive.session_auto_create": True,
        },
    ),
    "coralogix": Preset(
        "Coralogix",
        (
            "{CORALOGIX_OTLP_ENDPOINT}",
            "https://ingress.{CORALOGIX_DOMAIN}",
            "https://ingress.{cluster}.coralogix.com",
        ),
        key="CORALOGIX_API_KEY",
        headers={"authorization": "Bearer {CORALOGIX_API_KEY}"},
        attributes={
            "cx.application.name": "{CX_APPLICATION}",
            "cx.subsystem.name": "{CX_SUBSYSTEM}",
            "service.name": "{SERVICE_NAME}",
        },
        regions={
            "us-east-2": "us1",
            "us-west-2": "us2",
            "eu-west-1": "eu1",
            "eu-north-1": "eu2",
            "ap-south-1": "ap1",
            "ap-southeast-1": "ap2",
            "ap-southeast-3": "ap3",
        },
        grpc=True,
    ),
    "cloudwatch": Preset(
        "CloudWatch / X-Ray",
        ("{AWS_ENDPOINT_URL_XRAY}", "https://xray.{region}.{suffix}"),
        needs=("AWS_REGION",),
        signed="xray",
    ),
    "datadog": Preset(
        "Datadog",
        (
            "http://{DD_OTLP_CONFIG_RECEIVER_PROTOCOLS_HTTP_ENDPOINT}",
            "{?DD_API_KEY}https://otlp.{DD_SITE|datadoghq.com}",
            "http://localhost:4318",
        ),
        key="DD_API_KEY",
        needs=(),
        headers={"dd-api-key": "{DD_API_KEY}"},
        attributes={
            "service.name": "{DD_SERVICE}",
            "deployment.environment.name": "{DD_ENV}",
            "service.version": "{DD_VERSION}",
        },
    ),
    "newrelic": Preset(
        "New Relic",
        (
            "{NEW_RELIC_OTLP_ENDPOINT}",
            "{?european_key}https://otlp.eu01.nr-data.net",
            "https://otlp.nr-data.net",
        ),
        key="NEW_RELIC_LICENSE_KEY",
        headers={"api-key": "{NEW_RELIC_LICENSE_KEY}"},
        grpc=True,
    ),
    "honeycomb": Preset(
        "Honeycomb",
        ("{HONEYCOMB_API_ENDPOINT}", "https://api.honeycomb.io"),
        key="HONEYCOMB_API_KEY",
        headers={"x-honeycomb-team": "{HONEYCOMB_API_KEY}", "x-honeycomb-dataset": "{HONEYCOMB_DATASET}"},
        grpc=True,
    ),
    "grafana": Preset(
        "Grafana Cloud",
        ("{GRAFANA_CLOUD_OTLP_ENDPOINT}", "https://otlp-gateway-{GRAFANA_CLOUD_ZONE}.grafana.net/otlp"),
        key="GRAFANA_CLOUD_API_KEY",
        needs=("GRAFANA_CLOUD_API_KEY", "GRAFANA_CLOUD_INSTANCE_ID"),
        headers={"authorization": "Basic {GRAFANA_CLOUD_INSTANCE_ID}:{GRAFANA_CLOUD_API_KEY}"},
    ),
    "phoenix": Preset(
        "Phoenix (Arize)",
        ("{PHOENIX_COLLECTOR_ENDPOINT}", "http://localhost:6006"),
        key="PHOENIX_API_KEY",
        needs=(),
        headers={"authorization": "Bearer {PHOENIX_API_KEY}"},
        more_headers="PHOENIX_CLIENT_HEADERS",
        attributes={"openinference.project.name": "{PHOENIX_PROJECT|{PHOENIX_PROJECT_NAME|{project}}}"},
        grpc=True,
        grpc_url="http://localhost:{PHOENIX_GRPC_PORT|4317}",
    ),
    "langfuse": Preset(
        "Langfuse",
        ("{LANGFUSE_BASE_URL}", "{LANGFUSE_HOST}", "https://cloud.langfuse.com"),
        path="/api/public/otel/v1/traces",
        key="LANGFUSE_SECRET_KEY",
        needs=("LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY"),
        headers={
            "authorization": "Basic {LANGFUSE_PUBLIC_KEY}:{LANGFUSE_SECRET_KEY}",
            "x-langfuse-ingestion-version": "4",  # without it traces are shown ten minutes later
        },
        attributes={
            "langfuse.environment": "{LANGFUSE_TRACING_ENVIRONMENT}",
            "langfuse.release": "{LANGFUSE_RELEASE}",
        },
    ),
}
"""The presets by name."""

_ALIASES = {"xray": "cloudwatch", "arize": "phoenix", "none": "generic", "otlp": "generic"}


def canonical(name: str) -> str:
    """Return the name of a preset, or "generic". Raises ValueError, naming the nearest one."""
    word = name.lower().replace("-", "").replace("_", "").replace(" ", "")
    word = _ALIASES.get(word, word)
    if word in PRESETS or word == "generic":
        return word
    from difflib import get_close_matches

    known = (*PRESETS, "xray", "generic")
    near = get_close_matches(word, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? It is" if near else "it is"
    raise ValueError(f"there is no backend {name[:40]!r}; {hint} one of {', '.join(known)}")


class _Values:
    """What a preset's templates may name."""

    def __init__(self, preset: Preset, config: Config) -> None:
        self._preset = preset
        self._config = config
        self._environ = config.variables

    def get(self, name: str) -> str:
        """Return the value, "" for none."""
        if name == self._preset.key:
            return self._key()
        if name == "AWS_REGION":
            name = "region"
        if name == "session_name":
            return self._config.session_name or self._config.function_name
        if name in {"region", "project", "source"}:
            return str(getattr(self._config, name))
        if name == "cluster":
            named = self._environ.get("CORALOGIX_REGION", "").strip().lower()
            return named or self._preset.regions.get(self._config.region, "")
        if name == "suffix":
            return f"amazonaws.com{'.cn' if self._config.region.startswith('cn-') else ''}"
        if name == "european_key":
            return "yes" if self._key().startswith("eu") else ""
        return self._environ.get(name, "").strip()

    def _key(self) -> str:
        if "api_key" in self._config.arguments:
            return self._config.api_key
        return (
            self._environ.get(self._preset.key, "").strip()
            or self._environ.get("LAMBENT_API_KEY", "").strip()
        )

    def fill(self, template: str) -> str:
        """Return the text that a template stands for, "" when it has a gap."""
        parts = []
        while template:
            before, brace, rest = template.partition("{")
            parts.append(before)
            if not brace:
                break
            name, template = _inner(rest)
            name, bar, default = name.partition("|")
            asked = name.startswith("?")
            value = self.get(name.removeprefix("?")) or (self.fill(default) if bar else "")
            if not value:
                return ""
            parts.append("" if asked else value)
        return "".join(parts)


def _inner(rest: str) -> tuple[str, str]:
    """Return what stands before the brace that closes, and what after it; defaults may have braces."""
    depth = 1
    for position, letter in enumerate(rest):
        depth += (letter == "{") - (letter == "}")
        if not depth:
            return rest[:position], rest[position + 1 :]
    raise ValueError("a template has a brace that is not closed")


def missing(name: str, config: Config) -> list[str]:
    """Return the variables that the backend cannot do without and that are not set."""
    preset = PRESETS[name]
    values = _Values(preset, config)
    return [variable for variable in preset.needs if not values.get(variable)]


def url_of(name: str, config: Config, *, grpc: bool = False) -> str:
    """Return the URL to post to, "" when it is not known; for gRPC, the base URL.

    `server_url` replaces the backend's own address. An address without a scheme means https, except
    on this machine.
    """
    preset = PRESETS[name]
    values = _Values(preset, config)
    own = (
        config.server_url
        if "server_url" in config.arguments
        else config.variables.get("LAMBENT_SERVER_URL", "")
    )
    base = own.strip()
    urls = (*preset.urls[:-1], preset.grpc_url) if grpc and preset.grpc_url else preset.urls
    for template in urls:
        base = base or values.fill(template)
    if not base:
        return ""
    if "://" not in base:
        host = base.partition("/")[0].rpartition(":")[0] or base
        plain = host in {"localhost", "[::1]"} or host.startswith("127.")
        base = f"http{'' if plain else 's'}://{base}"
    base = base.rstrip("/")
    return base if grpc or base.endswith("/v1/traces") else base + preset.path


def headers_of(name: str, config: Config) -> dict[str, str]:
    """Return the headers that the backend wants, without those whose variables are not set."""
    preset = PRESETS[name]
    values = _Values(preset, config)
    headers = {}
    for header, template in preset.headers.items():
        value = values.fill(template)
        if value.startswith("Basic "):
            from binascii import b2a_base64

            value = f"Basic {b2a_base64(value[6:].encode(), newline=False).decode()}"
        if value:
            headers[header] = value
    return headers


def attributes_of(name: str, config: Config) -> dict[str, object]:
    """Return the resource attributes by which the backend sorts what it gets."""
    preset = PRESETS.get(name)
    if preset is None:
        return {}
    values = _Values(preset, config)
    found = {
        attribute: values.fill(template) if isinstance(template, str) else template
        for attribute, template in preset.attributes.items()
    }
    return {attribute: value for attribute, value in found.items() if value}
