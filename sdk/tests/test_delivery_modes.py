"""The modes of delivery, without Lambda: which is chosen, what it does when it cannot, SIGTERM, threads."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import lambent
from lambent.config import read
from lambent.delivery import sync
from lambent.delivery.choose import make
from lambent.delivery.extension_api import deadline_of
from lambent.exporters import Exporter, Result
from lambent.testing import LambdaContext, recording_tracer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lambent.span import Span
    from lambent.testing import RecordingTracer

# The recorder's file is the environment's /tmp, which here is everybody's.
LAMBDA = {"AWS_LAMBDA_FUNCTION_NAME": "f", "LAMBENT_RECORDER": "off"}
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}


class Keeping(Exporter):
    """Keeps batches; one that is told to wait does so for a name."""

    concurrent = True

    def __init__(self, hold: str = "") -> None:
        self.batches: list[list[str]] = []
        self.hold = hold
        self.entered = threading.Event()
        self.release = threading.Event()
        self.arrived = threading.Event()

    @property
    def names(self) -> list[str]:
        return [name for batch in self.batches for name in batch]

    def export(self, spans: Sequence[Span], timeout: float) -> Result:
        names = [span.name for span in spans]
        if self.hold and self.hold in names:
            self.entered.set()
            if not self.release.wait(timeout):
                return Result(False, len(spans), 0, "held too long")
        self.batches.append(names)
        self.arrived.set()
        return Result(bytes=10)


@pytest.mark.parametrize(
    ("environ", "mode"),
    [
        ({}, "background"),
        (LAMBDA, "sync"),
        ({**LAMBDA, **ENDPOINT}, "sync"),  # there is no Extensions API
        ({**LAMBDA, "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:1"}, "sync"),
        ({**LAMBDA, **ENDPOINT, "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:1"}, "async"),
        ({**LAMBDA, "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:1", "OTEL_TRACES_EXPORTER": "otlp,stdout"}, "async"),
        ({**LAMBDA, **ENDPOINT, "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:1", "LAMBENT_TEST_MODE": "1"}, "sync"),
        ({**LAMBDA, **ENDPOINT, "AWS_LAMBDA_MAX_CONCURRENCY": "8"}, "background"),
        ({**LAMBDA, "AWS_LAMBDA_INITIALIZATION_TYPE": "lambda-managed-instances"}, "background"),
    ],
)
def test_what_auto_picks(environ: dict[str, str], mode: str) -> None:
    delivery = make(read({"mode": "auto"}, environ))
    assert delivery.mode == mode
    delivery.close(0.01)


@pytest.mark.parametrize(
    ("mode", "environ", "picked"),
    [
        ("async", LAMBDA, "async"),
        ("async", {}, "background"),
        ("async", {**LAMBDA, "AWS_LAMBDA_MAX_CONCURRENCY": "8"}, "background"),
        ("finalize", LAMBDA, "finalize"),
        ("finalize", {}, "finalize"),
        ("sync", {**LAMBDA, "AWS_LAMBDA_MAX_CONCURRENCY": "8"}, "sync"),
    ],
)
def test_what_a_mode_means(mode: str, environ: dict[str, str], picked: str) -> None:
    tracer = recording_tracer(mode=mode, environ=environ)
    assert tracer.delivery.mode == picked
    tracer.close()


def test_the_default_is_sync() -> None:
    assert type(lambent.init().delivery) is sync.SyncDelivery


def tracer_with(exporter: Exporter, **arguments: Any) -> RecordingTracer:
    environ = arguments.pop("environ", None)
    return recording_tracer(exporters=[exporter], exporter=None, environ=environ, **arguments)


@pytest.mark.parametrize("address", ["", "127.0.0.1:1", "nonsense", "127.0.0.1:x"])
def test_without_an_extensions_api_async_delivers_at_the_end(
    address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    exporter = Keeping()
    environ = {**LAMBDA, "AWS_LAMBDA_RUNTIME_API": address}
    tracer = tracer_with(exporter, mode="async", environ=environ)
    second = tracer_with(Keeping(), mode="async", environ=environ)
    handler = tracer.handler(lambda event, context: event)
    assert [handler(number, LambdaContext()) for number in range(2)] == [0, 1]
    assert exporter.batches == [["test-function"], ["test-function"]]
    (line,) = capsys.readouterr().err.splitlines()
    assert "spans are delivered before the response" in line
    tracer.close()
    second.close()


@pytest.mark.parametrize(
    ("event", "deadline"),
    [
        (b'{"eventType":"INVOKE","deadlineMs":1700000000123,"requestId":"r"}', 1700000000123.0),
        (b'{"deadlineMs": 5}', 5.0),
        (b'{"deadlineMs":"x"}', None),
        (b"{}", None),
        (b"", None),
    ],
)
def test_the_deadline_of_an_event(event: bytes, deadline: float | None) -> None:
    assert deadline_of(event) == deadline


# In the background.


def test_the_background_exports_by_itself() -> None:
    exporter = Keeping()
    tracer = tracer_with(exporter, mode="auto", schedule_delay=0.01)
    tracer.start_span("a").end()
    assert exporter.arrived.wait(20)
    assert exporter.batches == [["a"]]
    tracer.close()


def test_a_half_full_queue_does_not_wait_for_its_time() -> None:
    exporter = Keeping()
    tracer = tracer_with(exporter, mode="auto", schedule_delay=60, queue_size=20)
    for number in range(12):
        tracer.start_span(str(number)).end()
    assert exporter.arrived.wait(20)
    tracer.close()
    assert len(exporter.names) == 12


def test_an_invocation_does_not_wait_for_the_background() -> None:
    exporter = Keeping(hold="work")
    tracer = tracer_with(exporter, mode="auto", schedule_delay=0.01, timeout=30)

    @tracer.handler
    def handler(event: object, context: object) -> str:
        tracer.start_span("work").end()
        assert exporter.entered.wait(20)
        return "answer"

    assert handler({}, LambdaContext(timeout=60)) == "answer"
    assert exporter.batches == []
    exporter.release.set()
    tracer.close()
    assert sorted(exporter.names) == ["test-function", "work"]


def tasks() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def test_closing_ends_the_thread() -> None:
    tracer = tracer_with(Keeping(), mode="auto", schedule_delay=60)
    before = tasks()
    tracer.start_span("a").end()
    tracer.close()
    end = time.monotonic() + 20
    while tasks() > before and time.monotonic() < end:
        time.sleep(0.01)
    assert tasks() <= before
    tracer.start_span("late").end()
    assert tracer.stats().dropped == {"closed": 1}


@pytest.mark.parametrize("mode", ["sync", "async", "finalize", "auto"])
def test_what_ends_after_the_close_is_said_and_not_kept_in_any_mode(run_python: Any, mode: str) -> None:
    program = f"""
{SERVED}
class Out(Exporter):
    def export(self, spans, timeout):
        return Result()
