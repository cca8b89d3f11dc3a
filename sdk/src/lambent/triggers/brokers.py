"""Messages of Kafka, ActiveMQ and RabbitMQ, and of Firehose: batches that have a form of their own.

Firehose's transformations are answered for each record, under its `recordId` with a `result` (Ok, Dropped,
ProcessingFailed) and data in base64: Amazon Data Firehose's developer guide, "Data transformation".
"""

from __future__ import annotations

from lambent.triggers.messaging import about, data_in, decoded, describe, failures, message_in, parsed
from lambent.triggers.parts import Record, headers, last, put, seconds, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from lambent.triggers import Description
    from lambent.triggers.messaging import Raw, Source

__all__ = ["answer_of", "describe_batch", "describe_list", "one_record", "result_of"]

_LONGEST = 65_536


def describe_batch(source: str, event: Raw) -> Description | None:
    """Describe the batches that have a form of their own; None for what only looks like one."""
    place, by_queue, names = _BATCHES[source]
    held = event.get(place)
    lists = held.items() if by_queue and isinstance(held, dict) else [("", held)]
    shared: dict[str, object] = {"arn": text(event.get(names))}
    found: list[tuple[Raw, dict[str, object]]] = [
        (each, {**shared, "queue": str(queue)})
        for queue, items in lists
        if isinstance(items, list)
        for each in items
        if isinstance(each, dict)
    ]
    if not found and not isinstance(held, (dict, list)):
        return None
    return describe(
        _SOURCES[source], found, _transformation_of(len(found)) if source == "firehose" else failures
    )


def describe_list(source: str, batch: list[object]) -> Description:
    """Describe the messages that a pipe hands on, each with its source."""
    return describe(_SOURCES[source], [(each, {}) for each in batch if isinstance(each, dict)], failures)


def one_record(raw: Raw) -> Record | None:
    """Return one message of a batch that does not say of each whose it is; None for no message."""
    for source, keys in _DEFINED.items():
        if all(key in raw for key in keys):
            _, _, carrier, read, _ = _SOURCES[source]
            return Record(raw, carrier(raw), read, {})
    return None


def _transformation_of(count: int) -> Callable[[object], Raw]:
    """Return what reads how many of so many records a Firehose transformation failed on, or left out.

    Firehose takes a record that is not answered with one of its words for one that failed.
    """

    def transformed(response: object) -> Raw:
        items = response.get("records") if isinstance(response, dict) else None
        results = [
            each.get("result")
            for each in (items if isinstance(items, list) else ())
            if isinstance(each, dict)
        ]
        dropped = results.count("Dropped")
        return {
            "lambent.batch.failed": max(0, count - results.count("Ok") - dropped),
            "lambent.batch.dropped": dropped,
        }

    return transformed


def result_of(raw: Mapping[str, object], given: object) -> dict[str, object]:
    """Return the answer for a record of which a function made `given`.

    Bytes and text are the new data, None leaves it as it came, and a mapping that has a `result` is the
    answer itself. Everything else is written as JSON. Raises what JSON raises.
    """
    same = {"recordId": raw.get("recordId"), "result": "Ok", "data": raw.get("data")}
    if given is None:
        return same
    if isinstance(given, dict) and "result" in given:
        return {**same, **given}
    if not isinstance(given, (bytes, bytearray, str)):
        from json import dumps

        given = dumps(given)
    from binascii import b2a_base64

    data = given.encode() if isinstance(given, str) else bytes(given)
    return {**same, "data": b2a_base64(data, newline=False).decode("ascii")}


def answer_of(messages: Iterable[Record], results: Mapping[int, dict[str, object]]) -> dict[str, object]:
    """Return the handler's answer. A record that has none failed, and keeps its data."""
    return {
        "records": [
            results.get(id(each.raw)) or {**result_of(each.raw, None), "result": "ProcessingFailed"}
            for each in messages
        ]
    }


def _transformation(raw: Raw) -> dict[str, str]:
    data = decoded(raw.get("data"))
    if b'"messageAttributes"' in data:  # an SQS message, by way of a pipe
        inner = parsed(data)
        return message_in(inner) if isinstance(inner, dict) else {}
    return data_in(data)


