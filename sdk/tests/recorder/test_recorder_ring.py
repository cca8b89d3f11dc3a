"""The ring: what is written is read, whatever happened in between and whenever it stopped."""

from __future__ import annotations

import os
import signal
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lambent
from lambent.delivery import recorder as module
from lambent.delivery.recorder import FIRST, Recorder
from lambent.delivery.recorder_format import Content, read
from lambent.delivery.recorder_rare import given_up, in_child, open_spans, outstanding, refresh
from lambent.span import Span
from lambent.testing import RecordingTracer, recording_tracer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIZE = 65_536


@pytest.fixture
def tracer() -> RecordingTracer:
    return recording_tracer()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Recorder]]:
    made: list[Recorder] = []

    def build(size: int = SIZE, folder: Path = tmp_path) -> Recorder:
        recorder = Recorder(str(folder), size, b"12345678")
        recorder.begin()
        made.append(recorder)
        return recorder

    yield build
    for recorder in made:
        in_child(recorder)  # lets go of descriptor and maps


def content(recorder: Recorder) -> Content:
    return read(Path(recorder.path).read_bytes(), recorder._segment)


def ring_of(recorder: Recorder) -> bytes:
    return bytes(FIRST) + b"".join([each[:] for each in recorder._maps])


def start(recorder: Recorder, tracer: RecordingTracer, name: str = "s", **arguments: Any) -> Span:
    span = tracer.start_span(name, **arguments)
    assert isinstance(span, Span)
    recorder.started(span)
    return span


def end(recorder: Recorder, span: Span) -> None:
    span.end()
    recorder.ended(span)


def test_the_file(make: Callable[..., Recorder], tmp_path: Path) -> None:
    recorder = make(1 << 20)
    found = Path(recorder.path).lstat()
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert found.st_size == 1 << 20
    assert found.st_blocks * 512 >= 1 << 20, "room that is not set aside can be gone when it is written"
    assert [path.name for path in tmp_path.iterdir()] == [".lambent-recorder-0"]
    assert not os.get_inheritable(recorder._descriptor)


def test_everything_of_a_span_is_read_again(make: Callable[..., Recorder], tracer: RecordingTracer) -> None:
    recorder = make()
    parent = start(recorder, tracer, "parent", kind=2, attributes={"a": 1, "big": 1 << 90, "t": "ü\ud800"})
    child = start(
        recorder, tracer, "child", context=parent, attributes={"n": 0.5},
        links=[lambent.Link(lambent.SpanContext(7, 8, True), {"k": "v"})],
    )  # fmt: skip
    child.set_attribute("list", ["x", {"y": b"z"}, None])
    child.add_event("e", {"f": True}, 11)
    child.set_status("ERROR", "broken")
    child.update_name("renamed")
    end(recorder, child)
    found = content(recorder)
    assert [each.name for each in found.unfinished] == ["parent"]
    open_one = found.unfinished[0]
    assert (open_one.trace_id, open_one.kind, open_one.parent_id) == (parent._trace_id, 2, 0)
    assert open_one.attributes == {"a": 1, "big": 1 << 90, "t": "ü\ud800"}
    (ended,) = found.finished
    assert (ended.name, ended.parent_id, ended.status) == ("renamed", parent._span_id, (2, "broken"))
    assert ended.attributes == {"n": 0.5, "list": ("x", {"y": b"z"}, None)}
    assert ended.events == [("e", 11, {"f": True}, 0)]
    assert ended.links == [(7, 8, True, "", {"k": "v"}, 0)]
    assert (ended.start_time, ended.end_time) == (child.start_time, child.end_time)


def test_a_remote_parent_and_its_state(make: Callable[..., Recorder], tracer: RecordingTracer) -> None:
    recorder = make()
    state = lambent.context.TraceState({"a": "1"})
    start(recorder, tracer, context=lambent.SpanContext(5, 6, True, 1, state))
    (found,) = content(recorder).unfinished
    assert (found.trace_id, found.parent_id, found.parent_is_remote, found.trace_state) == (5, 6, True, "a=1")


