"""What lambda-otel-lite has besides its handlers: modes, names, what extractors return, its processor."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from lambent.config import read
from lambent.delivery.processors import SpanProcessor
from lambent.diagnostics import say_once

if TYPE_CHECKING:
    from lambent.span import Span

__all__ = [
    "Defaults",
    "EnvVars",
    "LambdaSpanProcessor",
    "ProcessorMode",
    "ResourceAttributes",
    "SpanAttributes",
    "TriggerType",
]


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


class ResourceAttributes:
    """What the original's resource says of its settings, where variables make them; lambent's does not."""

    PROCESSOR_MODE = "lambda_otel_lite.extension.span_processor_mode"
    QUEUE_SIZE = "lambda_otel_lite.lambda_span_processor.queue_size"
    COMPRESSION_LEVEL = "lambda_otel_lite.otlp_stdout_span_exporter.compression_level"


class TriggerType:
    """Values of `faas.trigger`; any other text will do as well."""

    DATASOURCE = "datasource"
    HTTP = "http"
    PUBSUB = "pubsub"
    TIMER = "timer"
    OTHER = "other"


class SpanAttributes:
    """What an extractor says of an event."""

    def __init__(
        self,
        trigger: str,
        attributes: dict[str, Any],
        span_name: str | None = None,
        carrier: dict[str, str] | None = None,
        kind: object = 1,
        links: list[Any] | None = None,
    ) -> None:
        self.trigger = trigger
        self.attributes = attributes
        self.span_name = span_name
        self.carrier = carrier
        self.kind = kind
        self.links = links


class LambdaSpanProcessor(SpanProcessor):
    """An exporter with a queue before it, which goes out with each flush.

    In the `span_processors` of `init_telemetry` one stands for its exporter, behind lambent's own queue.
    """

    def __init__(self, span_exporter: object, max_queue_size: int = Defaults.QUEUE_SIZE) -> None:
        self.span_exporter = span_exporter
        self.max_queue_size = max_queue_size
        self._queue: list[Span] = []
        self._exporters: Any = None
        self._closed = False

    def on_end(self, span: Span) -> None:
        """Queue a finished span; one that finds the queue full is dropped, which is said once."""
        if len(self._queue) < self.max_queue_size and not self._closed:
            self._queue.append(span)
        elif not self._closed:
            say_once("queue", f"LambdaSpanProcessor drops spans: its queue of {self.max_queue_size} is full")

    def process_spans(self) -> bool:
        """Export what is queued; return whether all of it was taken."""
        return self.force_flush()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Export what is queued, within a time; return whether all of it was taken."""
        spans, self._queue = self._queue, []
        exporters: Any = self._exporters
        if exporters is None:
            exporters = self._exporters = read({"exporters": [self.span_exporter]}).exporters
        sent = [not spans or each.export(spans, timeout_millis / 1000).ok for each in exporters]
        return all(sent) and not self._closed

    def shutdown(self) -> None:
        """Export what is queued, and close the exporter."""
        self.force_flush()
        self._closed = True
        for each in self._exporters or ():
            each.close()
