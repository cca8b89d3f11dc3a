"""Response streams through the whole lab: a function's process, an environment, AWS's API and boto3."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import pytest
from lab.tests.clients import client_of

from lambent_lab import Lab

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A runtime of its own: it streams what the event says, and waits at the gates that it names.
RUNTIME = """
import base64, http.client, json, os, socket
HOST = os.environ["AWS_LAMBDA_RUNTIME_API"]
def run(event, id):
    s = socket.create_connection(HOST.split(":"))
    head = [f"POST /2018-06-01/runtime/invocation/{id}/response HTTP/1.1", "Host: x", "Content-Type: text/x",
            "Lambda-Runtime-Function-Response-Mode: streaming", "Transfer-Encoding: chunked", "", ""]
    s.sendall("\\r\\n".join(head).encode())
    trailers = ""
    for step in event:
        if isinstance(step, int):
            socket.create_connection(("127.0.0.1", step)).recv(1)
        elif isinstance(step, list):
            body = base64.b64encode(json.dumps({"errorType": step[0]}).encode()).decode()
            trailers = (f"Lambda-Runtime-Function-Error-Type: {step[0]}\\r\\n"
                        f"Lambda-Runtime-Function-Error-Body: {body}\\r\\n")
        elif step == "exit":
            os._exit(1)
        else:
            text, _, times = step.partition("*")
            data = text.encode() * int(times or 1)
            s.sendall(b"%x\\r\\n%b\\r\\n" % (len(data), data))
    s.sendall(f"0\\r\\n{trailers}\\r\\n".encode())
    s.recv(1000)
while True:
    c = http.client.HTTPConnection(HOST)
    c.request("GET", "/2018-06-01/runtime/invocation/next")
    r = c.getresponse()
    run(json.loads(r.read()), r.getheader("Lambda-Runtime-Aws-Request-Id"))
"""


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Any]:
    (tmp_path / "app.py").write_text(RUNTIME)
    with Lab() as lab:
        lab.function("stream", code=tmp_path, handler="app.handler", memory=512, timeout=20)
        made = client_of(lab.serve().url)
        yield made
        made.close()


def stream(client: Any, *steps: object) -> Any:
    payload = json.dumps(steps).encode()
    return client.invoke_with_response_stream(FunctionName="stream", Payload=payload)["EventStream"]


def rest(events: Any) -> tuple[bytes, dict[str, str]]:
    """Read a stream to its end, and close it."""
    data, end = b"", None
    for event in events:
        assert end is None
        end = event.get("InvokeComplete")
        data += event["PayloadChunk"]["Payload"] if end is None else b""
    events.close()
    assert end is not None
    return data, end


def test_a_caller_reads_what_the_function_has_written_before_it_goes_on(client: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gate:
        gate.settimeout(60)
        events = stream(client, "first", gate.getsockname()[1], "second")
        assert next(iter(events))["PayloadChunk"]["Payload"] == b"first"
        gate.accept()[0].close()
        assert rest(events) == (b"second", {})


def test_what_goes_wrong_midway_is_told_at_the_end(client: Any) -> None:
    data, end = rest(stream(client, "begun", ["Function.Broken"]))
    assert (data, end["ErrorCode"]) == (b"begun", "Function.Broken")
    assert json.loads(end["ErrorDetails"]) == {"errorType": "Function.Broken"}
    data, end = rest(stream(client, "begun", "exit"))
    assert (data, end["ErrorCode"]) == (b"begun", "Runtime.ExitError")
    assert rest(stream(client, "fine")) == (b"fine", {})


def test_more_than_invoke_may_return_can_be_streamed(client: Any) -> None:
    big = "x*7000000"
    data, end = rest(stream(client, big))
    assert (len(data), end) == (7_000_000, {})
    buffered = client.invoke(FunctionName="stream", Payload=json.dumps([big]))
    assert buffered["FunctionError"] == "Unhandled"
    assert json.load(buffered["Payload"])["errorType"] == "Function.ResponseSizeTooLarge"
    assert client.invoke(FunctionName="stream", Payload=b'["small"]')["Payload"].read() == b"small"


def test_a_caller_that_stops_reading_keeps_nobody_once_the_function_is_done(client: Any) -> None:
    events = stream(client, *["y*100000"] * 16)  # the service keeps a few pieces, the sockets the others
    assert rest(stream(client, "fine")) == (b"fine", {})
    assert rest(events) == (b"y" * 1_600_000, {})
    leaving = stream(client, *["y*100000"] * 40)
    leaving.close()
    assert rest(stream(client, "fine")) == (b"fine", {})
