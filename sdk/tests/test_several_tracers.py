"""Tracers side by side, each on its own; and what is left of them when they are closed: nothing."""

from __future__ import annotations

import asyncio
import os
import sysconfig
import threading
from pathlib import Path
from typing import Any

import pytest

import lambent
from lambent import llm
from lambent.exporters.memory import MemoryExporter
from lambent.testing import LambdaContext

CLOSED = """
import gc, http.server, os, sys, threading, time
from collections import Counter

import lambent

MODE, TIMES = {mode!r}, {times}
next_event = threading.Event()


class Server(http.server.BaseHTTPRequestHandler):
    # A collector, and the Extensions API of an environment in which nothing happens.
    protocol_version = "HTTP/1.1"

    def answer(self, status=200, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", "0")
        self.end_headers()

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.answer(lambda_extension_identifier="id")

    def do_GET(self):
        next_event.wait()
        self.answer()

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
server.daemon_threads = True
ours = threading.Thread(target=server.serve_forever, daemon=True)
ours.start()
address = f"127.0.0.1:{{server.server_port}}"
if MODE == "extension":
    os.environ["AWS_LAMBDA_RUNTIME_API"] = address
    os.environ["AWS_LAMBDA_FUNCTION_NAME"] = "orders"


@lambent.trace(inputs=True, outputs=True)
def work(n):
    lambent.enrich_span({{"n": n}})
    return n


def once():
    tracer = lambent.init(
        endpoint=f"http://{{address}}", mode="async" if MODE == "extension" else MODE, recorder=True,
        session_name="s", set_global=True,
    )
    with tracer.trace("outer"):
        work(1)
    tracer.close()
    assert tracer.stats().exported == 2, tracer.stats()


def state():
    # The collector's own threads end when they see that their connections are closed, a background one within
    # some hundredths of a second. The extension stays: Lambda knows no way to leave.
    deadline = time.monotonic() + 20
    stay = 4 if MODE == "extension" else 2
    while len(os.listdir("/proc/self/task")) > stay:
        assert time.monotonic() < deadline, threading.enumerate()
        time.sleep(0.01)
    for _ in range(3):
        gc.collect()
    threads = sorted(t.name for t in threading.enumerate() if "process_request" not in t.name)
    # The collector's own connections are none of the tracers'.
    mine = [fd for fd in os.listdir("/proc/self/fd") if "socket" not in link(fd)]
    kinds = Counter(f"{{type(each).__module__}}.{{type(each).__qualname__}}" for each in gc.get_objects())
    return threads, len(mine), kinds


def link(fd):
    try:
        return os.readlink(f"/proc/self/fd/{{fd}}")
    except OSError:
        return ""


for _ in range(20):
    once()
threads, files, kinds = state()
for _ in range(TIMES):
    once()
threads_after, files_after, kinds_after = state()
assert threads_after == threads, (threads, threads_after)
assert files_after <= files, (files, files_after)
grown = {{kind: count for kind, count in (kinds_after - kinds).items() if count > TIMES / 20}}
assert not grown, grown
assert not [kind for kind in kinds_after - kinds if kind.startswith("lambent.")], kinds_after - kinds
assert not [name for name in os.listdir(os.environ["TMPDIR"]) if "lambent" in name]


def connections():
    # Those that nobody has closed, of this process to the server.
    port = f":{{server.server_port:04X}}"
    with open("/proc/self/net/tcp") as table:
        rows = [line.split() for line in table][1:]
    return sum(row[2].endswith(port) and row[3] == "01" for row in rows)


assert connections() <= (1 if MODE == "extension" else 0), connections()
os._exit(0)
"""


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("mode", "times"), [("sync", 1000), ("auto", 400), ("finalize", 400), ("extension", 400)]
)
def test_a_thousand_inits_and_closes_leave_nothing(mode: str, times: int, run_python: Any) -> None:
    run_python(CLOSED.format(mode=mode, times=times))


@pytest.mark.parametrize("api", ["", "from opentelemetry import trace as api"])
def test_nothing_holds_a_closed_tracer(api: str, run_python: Any) -> None:
    """Not even the last one, with the spans that its exporter keeps, whatever has been used of it."""
    path = [str(Path(lambent.__file__).parents[1]), sysconfig.get_path("purelib")]
    run_python(HELD.format(api=api), {"PYTHONPATH": os.pathsep.join(path)})


HELD = """
import gc, weakref
{api}
import lambent
from lambent.exporters.memory import MemoryExporter


@lambent.trace(inputs=True, outputs=True)
def work(values):
    return {{"values": [values]}}


def once():
    tracer = lambent.init(exporter=MemoryExporter(), backend="honeyhive", capture="both", api_key="secret")

    @tracer.handler
    def handler(event, context):
        work({{"a": 1}})
        lambent.enrich_session({{"b": 1}})
        if "api" in globals():
            with api.get_tracer("library").start_as_current_span("inside"):
                pass

    handler({{"Records": [{{"eventSource": "aws:sqs", "body": "x", "messageId": "1"}}]}}, None)
    tracer.close()
    return weakref.ref(tracer)


gone = [once() for _ in range(3)]
gc.collect()
assert [each() for each in gone] == [None] * 3
"""


