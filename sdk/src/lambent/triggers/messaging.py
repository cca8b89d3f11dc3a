"""Messages in batches: SQS, SNS and Kinesis, with what is wrapped in them.

Attributes: OpenTelemetry's messaging conventions. A message's own attributes come before what an
envelope inside it carries, and both before the header that X-Ray adds.
"""

from __future__ import annotations

from lambent.triggers import CONTEXT, Description, Record, carrier_in, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["describe"]

_LONGEST = 8192


def describe(source: str, batch: Sequence[object]) -> Description:
    """Describe a batch of `Records` by the source of the first."""
    system, carrier, read = _SOURCES[source]
    found = [Record(each, carrier(each), read, {}) for each in batch if isinstance(each, dict)]
    destinations = {_name(text(each.raw.get("eventSourceARN"))) for each in found}
    attributes: dict[str, object] = {
        "messaging.system": system,
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.batch.message_count": len(found),
    }
    destination = destinations.pop() if len(destinations) == 1 else "multiple_sources"
    if destination != "multiple_sources":
        attributes["messaging.destination.name"] = destination
    return Description(
        "pubsub",
        f"process {destination}",
        attributes,
        source=source.partition(":")[2],
        kind=4,
        records=found,
        read_response=failures,
    )


def failures(response: object) -> Mapping[str, object] | None:
    """Return how many items of a batch the response reports as failed."""
    items = response.get("batchItemFailures") if isinstance(response, dict) else None
    return {"lambent.batch.failures": len(items)} if isinstance(items, list) else None


def _name(arn: str) -> str:
    return arn.rpartition(":")[2]


def _sqs_carrier(raw: Mapping[str, object]) -> dict[str, str]:
    carrier = _attributes(raw.get("messageAttributes"), "stringValue", "binaryValue")
    if CONTEXT.isdisjoint(carrier):
        carrier.update(_wrapped(raw.get("body")))
    system = raw.get("attributes")
    header = system.get("AWSTraceHeader") if isinstance(system, dict) else None
    if isinstance(header, str):
        carrier.setdefault("x-amzn-trace-id", header)
    return carrier


def _attributes(given: object, string: str, binary: str) -> dict[str, str]:
    """Return message attributes as a carrier; long binary ones are data, not context."""
    carrier: dict[str, str] = {}
    if isinstance(given, dict):
        for name, value in given.items():
            if not isinstance(name, str) or not isinstance(value, dict):
                continue
            found = value.get(string)
            if string == binary and value.get("Type") == "Binary":
                found = None
            if found is None:
                found = _binary(value.get(binary))
            if isinstance(found, str):
                carrier[name.lower()] = found
    return carrier


def _binary(value: object) -> str | None:
    if isinstance(value, str) and len(value) < _LONGEST:
        from binascii import Error, a2b_base64

        try:
            value = a2b_base64(value)
        except (Error, ValueError):
            return None
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else None


def _wrapped(body: object) -> dict[str, str]:
    """Return what an envelope inside a message carries: SNS's, EventBridge's, or both."""
    if not isinstance(body, str) or ('"TopicArn"' not in body and '"detail-type"' not in body):
        return {}
    from json import loads

    try:
        envelope = loads(body)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(envelope, dict):
        return {}
    if "detail-type" in envelope:
        return carrier_in(envelope.get("detail"))
    return _attributes(envelope.get("MessageAttributes"), "Value", "Value") or _wrapped(
        envelope.get("Message")
    )


def _read_sqs(record: Record) -> None:
    raw = record.raw
    system = raw.get("attributes")
    system = system if isinstance(system, dict) else {}
    record.id = text(raw.get("messageId"))
    record.group = text(system.get("MessageGroupId"))
    record.sent = seconds(system.get("SentTimestamp"), 1000)
    destination = _name(text(raw.get("eventSourceARN")))
    record.name = f"process {destination}" if destination else "process"
    record.attributes = {
        "messaging.system": "aws_sqs",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": destination,
        "messaging.message.id": record.id,
    }


def seconds(value: object, divisor: float = 1.0) -> float:
    """Return a time, a number or its text, in seconds; 0 for what is none."""
    try:
        number = float(value) / divisor  # type: ignore[arg-type]  # or TypeError
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return number if 0.0 < number < 1e11 else 0.0


_SOURCES = {
    "aws:sqs": ("aws_sqs", _sqs_carrier, _read_sqs),
    "aws:sns": ("aws.sns", _sqs_carrier, _read_sqs),
    "aws:kinesis": ("aws.kinesis", _sqs_carrier, _read_sqs),
}
