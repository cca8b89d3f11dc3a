"""Environments with subscribers of the Telemetry API: what they get, and when."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from lambent_lab.environment import Environment
from lambent_lab.function import FunctionSpec

COMMON = """
import http.client, http.server, json, os, socket, sys, threading, time
def call(method, path, body=None, **headers):
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.getheader("Lambda-Extension-Identifier"), answer.read().decode()
def register(name, *events):
    return call("POST", "/2020-01-01/extension/register", json.dumps({"events": events}),
                **{"Lambda-Extension-Name": name})[1]
def subscribe(me, destination, types=("platform", "function", "extension"), **buffering):
    body = {"schemaVersion": "2022-12-13", "types": types, "destination": destination,
            "buffering": {"timeoutMs": 100, **buffering}}
    status, _, text = call("PUT", "/2022-07-01/telemetry", json.dumps(body),
                           **{"Lambda-Extension-Identifier": me})
    return status, json.loads(text)
def next_event(me):
    path = "/2020-01-01/extension/event/next"
    return json.loads(call("GET", path, **{"Lambda-Extension-Identifier": me})[2])
"""

INTERNAL = (
    COMMON
    + """
got, posts = [], []
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        records = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        posts.append([self.path, self.headers["Content-Type"], len(records)])
        got.extend(records)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"OK")
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
me = register("inside", "INVOKE")
answers = [subscribe(me, {"protocol": "HTTP", "URI": f"http://sandbox.localdomain:{server.server_port}/in"}),
           subscribe(me, {"protocol": "HTTP", "URI": "http://elsewhere:1/"}),
           subscribe("00000000-0000-0000-0000-000000000000", {})]
def work():
    while True:
        next_event(me)
threading.Thread(target=work, daemon=True).start()
print("loaded")
def handler(event, context):
    print("handling", event)
    late = subscribe(me, {"protocol": "TCP", "port": 5000})
    return {"got": list(got), "posts": list(posts), "answers": answers, "late": late}
"""
)

EXTERNAL = (
    f"#!{Path(sys.executable).resolve()} -S\n"
    + COMMON
    + """
listener = socket.create_server(("127.0.0.1", 0))
def read():
    connection, _ = listener.accept()
    for line in connection.makefile():
        record = json.loads(line)
        if record["type"] != "extension":
            print("RECORD", line, end="", flush=True)
        if record["type"] == "platform.report":
            reported.set()
reported = threading.Event()
threading.Thread(target=read, daemon=True).start()
me = register("outside", "INVOKE", "SHUTDOWN")
subscribe(me, {"protocol": "TCP", "port": listener.getsockname()[1]}, ("platform", "function"))
while next_event(me)["eventType"] != "SHUTDOWN":
    pass
