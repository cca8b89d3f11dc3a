"""The account of every span: counts that add up, whatever becomes of them, and where they are told."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lambent
from lambent.delivery.size import estimate, next_look
from lambent.exporters import Exporter, Result
from lambent.exporters.memory import MemoryExporter
from lambent.stats import Stats
from lambent.testing import LambdaContext, RecordingTracer, recording_tracer
from lambent.wire import protobuf

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from lambent.span import Span


LARGE = {"text": "x" * 10_000}


class Scripted(Exporter):
    """Answers with one result after the other, the last one for ever."""

    def __init__(self, *results: Result | Exception) -> None:
        self.results = list(results) or [Result()]
        self.spans: list[Span] = []

    def export(self, spans: Sequence[Span], timeout: float) -> Result:
        result = self.results.pop(0) if len(self.results) > 1 else self.results[0]
        if isinstance(result, Exception):
            raise result
        self.spans += spans
        return result


class Other(Scripted):
    """Another kind, for the names."""


def tracer_with(*exporters: Exporter, **arguments: Any) -> RecordingTracer:
    return recording_tracer(exporters=list(exporters), exporter=None, **arguments)


def still(*exporters: Exporter, **arguments: Any) -> RecordingTracer:
    """A tracer of which nothing leaves by itself, for there is a queue to be filled."""
    tracer = tracer_with(*exporters, **arguments)
    tracer.delivery.half_full = lambda: None  # type: ignore[method-assign]  # made for this
    return tracer


def end_spans(tracer: lambent.Tracer, count: int) -> None:
    for number in range(count):
        tracer.start_span(str(number)).end()


def adds_up(stats: Stats) -> None:
    assert stats.ended == stats.acknowledged + stats.waiting + stats.lost


def test_nothing_yet() -> None:
    assert lambent.init().stats() == Stats()
    assert lambent.init(disabled=True).stats() == Stats()


def test_a_good_run() -> None:
    tracer = tracer_with(Scripted(Result(retries=2, bytes=300)))
    open_span = tracer.start_span("open")
    end_spans(tracer, 3)
    before = tracer.stats()
    assert (before.started, before.ended, before.waiting, before.exported) == (4, 3, 3, 0)
    assert tracer.force_flush()
    stats = tracer.stats()
    assert (stats.started, stats.ended, stats.waiting) == (4, 3, 0)
    assert (stats.exported, stats.acknowledged, stats.dropped, stats.lost) == (3, 3, {}, 0)
    assert (stats.retried, stats.bytes, stats.recovered, stats.sampled_out) == (2, 300, 0, 0)
    assert stats.flushes.count == 1
    assert 0 <= stats.flushes.last <= stats.flushes.longest <= stats.flushes.total
    tracer.force_flush()
    assert tracer.stats().flushes.count == 1  # an empty one is none
    open_span.end()
    adds_up(tracer.stats())
    assert eval(repr(stats.to_dict())) == stats.to_dict()
    assert repr(stats).startswith("Stats(acknowledged=3")


@pytest.mark.parametrize(
    ("result", "acknowledged", "dropped"),
    [
        (Result(False, 3, 0, "down"), 0, {"failed": 3}),
        (Result(False), 0, {"failed": 3}),
        (Result(False, 0, 1, "no"), 2, {"rejected": 1}),
        (Result(False, 1, 1, "no"), 1, {"failed": 1, "rejected": 1}),
        (Result(False, 9, 9, "more than there were"), 0, {"failed": 3}),
        (RuntimeError("bug"), 0, {"exporter_error": 3}),
    ],
)
def test_what_an_exporter_loses(
    result: Result | Exception, acknowledged: int, dropped: dict[str, int]
) -> None:
    tracer = tracer_with(Scripted(result))
    end_spans(tracer, 3)
    assert tracer.force_flush() is False
    stats = tracer.stats()
    assert (stats.exported, stats.acknowledged, stats.dropped) == (3, acknowledged, dropped)
    assert stats.exporters[0].last_failure
    adds_up(stats)


def test_what_a_full_queue_and_a_closed_tracer_lose() -> None:
    tracer = still(Scripted(), queue_size=5)
    end_spans(tracer, 8)
    assert tracer.stats().dropped == {"queue_full": 3}
    adds_up(tracer.stats())
    tracer.close()
    end_spans(tracer, 2)
    stats = tracer.stats()
    assert stats.dropped == {"queue_full": 3, "closed": 2}
    assert (stats.started, stats.ended, stats.acknowledged) == (10, 10, 5)
    adds_up(stats)


def test_what_is_sampled_out() -> None:
    tracer = tracer_with(Scripted(), sampler="always_off")
    with tracer.trace("a"), tracer.trace("b"):
        pass
    stats = tracer.stats()
    assert (stats.started, stats.ended, stats.sampled_out) == (0, 0, 2)


def test_several_exporters_each_have_their_own_account(capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = Scripted(), Other(Result(False, 2, 0, "down"))
    tracer = tracer_with(bad, good)
    end_spans(tracer, 2)
    assert tracer.force_flush() is False
    stats = tracer.stats()
    by_name = {each.name: each for each in stats.exporters}
    assert (by_name["Scripted"].acknowledged, by_name["Scripted"].dropped) == (2, {})
    assert (by_name["Other"].acknowledged, by_name["Other"].dropped) == (0, {"failed": 2})
    assert stats.exported == 4
    assert len(good.spans) == 2
    assert capsys.readouterr().err.count("lost") == 1


def test_one_exporter_that_hangs_costs_the_others_nothing() -> None:
    entered, release = threading.Event(), threading.Event()

    class Hanging(Exporter):
        def export(self, spans: Sequence[Span], timeout: float) -> Result:
            entered.set()
            release.wait(30)  # whatever its time may be
            return Result()

    good = Scripted()
    tracer = tracer_with(Hanging(), good, timeout=0.2)
    end_spans(tracer, 1)
    assert tracer.force_flush() is False
    assert [span.name for span in good.spans] == ["0"]
    end_spans(tracer, 2)
    assert tracer.force_flush() is False
    assert len(good.spans) == 3
    until(lambda: tracer.stats().exporters[0].waiting == 2)  # for the one that hangs
    release.set()
    end_spans(tracer, 1)
    while not tracer.force_flush(10_000):
        pass
    assert tracer.stats().exporters[0].acknowledged == 4
    tracer.close()


def test_an_exporter_that_is_behind_has_a_bounded_queue(capsys: pytest.CaptureFixture[str]) -> None:
    entered, release = threading.Event(), threading.Event()

    class Hanging(Exporter):
        def export(self, spans: Sequence[Span], timeout: float) -> Result:
            entered.set()
            release.wait(30)
            return Result()

    tracer = tracer_with(Hanging(), Scripted(), timeout=0.05, queue_size=10)
    for number in range(4):
        end_spans(tracer, 5)
        tracer.force_flush()
        assert entered.wait(30)
        waiting = min(10, 5 * number)
        until(lambda waiting=waiting: tracer.stats().exporters[0].waiting == waiting)  # type: ignore[misc]  # a bound default
    until(lambda: tracer.stats().exporters[0].dropped == {"queue_full": 5})
    assert tracer.stats().exporters[0].waiting == 10
    assert "an exporter is behind" in capsys.readouterr().err
    release.set()
    tracer.close()


def until(condition: Callable[[], bool]) -> None:
    """Wait for what a thread of an export does when it comes to run."""
    limit = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_the_invocation_tells_of_what_was_dropped() -> None:
    exporter = Scripted(Result(False, 2, 0, "down"), Result())
    tracer = tracer_with(exporter, queue_size=2)
    handler = tracer.handler(lambda event, context: end_spans(tracer, event))
    handler(1, LambdaContext())  # lost with its root
    handler(4, LambdaContext())  # four in a queue of two, and the root
    handler(0, LambdaContext())
    _, second, third = [span for span in exporter.spans if span.name == "test-function"]
    told = second.attributes
    assert told["lambent.spans.dropped"] == 4
    assert told["lambent.spans.dropped.failed"] == 2
    assert told["lambent.spans.dropped.queue_full"] == 2
    assert told["lambent.spans.exported"] == 2
    assert told["lambent.spans.acknowledged"] == 0
    assert told["lambent.flush.count"] == 1
    assert not any(key.startswith("lambent.spans") for key in third.attributes)
    adds_up(tracer.stats())


def test_an_invocations_own_span_finds_room_in_a_full_queue() -> None:
    exporter = Scripted()
    tracer = tracer_with(exporter, queue_size=3)
    tracer.handler(lambda event, context: end_spans(tracer, 10))({}, LambdaContext())
    assert [span.name for span in exporter.spans] == ["0", "1", "2", "test-function"]


def test_bytes_bound_the_queue(capsys: pytest.CaptureFixture[str]) -> None:
    exporter = Scripted()
    tracer = still(exporter, queue_bytes=100_000)
    for _ in range(100):
        tracer.start_span("large", attributes={"text": "x" * 10_000}).end()
    kept = tracer.stats().waiting
    assert 8 <= kept <= 10
    assert tracer.stats().dropped == {"queue_bytes": 100 - kept}
    assert tracer.force_flush() is False
    assert "the queue of 100000 bytes was full" in capsys.readouterr().err
    end_spans(tracer, 200)
    assert tracer.force_flush()
    assert len(exporter.spans) == kept + 200


@pytest.mark.parametrize(("most", "kept"), [(0, 0), (1000, 0), (5000, 4), (40_000, 36)])
def test_so_does_a_small_number_of_them(most: int, kept: int) -> None:
    tracer = still(Scripted(), queue_bytes=most)
    for _ in range(50):
        tracer.start_span("span", attributes={"text": "x" * 1000}).end()
    assert kept - 2 <= tracer.stats().waiting <= kept
    assert tracer.force_flush() is False
    tracer.start_span("small").end()
    assert tracer.force_flush() is (most > 0)


@pytest.mark.parametrize(
    "answer", [Result(), Result(False, 2, 0, "no"), Result(False, 3, 0, "down", again=True)]
)
def test_the_figures_add_up_in_the_middle_of_an_export(answer: Result) -> None:
    seen: list[Any] = []

    class Asking(Exporter):
        def export(self, spans: Sequence[Any], timeout: float) -> Result:
            seen.append(tracer.stats())
            return answer

    tracer = tracer_with(Asking())
    end_spans(tracer, 3)
    tracer.force_flush()
    seen.append(tracer.stats())
    tracer.close()
    for stats in [*seen, tracer.stats()]:
        assert stats.ended == stats.acknowledged + stats.waiting + stats.lost
        assert stats.started == stats.ended
    assert seen[0].waiting == 3


def test_what_is_refused_takes_no_room() -> None:
    tracer = still(Scripted(), queue_bytes=100_000)
    end_spans(tracer, 8)
    tracer.start_span("giant", attributes={"text": "x" * 200_000}).end()
    assert tracer.stats().dropped == {"queue_bytes": 1}
    end_spans(tracer, 100)
    assert tracer.stats().dropped == {"queue_bytes": 1}


def test_an_invocations_own_span_finds_room_whatever_its_bytes() -> None:
    exporter = Scripted()
    tracer = tracer_with(exporter, queue_bytes=100_000)

    def handler(event: object, context: object) -> None:
        for number in range(9):
            tracer.start_span(str(number), attributes=LARGE).end()
        lambent.enrich_span({"text": "x" * 200_000})

    tracer.handler(handler)({}, LambdaContext())
    assert [span.name for span in exporter.spans] == [*map(str, range(9)), "test-function"]
    assert tracer.stats().dropped == {}


@pytest.fixture(params=[False, True], ids=["no recorder", "recorder"])
def bounded(request: pytest.FixtureRequest, tmp_path: Path) -> RecordingTracer:
    """A tracer whose queue holds a hundred large spans; a recorder knows how many bytes they have."""
    folder = str(tmp_path)
    return still(
        Scripted(), queue_bytes=1_050_000, mode="sync", recorder=request.param, recorder_folder=folder
    )


def test_bytes_bound_the_queue_whoever_counts_them(bounded: RecordingTracer) -> None:
    for _ in range(300):
        bounded.start_span("large", attributes=LARGE).end()
    stats = bounded.stats()
    assert 85 <= stats.waiting <= 105
    assert stats.dropped == {"queue_bytes": 300 - stats.waiting}


def test_what_came_unseen_is_counted_though_the_next_one_is_refused(bounded: RecordingTracer) -> None:
    for _ in range(30):
        bounded.start_span("giant", attributes={"text": "x" * 150_000}).end()
    assert bounded.stats().waiting <= 8  # so many are not looked at


def test_what_waits_for_another_invocation_is_still_counted(bounded: RecordingTracer) -> None:
    delivery = bounded.delivery

    def end_large(parent: Any, count: int) -> None:
        for _ in range(count):
            bounded.start_span("large", context=parent, attributes=LARGE).end()

    first, second = bounded.start_span("first"), bounded.start_span("second")
    for root in (first, second):
        delivery.begin(root)
    end_large(second, 60)
    end_large(first, 1)
    assert delivery.flush(10, first)
    assert bounded.stats().waiting == 60
    end_large(second, 100)
    assert 85 <= bounded.stats().waiting <= 105
    for root in (first, second):
        root.end()
        delivery.end(root, None)
    assert bounded.stats().waiting == 0
    adds_up(bounded.stats())


@given(st.lists(st.integers(0, 40_000), min_size=1, max_size=60))
def test_the_queue_holds_little_more_than_its_bytes(lengths: list[int]) -> None:
    tracer = still(Scripted(), queue_bytes=50_000)
    for length in lengths:
        tracer.start_span("s", attributes={"text": "x" * length}).end()
    waiting = tracer.delivery._queue
    # The first eight are not looked at, and sixteen in a row after that: giants among them are found late.
    assert sum(estimate(span) for span in waiting[8:-16]) <= 50_000
    adds_up(tracer.stats())
    tracer.delivery._queue.clear()
    tracer.close()


def test_the_estimate_is_near_the_truth(span_batches: st.SearchStrategy[Sequence[Span]]) -> None:
    @given(span_batches)
    def compare(spans: Sequence[Span]) -> None:
        for span in spans:
            size = len(protobuf.encode([span]))
            assert estimate(span) * 4 + _resource_size(span) >= size

    compare()


def _resource_size(span: Span) -> int:
    """Return at most how much of a request is not the span: what its resource and scope hold."""
    held = [span.resource.attributes, span.instrumentation_scope.attributes]
    scope = span.instrumentation_scope
    texts = [span.resource.schema_url, scope.schema_url, scope.name, scope.version]
    return sum(len(repr(part)) * 4 for part in held) + sum(map(len, texts)) * 4 + 2000


def test_the_next_look_is_never_too_late() -> None:
    assert next_look(1000, 100) == 5
    assert next_look(-5, 100) == 0
    assert next_look(1 << 40, 100) == 16


# Exporters and values that misbehave.


def test_an_exporter_that_traces_and_flushes_while_it_exports() -> None:
    class Reentrant(Scripted):
        def export(self, spans: Sequence[Span], timeout: float) -> Result:
            with tracer.trace("while exporting"):
                tracer.start_span("another").end()
            tracer.force_flush(timeout_millis=20_000)
            return super().export(spans, timeout)

    exporter = Reentrant()
    tracer = tracer_with(exporter)
    end_spans(tracer, 2)
    assert tracer.force_flush()
    assert [span.name for span in exporter.spans] == ["0", "1"]
    stats = tracer.stats()
    assert (stats.acknowledged, stats.waiting, stats.sampled_out) == (2, 0, 2)


def test_an_exporter_that_closes_the_tracer() -> None:
    class Closing(Scripted):
        def export(self, spans: Sequence[Span], timeout: float) -> Result:
            tracer.close()
            return super().export(spans, timeout)

    exporter = Closing()
    tracer = tracer_with(exporter)
    end_spans(tracer, 1)
    assert tracer.force_flush()
    assert len(exporter.spans) == 1


def test_a_value_whose_text_cannot_be_had() -> None:
    class Bad:
        def __str__(self) -> str:
            raise RuntimeError("no text")

        __repr__ = __str__

    memory = MemoryExporter()
    tracer = tracer_with(memory)
    with tracer.trace("s", attributes={"bad": Bad(), "good": 1}) as span:
        span.set_attribute("worse", [Bad()])
        span.add_event("e", {"bad": Bad()})
    assert memory.spans[0].attributes == {"good": 1}
    assert memory.spans[0].dropped_attributes == 2
    assert tracer.stats().ended == 1


def test_threads_count_right() -> None:
    exporter = Scripted()
    tracer = tracer_with(exporter, queue_size=100_000)
    threads = [threading.Thread(target=end_spans, args=(tracer, 500)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert tracer.force_flush(60_000)
    stats = tracer.stats()
    assert (stats.ended, stats.acknowledged) == (4000, 4000)
    assert stats.started == 4000


def test_a_copy_is_told_what_has_arrived() -> None:
    told: list[list[str]] = []
    tracer = tracer_with(Scripted(Result(), Result(False, 2, 0, "down"), Result(False, 0, 1, "one")))
    tracer.delivery.on_acknowledged = lambda spans: told.append([span.name for span in spans])
    for _ in range(3):
        end_spans(tracer, 2)
        tracer.force_flush()
    assert told == [["0", "1"], ["0", "1"]]


@pytest.mark.parametrize("recorder", [False, True])
@pytest.mark.parametrize("limits", [{"queue_size": 20}, {"queue_bytes": 4000}])
def test_threads_that_drop_at_once_are_all_counted(
    limits: dict[str, int], recorder: bool, tmp_path: Path
) -> None:
    exporter = Scripted()
    tracer = tracer_with(exporter, mode="sync", recorder=recorder, recorder_folder=str(tmp_path), **limits)
    failed: list[BaseException] = []

    def work() -> None:
        try:
            for number in range(2000):
                tracer.start_span("work", attributes={"text": "x" * (number % 100)}).end()
        except BaseException as error:  # noqa: BLE001  # a thread's end is nobody's failure otherwise
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            tracer.force_flush(timeout_millis=1000)
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    tracer.force_flush(timeout_millis=1000)
    assert failed == []
    stats = tracer.stats()
    assert stats.started == stats.ended == 12_000
    assert stats.acknowledged == len(exporter.spans)
    adds_up(stats)
    assert stats.lost > 0
    tracer.close()
