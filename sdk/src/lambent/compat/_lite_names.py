"""The constants of `lambda_otel_lite`: modes, the names of variables, their defaults, kinds of triggers."""

from __future__ import annotations

from enum import Enum

from lambent.config import read
from lambent.diagnostics import say_once

__all__ = ["Defaults", "EnvVars", "ProcessorMode", "TriggerType"]


class ProcessorMode(str, Enum):  # noqa: UP042  # its text is "ProcessorMode.SYNC" in the original
    """When spans are exported."""

    SYNC = "sync"
    ASYNC = "async"
    FINALIZE = "finalize"

    @classmethod
    def from_env(cls, env_var: str, default: ProcessorMode | None = None) -> ProcessorMode | None:
        """Return the mode that a variable names, the default where it is not set. Raises ValueError."""
        word = read({}).variables.get(env_var, "").strip().lower()
        return cls(word) if word else default

    @classmethod
    def resolve(
        cls,
        config_value: ProcessorMode | None = None,
        env_var: str = "LAMBDA_EXTENSION_SPAN_PROCESSOR_MODE",
    ) -> ProcessorMode:
        """Return the variable's mode, else the one given, else `sync`. A mode that does not exist is said."""
        default = config_value or cls.SYNC
        try:
            return cls.from_env(env_var, default) or default
        except ValueError as error:
            say_once(f"variable {env_var}", f"{env_var} is ignored: {error}")
            return default


class EnvVars:
    """The variables that are read."""

    PROCESSOR_MODE = "LAMBDA_EXTENSION_SPAN_PROCESSOR_MODE"
    QUEUE_SIZE = "LAMBDA_SPAN_PROCESSOR_QUEUE_SIZE"
    COMPRESSION_LEVEL = "OTLP_STDOUT_SPAN_EXPORTER_COMPRESSION_LEVEL"
    SERVICE_NAME = "OTEL_SERVICE_NAME"
    RESOURCE_ATTRIBUTES = "OTEL_RESOURCE_ATTRIBUTES"
    OTEL_PROPAGATORS = "OTEL_PROPAGATORS"


class Defaults:
    """What holds where a variable is not set."""

    QUEUE_SIZE = 2048
    COMPRESSION_LEVEL = 6
    SERVICE_NAME = "unknown_service"
    PROCESSOR_MODE = "sync"


class TriggerType:
    """Values of `faas.trigger`; any other text will do as well."""

    DATASOURCE = "datasource"
    HTTP = "http"
    PUBSUB = "pubsub"
    TIMER = "timer"
    OTHER = "other"
