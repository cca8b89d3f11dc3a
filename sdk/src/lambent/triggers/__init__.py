"""What an event says of who called: one module for each family of event sources.

A trigger is a pure function of the event. `recognise` decides by what defines a kind of event,
with a few dictionary look-ups, and loads the module of that kind when the first such event comes.
No value in an event is trusted to be of its type, and nothing in it is changed.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lambent.triggers.parts import Record

    Reader = Callable[[object], "Mapping[str, object] | None"]

__all__ = ["CONTEXT", "OBJECT_LAMBDA", "RARE", "UNKNOWN", "Description", "recognise", "record", "records"]

CONTEXT = frozenset(
    {"traceparent", "tracestate", "baggage", "x-amzn-trace-id", "b3", "x-b3-traceid", "x-b3-spanid",
     "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags"}
)  # fmt: skip
"""The names that are taken for context where a carrier is mixed with a payload."""

_TELLING = CONTEXT.union(("headers", "metadata", "_trace", "_context"))


class Description:
    """What the root span of an invocation says because of its event.

    `source` names the kind of event, `trigger` is `faas.trigger`, `kind` OpenTelemetry's span kind.
    `carrier` holds what may carry the context of the one caller, names in lower case; `records`
    are the messages of a batch, each with a carrier of its own. `read_response` returns what a
    response says of the outcome, as attributes; an `error.type` among them makes it a failure.
    `sent` is when the event came to be, as it says itself: `seconds` reads it. `origin` is what a message
    wraps ("s3", "sns", "eventbridge"), and "" where it wraps nothing.
    """

    __slots__ = (
        "attributes",
        "carrier",
        "kind",
        "name",
        "origin",
        "read_response",
        "records",
        "sent",
        "source",
        "trigger",
    )

    def __init__(
        self,
        trigger: str,
        name: str = "",
        attributes: dict[str, object] | None = None,
        carrier: Mapping[str, str] | None = None,
        read_response: Reader | None = None,
        *,
        source: str = "",
        origin: str = "",
        kind: int = 1,
        records: Sequence[Record] = (),
        sent: object = None,
    ) -> None:
        self.source = source
        self.origin = origin
        self.trigger = trigger
        self.name = name
        self.kind = kind
        self.attributes = attributes or {}
        self.carrier = carrier or {}
        self.records = records
        self.read_response = read_response
        self.sent = sent

    @property
    def carriers(self) -> list[Mapping[str, str]]:
        """All that may carry context: of the one caller, of each message."""
        return [each for each in (self.carrier, *[record.carrier for record in self.records]) if each]


RARE = frozenset(
    {"eventSource", "records", "getObjectContext", "tasks", "info", "fieldName", "methodArn", "raw_path",
     "actionGroup", "httpMethod", "awslogs", "triggerSource", "identityPoolId", "alarmData", "widgetContext",
     "LogicalResourceId", "CodePipeline.job", "LifecycleEventHookExecutionId", "invokingEvent", "SecretId",
     "bot", "Details", "request", "directive", "header", "protocolData", "templateArn", "eventType",
     "clickType", "deviceEvent", "flowDirection", "labelingJobArn", "applicationArn", "serverId",
     "AutoScalingGroupARN", "requestPayload", "Cause", "Execution"}
)  # fmt: skip
"""A key of each event that `rare` knows, but for those with a state machine's context somewhere inside."""

OBJECT_LAMBDA = {
    "getObjectContext": "GetObject", "headObjectContext": "HeadObject",
    "listObjectsContext": "ListObjects", "listObjectsV2Context": "ListObjectsV2",
}  # fmt: skip
"""The requests that S3 Object Lambda hands to a function, by the key that each defines."""

_RECORDS = {
    "aws:sqs": "messaging", "aws:sns": "messaging", "aws:kinesis": "messaging", "aws:s3": "data",
    "aws:kafka": "brokers", "aws:SelfManagedKafka": "brokers", "aws:amq": "brokers", "aws:rmq": "brokers",
    "aws:dynamodb": "data", "aws:ses": "services", "aws:codecommit": "services",
}  # fmt: skip


UNKNOWN = Description("other")
"""An event of which nothing is known, not even who sent it."""

