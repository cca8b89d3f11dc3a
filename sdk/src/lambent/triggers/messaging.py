"""Messages: SQS, SNS, Kinesis, EventBridge, and what is wrapped in them.

Attributes: OpenTelemetry's messaging and CloudEvents conventions; its systems without a name there are
called as AWS's others are (`aws.kinesis`). A message's own attributes come before what an envelope
inside it carries, and both before the header that X-Ray adds.
"""

from __future__ import annotations

from lambent.triggers import CONTEXT, Description
from lambent.triggers.parts import Record, carrier_in, last, put, seconds, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lambent.triggers import Reader

    Raw = Mapping[str, object]
    Source = tuple[
        str, str, Callable[[Raw], dict[str, str]], Callable[[Record], None], Callable[[Record], str]
    ]

__all__ = [
    "about",
    "data_in",
    "decoded",
    "describe",
    "describe_event",
    "describe_records",
    "failures",
    "message_in",
    "parsed",
]

_LONGEST = 65_536
"""Longer data is not looked into for context."""
_SIGNS = (b"traceparent", b"x-amzn-trace-id", b'"b3"', b"x-b3-")


def describe_records(source: str, batch: Sequence[object]) -> Description:
    """Describe the `Records` of SQS, SNS or Kinesis, by the source of the first."""
    return describe(_SOURCES[source], [(each, {}) for each in batch if isinstance(each, dict)], failures)


def describe(
    source: Source, batch: list[tuple[Raw, dict[str, object]]], read_response: Reader
) -> Description:
    """Describe a batch of messages, each with what the event says of where it comes from."""
    name, system, carrier, read, destination = source
    records = [Record(raw, carrier(raw), read, shared) for raw, shared in batch]
    places = {destination(record) for record in records} - {""}
    attributes: dict[str, object] = {
        "messaging.system": system,
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.batch.message_count": len(records),
    }
    place = "multiple_sources" if len(places) > 1 else places.pop() if places else ""
    if place.startswith("arn:"):
        place = last(place)
    if place and place != "multiple_sources":
        attributes["messaging.destination.name"] = place
    origin = ""
    if len(records) == 1:
        attributes.update(records[0].attributes)
    if records:
        origin, _, inner = _unwrap(_body(records[0].raw))
        if len(records) == 1:
            attributes.update(inner)
    return Description(
        "pubsub",
        f"process {place}".rstrip(),
        attributes,
        source=name,
        origin=origin,
        kind=4,
        records=records,
        read_response=read_response,
    )


def failures(response: object) -> Raw | None:
    """Return how many items of a batch the response reports as failed (`batchItemFailures`)."""
    items = response.get("batchItemFailures") if isinstance(response, dict) else None
    return {"lambent.batch.failed": len(items)} if isinstance(items, list) else None


def describe_event(event: Raw) -> Description:
    """Describe an event of EventBridge: of a bus, a rule's schedule, or the scheduler."""
    kind, source = text(event.get("detail-type")), text(event.get("source"))
    attributes: dict[str, object] = {}
    resources = event.get("resources")
    resource = text(resources[0]) if isinstance(resources, list) and resources else ""
    _cloud_event(attributes, event, resource)
    carrier = carrier_in(event.get("detail"))
    if kind == "Scheduled Event" and source in {"aws.events", "aws.scheduler"}:
        put(attributes, "faas.time", event.get("time"))
        rule = resource.rpartition("/")[2]
        return Description(
            "timer", f"schedule {rule}".rstrip(), attributes, carrier, source="schedule",
            sent=event.get("time"),
        )  # fmt: skip
    attributes["messaging.system"] = "aws.eventbridge"
    attributes["messaging.operation.name"] = attributes["messaging.operation.type"] = "process"
    put(attributes, "messaging.message.id", event.get("id"))
    if source == "aws.batch":
        from lambent.triggers.services import job_of

        job, environment = job_of(event)
        attributes.update(job)
        carrier = carrier or environment
    origin = "s3" if source == "aws.s3" else ""
    if origin:
        from lambent.triggers.data import object_of

        attributes.update(object_of(event.get("detail"), kind, event.get("time")))
    return Description(
        "pubsub", f"process {kind}".rstrip(), attributes, carrier, source="eventbridge", origin=origin,
        kind=4, sent=event.get("time"),
    )  # fmt: skip


