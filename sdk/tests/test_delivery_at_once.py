"""Threads that come at the same time: the first exports, the first invocations, flushes that cross."""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

import lambent
from lambent.delivery import watchdog
from lambent.exporters import Exporter, Result, choose
from lambent.testing import LambdaContext, recording_tracer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LAMBDA = {"AWS_LAMBDA_FUNCTION_NAME": "f", "LAMBENT_RECORDER": "off"}
MANAGED = {**LAMBDA, "AWS_LAMBDA_MAX_CONCURRENCY": "8"}


class Down(Exporter):
    """Takes nothing while it is down; what it was given is worth another try."""

    concurrent = True

    def __init__(self) -> None:
        self.down = False
        self.names: list[str] = []

    def export(self, spans: Sequence[Any], timeout: float) -> Result:
        if self.down:
            return Result(False, len(spans), 0, "down", again=True)
        self.names += [span.name for span in spans]
        return Result()


def side_by_side(work: Callable[[int], object], count: int = 2) -> list[object]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(work, range(count), timeout=60))


def chosen_at_once(monkeypatch: pytest.MonkeyPatch, exporter: Exporter, count: int = 2) -> None:
    """Have so many threads choose their exporters at the same moment."""
    meet = threading.Barrier(count)

    def choosing(config: object) -> list[Exporter]:
        meet.wait(30)
        return [exporter]

    monkeypatch.setattr(choose, "choose", choosing)


