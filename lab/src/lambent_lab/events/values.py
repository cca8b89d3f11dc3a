"""The values that sample events share. All are made up, and all follow from the time that is given."""

from __future__ import annotations

import hashlib
import uuid
from datetime import UTC
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from datetime import datetime

    from lambent_lab.traces.model import Json

Event: TypeAlias = "dict[str, Json]"

ACCOUNT = "123456789012"
REGION = "us-east-1"


def hex_id(what: str, now: datetime, length: int) -> str:
    """Return `length` hexadecimal digits (64 at most) that belong to this thing at this time."""
    return hashlib.sha256(f"{what} {now.isoformat()}".encode()).hexdigest()[:length]


def request_id(what: str, now: datetime) -> str:
    """Return a UUID that belongs to this thing at this time."""
    return str(uuid.UUID(hex_id(what, now, 32), version=4))


def millis(now: datetime) -> int:
    """Return a time as milliseconds since 1970."""
    return int(now.timestamp() * 1000)


def iso_millis(now: datetime) -> str:
    """Return a time as AWS writes it in JSON, with milliseconds."""
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond // 1000:03d}Z"


def iso_seconds(now: datetime) -> str:
    """Return a time as AWS writes it in JSON, with whole seconds."""
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
