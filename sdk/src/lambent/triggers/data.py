"""Changes of data: S3, DynamoDB Streams, DocumentDB.

Attributes: OpenTelemetry's `faas.document.*`, and its AWS conventions. What differs within a batch is
left out.
"""

from __future__ import annotations

from lambent.triggers import OBJECT_LAMBDA, Description
from lambent.triggers.messaging import failures
from lambent.triggers.parts import Record, headers, last, put, seconds, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    Raw = Mapping[str, object]

__all__ = ["describe_change", "describe_changes", "describe_objects", "object_of"]

_OPERATIONS = {
    "INSERT": "insert", "MODIFY": "edit", "REMOVE": "delete", "update": "edit", "replace": "edit",
    "insert": "insert", "delete": "delete", "ObjectCreated": "insert", "ObjectRemoved": "delete",
    "LifecycleExpiration": "delete", "Object Created": "insert", "Object Deleted": "delete",
}  # fmt: skip


def describe_objects(batch: Sequence[object]) -> Description:
    """Describe S3's notifications."""
    found = [
        object_of(each.get("s3"), text(each.get("eventName")), each.get("eventTime"))
        for each in batch
        if isinstance(each, dict)
    ]
    attributes = _common(found)
    first = batch[0] if isinstance(batch[0], dict) else {}
    name = f"{text(first.get('eventName'))} {attributes.get('aws.s3.bucket', '')}".strip()
    return Description("datasource", name, attributes, source="s3", sent=first.get("eventTime"))


def object_of(given: object, operation: str, time: object) -> dict[str, object]:
    """Return what is said of one object: S3's own form, or that of its events in EventBridge."""
    held = given if isinstance(given, dict) else {}
    attributes: dict[str, object] = {}
    parts = [part if isinstance(part, dict) else {} for part in (held.get("bucket"), held.get("object"))]
    bucket, key = parts[0].get("name"), text(parts[1].get("urlDecodedKey")) or text(parts[1].get("key"))
    if "detail-type" not in held and "s3SchemaVersion" in held and ("%" in key or "+" in key):
        from urllib.parse import unquote_plus

        key = text(parts[1].get("urlDecodedKey")) or unquote_plus(key)
    put(attributes, "aws.s3.bucket", bucket)
    put(attributes, "aws.s3.key", key)
    put(attributes, "faas.document.collection", bucket)
    put(attributes, "faas.document.name", key)
    if operation:
        attributes["faas.document.operation"] = (
            _OPERATIONS.get(operation) or _OPERATIONS.get(operation.partition(":")[0]) or "edit"
        )
    put(attributes, "faas.document.time", time)
    return attributes


def _common(found: Iterable[dict[str, object]]) -> dict[str, object]:
    """Return what all of them say alike."""
    each = list(found)
    first = each[0] if each else {}
    return {k: v for k, v in first.items() if all(k in other and other[k] == v for other in each)}


def describe_changes(batch: Sequence[object]) -> Description:
    """Describe a batch of DynamoDB's stream."""
    raws = [each for each in batch if isinstance(each, dict)]
    records = [Record(raw, _image(raw), _read_change, {}) for raw in raws]
    attributes = _common([_change(raw) for raw in raws])
    name = f"process {attributes.get('faas.document.collection', '')}".rstrip()
    return Description(
        "datasource", name, attributes, source="dynamodb", records=records, read_response=failures
    )


def _change(raw: Raw) -> dict[str, object]:
    found: dict[str, object] = {}
    arn = text(raw.get("eventSourceARN")).split("/")
    if len(arn) > 1:
        found["faas.document.collection"] = arn[1]
        found["aws.dynamodb.table_names"] = [arn[1]]
    put(found, "faas.document.operation", _OPERATIONS.get(text(raw.get("eventName")), ""))
    return found


def _image(raw: Raw) -> dict[str, str]:
    """Return the context that an item carries in attributes of its own."""
    change = raw.get("dynamodb")
    image = change.get("NewImage") if isinstance(change, dict) else None
    if not isinstance(image, dict):
        return {}
    from lambent.triggers import CONTEXT

    return {
        name.lower(): value["S"]
        for name, value in image.items()
        if isinstance(name, str)
        and name.lower() in CONTEXT
        and isinstance(value, dict)
        and isinstance(value.get("S"), str)
    }


def _read_change(record: Record) -> None:
    change = record.raw.get("dynamodb")
    held = change if isinstance(change, dict) else {}
    record.id = text(held.get("SequenceNumber"))
    record.group = text(record.raw.get("eventSourceARN"))
    record.sent = seconds(held.get("ApproximateCreationDateTime"))
    record.attributes = _change(record.raw)
    record.attributes["db.system.name"] = "aws.dynamodb"
    record.name = f"process {record.attributes.get('faas.document.collection', '')}".rstrip()


def describe_change(event: Raw) -> Description | None:
    """Describe a batch of DocumentDB's change stream, or a request of S3 itself; None for neither."""
    changes, tasks = event.get("events"), event.get("tasks")
    if event.get("eventSource") == "aws:docdb" and isinstance(changes, list):
        attributes = _common(map(_document, changes))
        place = attributes.get("faas.document.name") or last(text(event.get("eventSourceArn")))
        return Description("datasource", f"process {place}", attributes, source="documentdb")
    attributes = {}
    operation = next((name for key, name in OBJECT_LAMBDA.items() if isinstance(event.get(key), dict)), "")
    if operation:
        asked = event.get("userRequest")
        configuration = event.get("configuration")
        put(
            attributes,
            "faas.document.collection",
            configuration.get("accessPointArn") if isinstance(configuration, dict) else "",
        )
        return Description(
            "datasource",
            operation,
            attributes,
            headers(asked.get("headers")) if isinstance(asked, dict) else None,
            source="s3.object_lambda",
        )
    if isinstance(tasks, list) and "invocationSchemaVersion" in event:
        attributes = _common(map(_task, tasks))
        return Description(
            "datasource", "S3 batch", attributes, source="s3.batch", read_response=_task_failures
        )
    return None


def _document(item: object) -> dict[str, object]:
    change = item.get("event") if isinstance(item, dict) else None
    found: dict[str, object] = {}
    if isinstance(change, dict):
        place = change.get("ns")
        if isinstance(place, dict):
            put(found, "faas.document.collection", place.get("db"))
            put(found, "faas.document.name", place.get("coll"))
        put(found, "faas.document.operation", _OPERATIONS.get(text(change.get("operationType")), ""))
    return found


def _task(item: object) -> dict[str, object]:
    found: dict[str, object] = {}
    if isinstance(item, dict):
        bucket = text(item.get("s3Bucket")) or last(text(item.get("s3BucketArn")))
        for prefix, value in (("bucket", bucket), ("key", item.get("s3Key"))):
            put(found, f"aws.s3.{prefix}", value)
        put(found, "faas.document.collection", bucket)
        put(found, "faas.document.name", item.get("s3Key"))
    return found


def _task_failures(response: object) -> Raw | None:
    items = response.get("results") if isinstance(response, dict) else None
    if not isinstance(items, list):
        return None
    failed = [each for each in items if isinstance(each, dict) and each.get("resultCode") != "Succeeded"]
    return {"lambent.batch.failed": len(failed)}