def _kafka(raw: Raw) -> dict[str, str]:
    """Return the headers of a Kafka record: a list of `{name: [bytes as numbers, signed or not]}`."""
    carrier: dict[str, str] = {}
    given = raw.get("headers")
    for header in given if isinstance(given, list) else ():
        for name, value in header.items() if isinstance(header, dict) else ():
            found = _from_numbers(value)
            if isinstance(name, str) and found is not None:
                carrier[name.lower()] = found
    return carrier


def _from_numbers(value: object) -> str | None:
    if isinstance(value, list) and len(value) < _LONGEST:
        try:
            return bytes([number & 255 for number in value]).decode("utf-8", "replace")
        except TypeError:
            return None
    return value if isinstance(value, str) else None


def _rabbit(raw: Raw) -> dict[str, str]:
    properties = raw.get("basicProperties")
    given = properties.get("headers") if isinstance(properties, dict) else None
    return headers(
        {
            name: _from_numbers(value.get("bytes")) if isinstance(value, dict) else value
            for name, value in (given.items() if isinstance(given, dict) else ())
        }
    )


def _active(raw: Raw) -> dict[str, str]:
    return headers(raw.get("properties"))


def _read_transformation(record: Record) -> None:
    record.id = text(record.raw.get("recordId"))
    record.sent = seconds(record.raw.get("approximateArrivalTimestamp"))
    about(record, "aws.firehose", _arn_name(record), record.id)


def _read_kafka(record: Record) -> None:
    raw = record.raw
    topic, partition, offset = text(raw.get("topic")), raw.get("partition"), raw.get("offset")
    record.group = f"{topic}-{partition}"
    record.id = {"partition": record.group, "offset": offset}
    record.sent = seconds(raw.get("timestamp"))
    found = about(record, "kafka", topic, "")
    put(found, "messaging.destination.partition.id", "" if partition is None else str(partition))
    put(found, "messaging.kafka.offset", offset)
    if "value" in raw and raw["value"] is None:
        found["messaging.kafka.message.tombstone"] = True
    key = decoded(raw.get("key"))
    if key and len(key) < 256 and key.isascii():
        found["messaging.kafka.message.key"] = key.decode("ascii")


def _read_active(record: Record) -> None:
    raw = record.raw
    record.sent = seconds(raw.get("timestamp"))
    found = about(record, "activemq", _physical(record), raw.get("messageID"))
    put(found, "messaging.message.conversation_id", raw.get("correlationId") or raw.get("correlationID"))


def _read_rabbit(record: Record) -> None:
    given = record.raw.get("basicProperties")
    properties = given if isinstance(given, dict) else {}
    found = about(record, "rabbitmq", _queue(record), properties.get("messageId"))
    put(found, "messaging.message.conversation_id", properties.get("correlationId"))
    put(found, "messaging.message.body.size", properties.get("bodySize"))


def _arn_name(record: Record) -> str:
    return last(text(record.shared.get("arn")))


def _topic(record: Record) -> str:
    return text(record.raw.get("topic"))


def _physical(record: Record) -> str:
    destination = record.raw.get("destination")
    return text(destination.get("physicalName")) if isinstance(destination, dict) else ""


def _queue(record: Record) -> str:
    return text(record.shared.get("queue")).partition("::")[0]


_SOURCES: dict[str, Source] = {
    "firehose": ("firehose", "aws.firehose", _transformation, _read_transformation, _arn_name),
    "aws:kafka": ("msk", "kafka", _kafka, _read_kafka, _topic),
    "aws:SelfManagedKafka": ("kafka", "kafka", _kafka, _read_kafka, _topic),
    "aws:amq": ("activemq", "activemq", _active, _read_active, _physical),
    "aws:rmq": ("rabbitmq", "rabbitmq", _rabbit, _read_rabbit, _queue),
}
_BATCHES: dict[str, tuple[str, bool, str]] = {
    "firehose": ("records", False, "deliveryStreamArn"),
    "aws:kafka": ("records", True, "eventSourceArn"),
    "aws:SelfManagedKafka": ("records", True, "bootstrapServers"),
    "aws:amq": ("messages", False, "eventSourceArn"),
    "aws:rmq": ("rmqMessagesByQueue", True, "eventSourceArn"),
}
_DEFINED = {
    "aws:kafka": ("topic", "partition", "offset"),
    "aws:rmq": ("basicProperties",),
    "aws:amq": ("messageID", "destination"),
    "firehose": ("recordId", "data"),
}
