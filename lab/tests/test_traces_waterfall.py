"""The waterfall: readable at 80 columns, whatever the data is like."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from lambent_lab.traces import LinkRecord, SpanRecord
from lambent_lab.traces.text import cut, duration, escape, timestamp, wrap
from lambent_lab.traces.tree import arrange
from lambent_lab.traces.waterfall import encodable, plain, render

MS = 1_000_000
T0 = 1_795_253_400_123_000_000


def span(number: int, parent: int = 0, start: float = 0, took: float | None = 1, **fields: Any) -> SpanRecord:
    """A span whose times are in milliseconds after T0; took=None has not ended."""
    begin = T0 + int(start * MS)
    values: dict[str, Any] = {
        "trace_id": "5b8efff798038103d269b633813fc60c",
        "span_id": f"{number:016x}",
        "parent_span_id": f"{parent:016x}" if parent else "",
        "name": f"span {number}",
        "start_ns": begin,
        "end_ns": 0 if took is None else begin + int(took * MS),
    }
    return SpanRecord(**{**values, **fields})


ORDERS = [
    span(1, start=0, took=20, name="GET /orders/{id}", resource={"service.name": "orders-api"}),
    span(3, 1, start=12, took=6, name="render", status="OK"),
    span(2, 1, start=2, took=10, name="SELECT orders", status="ERROR", status_message="no such table"),
    span(4, 2, start=4, took=0, name="cache miss"),
]


PICTURE = """\
trace 5b8efff798038103d269b633813fc60c
orders-api · 20.0 ms · 4 spans · 1 error · 2026-11-21 09:30:00.123 UTC
span                                                      start  duration status
GET /orders/{id} █████████████████████████████████████     0 ms   20.0 ms
  SELECT orders     ████████████████████                2.00 ms   10.0 ms ERROR
    cache miss          │                               4.00 ms      0 ms
  render                               ████████████     12.0 ms   6.00 ms ok
