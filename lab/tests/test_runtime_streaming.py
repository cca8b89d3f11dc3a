"""Streamed responses of the runtimes that people stream with: Node.js natively, and a shell with curl."""

from __future__ import annotations

import asyncio
import json
import shutil
from typing import TYPE_CHECKING

import pytest

from lambent_lab.environment import Environment
from lambent_lab.function import FunctionSpec
from lambent_lab.protocol.prelude import Prelude, PreludeReader
from lambent_lab.protocol.runtime import STREAMING_PRELUDE_TYPE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Sink:
    """Keeps what it is told, and says how much there is."""

    def __init__(self) -> None:
        self.began: list[tuple[str, bool]] = []
        self.data = b""
        self.ends: list[tuple[str | None, bytes]] = []
        self.grown = asyncio.Condition()

    def begin(self, content_type: str, streaming: bool) -> None:
        self.began.append((content_type, streaming))

    async def write(self, data: bytes) -> None:
        async with self.grown:
            self.data += data
            self.grown.notify_all()

    async def end(self, error_type: str | None, error_body: bytes) -> None:
        self.ends.append((error_type, error_body))

    async def until(self, enough: Callable[[bytes], bool]) -> None:
        async with asyncio.timeout(60), self.grown:
            await self.grown.wait_for(lambda: enough(self.data))


NODE = """
const net = require("net");
const gate = (port) => new Promise((done) => net.connect(port, "127.0.0.1").on("close", done).resume());
exports.handler = awslambda.streamifyResponse(async (event, stream) => {
  if (event.http) {
    const prelude = {statusCode: 201, headers: {"X-A": "b"}, cookies: ["c=d"]};
    stream = awslambda.HttpResponseStream.from(stream, prelude);
  } else {
    stream.setContentType("text/event-stream");
  }
  stream.write("first");
  if (event.port) await gate(event.port);
  if (event.fail) throw new TypeError("as asked");
  stream.write(" last");
  stream.end();
});
"""


@pytest.mark.timeout(1200)  # the first of them installs, and builds, the client
@pytest.mark.skipif(
    shutil.which("node") is None or shutil.which("npm") is None, reason="node and npm are not installed"
)
async def test_node_streams_with_awss_own_client(tmp_path: Path, node_runtime: str) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "index.js").write_text(NODE)
    spec = FunctionSpec(
        name="f",
        code=tmp_path / "code",
        handler="index.handler",
        runtime=node_runtime,
        memory_mb=512,
        timeout_s=60,
    )
    open_gate = asyncio.Event()

    async def gate(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await open_gate.wait()
        writer.close()

    gates = await asyncio.start_server(gate, "127.0.0.1", 0)
    port = gates.sockets[0].getsockname()[1]
    plain, http, failing = Sink(), Sink(), Sink()
    async with gates, Environment(spec) as environment:
        invoking = asyncio.create_task(environment.invoke(json.dumps({"port": port}).encode(), sink=plain))
        await plain.until(lambda data: data == b"first")
        assert not invoking.done()
        open_gate.set()
        result = await invoking
        await environment.invoke(b'{"http":true}', sink=http)
        failed = await environment.invoke(b'{"fail":true}', sink=failing)
        collected = await environment.invoke(b"{}")
    assert (plain.began, plain.data, plain.ends) == (
        [("text/event-stream", True)],
        b"first last",
        [(None, b"")],
    )
    assert (result.streamed, result.produced_bytes) == (True, 10)
    reader = PreludeReader()
    assert http.began == [(STREAMING_PRELUDE_TYPE, True)]
    assert reader.feed(http.data) == b"first last"
    assert reader.end() == Prelude(201, (("X-A", "b"),), ("c=d",))
    assert failing.data == b"first"
    [(kind, document)] = failing.ends
    assert kind == "Function.Unknown"
    assert json.loads(document)["errorType"] == "TypeError"
    assert (failed.status, failed.payload) == ("error", document)
    assert collected.payload == b"first last"


BOOTSTRAP = """#!/bin/bash
API="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
while true; do
  EVENT=$(curl -sS -D /tmp/head "$API/next")
  ID=$(grep -i '^lambda-runtime-aws-request-id:' /tmp/head | tr -d '[:space:]' | cut -d: -f2)
  { for N in 1 2 3; do echo "piece $N of $EVENT"; done; } | curl -sS -X POST -T - \\
    -H 'Lambda-Runtime-Function-Response-Mode: streaming' -H 'Transfer-Encoding: chunked' \\
    -H 'Content-Type: text/plain' "$API/$ID/response"
done
"""


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_a_shell_streams_with_curl(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    bootstrap = tmp_path / "code" / "bootstrap"
    bootstrap.write_text(BOOTSTRAP)
    bootstrap.chmod(0o755)
    spec = FunctionSpec(
        name="f", code=tmp_path / "code", handler="any", runtime="provided.al2023", timeout_s=60
    )
    sink = Sink()
    async with Environment(spec) as environment:
        result = await environment.invoke(b"1", sink=sink)
        collected = await environment.invoke(b"2")
    assert (sink.began, sink.ends) == ([("text/plain", True)], [(None, b"")])
    assert sink.data == b"piece 1 of 1\npiece 2 of 1\npiece 3 of 1\n"
    assert (result.status, result.streamed) == ("success", True)
    assert collected.payload == b"piece 1 of 2\npiece 2 of 2\npiece 3 of 2\n"