def _cloud_event(attributes: dict[str, object], event: Raw, subject: str = "") -> None:
    put(attributes, "cloudevents.event_id", event.get("id"))
    put(attributes, "cloudevents.event_source", event.get("source"))
    put(attributes, "cloudevents.event_type", event.get("detail-type"))
    put(attributes, "cloudevents.event_subject", subject)


# Carriers.


def message_in(raw: Raw) -> dict[str, str]:
    """Return the carrier of an SQS message."""
    given = raw.get("messageAttributes")
    carrier = _attributes(given, "stringValue", "binaryValue") if given else {}
    if CONTEXT.isdisjoint(carrier):
        carrier.update(_unwrap(raw.get("body"))[1])
    system = raw.get("attributes")
    if type(system) is dict and "AWSTraceHeader" in system and type(system["AWSTraceHeader"]) is str:
        carrier.setdefault("x-amzn-trace-id", system["AWSTraceHeader"])
    return carrier


def _notification(raw: Raw) -> dict[str, str]:
    inner = raw.get("Sns")
    inner = inner if isinstance(inner, dict) else {}
    own = _attributes(inner.get("MessageAttributes"), "Value", "Value")
    return own | _unwrap(inner.get("Message"))[1] if CONTEXT.isdisjoint(own) else own


def _attributes(given: object, string: str, binary: str) -> dict[str, str]:
    """Return message attributes as a carrier; long binary ones are data, not context."""
    carrier: dict[str, str] = {}
    if isinstance(given, dict):
        for name, value in given.items():
            if isinstance(name, str) and isinstance(value, dict):
                is_binary = string == binary and value.get("Type") == "Binary"
                found = None if is_binary else value.get(string)
                if found is None:
                    found = decoded(value.get(binary)).decode("utf-8", "replace") or None
                if isinstance(found, str):
                    carrier[name.lower()] = found
    return carrier


def decoded(value: object) -> bytes:
    """Return what base64 stands for, b"" for what is none or too long to look into."""
    if isinstance(value, str) and len(value) < _LONGEST:
        from binascii import a2b_base64

        try:
            return a2b_base64(value)
        except ValueError:  # not base64, or not of ASCII
            return b""
    return value if isinstance(value, bytes) else b""


def data_in(value: object) -> dict[str, str]:
    """Return the context in base64 data that is JSON."""
    data = decoded(value)
    lower = data.lower()
    if not any(sign in lower for sign in _SIGNS):
        return {}
    value = parsed(data)
    # An event of EventBridge, which has streams for targets too, carries context where it has its detail.
    return carrier_in(value.get("detail") if isinstance(value, dict) and "detail-type" in value else value)


def _stream(raw: Raw) -> dict[str, str]:
    inner = raw.get("kinesis", raw)  # a pipe leaves that out
    return data_in(inner.get("data")) if isinstance(inner, dict) else {}


# Envelopes.


def _body(raw: Raw) -> object:
    inner = raw.get("Sns")
    return inner.get("Message") if isinstance(inner, dict) else raw.get("body")


def parsed(data: object) -> object:
    """Return the JSON value, None for what is none."""
    from json import loads

    try:
        return loads(data)  # type: ignore[arg-type]  # text or bytes
    except (ValueError, RecursionError, TypeError):
        return None