"""


def test_the_picture() -> None:
    assert plain(render(ORDERS, width=80)) == PICTURE


LINK: LinkRecord = {
    "trace_id": "b" * 32,
    "span_id": "c" * 16,
    "trace_state": "",
    "attributes": {},
    "dropped_attributes": 0,
}


def drawn(*spans: SpanRecord, **options: Any) -> list[str]:
    return plain(render(spans, **options)).splitlines()


def row(lines: list[str], name: str) -> str:
    (found,) = [line for line in lines if line.lstrip().startswith(name)]
    return found


def test_errors_are_written_in_words() -> None:
    lines = drawn(*ORDERS)
    assert row(lines, "SELECT orders").endswith("ERROR")
    assert row(lines, "render").endswith("ok")
    assert row(lines, "GET /orders").endswith("20.0 ms")


def test_an_instant_can_be_seen() -> None:
    assert "│" in row(drawn(*ORDERS), "cache miss")
    assert "│" in row(drawn(span(1, took=0)), "span 1")
    assert "0 ms" in row(drawn(span(1, took=0)), "span 1")


def test_bars_share_one_axis() -> None:
    lines = drawn(*ORDERS)
    outer, first, second = (row(lines, name) for name in ("GET", "SELECT", "render"))
    assert outer.index("█") < first.index("█") < second.index("█") <= first.rindex("█") + 1
    assert second.rindex("█") < outer.rindex("█")
    assert outer.count("█") == pytest.approx(2 * first.count("█"), abs=3)


def test_a_span_that_had_not_ended() -> None:
    lines = drawn(span(1, took=10), span(2, 1, start=5, took=None))
    assert row(lines, "span 2").endswith("? open")
    assert "┄" in row(lines, "span 2")
    assert any(line.startswith("open: had not ended") for line in lines)
    partial = drawn(span(1, attributes={"lambent.partial": True}))
    assert row(partial, "span 1").endswith("open")


def test_orphans_and_several_roots() -> None:
    lines = drawn(span(1), span(2, 99, start=3), span(3, 2, start=3), span(4, start=9))
    assert row(lines, "span 2").endswith("?")
    assert row(lines, "span 3").startswith("  span 3")
    assert any("its parent is not here" in line for line in lines)
    assert [
        line.split()[1] for line in lines if line.lstrip().startswith("span ") and "start" not in line
    ] == list("1234")


def test_a_child_outside_its_parent() -> None:
    lines = drawn(span(1, start=10, took=5), span(2, 1, start=0, took=1), span(3, 1, start=12, took=30))
    assert row(lines, "span 2").endswith("~")
    assert row(lines, "span 3").endswith("~")
    assert any("clocks differ" in line for line in lines)


def test_a_child_goes_on_after_the_last_that_is_known_of_its_parent() -> None:
    partial = span(1, took=5, attributes={"lambent.partial": True})
    assert partial.unfinished
    _, child = arrange([partial, span(2, 1, start=1, took=30)])
    assert not child.outside


def test_a_span_that_ends_before_it_starts() -> None:
    line = row(drawn(span(1, start=5, took=-3), span(2, start=0, took=9)), "span 1")
    assert "-3.00 ms" in line
    assert line.endswith("!")


def test_parents_in_a_circle() -> None:
    lines = drawn(span(1, 3), span(2, 1), span(3, 2), span(4, 3), span(5, 5), span(6))
    assert sorted(placed.span.name for placed in arrange([span(1, 3), span(2, 1), span(3, 2)])) == [
        "span 1", "span 2", "span 3",
    ]  # fmt: skip
    assert row(lines, "span 1").endswith("@")
    assert row(lines, "span 5").endswith("@")
    assert row(lines, "span 4").startswith("      span 4")
    assert any("own ancestor" in line for line in lines)


def test_what_hangs_off_a_circle_is_not_its_root() -> None:
    placed = arrange([span(1, 2, start=0), span(2, 3, start=5), span(3, 2, start=6)])
    assert [(one.span.name, one.depth, one.cycle) for one in placed] == [
        ("span 2", 0, True),
        ("span 1", 1, False),
        ("span 3", 1, False),
    ]


def test_fifty_thousand_spans_in_a_chain() -> None:
    placed = arrange([span(number, number - 1) for number in range(1, 50_001)])
    assert placed[-1].depth == 49_999
    assert len(drawn(*[span(number, number - 1) for number in range(1, 201)])) == 203


def test_unknown_times_do_not_stretch_the_axis() -> None:
    lines = drawn(span(1, took=10), span(2, 1, start_ns=0, end_ns=0))
    assert "10.0 ms" in lines[1]
    assert "time not known" in drawn(span(1, start_ns=0, end_ns=0))[1]


def test_names_cannot_move_the_cursor() -> None:
    lines = drawn(span(1, name="a\x1b[31m\nb\u202e\x9b"))
    assert r"a\x1b[31m\nb\u202e\x9b" in lines[3]


def test_attributes_events_and_links_on_request() -> None:
    one = span(
        1,
        kind="SERVER",
        status="ERROR",
        status_message="boom",
        attributes={"http.route": "/orders/{id}", "ids": [1, 2], "raw": b"\x00"},
        events=[
            {
                "name": "exception",
                "time_ns": T0 + MS // 2,
                "attributes": {"exception.stacktrace": "Traceback:\n  File x\n\nKeyError: 'a'"},
                "dropped_attributes": 0,
            }
        ],
        links=[LINK],
        resource={"service.name": "orders", "faas.name": "fn"},
        dropped_events=3,
    )  # fmt: skip
    lines = [line.strip() for line in drawn(one, attributes=True)]
    for expected in (
        "status message = boom",
        "kind = server",
        "http.route = /orders/{id}",
        "ids = [1, 2]",
        'raw = "AA=="',
        "• exception at 500 µs",
        "exception.stacktrace = Traceback:",
        "File x",
        "KeyError: 'a'",
        f"→ linked to span {'c' * 16} of trace",
        "dropped by limits: 3 events",
        "faas.name = fn",
    ):
        assert any(line.startswith(expected) for line in lines), expected
    assert not any("boom" in line for line in drawn(one))


def test_long_values_are_wrapped_whole_and_very_long_ones_shortened() -> None:
    text = "0123456789" * 30
    lines = drawn(span(1, attributes={"key": text}), attributes=True, width=60)
    joined = "".join(line.strip() for line in lines)
    assert text in joined
    assert "1000 more characters" in " ".join(
        drawn(span(1, attributes={"key": "x" * 5000}), attributes=True, width=5100)
    )


def test_ascii_only() -> None:
    text = plain(render([*ORDERS, span(9, 1, name="größe", took=None)], ascii_only=True, attributes=True))
    assert text.isascii()
    assert "#" in text
    assert r"gr\xf6\xdfe" in text


def test_what_an_output_can_show() -> None:
    assert encodable("utf-8")
    assert not encodable("ascii")
    assert not encodable("latin-1")
    assert not encodable(None)
    assert not encodable("no-such-encoding")


def test_nothing_to_draw() -> None:
    assert render([]) == []


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0 ms"),
        (850, "850 ns"),
        (1_234, "1.23 µs"),
        (12_345_678, "12.3 ms"),
        (999_999_999, "1000 ms"),
        (1_500_000_000, "1.50 s"),
        (90 * 10**9, "1.50 min"),
        (7200 * 10**9, "2.00 h"),
        (2**63, "106752 d"),
        (-1_500_000, "-1.50 ms"),
    ],
)
def test_durations(ns: int, text: str) -> None:
    assert duration(ns) == text


@given(st.integers(-(2**63), 2**63))
def test_a_duration_fits_its_column(ns: int) -> None:
    assert len(duration(ns)) <= 9
    assert duration(ns, ascii_only=True).isascii()


@given(st.integers(1, 2**63 - 1))
def test_every_time_can_be_written(ns: int) -> None:
    assert timestamp(ns).endswith(" UTC")


@given(st.text(), st.integers(2, 40))
def test_text_is_cut_and_wrapped_to_its_width(text: str, width: int) -> None:
    safe = escape(text)
    assert safe.isprintable()
    assert cell_len(cut(safe, width)) <= width
    pieces = wrap(safe, width)
    assert "".join(pieces) == safe
    assert all(cell_len(piece) <= width for piece in pieces)


names = st.text(max_size=30) | st.sampled_from(["", "a" * 300, "数据库查询" * 20, "\x1b]0;x\x07"])
times = st.sampled_from([0, 1, T0, T0 + 1, T0 + MS, T0 + 50 * MS, 2**63 - 1])
values = (
    st.text(max_size=20)
    | st.integers()
    | st.binary(max_size=4)
    | st.floats()
    | st.none()
    | st.just("a\nb\r\n\tc" * 30)
)
spans_of_any_kind = st.lists(
    st.builds(
        SpanRecord,
        trace_id=st.just("5b8efff798038103d269b633813fc60c"),
        span_id=st.integers(1, 12).map("{:016x}".format),
        parent_span_id=st.integers(0, 14).map(lambda number: f"{number:016x}" if number else ""),
        name=names,
        kind=st.sampled_from(["SERVER", "INTERNAL"]),
        start_ns=times,
        end_ns=times,
        status=st.sampled_from(["UNSET", "OK", "ERROR"]),
        status_message=names,
        attributes=st.dictionaries(names, values, max_size=3),
        resource=st.dictionaries(st.just("service.name") | names, values, max_size=2),
    ),
    min_size=1,
    max_size=20,
)  # fmt: skip


@given(spans_of_any_kind, st.integers(0, 130), st.booleans(), st.booleans())
def test_any_trace_is_drawn_within_the_width(
    spans: list[SpanRecord], width: int, ascii_only: bool, attributes: bool
) -> None:
    lines = render(spans, width=width, ascii_only=ascii_only, attributes=attributes)
    text = plain(lines)
    assert text.replace("\n", "").isprintable()
    assert ascii_only <= text.isascii()
    for line in text.splitlines():
        assert cell_len(line) <= max(40, width), line
    if not attributes:
        assert len(lines) >= 3 + len({span.span_id for span in spans})


@given(spans_of_any_kind)
def test_any_trace_is_arranged_once_with_parents_first(spans: list[SpanRecord]) -> None:
    placed = arrange(spans)
    seen = [one.span.span_id for one in placed]
    assert sorted(seen) == sorted({span.span_id for span in spans})
    for index, one in enumerate(placed):
        if one.depth:
            assert one.span.parent_span_id in seen[:index]
