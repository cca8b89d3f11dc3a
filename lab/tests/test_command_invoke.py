"""`lambent invoke`, with real functions in the best box that this machine has."""

from __future__ import annotations

import io
import itertools
import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from lambent_lab.commands import invoke, main
from lambent_lab.commands.inputs import load_event, locate, parse_env, parse_event
from lambent_lab.errors import UsageError
from lambent_lab.events import names
from lambent_lab.traces import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

OWN = f"{sys.version_info[0]}.{sys.version_info[1]}"

CODE = """
import json, os, socket, threading, time, urllib.request

def handler(event, context):
    print("handling", json.dumps(event))
    return {"event": event, "color": os.environ.get("COLOR"), "memory": context.memory_limit_in_mb}

def fails(event, context):
    raise KeyError("no order")

def traced(event, context):
    trace = "%032x" % int.from_bytes(os.urandom(16), "big")
    own = [{"key": "faas.invocation_id", "value": {"stringValue": context.aws_request_id}}]
    span = {"traceId": trace, "spanId": "1" * 16, "name": "GET /orders", "kind": 2, "attributes": own,
            "startTimeUnixNano": 1000000, "endTimeUnixNano": "21000000"}
    child = {"traceId": trace, "spanId": "2" * 16, "parentSpanId": "1" * 16, "name": "SELECT",
             "startTimeUnixNano": 2000000, "endTimeUnixNano": 12000000, "status": {"code": 2}}
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span, child]}]}]})
    send(body)
    return trace

def send(body):
    endpoint = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    if endpoint:
        assert os.environ["OTEL_EXPORTER_OTLP_PROTOCOL"] == "http/protobuf"
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(endpoint + "/v1/traces", body.encode(), headers)
        urllib.request.urlopen(request, timeout=5).close()
    else:
        line = {"__otel_otlp_stdout": "1", "endpoint": "http://localhost:4318/v1/traces", "method": "POST",
                "content-type": "application/json", "payload": body, "base64": False}
        print(json.dumps(line))

waiting = []

def late(event, context):
    own = [{"key": "faas.invocation_id", "value": {"stringValue": context.aws_request_id}}]
    trace = "%032x" % int.from_bytes(os.urandom(16), "big")
    times = {"startTimeUnixNano": 1000000, "endTimeUnixNano": "21000000"}
    root = {"traceId": trace, "spanId": "1" * 16, "name": "root", "attributes": own, **times}
    child = {"traceId": trace, "spanId": "2" * 16, "parentSpanId": "1" * 16, "name": "child", **times}
    waiting.append(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [root, child]}]}]}))
    if event.get("behind"):
        threading.Timer(0.1, send, waiting).start()
    elif len(waiting) > 1:
        send(waiting.pop(0))
    return context.aws_request_id

def dies(event, context):
    os._exit(1)

def hangs(event, context):
    with socket.create_connection(("127.0.0.1", int(os.environ["PORT"]))):
        time.sleep(600)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A function's folder, and a place of its own for traces."""
    folder = tmp_path / "shop"
    (folder / "pkg").mkdir(parents=True)
    (folder / "app.py").write_text(CODE)
    (folder / "pkg" / "__init__.py").touch()
    (folder / "pkg" / "mod.py").write_text("def func(event, context):\n    return __name__\n")
    monkeypatch.setenv("LAMBENT_TRACES", str(tmp_path / "traces.db"))
    monkeypatch.chdir(tmp_path)
    return folder


