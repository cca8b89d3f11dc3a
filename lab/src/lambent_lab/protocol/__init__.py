"""The APIs between Lambda and what runs in it, as state machines over values: no sockets, no clocks."""

from lambent_lab.protocol.runtime import (
    Answer,
    Event,
    InitFailed,
    Polled,
    Reply,
    ResponseTooLarge,
    ResponseTruncated,
    RestoreFailed,
    RuntimeApi,
    SnapshotReady,
    State,
    StreamBegan,
)

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
