"""When spans leave: flushing, its time and its truth, a full queue, closing, forks."""

from __future__ import annotations

import atexit
import gc
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import lambent
from lambent.delivery import closing
from lambent.exporters import Exporter, Result
from lambent.exporters.memory import MemoryExporter
from lambent.span import Span
from lambent.testing import RecordingTracer, recording_tracer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Fake(Exporter):
    """Does as told, and remembers."""

    def __init__(self, result: Result | Exception | None = None) -> None:
        self.result = result if result is not None else Result()
        self.batches: list[list[str]] = []
        self.spans: list[Span] = []
        self.closed = 0

    def export(self, spans: Sequence[Span], timeout: float) -> Result:
        self.batches.append([span.name for span in spans])
        self.spans += spans
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    def close(self) -> None:
        self.closed += 1


class Hanging(Fake):
    """Waits as long as it may, or until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.release = threading.Event()

    def export(self, spans: Sequence[Span], timeout: float) -> Result:
        super().export(spans, timeout)
        self.entered.set()
        if self.release.wait(timeout):
            return Result()
        return Result(False, len(spans), 0, "the server did not answer in time")


def tracer_with(*exporters: Exporter, **arguments: object) -> RecordingTracer:
    return recording_tracer(environ=None, exporters=list(exporters), exporter=None, **arguments)


def end_spans(tracer: RecordingTracer, count: int) -> None:
    for number in range(count):
        tracer.start_span(str(number)).end()


def test_an_empty_flush_touches_no_exporter() -> None:
    exporter = Fake(RuntimeError("touched"))
    tracer = tracer_with(exporter)
    assert tracer.force_flush()
    assert tracer.force_flush(timeout_millis=0)
    assert exporter.batches == []


def test_an_empty_flush_does_not_even_make_one(monkeypatch: pytest.MonkeyPatch) -> None:
    tracer = lambent.init()
    monkeypatch.setattr(tracer.delivery, "_choose", None)
    assert tracer.force_flush()
    tracer.close()


def test_a_flush_delivers_everything_in_order() -> None:
    exporter = Fake()
    tracer = tracer_with(exporter)
    end_spans(tracer, 3)
    assert tracer.force_flush()
    assert exporter.batches == [["0", "1", "2"]]
    assert tracer.force_flush()
    assert len(exporter.batches) == 1


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (Result(False, 2, 0, "http://x: refused"), "lost 2 of 2 spans: http://x: refused"),
        (Result(False, 0, 1, "one rejected"), "lost 1 of 2 spans: one rejected"),
        (Result(False), "lost 2 of 2 spans: no reason given"),
        (Result(None, 2, 0, "no answer"), "lost 2 of 2 spans: no answer"),  # type: ignore[arg-type]  # a user's
        (Result(True, 1, 0, "ok is not true"), "lost 1 of 2 spans: ok is not true"),
        (RuntimeError("a bug"), "lost 2 of 2 spans: RuntimeError: a bug"),
    ],
)
def test_a_failed_export_is_false_and_said(
    result: Result | Exception, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tracer = tracer_with(Fake(result))
    end_spans(tracer, 2)
    assert tracer.force_flush() is False
    assert capsys.readouterr().err == f"lambent: {said}\n"


def test_a_quiet_failure_is_false_and_not_said(capsys: pytest.CaptureFixture[str]) -> None:
    tracer = tracer_with(Fake(Result(False, 1, 0, "nobody listens", quiet=True)))
    end_spans(tracer, 1)
    assert tracer.force_flush() is False
    assert capsys.readouterr().err == ""


def test_a_warning_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    tracer = tracer_with(Fake(Result(warning="deprecated")))
    end_spans(tracer, 1)
    assert tracer.force_flush()
    assert capsys.readouterr().err == "lambent: an exporter warns: deprecated\n"


def test_what_is_no_result_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    exporter = Fake()
    exporter.result = "done"  # type: ignore[assignment]  # as a user's exporter may
    tracer = tracer_with(exporter)
    end_spans(tracer, 1)
    assert tracer.force_flush() is False
    assert "lost 1 of 1 spans: TypeError: an exporter returned str, not a Result" in capsys.readouterr().err


def test_one_failing_exporter_does_not_stop_the_next() -> None:
    good = Fake()
    tracer = tracer_with(Fake(RuntimeError()), good)
    end_spans(tracer, 1)
    assert tracer.force_flush() is False
    assert good.batches == [["0"]]


def test_a_hanging_exporter_costs_the_time_given_and_no_more(capsys: pytest.CaptureFixture[str]) -> None:
    tracer = tracer_with(Hanging())
    end_spans(tracer, 1)
    start = time.monotonic()
    assert tracer.force_flush(timeout_millis=200) is False
    assert 0.15 < time.monotonic() - start < 5
    assert "did not answer" in capsys.readouterr().err


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_without_time_nothing_is_lost(timeout: float) -> None:
    exporter = Fake()
    tracer = tracer_with(exporter)
    end_spans(tracer, 1)
    assert tracer.force_flush(timeout) is False
    assert exporter.batches == []
    assert tracer.force_flush()
    assert exporter.batches == [["0"]]


@pytest.mark.parametrize("timeout", [float("inf"), 1e300])
def test_any_amount_of_time(timeout: float) -> None:
    tracer = tracer_with(Fake())
    end_spans(tracer, 1)
    assert tracer.force_flush(timeout)


def test_a_second_thread_waits_for_the_first_one() -> None:
    exporter = Hanging()
    tracer = tracer_with(exporter, timeout=30)
    end_spans(tracer, 1)
    first: list[bool] = []
    thread = threading.Thread(target=lambda: first.append(tracer.force_flush()))
    thread.start()
    assert exporter.entered.wait(10)
    # The queue is empty, but what left it has not arrived: True would be a lie.
    assert tracer.force_flush(timeout_millis=20) is False
    end_spans(tracer, 1)
    assert tracer.force_flush(timeout_millis=20) is False
    exporter.release.set()
    thread.join(10)
    assert first == [True]
    assert tracer.force_flush()
    assert exporter.batches == [["0"], ["0"]]


def test_a_second_thread_learns_what_became_of_the_firsts_spans() -> None:
    exporter = Hanging()
    tracer = tracer_with(exporter)
    end_spans(tracer, 1)
    thread = threading.Thread(target=lambda: tracer.force_flush(timeout_millis=100))
    thread.start()
    assert exporter.entered.wait(10)
    assert tracer.force_flush(timeout_millis=10_000) is False
    thread.join(10)


def test_a_lock_that_is_had_too_late_loses_nothing() -> None:
    class LateLock:
        def locked(self) -> bool:
            return False

        def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
            if not blocking:
                return False
            time.sleep(timeout)
            return True

        def release(self) -> None: ...

    exporter = Fake()
    tracer = tracer_with(exporter)
    end_spans(tracer, 1)
    (lane,) = tracer.delivery._choose()
    real = lane.lock
    lane.lock = LateLock()  # type: ignore[assignment]  # white-box: the wait of another thread's time
    assert tracer.force_flush(timeout_millis=10) is False
    assert exporter.batches == []
    lane.lock = real
    assert tracer.force_flush()
    assert exporter.batches == [["0"]]


def test_a_span_that_ends_while_the_queue_is_taken_is_not_lost() -> None:
    class Interrupted(list[Span]):
        """A queue that another thread appends to in the moment in which it is read."""

        late: Span | None = None

        def __getitem__(self, key: Any) -> Any:
            taken = super().__getitem__(key)
            if self.late is not None:
                self.append(self.late)
                self.late = None
            return taken

    exporter = Fake()
    tracer = tracer_with(exporter)
    delivery = tracer.delivery
    delivery._queue = Interrupted()
    delivery._append = delivery._queue.append
    end_spans(tracer, 3)
    delivery._queue.late = delivery._queue.pop()
    assert tracer.force_flush()
    assert tracer.force_flush()
    assert exporter.batches == [["0", "1"], ["2"]]


def test_many_threads_end_and_flush_at_once() -> None:
    exporter = Fake()
    tracer = tracer_with(exporter, queue_size=100_000)

    def work() -> None:
        for _ in range(20):
            end_spans(tracer, 10)
            tracer.force_flush(10_000)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert tracer.force_flush()
    assert len(exporter.spans) == len(set(map(id, exporter.spans))) == 1600


def test_a_full_queue_drops_counts_and_says(capsys: pytest.CaptureFixture[str]) -> None:
    exporter = Fake()
    tracer = tracer_with(exporter, queue_size=3)
    tracer.delivery.half_full = lambda: None  # type: ignore[method-assign]  # nothing is to leave by itself
    end_spans(tracer, 5)
    assert tracer.force_flush() is False
    assert exporter.batches == [["0", "1", "2"]]
    assert exporter.spans[-1].attributes["lambent.spans.dropped"] == 2
    assert capsys.readouterr().err == "lambent: dropped 2 spans: the queue of 3 spans was full\n"
    end_spans(tracer, 1)
    assert tracer.force_flush()
    assert "lambent.spans.dropped" not in exporter.spans[-1].attributes


def test_what_another_thread_has_just_said_is_not_said_of_none(capsys: pytest.CaptureFixture[str]) -> None:
    tracer = tracer_with(Fake(), queue_size=3)
    tracer.delivery.half_full = lambda: None  # type: ignore[method-assign]  # as above
    end_spans(tracer, 5)
    for _ in range(2):  # both have seen that there is something to be said
        assert closing.say_dropped(tracer.delivery) is False
    assert capsys.readouterr().err.count("dropped") == 1


def test_an_immediate_exporter_has_spans_without_a_flush_and_beside_others() -> None:
    memory, other = MemoryExporter(), Fake()
    tracer = tracer_with(memory, other)
    end_spans(tracer, 2)
    assert [span.name for span in memory.spans] == ["0", "1"]
    assert other.batches == []
    assert tracer.force_flush()
    assert other.batches == [["0", "1"]]


def test_an_immediate_exporter_that_fails(capsys: pytest.CaptureFixture[str]) -> None:
    class Broken(MemoryExporter):
        def on_end(self, span: Span) -> None:
            raise RuntimeError("no room")

    tracer = tracer_with(Broken())
    end_spans(tracer, 2)
    assert capsys.readouterr().err == "lambent: an exporter failed: RuntimeError: no room\n"


def test_closing_delivers_once(capsys: pytest.CaptureFixture[str]) -> None:
    exporter = Fake()
    tracer = tracer_with(exporter)
    end_spans(tracer, 1)
    tracer.close()
    tracer.close()
    assert (exporter.batches, exporter.closed) == ([["0"]], 1)
    end_spans(tracer, 2)
    assert tracer.force_flush() is False
    assert exporter.batches == [["0"]]
    assert capsys.readouterr().err == "lambent: dropped 2 spans: the tracer was closed\n"


def test_closing_an_exporter_that_fails(capsys: pytest.CaptureFixture[str]) -> None:
    class Broken(Fake):
        def close(self) -> None:
            raise OSError("gone")

    second = Fake()
    tracer = tracer_with(Broken(), second)
    tracer.close()
    assert second.closed == 1
    assert "an exporter failed to close: OSError: gone" in capsys.readouterr().err


def test_closing_while_another_thread_hangs_says_what_is_lost(capsys: pytest.CaptureFixture[str]) -> None:
    exporter = Hanging()
    tracer = tracer_with(exporter, timeout=0.1)
    end_spans(tracer, 1)
    thread = threading.Thread(target=lambda: tracer.force_flush(10_000))
    thread.start()
    assert exporter.entered.wait(10)
    end_spans(tracer, 2)
    tracer.close()
    exporter.release.set()
    thread.join(10)
    assert "lost 2 spans: the tracer was closed without time" in capsys.readouterr().err


def counts() -> tuple[int, int, int]:
    gc.collect()
    files = len(list(Path("/proc/self/fd").iterdir()))
    return threading.active_count(), files, atexit._ncallbacks()


def test_a_thousand_tracers_leave_nothing() -> None:
    def cycle(times: int) -> None:
        for _ in range(times):
            tracer = lambent.init(test_mode=True)
            with tracer.trace("s"):
                pass
            tracer.close()

    cycle(10)
    before, objects = counts(), len(gc.get_objects())
    cycle(1000)
    assert counts() == before
    assert len(gc.get_objects()) - objects < 100


def test_what_is_queued_at_exit_is_delivered(run_python: Any) -> None:
    program = """