def test_each_has_its_own_pipeline_and_resource() -> None:
    exporters = [MemoryExporter() for _ in range(3)]
    tracers = [
        lambent.init(exporter=exporter, service_name=f"service {n}", session_name=f"session {n}")
        for n, exporter in enumerate(exporters)
    ]

    @lambent.trace
    def work() -> None: ...

    def handle(n: int) -> None:
        @tracers[n].handler
        def handler(event: object, context: object) -> None:
            work()
            with tracers[(n + 1) % 3].trace("other"):
                work()

        handler({}, LambdaContext())

    threads = [threading.Thread(target=handle, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for n, exporter in enumerate(exporters):
        assert sorted(span.name for span in exporter.spans) == ["other", "test-function", "work", "work"]
        assert {span.resource.attributes["service.name"] for span in exporter.spans} == {f"service {n}"}
        assert {span.attributes.get("lambent.session_name") for span in exporter.spans} == {
            None,
            f"session {n}",
        }


def test_what_an_invocation_of_anothers_has_finished_leaves_at_its_end() -> None:
    class Keeping(lambent.exporters.Exporter):
        def __init__(self) -> None:
            self.names: list[str] = []

        def export(self, spans: Any, timeout: float) -> lambent.exporters.Result:
            assert 0 < timeout < 20
            self.names += [span.name for span in spans]
            return lambent.exporters.Result()

    exporters = [Keeping() for _ in range(3)]
    outer, inner, other = [lambent.init(exporter=each, timeout=20) for each in exporters]

    @outer.handler
    @inner.handler
    def handler(event: object, context: object) -> None:
        other.start_span("partner's").end()
        outer.start_span("outer's").end()

    for context in (None, LambdaContext(timeout=10)):
        handler({}, context)
        root = "invocation" if context is None else "test-function"
        assert [each.names for each in exporters] == [["outer's", root], [root], ["partner's"]]
        for each in exporters:
            each.names.clear()
    for tracer in (outer, inner, other):
        tracer.close()


@pytest.mark.parametrize("limited", [False, True])
def test_tracers_that_know_of_no_invocation_share_the_time_of_one(limited: bool) -> None:
    given: list[float] = []

    class Hanging(lambent.exporters.Exporter):
        def export(self, spans: Any, timeout: float) -> lambent.exporters.Result:
            given.append(timeout)
            threading.Event().wait(timeout)
            return lambent.exporters.Result(lost=len(spans), ok=False, reason="it hung")

    tracer = lambent.init(exporter=MemoryExporter(), timeout=0.3)
    others = [lambent.init(exporter=Hanging(), timeout=0.3) for _ in range(3)]

    @tracer.handler
    def handler(event: object, context: object) -> None:
        for other in others:
            other.start_span("partner's").end()

    handler({}, LambdaContext(timeout=10) if limited else None)
    assert given
    assert sum(given) <= 0.3
    for each in (tracer, *others):
        each.close()


def test_tasks_that_run_at_once_keep_to_their_tracers() -> None:
    exporters = [MemoryExporter() for _ in range(4)]
    tracers = [lambent.init(exporter=exporter) for exporter in exporters]

    @lambent.trace
    async def inner(n: int) -> int:
        await asyncio.sleep(0)
        return n

    async def outer(n: int) -> None:
        with tracers[n % 4].trace(f"outer {n}"):
            await asyncio.sleep(0)
            await inner(n)

    async def main() -> None:
        await asyncio.gather(*[outer(n) for n in range(20)])

    asyncio.run(main())
    for n, exporter in enumerate(exporters):
        names = [span.name for span in exporter.spans]
        assert sorted(names) == sorted([*[f"outer {m}" for m in range(n, 20, 4)], *["inner"] * 5])


def test_the_next_default_after_a_close() -> None:
    first, second = MemoryExporter(), MemoryExporter()
    tracer = lambent.init(exporter=first)

    @lambent.trace
    def work() -> None: ...

    work()
    tracer.close()
    lambent.init(exporter=second)
    work()
    assert [len(exporter.spans) for exporter in (first, second)] == [1, 1]


@pytest.mark.parametrize("given", ["provider", "text"])
def test_what_is_no_tracer_may_stand_for_one(given: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A provider for its tracer; anything else is said, and the current one makes the spans."""
    memory, other = MemoryExporter(), MemoryExporter()
    default, second = lambent.init(exporter=memory), lambent.init(exporter=other)
    tracer: object = second.provider if given == "provider" else "the second one"

    @lambent.trace(tracer=tracer)
    def work() -> bool:
        return bool(lambent.enrich_span({"a": 1}, tracer=tracer))

    assert work()
    with lambent.enrich_span(event_name="part", tracer=tracer), llm.call("m", tracer=tracer):
        pass
    made = other if given == "provider" else memory
    assert [span.name for span in made.spans] == ["work", "chat m", "part"]
    assert len(memory.spans) + len(other.spans) == 3
    default.close()
    second.close()
    said = "lambent: tracer= takes a tracer of lambent's and got a str: the current one is used\n"
    assert capfd.readouterr().err == ("" if given == "provider" else said)
