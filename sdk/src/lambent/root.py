"""The root span of an invocation that has options, its own or its tracer's. Loaded for such a one."""

from __future__ import annotations

from lambent.context import SpanContext
from lambent.span import Span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambent.context import NonRecordingSpan
    from lambent.handler import Invocation
    from lambent.tracer import Tracer

__all__ = ["canary", "start"]

_OLDER_NAMES = {
    "http.request.method": "http.method",
    "http.response.status_code": "http.status_code",
    "url.scheme": "http.scheme",
    "user_agent.original": "http.user_agent",
    "client.address": "http.client_ip",
    "server.address": "net.host.name",
    "faas.coldstart": "faas.cold_start",
}

_canary = True  # a process is cold once, however many tracers it has


def start(
    invocation: Invocation, event: object, name: str, parent: SpanContext | None, described: dict[str, object]
) -> Span | NonRecordingSpan:
    """Start the root span with what is asked for; `parent` is who called, as the event says."""
    tracer, description = invocation._tracer, invocation._description
    more = invocation._more or {}
    config = tracer.config
    if "http/dup" in config.semconv:
        _add_older_names(described)
    if config.capture in {"request", "both"}:
        from lambent.capture import payload

        described.update(payload(config, "request", event))
    described.update(more.pop("attributes", None) or {})
    above = more.pop("parent", None)
    if above is None:
        above = parent
    if config.upstream:
        from lambent.upstream import begin

        above = begin(tracer, description, above) or above
    name = more.pop("name", None) or name
    kind = more.pop("kind", None)
    ends = more.pop("end_on_exit", True)
    span = tracer.start_span(name, above, description.kind if kind is None else kind, described, **more)
    if not ends and isinstance(span, Span):
        span._end_on_exit = False
        span._recorded = -1
    if config.log_level == "debug":
        from lambent.debug import extracted

        extracted(invocation._carrier or description.carrier or {}, parent, span)
    return span


def _add_older_names(attributes: dict[str, object]) -> None:
    """Add the names that the conventions used before they were stable, beside the stable ones."""
    for stable, older in _OLDER_NAMES.items():
        if stable in attributes:
            attributes[older] = attributes[stable]
    path, query = attributes.get("url.path"), attributes.get("url.query")
    if path:
        attributes["http.target"] = f"{path}?{query}" if query else path


def canary(tracer: Tracer) -> None:
    """Make a trace of one span, the first time in a process, and say which: a trace that is easy to find."""
    global _canary  # noqa: PLW0603  # see there
    if _canary:
        _canary = False
        span = tracer.start_span("cold_start_canary", SpanContext(0, 0), attributes={"faas.coldstart": True})
        span.end()
        if isinstance(span, Span):
            from lambent.diagnostics import say

            say(f"cold_start_canary is trace {span.context.trace_id:032x}")
