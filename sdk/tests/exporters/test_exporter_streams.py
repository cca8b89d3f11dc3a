"""The exporters that write: stdout, console and file, and the one that keeps."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lambent
from lambent.exporters._gzip import compress
from lambent.exporters.console import ConsoleExporter, render
from lambent.exporters.file import FileExporter
from lambent.exporters.memory import MemoryExporter
from lambent.exporters.stdout import MAX_LINE, StdoutExporter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from lambent.span import Span


def batch(*payloads: object) -> Sequence[Span]:
    """Return things that the injected encoders understand."""
    return cast("Sequence[Span]", list(payloads))


def encode(spans: Sequence[Span]) -> bytes:
    return b"|".join(cast("Sequence[bytes]", spans))


def payload(line: str) -> bytes:
    found = json.loads(line)
    data = base64.b64decode(found["payload"], validate=True)
    return gzip.decompress(data) if found.get("content-encoding") == "gzip" else data


# stdout


def test_the_line() -> None:
    lines: list[str] = []
    exporter = StdoutExporter(source="orders", write=lines.append, encode=encode)
    result = exporter.export(batch(b"one", b"two"), 1)
    assert (result.ok, result.lost, result.reason, result.warning) == (True, 0, "", "")
    (line,) = lines
    assert line.endswith("}\n")
    assert line.count("\n") == 1
    assert result.bytes == len(line)
    found = json.loads(line)
    assert isinstance(found.pop("__otel_otlp_stdout"), str)
    assert payload(line) == b"one|two"
    del found["payload"]
    assert found == {
        "source": "orders",
        "endpoint": "http://localhost:4318/v1/traces",
        "method": "POST",
        "content-type": "application/x-protobuf",
        "content-encoding": "gzip",
        "base64": True,
    }


def test_all_keys_in_the_order_of_the_reference() -> None:
    lines: list[str] = []
    exporter = StdoutExporter(
        source="s",
        endpoint="https://e/",
        headers={"api-key": "value"},
        log_level="INFO",
        write=lines.append,
        encode=encode,
    )
    exporter.export(batch(b"x"), 1)
    found = json.loads(lines[0])
    assert list(found) == [
        "__otel_otlp_stdout",
        "source",
        "endpoint",
        "method",
        "content-type",
        "content-encoding",
        "payload",
        "base64",
        "headers",
        "level",
    ]
    assert (found["headers"], found["level"], found["endpoint"]) == (
        {"api-key": "value"},
        "INFO",
        "https://e/",
    )


@pytest.mark.skipif(sys.version_info < (3, 12), reason="otlp-stdout-span-exporter is for 3.12 and later")
def test_the_reference_writes_the_same_keys(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import otlp_stdout_span_exporter as reference
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from otlp_stdout_span_exporter.constants import LogLevel

    monkeypatch.setenv("OTEL_SERVICE_NAME", "orders")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=value")
    provider = TracerProvider()
    provider.add_span_processor(
        SimpleSpanProcessor(reference.OTLPStdoutSpanExporter(log_level=LogLevel.INFO))
    )
    provider.get_tracer("t").start_span("s").end()
    theirs = json.loads(capsys.readouterr().out)
    lines: list[str] = []
    StdoutExporter(
        source="orders", headers={"api-key": "value"}, log_level="INFO", write=lines.append, encode=encode
    ).export(batch(gzip.decompress(base64.b64decode(theirs["payload"]))), 1)
    ours = json.loads(lines[0])
    assert list(ours) == list(theirs)
    assert payload(lines[0]) == gzip.decompress(base64.b64decode(theirs["payload"]))
    for found in (ours, theirs):
        del found["payload"], found["__otel_otlp_stdout"]
    assert ours == theirs


@pytest.mark.parametrize("level", range(10))
def test_levels(level: int) -> None:
    lines: list[str] = []
    exporter = StdoutExporter(source="s", level=level, write=lines.append, encode=encode)
    exporter.export(batch(b"x" * 1000), 1)
    assert ("content-encoding" in json.loads(lines[0])) is (level > 0)
    assert payload(lines[0]) == b"x" * 1000
    assert (len(lines[0]) < 500) is (level > 0)


@settings(deadline=None)  # a busy machine is no failure
@given(st.binary(max_size=300), st.sampled_from([1, 20, 8192, 8193, 40_000]), st.integers(1, 9))
def test_gzip_of_any_size_comes_back(data: bytes, size: int, level: int) -> None:
    data = (data * (size // max(len(data), 1) + 1))[:size] if data else b""
    packed = compress(data, level)
    assert gzip.decompress(packed) == data
    assert packed == compress(data, level)


@pytest.mark.parametrize("level", [-1, 10])
def test_a_level_that_gzip_does_not_have(level: int) -> None:
    with pytest.raises(ValueError, match="level"):
        StdoutExporter(source="s", level=level)


@settings(deadline=None)  # a busy machine is no failure
@given(st.text(), st.text(), st.text(), st.text())
def test_any_text_comes_back(source: str, endpoint: str, name: str, value: str) -> None:
    lines: list[str] = []
    exporter = StdoutExporter(
        source=source,
        endpoint=endpoint,
        headers={name: value},
        log_level=value,
        write=lines.append,
        encode=encode,
    )
    exporter.export(batch(b"x"), 1)
    (line,) = lines
    assert line.isascii()
    assert line.count("\n") == 1
    found = json.loads(line)
    assert (found["source"], found["endpoint"]) == (source, endpoint)
    assert (found["headers"], found["level"]) == ({name: value}, value)


def test_an_empty_batch_writes_nothing() -> None:
    lines: list[str] = []
    assert StdoutExporter(source="s", write=lines.append, encode=encode).export([], 1).ok
    assert lines == []


def test_long_lines_are_split_into_complete_ones() -> None:
    lines: list[str] = []
    spans = batch(*[os.urandom(30_000).replace(b"|", b"/") for _ in range(20)])
    result = StdoutExporter(source="s", level=0, write=lines.append, encode=encode).export(spans, 1)
    assert (result.ok, result.warning) == (True, "")
    assert len(lines) > 2
    assert all(len(line) <= MAX_LINE and line.endswith("}\n") for line in lines)
    assert [part for line in lines for part in payload(line).split(b"|")] == cast("list[bytes]", spans)
    assert result.bytes == sum(map(len, lines))


def test_a_span_that_is_too_long_alone_is_written_and_noted() -> None:
    lines: list[str] = []
    spans = batch(b"small", b"x" * 300_000, b"small")
    result = StdoutExporter(source="s", level=0, write=lines.append, encode=encode).export(spans, 1)
    assert (result.ok, result.lost) == (True, 0)
    assert "one span" in result.warning
    assert b"|".join([payload(line) for line in lines]) == encode(spans)


def test_a_stream_that_fails_loses_what_it_did_not_take() -> None:
    taken: list[str] = []

    def write(line: str) -> None:
        if taken:
            raise BrokenPipeError(32, "Broken pipe")
        taken.append(line)

    spans = batch(*[os.urandom(100_000) for _ in range(4)])
    result = StdoutExporter(source="s", level=0, write=write, encode=encode).export(spans, 1)
    assert (result.ok, result.lost, result.reason) == (False, 3, "stdout: Broken pipe")


def test_a_closed_stdout_is_no_error_of_the_function(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    stream.close()
    monkeypatch.setattr(sys, "stdout", stream)
    result = StdoutExporter(source="s", encode=encode).export(batch(b"x"), 1)
    assert (result.ok, result.lost) == (False, 1)
    monkeypatch.setattr(sys, "stdout", None)  # as under pythonw and some daemons
    assert StdoutExporter(source="s", encode=encode).export(batch(b"x"), 1).lost == 1


def test_a_replaced_stdout_need_only_write(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []

    class WriteOnly:
        def write(self, text: str) -> None:
            lines.append(text)

    monkeypatch.setattr(sys, "stdout", WriteOnly())
    assert StdoutExporter(source="s", encode=encode).export(batch(b"x"), 1).ok
    assert len(lines) == 1


def test_a_replaced_stdout_is_written_to(capsys: pytest.CaptureFixture[str]) -> None:
    exporter = StdoutExporter(source="s", encode=encode)
    print("before")
    exporter.export(batch(b"x"), 1)
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "before"
    assert payload(out[1]) == b"x"


CHILD = """
import sys
from lambent.exporters.stdout import StdoutExporter
if "unbuffered" in sys.argv:
    from awslambdaric.bootstrap import Unbuffered
    sys.stdout = Unbuffered(sys.stdout)
