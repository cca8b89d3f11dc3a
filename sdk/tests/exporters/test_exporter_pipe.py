"""The stdout exporter's lines in a named pipe: complete, and never waited for."""

from __future__ import annotations

import base64
import gzip
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

import lambent
from lambent.exporters import _pipe
from lambent.exporters._pipe import PipeWriter
from lambent.testing import recording_tracer

if TYPE_CHECKING:
    from lambent.testing import RecordingTracer


@pytest.fixture
def pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "spans.pipe"
    os.mkfifo(path)
    monkeypatch.setattr(_pipe, "PATH", str(path))
    monkeypatch.setenv("OTLP_STDOUT_SPAN_EXPORTER_OUTPUT_TYPE", "pipe")
    return path


def tracer() -> RecordingTracer:
    return recording_tracer(environ=dict(os.environ), exporter="stdout")


def names(line: bytes) -> list[str]:
    found = json.loads(line)
    request = ExportTraceServiceRequest.FromString(gzip.decompress(base64.b64decode(found["payload"])))
    return [span.name for span in request.resource_spans[0].scope_spans[0].spans]


def test_a_line_in_the_pipe(pipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    traced = tracer()
    for name in ("a", "b"):
        traced.start_span(name).end()
        assert traced.force_flush()
    traced.close()
    lines = os.read(reader, 65536).splitlines()
    os.close(reader)
    assert [names(line) for line in lines] == [["a"], ["b"]]
    assert capsys.readouterr() == ("", "")


def test_a_line_longer_than_a_pipe_holds(pipe: Path) -> None:
    received = bytearray()

    def read() -> None:
        with pipe.open("rb") as file:
            received.extend(file.read())

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    traced = tracer()
    end = time.monotonic() + 20
    while time.monotonic() < end:  # until the reader has come
        traced.start_span("a", attributes={"text": os.urandom(90_000).hex()}).end()
        if traced.force_flush():
            break
    traced.close()
    thread.join(20)
    assert len(received) > 100_000
    assert received.endswith(b"}\n")
    assert names(bytes(received)) == ["a"]


def test_without_a_reader_spans_are_lost_and_that_is_said_once(
    pipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    traced = tracer()
    began = time.monotonic()
    for _ in range(3):
        traced.start_span("a").end()
        assert traced.force_flush() is False
    assert time.monotonic() - began < 10
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"lambent: lost 1 of 1 spans: stdout: nobody reads the pipe {pipe}\n"
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    traced.start_span("b").end()
    assert traced.force_flush()
    assert names(os.read(reader, 65536)) == ["b"]
    os.close(reader)
    traced.start_span("c").end()
    assert traced.force_flush() is False
    assert "nobody reads" in capsys.readouterr().err  # it is news again
    traced.close()


def test_a_reader_that_does_not_read_costs_a_moment(pipe: Path) -> None:
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    writer = PipeWriter(str(pipe), patience=0.05)
    began = time.monotonic()

    def fill() -> None:
        for _ in range(100):
            writer.write("x" * 50_000 + "\n")

    with pytest.raises(OSError, match="does not read"):
        fill()
    assert time.monotonic() - began < 10
    # What was cut off does not spoil the next line.
    while True:
        try:
            if not os.read(reader, 1 << 20):
                break
        except BlockingIOError:
            break
    writer.write("next\n")
    assert os.read(reader, 100).endswith(b"\nnext\n")
    os.close(reader)


def test_however_many_lines_there_are(pipe: Path) -> None:
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    writer = PipeWriter(str(pipe), patience=0.5)
    began = time.monotonic()
    failed = 0
    for _ in range(200):
        try:
            writer.write("x" * 50_000 + "\n")
        except OSError:
            failed += 1
    assert failed > 150
    assert time.monotonic() - began < 20, "who does not read is waited for once in a while, not for each line"
    while os.read(reader, 1 << 20).count(b"\n") > 1:
        pass
    os.close(reader)


def test_without_a_pipe_the_line_goes_to_stdout(
    pipe: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pipe.unlink()
    traced = tracer()
    for _ in range(2):
        traced.start_span("a").end()
        assert traced.force_flush()
    said = capfd.readouterr()
    assert [names(line.encode()) for line in said.out.splitlines()] == [["a"], ["a"]]
    assert said.err == f"lambent: there is no pipe {pipe}; spans are written to stdout\n"
    traced.close()


def test_what_is_no_pipe_is_left_alone(pipe: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pipe.unlink()
    pipe.write_text("somebody's file")
    traced = tracer()
    traced.start_span("a").end()
    assert traced.force_flush()
    assert pipe.read_text() == "somebody's file"
    assert names(capfd.readouterr().out.encode()) == ["a"]
    pipe.unlink()
    pipe.symlink_to("/dev/null")
    traced.start_span("b").end()
    assert traced.force_flush() is False
    traced.close()


def test_the_pipe_is_where_its_readers_look() -> None:
    assert _pipe.PATH == "/tmp/otlp-stdout-span-exporter.pipe"
    assert lambent.init(test_mode=True).config.stdout_output == "stdout"


def test_lines_of_several_threads_do_not_mix(pipe: Path) -> None:
    received = bytearray()
    opened = threading.Event()

    def read() -> None:
        descriptor = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        opened.set()
        os.set_blocking(descriptor, True)
        while len(received) < 4 * 10 * 60_001:
            received.extend(os.read(descriptor, 3000))
        os.close(descriptor)

    reader = threading.Thread(target=read)
    reader.start()
    assert opened.wait(20)
    keep_open = os.open(pipe, os.O_WRONLY)  # between two lines nobody may have it open
    writer = PipeWriter(str(pipe), patience=30)

    def write(letter: str) -> None:
        for _ in range(10):
            writer.write(letter * 60_000 + "\n")

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in [*threads, reader]:
        thread.join(60)
    os.close(keep_open)
    lines = received.decode().splitlines()
    assert sorted(lines) == sorted([letter * 60_000 for letter in "abcd"] * 10)


FORK = """
import os, sys, threading, warnings
from lambent.exporters._pipe import PipeWriter
writer = PipeWriter(sys.argv[1], patience=20)
write, stuck, go_on = os.write, threading.Event(), threading.Event()
def waits(*args):
    stuck.set()
    go_on.wait(60)
    return write(*args)
os.write = waits
thread = threading.Thread(target=writer.write, args=("parent\\n",))
thread.start()
assert stuck.wait(60)
os.write = write
warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 warns of forking with threads
child = os.fork()
if child == 0:
    writer.write("child\\n")
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
go_on.set()
thread.join(60)
writer.write("after\\n")
"""


def test_a_child_forked_while_a_line_is_written_writes_its_own(pipe: Path) -> None:
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    environ = {**os.environ, "PYTHONPATH": str(Path(lambent.__file__).parent.parent)}
    subprocess.run([sys.executable, "-S", "-c", FORK, str(pipe)], check=True, timeout=100, env=environ)
    assert os.read(reader, 65536) == b"child\nparent\nafter\n"
    os.close(reader)
