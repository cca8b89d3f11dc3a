"""`assert_trace`: what it lets pass, and how it tells a difference."""

from __future__ import annotations

import re
import textwrap
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanKind, StatusCode

from lambent.testing import assert_trace, expect, recording_tracer, show_trace
from lambent_lab.traces.model import SpanRecord


@pytest.fixture
def tracer() -> Any:
    """A tracer with one trace: an order that is loaded, and a payment that fails."""
    made = recording_tracer()
    with made.trace("order", kind="SERVER", attributes={"id": 7, "paid": False}) as root:
        with made.trace("load") as load:
            load.set_attributes({"rows": 3, "tables": ["a", "b"], "text": "SELECT 1"})
            load.add_event("cache", {"hit": True})
            made.fake_clock.advance(0.25)
        pay = made.trace("pay", kind="CLIENT")
        pay.add_link(root.context, {"why": "retry"})
        with pytest.raises(ValueError, match="no number"), pay:
            int("no number")
    return made


def difference(spans: Any, *roots: Any, **options: Any) -> str:
    with pytest.raises(AssertionError) as caught:
        assert_trace(spans, *roots, **options)
    head, _, told = str(caught.value).partition("\n")
    assert head == "not the trace that was expected (- expected, + found):"
    return told


def lines(text: str) -> str:
    return textwrap.dedent(text).strip("\n")


# What passes.


def test_what_is_left_out_is_not_compared(tracer: Any) -> None:
    assert_trace(tracer, expect("order", "load", "pay"))
    assert_trace(tracer.spans, expect("order", expect("load"), expect("pay")))
    assert_trace(tracer.exporter, expect("order", ...))
    assert_trace(tracer, expect("order", "load", ...))
    assert_trace(tracer, expect("order", ..., "pay"))
    assert_trace(tracer, ...)
    assert_trace([], ...)
    assert_trace([])


def test_everything_that_can_be_expected(tracer: Any) -> None:
    root = tracer.spans[-1]
    assert_trace(
        tracer,
        expect(
            "order",
            expect(
                "load",
                attributes={"rows": 3, "tables": ["a", "b"], "text": "SELECT 1"},
                events=["cache"],
                links=[],
                seconds=0.25,
                scope="lambent",
            ),
            expect(
                "pay",
                kind="CLIENT",
                status=("ERROR", re.compile("no number")),
                events=[("exception", {"exception.type": "ValueError", "exception.stacktrace": ...})],
                links=[(root, {"why": "retry"})],
                seconds=0,
            ),
            attributes={"id": 7, "paid": False, "missing": None},
            kind="SERVER",
            status="UNSET",
        ),
    )


@pytest.mark.parametrize(
    "wanted",
    [
        {"rows": ...},
        {"rows": lambda rows: 0 < rows < 9},
        {"rows": pytest.approx(3)},
        {"text": re.compile("^SELECT")},
        {"tables": ("a", "b")},
        {"tables": ["a", ...]},
        {"other": None},
    ],
)
def test_values_that_match(tracer: Any, wanted: Any) -> None:
    assert_trace(tracer, expect("order", expect("load", attributes=wanted), "pay"))


@pytest.mark.parametrize(
    ("wanted", "minus"),
    [
        ({"rows": 4}, "rows = 4"),
        ({"rows": True}, "rows = True"),
        ({"rows": None}, "no rows"),
        ({"other": ...}, "other = …"),
        ({"rows": str.isdigit}, "rows = isdigit"),
        ({"text": re.compile("UPDATE")}, "text = /UPDATE/"),
        ({"tables": ["a"]}, "tables = ['a']"),
        ({"tables": ("b", ...)}, "tables = ['b', Ellipsis]"),
    ],
)
def test_values_that_do_not(tracer: Any, wanted: Any, minus: str) -> None:
    if callable(wanted.get("rows")) and wanted["rows"] is not ...:
        wanted = {"text": wanted["rows"]}
        minus = "text = isdigit"
    told = difference(tracer, expect("order", expect("load", attributes=wanted), "pay"))
    assert f"-     {minus}" in told.splitlines()


