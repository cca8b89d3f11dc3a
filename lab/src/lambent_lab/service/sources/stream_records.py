"""A stream's records as a function gets them, and the part of them that it has failed on. Pure.

Rules
- Kinesis's data is base64; a filter's `data` is matched as JSON, or as text. DynamoDB's records are matched
  as they are, their values with their types.
- After an error of the function the batch is tried again; with BisectBatchOnFunctionError in two halves, one
  after the other, which does not count as a retry. With ReportBatchItemFailures what comes before the first
  item that is reported is done, and the rest is tried again.
- What has been tried again MaximumRetryAttempts times is given up (-1: never).

Source: AWS Lambda's developer guide, "Using Lambda with Kinesis" and "… with DynamoDB"; LocalStack's
recordings.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lambent_lab.service.sources.records import Batch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lambent_lab.service.arns import Arn


@dataclass(frozen=True, slots=True)
class Item:
    """A record of a shard. `view` is what filters look at; `arrived` is Unix time."""

    sequence: str
    key: str
    arrived: float
    record: Mapping[str, Any]
    view: Mapping[str, Any]


def kinesis(message: Mapping[str, Any], shard: str, stream: Arn, role: str) -> Item:
    """Return a Kinesis record that boto3 has read."""
    data: bytes = message["Data"]
    arrived = _seconds(message.get("ApproximateArrivalTimestamp"))
    inner = {
        "kinesisSchemaVersion": "1.0",
        "partitionKey": message["PartitionKey"],
        "sequenceNumber": message["SequenceNumber"],
        "data": base64.b64encode(data).decode(),
        "approximateArrivalTimestamp": arrived,
    }
    record = {
        "kinesis": inner,
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"{shard}:{message['SequenceNumber']}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": role,
        "awsRegion": stream.region,
        "eventSourceARN": stream.text,
    }
    try:
        text: str | None = data.decode()
    except UnicodeDecodeError:
        text = None
    view = {**record, **inner, "data": text}
    return Item(message["SequenceNumber"], message["PartitionKey"], arrived, record, view)


def dynamodb(message: Mapping[str, Any], stream: Arn) -> Item:
    """Return a record of a table's stream that boto3 has read."""
    inner = _plain(message["dynamodb"])
    record = {
        "eventID": message["eventID"],
        "eventName": message["eventName"],
        "eventVersion": message.get("eventVersion", "1.1"),
        "eventSource": message.get("eventSource", "aws:dynamodb"),
        "awsRegion": message.get("awsRegion", stream.region),
        "dynamodb": inner,
        "eventSourceARN": stream.text,
    }
    if "userIdentity" in message:
        identity = message["userIdentity"]
        record["userIdentity"] = {"principalId": identity.get("PrincipalId"), "type": identity.get("Type")}
    arrived = _seconds(message["dynamodb"].get("ApproximateCreationDateTime"))
    keys = repr(sorted(inner.get("Keys", {}).items()))
    return Item(message["dynamodb"]["SequenceNumber"], keys, arrived, record, record)


def _seconds(when: Any) -> float:
    return round(when.timestamp(), 3) if isinstance(when, dt.datetime) else float(when or 0)


def _plain(value: Any) -> Any:
    """Return what boto3 has read as JSON has it: bytes in base64, times in seconds."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (list, set, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode()
    return _seconds(value) if isinstance(value, dt.datetime) else value


@dataclass(frozen=True, slots=True)
class Part:
    """Records that are handed over together, and how often they have been tried again."""

    items: tuple[Item, ...]
    retries: int = 0


def parts(items: Sequence[Item], size: int) -> Iterator[Part]:
    """Divide records into batches: as many of them as `size`, and as fit into an event."""
    batch, taken = Batch(size), list[Item]()
    for item in items:
        if not batch.add(item.record, item.sequence):
            yield Part(tuple(taken))
            batch, taken = Batch(size), []
            batch.add(item.record, item.sequence)
        taken.append(item)
    if taken:
        yield Part(tuple(taken))


def event(items: Sequence[Item]) -> bytes:
    """Return the event of some records."""
    made = {"Records": [item.record for item in items]}
    return json.dumps(made, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def failure(
    part: Part,
    stream: Arn,
    *,
    shard: str,
    function_arn: str,
    condition: str,
    now: dt.datetime,
    request_id: str,
    error: str | None,
    version: str | None,
) -> dict[str, Any]:
    """Return what a destination is told of records that are given up; `version` is None if none has run."""
    first, last = part.items[0], part.items[-1]
    made: dict[str, Any] = {
        "requestContext": {
            "requestId": request_id,
            "functionArn": function_arn,
            "condition": condition,
            "approximateInvokeCount": part.retries + 1,
        },
        "version": "1.0",
        "timestamp": _stamp(now),
        "KinesisBatchInfo" if stream.service == "kinesis" else "DDBStreamBatchInfo": {
            "shardId": shard,
            "startSequenceNumber": first.sequence,
            "endSequenceNumber": last.sequence,
            "approximateArrivalOfFirstRecord": _stamp(dt.datetime.fromtimestamp(first.arrived, dt.UTC)),
            "approximateArrivalOfLastRecord": _stamp(dt.datetime.fromtimestamp(last.arrived, dt.UTC)),
            "batchSize": len(part.items),
            "streamArn": stream.text,
        },
    }
    if version is not None:
        context: dict[str, Any] = {"statusCode": 200, "executedVersion": version}
        if error is not None:
            context["functionError"] = error
        made["responseContext"] = context
    return made


def _stamp(when: dt.datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def after(
    part: Part, bad: frozenset[str], *, most_retries: int, bisect: bool
) -> tuple[list[Part], Part | None]:
    """Return what is still to be done of a part, in order, and what of it is given up.

    `bad` has the sequence numbers of the records that have failed.
    """
    first = next((number for number, item in enumerate(part.items) if item.sequence in bad), None)
    if first is None:
        return [], None
    rest = part.items[first:]
    if first == 0 and bisect and len(rest) > 1:
        middle = len(rest) // 2
        return [Part(rest[:middle], part.retries), Part(rest[middle:], part.retries)], None
    if 0 <= most_retries <= part.retries:
        return [], Part(rest, part.retries)
    return [Part(rest, part.retries + 1)], None


def lanes(items: Sequence[Item], count: int) -> list[list[Item]]:
    """Divide a shard's records into as many rows as run at once: those of one key stay in one, in order."""
    if count == 1:
        return [list(items)] if items else []
    rows: dict[int, list[Item]] = {}
    for item in items:
        rows.setdefault(_hash(item.key) % count, []).append(item)
    return list(rows.values())


def _hash(key: str) -> int:
    """Return a number for a key, the same in every run."""
    return sum(byte * 31**place for place, byte in enumerate(key.encode("utf-8", "replace")[:64]))