def test_an_attribute_set_again_is_recorded(make: Callable[..., Recorder], tracer: RecordingTracer) -> None:
    recorder = make()
    span = start(recorder, tracer, attributes={"a": 1})
    span.set_attribute("a", 2)
    end(recorder, span)
    assert content(recorder).finished[0].attributes == {"a": 2}


def test_an_open_span_is_recorded_as_it_is_by_now(
    make: Callable[..., Recorder], tracer: RecordingTracer
) -> None:
    recorder = make()
    span = start(recorder, tracer, attributes={"first": 1})
    before = Path(recorder.path).read_bytes()
    refresh(recorder, span)
    assert Path(recorder.path).read_bytes() == before, "nothing has changed"
    span.set_attribute("second", "x" * 10)
    span.add_event("seen")
    refresh(recorder, span)
    (read_again,) = content(recorder).spans.values()
    assert read_again.attributes == {"first": 1, "second": "x" * 10}
    assert [event[0] for event in read_again.events] == ["seen"]
    assert not read_again.end_time
    end(recorder, span)
    refresh(recorder, span)
    (read_again,) = content(recorder).spans.values()
    assert read_again.end_time == span.end_time
    recorder.acknowledged([span])
    refresh(recorder, span)
    assert not content(recorder).spans
    large = start(recorder, tracer)
    large.set_attribute("text", "x" * SIZE)
    refresh(recorder, large)
    assert [each.attributes for each in content(recorder).spans.values()] == [{}]


def test_values_of_subclasses(make: Callable[..., Recorder], tracer: RecordingTracer) -> None:
    class Text(str):
        __slots__ = ()

    recorder = make()
    end(
        recorder,
        start(recorder, tracer, attributes={"a": Text("x"), "b": [Text("y")], "c": lambent.SpanKind.CLIENT}),
    )
    assert content(recorder).finished[0].attributes == {"a": "x", "b": ("y",), "c": 2}


def test_a_span_too_large_is_cut(make: Callable[..., Recorder], tracer: RecordingTracer) -> None:
    recorder = make()
    end(recorder, start(recorder, tracer, "large", attributes={"order": 7, "blob": "x" * SIZE}))
    (found,) = content(recorder).finished
    assert found.attributes == {"order": 7, "blob": "x" * 128, "lambent.recorder.cut": True}


def test_what_is_acknowledged_is_gone(make: Callable[..., Recorder], tracer: RecordingTracer) -> None:
    recorder = make()
    root, child, other = start(recorder, tracer), start(recorder, tracer), start(recorder, tracer)
    end(recorder, child)
    end(recorder, other)
    recorder.acknowledged([child])
    assert set(content(recorder).spans) == {root._span_id, other._span_id}
    end(recorder, root)
    recorder.acknowledged([root, other])
    assert content(recorder).spans == {}
    assert not outstanding(recorder)


def test_the_ring_starts_over_in_the_same_page(
    make: Callable[..., Recorder], tracer: RecordingTracer
) -> None:
    recorder = make()
    for _ in range(2000):
        span = start(recorder, tracer)
        end(recorder, span)
        recorder.acknowledged([span])
    assert recorder._maps[0].tell() < 4096
    assert len(recorder._maps) == 1


def test_the_oldest_give_way(make: Callable[..., Recorder], tracer: RecordingTracer) -> None:
    recorder = make()
    root = start(recorder, tracer, "root", attributes={"request": "r-1"})
    spans = []
    for number in range(5000):
        spans.append(start(recorder, tracer, f"span {number}"))
        end(recorder, spans[-1])
    found = content(recorder)
    kept = [span for span in spans if span._span_id in found.spans]
    assert kept == spans[-len(kept) :], "the last ones"
    assert len(kept) > 300
    assert recorder.gave_way == len(spans) - len(kept)
    assert [each.attributes for each in found.unfinished] == [{"request": "r-1"}]
    end(recorder, root)
    recorder.acknowledged([*spans, root])
    assert content(recorder).spans == {}


