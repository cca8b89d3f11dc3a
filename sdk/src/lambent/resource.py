"""Who makes the spans: the function, its service, its place in the cloud, and the library."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from lambent.config import Config

__all__ = ["InstrumentationScope", "Resource", "detect"]


class Resource:
    """The attributes that all spans of a tracer share. Not changed after it is made."""

    __slots__ = ("attributes", "encoded", "schema_url")

    def __init__(self, attributes: Mapping[str, object], schema_url: str = "") -> None:
        self.attributes = dict(attributes)
        self.schema_url = schema_url
        self.encoded: bytes | None = None  # filled by the encoder, once


class InstrumentationScope:
    """The library that makes spans: name, version and what else it says of itself."""

    __slots__ = ("attributes", "encoded", "name", "schema_url", "version")

    def __init__(
        self,
        name: str,
        version: str = "",
        schema_url: str = "",
        attributes: Mapping[str, object] | None = None,
    ) -> None:
        self.name = name
        self.version = version
        self.schema_url = schema_url
        self.attributes = dict(attributes or {})
        self.encoded: bytes | None = None  # filled by the encoder, once


def detect(config: Config, version: str) -> Resource:
    """Return the resource that a configuration describes.

    In a Lambda environment the `cloud.*` and `faas.*` attributes of OpenTelemetry's semantic
    conventions ("AWS Lambda", `faas.max_memory` in bytes). The service name is the first of: the
    argument or `OTEL_SERVICE_NAME`, `service.name` among the resource attributes, the backend's own
    variable for it, the function's name.
    Attributes given as an argument win over those of the environment, and both over the detected.
    """
    attributes: dict[str, object] = {
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "lambent",
        "telemetry.sdk.version": version,
    }
    if config.function_name:
        attributes["cloud.provider"] = "aws"
        attributes["cloud.platform"] = "aws_lambda"
        if config.region:
            attributes["cloud.region"] = config.region
        attributes["faas.name"] = config.function_name
        if config.function_version:
            attributes["faas.version"] = config.function_version
        if config.log_stream:
            attributes["faas.instance"] = config.log_stream
        if config.memory_mb:
            attributes["faas.max_memory"] = config.memory_mb * 1024 * 1024
    if config.project:
        attributes["lambent.project"] = config.project
    if config.source:
        attributes["lambent.source"] = config.source
    if config.session_name:
        attributes["lambent.session_name"] = config.session_name
    if config.backend:
        from lambent.backends import attributes_of

        attributes.update(attributes_of(config.backend, config))
    attributes.update(config.resource_attributes)
    if config.service_name:
        attributes["service.name"] = config.service_name
    elif "service.name" not in attributes:
        attributes["service.name"] = config.function_name or "unknown_service:python"
    return Resource(attributes)
