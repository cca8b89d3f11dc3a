"""Sample events of other AWS services: S3, EventBridge and its schedules, CloudWatch Logs, custom ones."""

from __future__ import annotations

import base64
import gzip
import json
from typing import TYPE_CHECKING

from lambent_lab.events.values import ACCOUNT, REGION, hex_id, iso_millis, iso_seconds, millis, request_id

if TYPE_CHECKING:
    from datetime import datetime

    from lambent_lab.events.values import Event


def s3(now: datetime) -> Event:
    """Return the notification of one object put into a bucket; its key is URL-encoded as S3 does it."""
    return {
        "Records": [
            {
                "eventVersion": "2.1",
                "eventSource": "aws:s3",
                "awsRegion": REGION,
                "eventTime": iso_millis(now),
                "eventName": "ObjectCreated:Put",
                "userIdentity": {"principalId": "AWS:AIDAEXAMPLE"},
                "requestParameters": {"sourceIPAddress": "203.0.113.7"},
                "responseElements": {
                    "x-amz-request-id": hex_id("s3", now, 16).upper(),
                    "x-amz-id-2": base64.b64encode(hex_id("s3-2", now, 48).encode()).decode(),
                },
                "s3": {
                    "s3SchemaVersion": "1.0",
                    "configurationId": "invoices",
                    "bucket": {
                        "name": "example-invoices",
                        "ownerIdentity": {"principalId": "A1EXAMPLE"},
                        "arn": "arn:aws:s3:::example-invoices",
                    },
                    "object": {
                        "key": "2026/invoice+no.+42.pdf",
                        "size": 18_432,
                        "eTag": hex_id("etag", now, 32),
                        "sequencer": hex_id("sequencer", now, 18).upper(),
                    },
                },
            }
        ]
    }


def eventbridge(now: datetime) -> Event:
    """Return an application's own event on an EventBridge bus."""
    return {
        "version": "0",
        "id": request_id("eventbridge", now),
        "detail-type": "Order Placed",
        "source": "com.example.orders",
        "account": ACCOUNT,
        "time": iso_seconds(now),
        "region": REGION,
        "resources": [],
        "detail": {"order": 42, "item": "lamp", "quantity": 2},
    }


def schedule(now: datetime) -> Event:
    """Return the event of an EventBridge rule that runs on a schedule."""
    return {
        "version": "0",
        "id": request_id("schedule", now),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": ACCOUNT,
        "time": iso_seconds(now),
        "region": REGION,
        "resources": [f"arn:aws:events:{REGION}:{ACCOUNT}:rule/every-five-minutes"],
        "detail": {},
    }


def cloudwatch_logs(now: datetime) -> Event:
    """Return a subscription filter's delivery: base64 of gzip of JSON."""
    data = {
        "messageType": "DATA_MESSAGE",
        "owner": ACCOUNT,
        "logGroup": "/aws/lambda/orders",
        "logStream": f"{now:%Y/%m/%d}/[$LATEST]{hex_id('stream', now, 32)}",
        "subscriptionFilters": ["errors"],
        "logEvents": [
            {
                "id": hex_id("log", now, 56),
                "timestamp": millis(now),
                "message": "[ERROR] order 42 was not found",
            }
        ],
    }
    return {"awslogs": {"data": base64.b64encode(gzip.compress(json.dumps(data).encode(), mtime=0)).decode()}}


def empty(_now: datetime) -> Event:
    """Return an empty object."""
    return {}


def custom(now: datetime) -> Event:
    """Return an object of the caller's own, as a direct invocation carries."""
    return {"name": "lambent", "id": request_id("custom", now)}
