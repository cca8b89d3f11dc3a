"""What HoneyHive's tracer has for sessions, baggage and carriers, and in which forms it takes arguments."""

from __future__ import annotations

from contextlib import contextmanager
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import lambent
from lambent.config import OPTIONS
from lambent.propagation.baggage import BAGGAGE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "ContextMethods",
    "SessionConfig",
    "TracerConfig",
    "enrich_span_context",
    "extract_context_from_carrier",
    "inject_context_into_carrier",
    "named_arguments",
    "with_distributed_trace_context",
]

_IN_ORDER = ("api_key", "project", "session_name", "source", "server_url", "session_id")
"""What could be given without a name before 1.0. Later that is objects with values."""
_KNOWN = {"session_id", "ingestion_api_key", "verbose", *[name for name, *_ in OPTIONS]}


class TracerConfig:
    """Arguments for `HoneyHiveTracer(config=…)`."""

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)


class SessionConfig(TracerConfig):
    """Arguments for `HoneyHiveTracer(session_config=…)`."""


def named_arguments(positional: tuple[Any, ...], given: dict[str, Any]) -> dict[str, Any]:
    """Return all that `HoneyHiveTracer` was given by its name. What was given by itself wins over objects."""
    models: list[Any] = [given.pop(name, None) for name in ("config", "session_config", "evaluation_config")]
    for name, value in zip(_IN_ORDER, positional, strict=False):
        if value is None or isinstance(value, str):
            given.setdefault(name, value)
        else:
            models.append(value)
    for model in models:
        dump = getattr(model, "model_dump", None)
        values: Mapping[str, Any] = (
            dump() if callable(dump) else model if isinstance(model, dict) else vars(model) if model else {}
        )
        for name, value in values.items():
            if name in _KNOWN and value not in (None, False, ""):
                given.setdefault(name, value)
    return given


class ContextMethods:
    """Sessions, baggage, carriers."""

    if TYPE_CHECKING:
        config: Any
        project: str
        source: str
        api_key: str
        server_url: str
        test_mode: bool
        disable_http_tracing: bool

    @property
    def session_name(self) -> str:
        """The name of sessions: the function's, where none was given."""
        return str(self.config.session_name or self.config.function_name)

    def create_session(
        self,
        session_name: str | None = None,
        session_id: str | None = None,
        inputs: Any = None,
        metadata: Any = None,
        user_properties: Any = None,
        source: str | None = None,
        skip_api_call: bool = False,
    ) -> str:
        """Begin a session here and return its id: no request is made for it.

        What is traced from now on in this thread or task belongs to it, and the spans that are open already.
        """
        del skip_api_call
        from lambent.session import begin

        given = {
            "inputs": inputs, "metadata": metadata, "user_properties": user_properties, "source": source,
        }  # fmt: skip
        return begin(self, session_id, session_name, given)

    async def acreate_session(self, *values: Any, **more: Any) -> str:
        """Do the same; there is nothing to wait for."""
        return self.create_session(*values, **more)

    def session_start(self) -> str:
        """Begin a session with what the tracer knows of it."""
        return self.create_session()

    @contextmanager
    def with_session(
        self,
        session_name: str | None = None,
        inputs: Any = None,
        metadata: Any = None,
        user_properties: Any = None,
        source: str | None = None,
        **more: Any,
    ) -> Iterator[str]:
        """Begin a session for a block."""
        before = BAGGAGE.get()
        about: dict[str, Any] = {"inputs": inputs, "metadata": metadata, "user_properties": user_properties}
        try:
            yield self.create_session(session_name, source=source, **about, **more)
        finally:
            BAGGAGE.set(before)

    def get_baggage(self, key: str) -> str | None:
        """Return the value of a baggage entry."""
        return BAGGAGE.get().get(key)

    def set_baggage(self, key: str, value: Any) -> None:
        """Set a baggage entry, from now on."""
        if key and value is not None:
            BAGGAGE.set({**BAGGAGE.get(), key: str(value)})

    def inject_context(self, carrier: dict[str, str]) -> None:
        """Write the current context into a mapping such as HTTP headers."""
        lambent.inject(carrier)

    def extract_context(self, carrier: Any) -> Any:
        """Return the context that a carrier holds, as OpenTelemetry's API has it."""
        return extract_context_from_carrier(carrier)

    def shutdown(self) -> None:
        """Deliver what is finished and let go of everything."""
        self.close()  # type: ignore[attr-defined]  # a tracer has it


for _name in ("project", "source", "api_key", "server_url", "test_mode", "disable_http_tracing"):
    # What a tracer was made with.
    setattr(ContextMethods, _name, property(attrgetter(f"config.{_name}")))


def inject_context_into_carrier(carrier: dict[str, str], tracer: Any = None) -> None:
    """Write the current context into a mapping such as HTTP headers."""
    del tracer
    lambent.inject(carrier)


def extract_context_from_carrier(carrier: Any, tracer: Any = None) -> Any:
    """Return the context that a carrier holds, as OpenTelemetry's API has it."""
    del tracer
    from opentelemetry.propagate import extract

    return extract(carrier)


@contextmanager
def with_distributed_trace_context(
    carrier: Any, tracer: Any = None, *, session_id: str | None = None
) -> Iterator[Any]:
    """Make the context that a carrier holds current for a block."""
    from opentelemetry.context import attach, detach

    context = extract_context_from_carrier(carrier)
    token = attach(context)
    try:
        if session_id and tracer is not None:
            tracer.create_session(session_id=session_id, skip_api_call=True)
        yield context
    finally:
        detach(token)


def enrich_span_context(event_name: str, **values: Any) -> Any:
    """Return a block with a span of its own."""
    from lambent.compat.honeyhive import enrich_span

    return enrich_span(event_name=event_name, **values)
