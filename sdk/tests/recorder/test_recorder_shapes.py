"""Spans of names that come again: started the short way, the same in every respect, and read again."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lambent
from lambent import limits
from lambent.delivery import recorder as writer
from lambent.delivery.recorder_format import read
from lambent.exporters import Exporter, Result
from lambent.testing import LambdaContext, recording_tracer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lambent.delivery.recorder_format import Content


class Names(str):
    """A text of another type."""

    __slots__ = ()


VALUES = (
    st.booleans()
    | st.integers(-(1 << 70), 1 << 70)
    | st.floats(allow_nan=False)
    | st.text(st.characters(), max_size=6)
    | st.sampled_from([None, b"x", (), ("a", 1), ["a"], {"k": 2}, 1j, Names("n"), object])
)
ATTRIBUTES = st.none() | st.dictionaries(st.sampled_from(["a", "b", "c", "", "d.e"]), VALUES, max_size=4)
NAMES = st.sampled_from(["load", "query", Names("load"), "", 7, ["no", "name"]])


def said(span: Any) -> tuple[Any, ...]:
    attributes = [(key, type(value), value) for key, value in span.attributes.items()]
    return str(span.name), int(span.kind), attributes, span.dropped_attributes, span.parent


@given(st.lists(st.tuples(NAMES, st.sampled_from([0, 2, lambent.SpanKind.CLIENT]), ATTRIBUTES), max_size=12))
def test_the_short_way_makes_the_same_spans(spans: list[tuple[Any, Any, Any]]) -> None:
    """Against a tracer that never takes it."""
    limits._seen.clear()
    short, long = recording_tracer(), recording_tracer()
    long.shapes = limits.NO_SHAPES
    for tracer in (short, long):
        with tracer.trace("root"):
            for name, kind, attributes in spans:
                given = attributes if attributes is None else {**attributes}
                with tracer.trace(name, kind=kind, attributes=given):
                    if given:
                        given["a"] = "changed after the start"
    assert [said(span) for span in short.spans] == [said(span) for span in long.spans]


class Holding(Exporter):
    """Takes nothing, so that all stays in the ring."""

    def export(self, spans: Any, timeout: float | None = None) -> Result:  # the interface
        return Result(ok=False, lost=len(spans), again=True)


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(limits, "_seen", set())
    made = []

    def build(**more: Any) -> Any:
        tracer = lambent.init(exporter=Holding(), recorder=True, mode="sync", **more)
        made.append(tracer)
        return tracer

    yield build
    for tracer in made:
        tracer.close()


def content(tracer: Any) -> Content:
    return read(Path(tracer.recorder.path).read_bytes(), tracer.recorder._segment)


def some(tracer: Any, count: int, name: str = "work", **attributes: Any) -> None:
    for number in range(count):
        with tracer.trace(name, attributes={"number": number, "text": "ü", **attributes}):
            pass


def test_a_name_that_comes_again_is_written_once(make: Callable[..., Any]) -> None:
    tracer = make()
    with tracer.trace("root") as root:
        some(tracer, 5)
        open_one = tracer.trace("work", attributes={"number": 5, "text": "open"})
    data = Path(tracer.recorder.path).read_bytes()
    assert data[writer.SHAPES_AT : writer.FIRST].count(b"work") == 1
    assert data[writer.FIRST :].count(b"work") == 2, "the third start refers to it"
    found = content(tracer)
    assert not found.damaged
    assert [(each.name, each.kind, each.attributes) for each in found.spans.values()] == [
        ("root", 0, {}),
        *[("work", 0, {"number": number, "text": "ü"}) for number in range(5)],
        ("work", 0, {"number": 5, "text": "open"}),
    ]
    assert [each.span_id for each in found.unfinished] == [open_one._span_id]
    assert {each.trace_id for each in found.spans.values()} == {root._trace_id}
    assert {each.parent_id for each in found.spans.values()} == {0, root._span_id}
    for span in tracer.delivery._queue:
        ended = found.spans[span._span_id]
        assert (ended.start_time, ended.end_time) == (span.start_time, span.end_time)


def test_other_attributes_are_written_as_before(make: Callable[..., Any]) -> None:
    tracer = make()
    with tracer.trace("root"):
        some(tracer, 3)
        some(tracer, 1, more=1.5)
        with tracer.trace("work", attributes={"number": 1, "text": ["a", "b"]}):
            pass
        with tracer.trace("work", kind=3) as span:
            span.set_attribute("later", value=True)
    last = list(content(tracer).spans.values())[-3:]
    assert [(each.kind, each.attributes) for each in last] == [
        (0, {"number": 0, "text": "ü", "more": 1.5}),
        (0, {"number": 1, "text": ("a", "b")}),
        (3, {"later": True}),
    ]


def test_there_is_room_for_some_shapes_and_the_others_do_without(make: Callable[..., Any]) -> None:
    tracer = make()
    with tracer.trace("root"):
        for number in range(120):
            some(tracer, 3, f"work {number}", **{f"attribute {number}": "x" * 9})
    assert 10 < len(tracer.shapes) < 120
    found = content(tracer)
    assert not found.damaged
    assert len(found.spans) == 361
    for each in found.spans.values():
        if each.name != "root":
            which = each.name.removeprefix("work ")
            assert list(each.attributes) == ["number", "text", f"attribute {which}"]


def test_names_made_of_values_are_no_shapes(make: Callable[..., Any]) -> None:
    tracer = make()
    with tracer.trace("root"):
        for number in range(600):
            some(tracer, 1, f"GET /orders/{number}")
    assert tracer.shapes == {}
    assert len(limits._seen) <= 256


def test_a_shape_that_is_not_there_is_no_span(make: Callable[..., Any]) -> None:
    tracer = make()
    with tracer.trace("root"):
        some(tracer, 4)
    data = bytearray(Path(tracer.recorder.path).read_bytes())
    data[writer.SHAPES_AT + 12] ^= 1
    found = read(bytes(data), tracer.recorder._segment)
    assert [each.name for each in found.spans.values()] == ["root", "work", "work"]
    assert found.damaged == 2


def test_who_watches_later_is_told_of_all(make: Callable[..., Any]) -> None:
    tracer = make()
    with tracer.trace("root"):
        some(tracer, 3)
        assert list(tracer.shapes) == ["work"]
        told: list[str] = []
        tracer._watch(lambda span, _: told.append(f"+{span.name}"), lambda span: told.append(f"-{span.name}"))
        some(tracer, 2)
    assert told == ["+work", "-work", "+work", "-work", "-root"]
    assert not content(tracer).unfinished
    assert len(tracer.delivery._queue) == 6


def test_a_forked_child_begins_anew(make: Callable[..., Any]) -> None:
    """What its parent has noted is in its parent's file."""
    tracer = make()
    with tracer.trace("root"):
        some(tracer, 3)
        child = os.fork()
        if not child:  # pragma: no cover  # another process
            failed = 1
            try:
                some(tracer, 4)
                found = content(tracer)
                kept = [each.attributes for each in found.spans.values()]
                failed = kept != [{"number": number, "text": "ü"} for number in range(4)] or found.damaged > 0
                os.unlink(tracer.recorder.path)  # noqa: PTH108  # as short as can be
            finally:
                os._exit(int(failed))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        some(tracer, 1)
    assert len(content(tracer).spans) == 5


def test_an_invocations_root_says_when_it_is_due(make: Callable[..., Any]) -> None:
    tracer = make()
    roots: list[Any] = []

    @tracer.handler  # type: ignore[untyped-decorator]  # whatever the fixture made
    def handler(event: object, context: object) -> None:  # as the runtime client calls it
        roots.append(lambent.current_span())

    before = time.time_ns()
    for _ in range(5):
        handler({}, LambdaContext(timeout=60))
    after = time.time_ns()
    found = content(tracer)
    assert not found.damaged
    assert [each.span_id for each in found.finished] == [root._span_id for root in roots]
    for root in roots:
        whole = found.spans[root._span_id]
        assert (whole.trace_id, whole.parent_id, whole.kind) == (root._trace_id, 0, root._kind)
        assert whole.attributes == root.attributes
        if root is not roots[0]:  # that one was started before there was a recorder, and without a watchdog
            assert before + 59e9 < found.deadlines[root._span_id] <= after + 60e9
    data = Path(tracer.recorder.path).read_bytes()
    assert data[writer.FIRST :].count(b"faas.invocation_id") == 2, "the third start refers to the shape"