import lambent
tracer = lambent.init(exporter="console")
with tracer.trace("at exit"):
    pass
"""
    assert "at exit" in run_python(program).stdout


def test_in_lambda_nothing_happens_at_exit(run_python: Any) -> None:
    program = """
import lambent
tracer = lambent.init(exporter="console")
with tracer.trace("at exit"):
    pass
"""
    assert run_python(program, {"AWS_LAMBDA_FUNCTION_NAME": "f"}).stdout == ""


def test_a_forked_child_delivers_its_own_spans_only(run_python: Any) -> None:
    program = """
import os, threading, lambent
tracer = lambent.init(exporter="console")
tracer.start_span("parents").end()
(lane,) = tracer.delivery._choose()
lane.lock.acquire()  # as if another thread were exporting
tracer.delivery._gate.acquire()  # and one were taking spans
child = os.fork()
if child == 0:
    tracer.start_span("childs").end()
    flushed = tracer.force_flush()
    os._exit(0 if flushed else 7)
_, status = os.waitpid(child, 0)
lane.lock.release()
tracer.delivery._gate.release()
print(os.waitstatus_to_exitcode(status), flush=True)
tracer.close()
"""
    lines = run_python(program).stdout.splitlines()
    assert "childs" in lines[0]
    assert lines[1] == "0"
    assert "parents" in lines[2]
    assert len(lines) == 3


@pytest.fixture(autouse=True)
def closed_at_the_end() -> Iterator[None]:
    yield
    from lambent.delivery import sync

    for delivery in list(sync._open):
        delivery._queue.clear()
        delivery.close(0.01)


@pytest.mark.parametrize("exporters", [[MemoryExporter], [Fake], [MemoryExporter, Fake]])
def test_a_root_span_says_how_many_spans_its_invocation_made(exporters: list[type[Exporter]]) -> None:
    tracer = tracer_with(*[make() for make in exporters], count_spans=True)

    @tracer.handler
    def handler(event: object, context: object) -> None:
        with tracer.trace("outer"), tracer.trace("inner"):
            pass

    for _ in range(2):
        handler({}, None)
    spans = [span for exporter in tracer.delivery.exporters for span in exporter.spans]  # type: ignore[attr-defined]  # both kinds keep them
    counts = [span.attributes["lambent.spans"] for span in spans if span.parent is None]
    assert counts == [3, 3] * len(exporters)


class Plain:
    """An exporter with nothing but what is asked of one."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def export(self, spans: Sequence[Span], _timeout: float) -> None:
        self.names += [span.name for span in spans]


