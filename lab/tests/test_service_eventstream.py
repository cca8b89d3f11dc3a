"""Our event stream, read by botocore's decoder."""

from __future__ import annotations

import json

import pytest
from botocore.eventstream import ChecksumMismatch, EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from lambent_lab.service.api import eventstream

HEADERS = st.lists(
    st.tuples(st.text(min_size=1, max_size=40), st.text(max_size=300)),
    max_size=5,
    unique_by=lambda pair: pair[0],
)


@given(frames=st.lists(st.tuples(HEADERS, st.binary(max_size=5000)), max_size=4), step=st.integers(1, 700))
def test_frames_are_read_back(frames: list[tuple[list[tuple[str, str]], bytes]], step: int) -> None:
    stream = b"".join(eventstream.frame(headers, payload) for headers, payload in frames)
    buffer = EventStreamBuffer()
    found = []
    for start in range(0, len(stream), step):
        buffer.add_data(stream[start : start + step])
        found += [(message.headers, message.payload) for message in buffer]
    assert found == [(dict(headers), payload) for headers, payload in frames]


@given(st.binary(min_size=1, max_size=50), st.data())
def test_the_checksums_are_those_of_what_was_sent(payload: bytes, data: st.DataObject) -> None:
    frame = bytearray(eventstream.payload_chunk(payload))
    # Lengths are left alone: with others the decoder waits for more.
    at = data.draw(st.integers(8, len(frame) - 1))
    frame[at] ^= 0x01
    buffer = EventStreamBuffer()
    buffer.add_data(bytes(frame))
    with pytest.raises(ChecksumMismatch):
        list(buffer)


def test_events_have_the_names_of_the_model() -> None:
    buffer = EventStreamBuffer()
    buffer.add_data(eventstream.payload_chunk(b"ab") + eventstream.invoke_complete("E", "details", "bG9n"))
    chunk, complete = buffer
    assert chunk.headers[":event-type"] == "PayloadChunk"
    assert chunk.payload == b"ab"
    assert complete.headers[":event-type"] == "InvokeComplete"
    assert json.loads(complete.payload) == {"ErrorCode": "E", "ErrorDetails": "details", "LogResult": "bG9n"}
    buffer.add_data(eventstream.invoke_complete())
    assert json.loads(next(buffer).payload) == {}