exporter = StdoutExporter(source="s", level=0, encode=lambda spans: b"x" * 150_000)
sys.stdout.write("printed before\\n")
assert exporter.export([object()], 1).ok
assert exporter.export([object()], 1).ok
print("printed after", flush=True)
"""


@pytest.mark.parametrize("mode", ["plain", "unbuffered", "-u"])
def test_each_line_is_one_write(mode: str) -> None:
    """On a socket that keeps the boundaries of writes, as a terminal or a pipe does not."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        ours.settimeout(20)
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        child = subprocess.Popen(
            [sys.executable, *(["-u"] if mode == "-u" else []), "-c", CHILD, mode],
            stdout=theirs.fileno(),
            env=environment,
        )
        theirs.close()
        writes = []
        while data := ours.recv(1 << 20):
            writes.append(data.decode())
        assert child.wait(20) == 0
    assert writes[0] == "printed before\n"
    lines = [write for write in writes if write.startswith('{"__otel')]
    assert len(lines) == 2
    assert all(write.endswith("}\n") and write.count("\n") == 1 for write in lines)
    assert "".join(writes).count("\n") == 4


# file


def test_a_line_a_batch(tmp_path: Path) -> None:
    path = tmp_path / "spans.jsonl"
    exporter = FileExporter(path, encode=lambda spans: b'{"n":\n%d}' % len(spans))
    assert exporter.export([], 1).ok
    assert not path.exists()
    assert exporter.export(batch(1), 1).ok
    result = exporter.export(batch(1, 2), 1)
    assert (result.ok, result.bytes) == (True, 9)
    assert path.read_text() == '{"n": 1}\n{"n": 2}\n'
    path.unlink()
    assert exporter.export(batch(1, 2, 3), 1).ok  # moved away: made anew
    assert path.read_text() == '{"n": 3}\n'


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    result = FileExporter(tmp_path / "none" / "x", encode=lambda _: b"{}").export(batch(1, 2), 1)
    assert (result.ok, result.lost) == (False, 2)
    assert "No such file" in result.reason

    def fail(_: object) -> bytes:
        raise RuntimeError("private")

    result = FileExporter(tmp_path / "x", encode=fail).export(batch(1), 1)
    assert (result.ok, result.lost) == (False, 1)
    assert "private" not in result.reason