tracer = lambent.init(mode={mode!r}, exporter=Out())
@tracer.handler
def handler(event, context):
    if event:
        tracer.close()
    with tracer.trace("late"):
        pass
for event in (0, 1, 1, 1):
    handler(event, None)
stats = tracer.stats()
assert (stats.waiting, stats.ended - stats.acknowledged - sum(stats.dropped.values())) == (0, 0), stats
"""
    environ = LAMBDA if mode != "auto" else {**LAMBDA, "AWS_LAMBDA_MAX_CONCURRENCY": "4"}
    assert run_python(program, environ).stderr.count("dropped 1 spans: the tracer was closed") == 3


# Invocations at the same time.


def at_the_same_time(tracer: RecordingTracer, names: Sequence[str], meet: Callable[[str], None]) -> None:
    def run(name: str) -> None:
        with tracer.invocation({}, LambdaContext(timeout=60), name=name):
            tracer.start_span(f"{name}-1").end()
            tracer.start_span(f"{name}-2").end()
            meet(name)

    threads = [threading.Thread(target=run, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)


def test_invocations_at_the_same_time_deliver_their_own_spans_and_count_them() -> None:
    names = [f"i{number}" for number in range(8)]
    barrier = threading.Barrier(len(names))
    exporter = Keeping()
    kept: list[Span] = []
    tracer = tracer_with(exporter, count_spans=True)
    tracer._watch(on_end=kept.append)
    at_the_same_time(tracer, names, lambda name: (barrier.wait(30), None)[1])
    assert tracer.force_flush()
    assert sorted(exporter.names) == sorted(
        part for name in names for part in (name, f"{name}-1", f"{name}-2")
    )
    for batch in exporter.batches[:-1]:
        assert len({name.partition("-")[0] for name in batch}) == 1
    assert {span.attributes["lambent.spans"] for span in kept if "-" not in span.name} == {3}
    tracer.close()


def test_an_invocation_does_not_wait_for_anothers_export() -> None:
    exporter = Keeping(hold="slow")
    tracer = tracer_with(exporter, timeout=60)
    done = threading.Event()

    def other() -> None:
        with tracer.invocation({}, None, name="fast"):
            slow.start()
            assert exporter.entered.wait(30)
        done.set()

    def hold() -> None:
        with tracer.invocation({}, None, name="slow"):
            pass

    slow = threading.Thread(target=hold)
    fast = threading.Thread(target=other)
    fast.start()
    assert done.wait(30)
    assert exporter.batches == [["fast"]]
    # A flush of everything, though, does wait, and tells the truth.
    assert tracer.force_flush(timeout_millis=30) is False
    exporter.release.set()
    slow.join(30)
    fast.join(30)
    assert tracer.force_flush()
    assert exporter.batches == [["fast"], ["slow"]]
    tracer.close()


# SIGTERM.

SIGNALLED = """
import os, signal, sys, threading, time
import lambent
from lambent.exporters import Exporter, Result
class Out(Exporter):
    def export(self, spans, timeout):
        {during}
        os.write(1, (" ".join(span.name for span in spans) + "\\n").encode())
        return Result()