reported.wait(1.5)
"""
)


NAMED = INTERNAL.replace('("127.0.0.1", 0)', '("sandbox.localdomain", 0)')


def spec_of(tmp_path: Path, source: str, extension: str | None = None, **options: Any) -> FunctionSpec:
    code = tmp_path / "code"
    code.mkdir()
    (code / "app.py").write_text(source)
    files: tuple[Path, ...] = ()
    if extension is not None:
        file = tmp_path / "outside"
        file.write_text(extension)
        file.chmod(0o755)
        files = (file,)
    return FunctionSpec(
        **{
            "name": "shop",
            "code": code,
            "handler": "app.handler",
            "memory_mb": 512,
            "timeout_s": 10,
            **options,
        },
        extensions=files,
    )


async def test_an_internal_subscriber_gets_everything_before_the_freeze(tmp_path: Path) -> None:
    async with Environment(spec_of(tmp_path, INTERNAL)) as environment:
        first = await environment.invoke(b"1")
        assert await environment.wait_frozen()
        second = await environment.invoke(b"2")
    said = json.loads(second.payload)
    assert said["answers"][0] == [200, "OK"]
    assert [(status, text["errorType"]) for status, text in said["answers"][1:]] == [
        (400, "ValidationError"),
        (403, "Extension.UnknownExtensionIdentifier"),
    ]
    assert (said["late"][0], said["late"][1]["errorType"]) == (403, "Telemetry.SubscriptionClosed")
    assert {(path, kind) for path, kind, _ in said["posts"]} == {("/in", "application/json")}
    got = [record for record in said["got"] if second.request_id not in json.dumps(record)]
    assert [record["type"] for record in got if record["type"] != "function"] == [
        "platform.initStart",
        "platform.telemetrySubscription",
        "platform.initRuntimeDone",
        "platform.extension",
        "platform.initReport",
        "platform.start",
        "platform.runtimeDone",
        "platform.report",
    ]
    by_type = {record["type"]: record["record"] for record in got}
    assert by_type["platform.initStart"] | {"runtimeVersion": "", "runtimeVersionArn": ""} == {
        "initializationType": "on-demand",
        "phase": "init",
        "runtimeVersion": "",
        "runtimeVersionArn": "",
        "functionName": "shop",
        "functionVersion": "$LATEST",
        "instanceMaxMemory": 512,
    }
    assert by_type["platform.initRuntimeDone"] == {
        "initializationType": "on-demand",
        "phase": "init",
        "status": "success",
    }
    assert by_type["platform.telemetrySubscription"] == {
        "name": "inside",
        "state": "Subscribed",
        "types": ["platform", "function", "extension"],
    }
    assert by_type["platform.extension"] == {"name": "inside", "state": "Ready", "events": ["INVOKE"]}
    assert by_type["platform.initReport"]["metrics"]["durationMs"] == pytest.approx(first.init_ms, abs=0.01)
    tracing = {"type": "X-Amzn-Trace-Id", "value": first.trace_header}
    assert by_type["platform.start"] == {
        "requestId": first.request_id,
        "version": "$LATEST",
        "tracing": tracing,
    }
    done = by_type["platform.runtimeDone"]
    assert (done["status"], done["requestId"]) == ("success", first.request_id)
    assert done["metrics"]["producedBytes"] == len(first.payload)
    assert done["metrics"]["durationMs"] == pytest.approx(first.response_ms, abs=0.01)
    assert done["spans"][0]["name"] == "responseLatency"
    report = by_type["platform.report"]
    assert report["metrics"] == {
        "durationMs": pytest.approx(first.duration_ms, abs=0.01),
        "billedDurationMs": first.billed_ms,
        "memorySizeMB": 512,
        "maxMemoryUsedMB": first.max_memory_mb,
        "initDurationMs": pytest.approx(first.init_ms, abs=0.01),
    }
    assert report["spans"] == [
        {
            "name": "extensionOverhead",
            "start": report["spans"][0]["start"],
            "durationMs": pytest.approx(first.extension_overhead_ms, abs=0.01),
        }
    ]
    lines = [record["record"] for record in got if record["type"] == "function"]
    assert lines == ["loaded", "handling 1"]
    times = [record["time"] for record in got]
    assert all(len(moment) == len("2026-01-01T00:00:00.000Z") for moment in times)


async def test_the_name_of_the_sandbox_is_known_in_it(tmp_path: Path) -> None:
    async with Environment(spec_of(tmp_path, NAMED)) as environment:
        result = await environment.invoke(b"1")
        cannot = environment.box.cannot
    if any(text.startswith("names: ") for text in cannot):
        pytest.skip("; ".join(cannot))
    assert json.loads(result.payload)["answers"][0] == [200, "OK"]


@pytest.mark.parametrize(
    ("statement", "status", "error_type", "reason"),
    [
        ("time.sleep(30)", "timeout", None, "TIMEOUT"),
        ("os._exit(3)", "failure", "Runtime.ExitError", "FAILURE"),
        ("raise ValueError('no')", "error", "Function.Unknown", None),
    ],
)
async def test_an_external_subscriber_hears_of_every_end_over_tcp(
    tmp_path: Path, statement: str, status: str, error_type: str | None, reason: str | None
) -> None:
    source = (
        f"import os, time\ndef handler(event, context):\n    print('in it', flush=True)\n    {statement}\n"
    )
    lines: list[str] = []
    spec = spec_of(tmp_path, source, EXTERNAL, timeout_s=1.0)
    async with Environment(spec, on_line=lines.append) as environment:
        result = await environment.invoke(b"1")
    records = [json.loads(line.removeprefix("RECORD ")) for line in lines if line.startswith("RECORD ")]
    assert {"time": records[0]["time"], "type": "function", "record": "in it"} in [
        {**record, "time": records[0]["time"]} for record in records
    ]
    for kind in ("platform.runtimeDone", "platform.report"):
        [record] = [record["record"] for record in records if record["type"] == kind]
        assert (record["requestId"], record["status"]) == (result.request_id, status)
        assert record.get("errorType") == error_type
    assert not any(record["type"] == "extension" for record in records)


async def test_a_subscriber_that_never_answers_holds_nothing_up_for_long(tmp_path: Path) -> None:
    source = COMMON + (
        "listener = socket.create_server(('127.0.0.1', 0))\n"
        "me = register('inside', 'INVOKE')\n"
        "URI = f'http://127.0.0.1:{listener.getsockname()[1]}/'\n"
        "subscribe(me, {'protocol': 'HTTP', 'URI': URI})\n"
        "def work():\n    while True: next_event(me)\n"
        "threading.Thread(target=work, daemon=True).start()\n"
        "def handler(event, context): return 'fine'\n"
    )
    async with Environment(spec_of(tmp_path, source)) as environment:
        first = await environment.invoke(b"1")
        assert await environment.wait_frozen(3.0)
        second = await environment.invoke(b"2")
    assert (first.payload, second.payload) == (b'"fine"', b'"fine"')
    assert second.duration_ms < 5000


async def test_a_function_without_subscribers_keeps_no_records(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, "def handler(event, context): print('x')\n")
    async with Environment(spec) as environment:
        await environment.invoke(b"1")
        assert environment._instance is not None
        telemetry = environment._instance.telemetry
        assert telemetry is not None
        assert not telemetry.active
        assert not telemetry._past