def test_an_exporter_need_not_be_derived_from_ours(capsys: pytest.CaptureFixture[str]) -> None:
    plain = Plain()
    tracer = lambent.init(exporter=plain)
    tracer.start_span("a").end()
    assert tracer.force_flush()
    assert plain.names == ["a"]
    tracer.close()
    assert capsys.readouterr().err == ""


class Timed(Fake):
    """Remembers the time that it was given."""

    given = 0.0

    def export(self, spans: Sequence[Span], timeout: float) -> Result:
        self.given = timeout
        return super().export(spans, timeout)


@pytest.mark.parametrize(
    ("remaining", "margin", "most"),
    [(900.0, None, 882.0), (5.0, None, 4.9), (900.0, 300.0, 600.0), (0.05, None, 0.0)],
)
def test_an_export_ends_some_time_before_the_deadline(
    remaining: float, margin: float | None, most: float
) -> None:
    """A fiftieth of what remains, 100 ms at least, unless a margin is given."""
    exporter = Timed()
    tracer = tracer_with(exporter, timeout=10_000.0, deadline_margin=margin)
    end_spans(tracer, 1)
    assert tracer.delivery.flush_before(time.monotonic() + remaining) is bool(most)
    assert most - 2 < exporter.given <= most
    assert tracer.stats().waiting == (0 if most else 1)


