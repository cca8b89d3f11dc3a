"""Several exporters at once, with real servers: one that hangs or fails is nobody else's problem."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from sdk.tests.exporters.conftest import OK, Server, answering

from lambent.exporters.memory import MemoryExporter
from lambent.exporters.otlp_http import OtlpHttpExporter
from lambent.testing import recording_tracer

if TYPE_CHECKING:
    from sdk.tests.exporters.conftest import Peer, StartServer


def hanging(server: Server, peer: Peer) -> None:
    if peer.request() is not None:
        peer.hang()


def names(server: Server) -> list[list[str]]:
    return [
        [
            span.name
            for resource in ExportTraceServiceRequest.FromString(request.body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        for request in server.requests
    ]


BAD = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno"
BUSY = b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize("trouble", [hanging, answering(BAD), answering(BUSY)])
def test_one_in_trouble_costs_the_others_neither_time_nor_spans(
    trouble: Any, position: int, serve: StartServer, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, good, other = serve(trouble), serve(answering(OK)), serve(answering(OK))
    order = [good, other]
    order.insert(position, bad)
    memory = MemoryExporter()
    tracer = recording_tracer(
        exporter=None, exporters=[*[OtlpHttpExporter(server.url) for server in order], memory]
    )
    for name in ("one", "two"):
        tracer.start_span(name).end()
        began = time.monotonic()
        assert tracer.force_flush(timeout_millis=700) is False
        assert time.monotonic() - began < 20
    assert names(good) == names(other) == [["one"], ["two"]]
    assert [span.name for span in memory.spans] == ["one", "two"]
    said = capsys.readouterr().err
    assert f"127.0.0.1:{bad.port}" in said
    assert f"127.0.0.1:{good.port}" not in said
    tracer.close()


def test_they_go_side_by_side(serve: StartServer) -> None:
    together = threading.Barrier(6)

    def slow(server: Server, peer: Peer) -> None:
        while (request := peer.request()) is not None:
            together.wait(60)  # no answer before all of them have been asked
            server.requests.append(request)
            peer.send(OK)

    servers = [serve(slow) for _ in range(6)]
    tracer = recording_tracer(exporter=None, exporters=[OtlpHttpExporter(server.url) for server in servers])
    tracer.start_span("a").end()
    assert tracer.force_flush(timeout_millis=60_000)
    assert [names(server) for server in servers] == [[["a"]]] * 6
    tracer.close()


def test_by_name(serve: StartServer, capsys: pytest.CaptureFixture[str]) -> None:
    server = serve(answering(OK))
    tracer = recording_tracer(exporter="otlp,console,stdout", endpoint=server.url)
    tracer.start_span("everywhere").end()
    assert tracer.force_flush(timeout_millis=20_000)
    tracer.close()
    assert names(server) == [["everywhere"]]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert "everywhere" in lines[0]
    assert "__otel_otlp_stdout" in lines[1]


def test_what_a_busy_one_could_not_take_follows(serve: StartServer) -> None:
    slow = serve(answering(BUSY, OK))
    good = serve(answering(OK))
    tracer = recording_tracer(
        exporter=None, exporters=[OtlpHttpExporter(slow.url), OtlpHttpExporter(good.url)]
    )
    tracer.start_span("one").end()
    assert tracer.force_flush(timeout_millis=30_000)  # it asks for a second, and there is time
    assert names(slow) == [["one"], ["one"]]
    assert names(good) == [["one"]]
    tracer.close()


def test_a_child_forked_while_spans_are_settled_settles_its_own(run_python: Any) -> None:
    program = """
import os, threading, warnings
from lambent.delivery.fanout import Ledger
inside, go_on = threading.Event(), threading.Event()
class Spans(list):
    def __iter__(self):
        inside.set()
        go_on.wait(50)
        return super().__iter__()
class Delivery:
    recorder = None
ledger = Ledger(Delivery(), ["lane"])
thread = threading.Thread(target=ledger.settle, args=("lane", Spans()), kwargs={"taken": True})
thread.start()
assert inside.wait(50)
warnings.simplefilter("ignore")  # of forking with threads
child = os.fork()
if child == 0:
    ledger.settle("lane", [], taken=True)
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
go_on.set()
"""
    assert run_python(program).stdout == "0\n"
