"""What the destinations of asynchronous invocation are sent, in the form of each. Pure.

Rules
- A queue, a topic and a function get the record itself, a bus as the detail of an event: its source is
  `lambda`, its type `Lambda Function Invocation Result - Success` or `… - Failure`, its resources are the bus
  and the function.
- A bucket gets records of failures only, as `aws/lambda/async/FUNCTION/YYYY/MM/DD/YYYY-MM-DDTHH.MM.SS-UUID`.
- A dead-letter queue or topic gets the event itself, and what was wrong as the attributes RequestID,
  ErrorCode (a status code: 200 where the function failed) and ErrorMessage (its first kilobyte).
- FIFO queues and topics are no destinations, as in AWS.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lambent_lab.errors import LabError
from lambent_lab.service import arns
from lambent_lab.service.names import LATEST, qualified_arn
from lambent_lab.service.result import parse_payload

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from lambent_lab.service.arns import Arn
    from lambent_lab.service.policy import Condition, Outcome

DESTINATIONS = ("sqs", "sns", "s3", "lambda", "events")
DEAD_LETTERS = ("sqs", "sns")
STREAMS = ("sqs", "sns", "s3")
"""Where mappings of streams tell of what they give up."""

MAX_MESSAGE_BYTES = 1024
"""How much of an error's message goes along with a dead letter."""

_ERRORS: Mapping[Condition, tuple[int, str]] = {
    "EventAgeExceeded": (429, "Rate Exceeded."),
    "ZeroReservedConcurrency": (429, "Rate Exceeded."),
    "ResourceNotFound": (404, "The function, its version or its alias is no more."),
}
"""Status and message of an event that no invocation has failed on."""


class UnfitError(LabError):
    """What a destination cannot be."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """One call of a service: boto3's name of the operation, and its parameters but for a queue's URL."""

    arn: Arn
    operation: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


def check(text: str, *, success: bool = False, dead: bool = False, stream: bool = False) -> Arn:
    """Return a destination's ARN. Raises UnfitError for what AWS does not deliver to."""
    try:
        arn = arns.parse(text)
    except ValueError as error:
        raise UnfitError(str(error)) from error
    kinds = DEAD_LETTERS if dead else STREAMS if stream else DESTINATIONS
    if arn.service not in kinds:
        raise UnfitError(f"{text} is of {arn.service}: possible are {', '.join(kinds)}")
    if success and arn.service == "s3":
        raise UnfitError(f"{text} is a bucket, which takes records of failures only")
    return arn


def pack(
    text: str, outcome: Outcome, record: bytes, now: dt.datetime, unique: str, trace: str | None = None
) -> Parcel:
    """Return what a destination that is no function is sent. `unique` is a UUID. Raises UnfitError."""
    arn = check(text, success=not outcome.failed)
    body = record.decode()
    if arn.service == "s3":
        key = f"aws/lambda/async/{outcome.function}/{now:%Y/%m/%d/%Y-%m-%dT%H.%M.%S}-{unique}"
        content = {"Body": record, "ContentType": "application/json"}
        return Parcel(arn, "put_object", {"Bucket": arn.resource, "Key": key, **content})
    if arn.service == "events":
        entry: dict[str, Any] = {
            "Time": now,
            "Source": "lambda",
            "DetailType": f"Lambda Function Invocation Result - {'Failure' if outcome.failed else 'Success'}",
            "Resources": [text, qualified_arn(outcome.function, outcome.qualifier or LATEST)],
            "Detail": body,
            "EventBusName": arn.resource.removeprefix("event-bus/"),
        }
        if _sampled(trace):
            entry["TraceHeader"] = trace
        return Parcel(arn, "put_events", {"Entries": [entry]})
    return _message(arn, body, {}, trace)


def pack_stream(text: str, told: Mapping[str, Any], event: bytes, key: str) -> Parcel:
    """Return what a destination is sent of records of a stream that are given up. Raises UnfitError.

    A bucket gets the records too, under `aws/lambda/` and a key.
    """
    arn = check(text, stream=True)
    if arn.service == "s3":
        body = json.dumps({**told, "payload": event.decode()}).encode()
        content = {"Body": body, "ContentType": "application/json"}
        return Parcel(arn, "put_object", {"Bucket": arn.resource, "Key": f"aws/lambda/{key}", **content})
    return _message(arn, json.dumps(told), {}, None)


def dead_letter(text: str, outcome: Outcome, payload: bytes, trace: str | None = None) -> Parcel:
    """Return what a dead-letter queue or topic is sent. Raises UnfitError."""
    arn = check(text, dead=True)
    status, message = _error(outcome)
    told = (("RequestID", "String", outcome.request_id), ("ErrorCode", "Number", str(status)))
    attributes = {name: {"DataType": kind, "StringValue": value} for name, kind, value in told}
    if message:  # no service takes an empty one
        attributes["ErrorMessage"] = {"DataType": "String", "StringValue": message}
    return _message(arn, payload.decode("utf-8", "replace"), attributes, trace)


def _message(arn: Arn, body: str, attributes: Mapping[str, Any], trace: str | None) -> Parcel:
    if arn.resource.endswith(".fifo"):
        raise UnfitError(f"{arn.text} is FIFO: only a standard queue or topic can be a destination")
    parameters: dict[str, Any] = {"MessageAttributes": dict(attributes)} if attributes else {}
    if arn.service == "sns":
        return Parcel(arn, "publish", {"TopicArn": arn.text, "Message": body, **parameters})
    if _sampled(trace):
        header = {"DataType": "String", "StringValue": trace}
        parameters["MessageSystemAttributes"] = {"AWSTraceHeader": header}
    return Parcel(arn, "send_message", {"MessageBody": body, **parameters})


def _sampled(trace: str | None) -> bool:
    return trace is not None and "Root=" in trace and "Sampled=1" in trace


def _error(outcome: Outcome) -> tuple[int, str]:
    """Return a dead letter's status code and message: those of the last attempt, if there was one."""
    if outcome.invocation is None:
        return _ERRORS.get(outcome.condition, (500, outcome.condition))
    answered = parse_payload(outcome.invocation.payload)
    message = answered.get("errorMessage") if isinstance(answered, dict) else None
    text = message if isinstance(message, str) else str(answered if message is None else message)
    return 200, text.encode()[:MAX_MESSAGE_BYTES].decode("utf-8", "ignore")