def test_spans_that_are_never_ended_do_not_pile_up(
    make: Callable[..., Recorder], tracer: RecordingTracer
) -> None:
    recorder = make()
    for _ in range(20_000):
        start(recorder, tracer)
    assert len(open_spans(recorder)) < 1500
    assert len(content(recorder).unfinished) <= len(open_spans(recorder))


def test_each_has_its_own_file(make: Callable[..., Recorder], tmp_path: Path) -> None:
    paths = {make().path for _ in range(3)}
    assert len(paths) == 3
    assert paths == {str(path) for path in tmp_path.iterdir()}


def test_no_folder_no_recorder(
    make: Callable[..., Recorder], tracer: RecordingTracer, tmp_path: Path, capsys: Any
) -> None:
    recorder = make(folder=tmp_path / "absent")
    assert recorder.off
    end(recorder, start(recorder, tracer))
    assert capsys.readouterr().err.count("the flight recorder is off") == 1


def test_a_full_file_system_switches_off(
    make: Callable[..., Recorder], monkeypatch: Any, capsys: Any, tmp_path: Path
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    assert make().off
    assert "No space left" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_closing_removes_a_file_with_nothing_in_it(
    make: Callable[..., Recorder], tracer: RecordingTracer
) -> None:
    one, two = make(), make()
    end(two, start(two, tracer))
    one.close()
    two.close()
    assert not Path(one.path).exists()
    assert len(content(two).finished) == 1


def test_what_is_given_up_is_let_go_of_and_stays_recorded(
    make: Callable[..., Recorder], tracer: RecordingTracer
) -> None:
    recorder = make()
    first, second, third = (start(recorder, tracer, name) for name in ("first", "second", "third"))
    end(recorder, first)
    end(recorder, second)
    given_up(recorder, [first])
    assert first not in recorder._live, "its memory is free"
    recorder.acknowledged([second])
    assert {each.name for each in content(recorder).spans.values()} == {"first", "third"}
    assert open_spans(recorder) == [third]
    for number in range(3000):
        span = start(recorder, tracer, f"later {number}")
        end(recorder, span)
        recorder.acknowledged([span])
    assert recorder.gave_way == 1, "acknowledged ones are not missed"
    assert [each.name for each in content(recorder).spans.values()] == ["third"]


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["start", "start", "change", "end", "end", "acknowledge", "invocation", "note"]),
        st.integers(0, 1000),
    ),
    max_size=60,
)  # fmt: skip


@settings(max_examples=60)
@given(OPERATIONS, st.data())
def test_any_sequence_cut_anywhere(operations: list[tuple[str, int]], data: st.DataObject) -> None:
    """A kill leaves a beginning of what was being written; damage leaves anything."""
    import tempfile

    tracer = recording_tracer()
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(folder, SIZE, b"12345678")
        recorder.begin()
        try:
            _run(recorder, tracer, operations, data)
        finally:
            in_child(recorder)


