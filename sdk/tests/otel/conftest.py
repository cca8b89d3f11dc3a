"""What the tests of the bridge share: an API that nobody has set up, and a tracer that serves it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import context as api_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.util._once import Once

import lambent
from lambent.exporters.memory import MemoryExporter
from lambent.otel import join, runtime

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An API without a provider; afterwards its context is as it was."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())
    monkeypatch.setattr(join, "_joined", [])
    monkeypatch.setattr(runtime, "leave_http", False)
    monkeypatch.setattr(runtime, "feeds", False)
    token = api_context.attach(Context())
    yield
    assert trace.get_current_span() is trace.INVALID_SPAN
    assert lambent.current_span() is None
    api_context.detach(token)


@pytest.fixture
def exporter() -> MemoryExporter:
    return MemoryExporter()


@pytest.fixture
def tracer(exporter: MemoryExporter, api: None) -> Iterator[Any]:
    """The default tracer."""
    tracer = lambent.init(exporter=exporter, service_name="bridged")
    yield tracer
    tracer.close()