def user(signum, frame):
    os.write(1, b"user\\n")
    {user}
{before}
tracer = lambent.init(mode="finalize", exporter=Out())
{after}
with tracer.invocation({{}}, None, name="inv"):
    with tracer.trace("work"):
        pass
{then}
os.kill(os.getpid(), signal.SIGTERM)
{rest}
os.write(1, b"went on\\n")
os._exit(5)
"""

INSTALL = "signal.signal(signal.SIGTERM, user)"


def signalled(run_python: Any, code: int, **parts: str) -> str:
    names = ("during", "user", "before", "after", "then", "rest")
    program = SIGNALLED.format(**{name: parts.get(name, "pass") for name in names})
    output: str = run_python(program, LAMBDA, code).stdout
    return output


def test_at_sigterm_spans_are_sent_and_the_process_ends_as_it_would(run_python: Any) -> None:
    assert signalled(run_python, -15) == "work inv\n"


@pytest.mark.parametrize("when", ["before", "after"])
def test_the_functions_own_handler_still_runs(run_python: Any, when: str) -> None:
    assert signalled(run_python, 5, **{when: INSTALL}) == "work inv\nuser\nwent on\n"


def test_the_functions_own_handler_may_exit(run_python: Any) -> None:
    assert signalled(run_python, 3, before=INSTALL, user="sys.exit(3)") == "work inv\nuser\n"


def test_a_handler_that_calls_the_one_before_it(run_python: Any) -> None:
    after = "ours = signal.getsignal(signal.SIGTERM); signal.signal(signal.SIGTERM, user)"
    assert signalled(run_python, -15, after=after, user="ours(signum, frame)") == "work inv\nuser\n"


def test_an_ignored_sigterm_stays_ignored(run_python: Any) -> None:
    before = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    assert signalled(run_python, 5, before=before) == "work inv\nwent on\n"


def test_a_tracer_whose_server_hangs_does_not_cost_the_others_theirs(run_python: Any) -> None:
    before = """
class Hanging(Out):
    def export(self, spans, timeout):
        time.sleep(30)
hanging = [lambent.init(mode="finalize", exporter=Hanging()) for _ in range(2)]
for each in hanging:
    each.start_span("lost").end()
