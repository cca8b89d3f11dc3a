"""The Telemetry API's values: what a subscription may say, and how batches are formed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent_lab.protocol import Reply
from lambent_lab.protocol.telemetry import (
    LOGS_PATH,
    LOGS_SCHEMAS,
    MAX_WAITING,
    Buffer,
    Subscription,
    closed,
    encode,
    hears,
    parse,
)

GOOD: dict[str, Any] = {
    "schemaVersion": "2022-12-13",
    "types": ["platform", "function"],
    "buffering": {"maxItems": 1000, "maxBytes": 262144, "timeoutMs": 25},
    "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:8080/logs?x=1"},
}


def parsed(**changes: object) -> Subscription | Reply:
    return parse(json.dumps({**GOOD, **changes}).encode())


def test_a_whole_subscription() -> None:
    assert parsed() == Subscription(
        ("platform", "function"),
        "HTTP",
        8080,
        "/logs?x=1",
        max_items=1000,
        max_bytes=262144,
        timeout_ms=25,
        schema="2022-12-13",
    )


def test_buffering_has_defaults_and_tcp_needs_a_port_only() -> None:
    assert parsed(buffering=None, destination={"protocol": "TCP", "port": 5000}, types=["extension"]) == (
        Subscription(
            ("extension",),
            "TCP",
            5000,
            "",
            max_items=10_000,
            max_bytes=262_144,
            timeout_ms=1000,
            schema="2022-12-13",
        )
    )


@pytest.mark.parametrize("host", ["sandbox.localdomain", "sandbox", "localhost", "127.0.0.1"])
def test_every_name_of_the_loopback(host: str) -> None:
    outcome = parsed(destination={"protocol": "HTTP", "URI": f"http://{host}:4243"})
    assert isinstance(outcome, Subscription)
    assert (outcome.port, outcome.path) == (4243, "/")


@pytest.mark.parametrize(
    "changes",
    [
        {"schemaVersion": "2020-08-15"},
        {"schemaVersion": None},
        {"types": []},
        {"types": ["logs"]},
        {"types": "platform"},
        {"types": [["platform"]]},
        {"buffering": []},
        {"buffering": {"maxItems": 999}},
        {"buffering": {"maxItems": 10_001}},
        {"buffering": {"maxItems": True}},
        {"buffering": {"maxBytes": 262_143}},
        {"buffering": {"maxBytes": 1_048_577}},
        {"buffering": {"timeoutMs": 24}},
        {"buffering": {"timeoutMs": 30_001}},
        {"buffering": {"timeoutMs": "100"}},
        {"destination": None},
        {"destination": {"protocol": "UDP", "port": 5000}},
        {"destination": {"protocol": "HTTP"}},
        {"destination": {"protocol": "HTTP", "URI": "https://sandbox:80/"}},
        {"destination": {"protocol": "HTTP", "URI": "http://example.com:80/"}},
        {"destination": {"protocol": "HTTP", "URI": "http://sandbox/"}},
        {"destination": {"protocol": "HTTP", "URI": "http://sandbox:9001/"}},
        {"destination": {"protocol": "HTTP", "URI": "http://sandbox:99999/"}},
        {"destination": {"protocol": "HTTP", "URI": "http://sandbox:80/a b"}},
        {"destination": {"protocol": "HTTP", "URI": "http://[:80/"}},
        {"destination": {"protocol": "TCP", "port": 0}},
        {"destination": {"protocol": "TCP", "port": "5000"}},
    ],
)
def test_every_refusal(changes: dict[str, object]) -> None:
    outcome = parsed(**changes)
    assert isinstance(outcome, Reply)
    assert outcome.status == 400
    assert json.loads(outcome.body)["errorType"] == "ValidationError"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff"])
def test_a_body_that_is_no_object(body: bytes) -> None:
    outcome = parse(body)
    assert isinstance(outcome, Reply)
    assert outcome.status == 400


def small(**limits: int) -> Buffer:
    """A buffer with limits below what a subscription may ask for."""
    values: dict[str, Any] = {"max_items": 3, "max_bytes": 100, "timeout_ms": 1000, **limits}
    return Buffer(Subscription(("platform",), "HTTP", 1, "/", **values))


def test_a_batch_is_due_after_its_time_or_when_it_is_full() -> None:
    buffer = small()
    dues = [buffer.due]
    assert buffer.next_batch(10.0) is None
    buffer.add(b"a", 10.0)
    buffer.add(b"b", 10.5)
    dues.append(buffer.due)
    assert buffer.next_batch(10.9) is None
    batch = buffer.next_batch(11.0)
    assert batch == [b"a", b"b"]
    assert buffer.next_batch(11.0) is batch  # until it has arrived
    buffer.delivered(batch)
    dues.append(buffer.due)
    assert dues == [None, 11.0, None]
    for record in (b"c", b"d", b"e"):
        buffer.add(record, 20.0)
    assert buffer.next_batch(20.0) == [b"c", b"d", b"e"]


def test_no_batch_is_larger_than_its_bytes_but_for_one_record() -> None:
    buffer = small(max_items=10)
    for size in (60, 50, 300):
        buffer.add(b"x" * size, 0.0)
    sizes = []
    while batch := buffer.next_batch(0.0, everything=True):
        sizes.append([len(record) for record in batch])
        buffer.delivered(batch)
    assert sizes == [[60], [50], [300]]


def test_the_oldest_batch_is_dropped_and_counted() -> None:
    buffer = small(max_items=1)
    dropped = [buffer.add(b"%03d" % number, 0.0) for number in range(MAX_WAITING + 1)]
    assert dropped[:-1] == [None] * MAX_WAITING
    assert dropped[-1] is not None
    assert (dropped[-1].records, dropped[-1].size) == (1, 3)
    assert buffer.next_batch(0.0) == [b"001"]


def test_a_batch_that_was_dropped_on_its_way_takes_no_other_with_it() -> None:
    buffer = small(max_items=1)
    buffer.add(b"first", 0.0)
    sent = buffer.next_batch(0.0)
    assert sent is not None
    for number in range(MAX_WAITING):
        buffer.add(b"%d" % number, 0.0)
    buffer.delivered(sent)
    assert buffer.next_batch(0.0) == [b"0"]


def test_how_batches_travel() -> None:
    records = [encode("2026-01-01T00:00:00.000Z", "function", 'a "line"'), b"{}"]
    assert json.loads(small().body(records))[0] == {
        "time": "2026-01-01T00:00:00.000Z",
        "type": "function",
        "record": 'a "line"',
    }
    tcp = Buffer(Subscription(("platform",), "TCP", 1, "", 1000, 262144, 1000))
    assert tcp.body(records).splitlines() == records


@given(st.lists(st.binary(min_size=1, max_size=150), max_size=40), st.data())
def test_every_record_arrives_once_and_in_order(records: list[bytes], data: st.DataObject) -> None:
    buffer, arrived, lost = small(), [], 0
    for record in records:
        dropped = buffer.add(record, 0.0)
        lost += dropped.records if dropped is not None else 0
        if data.draw(st.booleans()) and (batch := buffer.next_batch(0.0)):
            arrived += batch
            buffer.delivered(batch)
    while batch := buffer.next_batch(0.0, everything=True):
        arrived += batch
        buffer.delivered(batch)
    assert len(arrived) + lost == len(records)
    remaining = iter(records)
    assert all(record in remaining for record in arrived)


@pytest.mark.parametrize(
    ("schema", "name", "heard"),
    [
        ("2022-07-01", "platform.initStart", True),
        ("2025-01-29", "platform.end", False),
        ("2022-12-13", "platform.logsSubscription", False),
        ("2022-12-13", "function", True),
        ("2020-08-15", "platform.start", True),
        ("2020-08-15", "platform.end", True),
        ("2020-08-15", "platform.runtimeDone", False),
        ("2021-03-18", "platform.runtimeDone", True),
        ("2021-03-18", "platform.initStart", False),
        ("2021-03-18", "platform.telemetrySubscription", False),
        ("2021-03-18", "extension", True),
    ],
)
def test_who_hears_of_what(schema: str, name: str, *, heard: bool) -> None:
    assert hears(schema, name) is heard


def test_the_logs_api_has_schemas_of_its_own() -> None:
    body = json.dumps({**GOOD, "schemaVersion": "2021-03-18"}).encode()
    good = parse(body, LOGS_SCHEMAS)
    assert isinstance(good, Subscription)
    assert good.schema == "2021-03-18"
    assert isinstance(parse(body), Reply)
    assert isinstance(parse(json.dumps(GOOD).encode(), LOGS_SCHEMAS), Reply)
    assert json.loads(closed(LOGS_PATH).body)["errorType"] == "Logs.SubscriptionClosed"
    assert json.loads(closed().body)["errorType"] == "Telemetry.SubscriptionClosed"
