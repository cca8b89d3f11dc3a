"""A network of the environment's own: what is in it, what is not, and what the lab lets in."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import TYPE_CHECKING, Any

import pytest

from lambent_lab.environment import Environment
from lambent_lab.errors import LabError, UsageError
from lambent_lab.sandbox.network import Forwarding, HostNetwork
from lambent_lab.service import Lab

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lambent_lab.function import FunctionSpec

    Make = Callable[..., FunctionSpec]


@pytest.fixture
async def private(write_function: Make) -> Callable[..., FunctionSpec]:
    """Describe functions in a private network, where there can be one."""
    spec = write_function("def handler(event, context): pass\n", name="probe", network="private")
    try:
        async with Environment(spec):
            pass
    except LabError as error:
        pytest.skip(str(error))

    def make(source: str, **options: Any) -> FunctionSpec:
        return write_function(
            source, **{"name": "net", "network": "private", "timeout_s": 30, "memory_mb": 512, **options}
        )

    return make


LOOK = """
import errno, os, socket
def attempt(port, host="127.0.0.1"):
    try:
        socket.create_connection((host, port), 5).close()
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
    return "connected"
def handler(event, context):
    with open("/proc/net/dev") as file:
        interfaces = [line.split(":")[0].strip() for line in file if ":" in line]
    return {"api": os.environ["AWS_LAMBDA_RUNTIME_API"], "interfaces": interfaces,
            "host": attempt(event["host"]), "out": attempt(9, "192.0.2.1"),
            "forwarded": attempt(event["forwarded"])}
"""


async def test_nothing_but_what_is_let_in_can_be_reached(private: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as host, socket.create_server(("127.0.0.1", 0)) as let_in:
        port, forwarded = host.getsockname()[1], let_in.getsockname()[1]
        event = json.dumps({"host": port, "forwarded": forwarded}).encode()
        async with Environment(private(LOOK), forward=[forwarded]) as environment:
            seen = json.loads((await environment.invoke(event)).payload)
            assert "own" in environment.box.network
        async with Environment(private(LOOK, network="host"), forward=[forwarded]) as environment:
            outside = json.loads((await environment.invoke(event)).payload)
            assert environment.box.network == "the host's"
    assert seen == {
        "api": "127.0.0.1:9001",
        "interfaces": ["lo"],
        "host": "ECONNREFUSED",
        "out": "ENETUNREACH",
        "forwarded": "connected",
    }
    assert outside["host"] == outside["forwarded"] == "connected"
    assert outside["api"] != "127.0.0.1:9001"


EXTENSION = """
import http.client, http.server, json, os, threading
def call(method, path, body=None, **headers):
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return answer.getheader("Lambda-Extension-Identifier"), answer.read().decode()
types = []
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        types.extend(r["type"] for r in json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 4243), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
me, _ = call("POST", "/2020-01-01/extension/register", '{"events": ["INVOKE"]}',
             **{"Lambda-Extension-Name": "inside"})
body = {"schemaVersion": "2022-12-13", "types": ["platform"], "buffering": {"timeoutMs": 25},
        "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:4243/"}}
call("PUT", "/2022-07-01/telemetry", json.dumps(body), **{"Lambda-Extension-Identifier": me})
def work():
    while True:
        call("GET", "/2020-01-01/extension/event/next", **{"Lambda-Extension-Identifier": me})
threading.Thread(target=work, daemon=True).start()
def handler(event, context):
    return types
"""


async def test_two_environments_can_listen_on_the_same_port(private: Make) -> None:
    spec = private(EXTENSION)
    async with Environment(spec) as one, Environment(spec) as two:
        for environment in (one, two):
            first = await environment.invoke(b"{}")
            assert first.status == "success", first.payload
            assert await environment.wait_frozen()  # telemetry is delivered before the freeze
        seen = [json.loads((await environment.invoke(b"{}")).payload) for environment in (one, two)]
    for types in seen:
        assert {"platform.initStart", "platform.start", "platform.runtimeDone", "platform.report"} <= set(
            types
        )
        assert types.count("platform.initStart") == 1


SPANS = """
import lambent
tracer = lambent.init()
@tracer.handler
def handler(event, context):
    with tracer.trace("inside"):
        return 1
"""


async def test_the_labs_receiver_is_where_the_variable_says(private: Make) -> None:
    spec = private(SPANS)

    def run() -> list[str]:
        with Lab() as lab:
            function = lab.function(
                "net",
                code=spec.code,
                handler="app.handler",
                network="private",
                timeout=30,
                memory=1769,
                env={"OTEL_EXPORTER_OTLP_ENDPOINT": lab.otlp_url, "OTEL_TRACES_EXPORTER": "otlp"},
            )
            return [span.name for span in function.invoke({}).spans]

    assert "inside" in await asyncio.to_thread(run)


DATAGRAM = """
import socket
def handler(event, context):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"hello", ("127.0.0.1", 2000))
"""


async def test_datagrams_can_be_taken_at_any_port(private: Make) -> None:
    async with Environment(private(DATAGRAM)) as environment:
        assert environment._premises is not None
        assert environment._premises.room is not None
        with await environment._premises.room.network.datagrams(2000) as daemon:
            await environment.invoke(b"{}")
            async with asyncio.timeout(10):
                assert await asyncio.get_running_loop().sock_recv(daemon, 100) == b"hello"


async def test_where_it_is_not_possible_the_error_says_so(
    write_function: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAMBENT_LAB_FILES", "folders")
    spec = write_function("def handler(event, context): pass\n", name="net", network="private")
    with pytest.raises(LabError, match=r"no private network .*choose the network 'host'"):
        async with Environment(spec):
            pass
    with pytest.raises(UsageError, match="'host' or 'private'"):
        write_function("", name="net", network="none")


async def test_a_forwarded_port_passes_everything_on_and_the_end_too() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"<" + await reader.read() + b">")
        writer.close()

    class Elsewhere(HostNetwork):
        async def listen(self, port: int, backlog: int = 256) -> socket.socket:
            return await super().listen(0, backlog)

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    forwarding = await Forwarding.start(Elsewhere(), port)
    assert forwarding._server is not None
    entrance = forwarding._server.sockets[0].getsockname()[1]
    data = bytes(range(256)) * 4096
    reader, writer = await asyncio.open_connection("127.0.0.1", entrance)
    writer.write(data)
    writer.write_eof()
    async with asyncio.timeout(20):
        assert await reader.read() == b"<" + data + b">"
    writer.close()
    server.close()
    await server.wait_closed()
    reader, writer = await asyncio.open_connection("127.0.0.1", entrance)  # nobody is behind it any more
    async with asyncio.timeout(20):
        assert await reader.read() == b""
    writer.close()
    await forwarding.close()
    await forwarding.close()


def test_invoke_offers_it(tmp_path: Path, private: Make) -> None:
    from click.testing import CliRunner

    from lambent_lab.commands.invoke import command

    (tmp_path / "app.py").write_text(
        "import os\ndef handler(e, c): return os.environ['AWS_LAMBDA_RUNTIME_API']\n"
    )
    done = CliRunner().invoke(
        command, [f"{tmp_path}/app.handler", "--network", "private", "--json"], env={"HOME": str(tmp_path)}
    )
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["payload"] == "127.0.0.1:9001"
    assert "own" in document["box"]["network"]