"""
    assert signalled(run_python, -15, before=before) == "work inv\n"


def test_every_sigterm_sends_what_there_is(run_python: Any) -> None:
    rest = 'tracer.start_span("later").end(); os.kill(os.getpid(), signal.SIGTERM)'
    output = signalled(run_python, 5, before=INSTALL, rest=rest)
    assert output == "work inv\nuser\nlater\nuser\nwent on\n"


def test_a_lock_that_the_interrupted_code_holds_costs_the_spans_not_the_process(run_python: Any) -> None:
    output = signalled(
        run_python,
        5,
        before=f"lock = threading.Lock(); {INSTALL}",
        during="lock.acquire()",
        then="lock.acquire()",
    )
    assert output == "user\nwent on\n"


SERVED = """
import http.server, os, signal, sys, threading, time
class Api(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Lambda-Extension-Identifier", "id")
        self.send_header("Content-Length", "0")
        self.end_headers()
    def do_GET(self):
        time.sleep(60)
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ["AWS_LAMBDA_RUNTIME_API"] = "127.0.0.1:%d" % server.server_address[1]
import lambent
from lambent.exporters import Exporter, Result
"""

ELSEWHERE = (
    SERVED
    + """
class Out(Exporter):
    def export(self, spans, timeout):
        os.write(1, (" ".join(span.name for span in spans) + "\\n").encode())
        return Result()
leaving = threading.Lock()
leaving.acquire()
def user(signum, frame):
    os.write(1, b"user\\n")
    leaving.release()
signal.signal(signal.SIGTERM, user)
tracer = lambent.init(mode="finalize", exporter=Out())
tracer.handler(lambda event, context: None)({}, None)
def elsewhere():
    time.sleep(0.3)  # the main thread waits by then; were it not so, the test would show nothing
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
    time.sleep(60)
threading.Thread(target=elsewhere, daemon=True).start()
os._exit(5 if leaving.acquire(timeout=20) else 1)
"""
)


def test_a_signal_that_another_thread_gets_is_not_slept_through(run_python: Any) -> None:
    # As after a freeze: the kernel hands the signal to a thread whose wait is not the main thread's.
    assert run_python(ELSEWHERE, LAMBDA, 5).stdout == "f\nuser\n"


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT"])
def test_signals_that_asyncio_has_handled_meanwhile_are_not_slept_through(
    run_python: Any, number: str
) -> None:
    # It takes the pipe that signals' numbers are written to, and leaves none when its handlers go.
    handler = f"""
async def handled():
    import asyncio
    asyncio.get_running_loop().add_signal_handler(signal.{number}, print)
import asyncio
asyncio.run(handled())
signal.signal(signal.SIGTERM, user)
tracer.handler(lambda event, context: None)({{}}, None)
def elsewhere"""
    assert run_python(ELSEWHERE.replace("def elsewhere", handler, 1), LAMBDA, 5).stdout == "f f\nuser\n"


@pytest.mark.parametrize("mode", ["async", "finalize"])
def test_an_extension_that_has_no_thread_does_not_register(run_python: Any, mode: str) -> None:
    # Lambda would wait for it, in init and with every invocation, until their time is over.
    program = f"""{SERVED}
import lambent.delivery.extension, lambent.delivery.finalize
registered = []
lambent.delivery.extension.ExtensionApi.register = lambda *given: registered.append(given)
def refused(*_):
    raise RuntimeError("can't start new thread")
lambent.delivery.extension.start_new_thread = lambent.delivery.finalize.start_new_thread = refused
tracer = lambent.init(mode={mode!r}, exporter="console")
assert tracer.handler(lambda event, context: "answer")({{}}, None) == "answer"
assert not registered
"""
    assert "can't start new thread" in run_python(program, LAMBDA).stderr


FULL = f"""{SERVED}
import resource
asked = threading.Semaphore(0)
def do_GET(self):
    asked.release()
    time.sleep(60 * self.__dict__.setdefault("gone", 0))  # one event, and no other
    self.gone = 1
    self.send_response(200)
    self.send_header("Content-Length", "23")
    self.end_headers()
    self.wfile.write(b'{{"eventType": "INVOKE"}}'[:23])
Api.do_GET = do_GET
tracer = lambent.init(mode=MODE)
@tracer.handler
def handler(event, context):
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, most))
    with tracer.trace("one"):
        pass
    with tracer.trace("two"):
        open("/etc/hostname").close()
