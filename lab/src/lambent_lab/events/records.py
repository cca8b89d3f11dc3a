"""Sample events of queues and streams: SQS, SNS, Kinesis, DynamoDB, Kafka."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

from lambent_lab.events.values import ACCOUNT, REGION, hex_id, iso_millis, millis, request_id

if TYPE_CHECKING:
    from datetime import datetime

    from lambent_lab.events.values import Event

_ORDER = '{"order": 42, "item": "lamp", "quantity": 2}'
_SEQUENCE = "4959033827149025660855969253836157109592157598913658"
_REFUND = '{"order": 41, "refund": true}'


def sqs(now: datetime) -> Event:
    """Return a batch of two messages from a standard SQS queue."""
    return {
        "Records": [
            {
                "messageId": request_id(f"sqs {index}", now),
                "receiptHandle": base64.b64encode(hex_id(f"receipt {index}", now, 48).encode()).decode(),
                "body": body,
                "attributes": {
                    "ApproximateReceiveCount": "1",
                    "SentTimestamp": str(millis(now) - 120),
                    "SenderId": "AROAEXAMPLE:orders-api",
                    "ApproximateFirstReceiveTimestamp": str(millis(now)),
                },
                "messageAttributes": {
                    "kind": {
                        "stringValue": "order",
                        "stringListValues": [],
                        "binaryListValues": [],
                        "dataType": "String",
                    }
                },
                # The checksum that SQS itself sends; nothing is protected by it.
                "md5OfBody": hashlib.md5(body.encode(), usedforsecurity=False).hexdigest(),
                "eventSource": "aws:sqs",
                "eventSourceARN": f"arn:aws:sqs:{REGION}:{ACCOUNT}:orders",
                "awsRegion": REGION,
            }
            for index, body in enumerate((_ORDER, _REFUND))
        ]
    }


def sns(now: datetime) -> Event:
    """Return one notification of an SNS topic."""
    topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:orders"
    return {
        "Records": [
            {
                "EventSource": "aws:sns",
                "EventVersion": "1.0",
                "EventSubscriptionArn": f"{topic}:{request_id('subscription', now)}",
                "Sns": {
                    "Type": "Notification",
                    "MessageId": request_id("sns", now),
                    "TopicArn": topic,
                    "Subject": "order placed",
                    "Message": _ORDER,
                    "Timestamp": iso_millis(now),
                    "SignatureVersion": "1",
                    "Signature": base64.b64encode(hex_id("signature", now, 64).encode()).decode(),
                    "SigningCertUrl": f"https://sns.{REGION}.amazonaws.com/certificate.pem",
                    "UnsubscribeUrl": f"https://sns.{REGION}.amazonaws.com/?Action=Unsubscribe",
                    "MessageAttributes": {"kind": {"Type": "String", "Value": "order"}},
                },
            }
        ]
    }


def kinesis(now: datetime) -> Event:
    """Return two records of a Kinesis data stream."""
    return {
        "Records": [
            {
                "kinesis": {
                    "kinesisSchemaVersion": "1.0",
                    "partitionKey": f"customer-{index}",
                    "sequenceNumber": f"{_SEQUENCE}{index:04d}",
                    "data": base64.b64encode(body.encode()).decode(),
                    "approximateArrivalTimestamp": millis(now) / 1000,
                },
                "eventSource": "aws:kinesis",
                "eventVersion": "1.0",
                "eventID": f"shardId-000000000000:{_SEQUENCE}{index:04d}",
                "eventName": "aws:kinesis:record",
                "invokeIdentityArn": f"arn:aws:iam::{ACCOUNT}:role/orders",
                "awsRegion": REGION,
                "eventSourceARN": f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/orders",
            }
            for index, body in enumerate((_ORDER, _REFUND))
        ]
    }


def dynamodb(now: datetime) -> Event:
    """Return an insertion and a change from a DynamoDB stream."""
    table = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/orders/stream/2026-01-01T00:00:00.000"
    placed: Event = {"id": {"S": "42"}, "state": {"S": "placed"}}
    paid: Event = {"id": {"S": "42"}, "state": {"S": "paid"}}
    changes: tuple[tuple[str, Event], ...] = (
        ("INSERT", {"NewImage": placed}),
        ("MODIFY", {"OldImage": placed, "NewImage": paid}),
    )
    return {
        "Records": [
            {
                "eventID": hex_id(f"dynamodb {index}", now, 32),
                "eventName": name,
                "eventVersion": "1.1",
                "eventSource": "aws:dynamodb",
                "awsRegion": REGION,
                "dynamodb": {
                    "ApproximateCreationDateTime": int(now.timestamp()),
                    "Keys": {"id": {"S": "42"}},
                    **images,
                    "SequenceNumber": f"{111 * (index + 1)}00000000000000000{index}",
                    "SizeBytes": 26,
                    "StreamViewType": "NEW_AND_OLD_IMAGES",
                },
                "eventSourceARN": table,
            }
            for index, (name, images) in enumerate(changes)
        ]
    }


def kafka(now: datetime) -> Event:
    """Return one record of a managed Kafka topic."""
    return {
        "eventSource": "aws:kafka",
        "eventSourceArn": f"arn:aws:kafka:{REGION}:{ACCOUNT}:cluster/orders/{request_id('cluster', now)}-1",
        "bootstrapServers": f"b-1.orders.example.c1.kafka.{REGION}.amazonaws.com:9092",
        "records": {
            "orders-0": [
                {
                    "topic": "orders",
                    "partition": 0,
                    "offset": 15,
                    "timestamp": millis(now),
                    "timestampType": "CREATE_TIME",
                    "key": base64.b64encode(b"customer-1").decode(),
                    "value": base64.b64encode(_ORDER.encode()).decode(),
                    "headers": [{"kind": list(b"order")}],
                }
            ]
        },
    }