def test_names_by_pattern(tracer: Any) -> None:
    assert_trace(tracer, expect(re.compile("^ord"), "load", expect(...)))


def test_exactly_these_attributes(tracer: Any) -> None:
    root = expect("order", attributes={"id": 7})
    told = difference(tracer.spans[-1:], root, exact=True)
    assert told == lines("""
        |  order
        |    id = 7
        |+   paid = False
        """).replace("|", "")
    assert_trace(tracer.spans[-1:], expect("order", attributes={"id": 7, "paid": False}), exact=True)


# How a difference is told.


def test_a_difference_shows_both_in_one_tree(tracer: Any) -> None:
    told = difference(
        tracer,
        expect(
            "order",
            expect("load", attributes={"rows": 4, "text": "SELECT 1"}, events=["cache", "commit"]),
            expect("render", "template", attributes={"size": 1}, status="OK"),
            kind="CONSUMER",
            attributes={"id": 7},
        ),
    )
    assert told == lines("""
        |- order [CONSUMER]
        |+ order [SERVER]
        |    id = 7
        |    load
        |-     rows = 4
        |+     rows = 3
        |      text = 'SELECT 1'
        |      * cache
        |-     * commit
        |-   render [OK]
        |-     size = 1
        |-     template
        |+   pay [CLIENT] [ERROR: ValueError: invalid literal for int() with base 10: 'no number']
        |+     * exception
        """).replace("|", "")


def test_differences_of_events_and_links(tracer: Any) -> None:
    load, pay, root = tracer.spans
    told = difference(
        [pay],
        expect("pay", events=[("exception", {"exception.type": "KeyError"})], links=[load, (root, {"a": 1})]),
    )
    assert told == lines("""
        |  pay
        |    * exception
        |-       exception.type = 'KeyError'
        |+       exception.type = 'ValueError'
        |-   → 00000000000000000000000000000001/0000000000000002
        |+   → 00000000000000000000000000000001/0000000000000001
        |-   → 00000000000000000000000000000001/0000000000000001
        |-       a = 1
        """).replace("|", "")
    assert "+   * cache" in difference([load], expect("load", events=[])).splitlines()
    assert "-   * other" in difference([load], expect("load", events=["other"])).splitlines()


def test_a_status_message_and_a_duration(tracer: Any) -> None:
    told = difference(tracer.spans[:1], expect("load", status=("ERROR", "full"), seconds=1))
    assert told == "- load [ERROR: 'full'] [1 s]\n+ load [UNSET] [0.25 s]"


def test_spans_too_many_and_too_few(tracer: Any) -> None:
    assert difference(tracer, "order").splitlines()[:2] == ["  order", "+   load"]
    assert difference([], "order") == "- order"
    assert difference(tracer.spans[:1]) == "+ load\n+   * cache"
    with tracer.trace("another"):
        pass
    assert difference(tracer, expect("order", ...)).splitlines()[-1] == "+ another"


def test_a_span_of_another_name_in_the_same_place(tracer: Any) -> None:
    told = difference(tracer, expect("orders", expect("load", attributes={"rows": 3}), "pay", kind="SERVER"))
    assert told.splitlines()[:3] == ["- orders [SERVER]", "+ order [SERVER]", "    load"]


def test_the_order_in_which_spans_start() -> None:
    tracer = recording_tracer()
    with tracer.trace("all"):
        for name in ("a", "b", "a"):
            with tracer.trace(name):
                pass
    assert_trace(tracer, expect("all", "a", "b", "a"))
    assert difference(tracer, expect("all", "b", "a", "a")) == lines("""
        |  all
        |-   b
        |    a
        |+   b
        |    a
        """).replace("|", "")
    assert_trace(tracer, expect("all", "b", "a", "a"), ordered=False)
    assert_trace(tracer, expect("all", "a", ..., "a"))
    assert_trace(tracer, expect("all", "b", ...))