least, most = resource.getrlimit(resource.RLIMIT_NOFILE)
for number in (1, 2):
    try:
        handler(1, None)
    except OSError as error:
        assert error.filename == "/etc/hostname", error
    else:
        raise AssertionError("it was opened")
    if MODE == "async":
        assert asked.acquire(timeout=20), number  # for another event, or it would be waited for
resource.setrlimit(resource.RLIMIT_NOFILE, (least, most))
assert tracer.stats().waiting == 6, tracer.stats()
os._exit(0)
"""


@pytest.mark.parametrize("mode", ["sync", "async", "finalize"])
def test_without_a_file_to_be_opened_an_invocation_is_what_it_would_be(run_python: Any, mode: str) -> None:
    # All that is loaded when it is needed fails to load then.
    run_python(FULL.replace("MODE", repr(mode)), {**LAMBDA, **ENDPOINT, "LAMBENT_WATCHDOG": "off"})


def test_in_another_thread_it_is_said_that_there_is_no_handler(run_python: Any) -> None:
    program = """
import threading, lambent
def run():
    for _ in range(2):
        lambent.init(mode="finalize", exporter="none")
thread = threading.Thread(target=run)
thread.start()
thread.join()
"""
    done = run_python(program, LAMBDA)
    assert done.stderr.count("not in the main thread") == 1


def test_a_terminated_child_is_not_the_parents_end(run_python: Any) -> None:
    program = """
import os, signal, time, lambent
tracer = lambent.init(mode="finalize", exporter="console")
tracer.start_span("parents").end()
child = os.fork()
if child == 0:
    time.sleep(30)
    os._exit(0)
os.kill(child, signal.SIGTERM)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == -15, status
from lambent.delivery import sigterm
assert sigterm._read(sigterm._pipe[0]) == b""
tracer.close()
"""
    assert "parents" in run_python(program, LAMBDA).stdout


def test_sync_installs_nothing(run_python: Any) -> None:
    program = """
import signal, lambent
tracer = lambent.init()
tracer.handler(lambda event, context: None)({}, None)
assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
assert signal.set_wakeup_fd(-1) == -1
"""
    run_python(program, {**LAMBDA, "OTLP_STDOUT_SPAN_EXPORTER_COMPRESSION_LEVEL": "0"})


def test_finalize_sends_nothing_before_the_end_but_what_fills_half_the_queue() -> None:
    exporter = Keeping()
    tracer = tracer_with(exporter, mode="finalize", queue_size=40)
    handler = tracer.handler(lambda event, context: [tracer.start_span("s").end() for _ in range(event)])
    handler(3, LambdaContext())
    assert exporter.batches == []
    handler(30, LambdaContext())
    assert len(exporter.batches[0]) == 35
    handler(1, LambdaContext())
    assert len(exporter.batches) == 1
    tracer.close()
    assert len(exporter.batches[1]) == 2


def test_finalize_says_that_managed_instances_send_no_signal(run_python: Any) -> None:
    program = 'import lambent; [lambent.init(mode="finalize") for _ in range(2)]'
    environ = {**LAMBDA, "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9", "AWS_LAMBDA_MAX_CONCURRENCY": "4"}
    said = run_python(program, environ).stderr
    assert said.count("managed instances have none): without another extension it sends no SIGTERM") == 1


# Forks.


@pytest.mark.parametrize("mode", ["sync", "async", "auto", "finalize"])
def test_a_forked_child_delivers_its_own_spans_in_every_mode(run_python: Any, mode: str) -> None:
    program = f"""
import multiprocessing, os, lambent
tracer = lambent.init(mode={mode!r}, exporter="console")
tracer.start_span("parents").end()
def work():
    with tracer.trace("childs"):
        pass
    assert tracer.force_flush()
    assert tracer.stats().ended == 1, tracer.stats()
process = multiprocessing.get_context("fork").Process(target=work)
process.start()
process.join()
assert process.exitcode == 0
tracer.close()
"""
    out = run_python(program, LAMBDA).stdout
    assert out.count("childs") == 1
    assert out.count("parents") == 1
