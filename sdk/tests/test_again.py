"""What could not be delivered is delivered later by the same process: once, within bounds, and counted."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest
from sdk.tests.exporters.conftest import OK, Server, answering
from sdk.tests.test_fan_out import BAD, BUSY, names

from lambent.exporters import Exporter, Result
from lambent.exporters.otlp_http import OtlpHttpExporter
from lambent.testing import LambdaContext, recording_tracer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sdk.tests.exporters.conftest import Peer, StartServer

    import lambent
    from lambent.span import Span
    from lambent.stats import Stats


class Down(Exporter):
    """Takes nothing while it is down, and knows that nothing has arrived."""

    def __init__(self, *, down: bool = True) -> None:
        self.down = down
        self.taken: list[list[str]] = []
        self.tries = 0

    def export(self, spans: Sequence[Span], timeout: float) -> Result:
        self.tries += 1
        if self.down:
            return Result(False, len(spans), 0, "down", again=True)
        self.taken.append([span.name for span in spans])
        return Result()


class Concurrent(Down):
    """The same, for several threads at once."""

    concurrent = True


def adds_up(stats: Stats) -> None:
    assert stats.ended == stats.acknowledged + stats.waiting + stats.lost, stats


def trace(tracer: lambent.Tracer, *spans: str) -> bool:
    for name in spans:
        tracer.start_span(name).end()
    return tracer.force_flush(timeout_millis=5000)


def test_a_server_that_is_busy_gets_it_later(serve: StartServer, capsys: pytest.CaptureFixture[str]) -> None:
    server = serve(answering(BUSY, OK, OK))
    tracer = recording_tracer(exporter=OtlpHttpExporter(server.url))
    tracer.start_span("one").end()
    assert tracer.force_flush(timeout_millis=500) is False  # it asks for a second
    said = capsys.readouterr().err
    assert said.startswith("lambent: kept 1 of 1 spans for another try: http://127.0.0.1")
    assert "503" in said
    stats = tracer.stats()
    assert (stats.waiting, stats.exported, stats.dropped, stats.retried) == (1, 0, {}, 0)
    assert trace(tracer, "two")
    assert names(server) == [["one"], ["two"], ["one"]], "new ones first"
    stats = tracer.stats()
    assert (stats.acknowledged, stats.exported, stats.waiting, stats.retried) == (2, 2, 0, 1)
    assert (stats.dropped, stats.lost) == ({}, 0)
    assert trace(tracer, "three")
    assert len(server.requests) == 4
    tracer.close()
    assert capsys.readouterr().err == ""


def test_a_server_that_was_not_there_gets_it_later(serve: StartServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    tracer = recording_tracer(exporter=OtlpHttpExporter(f"http://127.0.0.1:{port}/v1/traces"))
    assert not trace(tracer, "one")
    assert not trace(tracer, "two")
    server = serve(answering(*[OK] * 9))
    (lane,) = tracer.delivery._choose()
    lane.exporter = OtlpHttpExporter(server.url)
    assert tracer.force_flush(), "there need not be new ones"
    assert names(server) == [["one", "two"]]
    adds_up(tracer.stats())
    tracer.close()


def test_what_was_sent_and_not_answered_is_not_sent_again(serve: StartServer) -> None:
    waiting = threading.Event()

    def silent(server: Server, peer: Peer) -> None:
        request = peer.request()
        if request is not None:
            server.requests.append(request)
            if len(server.requests) == 1:
                waiting.wait(30)
            else:
                peer.send(OK)

    server = serve(silent)
    tracer = recording_tracer(exporter=OtlpHttpExporter(server.url))
    tracer.start_span("one").end()
    assert tracer.force_flush(timeout_millis=300) is False
    assert tracer.stats().dropped == {"unconfirmed": 1}
    assert trace(tracer, "two")
    waiting.set()
    assert names(server) == [["one"], ["two"]]
    adds_up(tracer.stats())
    tracer.close()


def test_what_a_server_refuses_is_not_sent_again(serve: StartServer) -> None:
    server = serve(answering(BAD, OK))
    tracer = recording_tracer(exporter=OtlpHttpExporter(server.url))
    assert not trace(tracer, "one")
    assert tracer.stats().dropped == {"failed": 1}
    assert trace(tracer, "two")
    assert names(server) == [["one"], ["two"]]
    tracer.close()


def test_while_it_is_down_a_flush_is_one_try() -> None:
    exporter = Down()
    tracer = recording_tracer(exporter=exporter)
    for number in range(5):
        assert not trace(tracer, str(number))
        assert exporter.tries == number + 1
    exporter.down = False
    assert trace(tracer, "5")
    assert exporter.taken == [["5"], ["0", "1", "2", "3", "4"]]
    assert tracer.force_flush()
    assert len(exporter.taken) == 2
    assert tracer.stats().retried == 1
    tracer.close()


def test_that_it_is_kept_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    exporter = Down()
    tracer = recording_tracer(exporter=exporter)
    tracer.start_span("one").end()
    for _ in range(5):
        assert not tracer.force_flush()
    assert exporter.tries == 5
    assert capsys.readouterr().err == "lambent: kept 1 of 1 spans for another try: down\n"
    tracer.close()


def test_a_large_backlog_goes_in_parts() -> None:
    exporter = Down()
    tracer = recording_tracer(exporter=exporter)
    assert not trace(tracer, *[str(number) for number in range(1200)])
    exporter.down = False
    assert trace(tracer, "new")
    assert [len(part) for part in exporter.taken] == [1, 512, 512, 176]
    assert sorted(int(name) for part in exporter.taken[1:] for name in part) == list(range(1200))
    adds_up(tracer.stats())
    tracer.close()


@pytest.mark.parametrize(
    ("limits", "reason", "kept"),
    [({"queue_size": 4}, "queue_full", 4), ({"queue_bytes": 5000}, "queue_bytes", 3)],
)
def test_it_is_bounded(limits: dict[str, Any], reason: str, kept: int, capsys: Any) -> None:
    exporter = Down()
    tracer = recording_tracer(exporter=exporter, **limits)
    for _ in range(10):
        tracer.start_span("s", attributes={"text": "x" * 1300}).end()
        assert not tracer.force_flush()
    stats = tracer.stats()
    assert (stats.waiting, stats.dropped) == (kept, {reason: 10 - kept})
    adds_up(stats)
    assert capsys.readouterr().err.count("dropped 1 spans: an exporter is behind") == 10 - kept
    exporter.down = False
    assert tracer.force_flush()
    assert [len(part) for part in exporter.taken] == [kept]
    assert trace(tracer, "s")
    adds_up(tracer.stats())
    tracer.close()


def test_invocations_own_spans_do_not_add_up() -> None:
    exporter = Down()
    tracer = recording_tracer(exporter=exporter, queue_size=4)
    handler = tracer.handler(lambda event, context: tracer.start_span("s").end())
    for _ in range(10):
        handler({}, LambdaContext())
    stats = tracer.stats()
    assert (stats.waiting, stats.dropped) == (5, {"queue_full": 15})
    adds_up(stats)
    tracer.close()


def test_closing_says_what_is_lost(capsys: pytest.CaptureFixture[str]) -> None:
    tracer = recording_tracer(exporter=Down())
    assert not trace(tracer, "one", "two")
    tracer.start_span("three").end()
    capsys.readouterr()
    tracer.close()
    said = capsys.readouterr().err
    assert "lost 1 of 1 spans: down" in said
    assert "gave up 2 spans: the tracer was closed" in said
    assert tracer.stats().dropped == {"failed": 1, "closed": 2}
    adds_up(tracer.stats())


def test_where_nobody_asked_for_an_endpoint_nothing_waits() -> None:
    class Quiet(Down):
        def export(self, spans: Sequence[Span], timeout: float) -> Result:
            return Result(False, len(spans), 0, "nobody listens", quiet=True, again=True)

    tracer = recording_tracer(exporter=Quiet())
    assert not trace(tracer, "one")
    assert tracer.stats().dropped == {"failed": 1}
    tracer.close()


@pytest.mark.parametrize("kind", [Down, Concurrent])
def test_invocations_at_once(kind: type[Down]) -> None:
    exporter = kind()
    tracer = recording_tracer(exporter=exporter)
    together = threading.Barrier(8)

    @tracer.handler
    def handler(event: int, context: object) -> int:
        together.wait(30)
        tracer.start_span(f"inner {event}").end()
        together.wait(30)
        return event

    def everywhere() -> None:
        threads = [threading.Thread(target=handler, args=(n, LambdaContext())) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

    everywhere()
    exporter.down = False
    everywhere()
    assert tracer.force_flush()
    arrived = [name for part in exporter.taken for name in part]
    assert len(arrived) == 32, "each once"
    stats = tracer.stats()
    assert (stats.ended, stats.acknowledged, stats.waiting, stats.lost) == (32, 32, 0, 0)
    tracer.close()


def test_each_exporter_has_its_own() -> None:
    good, bad = Down(down=False), Down()
    tracer = recording_tracer(exporter=None, exporters=[bad, good])
    assert not trace(tracer, "one")
    bad.down = False
    assert trace(tracer, "two")
    assert good.taken == [["one"], ["two"]]
    assert bad.taken == [["two"], ["one"]]
    tracer.close()