def test_first_exports_at_the_same_time_are_all_accounted_for(monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = Down()
    exporter.down = True
    chosen_at_once(monkeypatch, exporter)
    tracer = recording_tracer(exporter=None, environ=LAMBDA)
    inside = threading.Barrier(2)

    @tracer.handler
    def handler(event: int, context: object) -> None:
        tracer.start_span(f"work {event}").end()
        inside.wait(30)

    side_by_side(lambda number: handler(number, LambdaContext()))
    stats = tracer.stats()
    assert (stats.ended, stats.waiting, stats.dropped) == (4, 4, {})
    exporter.down = False
    assert tracer.force_flush()
    tracer.start_span("later").end()
    assert tracer.force_flush()
    stats = tracer.stats()
    assert (stats.ended, stats.acknowledged, stats.waiting) == (5, 5, 0)
    assert sorted(exporter.names) == ["later", "test-function", "test-function", "work 0", "work 1"]
    tracer.close()


@pytest.mark.parametrize("seconds", [30, 0.05])
def test_a_flush_does_not_answer_for_what_another_thread_has_in_hand(
    monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    exporter = Down()
    loading, release = threading.Event(), threading.Event()

    def choosing(config: object) -> list[Exporter]:
        loading.set()
        assert release.wait(30)
        return [exporter]

    monkeypatch.setattr(choose, "choose", choosing)
    tracer = recording_tracer(exporter=None)
    tracer.start_span("a").end()
    first = threading.Thread(target=tracer.force_flush)
    first.start()
    assert loading.wait(30)
    if seconds > 1:
        threading.Timer(0.05, release.set).start()
        assert tracer.force_flush(timeout_millis=seconds * 1000)
        assert exporter.names == ["a"]
    else:
        assert not tracer.force_flush(timeout_millis=seconds * 1000)
        release.set()
    first.join(30)
    assert exporter.names == ["a"]
    tracer.close()


def test_an_exporter_that_flushes_beside_others_does_not_wait_for_itself() -> None:
    answers: list[bool] = []

    class Flushing(Down):
        def export(self, spans: Sequence[Any], timeout: float) -> Result:
            start = time.monotonic()
            answers.append(tracer.force_flush(timeout_millis=60_000))
            assert time.monotonic() - start < 30
            return super().export(spans, timeout)

    exporter = Flushing()
    tracer = recording_tracer(exporter=None, exporters=[exporter], environ=LAMBDA)
    inside = threading.Barrier(2)

    @tracer.handler
    def handler(event: object, context: object) -> None:
        inside.wait(30)

    side_by_side(lambda number: handler(number, LambdaContext()))
    assert answers
    assert not any(answers)
    assert tracer.stats().acknowledged == 2
    tracer.close()


def test_first_invocations_at_the_same_time_have_one_watchdog(monkeypatch: pytest.MonkeyPatch) -> None:
    meet = threading.Barrier(2)
    made: list[watchdog.Watchdog] = []
    original = watchdog.Watchdog

    def slow(*arguments: Any) -> watchdog.Watchdog:
        meet.wait(30)
        made.append(original(*arguments))
        return made[-1]

    monkeypatch.setattr(watchdog, "Watchdog", slow)
    tracer = recording_tracer(exporter=None, exporters=[Down()], environ=LAMBDA)
    tracer._watches = True
    inside = threading.Barrier(2)

    @tracer.handler
    def handler(event: object, context: object) -> None:
        inside.wait(30)

    side_by_side(lambda number: handler(number, LambdaContext(timeout=30)))
    assert len(made) == 2
    assert [each for each in made if each._armed] == []
    assert [each for each in made if each._alive] == [tracer.watchdog]
    tracer.close()


# Long invocations.


class Told(Down):
    """Tells when it was given something."""

    def __init__(self, *, hold: bool = False) -> None:
        super().__init__()
        self.told, self.release = threading.Event(), threading.Event()
        if not hold:
            self.release.set()

    def export(self, spans: Sequence[Any], timeout: float) -> Result:
        self.told.set()
        if not self.release.wait(timeout):
            return Result(False, len(spans), 0, "hangs", unconfirmed=True)
        return super().export(spans, timeout)


@pytest.mark.parametrize("environ", [LAMBDA, {**LAMBDA, "LAMBENT_MODE": "async"}, {}])
def test_spans_outside_invocations_leave_before_their_queue_is_full(environ: dict[str, str]) -> None:
    """Of a script, or a function whose handler is not decorated: no end of an invocation empties it."""
    exporter = Told()
    tracer = recording_tracer(exporter=None, exporters=[exporter], queue_size=20, environ=environ)
    for number in range(48):
        tracer.start_span(str(number)).end()
        if number % 12 == 11:
            assert exporter.told.wait(30)
            exporter.told.clear()
    assert tracer.force_flush()
    stats = tracer.stats()
    assert (stats.ended, stats.acknowledged, stats.dropped) == (48, 48, {})
    tracer.close()


@pytest.mark.parametrize("environ", [LAMBDA, {**LAMBDA, "LAMBENT_MODE": "async"}, {}])
def test_spans_of_a_long_invocation_leave_before_their_queue_is_full(environ: dict[str, str]) -> None:
    exporter = Told()
    tracer = recording_tracer(exporter=None, exporters=[exporter], queue_size=20, environ=environ)

    @tracer.handler
    def handler(event: object, context: object) -> int:
        for number in range(50):
            tracer.start_span(str(number)).end()
            if number % 12 == 11:
                assert exporter.told.wait(30)
                exporter.told.clear()
        return 5

    assert handler({}, LambdaContext()) == 5
    stats = tracer.stats()
    assert (stats.ended, stats.acknowledged, stats.dropped) == (51, 51, {})
    assert sorted(exporter.names) == sorted(["test-function", *map(str, range(50))])
    tracer.close()


def test_what_fills_the_queue_during_an_early_export_leaves_after_it() -> None:
    exporter = Told(hold=True)
    tracer = recording_tracer(exporter=None, exporters=[exporter], queue_size=20, timeout=60, environ=LAMBDA)

    @tracer.handler
    def handler(event: object, context: object) -> None:
        for count in (12, 14):
            for number in range(count):
                tracer.start_span(str(number)).end()
            if count == 12:
                assert exporter.told.wait(30)
                exporter.told.clear()
        exporter.release.set()
        assert exporter.told.wait(30)

    handler({}, LambdaContext(timeout=600))
    stats = tracer.stats()
    assert (stats.ended, stats.acknowledged, stats.dropped) == (27, 27, {})
    tracer.close()


def test_few_spans_of_many_bytes_leave_before_their_queue_is_full() -> None:
    exporter = Told()
    tracer = recording_tracer(exporter=None, exporters=[exporter], queue_bytes=200_000, environ=LAMBDA)

    @tracer.handler
    def handler(event: object, context: object) -> None:
        for _ in range(3):
            for number in range(16):
                tracer.start_span(str(number), attributes={"text": "x" * 10_000}).end()
            assert exporter.told.wait(30)
            exporter.told.clear()

    handler({}, LambdaContext())
    stats = tracer.stats()
    assert (stats.ended, stats.acknowledged, stats.dropped) == (49, 49, {})
    tracer.close()


def test_a_collector_that_hangs_meanwhile_is_waited_for_no_longer_than_at_the_end() -> None:
    exporter = Told(hold=True)
    tracer = recording_tracer(exporter=None, exporters=[exporter], queue_size=20, timeout=0.2, environ=LAMBDA)

    @tracer.handler
    def handler(event: object, context: object) -> float:
        for number in range(50):
            tracer.start_span(str(number)).end()
        assert exporter.told.wait(30)
        return time.monotonic()

    assert time.monotonic() - handler({}, LambdaContext()) < 10
    stats = tracer.stats()
    assert stats.ended == 51
    assert stats.acknowledged + stats.waiting + sum(stats.dropped.values()) == 51
    exporter.release.set()
    assert tracer.force_flush(timeout_millis=30_000)
    assert "test-function" in exporter.names  # it tells what is missing
    tracer.close()


def test_an_export_meanwhile_knows_what_time_is_left() -> None:
    given: list[float] = []

    class Timed(Told):
        def export(self, spans: Sequence[Any], timeout: float) -> Result:
            given.append(timeout)
            return super().export(spans, timeout)

    exporter = Timed()
    tracer = recording_tracer(
        exporter=None, exporters=[exporter], queue_size=20, timeout=3000, environ=LAMBDA
    )

    @tracer.handler
    def handler(event: object, context: object) -> None:
        for number in range(12):
            tracer.start_span(str(number)).end()
        assert exporter.told.wait(30)

    handler({}, LambdaContext(timeout=60))
    assert given
    assert max(given) < 59
    tracer.close()


def test_a_flush_in_an_invocation_leaves_it_the_time_to_answer() -> None:
    given: list[float] = []

    class Timed(Down):
        def export(self, spans: Sequence[Any], timeout: float) -> Result:
            given.append(timeout)
            return super().export(spans, timeout)

    tracer = recording_tracer(exporter=None, exporters=[Timed()], timeout=3000, environ=LAMBDA)

    @tracer.handler
    def handler(event: object, context: object) -> bool:
        tracer.start_span("a").end()
        return tracer.force_flush()

    assert handler({}, LambdaContext(timeout=60)) is True
    assert max(given) < 59
    tracer.invocation({}, LambdaContext(timeout=-5)).__enter__()  # one that is never left, and over
    tracer.start_span("outside").end()
    assert tracer.force_flush()
    assert given[-1] > 2000
    tracer.close()


def test_outside_an_invocation_nothing_leaves_by_itself() -> None:
    exporter = Told()
    tracer = recording_tracer(exporter=None, exporters=[exporter], queue_size=20, environ=LAMBDA)
    for number in range(50):
        tracer.start_span(str(number)).end()
    assert not exporter.told.is_set()
    assert tracer.stats().dropped == {"queue_full": 30}
    tracer.close()


# Processors.


class Flushed(lambent.SpanProcessor):
    """Holds each flush up until it is let go."""

    def __init__(self) -> None:
        self.entered, self.release = threading.Event(), threading.Event()
        self.flushes = 0

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        self.entered.set()
        assert self.release.wait(30)
        self.flushes += 1
        return True


def test_flushes_of_a_processor_at_the_same_time_take_turns(capsys: pytest.CaptureFixture[str]) -> None:
    processor = Flushed()
    tracer = recording_tracer(exporter=None, processors=[processor])
    with ThreadPoolExecutor(3) as pool:
        flushes = [pool.submit(tracer.force_flush, 30_000) for _ in range(3)]
        assert processor.entered.wait(30)
        processor.release.set()
        assert [flush.result(30) for flush in flushes] == [True] * 3
    assert processor.flushes == 3
    assert capsys.readouterr().err == ""
    tracer.close()


def test_where_nothing_freezes_an_invocation_does_not_wait_for_processors() -> None:
    processor = Flushed()
    tracer = recording_tracer(exporter=None, processors=[processor], mode="auto", environ=MANAGED)
    handler = tracer.handler(lambda event, context: "answer")
    assert handler({}, LambdaContext()) == "answer"
    assert not processor.flushes
    assert processor.entered.wait(30)
    processor.release.set()
    tracer.close()
    assert processor.flushes


@pytest.mark.parametrize("millis", [float("inf"), 1e30])
def test_a_flush_may_be_given_all_the_time_there_is(millis: float) -> None:
    processor = Flushed()
    processor.release.set()
    tracer = recording_tracer(exporter=None, processors=[processor], timeout=1e15)
    assert tracer.force_flush(timeout_millis=millis)
    assert not tracer.force_flush(timeout_millis=float("nan")) or processor.flushes == 2
    tracer.close()


def test_the_background_may_be_told_to_wait_for_ever() -> None:
    exporter = Down()
    tracer = recording_tracer(exporter=None, exporters=[exporter], mode="auto", schedule_delay=1e15)
    handler = tracer.handler(lambda event, context: "answer")
    handler({}, LambdaContext())
    for _ in range(3000):
        if exporter.names:
            break
        time.sleep(0.01)
    assert exporter.names == ["test-function"]
    tracer.close()


# Processes of multiprocessing end without an exit.


@pytest.mark.parametrize("mode", ["sync", "async", "auto", "finalize"])
@pytest.mark.parametrize("where", [{}, {"AWS_LAMBDA_FUNCTION_NAME": "f"}])
def test_what_a_worker_has_traced_leaves_with_it(run_python: Any, mode: str, where: dict[str, str]) -> None:
    program = f"""
import multiprocessing, os, lambent
tracer = lambent.init(mode={mode!r}, exporter="console")
tracer.start_span("parents").end()
tracer.force_flush()
folder = os.environ["TMPDIR"]
before = os.listdir(folder)
def work():
    with tracer.trace("childs"):
        pass
process = multiprocessing.get_context("fork").Process(target=work)
process.start()
process.join()
assert process.exitcode == 0
assert os.listdir(folder) == before, os.listdir(folder)
"""
    done = run_python(program, where)
    assert done.stdout.count("childs") == 1, done.stderr
    assert done.stdout.count("parents") == 1
    assert "spans:" not in done.stderr


@pytest.mark.parametrize("where", [{}, {"AWS_LAMBDA_FUNCTION_NAME": "f"}])
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_so_it_does_when_it_begins_anew(
    run_python: Any, tmp_path: Any, method: str, where: dict[str, str]
) -> None:
    program = tmp_path / "program.py"
    program.write_text(f"""
import multiprocessing, os, lambent
tracer = lambent.init()
def work():
    with tracer.trace("childs"):
        pass
if __name__ == "__main__":
    process = multiprocessing.get_context({method!r}).Process(target=work)
    process.start()
    process.join()
    assert process.exitcode == 0
    assert not [name for name in os.listdir(os.environ["TMPDIR"]) if "recorder" in name]
""")
    run = f"import runpy; runpy.run_path({str(program)!r}, run_name='__main__')"
    out = run_python(run, {**where, "LAMBENT_EXPORTERS": "console"})
    assert out.stdout.count("childs") == 1, out.stderr


def test_a_fork_in_the_middle_of_a_threads_import_does_not_hang_the_child(
    run_python: Any, tmp_path: Any
) -> None:
    """An export loads what it needs in a thread, which is not in the child; its locks on modules are."""
    (tmp_path / "needed.py").write_text("import __main__\n__main__.loading()\nfrom json import dumps\n")
    program = f"""
import os, signal, sys, threading, lambent
sys.path.insert(0, {str(tmp_path)!r})
begun, go_on = threading.Event(), threading.Event()
parent = os.getpid()
def loading():
    begun.set()
    if os.getpid() == parent:
        go_on.wait(30)
class Exporter:
    def export(self, spans, timeout):
        from needed import dumps
        print("got", dumps([span.name for span in spans]), flush=True)
tracer = lambent.init(exporter=Exporter(), mode="auto", timeout=20)
tracer.start_span("parents").end()
tracer.half = threading.Thread(target=tracer.force_flush)
tracer.half.start()
assert begun.wait(30)
child = os.fork()
if child == 0:
    signal.alarm(20)
    tracer.start_span("childs").end()
    os._exit(0 if tracer.force_flush() else 1)
assert os.waitpid(child, 0)[1] == 0
go_on.set()
tracer.half.join()
"""
    done = run_python(program)
    assert sorted(done.stdout.splitlines()) == ['got ["childs"]', 'got ["parents"]'], done.stderr


def test_nor_does_one_in_the_middle_of_an_export_stop_the_childs(run_python: Any) -> None:
    program = """
import os, threading, lambent
begun, go_on = threading.Event(), threading.Event()
parent = os.getpid()
class Exporter:
    def export(self, spans):
        begun.set()
        if os.getpid() == parent:
            go_on.wait(30)
        print("got", [span.name for span in spans], flush=True)
tracer = lambent.init(exporter=Exporter(), timeout=20)
tracer.start_span("parents").end()
flush = threading.Thread(target=tracer.force_flush)
flush.start()
assert begun.wait(30)
child = os.fork()
if child == 0:
    tracer.start_span("childs").end()
    tracer.force_flush()
    os._exit(0)
os.waitpid(child, 0)
go_on.set()
flush.join()
"""
    done = run_python(program)
    assert sorted(done.stdout.splitlines()) == ["got ['childs']", "got ['parents']"], done.stderr


# What an exporter answers, or does.


class Answering:
    """An exporter that has only heard of the protocol."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def export(self, spans: Sequence[Any], timeout: float) -> object:
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


class Named:
    def __init__(self, name: str) -> None:
        self.name = name


@pytest.mark.parametrize("answer", [True, Named("SUCCESS"), None])
def test_an_answer_of_its_own_means_that_it_took_them(answer: object) -> None:
    tracer = lambent.init(exporter=Answering(answer))
    tracer.start_span("a").end()
    assert tracer.force_flush()
    assert tracer.stats().acknowledged == 1
    tracer.close()


@pytest.mark.parametrize("answer", [False, Named("FAILURE")])
def test_unless_it_is_a_failure(answer: object, capsys: pytest.CaptureFixture[str]) -> None:
    tracer = lambent.init(exporter=Answering(answer))
    tracer.start_span("a").end()
    assert not tracer.force_flush()
    assert tracer.stats().dropped == {"failed": 1}
    assert "lost 1 of 1 spans: the exporter reported a failure" in capsys.readouterr().err
    tracer.close()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)])
def test_an_exit_in_the_middle_of_an_export_is_accounted_for(error: BaseException) -> None:
    tracer = lambent.init(exporter=Answering(error))
    tracer.start_span("a").end()
    with pytest.raises(type(error)):
        tracer.force_flush()
    stats = tracer.stats()
    assert (stats.ended, stats.dropped) == (1, {"exporter_error": 1})
    tracer.close()


class Shut(Answering):
    """As OpenTelemetry's exporters are, but of nobody's: it is told when to export, and to shut down."""

    shut = 0

    def shutdown(self) -> None:
        self.shut += 1


class ShutWithoutTime(Shut):
    def export(self, spans: Sequence[Any]) -> object:  # type: ignore[override]  # on purpose
        return self.answer


@pytest.mark.parametrize("made", [Shut, ShutWithoutTime])
def test_one_like_opentelemetrys_needs_no_sdk(made: type[Shut], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk", None)
    exporter = made(None)
    tracer = lambent.init(exporter=exporter)
    tracer.start_span("a").end()
    assert tracer.force_flush()
    tracer.close()
    assert (tracer.stats().acknowledged, exporter.shut) == (1, 1)


def test_an_exporter_need_not_know_of_time(capsys: pytest.CaptureFixture[str]) -> None:
    release = threading.Event()

    class Untimed:
        def __init__(self) -> None:
            self.names: list[str] = []
            self.closed = False

        def export(self, spans: Sequence[Any]) -> bool:
            self.names += [span.name for span in spans]
            return release.wait(30)

        def close(self) -> None:
            self.closed = True

    exporter = Untimed()
    tracer = lambent.init(exporters=[exporter])
    tracer.start_span("a").end()
    assert not tracer.force_flush(timeout_millis=50)
    assert tracer.stats().dropped == {"unconfirmed": 1}
    tracer.start_span("b").end()
    assert not tracer.force_flush(timeout_millis=50)
    assert tracer.stats().waiting == 1
    release.set()
    for _ in range(3000):
        if tracer.force_flush(timeout_millis=1000):
            break
    assert exporter.names == ["a", "b"]
    tracer.close()
    assert exporter.closed
