"""A span for the time between an event's origin and its invocation: in a queue, a stream, a gateway.

It is made of what the event says, so it is marked as inferred, and has a service name of its own. The
machine that stamped the event has another clock: what began after its end began at its end.
"""

from __future__ import annotations

from lambent.resource import Resource
from lambent.tracer import Tracer
from lambent.triggers.parts import seconds, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambent.context import AnySpan
    from lambent.triggers import Description

__all__ = ["begin"]

_SOURCES = frozenset(
    {"apigateway.rest", "apigateway.http", "apigateway.websocket", "lambda.url", "vpclattice.v2", "sqs",
     "sns", "eventbridge", "kinesis", "dynamodb", "s3", "msk", "kafka", "firehose", "activemq"}
)  # fmt: skip
_SERVICES = (
    "server.address", "messaging.destination.name", "aws.s3.bucket", "faas.document.collection",
    "cloudevents.event_source",
)  # fmt: skip
_OWN = ("faas.", "service.", "cloud.platform", "cloud.resource_id", "process.", "host.")
_LONGEST_S = 31 * 86_400
"""Nothing waits longer (SQS keeps messages for 14 days); an older stamp is a replay's, or a test's."""

_resources: dict[tuple[Resource, str], Resource] = {}


def begin(tracer: Tracer, description: Description, parent: object) -> AnySpan | None:
    """Make the span, and return it: the parent of the invocation's. None where the event says too little."""
    if description.source not in _SOURCES:
        return None
    now = tracer.clock()
    stamps = [seconds(description.sent), *[each.sent for each in description.records]]
    stamp = min(filter(None, stamps), default=0.0)
    if not stamp or now / 1e9 - stamp > _LONGEST_S:
        return None
    attributes = description.attributes
    service = next((text(attributes[name]) for name in _SERVICES if attributes.get(name)), "")
    is_request = description.trigger == "http"
    view = _view(tracer, service or description.source)
    span = view.start_span(
        (description.name if is_request else f"{description.source} {service}").strip(),
        parent,
        1 if is_request else 3,
        {**attributes, "lambent.inferred": True},
        start_time=min(round(stamp * 1e9), now),
    )
    span.end(now)
    return span


def _view(tracer: Tracer, service: str) -> Tracer:
    """Return the tracer as if it were that service's: all is the same but the resource."""
    resource, scope = tracer.resource, tracer.scope
    key = resource, service
    if key not in _resources:
        if len(_resources) > 63:
            _resources.clear()
        kept = {name: value for name, value in resource.attributes.items() if not name.startswith(_OWN)}
        _resources[key] = Resource({**kept, "service.name": service}, resource.schema_url)
    view = object.__new__(Tracer)
    view.__dict__.update(tracer.__dict__)
    view._identity = _resources[key], scope
    return view
