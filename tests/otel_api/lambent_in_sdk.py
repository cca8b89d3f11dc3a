"""A pytest plugin for opentelemetry-sdk's trace tests: what they take for the SDK's provider is lambent's.

Constructors are translated; everything that is called on what they return is lambent's own.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import opentelemetry.sdk.trace as sdk
import pytest
from opentelemetry import trace

import lambent
from lambent.context import SpanContext, TraceState, adopt
from lambent.exporters.memory import MemoryExporter
from lambent.otel.provider import ApiSpan, ApiTracer, Provider, api_context
from lambent.sampling import Decision
from lambent.span import Span

__all__ = ["pytest_runtest_logreport", "pytest_runtest_setup", "pytest_sessionfinish"]

_under_it = import_module("lambent_in_api")  # the same API; it stands beside this module, which is no package
pytest_runtest_logreport = _under_it.pytest_runtest_logreport
pytest_sessionfinish = _under_it.pytest_sessionfinish

_LIMITS = {
    "attributes": "max_span_attributes",
    "events": "max_events",
    "links": "max_links",
    "event_attributes": "max_event_attributes",
    "link_attributes": "max_link_attributes",
    "attribute_length": "max_attribute_length",
    "span_attribute_length": "max_span_attribute_length",
}


class _Sampler:
    """A sampler of the SDK's as one of lambent's."""

    def __init__(self, sampler: Any) -> None:
        self._sampler = sampler

    def should_sample(
        self, parent: SpanContext | None, trace_id: int, name: str, kind: int, attributes: Any, links: Any
    ) -> Decision:
        span = trace.INVALID_SPAN if parent is None else trace.NonRecordingSpan(api_context(parent))
        result = self._sampler.should_sample(
            trace.set_span_in_context(span), trace_id, name, trace.SpanKind(int(kind)), attributes, links
        )
        added = {
            key: value for key, value in (result.attributes or {}).items() if key not in (attributes or {})
        }
        return Decision(result.decision.is_sampled(), added, TraceState(result.trace_state or {}))


class TracerProvider(Provider):
    """Takes what the SDK's takes."""

    def __init__(
        self,
        sampler: Any = None,
        resource: Any = None,
        shutdown_on_exit: bool = True,
        active_span_processor: Any = None,
        id_generator: Any = None,
        span_limits: Any = None,
    ) -> None:
        arguments: dict[str, Any] = {}
        if sampler is not None:
            arguments["sampler"] = _Sampler(sampler)
        if resource is not None:
            arguments["resource"] = resource
        if span_limits is not None:
            arguments["limits"] = {ours: getattr(span_limits, theirs) for ours, theirs in _LIMITS.items()}
        super().__init__(lambent.init(exporter=MemoryExporter(), **arguments))
        if active_span_processor is not None:
            self.add_span_processor(active_span_processor)


class _Span(ApiSpan):
    """A span that a test makes without a tracer."""

    def __init__(
        self,
        name: str,
        context: Any,
        parent: Any = None,
        sampler: Any = None,
        trace_config: Any = None,
        resource: Any = None,
        attributes: Any = None,
        events: Any = None,
        links: Any = (),
        kind: Any = trace.SpanKind.INTERNAL,
        span_processor: Any = None,
        **more: Any,
    ) -> None:
        self._api_context = context
        provider = TracerProvider(resource=resource, active_span_processor=span_processor)
        tracer = provider.get_tracer("made by hand")
        ids = context.trace_id, context.span_id
        Span.__init__(self, tracer, name, *ids, parent and adopt(parent), kind.value, 0)
        if attributes:
            self.set_attributes(attributes)
        self._add_links(links)

    def start(self, start_time: int | None = None, parent_context: Any = None) -> None:
        """Start it, once."""
        if not self.start_time:
            self.start_time = start_time or self._tracer.clock()
            if self._tracer.on_start is not None:
                self._tracer.on_start(self, parent_context)


def _put_in_place() -> None:
    module: Any = sdk
    module.TracerProvider = TracerProvider
    module.Tracer = ApiTracer
    module.Span, module._Span = ApiSpan, _Span


_put_in_place()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Undo what a test's `reload` of the SDK has brought back."""
    _put_in_place()
