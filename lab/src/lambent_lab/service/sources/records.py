"""An SQS message as a function gets it, and a batch of them as an event. Pure.

Rules
- A record has the message's own fields with a small first letter; bytes are base64.
- An event is at most 6 MB, the records around the bodies included: what does not fit begins the next batch.

Source: AWS Lambda's developer guide, "Using Lambda with Amazon SQS"; LocalStack's recordings of AWS.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lambent_lab.service.arns import Arn

MAX_BYTES = 6 * 1024 * 1024
_AROUND = len(b'{"Records":[]}')


def record(message: Mapping[str, Any], queue: Arn) -> dict[str, Any]:
    """Return the record of a message that boto3 has received."""
    made: dict[str, Any] = {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message.get("Body", ""),
        "attributes": dict(message.get("Attributes", {})),
        "messageAttributes": {
            name: _attribute(value) for name, value in message.get("MessageAttributes", {}).items()
        },
        "md5OfBody": message.get("MD5OfBody", ""),
        "eventSource": "aws:sqs",
        "eventSourceARN": queue.text,
        "awsRegion": queue.region,
    }
    if "MD5OfMessageAttributes" in message:
        made["md5OfMessageAttributes"] = message["MD5OfMessageAttributes"]
    return made


def _attribute(value: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if "StringValue" in value:
        made["stringValue"] = value["StringValue"]
    if "BinaryValue" in value:
        made["binaryValue"] = base64.b64encode(value["BinaryValue"]).decode()
    return {**made, "stringListValues": [], "binaryListValues": [], "dataType": value["DataType"]}


@dataclass(slots=True)
class Batch:
    """Records that are handed over together: as many as `size`, and as fit into an event.

    `handles` has the receipt handle of each message by its id; `since` is when the first one was received.
    """

    size: int
    since: float = 0.0
    handles: dict[str, str] = field(default_factory=dict)
    _encoded: list[bytes] = field(default_factory=list)
    _bytes: int = _AROUND

    def __len__(self) -> int:
        return len(self._encoded)

    @property
    def full(self) -> bool:
        """Whether there are as many records as there may be."""
        return len(self) >= self.size

    @property
    def room(self) -> int:
        """How many more there may be."""
        return self.size - len(self)

    def add(self, made: Mapping[str, Any], name: str, handle: str = "") -> bool:
        """Take a record with its id and handle, if it fits; tell whether it did. The first always does."""
        encoded = json.dumps(made, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
        grown = self._bytes + len(encoded) + (1 if self._encoded else 0)
        if self._encoded and (grown > MAX_BYTES or self.full):
            return False
        self._encoded.append(encoded)
        self._bytes = grown
        # A message that has come twice has a new handle, which is the one that counts.
        self.handles[name] = handle
        return True

    @property
    def payload(self) -> bytes:
        """The event."""
        return b'{"Records":[' + b",".join(self._encoded) + b"]}"
