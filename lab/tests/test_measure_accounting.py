"""Spans made against spans received, counted from what invocations say of themselves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lambent_lab.measure.accounting import SpanCounter, counting, incomplete

INVOCATIONS = st.lists(st.tuples(st.integers(0, 9), st.none() | st.integers(0, 9)), max_size=8)


def counted(*invocations: tuple[int, int | None]) -> SpanCounter:
    counter = SpanCounter()
    for received, made in invocations:
        counter.add(received, made)
    return counter


def test_what_an_invocation_that_says_nothing_delivered_makes_up_for_nothing() -> None:
    totals = counted((3, 3), (2, None), (1, 3), (0, None)).totals()
    assert totals == {"invocations": 4, "made": 6, "received": 6, "lost": 2, "without": 1, "unsaid": 1}
    assert incomplete(totals) == (
        "2 of 6 spans that were made were not received, and the root span of 1 of 4 invocations is missing"
    )


def test_where_nobody_says_anything_nothing_is_known() -> None:
    totals = counted((3, None), (0, None)).totals()
    assert totals == {"invocations": 2, "made": None, "received": 3, "lost": None, "without": 1, "unsaid": 0}
    assert incomplete(totals) is None


def test_spans_that_came_late_belong_to_an_invocation_without_any() -> None:
    counter = counted((3, 3), (0, None))
    counter.add_late(3, 3)
    assert counter.totals() == counted((3, 3), (3, 3)).totals()


@given(INVOCATIONS, INVOCATIONS)
def test_a_counter_goes_on_where_another_one_ended(
    first: list[tuple[int, int | None]], second: list[tuple[int, int | None]]
) -> None:
    # Nobody receives more than was made, and who received nothing has heard nothing.
    first, second = (
        [(r, None if m is None or not r else max(r, m)) for r, m in each] for each in (first, second)
    )
    going_on = SpanCounter.of_totals(counted(*first).totals())
    for received, made in second:
        going_on.add(received, made)
    assert going_on.totals() == counted(*first, *second).totals()


def test_what_the_user_has_set_stays() -> None:
    given = {"OTEL_TRACES_EXPORTER": "console", "LAMBENT_COUNT_SPANS": "false"}
    assert counting(given) == given
    assert counting(given, "http://lab") == {
        **given,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://lab",
    }
