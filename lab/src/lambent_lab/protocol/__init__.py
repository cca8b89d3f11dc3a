"""The APIs between Lambda and what runs in it, as state machines over values: no sockets, no clocks."""

from lambent_lab.protocol.outcomes import (
    Answer,
    Event,
    InitFailed,
    Polled,
    Reply,
    ResponseTooLarge,
    ResponseTruncated,
    RestoreFailed,
    SnapshotReady,
    StreamBegan,
)
from lambent_lab.protocol.runtime import RuntimeApi, State

__all__ = [
    "Answer",
    "Event",
    "InitFailed",
    "Polled",
    "Reply",
    "ResponseTooLarge",
    "ResponseTruncated",
    "RestoreFailed",
    "RuntimeApi",
    "SnapshotReady",
    "State",
    "StreamBegan",
]