_DEFINING = RARE.union(("requestContext", "Records", "detail-type"))
_meaningless: set[str] = set()
"""Names that have come in events of which nothing is known: what has no others need not be looked through."""
_MOST_MEANINGLESS = 512


def recognise(event: object, context: object = None) -> Description:
    """Return what is known of this event: of an unknown one, that its trigger is "other"."""
    found: Description | None = None
    if type(event) is dict and _meaningless.issuperset(event) and dict not in map(type, event.values()):
        # The same way as below, without the questions that are answered already.
        take = getattr(context, "w3c", None)
        if getattr(context, "client_context", None) is None and not (callable(take) and take()):
            return UNKNOWN
        return _direct(event, context)
    if isinstance(event, dict):
        request = event.get("requestContext")
        if isinstance(request, dict):
            from lambent.triggers import http

            inner = request.get("http")
            if isinstance(inner, dict) and "method" in inner and "routeArn" not in event:
                return http.describe_v2(event, request, inner)
            found = http.describe(event, request)
            if found is None and "requestPayload" in event:
                from lambent.triggers.rare import find

                found = find(event)
        elif isinstance(event.get("Records"), list):
            found = _of_records(event["Records"])
        elif "detail-type" in event and "source" in event:
            from lambent.triggers.messaging import describe_event

            return describe_event(event)
        elif dict in map(type, event.values()) or not RARE.isdisjoint(event):
            from lambent.triggers.rare import find

            found = find(event)
    elif isinstance(event, list) and event and isinstance(event[0], dict):
        # A pipe hands on records without their `Records`.
        found = _of_records(event)
        if found is None and "info" in event[0]:
            from lambent.triggers.http import describe_field

            found = describe_field(event)
    else:
        wrapped = getattr(event, "raw_event", None)  # the data classes of Powertools
        if isinstance(wrapped, dict):
            return recognise(wrapped, context)
    if found is not None:
        return found
    return _direct(event, context)


def _direct(event: object, context: object) -> Description:
    """Describe what nobody known sent: its caller may have given a client context, or headers."""
    client = getattr(context, "client_context", None)
    # Newer runtime clients take the context out of the client context.
    take = getattr(context, "w3c", None)
    taken = take() if callable(take) else None
    telling = False
    if isinstance(event, dict):
        for name in event:
            if type(name) is str and name.lower() in _TELLING:
                telling = True
    if client is None and not taken and not telling:
        if isinstance(event, dict) and len(_meaningless) < _MOST_MEANINGLESS:
            _meaningless.update([name for name in event if type(name) is str and name not in _DEFINING])
        return UNKNOWN
    from lambent.triggers.parts import carrier_in, headers

    carrier = headers(client.get("custom") if isinstance(client, dict) else getattr(client, "custom", None))
    if not carrier:
        carrier = headers(taken)
    if carrier:
        return Description("other", carrier=carrier, source="direct")
    if isinstance(event, dict) and telling:
        carrier = carrier_in(event) or headers(event.get("headers"))
    return Description("other", carrier=carrier) if carrier else UNKNOWN


def _of_records(batch: list[object]) -> Description | None:
    first = batch[0] if batch else None
    if not isinstance(first, dict):
        return None
    source = first.get("eventSource") or first.get("EventSource")
    room = _RECORDS.get(source) if isinstance(source, str) else None
    if room == "messaging":
        from lambent.triggers.messaging import describe_records

        return describe_records(str(source), batch)
    if room == "brokers":
        from lambent.triggers.brokers import describe_list

        return describe_list(str(source), batch)
    if room == "data":
        from lambent.triggers.data import describe_changes, describe_objects

        return describe_objects(batch) if source == "aws:s3" else describe_changes(batch)
    if room is not None:
        from lambent.triggers.services import RECORDS, describe_record

        return describe_record(RECORDS[str(source)], first)
    if "cf" in first:
        from lambent.triggers.http import describe_edge

        return describe_edge(first)
    return None


def records(event: object) -> Sequence[Record]:
    """Return the messages of a batch, none for other events."""
    return recognise(event).records


def record(raw: object) -> Record | None:
    """Return what is known of one message, as it stands in a batch; None for what is no message."""
    found = recognise({"Records": [raw]}).records
    if found or not isinstance(raw, dict):
        return found[0] if found else None
    from lambent.triggers.brokers import one_record

    return one_record(raw)