def _run(
    recorder: Recorder, tracer: RecordingTracer, operations: list[tuple[str, int]], data: st.DataObject
) -> None:
    started: list[Span] = []
    acknowledged: set[int] = set()
    states: list[tuple[bytes, set[int], set[int], set[int]]] = []

    def keep() -> None:
        finished = {span._span_id for span in started if span.end_time is not None}
        every = {span._span_id for span in started}
        states.append((ring_of(recorder), every, finished, set(acknowledged)))

    keep()
    for what, number in operations:
        open_ones = [span for span in started if span.end_time is None]
        done = [span for span in started if span.end_time is not None and span._span_id not in acknowledged]
        if what == "start":
            parent = open_ones[number % len(open_ones)] if open_ones and number % 3 else None
            started.append(
                start(recorder, tracer, "n" * (number % 50), context=parent, attributes={"a": number})
            )
        elif what == "change" and open_ones:
            open_ones[number % len(open_ones)].set_attribute("b", "v" * number)
        elif what == "end" and open_ones:
            end(recorder, open_ones[number % len(open_ones)])
        elif what == "acknowledge" and done:
            taken = done[: number % len(done) + 1]
            recorder.acknowledged(taken)
            acknowledged |= {span._span_id for span in taken}
        elif what == "invocation" and started:
            recorder.note("invocation", started[-1]._span_id, number + 1, number)
        elif what == "note":
            recorder.note("note", "note", number, number)
        keep()
    # Complete: all of it, and nothing else.
    whole, every, finished, gone = states[-1]
    found = read(whole, recorder._segment)
    assert set(found.spans) == every - gone
    assert {each.span_id for each in found.finished} == finished - gone
    assert not found.damaged
    # Killed in the middle of an operation.
    # (Times are in the file, so what is drawn must not depend on its bytes.)
    step = data.draw(st.integers(1, len(states) - 1)) if len(states) > 1 else 0
    part = data.draw(st.integers(0, 1000))
    before, after = states[max(0, step - 1)], states[step]
    old, new = before[0].ljust(len(after[0]), b"\0"), after[0]
    differing = [at for at in range(len(new)) if old[at] != new[at]]
    if differing:
        at = differing[0] + (differing[-1] - differing[0]) * part // 1000
        found = read(new[:at] + old[at:], recorder._segment)
        kept = set(found.spans)
        assert kept <= after[1]
        assert not kept & before[3], "acknowledged before"
        assert before[1] & after[1] - after[3] <= kept, "there before, and not acknowledged since"
    # Damaged: pages lost, bits turned.
    damaged = bytearray(whole)
    for page in data.draw(st.sets(st.integers(0, 1), max_size=2)):
        damaged[page * 4096 : page * 4096 + 4096] = bytes(4096)
    for bit in data.draw(st.lists(st.integers(0, 8 * 8192 - 1), max_size=5)):
        damaged[bit // 8] ^= 1 << bit % 8
    for span_id, each in read(bytes(damaged), recorder._segment).spans.items():
        assert span_id in every
        assert (
            each.attributes["a"] == next(span for span in started if span._span_id == span_id).attributes["a"]
        )


def test_threads(make: Callable[..., Recorder], tracer: RecordingTracer) -> None:
    recorder = make()
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(1500):
                span = start(recorder, tracer, attributes={"a": 1})
                end(recorder, span)
                recorder.acknowledged([span])
        except BaseException as error:  # noqa: BLE001  # for the main thread to see
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    assert not outstanding(recorder)
    assert content(recorder).spans == {}
    last = start(recorder, tracer)
    assert list(content(recorder).spans) == [last._span_id]


def test_a_signal_handler_that_records(make: Callable[..., Recorder], tracer: RecordingTracer) -> None:
    """It may come between any two steps of the code that it interrupts."""
    recorder = make()
    within = 0

    def handler(*_: object) -> None:
        nonlocal within
        within += 1
        end(recorder, start(recorder, tracer, "signal"))

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        for _ in range(10_000):
            end(recorder, start(recorder, tracer, "main"))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert within
    assert not content(recorder).damaged


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_has_its_own(
    make: Callable[..., Recorder], tracer: RecordingTracer, tmp_path: Path
) -> None:
    recorder = make()
    first = start(recorder, tracer, "parent")
    child = os.fork()
    if not child:  # pragma: no cover  # in another process
        status = 1
        try:
            in_child(recorder)
            end(recorder, start(recorder, tracer, "child"))
            status = 0 if recorder.path.endswith("-1") else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert list(content(recorder).spans) == [first._span_id]
    other = read((tmp_path / ".lambent-recorder-1").read_bytes(), recorder._segment)
    assert [each.name for each in other.finished] == ["child"]
    assert recorder.path in module.OWN
