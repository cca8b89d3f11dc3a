from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent_lab.measure.phases import root_end, split

durations = st.floats(0, 900_000)


@dataclass
class Span:
    end_ns: int
    attributes: dict[str, object] = field(default_factory=dict)


@given(durations, st.floats(0, 1), st.integers(0, 2**62), st.integers(-(10**9), 10**12))
def test_the_phases_come_to_the_duration_and_none_is_negative(
    duration: float, share: float, started: int, root: int
) -> None:
    extension = duration * share
    parts = split(duration, extension, started, started + root)
    assert parts.flush_ms is not None
    assert parts.handler_ms >= 0
    assert parts.flush_ms >= 0
    assert parts.handler_ms + parts.flush_ms + extension == pytest.approx(duration)


def test_the_flush_lies_between_the_root_spans_end_and_the_answer() -> None:
    assert split(10.0, 3.0, 1_000_000, 6_000_000) == (5.0, 2.0, 3.0)


def test_without_a_root_span_nothing_is_said_of_a_flush() -> None:
    assert split(10.0, 3.0, 0, None) == (7.0, None, 3.0)
    assert split(10.0, None, 0, None) == (10.0, None, None)


@pytest.mark.parametrize("name", ["faas.invocation_id", "faas.execution"])
def test_the_root_span_is_the_one_with_the_requests_id_that_ended_last(name: str) -> None:
    spans = [Span(5, {name: "a"}), Span(7, {name: "a"}), Span(9, {name: "b"}), Span(11), object()]
    assert root_end(spans, "a") == 7
    assert root_end(spans, "c") is None
    assert root_end([], "a") is None
