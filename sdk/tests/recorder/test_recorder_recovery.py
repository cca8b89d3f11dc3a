"""Files that others left: which are read, which are ignored, and that nothing is delivered twice."""

from __future__ import annotations

import http.server
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

import lambent
from lambent.delivery import recovery
from lambent.delivery.recorder import FIRST, HEAD_SIZE, KILLS_AT, MAGIC, SLOTS
from lambent.delivery.watchdog import oom_kills
from lambent.exporters import Exporter, Result
from lambent.testing import LambdaContext, recording_tracer

SOURCE = str(Path(lambent.__file__).parents[1])
SIZE = 65_536
ENV = {"AWS_LAMBDA_FUNCTION_NAME": "orders", "LAMBENT_RECORDER_BYTES": str(SIZE)}

DIES = """
import os, lambent
tracer = lambent.init()
with tracer.trace("finished", attributes={"n": 1}):
    pass
tracer.start_span("open", attributes={"password": "no"})
os._exit(0)
"""


def run(program: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": SOURCE, "TMPDIR": str(folder), **ENV, **more}
    return subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """What a process has left that died with two spans."""
    assert run(DIES, tmp_path).returncode == 0
    (path,) = tmp_path.iterdir()
    return path


def ignored(path: Path, capsys: Any) -> str:
    assert recovery.claim(str(path)) is None
    said: str = capsys.readouterr().err
    assert said.count("\n") == 1, said
    assert recovery.claim(str(path)) is None
    assert capsys.readouterr().err == "", "once"
    return said


def test_what_was_left(left: Path) -> None:
    leftover = recovery.claim(str(left))
    assert leftover is not None
    spans = recovery.spans_of(leftover.content, recording_tracer())
    assert [(span.name, span.status.status_code.name) for span in spans] == [
        ("finished", "UNSET"),
        ("open", "ERROR"),
    ]
    assert spans[0].attributes == {"n": 1, "lambent.recovered": True}
    assert spans[1].attributes["lambent.termination.reason"] == "unknown"
    leftover.remove()
    assert not left.exists()


def test_a_living_processs_file_is_left_alone(tmp_path: Path, capsys: Any) -> None:
    program = DIES.replace("os._exit(0)", "print('ready', flush=True)\nimport time\ntime.sleep(60)")
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": SOURCE, "TMPDIR": str(tmp_path), **ENV}
    with subprocess.Popen(
        [sys.executable, "-c", program], env=env, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            (path,) = tmp_path.iterdir()
            assert recovery.claim(str(path)) is None
        finally:
            process.kill()
    assert capsys.readouterr().err == ""
    leftover = recovery.claim(str(path))
    assert leftover is not None
    assert len(leftover.content.spans) == 2
    leftover.release()


def test_two_processes_do_not_have_the_same(left: Path) -> None:
    leftover = recovery.claim(str(left))
    program = f"from lambent.delivery.recovery import claim; print(claim({str(left)!r}))"
    assert run(program, left.parent).stdout == "None\n"
    assert leftover is not None
    leftover.release()


def test_two_tracers_of_one_process_do_not_have_the_same(left: Path) -> None:
    start = threading.Barrier(8)
    found: list[recovery.Leftover | None] = []

    def work() -> None:
        start.wait(30)
        found.append(recovery.claim(str(left)))

    for _ in range(20):
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        (one,) = [each for each in found if each is not None]
        one.release()
        found.clear()
    assert left.exists()


def test_another_tracers_file_is_left_alone(left: Path, capsys: Any) -> None:
    assert recovery.claim(str(left), b"another!") is None
    assert capsys.readouterr().err == ""
    assert left.exists()


def test_a_symbolic_link(left: Path, capsys: Any) -> None:
    link = left.parent / "link"
    link.symlink_to(left)
    assert "ignored" in ignored(link, capsys)
    assert left.exists()


def test_a_second_name(left: Path, capsys: Any) -> None:
    other = left.parent / "other"
    other.hardlink_to(left)
    assert "another name" in ignored(left, capsys)


@pytest.mark.parametrize("kind", ["fifo", "folder", "device"])
def test_no_regular_file(kind: str, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "x"
    if kind == "fifo":
        os.mkfifo(path, 0o600)
    elif kind == "folder":
        path.mkdir(mode=0o700)
    else:
        path = Path("/dev/null")
    ignored(path, capsys)


def test_of_another_user(left: Path, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    assert "another user" in ignored(left, capsys)


def test_that_others_can_write(left: Path, capsys: Any) -> None:
    left.chmod(0o620)
    assert "others" in ignored(left, capsys)


def test_of_another_version(left: Path, capsys: Any) -> None:
    with left.open("r+b") as file:
        file.write(MAGIC[:7] + b"\x63")
    assert "another version" in ignored(left, capsys)


@pytest.mark.parametrize("size", [1, FIRST, FIRST + 1, SIZE - 1, SIZE + 1])
def test_of_another_size(left: Path, capsys: Any, size: int) -> None:
    os.truncate(left, size)
    ignored(left, capsys)


def test_of_a_huge_size(left: Path, capsys: Any) -> None:
    os.truncate(left, 1 << 40)
    assert "size" in ignored(left, capsys)


def test_with_a_damaged_head(left: Path, capsys: Any) -> None:
    for at in range(0, HEAD_SIZE, 5):
        data = left.read_bytes()
        left.write_bytes(data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :])
        assert recovery.claim(str(left)) is None
        left.write_bytes(data)
    assert capsys.readouterr().err.count("\n") == 1


def test_one_being_made_is_left_alone(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "x"
    path.touch(0o600)
    assert recovery.claim(str(path)) is None
    assert capsys.readouterr().err == ""
    assert path.exists()


def test_no_secret_is_in_it(tmp_path: Path) -> None:
    secret = "hush-4711"
    assert (
        run(DIES, tmp_path, HH_API_KEY=secret, OTEL_EXPORTER_OTLP_HEADERS=f"x-key={secret}").returncode == 0
    )
    (path,) = tmp_path.iterdir()
    data = path.read_bytes()
    assert secret.encode() not in data
    assert b"x-key" not in data


def test_there_are_so_many_at_most(left: Path, capsys: Any) -> None:
    folder = left.parent
    for _ in range(SLOTS + 3):
        run(DIES, folder)
    assert len(list(folder.iterdir())) == SLOTS


def test_the_next_process_delivers_and_removes(left: Path, tmp_path: Path) -> None:
    program = """
import lambent
tracer = lambent.init()
with tracer.trace("now"):
    pass
assert tracer.force_flush()
print(tracer.stats().recovered)
"""
    done = run(program, left.parent, OTLP_STDOUT_SPAN_EXPORTER_COMPRESSION_LEVEL="0")
    assert done.stdout.splitlines()[-1] == "2", done.stderr
    assert "delivered 2 spans of an earlier process, 1 of them unfinished (unknown)" in done.stderr
    assert list(left.parent.iterdir()) == []
    again = run(program, left.parent)
    assert again.stdout.splitlines()[-1] == "0"
    assert again.stderr == ""


class Refusing(lambent.exporters.Exporter):
    """An exporter whose server takes nothing of an earlier process."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.refuses = True

    def export(self, spans: Any, timeout: float) -> lambent.exporters.Result:
        self.seen += [span.name for span in spans]
        refused = self.refuses and any("lambent.recovered" in span.attributes for span in spans)
        return lambent.exporters.Result(ok=not refused, lost=len(spans) if refused else 0)


def test_a_process_that_delivers_and_dies_leaves_to_the_next_one_after_it(tmp_path: Path) -> None:
    # What it leaves lies above the gap that it has made: there the next one must look as well.
    delivers = """
import os, lambent
from lambent.exporters.memory import MemoryExporter
class Printing(MemoryExporter):
    immediate = False
    def export(self, spans, timeout):
        print(*sorted(span.name for span in spans if "lambent.recovered" in span.attributes), flush=True)
tracer = lambent.init(exporter=Printing())
tracer.start_span("first").end()
tracer.force_flush()
tracer.start_span("NAME")
os._exit(0)
"""
    said = [run(delivers.replace("NAME", name), tmp_path).stdout.split() for name in ("a", "b", "c", "d")]
    assert said == [[], ["a"], ["b"], ["c"]]


def test_a_function_that_always_dies_is_seen(tmp_path: Path) -> None:
    # Nothing is delivered at the end of an invocation that has none. A line is written before it, then.
    dies = """
import os, lambent
from lambent.exporters.memory import MemoryExporter
from lambent.testing import LambdaContext
class Printing(MemoryExporter):
    immediate = False
    def export(self, spans, timeout):
        assert timeout <= 1
        print(*[span.name for span in spans], flush=True)
tracer = lambent.init(exporter=Printing())
with tracer.invocation({}, LambdaContext(timeout=10), name="NAME"):
    os._exit(0)
"""
    said = [sorted(run(dies.replace("NAME", name), tmp_path).stdout.split()) for name in "abcde"]
    assert said == [[], [], ["a", "b"], [], ["c", "d"]]
    (last,) = tmp_path.iterdir()
    kills = int.from_bytes(last.read_bytes()[KILLS_AT : KILLS_AT + 8], "little") - 1
    assert kills == -1 if oom_kills() is None else 0 <= kills <= (oom_kills() or 0)


def test_a_closed_tracer_holds_nothing_and_leaves_its_file_to_the_next_one(tmp_path: Path) -> None:
    class Down(Exporter):
        down = True

        def export(self, spans: Any, timeout: float) -> Result:
            return Result(False, len(spans), 0, "down") if self.down else Result()

    def make() -> lambent.Tracer:
        return recording_tracer(
            exporter=None, exporters=[Down()], mode="sync", recorder=True, recorder_folder=str(tmp_path)
        )

    held = []
    for _ in range(3):
        tracer = make()
        tracer.start_span("finished").end()
        left_open = tracer.start_span("open")
        tracer.close()
        left_open.end()
        held.append(len(list(Path("/proc/self/fd").iterdir())))
    assert held[0] == held[-1]
    assert len(list(tmp_path.iterdir())) == 3
    Down.down = False
    tracer = make()
    tracer.start_span("another").end()
    assert tracer.force_flush(timeout_millis=5000)
    assert tracer.stats().recovered == 6
    tracer.close()
    assert list(tmp_path.iterdir()) == []
    assert len(list(Path("/proc/self/fd").iterdir())) == held[0]


@pytest.mark.parametrize("down", [False, True])
def test_in_finalize_it_does_not_wait_for_the_last_moment(down: bool, tmp_path: Path) -> None:
    class Switched(Exporter):
        down = True
        batches = 0

        def export(self, spans: Any, timeout: float) -> Result:
            Switched.batches += 1
            return Result(False, 0, 0, "down", again=True) if Switched.down else Result()

    def make() -> lambent.Tracer:
        return recording_tracer(
            exporter=None, exporters=[Switched()], mode="finalize", recorder=True,
            recorder_folder=str(tmp_path),
        )  # fmt: skip  # as the other one

    dead = make()
    dead.start_span("left").end()
    dead.close()
    Switched.down, Switched.batches = down, 0
    tracer = make()
    handler = tracer.handler(lambda event, context: None)
    for _ in range(5):
        handler({}, LambdaContext())
    if down:
        assert Switched.batches == 3  # then it is tried no more before SIGTERM
        Switched.down = False
    else:
        assert tracer.stats().recovered == 1
        assert Switched.batches == 2  # the first invocation's own, and what was left; of the others nothing
    tracer.close()
    assert tracer.stats().recovered == 1
    assert tracer.stats().acknowledged == 5
    assert list(tmp_path.iterdir()) == []


def test_flushes_at_once_deliver_what_was_left_once(tmp_path: Path) -> None:
    program = """
import threading, time
import lambent
from lambent.exporters import Exporter, Result
found = []
class Slow(Exporter):
    concurrent = True
    def export(self, spans, timeout):
        names = [span.name for span in spans if "lambent.recovered" in span.attributes]
        found.extend(names)
        time.sleep(0.2 if names else 0)
        return Result()
tracer = lambent.init(exporter=Slow())
tracer.start_span("first")
def work():
    for _ in range(5):
        tracer.start_span("own").end()
        tracer.force_flush(5000)
        time.sleep(0.02)
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(sorted(found), tracer.stats().recovered)
"""
    # The file is that of a tracer with the same configuration: its exporters are told apart by name.
    dies = DIES.replace("lambent.init()", "lambent.init(exporter=Slow())").replace(
        "import os, lambent",
        "import os, lambent\nfrom lambent.exporters import Exporter\nclass Slow(Exporter):\n    pass",
    )
    assert run(dies, tmp_path).returncode == 0
    done = run(program, tmp_path)
    assert done.stdout == "['finished', 'open'] 2\n", done.stderr


def test_what_is_not_taken_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The configuration of both is the same: that is how a file finds its tracer.
    program = f"from {__name__.rpartition('.')[2]} import Refusing\n" + DIES.replace(
        "init()", "init(exporter=Refusing())"
    )
    assert run(program, tmp_path, PYTHONPATH=f"{SOURCE}:{Path(__file__).parent}").returncode == 0
    (path,) = tmp_path.iterdir()
    for name, value in {**ENV, "LAMBENT_RECORDER_FOLDER": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    exporter = Refusing()
    tracer = lambent.init(exporter=exporter)
    for _ in range(3):
        tracer.start_span("mine").end()
        tracer.force_flush()
        assert path.exists()
    exporter.refuses = False
    tracer.start_span("mine").end()
    tracer.force_flush()
    assert not path.exists()
    tracer.start_span("mine").end()
    tracer.force_flush()
    assert exporter.seen.count("mine") == 5
    assert exporter.seen.count("finished") == 4, "three in vain"
    tracer.close()


WRITES = """
import sys
from lambent.delivery.recorder import Recorder
from lambent.testing import LambdaContext, recording_tracer
tracer = recording_tracer()
recorder = Recorder(sys.argv[1], 65536, b"12345678")
assert recorder.begin()
out = sys.stdout
number = 0
while True:
    number += 1
    out.write(f"S{number}\\n"); out.flush()
    span = tracer.start_span("s" * (number % 40), attributes={"number": number})
    recorder.started(span)
    out.write(f"s{span._span_id} {number}\\n"); out.flush()
    if number % 7 == 0:
        continue
    span.end()
    recorder.ended(span)
    out.write(f"e{span._span_id}\\n"); out.flush()
    if number % 3 == 0:
        out.write(f"A{span._span_id}\\n"); out.flush()
        recorder.acknowledged([span])
        out.write(f"a{span._span_id}\\n"); out.flush()
"""


def test_killed_two_hundred_times(tmp_path: Path) -> None:
    """Each time, at any moment, the file says no more and no less than was done."""
    seed = random.randrange(1 << 32)
    draw = random.Random(seed)
    for attempt in range(200):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        reading, writing = os.pipe()
        process = os.fork()
        if not process:  # pragma: no cover  # in another process
            os.dup2(writing, 1)
            _write_until_killed(str(folder))
        os.close(writing)
        with os.fdopen(reading) as pipe:
            assert pipe.readline() == "ready\n"
            time.sleep(draw.random() * 0.01)
            os.kill(process, signal.SIGKILL)
            lines = pipe.read().split("\n")[:-1]
        os.waitpid(process, 0)
        _compare(folder, lines, f"seed {seed}, attempt {attempt}")


def _write_until_killed(folder: str) -> None:  # pragma: no cover  # in another process
    try:
        os.write(1, b"ready\n")
        program = WRITES.replace("out = sys.stdout", "out = os.fdopen(1, 'w')").replace(
            "import sys", f"import os\nclass sys: argv = ['', {folder!r}]"
        )
        exec(compile(program, "writes", "exec"), {})
    finally:
        os._exit(1)


def _compare(folder: Path, lines: list[str], where: str) -> None:
    paths = list(folder.iterdir())
    leftover = recovery.claim(str(paths[0])) if paths else None
    if leftover is None:
        assert not lines, where
        return
    numbers: dict[int, int] = {}
    ended: set[int] = set()
    begun_acknowledging: set[int] = set()
    acknowledged: set[int] = set()
    for line in lines:
        kind, rest = line[0], line[1:].split()
        if kind == "s":
            numbers[int(rest[0])] = int(rest[1])
        elif kind == "e":
            ended.add(int(rest[0]))
        elif kind == "A":
            begun_acknowledging.add(int(rest[0]))
        elif kind == "a":
            acknowledged.add(int(rest[0]))
    found = leftover.content.spans
    assert not set(found) & acknowledged, where
    for span_id, span in found.items():
        # What was written and not told any more is one span at most.
        assert span_id in numbers or span_id == max(numbers, default=0) + 1, where
        if span_id in numbers:
            assert span.attributes["number"] == numbers[span_id], where
    for span_id in set(numbers) - begun_acknowledging:
        newest = max(numbers) - span_id
        if newest < 200:  # the ring's size
            assert span_id in found, where
            assert bool(found[span_id].end_time) >= (span_id in ended), where
    leftover.remove()


def test_what_two_let_go_of_is_closed_once(left: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By who delivers it, and who closes the tracer meanwhile: its number may be another file's by then."""
    leftover = recovery.claim(str(left))
    assert leftover is not None
    closed: list[int] = []
    close = os.close

    def closing(descriptor: int) -> None:
        closed.append(descriptor)
        if len(closed) == 1:
            leftover.release()  # another thread's
            close(descriptor)

    monkeypatch.setattr(os, "close", closing)
    leftover.release()
    monkeypatch.undo()
    assert len(closed) == 1


def test_figures_are_json(left: Path) -> None:
    leftover = recovery.claim(str(left))
    assert leftover is not None
    for span in recovery.spans_of(leftover.content, recording_tracer()):
        json.loads(span.to_json())
    leftover.remove()


def test_what_a_backend_that_was_down_did_not_take(tmp_path: Path) -> None:
    """Three batches in vain, then the process dies; the next one finds the backend up again."""
    received: list[str] = []

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = ExportTraceServiceRequest()
            request.ParseFromString(self.rfile.read(int(self.headers["Content-Length"])))
            received.extend(
                span.name
                for each in request.resource_spans
                for scope in each.scope_spans
                for span in scope.spans
            )
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector, bind_and_activate=False) as server:
        server.allow_reuse_address = True
        server.server_bind()  # the port is ours, and nobody answers yet
        endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        program = """
import os, sys, lambent
tracer = lambent.init()
for number in range(int(sys.argv[1])):
    with tracer.trace(f"{sys.argv[2]} {number}"):
        pass
    tracer.force_flush()
os._exit(0)
"""
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": SOURCE, "TMPDIR": str(tmp_path), **ENV}
        env["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint
        command = [sys.executable, "-c", program]
        down = subprocess.run(
            [*command, "3", "down"], env=env, capture_output=True, text=True, timeout=60, check=True
        )
        assert down.stderr.count("kept 1 of 1 spans for another try") == 3
        server.server_activate()
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            for _ in range(2):
                subprocess.run([*command, "2", "up"], env=env, capture_output=True, timeout=60, check=True)
        finally:
            server.shutdown()
            thread.join(30)
    assert sorted(received) == ["down 0", "down 1", "down 2", "up 0", "up 0", "up 1", "up 1"]


def test_forked_children_do_not_fill_the_folder(tmp_path: Path) -> None:
    program = """
import os, lambent
tracer = lambent.init()
with tracer.trace("parent"):
    for number in range(12):
        child = os.fork()
        if not child:
            with tracer.trace(f"child {number}"):
                pass
            tracer.force_flush()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
assert tracer.force_flush()
print(tracer.stats().recovered)
"""
    done = run(program, tmp_path)
    assert done.stdout.splitlines()[-1] == "0", done.stderr
    assert len(list(tmp_path.iterdir())) <= 2, "the parent's is gone, the last child's may be there"


AT_ONCE = """
import os, sys, threading, lambent
sys.setswitchinterval(1e-6)
tracer = lambent.init()
start = threading.Barrier(4)
def work(own):
    start.wait()
    for number in range(150):
        with tracer.trace(f"{own}.{number}", attributes={"number": number}):
            for child in range(3):
                with tracer.trace(f"{own}.{number}.{child}", attributes={"text": "x" * (number % 100)}):
                    pass
threads = [threading.Thread(target=work, args=(own,)) for own in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
os._exit(0)
"""


def test_threads_at_once_lose_no_start_and_no_end(tmp_path: Path) -> None:
    """Who comes while another thread makes the file, or begins its next part, is recorded all the same."""
    for attempt in range(6):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        # What half of the queue holds would leave meanwhile, and the ring.
        room = {"LAMBENT_RECORDER_BYTES": str(16 * SIZE), "LAMBDA_SPAN_PROCESSOR_QUEUE_SIZE": "10000"}
        assert run(AT_ONCE, folder, **room).returncode == 0
        (path,) = folder.iterdir()
        leftover = recovery.claim(str(path))
        assert leftover is not None
        names = [span.name for span in leftover.content.finished]
        assert [span.name for span in leftover.content.unfinished] == []
        assert len(names) == len(set(names)) == 4 * 150 * 4
        leftover.remove()


def test_first_spans_at_once_make_one_recorder(tmp_path: Path) -> None:
    program = """
import threading, lambent
tracer = lambent.init()
barrier = threading.Barrier(8)
def work():
    barrier.wait()
    with tracer.trace("s"):
        pass
threads = [threading.Thread(target=work) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
import os
print(len(os.listdir(os.environ["TMPDIR"])))
assert tracer.force_flush()
tracer.close()
print(os.listdir(os.environ["TMPDIR"]))
"""
    for _ in range(5):
        done = run(program, tmp_path)
        lines = done.stdout.splitlines()
        assert [lines[0], lines[-1]] == ["1", "[]"], done


@pytest.mark.parametrize(("ending", "reason"), [("sys.exit(3)", "exit"), ("os._exit(0)", "unknown")])
def test_how_it_ended(tmp_path: Path, ending: str, reason: str) -> None:
    run(DIES.replace("os._exit(0)", f"import sys; {ending}"), tmp_path)
    (path,) = tmp_path.iterdir()
    leftover = recovery.claim(str(path))
    assert leftover is not None
    spans = recovery.spans_of(leftover.content, recording_tracer())
    assert spans[1].attributes["lambent.termination.reason"] == reason
    leftover.release()