def as_json(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    captured = capsys.readouterr()
    assert captured.err == ""
    return [json.loads(line) for line in captured.out.splitlines()]


KEYS = [
    "request_id", "cold", "status", "function_error", "payload", "duration_ms", "init_ms", "billed_ms",
    "memory_mb", "max_memory_mb", "box", "spans", "log",
]  # fmt: skip


def test_one_object_a_line_an_invocation(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "event.json").write_text('{"order": 42}')
    arguments = ["--event", "event.json", "--repeat", "3", "--memory", "256", "--env", "COLOR=red", "--json"]
    assert main(["invoke", "shop/app.handler", *arguments]) == 0
    lines = as_json(capsys)
    assert [list(line) for line in lines] == [KEYS] * 3
    assert [line["cold"] for line in lines] == [True, False, False]
    assert len({line["request_id"] for line in lines}) == 3
    for line in lines:
        assert line["status"] == "success"
        assert line["function_error"] is None
        assert line["payload"]["event"] == {"order": 42}
        assert line["payload"]["color"] == "red"
        assert int(line["payload"]["memory"]) == line["memory_mb"] == 256
        assert 'handling {"order": 42}' in line["log"].split("\n")
        assert f"START RequestId: {line['request_id']}" in line["log"]
        assert line["spans"] == []
    assert lines[0]["init_ms"] > 0
    assert lines[1]["init_ms"] is None


EXTENSION = f"""#!{Path(sys.executable).resolve()}
import http.client, json, os
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
headers = {{"Lambda-Extension-Name": os.path.basename(__file__)}}
api.request("POST", "/2020-01-01/extension/register", json.dumps({{"events": ["INVOKE"]}}), headers)
answer = api.getresponse()
answer.read()
headers = {{"Lambda-Extension-Identifier": answer.headers["Lambda-Extension-Identifier"]}}
while True:
    api.request("GET", "/2020-01-01/extension/event/next", headers=headers)
    event = json.load(api.getresponse())
    print("extension saw", event["requestId"], flush=True)
"""


def test_an_extension_runs_beside_the_function(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    extension = tmp_path / "watcher"
    extension.write_text(EXTENSION)
    extension.chmod(0o755)
    arguments = ["--extension", "watcher", "--repeat", "2", "--json"]
    assert main(["invoke", "shop/app.handler", *arguments]) == 0
    for line in as_json(capsys):
        assert line["status"] == "success"
        assert f"extension saw {line['request_id']}" in line["log"].split("\n")


def test_people_read_the_box_the_log_the_response_and_the_cost(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["invoke", "shop/app.handler", "--event", "apigw-v2", "--repeat", "2"]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert captured.err == ""
    assert lines[0].startswith("Box: ")
    shown = list(itertools.takewhile(lambda line: line.startswith("! The box cannot: "), lines[1:]))
    assert lines[0].endswith("nothing is missing.") == (not shown)
    assert sum(line.startswith("START RequestId") for line in lines) == 2
    assert sum(line.startswith("cold: duration") for line in lines) == 1
    assert sum(line.startswith("warm: duration") for line in lines) == 1
    assert any('"routeKey": "GET /orders/{id}"' in line for line in lines)
    assert any(line.startswith("No spans") for line in lines)
    assert lines[-1] == "2 invocations, none failed."
    assert "\x1b" not in captured.out


@pytest.mark.parametrize("way", [[], ["--otlp"]], ids=["stdout line", "OTLP"])
def test_the_trace_is_drawn_and_kept(
    way: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["invoke", "shop/app.traced", *way]) == 0
    out = capsys.readouterr().out
    assert "__otel_otlp_stdout" not in out
    rows = [line for line in out.splitlines() if "█" in line]
    assert [row.split("█")[0].strip() for row in rows] == ["GET /orders", "SELECT"]
    assert rows[1].endswith("ERROR")
    with Store(tmp_path / "traces.db") as store:
        (trace,) = store.traces()
    assert f"trace {trace.trace_id}" in out
    assert main(["trace", "show", "last"]) == 0
    assert "GET /orders" in capsys.readouterr().out


@pytest.mark.parametrize("way", [[], ["--otlp"]], ids=["stdout line", "OTLP"])
def test_every_invocation_has_its_own_spans(way: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["invoke", "shop/app.traced", "--repeat", "2", "--json", *way]) == 0
    for line in as_json(capsys):
        assert [span["name"] for span in line["spans"]] == ["GET /orders", "SELECT"]
        assert {span["trace_id"] for span in line["spans"]} == {line["payload"]}
        assert line["spans"][0]["attributes"]["faas.invocation_id"] == line["request_id"]


@pytest.mark.parametrize("way", [[], ["--otlp"]], ids=["stdout line", "OTLP"])
def test_spans_of_earlier_invocations_have_a_heading(
    way: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["invoke", "shop/app.late", "--repeat", "2", *way]) == 0
    first, second = capsys.readouterr().out.split("warm: duration")
    for part in (first, second):
        assert part.count("\nNo spans: ") == 1
    assert "child" not in first
    own = re.findall('^"([0-9a-f-]{36})"$', first, re.MULTILINE)
    _, heading, drawn = second.partition("\nSpans of an earlier invocation, RequestId: ")
    assert heading
    assert drawn.splitlines()[0] == own[0]
    with Store(tmp_path / "traces.db") as store:
        (trace,) = store.traces()
    assert drawn.splitlines()[2] == f"trace {trace.trace_id}"
    assert [line.split("█")[0].strip() for line in drawn.splitlines() if "█" in line] == ["root", "child"]


def test_what_is_sent_behind_the_response_is_waited_for(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invoke, "_MOMENT_S", 60)  # an import without bytecode takes 0.5 s of 128 MB
    (tmp_path / "event.json").write_text('{"behind": true}')
    assert main(["invoke", "shop/app.late", "--event", "event.json", "--otlp", "--no-freeze"]) == 0
    _, heading, drawn = capsys.readouterr().out.partition("Spans of an earlier invocation")
    assert heading
    assert "child" in drawn


def test_a_failure_is_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["invoke", "shop/app.fails", "--json"]) == 1
    (line,) = as_json(capsys)
    assert (line["status"], line["function_error"]) == ("error", "Unhandled")
    assert line["payload"]["errorType"] == "KeyError"
    assert main(["invoke", "shop/app.fails"]) == 1
    out = capsys.readouterr().out
    assert "FAILED: KeyError" in out
    assert "\r" not in out
    assert "Traceback (most recent call last):" in [line.strip() for line in out.split("\n")]


def test_spans_of_a_process_that_died_may_come_later(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["invoke", "shop/app.dies"]) == 1
    assert "No spans: the process ended before it sent any." in capsys.readouterr().out


def test_a_function_that_is_not_in_its_module(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["invoke", "shop/app.nothing", "--json"]) == 1
    (line,) = as_json(capsys)
    assert line["payload"]["errorType"] == "Runtime.HandlerNotFound"


def test_a_timeout_is_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert main(["invoke", "shop/app.hangs", "--timeout", "1", "--env", f"PORT={port}", "--json"]) == 1
    (line,) = as_json(capsys)
    assert (line["status"], line["payload"]["errorType"]) == ("timeout", "Sandbox.Timedout")
    assert 1000 <= line["duration_ms"] < 20_000


def test_modules_in_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["invoke", "shop/pkg.mod.func", "--json"]) == 0
    assert main(["invoke", "shop/pkg/mod.func", "--json"]) == 0
    assert [line["payload"] for line in as_json(capsys)] == ["pkg.mod", "mod"]


def test_the_interval_lies_between_invocations(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    assert main(["invoke", "shop/app.handler", "--repeat", "3", "--interval", "1.5", "--json"]) == 0
    assert [wait for wait in waits if wait == 1.5] == [1.5, 1.5]
    assert len(as_json(capsys)) == 3


def test_an_event_from_standard_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"[1, 2]")))
    assert main(["invoke", "shop/app.handler", "--event", "-", "--json"]) == 0
    assert as_json(capsys)[0]["payload"]["event"] == [1, 2]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere/app.handler"], "The folder nowhere does not exist"),
        (["shop/pkg/deep/mod.func"], "The folder shop/pkg/deep does not exist"),
        (["shop/app.py/x.y"], "The folder shop/app.py is not a folder"),
        (["shop"], "shop is a folder"),
        (["shop/"], "name a function in it, as in shop/app.handler"),
        (["shop/app"], "names no function"),
        (["shop/app.py"], "as in shop/app.handler"),
        (["shop/.handler"], "names no function"),
        (["shop/app."], "names no function"),
        (["shop/ap.handler"], "There is no module shop/ap.py"),
        (["shop/app.handler", "--event", "missing.json"], "The event file missing.json cannot be read"),
        (["shop/app.handler", "--event", "apigw-v9"], "did you mean apigw-v"),
        (["shop/app.handler", "--event", "shop/app.py"], "is not JSON"),
        (["shop/app.handler", "--event", "shop"], "cannot be read: Is a directory"),
        (["shop/app.handler", "--memory", "127"], "'--memory'"),
        (["shop/app.handler", "--memory", "10241"], "'--memory'"),
        (["shop/app.handler", "--memory", "x"], "'--memory'"),
        (["shop/app.handler", "--timeout", "0.5"], "'--timeout'"),
        (["shop/app.handler", "--timeout", "901"], "'--timeout'"),
        (["shop/app.handler", "--timeout", "nan"], "'--timeout'"),
        (["shop/app.handler", "--repeat", "0"], "'--repeat'"),
        (["shop/app.handler", "--interval", "-1"], "'--interval'"),
        (["shop/app.handler", "--interval", "nan"], "'--interval'"),
        (["shop/app.handler", "--env", "SECRET"], "without '='"),
        (["shop/app.handler", "--env", "1A=b"], "'1A'"),
        (["shop/app.handler", "--env", "=b"], "''"),
        (["shop/app.handler", "--python", "nowhere"], "name a version such as 3.12, or a path"),
        (["shop/app.handler", "--python", "3.5"], "No Python 3.5 was found"),
        (
            ["shop/app.handler", "--python", OWN, "--runtime", "nodejs20.x"],
            "nodejs20.x name different ones",
        ),
    ],
)
def test_wrong_usage(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["invoke", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert "SECRET" not in captured.err


def test_the_built_in_events_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["invoke", "--list-events"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(names())


def test_targets(tmp_path: Path) -> None:
    assert locate("shop/app.handler").name == "shop"
    os.chdir("shop")
    here = locate("app.handler")
    assert (here.code, here.handler, here.name) == (Path(), "app.handler", "shop")
    odd = tmp_path / "v1.2 (new)"
    shutil.copytree(tmp_path / "shop", odd)
    assert locate(f"{odd}/app.handler").name == "v1-2-new"
    (odd / "native.cpython-311-x86_64-linux-gnu.so").touch()
    assert locate(f"{odd}/native.handler").handler == "native.handler"
    bundle = shutil.make_archive(str(tmp_path / "bundle-2"), "zip", odd)
    packed = locate(f"{bundle}/app.handler")
    assert (packed.code, packed.handler, packed.name) == (Path(bundle), "app.handler", "bundle-2")
    with pytest.raises(UsageError, match="is a package: name the function in it"):
        locate(bundle)


def test_targets_of_other_runtimes(tmp_path: Path) -> None:
    code = tmp_path / "other"
    (code / "src").mkdir(parents=True)
    for name in ("index.js", "src/deep.mjs", "bootstrap"):
        (code / name).touch()
    found = locate(f"{code}/index.handler", runtime="nodejs20.x")
    assert (found.code, found.handler, found.name) == (code, "index.handler", "other")
    found = locate(str(code), handler="src/deep.handler", runtime="nodejs20.x")
    assert (found.code, found.handler) == (code, "src/deep.handler")
    for target, given, handler in (
        (str(code), None, "bootstrap"),
        (str(code), "any thing", "any thing"),
        (f"{code}/any", None, "any"),
    ):
        found = locate(target, runtime="provided.al2023", handler=given)
        assert (found.code, found.handler, found.name) == (code, handler, "other")
    for target, given, runtime, why in (
        (f"{code}/index.handler", None, None, "add --runtime nodejs"),
        (f"{code}/app.handler", None, None, "add --runtime provided"),
        (str(code), None, None, "add --runtime provided"),
        (f"{code}/app.handler", None, "nodejs20.x", "There is no .*app.js"),
        (str(code), "app.handler", "nodejs20.x", "There is no .*app.js"),
        (f"{code}/no", "app.handler", None, "does not exist"),
    ):
        with pytest.raises(UsageError, match=why):
            locate(target, handler=given, runtime=runtime)


def test_what_is_in_a_zip_file_is_looked_at(tmp_path: Path) -> None:
    for name, files in {
        "good": ["app.py", "pkg/mod.py", "native.cpython-311-x86_64-linux-gnu.so"],
        "folder": ["shop/app.py"],
        "wheels": ["one-1.0-py3-none-any.whl"],
    }.items():
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            for file in files:
                archive.writestr(file, "")
    for handler in ("app.handler", "pkg.mod.handler", "pkg/mod.handler", "native.handler"):
        assert locate(str(tmp_path / "good.zip"), handler=handler).handler == handler
    assert locate(f"{tmp_path}/wheels.zip/app.handler").name == "wheels"
    with pytest.raises(UsageError, match=r"no index\.py at the top of .*good\.zip\.$"):
        locate(f"{tmp_path}/good.zip/index.handler")
    with pytest.raises(UsageError, match=r"has shop/app\.py, so zip what is in the folder, not the folder"):
        locate(f"{tmp_path}/folder.zip/app.handler")
    (tmp_path / "broken.zip").write_bytes(b"PK")
    assert locate(f"{tmp_path}/broken.zip/app.handler").name == "broken"


def test_runtime_layer_and_handler_are_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layer = tmp_path / "layer"
    (layer / "python").mkdir(parents=True)
    (layer / "python" / "greeting.py").write_text("text = 'from a layer'")
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "app.py").write_text(
        "import greeting\ndef handler(e, c):\n    return greeting.text\n"
    )
    options = ["--handler", "app.handler", "--layer", str(layer), "--runtime", f"python{OWN}", "--json"]
    assert main(["invoke", str(tmp_path / "code"), *options, "--python", OWN]) == 0
    assert json.loads(capsys.readouterr().out)["payload"] == "from a layer"
    assert main(["invoke", str(tmp_path / "code"), *options, "--env", "AWS_LAMBDA_FUNCTION_NAME=x"]) == 2
    assert "Reserved keys used in this request: AWS_LAMBDA_FUNCTION_NAME" in capsys.readouterr().err


def test_a_zip_file_is_a_target(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = shutil.make_archive(str(tmp_path / "bundle"), "zip", "shop")
    assert main(["invoke", f"{bundle}/app.handler", "--json", "--timeout", "20"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "success"


def test_variables() -> None:
    assert parse_env(["A=1", "B=x=y", "C=", "A=2"]) == {"A": "2", "B": "x=y", "C": ""}


def test_events() -> None:
    assert load_event(None) == {}
    assert parse_event(b"\xef\xbb\xbf[1]", "x") == [1]
    for wrong in (b"", b"{", b"NaN", b"\xff", b"[" * 100_000):
        with pytest.raises(UsageError, match="in x is not JSON"):
            parse_event(wrong, "x")


def test_a_store_that_is_not_ours_is_said_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "traces.db").write_text("a letter\n" * 100)
    assert main(["invoke", "shop/app.handler"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "not a database" in captured.err


RUN = "from lambent_lab.commands import main; raise SystemExit(main())"


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A `lambent invoke` in a session of its own, whose function has started and hangs."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        port = server.getsockname()[1]
        arguments = ["shop/app.hangs", "--timeout", "600", "--env", f"PORT={port}"]
        process = subprocess.Popen(
            [sys.executable, "-c", RUN, "invoke", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "TMPDIR": str(temporary)},
        )
        try:
            connection, _ = server.accept()
            with connection:
                yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate(timeout=30)


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [(signal.SIGINT, 130, "lambent: interrupted"), (signal.SIGTERM, 143, "")],
    ids=["Ctrl-C", "SIGTERM"],
)
def test_an_interrupted_invocation_leaves_nothing_behind(
    hanging: subprocess.Popen[str], number: signal.Signals, code: int, said: str, tmp_path: Path
) -> None:
    children = psutil.Process(hanging.pid).children(recursive=True)
    assert children
    os.killpg(hanging.pid, number)
    _, err = hanging.communicate(timeout=30)
    assert (hanging.returncode, err.strip()) == (code, said)
    gone, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []
    assert len(gone) == len(children)
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_terminal_shows_that_something_goes_on(tmp_path: Path) -> None:
    """The standard error is a terminal, the standard output a file: it gets the JSON alone."""
    options = ["--repeat", "2", "--interval", "0.3", "--json"]
    main_end, side_end = pty.openpty()
    try:
        with (tmp_path / "out.json").open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-c", RUN, "invoke", "shop/app.traced", *options],
                stdout=out,
                stderr=side_end,
                env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
            )
        os.close(side_end)
        seen = b""
        with suppress(OSError):  # Linux ends a terminal's reading with EIO
            while part := os.read(main_end, 65536):
                seen += part
        assert process.wait(60) == 0
    finally:
        os.close(main_end)
    assert b"shop/app.traced (1 of 2)" in seen
    assert b"frozen for 0.3 s" in seen
    lines = (tmp_path / "out.json").read_text().splitlines()
    assert [json.loads(line)["status"] for line in lines] == ["success", "success"]


@pytest.mark.parametrize(
    ("options", "value", "first"),
    [
        (("--log-format", "JSON", "--system-log-level", "DEBUG"), "on-demand", '{"time":'),
        (
            ("--initialization", "provisioned-concurrency", "--no-freeze"),
            "provisioned-concurrency",
            "INIT_START",
        ),
        (("--initialization", "snap-start", "--init-cpu", "share"), "snap-start", "INIT_START"),
        (("--max-concurrency", "2"), "lambda-managed-instances", '{"time":'),
    ],
)
def test_how_an_environment_lives_and_logs(
    capsys: pytest.CaptureFixture[str], folder: Path, options: tuple[str, ...], value: str, first: str
) -> None:
    (folder / "app.py").write_text(
        "import os\ndef handler(event, context):\n    return os.environ['AWS_LAMBDA_INITIALIZATION_TYPE']\n"
    )
    assert main(["invoke", f"{folder}/app.handler", "--json", "--repeat", "2", *options]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["payload"] for line in lines] == [value, value]
    assert lines[0]["log"].startswith(first)
    assert ("restore_ms" in lines[0]) is (value == "snap-start")
    assert "restore_ms" not in lines[1]


def test_levels_need_a_log_in_json(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    assert main(["invoke", f"{folder}/app.handler", "--application-log-level", "WARN"]) == 2
    assert "log_format='JSON'" in capsys.readouterr().err