def test_the_best_partner_is_found_among_spans_of_one_name() -> None:
    tracer = recording_tracer()
    with tracer.trace("all"):
        for number in range(3):
            with tracer.trace("query", attributes={"number": number}):
                pass
    wanted = [expect("query", attributes={"number": number}) for number in (2, 0)]
    assert_trace(tracer, expect("all", "query", *wanted), ordered=False)
    told = difference(
        tracer, expect("all", *wanted, expect("query", attributes={"number": 5})), ordered=False
    )
    assert [line for line in told.splitlines() if line[0] in "+-"] == ["-     number = 5", "+     number = 1"]


@given(st.permutations(range(6)), st.integers(0, 5))
def test_any_order_of_children_is_found(order: list[int], wrong: int) -> None:
    tracer = recording_tracer()
    with tracer.trace("all"):
        for number in range(6):
            with tracer.trace("work", attributes={"number": number, "even": number % 2 == 0}):
                pass
    wanted = [expect("work", attributes={"number": n} if n < 4 else {"even": n % 2 == 0}) for n in order]
    assert_trace(tracer, expect("all", *wanted), ordered=False)
    wanted[wrong] = expect("work", attributes={"number": 9})
    assert "-     number = 9" in difference(tracer, expect("all", *wanted), ordered=False).splitlines()


def test_threads_take_part() -> None:
    tracer = recording_tracer()
    with tracer.trace("all") as root:
        threads = [
            threading.Thread(target=lambda n=n: tracer.start_span(f"part {n}", context=root).end())
            for n in range(4)
        ]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    assert_trace(tracer, expect("all", *[f"part {n}" for n in (3, 1, 0, 2)]), ordered=False)


def test_a_tree_as_text(tracer: Any) -> None:
    assert show_trace(tracer) == lines("""
        order [SERVER]
          id = 7
          paid = False
          load
            rows = 3
            tables = ['a', 'b']
            text = 'SELECT 1'
            * cache
          pay [CLIENT] [ERROR: ValueError: invalid literal for int() with base 10: 'no number']
            * exception
        """)
    assert show_trace(tracer.spans[:1], attributes=False) == "load\n  * cache"


# Whose spans they are.


def test_spans_of_opentelemetrys_sdk() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    theirs = provider.get_tracer("shop")
    with theirs.start_as_current_span("order", kind=SpanKind.SERVER, attributes={"tables": ["a"]}) as root:
        link = Link(root.get_span_context(), {"why": "retry"})
        with theirs.start_as_current_span("load", links=[link]) as span:
            span.add_event("cache", {"hit": True})
            span.set_status(StatusCode.ERROR, "full")
    provider.shutdown()
    load = expect(
        "load",
        status=("ERROR", "full"),
        events=[("cache", {"hit": True})],
        links=[(root, {"why": "retry"})],
        scope="shop",
    )
    assert_trace(
        exporter.get_finished_spans(), expect("order", load, kind="SERVER", attributes={"tables": ["a"]})
    )
    assert "+ load" in difference(exporter.get_finished_spans(), "order").replace("+   ", "+ ")


def test_spans_of_the_lab() -> None:
    trace_id = "0" * 31 + "1"
    root = SpanRecord(
        trace_id=trace_id,
        span_id="0" * 15 + "1",
        parent_span_id="f" * 16,
        name="order",
        kind="SERVER",
        start_ns=1,
        end_ns=9,
    )
    child = SpanRecord(
        trace_id=trace_id,
        span_id="0" * 15 + "2",
        parent_span_id=root.span_id,
        name="load",
        start_ns=2,
        end_ns=2_000_000_002,
        status="ERROR",
        status_message="full",
        attributes={"rows": 3},
        events=[{"name": "cache", "time_ns": 3, "attributes": {"hit": True}, "dropped_attributes": 0}],
        links=[
            {
                "trace_id": trace_id,
                "span_id": root.span_id,
                "trace_state": "",
                "attributes": {},
                "dropped_attributes": 0,
            }
        ],
    )
    load = expect(
        "load",
        attributes={"rows": 3},
        status=("ERROR", "full"),
        seconds=2,
        events=[("cache", {"hit": True})],
        links=[root],
    )
    assert_trace([child, root], expect("order", load, kind="SERVER"))
