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

import boto3
import pytest
import requests
from botocore.config import Config

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


def client_of(url: str, **options: Any) -> Any:
    return boto3.client(
        "lambda",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
        config=Config(retries={"total_max_attempts": 1}, **options),
    )


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
    assert lab.core.functions["meet"].active == 0


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