def test_a_pipe_that_nobody_reads_holds_nobody_up(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    exporter = FileExporter(pipe, encode=lambda _: b"{}")
    result = exporter.export(batch(1), 1)
    assert (result.ok, result.lost) == (False, 1)
    assert "No such device" in result.reason
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert exporter.export(batch(1), 1).ok
        assert os.read(reader, 100) == b"{}\n"
    finally:
        os.close(reader)


def test_a_torn_line_does_not_take_the_next_one_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    exporter = FileExporter(path, encode=lambda _: b'{"a":1}')
    write = os.write
    calls = []

    def full(file: int, data: bytes) -> int:
        calls.append(data)
        if len(calls) == 1:
            return write(file, data[:3])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    assert "No space" in exporter.export(batch(1), 1).reason
    monkeypatch.setattr(os, "write", write)
    assert exporter.export(batch(1), 1).ok
    assert exporter.export(batch(1), 1).ok
    assert path.read_text().splitlines() == ['{"a', '{"a":1}', '{"a":1}']


def test_threads_do_not_mix_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "x"
    exporter = FileExporter(path, encode=lambda _: b"x" * 9999)
    threads = [
        threading.Thread(target=lambda: [exporter.export(batch(1), 1) for _ in range(20)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert {len(line) for line in path.read_text().splitlines()} == {9999}
    assert len(path.read_text().splitlines()) == 80


# memory


def test_memory_keeps_oldest_first_and_clears() -> None:
    exporter = MemoryExporter()
    first, second = batch("first", "second")
    exporter.on_end(first)
    assert exporter.export([second], 1).ok
    assert exporter.spans == [first, second]
    assert exporter.immediate
    exporter.clear()
    assert exporter.spans == []


def test_memory_with_a_limit_keeps_the_newest() -> None:
    exporter = MemoryExporter(limit=2)
    for span in batch(1, 2, 3):
        exporter.on_end(span)
    assert exporter.spans == list(batch(2, 3))
    exporter.export(batch(4, 5, 6), 1)
    assert exporter.spans == list(batch(5, 6))
    nothing = MemoryExporter(limit=0)
    nothing.export(batch(1, 2), 1)
    assert nothing.spans == []


# console


class FakeSpan:
    """As much of a finished span as the console reads."""

    class Named:
        def __init__(self, name: str) -> None:
            self.name = name

        def __bool__(self) -> bool:
            return self.name != "UNSET"

    class Ids:
        def __init__(self, trace_id: int, span_id: int) -> None:
            self.trace_id, self.span_id = trace_id, span_id

    class State:
        status_code: Any
        description: str | None

    def __init__(
        self,
        name: str,
        span_id: int,
        parent: int,
        start: float,
        end: float,
        status: str = "UNSET",
        description: str | None = None,
        **attributes: object,
    ) -> None:
        self.name = name
        self.context = self.Ids(0xABCDEF01 << 96, span_id)
        self.parent = self.Ids(0xABCDEF01 << 96, parent) if parent else None
        self.kind = self.Named("SERVER")
        self.status = self.State()
        self.status.status_code = self.Named(status)
        self.status.description = description
        self.start_time, self.end_time = int(start * 1e6), int(end * 1e6)
        self.attributes = attributes


def test_the_console_shows_a_tree() -> None:
    stream = io.StringIO()
    spans = batch(
        FakeSpan("load", 3, 2, 2.0, 5.5, rows=3),
        FakeSpan("inner", 2, 1, 1.0, 6.0, "ERROR", "it\nbroke"),
        FakeSpan("root", 1, 99, 0.0, 12.25, **{"http.route": "/x"}),
    )
    assert ConsoleExporter(stream).export(spans, 1).ok
    assert stream.getvalue().splitlines() == [
        "abcdef01      +0.0      12.2 ms  root SERVER http.route=/x",
        "abcdef01      +1.0       5.0 ms    inner SERVER ERROR (it\\nbroke)",
        "abcdef01      +2.0       3.5 ms      load SERVER rows=3",
    ]


def test_the_console_survives_odd_spans() -> None:
    circle = batch(FakeSpan("a", 1, 2, 0, 1), FakeSpan("b", 2, 1, 0, 1), FakeSpan("c", 3, 3, 0, 1))
    assert len(render(circle)) == 3
    (line,) = render(batch(FakeSpan("\x1b[2J\n\ud800\u202e" + "x" * 500, 1, 0, 0, 1)))
    assert "\x1b" not in line
    assert "\n" not in line
    assert "\u202e" not in line
    assert len(line) < 250
    line.encode()


def test_a_console_that_knows_ascii_only(capsys: pytest.CaptureFixture[str]) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    assert ConsoleExporter(stream).export(batch(FakeSpan("größe", 1, 0, 0, 1)), 1).ok
    assert b"gr\\xf6\\xdfe" in raw.getvalue()
    assert ConsoleExporter().export(batch(FakeSpan("here", 1, 0, 0, 1)), 1).ok
    assert "here" in capsys.readouterr().out
    assert ConsoleExporter(stream).export([], 1).ok
    stream.close()
    assert ConsoleExporter(stream).export(batch(FakeSpan("x", 1, 0, 0, 1)), 1).lost == 1


MANY = """
import lambent, threading
tracer = lambent.init(exporter="stdout", stdout_compression_level=0)
@tracer.handler
def handler(event, context):
    for _ in range(4):
        tracer.start_span("work", attributes={"pad": event * 40_000}).end()
def work(letter):
    for _ in range(4):
        handler(letter, None)
over = threading.Event()
def talk():
    while not over.wait(0.0001):
        print("printed", end="\\n", flush=True)
talking = threading.Thread(target=talk)
talking.start()
threads = [threading.Thread(target=work, args=(letter,)) for letter in "abcd"]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
over.set()
talking.join()
"""


def test_lines_of_several_threads_do_not_mix_without_a_buffer() -> None:
    """Nor with what another thread prints meanwhile, though that is more than a pipe holds."""
    environ = {**os.environ, "PYTHONPATH": str(Path(lambent.__file__).parent.parent)}
    command = [sys.executable, "-S", "-u", "-c", MANY]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environ) as child:
        assert child.stdout is not None
        data = b""
        while piece := os.read(child.stdout.fileno(), 16_384):
            data += piece
    # `print` itself writes twice: what stands before a line of ours may be the first half.
    lines = [piece.partition(b"\n")[0] for piece in data.split(b'{"__otel')[1:]]
    assert all(payload(f'{{"__otel{line.decode()}') for line in lines)
    assert len(lines) == 16
    assert min(map(len, lines)) > 65_536


def test_what_a_write_does_not_take_follows(tmp_path: Path) -> None:
    class Slow(io.FileIO):
        """As where a signal interrupts a write; where nobody may wait, None is nothing at all."""

        turn = 0

        def write(self, data: Any, /) -> int:
            self.turn += 1
            return super().write(data[:50_000]) if self.turn % 2 else cast("int", None)

    stream = io.TextIOWrapper(cast("Any", Slow(tmp_path / "x", "w")), write_through=True)
    exporter = StdoutExporter(source="s", level=0, stream=stream, encode=encode)
    assert exporter.export(batch(b"x" * 150_000), 1).ok
    assert payload((tmp_path / "x").read_text()) == b"x" * 150_000
    stream.close()
