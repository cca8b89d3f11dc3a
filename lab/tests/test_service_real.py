"""The service with real environments: boto3 and the aws CLI, unchanged, against a lab."""

from __future__ import annotations

import base64
import io
import json
import os
import socket
import subprocess
import sys
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
from lab.tests.clients import client_of

from lambent_lab import Lab

if TYPE_CHECKING:
    from collections.abc import Iterator

AWS = Path(sys.executable).with_name("aws")
ROLE = "arn:aws:iam::123456789012:role/any"
MEET = """
import socket
def handler(event, context):
    with socket.create_connection(("127.0.0.1", event["port"])) as connection:
        return connection.recv(2).decode()
"""
ECHO = """
import json, os
def handler(event, context):
    print("version", %s)
    if isinstance(event, dict) and event.get("fail"):
        raise ValueError("as told")
    custom = context.client_context.custom if context.client_context else None
    return {"event": event, "arn": context.invoked_function_arn, "version": context.function_version,
            "custom": custom, "trace": os.environ["_X_AMZN_TRACE_ID"], "code": %s}
"""


def write_zip(path: Path, number: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("app.py", ECHO % (number, number))
    path.write_bytes(buffer.getvalue())
    return buffer.getvalue()


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as opened:
        yield opened


def aws(url: str, *arguments: str, option: bool = True, cwd: Path | None = None) -> Any:
    """Run the aws CLI and return what it prints; `option`: with --endpoint-url instead of the variable."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": "/nowhere",
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
        **({} if option else {"AWS_ENDPOINT_URL_LAMBDA": url}),
    }
    where = ["--endpoint-url", url] if option else []
    done = subprocess.run(
        [AWS, *where, "lambda", *arguments],
        env=environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout.strip() else None


def test_the_aws_cli_deploys_and_invokes(lab: Lab, tmp_path: Path) -> None:
    url = lab.serve().url
    write_zip(tmp_path / "function.zip", 1)
    made = aws(
        url, "create-function", "--function-name", "honeyhive-lambda", "--runtime", "python3.11",
        "--role", ROLE, "--handler", "app.handler", "--zip-file", "fileb://function.zip", cwd=tmp_path,
    )  # fmt: skip
    assert made["State"] == "Active"
    aws(url, "wait", "function-active-v2", "--function-name", "honeyhive-lambda")
    write_zip(tmp_path / "function.zip", 2)
    updated = aws(
        url, "update-function-code", "--function-name", "honeyhive-lambda",
        "--zip-file", "fileb://function.zip", option=False, cwd=tmp_path,
    )  # fmt: skip
    assert updated["CodeSha256"] != made["CodeSha256"]
    aws(url, "wait", "function-updated", "--function-name", "honeyhive-lambda")
    context = base64.b64encode(b'{"custom": {"k": "v"}}').decode()
    said = aws(
        url, "invoke", "--function-name", "honeyhive-lambda", "--payload", '{"n": 1}', "--log-type", "Tail",
        "--client-context", context, "out.json", cwd=tmp_path,
    )  # fmt: skip
    log = base64.b64decode(said["LogResult"]).decode()
    assert "START RequestId: " in log
    assert "version 2\n" in log
    assert "REPORT RequestId: " in log
    out = json.loads((tmp_path / "out.json").read_text())
    assert (out["event"], out["code"], out["custom"]) == ({"n": 1}, 2, {"k": "v"})
    failed = aws(
        url, "invoke", "--function-name", "honeyhive-lambda", "--payload", '{"fail": 1}',
        "out.json", cwd=tmp_path,
    )  # fmt: skip
    assert (failed["StatusCode"], failed["FunctionError"]) == (200, "Unhandled")
    assert json.loads((tmp_path / "out.json").read_text())["errorType"] == "ValueError"
    names = [one["FunctionName"] for one in aws(url, "list-functions")["Functions"]]
    assert names == ["honeyhive-lambda"]


def test_versions_run_the_code_that_they_were_published_with(lab: Lab, tmp_path: Path) -> None:
    client = client_of(lab.serve().url)
    client.create_function(
        FunctionName="echo", Runtime="python3.11", Role=ROLE, Handler="app.handler",
        Code={"ZipFile": write_zip(tmp_path / "a.zip", 1)}, Publish=True,
    )  # fmt: skip
    client.create_alias(FunctionName="echo", Name="live", FunctionVersion="1")
    client.update_function_code(FunctionName="echo", ZipFile=write_zip(tmp_path / "a.zip", 2))
    found = {}
    for qualifier in ("$LATEST", "1", "live"):
        r = client.invoke(FunctionName="echo", Qualifier=qualifier)
        found[qualifier] = json.load(r["Payload"])
    assert {key: value["code"] for key, value in found.items()} == {"$LATEST": 2, "1": 1, "live": 1}
    assert {key: value["version"] for key, value in found.items()} == {
        "$LATEST": "$LATEST",
        "1": "1",
        "live": "1",
    }
    assert found["live"]["arn"].endswith(":function:echo:live")


def test_a_trace_header_goes_through(lab: Lab, tmp_path: Path) -> None:
    url = lab.serve().url
    (tmp_path / "app.py").write_text(ECHO % (1, 1))
    lab.function("echo", code=tmp_path, handler="app.handler")
    header = "Root=1-65d3f2a0-0123456789abcdef01234567;Parent=0123456789abcdef;Sampled=1"
    answer = requests.post(
        f"{url}/2015-03-31/functions/echo/invocations",
        data=b"[]",
        headers={"X-Amzn-Trace-Id": header},
        timeout=60,
    )
    assert answer.json()["trace"] == header
    assert answer.headers["x-amzn-trace-id"] == header


def test_twenty_environments_at_once(lab: Lab, tmp_path: Path) -> None:
    count = 20
    (tmp_path / "app.py").write_text(MEET)
    lab.function("meet", code=tmp_path, handler="app.handler", memory=1769, timeout=90)
    client = client_of(lab.serve().url, max_pool_connections=count, read_timeout=110)
    with socket.create_server(("127.0.0.1", 0), backlog=count) as meeting, ThreadPoolExecutor(count) as pool:
        meeting.settimeout(100)
        payload = json.dumps({"port": meeting.getsockname()[1]}).encode()
        answers = [pool.submit(client.invoke, FunctionName="meet", Payload=payload) for _ in range(count)]
        # Nobody goes on before all are there.
        present = [meeting.accept()[0] for _ in range(count)]
        assert lab.core.fleet.alive == count
        for connection in present:
            connection.sendall(b"go")
            connection.close()
        assert [json.load(answer.result(60)["Payload"]) for answer in answers] == ["go"] * count


def test_a_caller_that_goes_away_does_not_end_the_invocation(lab: Lab, tmp_path: Path) -> None:
    lines: list[str] = []
    reported = threading.Event()

    def on_line(line: str) -> None:
        lines.append(line)
        if line.startswith("REPORT"):
            reported.set()

    (tmp_path / "app.py").write_text(
        "import time\ndef handler(event, context):\n    time.sleep(1)\n    print('went on')"
    )
    lab.function("slow", code=tmp_path, handler="app.handler", timeout=60, on_line=on_line)
    url = f"{lab.serve().url}/2015-03-31/functions/slow/invocations"
    with pytest.raises(requests.ReadTimeout):
        requests.post(url, data=b"{}", timeout=(10, 0.3))
    assert reported.wait(60)
    assert "went on" in lines


EXTENSION = f"""#!{Path(sys.executable).resolve()} -S
import http.client, json, os, time
def call(method, path, body=None, **headers):
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    connection.request(method, "/2020-01-01/extension/" + path, body, headers)
    answer = connection.getresponse()
    return answer, json.loads(answer.read())
answer, _ = call("POST", "register", json.dumps({{"events": ["INVOKE", "SHUTDOWN"]}}),
                 **{{"Lambda-Extension-Name": "agent"}})
me = answer.getheader("Lambda-Extension-Identifier")
while True:
    _, event = call("GET", "event/next", **{{"Lambda-Extension-Identifier": me}})
    print("agent has", event["eventType"], event.get("shutdownReason"), flush=True)
    if event["eventType"] == "SHUTDOWN":
        break
    time.sleep(1.5)
    print("agent is done", flush=True)
"""


class Log:
    """A function's log, and when a line came."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._come = threading.Condition()

    def __call__(self, line: str) -> None:
        with self._come:
            self.lines.append(line)
            self._come.notify_all()

    def wait_for(self, part: str) -> None:
        with self._come:
            assert self._come.wait_for(lambda: any(part in line for line in self.lines), 60), self.lines


def test_the_answer_does_not_wait_for_extensions_and_idle_ones_hear_of_the_end(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "app.py").write_text("def handler(event, context):\n    return 1\n")
    agent = tmp_path / "agent"
    agent.write_text(EXTENSION)
    agent.chmod(0o755)
    log = Log()
    with Lab(idle_timeout=0.5) as lab:
        lab.function(
            "f", code=tmp_path / "code", handler="app.handler", timeout=60, memory=512, extensions=[agent],
            on_line=log,
        )  # fmt: skip
        url = f"{lab.serve().url}/2015-03-31/functions/f/invocations"
        assert requests.post(url, data=b"{}", timeout=60).json() == 1
        assert not any("agent is done" in line for line in log.lines)
        assert lab.core.functions["f"].active == 1
        log.wait_for("REPORT")
        assert any("agent is done" in line for line in log.lines)
        log.wait_for("agent has SHUTDOWN SPINDOWN")


STREAM = """
import http.client, json, os, socket
HOST = os.environ["AWS_LAMBDA_RUNTIME_API"]
while True:
    connection = http.client.HTTPConnection(HOST)
    connection.request("GET", "/2018-06-01/runtime/invocation/next")
    answer = connection.getresponse()
    port = json.loads(answer.read())["port"]
    request = answer.getheader("Lambda-Runtime-Aws-Request-Id")
    out = socket.create_connection(HOST.split(":"))
    out.sendall((f"POST /2018-06-01/runtime/invocation/{request}/response HTTP/1.1\\r\\nHost: x\\r\\n"
                 "Lambda-Runtime-Function-Response-Mode: streaming\\r\\nTransfer-Encoding: chunked\\r\\n"
                 "Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\\r\\n"
                 "Content-Type: text/plain\\r\\n\\r\\n5\\r\\nfirst\\r\\n").encode())
    with socket.create_connection(("127.0.0.1", port)) as gate:
        word = gate.recv(4)
    out.sendall(b"6\\r\\nsecond\\r\\n0\\r\\n")
    if word == b"fail":
        out.sendall(b"Lambda-Runtime-Function-Error-Type: Function.Broke\\r\\n"
                    b"Lambda-Runtime-Function-Error-Body: eyJlcnJvclR5cGUiOiAiRnVuY3Rpb24uQnJva2UifQ==\\r\\n")
    out.sendall(b"\\r\\n")
    out.recv(1000)
    out.close()
"""


@pytest.mark.parametrize("word", ["well", "fail"])
def test_a_response_reaches_the_caller_while_it_is_made(lab: Lab, tmp_path: Path, word: str) -> None:
    (tmp_path / "app.py").write_text(STREAM)  # a runtime of its own: never done being imported
    lab.function("stream", code=tmp_path, handler="app.handler", timeout=60, memory=512)
    client = client_of(lab.serve().url)
    with socket.create_server(("127.0.0.1", 0)) as gate:
        gate.settimeout(60)
        payload = json.dumps({"port": gate.getsockname()[1]}).encode()
        answer = client.invoke_with_response_stream(FunctionName="stream", Payload=payload, LogType="Tail")
        events = iter(answer["EventStream"])
        assert next(events) == {"PayloadChunk": {"Payload": b"first"}}
        waiting, _ = gate.accept()  # it has not gone on
        waiting.sendall(word.encode())
        waiting.close()
        assert next(events) == {"PayloadChunk": {"Payload": b"second"}}
        complete = next(events)["InvokeComplete"]
        assert list(events) == []
        answer["EventStream"].close()
    log = base64.b64decode(complete["LogResult"]).decode()
    assert "REPORT RequestId: " in log
    if word == "fail":
        assert complete["ErrorCode"] == "Function.Broke"
        assert complete["ErrorDetails"]
    else:
        assert "ErrorCode" not in complete
