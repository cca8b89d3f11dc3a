"""The spans of a test, from a lab that stores what it is told: waits, duplicates, spans that end later."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Any

import pytest

from lambent.testing import expect
from lambent_lab.fixtures.spans import Traces
from lambent_lab.service import Lab
from lambent_lab.traces import SpanRecord

if TYPE_CHECKING:
    from collections.abc import Iterator


def span(number: int, name: str = "work", parent: int = 0, **more: Any) -> SpanRecord:
    parts: dict[str, Any] = {"start_ns": number, "end_ns": number + 1, **more}
    return SpanRecord(
        trace_id=f"{1:032x}",
        span_id=f"{number:016x}",
        parent_span_id=f"{parent:016x}" if parent else "",
        name=name,
        **parts,
    )


@pytest.fixture
def own() -> Iterator[Lab]:
    lab = Lab()  # not open: it stores
    yield lab
    lab.close()


def test_what_was_there_before_is_not_and_each_span_is_there_once(own: Lab) -> None:
    own.save([span(1)])
    own._receive([span(0)], 1)  # it is not stored yet
    traces = Traces(own)
    own.save([span(3), span(2)])
    own.save([span(2)])
    assert [each.start_ns for each in traces.spans] == [2, 3]
    traces.close()
    own.save([span(4)])
    assert len(traces.spans) == 2


def test_a_span_that_had_not_ended_gives_way_to_the_one_that_has(own: Lab) -> None:
    traces = Traces(own)
    own.save([span(1, end_ns=0)])
    assert traces.one().unfinished
    own.save([span(1, "ended")])
    own.save([span(1, "again", end_ns=0)])
    assert traces.one().name == "ended"


def test_spans_belong_to_the_invocation_that_their_root_names(own: Lab) -> None:
    traces = Traces(own)
    own.save([span(1, attributes={"faas.invocation_id": "a"}), span(2, "child", parent=1)])
    own.save([span(3, attributes={"faas.invocation_id": "b"})])
    assert [each.name for each in traces.of("a")] == ["work", "child"]
    assert traces.one("child", invocation="a").start_ns == 2
    assert traces.find("child", invocation="b") == []


def test_a_span_is_described_as_expect_describes_it(own: Lab) -> None:
    traces = Traces(own)
    own.save([span(1, "GET /a", kind="SERVER", attributes={"n": 3}), span(2, "GET /b", status="ERROR")])
    assert len(traces.find(re.compile("^GET"))) == 2
    assert traces.one(attributes={"n": lambda n: n > 2}).name == "GET /a"
    assert traces.one(status="ERROR").name == "GET /b"
    assert traces.find(kind="CLIENT") == []
    with pytest.raises(AssertionError, match="2 spans are, not one"):
        traces.one()


def test_a_wait_sees_what_another_thread_brings_and_ends_when_nothing_comes(own: Lab) -> None:
    traces = Traces(own)
    timer = threading.Timer(0.05, lambda: own.save([span(1), span(2, "child", parent=1)]))
    timer.start()
    assert traces.wait("child", timeout=30)[0].span_id == f"{2:016x}"
    timer.join()
    traces.expect(expect("work", "child"))
    with pytest.raises(
        AssertionError, match=r"(?s)1 of 2 arrived within 0\.05 s\. What has arrived:\nwork\n"
    ):
        traces.wait("child", count=2, timeout=0.05)
    with pytest.raises(AssertionError, match=r"(?s)- +other.*\+ +child"):
        traces.expect(expect("work", "other"), timeout=0)
    traces.clear()
    with pytest.raises(AssertionError, match=r"What has arrived:\nnothing"):
        traces.wait(timeout=0)