def _unwrap(body: object) -> tuple[str, dict[str, str], dict[str, object]]:
    """Return what a body wraps ("sns", "eventbridge", "s3"), its carrier and its attributes."""
    about: dict[str, object] = {}
    if not isinstance(body, str) or not (
        '"TopicArn"' in body or '"detail-type"' in body or '"aws:s3"' in body
    ):
        return "", {}, about
    envelope = parsed(body)
    if not isinstance(envelope, dict):
        return "", {}, about
    if "detail-type" in envelope:
        _cloud_event(about, envelope)
        inner = describe_event(envelope) if envelope.get("source") == "aws.s3" else None
        if inner is not None:
            about.update({k: v for k, v in inner.attributes.items() if not k.startswith("messaging.")})
        return "s3" if inner else "eventbridge", carrier_in(envelope.get("detail")), about
    if "TopicArn" in envelope:
        put(about, "aws.sns.topic.arn", envelope["TopicArn"])
        origin, carrier, more = _unwrap(envelope.get("Message"))
        about.update(more)
        own = _attributes(envelope.get("MessageAttributes"), "Value", "Value")
        return origin or "sns", own | carrier if CONTEXT.isdisjoint(own) else own, about
    notices = envelope.get("Records")
    first = notices[0] if isinstance(notices, list) and notices else None
    if isinstance(first, dict) and first.get("eventSource") == "aws:s3":
        from lambent.triggers.data import object_of

        return "s3", {}, object_of(first.get("s3"), text(first.get("eventName")), first.get("eventTime"))
    return "", {}, about


# What a message says of itself.


def about(record: Record, system: str, name: str, message_id: object) -> dict[str, object]:
    """Name a record's span, and return its attributes for more to be put in."""
    record.name = f"process {name}".rstrip()
    found: dict[str, object] = {
        "messaging.system": system,
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
    }
    put(found, "messaging.destination.name", name)
    put(found, "messaging.message.id", message_id)
    record.attributes = found
    return found


def _read_message(record: Record) -> None:
    raw = record.raw
    given = raw.get("attributes")
    system = given if isinstance(given, dict) else {}
    arn = text(raw.get("eventSourceARN"))
    record.id = text(raw.get("messageId"))
    record.sent = seconds(system.get("SentTimestamp"))
    record.group = text(system.get("MessageGroupId")) if arn.endswith(".fifo") else ""
    found = about(record, "aws_sqs", last(arn), record.id)
    parts = arn.split(":")
    if len(parts) == 6:
        suffix = ".cn" if parts[1] == "aws-cn" else ""
        found["aws.sqs.queue.url"] = f"https://sqs.{parts[3]}.amazonaws.com{suffix}/{parts[4]}/{parts[5]}"
    body = raw.get("body")
    if isinstance(body, str):
        found["messaging.message.body.size"] = (
            len(body) if body.isascii() else len(body.encode("utf-8", "replace"))
        )
    put(found, "aws.sqs.message.group_id", system.get("MessageGroupId"))
    put(found, "aws.sqs.dead_letter_source.arn", system.get("DeadLetterQueueSourceArn"))


def _read_notification(record: Record) -> None:
    given = record.raw.get("Sns")
    inner = given if isinstance(given, dict) else {}
    record.sent = seconds(inner.get("Timestamp"))
    found = about(record, "aws.sns", last(text(inner.get("TopicArn"))), inner.get("MessageId"))
    put(found, "aws.sns.topic.arn", inner.get("TopicArn"))


def _read_stream(record: Record) -> None:
    raw = record.raw
    given = raw.get("kinesis", raw)
    inner = given if isinstance(given, dict) else {}
    stream = last(text(raw.get("eventSourceARN")))
    record.id = text(inner.get("sequenceNumber"))
    record.group = text(raw.get("eventID")).partition(":")[0] or stream
    record.sent = seconds(inner.get("approximateArrivalTimestamp"))
    found = about(record, "aws.kinesis", stream, record.id)
    put(found, "aws.kinesis.stream_name", stream)
    put(found, "messaging.destination.partition.id", record.group)


# Destinations.


def _source_name(record: Record) -> str:
    return text(record.raw.get("eventSourceARN"))


def _topic_name(record: Record) -> str:
    inner = record.raw.get("Sns")
    return last(text(inner.get("TopicArn"))) if isinstance(inner, dict) else ""


_SOURCES: dict[str, Source] = {
    "aws:sqs": ("sqs", "aws_sqs", message_in, _read_message, _source_name),
    "aws:sns": ("sns", "aws.sns", _notification, _read_notification, _topic_name),
    "aws:kinesis": ("kinesis", "aws.kinesis", _stream, _read_stream, _source_name),
}
