"""The watchdog: what it sends, of whom, and when it keeps quiet."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import lambent
from lambent.delivery.watchdog import margin_for
from lambent.testing import LambdaContext

if TYPE_CHECKING:
    from collections.abc import Iterator


class Keeping(lambent.exporters.Exporter):
    """An exporter that keeps what it is given, and tells when there is something partial."""

    concurrent = True

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.partial = threading.Event()

    def export(self, spans: Any, timeout: float) -> lambent.exporters.Result:
        assert timeout > 0
        self.spans += spans
        if any("lambent.partial" in span.attributes for span in spans):
            self.partial.set()
        return lambent.exporters.Result(ok=True)

    def names(self, attribute: str) -> list[str]:
        return [span.name for span in self.spans if span.attributes.get(attribute)]


@pytest.fixture(params=["recorder", "no recorder"])
def tracer(request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[lambent.Tracer]:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "orders")
    monkeypatch.setenv("LAMBENT_RECORDER_FOLDER", str(tmp_path))
    made = lambent.init(exporter=Keeping(), recorder=request.param == "recorder", deadline_margin=2.0)
    yield made
    made.close()


def kept(tracer: lambent.Tracer) -> Keeping:
    (exporter,) = tracer.delivery.exporters
    assert isinstance(exporter, Keeping)
    return exporter


@pytest.mark.parametrize("millis", [float("inf"), float("nan"), -float("inf"), 10**18, 10**400, 0, -5, True])
def test_a_context_may_say_what_it_likes_of_its_time(tracer: lambent.Tracer, millis: float) -> None:
    class Context:
        def get_remaining_time_in_millis(self) -> float:
            return millis

    @tracer.handler
    def handler(event: object, context: object) -> bool:
        return tracer.trace("inside").is_recording()

    assert handler({}, Context())
    assert lambent.current_span() is None
    tracer.force_flush()
    assert [span.name for span in kept(tracer).spans] == ["orders"]


def test_a_watchdog_that_cannot_be_had_leaves_no_span_current(
    tracer: lambent.Tracer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lambent.delivery.watchdog.Watchdog", None)
    assert tracer.handler(lambda event, context: "answer")({}, LambdaContext()) == "answer"
    assert lambent.current_span() is None
    assert [span.name for span in kept(tracer).spans] == ["test-function"]
    assert "a deadline is not watched" in capsys.readouterr().err


def test_an_alarm(tracer: lambent.Tracer) -> None:
    with tracer.invocation({}, LambdaContext(timeout=2.2)):
        with tracer.trace("before"):
            pass
        with tracer.trace("outer"), tracer.trace("inner", attributes={"a": 1}) as inner:
            inner.set_attribute("b", 2)
            assert kept(tracer).partial.wait(30)
    # Within the margin nothing is exported at the end of an invocation: it waits for the next one.
    assert tracer.force_flush()
    exporter = kept(tracer)
    assert exporter.names("lambent.partial") == ["test-function", "outer", "inner"]
    assert exporter.names("lambent.running") == ["inner"]
    inner_copy = next(span for span in exporter.spans if span.name == "inner")
    assert (inner_copy.attributes["a"], inner_copy.attributes["b"]) == (1, 2)
    whole = [span for span in exporter.spans if not span.attributes.get("lambent.partial")]
    assert sorted(span.name for span in whole) == ["before", "inner", "outer", "test-function"]


def test_a_function_that_has_closed_every_file_has_its_alarm(
    tracer: lambent.Tracer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(*_: object) -> None:
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr("lambent.delivery.watchdog.pwrite", closed)
    with tracer.invocation({}, LambdaContext(timeout=2.2)):
        assert kept(tracer).partial.wait(30)


def test_in_time_there_is_none(tracer: lambent.Tracer) -> None:
    for _ in range(50):
        with tracer.invocation({}, LambdaContext(timeout=60)), tracer.trace("work"):
            pass
    assert not kept(tracer).names("lambent.partial")
    assert tracer.watchdog is not None
    assert tracer.watchdog.alarms == 0


def test_invocations_at_once_have_their_own_deadlines(tracer: lambent.Tracer) -> None:
    entered, leave = threading.Barrier(2), threading.Event()

    def long() -> None:
        with tracer.invocation({}, LambdaContext(timeout=600), name="long"), tracer.trace("patient"):
            entered.wait(30)
            leave.wait(60)

    thread = threading.Thread(target=long)
    thread.start()
    with tracer.invocation({}, LambdaContext(timeout=2.5), name="short"):
        entered.wait(30)
        with tracer.trace("late"):
            assert kept(tracer).partial.wait(30)
    leave.set()
    thread.join(30)
    assert kept(tracer).names("lambent.partial") == ["short", "late"]


def test_a_later_but_shorter_invocation_wakes_it(tracer: lambent.Tracer) -> None:
    with tracer.invocation({}, LambdaContext(timeout=600)):
        pass
    with tracer.invocation({}, LambdaContext(timeout=2.2)):
        assert kept(tracer).partial.wait(30)


def test_one_thread_however_many_invocations(tracer: lambent.Tracer) -> None:
    with tracer.invocation({}, LambdaContext(timeout=60)):
        pass
    before = len(list(Path("/proc/self/task").iterdir()))
    for _ in range(100):
        with tracer.invocation({}, LambdaContext(timeout=60)):
            pass
    assert len(list(Path("/proc/self/task").iterdir())) == before


def test_other_threads_spans_while_it_is_made(
    tracer: lambent.Tracer, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = []

    def watching(*hooks: Any, watch: Any = tracer._watch) -> None:
        watch(*hooks)
        with tracer.trace("meanwhile"):  # as it may be in another thread
            began.append(True)

    tracer.trace("first").end()
    monkeypatch.setattr(tracer, "_watch", watching)
    assert tracer.handler(lambda event, context: 1)({}, LambdaContext()) == 1
    assert tracer.force_flush()
    assert (tracer.recorder is None) == bool(began)
    assert set(kept(tracer).names("lambent.partial")) == set()
    assert tracer.watchdog is not None


def test_a_deadline_that_has_passed_is_nobodys(tracer: lambent.Tracer) -> None:
    span = tracer.start_span("stale")
    watchdog = tracer._guard()
    assert watchdog is not None
    watchdog.arm(span, time.monotonic() - 1, -1)
    with tracer.invocation({}, LambdaContext(timeout=2.2)):
        assert kept(tracer).partial.wait(30)
    assert watchdog.alarms == 1
    span.end()


def test_switched_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "orders")
    monkeypatch.setenv("LAMBENT_RECORDER_FOLDER", str(tmp_path))
    tracer = lambent.init(exporter=Keeping(), watchdog=False)
    with tracer.invocation({}, LambdaContext(timeout=60)):
        pass
    assert tracer.watchdog is None
    tracer.close()


@pytest.mark.parametrize(
    ("remaining", "configured", "margin"),
    [(3, 0, 0.1), (60, 0, 1.2), (900, 0, 18), (3, 0.5, 0.5), (0.15, 0, 0.075), (1, 5, 0.5)],
)
def test_the_margin(remaining: float, configured: float, margin: float) -> None:
    assert margin_for(remaining, configured) == pytest.approx(margin)
