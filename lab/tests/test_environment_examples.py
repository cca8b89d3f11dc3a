"""Extensions written as AWS's published examples are: in bash with curl, in Python, subscribers of logs."""

from __future__ import annotations

import json
import re
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lambent_lab.environment import Environment
from lambent_lab.function import FunctionSpec

Make = Callable[..., FunctionSpec]

# One write a line: an internal extension writes to the same file from a thread of its own.
HANDLER = "def handler(event, context):\n    print(f'handling {event}\\n', end='')\n    return 'fine'\n"

BASH = """#!/bin/bash
set -euo pipefail
OWN_NAME="$(basename $0)"
API="http://${AWS_LAMBDA_RUNTIME_API}/2020-01-01/extension"
HEADERS="$(mktemp)"
BODY="$(mktemp)"
stop() {
  kill -TERM "$PID" 2>/dev/null
  exit 0
}
curl -sS -LD "$HEADERS" -XPOST "$API/register" --header "Lambda-Extension-Name: ${OWN_NAME}" \\
  -d '{ "events": ["INVOKE", "SHUTDOWN"]}' > "$BODY"
ID=$(grep -Fi Lambda-Extension-Identifier "$HEADERS" | tr -d '[:space:]' | cut -d: -f2)
echo "[${OWN_NAME}] Registered: $(<$BODY)"
while true; do
  curl -sS -L -XGET "$API/event/next" --header "Lambda-Extension-Identifier: ${ID}" > "$BODY" &
  PID=$!
  trap stop SIGTERM
  wait "$PID"
  trap - SIGTERM
  EVENT=$(<$BODY)
  if [[ $EVENT == *"SHUTDOWN"* ]]; then
    echo "[${OWN_NAME}] Received SHUTDOWN event. Exiting." 1>&2
    exit 0
  fi
  echo "[${OWN_NAME}] Received event: ${EVENT}"
done
"""

PYTHON = f"""#!{Path(sys.executable).resolve()}
import json, os, signal, sys, urllib.request
from pathlib import Path
NAME = Path(__file__).name
API = f"http://{{os.environ['AWS_LAMBDA_RUNTIME_API']}}/2020-01-01/extension"

def handle_signal(number, frame):
    print(f"[{{NAME}}] Received signal={{number}}. Exiting.", flush=True)
    sys.exit(0)

def register_extension():
    body = json.dumps({{"events": ["INVOKE", "SHUTDOWN"]}}).encode()
    request = urllib.request.Request(f"{{API}}/register", body, {{"Lambda-Extension-Name": NAME}})
    with urllib.request.urlopen(request) as response:
        return response.headers["Lambda-Extension-Identifier"]

def process_events(identifier):
    headers = {{"Lambda-Extension-Identifier": identifier}}
    while True:
        request = urllib.request.Request(f"{{API}}/event/next", headers=headers)
        with urllib.request.urlopen(request) as response:
            event = json.load(response)
        if event["eventType"] == "SHUTDOWN":
            print(f"[{{NAME}}] Received SHUTDOWN event. Exiting.", flush=True)
            sys.exit(0)
        print(f"[{{NAME}}] Received event: {{json.dumps(event)}}", flush=True)

signal.signal(signal.SIGINT, handle_signal)
signal.signal(signal.SIGTERM, handle_signal)
process_events(register_extension())
"""

# As in AWS's examples, the listener is there first, then the extension registers and subscribes. What it got
# it prints when the end has come, after its queue was filled by the last deliveries.
SUBSCRIBER = f"""#!{Path(sys.executable).resolve()}
import http.client, http.server, json, os, queue, sys, threading
NAME, PORT = os.path.basename(__file__), @PORT@
HOST = "127.0.0.1"
logs = queue.Queue()

class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        for record in json.loads(self.rfile.read(int(self.headers["Content-Length"]))):
            logs.put(record)
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_): pass

threading.Thread(target=http.server.HTTPServer((HOST, PORT), Handler).serve_forever, daemon=True).start()

def call(method, path, body=None, **headers):
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    connection.request(method, path, body and json.dumps(body), headers)
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read().decode()

_, headers, _ = call("POST", "/2020-01-01/extension/register", {{"events": ["INVOKE", "SHUTDOWN"]}},
                     **{{"Lambda-Extension-Name": NAME}})
me = {{"Lambda-Extension-Identifier": headers["Lambda-Extension-Identifier"]}}
subscription = {{
    "schemaVersion": "@SCHEMA@",
    "types": ["platform", "function"],
    "buffering": {{"maxItems": 1000, "maxBytes": 262144, "timeoutMs": 100}},
    "destination": {{"protocol": "HTTP", "URI": f"http://@HOST@:{{PORT}}@PATH@"}},
}}
status, _, text = call("PUT", "@API@", subscription, **me)
print("ANSWER", status, text, flush=True)
status, _, text = call("PUT", "@OTHER@", subscription | {{"schemaVersion": "@OTHER_SCHEMA@"}}, **me)
print("OTHER", status, text, flush=True)
while json.loads(call("GET", "/2020-01-01/extension/event/next", **me)[2])["eventType"] != "SHUTDOWN":
    pass
while not logs.empty():
    print("RECORD", json.dumps(logs.get()), flush=True)
"""
TELEMETRY = (
    SUBSCRIBER.replace("@API@", "/2022-07-01/telemetry")
    .replace("@OTHER@", "/2020-08-15/logs")
    .replace("@SCHEMA@", "2022-07-01")
    .replace("@OTHER_SCHEMA@", "2021-03-18")
    .replace("@HOST@", "sandbox.localdomain")
    .replace("@PATH@", "")
)
LOGS = (
    SUBSCRIBER.replace("@API@", "/2020-08-15/logs")
    .replace("@OTHER@", "/2022-07-01/telemetry")
    .replace("@SCHEMA@", "2021-03-18")
    .replace("@OTHER_SCHEMA@", "2022-07-01")
    .replace("@HOST@", "sandbox")
    .replace("@PATH@", "/lambda_logs")
)