class Instant(Fake):
    waits = False


def test_a_line_is_written_even_in_the_last_moment(capsys: pytest.CaptureFixture[str]) -> None:
    exporter = Instant()
    tracer = tracer_with(exporter)
    end_spans(tracer, 2)
    assert tracer.delivery.flush_before(time.monotonic() + 0.05)
    assert exporter.batches == [["0", "1"]]
    end_spans(tracer, 1)
    assert not tracer.delivery.flush_before(time.monotonic() - 1)
    assert len(exporter.batches) == 1
    assert "1 spans wait for the next invocation" in capsys.readouterr().err
    tracer.close()


class Immediate(Fake):
    immediate = True

    def on_end(self, span: Span) -> None:
        self.spans.append(span)


def test_closing_closes_immediate_exporters_and_stops_them(capsys: pytest.CaptureFixture[str]) -> None:
    exporter = Immediate()
    tracer = tracer_with(exporter)
    end_spans(tracer, 1)
    tracer.close()
    end_spans(tracer, 1)
    assert exporter.closed == 1
    assert len(exporter.spans) == 1
    assert tracer.delivery.exporters == [exporter]
    assert tracer.force_flush() is False
    assert "dropped 1 spans: the tracer was closed" in capsys.readouterr().err


def test_spans_of_the_test_mode_can_be_read_after_closing() -> None:
    tracer = lambent.init(api_key="k", project="p", source="s", session_name="n", test_mode=True)
    with tracer.trace("a"):
        pass
    tracer.close()
    (memory,) = tracer.delivery.exporters
    assert isinstance(memory, MemoryExporter)
    assert [span.name for span in memory.spans] == ["a"]
