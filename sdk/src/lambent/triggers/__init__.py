"""What an event says of who called: one module for each family of event sources.

A trigger is a pure function of the event. `recognise` decides by what defines a kind of event,
with a few dictionary look-ups, and loads the module of that kind when the first such event comes.
No value in an event is trusted to be of its type, and nothing in it is changed.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Reader = Callable[[object], "Mapping[str, object] | None"]

__all__ = [
    "CONTEXT",
    "Description",
    "Record",
    "carrier_in",
    "headers",
    "last",
    "put",
    "recognise",
    "record",
    "records",
    "seconds",
    "text",
]

CONTEXT = frozenset(
    {"traceparent", "tracestate", "baggage", "x-amzn-trace-id", "b3", "x-b3-traceid", "x-b3-spanid",
     "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags"}
)  # fmt: skip
"""The names that are taken for context where a carrier is mixed with a payload."""

_PLACES = ("headers", "metadata", "_trace", "_context")
_TELLING = CONTEXT.union(_PLACES)


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


class Record:
    """One message of a batch. All but `raw`, `carrier` and `shared` is read when it is first asked for.

    `raw` is the message as the event has it; `carrier` may hold its sender's context, names in lower
    case; `id` is what `batchItemFailures` calls it, "" where that cannot name it; `group` is its FIFO
    queue's message group or its shard, "" where order does not matter; `sent` is the time when it was
    sent in seconds since the epoch, 0 if unknown; `attributes` and `name` are for its own span.
    """

    __slots__ = ("_read", "attributes", "carrier", "group", "id", "name", "raw", "sent", "shared")

    attributes: dict[str, object]
    group: str
    id: object
    name: str
    sent: float

    def __init__(
        self,
        raw: Mapping[str, object],
        carrier: Mapping[str, str],
        read: Callable[[Record], None],
        shared: Mapping[str, object],
    ) -> None:
        self.raw = raw
        self.carrier = carrier
        self.shared = shared
        self._read = read

    def __getattr__(self, name: str) -> object:
        if name not in ("attributes", "group", "id", "name", "sent"):
            raise AttributeError(f"a record has no attribute {name!r}")
        self.group, self.id, self.sent, self.name, self.attributes = "", "", 0.0, "", {}
        self._read(self)
        return getattr(self, name)


RARE = frozenset(
    {"eventSource", "records", "getObjectContext", "tasks", "info", "fieldName", "methodArn", "raw_path",
     "actionGroup", "awslogs", "triggerSource", "identityPoolId", "alarmData", "widgetContext",
     "LogicalResourceId", "CodePipeline.job", "LifecycleEventHookExecutionId", "invokingEvent", "SecretId",
     "bot", "Details", "request", "directive", "header", "protocolData", "templateArn", "eventType",
     "clickType", "deviceEvent", "flowDirection", "labelingJobArn", "applicationArn", "serverId",
     "AutoScalingGroupARN", "requestPayload", "Cause", "Execution"}
)  # fmt: skip
"""A key of each event that `rare` knows, but for those with a state machine's context somewhere inside."""

_RECORDS = {
    "aws:sqs": "messaging", "aws:sns": "messaging", "aws:kinesis": "messaging", "aws:s3": "data",
    "aws:dynamodb": "data", "aws:ses": "services", "aws:codecommit": "services",
}  # fmt: skip


def recognise(event: object, context: object = None) -> Description:
    """Return what is known of this event: of an unknown one, that its trigger is "other"."""
    found: Description | None = None
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
    if found is not None:
        return found
    return _direct(event, context)


def _direct(event: object, context: object) -> Description:
    """Describe what nobody known sent: its caller may have given a client context, or headers."""
    client = getattr(context, "client_context", None)
    carrier: dict[str, str] = {}
    if client is not None:
        carrier = headers(
            client.get("custom") if isinstance(client, dict) else getattr(client, "custom", None)
        )
    if not carrier and callable(getattr(context, "w3c", None)):
        # Newer runtime clients take the context out of the client context.
        carrier = headers(context.w3c())  # type: ignore[attr-defined]  # it is there
    if carrier:
        return Description("other", carrier=carrier, source="direct")
    if isinstance(event, dict):
        for name in event:
            if type(name) is str and name.lower() in _TELLING:
                carrier = carrier_in(event) or headers(event.get("headers"))
                break
    return Description("other", carrier=carrier) if carrier else _UNKNOWN


_UNKNOWN = Description("other")


def _of_records(batch: list[object]) -> Description | None:
    first = batch[0] if batch else None
    if not isinstance(first, dict):
        return None
    source = first.get("eventSource") or first.get("EventSource")
    room = _RECORDS.get(source) if isinstance(source, str) else None
    if room == "messaging":
        from lambent.triggers.messaging import describe_records

        return describe_records(str(source), batch)
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


def text(value: object) -> str:
    """Return the value if it is text, else ""."""
    return value if isinstance(value, str) else ""


def last(arn: str) -> str:
    """Return the last part of an ARN, the name of a queue, a topic or a stream."""
    return arn.rpartition(":")[2].rpartition("/")[2]


def put(attributes: dict[str, object], key: str, value: object) -> None:
    """Set an attribute to a value that is plain and says something."""
    if type(value) is str:
        if value:
            attributes[key] = value
    elif isinstance(value, (int, str)):
        attributes[key] = value


def seconds(value: object) -> float:
    """Return a time in seconds since the epoch, 0 for what is none.

    AWS gives it in seconds, milliseconds or microseconds, as a number or its text, or in ISO 8601.
    """
    try:
        number = float(value)  # type: ignore[arg-type]  # or TypeError
    except (TypeError, ValueError, OverflowError):
        if not isinstance(value, str):
            return 0.0
        from datetime import datetime

        try:
            number = datetime.fromisoformat(value).timestamp()
        except (ValueError, OverflowError):
            return 0.0
    for _ in range(2):
        if number > 1e11:
            number /= 1000
    return number if 0.0 < number < 1e11 else 0.0


_TEXT = {str}


def headers(given: object, found: dict[str, str] | None = None) -> dict[str, str]:
    """Return headers by their names in lower case.

    Of several values the last counts, as in Lambda's own `headers`; those of context are put together, as
    HTTP does, for the propagators to judge. Bytes are read as UTF-8.
    """
    found = {} if found is None else found
    if isinstance(given, dict):
        try:
            names = "".join(given)
            if names == names.lower() and {*map(type, given.values())} == _TEXT:  # as HTTP APIs do
                found.update(given)
                return found
        except TypeError:
            pass  # a name that is no text
        for name, value in given.items():
            if type(name) is str and type(value) is str:
                found[name.lower()] = value
            elif isinstance(name, (str, bytes)):
                key = (name if isinstance(name, str) else name.decode("latin-1")).lower()
                values = value if isinstance(value, (list, tuple)) else (value,)
                parts = [each for each in map(_decoded, values) if each is not None]
                if parts:
                    found[key] = ",".join(parts) if key in CONTEXT else parts[-1]
    return found


def _decoded(value: object) -> str | None:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else text(value) or None


def carrier_in(payload: object) -> dict[str, str]:
    """Return the context that a payload carries among other things, at its top or among its headers."""
    found: dict[str, str] = {}
    if isinstance(payload, dict):
        for place in (payload, *[payload.get(name) for name in _PLACES]):
            if isinstance(place, dict):
                for name, value in place.items():
                    if isinstance(name, str) and isinstance(value, str) and name.lower() in CONTEXT:
                        found[name.lower()] = value
                if found:
                    break
    return found