# An internal extension: a thread of the runtime's own process.
INTERNAL = """
import http.client, json, os, threading
def call(method, path, body=None, **headers):
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    connection.request(method, "/2020-01-01/extension/" + path, body, headers)
    answer = connection.getresponse()
    return answer.headers, json.loads(answer.read())
headers, _ = call("POST", "register", '{"events": ["INVOKE"]}', **{"Lambda-Extension-Name": "internal"})
def loop(identifier):
    while True:
        _, event = call("GET", "event/next", **{"Lambda-Extension-Identifier": identifier})
        print("[internal] Received event: " + json.dumps(event) + "\\n", end="", flush=True)
threading.Thread(target=loop, args=(headers["Lambda-Extension-Identifier"],), daemon=True).start()
"""


@pytest.fixture
def make(write_function: Make, tmp_path: Path) -> Make:
    """Describe a function with extensions, given as names and texts."""

    def build(source: str = HANDLER, **extensions: str) -> FunctionSpec:
        files = []
        for name, text in extensions.items():
            file = tmp_path / name
            file.write_text(text)
            file.chmod(0o755)
            files.append(file)
        return write_function(source, name="shop", memory_mb=512, timeout_s=20, extensions=tuple(files))

    return build


async def lived(spec: FunctionSpec) -> tuple[list[str], list[str]]:
    """The lines of an environment with two invocations, and their request ids."""
    lines: list[str] = []
    async with Environment(spec, on_line=lines.append) as environment:
        results = [await environment.invoke(b'{"order": 1}') for _ in range(2)]
        assert [json.loads(result.payload) for result in results] == ["fine", "fine"]
        assert await environment.wait_frozen()
    return lines, [result.request_id for result in results]


@pytest.mark.parametrize(("name", "text"), [("extension1.sh", BASH), ("python-example-extension", PYTHON)])
async def test_an_external_extension(make: Make, name: str, text: str) -> None:
    lines, identities = await lived(make(**{name: text}))
    got = [
        json.loads(line.partition("event: ")[2])
        for line in lines
        if line.startswith(f"[{name}] Received event")
    ]
    assert [event["eventType"] for event in got] == ["INVOKE", "INVOKE"]
    assert [event["requestId"] for event in got] == identities
    assert set(got[0]) == {"eventType", "deadlineMs", "requestId", "invokedFunctionArn", "tracing"}
    assert lines[-1] == f"[{name}] Received SHUTDOWN event. Exiting."
    assert f"EXTENSION\tName: {name}\tState: Ready\tEvents: [INVOKE,SHUTDOWN]" in lines


async def test_an_internal_extension(make: Make) -> None:
    lines, identities = await lived(make(INTERNAL + HANDLER))
    got = [json.loads(line.partition("event: ")[2]) for line in lines if line.startswith("[internal]")]
    assert [event["requestId"] for event in got] == identities
    assert "EXTENSION\tName: internal\tState: Ready\tEvents: [INVOKE]" in lines


def port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return str(server.getsockname()[1])


def records(lines: list[str]) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix("RECORD ")) for line in lines if line.startswith("RECORD ")]


async def test_a_subscriber_of_the_telemetry_api(make: Make) -> None:
    lines, identities = await lived(make(watcher=TELEMETRY.replace("@PORT@", port())))
    assert 'ANSWER 200 "OK"' in lines
    other = next(line for line in lines if line.startswith("OTHER"))
    assert "403" in other
    assert "TELEMETRY\tName: watcher\tState: Subscribed\tTypes: [Platform, Function]" in lines
    got = records(lines)
    of_second = [r["type"] for r in got if identities[1] in json.dumps(r)]
    assert of_second == ["platform.start", "platform.runtimeDone", "platform.report"]
    assert {"platform.initStart", "platform.telemetrySubscription"} <= {r["type"] for r in got}
    assert [r["record"] for r in got if r["type"] == "function"] == ["handling {'order': 1}"] * 2


async def test_a_subscriber_of_the_logs_api(make: Make) -> None:
    lines, identities = await lived(make(watcher=LOGS.replace("@PORT@", port())))
    assert 'ANSWER 200 "OK"' in lines
    assert "LOGS\tName: watcher\tState: Subscribed\tTypes: [platform,function]" in lines
    got = records(lines)
    of_second = [r["type"] for r in got if identities[1] in json.dumps(r)]
    assert of_second == ["platform.start", "platform.runtimeDone", "platform.end", "platform.report"]
    kinds = {r["type"] for r in got}
    assert {"platform.logsSubscription", "platform.extension", "function"} <= kinds
    assert not any(re.match(r"platform\.(init|telemetry)", kind) for kind in kinds)
    (subscribed,) = [r["record"] for r in got if r["type"] == "platform.logsSubscription"]
    assert subscribed == {"name": "watcher", "state": "Subscribed", "types": ["platform", "function"]}
