"""The sample events: complete, of their time, and recognisable."""

from __future__ import annotations

import base64
import gzip
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lambent_lab.errors import UsageError
from lambent_lab.events import SAMPLES, describe, names, sample

NOW = datetime(2026, 11, 21, 9, 30, 0, 123456, UTC)


@pytest.mark.parametrize("name", names())
def test_a_sample_is_json_and_depends_on_its_time_alone(name: str) -> None:
    event = sample(name, NOW)
    assert json.loads(json.dumps(event, allow_nan=False)) == event
    assert sample(name, NOW) == event
    assert describe(name)
    if name != "empty":
        assert sample(name, NOW + timedelta(days=1)) != event


def test_a_sample_may_be_changed_by_its_owner() -> None:
    changed: Any = sample("sqs", NOW)
    changed["Records"].clear()
    fresh: Any = sample("sqs", NOW)
    assert len(fresh["Records"]) == 2


@pytest.mark.parametrize(
    ("name", "path", "expected"),
    [
        ("apigw-v2", ("requestContext", "http", "method"), "GET"),
        ("apigw-v2", ("requestContext", "timeEpoch"), 1795253400123),
        ("apigw-v2", ("requestContext", "time"), "21/Nov/2026:09:30:00 +0000"),
        ("apigw-v1", ("httpMethod",), "GET"),
        ("apigw-v1", ("requestContext", "identity", "sourceIp"), "203.0.113.7"),
        ("alb", ("requestContext", "elb", "targetGroupArn"), None),
        ("function-url", ("requestContext", "http", "method"), "POST"),
        ("vpc-lattice", ("requestContext", "timeEpoch"), "1795253400123000"),
        ("sqs", ("Records", 0, "eventSource"), "aws:sqs"),
        ("sns", ("Records", 0, "EventSource"), "aws:sns"),
        ("sns", ("Records", 0, "Sns", "Timestamp"), "2026-11-21T09:30:00.123Z"),
        ("s3", ("Records", 0, "s3", "object", "key"), "2026/invoice+no.+42.pdf"),
        ("dynamodb", ("Records", 1, "dynamodb", "OldImage", "state", "S"), "placed"),
        ("kinesis", ("Records", 0, "kinesis", "approximateArrivalTimestamp"), 1795253400.123),
        ("kafka", ("eventSource",), "aws:kafka"),
        ("eventbridge", ("detail-type",), "Order Placed"),
        ("schedule", ("source",), "aws.events"),
        ("schedule", ("time",), "2026-11-21T09:30:00Z"),
    ],
)
def test_what_tells_the_families_apart(name: str, path: tuple[str | int, ...], expected: object) -> None:
    value: Any = sample(name, NOW)
    for step in path:
        value = value[step]
    assert value is not None
    if expected is not None:
        assert value == expected


def test_cloudwatch_logs_data_unpacks() -> None:
    event: Any = sample("cloudwatch-logs", NOW)
    data = json.loads(gzip.decompress(base64.b64decode(event["awslogs"]["data"])))
    assert data["messageType"] == "DATA_MESSAGE"
    assert data["logEvents"][0]["timestamp"] == 1795253400123


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean apigw-v2"):
        sample("apigw-v3", NOW)
    with pytest.raises(UsageError, match="names are: alb"):
        sample("???", NOW)
    assert list(names()) == sorted(SAMPLES)
