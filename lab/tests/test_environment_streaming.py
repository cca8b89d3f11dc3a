"""Environments whose function streams its response: what callers get, when, and how it can end."""

from __future__ import annotations

import asyncio
import functools
import json
import re
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from lambent_lab.environment import Environment, Invocation
from lambent_lab.errors import LabError
from lambent_lab.function import FunctionSpec
from lambent_lab.protocol.runtime import MAX_RESPONSE
from lambent_lab.protocol.streaming import StreamLimits

Make = Callable[..., FunctionSpec]
MIB = 1024 * 1024
FAST = StreamLimits(rate=None)

# The module is a runtime of its own: it is never done being imported. An event is Python that it runs.
RUNTIME = """
import base64, http.client, json, os, signal, socket, sys, time
HOST = os.environ["AWS_LAMBDA_RUNTIME_API"]
class Stream:
    def __init__(self, mode="streaming", kind="application/octet-stream", extra=(), id=None):
        self.socket = socket.create_connection(HOST.split(":"))
        lines = [f"POST /2018-06-01/runtime/invocation/{id or REQUEST}/response HTTP/1.1", "Host: x",
                 f"Lambda-Runtime-Function-Response-Mode: {mode}", f"Content-Type: {kind}",
                 "Transfer-Encoding: chunked", *extra, "", ""]
        self.socket.sendall("\\r\\n".join(lines).encode())
    def send(self, data):
        self.socket.sendall(b"%x\\r\\n%b\\r\\n" % (len(data), data))
    def end(self, *trailers):
        self.socket.sendall(("0\\r\\n" + "".join(t + "\\r\\n" for t in trailers) + "\\r\\n").encode())
        return self.answer()
    def answer(self):
        response = http.client.HTTPResponse(self.socket)
        response.begin()
        text = response.read().decode()
        self.socket.close()
        print("ANSWER", response.status, json.loads(text).get("errorType"), flush=True)
        return response.status
def call(method, path, body=None, **headers):
    connection = http.client.HTTPConnection(HOST)
    connection.request(method, "/2018-06-01/runtime/" + path, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.getheader("Lambda-Runtime-Aws-Request-Id"), answer.read().decode()
while True:
    _, REQUEST, EVENT = call("GET", "invocation/next")
    exec(json.loads(EVENT))
"""


class Sink:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.began: list[tuple[str, bool]] = []
        self.pieces: asyncio.Queue[bytes] = asyncio.Queue()
        self.data = b""
        self.ends: list[tuple[str | None, bytes]] = []

    def begin(self, content_type: str, streaming: bool) -> None:
        assert not self.began
        self.began.append((content_type, streaming))

    async def write(self, data: bytes) -> None:
        assert self.began
        assert not self.ends
        self.data += data
        self.pieces.put_nowait(data)

    async def end(self, error_type: str | None, error_body: bytes) -> None:
        self.ends.append((error_type, error_body))


@pytest.fixture
def make(write_function: Make) -> Make:
    return functools.partial(write_function, name="shop", memory_mb=512, timeout_s=20)


@pytest.fixture
def spec(make: Make) -> FunctionSpec:
    return make(RUNTIME)


def event(source: str) -> bytes:
    return json.dumps(source).encode()


async def answers(environment: Environment, result: Invocation) -> list[str]:
    """What the runtime was answered: it writes that into its log, at times after its response is in."""
    after = await environment.invoke(event("call('POST', f'invocation/{REQUEST}/response', b'1')"))
    return [line.removeprefix("ANSWER ") for line in result.log + after.log if line.startswith("ANSWER ")]


async def test_the_caller_has_each_piece_before_the_next_is_made(spec: FunctionSpec) -> None:
    sink, other, let = Sink(), Sink(), asyncio.Queue[None]()

    async def gate(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await let.get()
        writer.close()

    gates = await asyncio.start_server(gate, "127.0.0.1", 0)
    port = gates.sockets[0].getsockname()[1]
    source = (
        "s = Stream(kind='text/event-stream')\n"
        "for n in range(3):\n"
        f"    s.send(b'piece %d' % n)\n    socket.create_connection(('127.0.0.1', {port})).recv(1)\n"
        "s.end()"
    )
    async with gates, Environment(spec) as environment:
        invoking = asyncio.create_task(environment.invoke(event(source), sink=sink))
        async with asyncio.timeout(30):
            for n in range(3):
                assert await sink.pieces.get() == b"piece %d" % n
                assert not invoking.done()
                assert sink.ends == []
                let.put_nowait(None)
            result = await invoking
        said = await answers(environment, result)
        again = await environment.invoke(event("s = Stream()\ns.send(b'once more')\ns.end()"), sink=other)
    assert sink.began == [("text/event-stream", True)]
    assert sink.ends == other.ends == [(None, b"")]
    assert other.data == b"once more"
    assert (result.status, result.function_error, result.payload) == ("success", None, b"")
    assert (result.streamed, result.produced_bytes) == (True, 21)
    assert result.response_ms + result.response_duration_ms == pytest.approx(result.duration_ms, abs=0.01)
    assert said == ["202 None"]
    assert again.status == "success"
    assert not again.cold


async def test_without_a_sink_a_streamed_response_is_collected(spec: FunctionSpec) -> None:
    async with Environment(spec) as environment:
        result = await environment.invoke(event("s = Stream()\ns.send(b'one ')\ns.send(b'two')\ns.end()"))
        limit = f"s = Stream()\nfor n in range(6): s.send(bytes({MIB}))\ns.send(bytes(100))\n"
        await answers(environment, result)
        most = await environment.invoke(event(f"{limit}s.end()"))
        assert await answers(environment, most) == ["202 None"]
        over = await environment.invoke(event(f"{limit}s.send(b'x')\ns.end()"))
        said = await answers(environment, over)
        after = await environment.invoke(event("s = Stream()\ns.end()"))
    assert (result.payload, result.streamed, result.produced_bytes) == (b"one two", True, 7)
    assert (len(most.payload), most.status) == (MAX_RESPONSE, "success")
    assert json.loads(over.payload)["errorType"] == "Function.ResponseSizeTooLarge"
    assert said == ["413 RequestEntityTooLarge"]
    assert (after.payload, after.status, after.cold) == (b"", "success", False)


async def test_a_response_that_is_not_streamed_comes_to_the_sink_in_one_piece(make: Make) -> None:
    sink, failing = Sink(), Sink()
    source = "def handler(event, context):\n    return 1 / event\n"
    async with Environment(make(source)) as environment:
        result = await environment.invoke(b"2", sink=sink)
        failed = await environment.invoke(b"0", sink=failing)
    assert (sink.began, sink.data, sink.ends) == ([("application/json", False)], b"0.5", [(None, b"")])
    assert (result.payload, result.streamed, result.produced_bytes) == (b"0.5", False, 3)
    assert (failing.began, failing.data) == ([], b"")
    assert failing.ends == [("Function.Unknown", failed.payload)]
    assert json.loads(failed.payload)["errorType"] == "ZeroDivisionError"


ERROR = json.dumps({"errorType": "Broken", "errorMessage": "as asked"})
TRAILERS = (
    "'Lambda-Runtime-Function-Error-Type: Function.Broken',"
    f"'Lambda-Runtime-Function-Error-Body: ' + base64.b64encode(b'{ERROR}').decode()"
)


async def test_an_error_midway_comes_with_the_end(spec: FunctionSpec) -> None:
    sink = Sink()
    source = f"s = Stream()\ns.send(b'begun')\ns.end({TRAILERS})"
    async with Environment(spec) as environment:
        result = await environment.invoke(event(source), sink=sink)
        said = await answers(environment, result)
        collected = await environment.invoke(event(source))
    assert (sink.data, sink.ends) == (b"begun", [("Function.Broken", ERROR.encode())])
    for one in (result, collected):
        assert (one.status, one.function_error, one.payload) == ("error", "Unhandled", ERROR.encode())
    assert said == ["202 None"]


async def test_a_connection_that_breaks_off_truncates_the_response(spec: FunctionSpec) -> None:
    sink, reset = Sink(), Sink()
    async with Environment(spec) as environment:
        result = await environment.invoke(
            event("s = Stream()\ns.send(b'begun')\ns.socket.shutdown(1)\ns.answer()"), sink=sink
        )
        said = await answers(environment, result)
        await environment.invoke(
            event(
                "s = Stream()\ns.send(b'begun')\ntime.sleep(0.3)\n"
                "s.socket.setsockopt(1, 13, b'\\1\\0\\0\\0\\0\\0\\0\\0')\ns.socket.close()"
            ),
            sink=reset,
        )
        after = await environment.invoke(event("s = Stream()\ns.send(b'fine')\ns.end()"))
    for one in (sink, reset):
        assert one.data == b"begun"
        assert [kind for kind, _ in one.ends] == ["Runtime.TruncatedResponse"]
    assert said == ["400 TruncatedHTTPRequest"]
    assert (result.status, result.function_error) == ("error", "Unhandled")
    assert json.loads(result.payload)["errorType"] == "Runtime.TruncatedResponse"
    assert "Status: error\tError Type: Runtime.TruncatedResponse" in result.log[-1]
    assert (after.payload, after.cold) == (b"fine", False)


@pytest.mark.parametrize(
    ("how", "kind"),
    [
        ("os._exit(3)", "Runtime.ExitError"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "Runtime.ExitError"),
        ("time.sleep(60)", "Sandbox.Timedout"),
    ],
)
async def test_what_was_streamed_before_the_end_of_the_process_stays(make: Make, how: str, kind: str) -> None:
    sink = Sink()
    spec = make(RUNTIME, timeout_s=2)
    async with Environment(spec) as environment:
        result = await environment.invoke(event(f"s = Stream()\ns.send(b'begun')\n{how}"), sink=sink)
        after = await environment.invoke(event("s = Stream()\ns.send(b'fine')\ns.end()"))
    assert (sink.data, sink.ends) == (b"begun", [(kind, result.payload)])
    assert json.loads(result.payload)["errorType"] == kind
    assert (result.streamed, result.produced_bytes) == (True, 5)
    assert (after.payload, after.cold) == (b"fine", True)


async def test_out_of_memory_in_the_middle_of_a_response(make: Make) -> None:
    """The caller keeps what it has, and learns with the end of the stream what has happened."""
    hungry = (
        "s = Stream()\ns.send(b'half')\nheld = []\n"
        "while True:\n    held.append(bytearray(b'x') * 4_000_000)\n    s.send(b'.')"
    )
    sink, after = Sink(), Sink()
    async with asyncio.timeout(60), Environment(make(RUNTIME, memory_mb=128)) as environment:
        result = await environment.invoke(event(hungry), sink=sink)
        again = await environment.invoke(event("s = Stream()\ns.send(b'fine')\ns.end()"), sink=after)
        collected = await environment.invoke(event(hungry))
    assert sink.data.startswith(b"half")
    ((kind, body),) = sink.ends
    assert (kind, json.loads(body)["errorType"]) == ("Runtime.OutOfMemory", "Runtime.OutOfMemory")
    assert (result.status, result.function_error, result.streamed) == ("error", "Unhandled", True)
    assert result.max_memory_mb == 128
    assert re.search(r"Status: error\tError Type: Runtime.OutOfMemory", result.log[-1])
    assert (again.status, again.cold, after.data) == ("success", True, b"fine")
    assert json.loads(collected.payload)["errorType"] == "Runtime.OutOfMemory"


DEAF = """
call('POST', f'invocation/{REQUEST}/response', b'1')
os.closerange(0, 1024)
time.sleep(1000)
"""


async def test_a_runtime_that_hangs_up_for_good_is_not_waited_for(make: Make) -> None:
    async with asyncio.timeout(120), Environment(make(RUNTIME, timeout_s=900)) as environment:
        result = await environment.invoke(event(DEAF))
        assert (result.status, result.payload) == ("success", b"1")
        again = await environment.invoke(event("call('POST', f'invocation/{REQUEST}/response', b'2')"))
    assert (again.status, again.payload, again.cold) == ("success", b"2", True)


async def test_a_runtime_that_takes_its_time_is_waited_for(make: Make) -> None:
    """It has closed everything as well, and yet comes back."""
    late = DEAF.replace("1000", "0.6") + "os.open('/dev/null', os.O_RDWR); os.dup(0); os.dup(0)\n"
    async with asyncio.timeout(120), Environment(make(RUNTIME, timeout_s=60)) as environment:
        assert (await environment.invoke(event(late))).status == "success"
        again = await environment.invoke(event("call('POST', f'invocation/{REQUEST}/response', b'2')"))
    assert (again.payload, again.cold) == (b"2", False)


async def test_a_slow_caller_slows_the_function_down_until_its_timeout(make: Make) -> None:
    spec = make(RUNTIME, timeout_s=2)

    class Stuck(Sink):
        async def write(self, data: bytes) -> None:
            await super().write(data)
            await asyncio.Event().wait()

    sink = Stuck()
    source = "s = Stream()\nfor n in range(64):\n    s.send(bytes(1 << 20))\n    print('SENT', n, flush=True)"
    async with Environment(spec, stream_limits=FAST) as environment:
        result = await environment.invoke(event(source), sink=sink)
    assert [kind for kind, _ in sink.ends] == ["Sandbox.Timedout"]
    assert result.status == "timeout"
    assert 0 < len(sink.data) < 2 * MIB
    assert sum(line.startswith("SENT") for line in result.log) < 40  # the sockets hold a few


async def test_a_caller_that_goes_away_does_not_stop_the_function(spec: FunctionSpec) -> None:
    class Gone(Sink):
        async def write(self, data: bytes) -> None:
            await super().write(data)
            raise ConnectionResetError

    sink = Gone()
    source = "s = Stream()\nfor n in range(10):\n    s.send(b'x' * 100000)\n    time.sleep(0.01)\ns.end()"
    async with Environment(spec) as environment:
        result = await environment.invoke(event(source), sink=sink)
        said = await answers(environment, result)
    assert (result.status, result.produced_bytes) == ("success", 1_000_000)
    assert 0 < len(sink.data) <= 100_000
    assert sink.ends == []
    assert said == ["202 None"]


async def test_a_streamed_response_has_a_size_limit(spec: FunctionSpec) -> None:
    exact, over = Sink(), Sink()
    source = "s = Stream()\nfor n in range(4): s.send(b'%d' % n * 250000)\n"
    async with Environment(spec, stream_limits=StreamLimits(size=1_000_000, rate=None)) as environment:
        most = await environment.invoke(event(f"{source}s.end()"), sink=exact)
        assert await answers(environment, most) == ["202 None"]
        result = await environment.invoke(event(f"{source}s.send(b'4')\ns.end()"), sink=over)
        said = await answers(environment, result)
    assert (len(exact.data), exact.ends, most.status) == (1_000_000, [(None, b"")], "success")
    assert over.data == exact.data
    assert [kind for kind, _ in over.ends] == ["Function.ResponseSizeTooLarge"]
    assert "1000000" in json.loads(result.payload)["errorMessage"]
    assert said == ["413 RequestEntityTooLarge"]


async def test_the_bandwidth_is_limited_after_the_burst(spec: FunctionSpec) -> None:
    limits = StreamLimits(burst=1_000_000, rate=1_000_000.0)
    sink, loop = Sink(), asyncio.get_running_loop()
    async with Environment(spec, stream_limits=limits) as environment:
        began = loop.time()
        result = await environment.invoke(event("s = Stream()\ns.send(bytes(2500000))\ns.end()"), sink=sink)
        took = loop.time() - began
        collected = await environment.invoke(event("s = Stream()\ns.send(bytes(2500000))\ns.end()"))
    assert len(sink.data) == 2_500_000
    assert result.response_duration_ms >= 1490
    assert took >= 1.49
    assert len(collected.payload) == 2_500_000
    assert collected.response_duration_ms < result.response_duration_ms


async def test_no_other_call_is_legal_in_the_middle(spec: FunctionSpec) -> None:
    source = (
        "s = Stream(extra=['Expect: 100-continue'])\n"
        "assert s.socket.recv(100) == b'HTTP/1.1 100 Continue\\r\\n\\r\\n'\ns.send(b'begun')\n"
        "for method, path in (('GET', 'invocation/next'), ('POST', f'invocation/{REQUEST}/error'),\n"
        "                     ('POST', f'invocation/{REQUEST}/response'), ('POST', 'init/error')):\n"
        "    status, _, text = call(method, path, b'{}' if method == 'POST' else None)\n"
        "    print('ANSWER', status, json.loads(text)['errorType'], flush=True)\n"
        "Stream().end()\nStream(id='other').end()\ns.end()\nStream().end()"
    )
    async with Environment(spec) as environment:
        result = await environment.invoke(event(source))
        said = await answers(environment, result)
    illegal = "403 InvalidStateTransition"
    assert said == [*[illegal] * 5, "400 InvalidRequestID", "202 None", illegal]
    assert result.payload == b"begun"


async def test_other_modes_are_refused_and_may_be_corrected(spec: FunctionSpec) -> None:
    others = "for mode in ('buffered', 'Streaming', 'x'): Stream(mode).end()"
    source = f"{others}\ns = Stream()\ns.send(b'good')\ns.end()"
    async with Environment(spec) as environment:
        result = await environment.invoke(event(source))
        said = await answers(environment, result)
    assert said == [*["400 InvalidFunctionResponseMode"] * 3, "202 None"]
    assert result.payload == b"good"


async def test_closing_or_cancelling_in_the_middle_leaves_nothing_waiting(spec: FunctionSpec) -> None:
    source = event("s = Stream()\ns.send(b'begun')\ntime.sleep(60)")
    async with Environment(spec) as environment:
        sink = Sink()
        invoking = asyncio.create_task(environment.invoke(source, sink=sink))
        assert await asyncio.wait_for(sink.pieces.get(), 30) == b"begun"
        invoking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await invoking
        after = await environment.invoke(event("s = Stream()\ns.send(b'fine')\ns.end()"))
        assert after.payload == b"fine"
        closing = Sink()
        invoking = asyncio.create_task(environment.invoke(source, sink=closing))
        assert await asyncio.wait_for(closing.pieces.get(), 30) == b"begun"
    with pytest.raises(LabError, match="closed while the invocation was under way"):
        await invoking


SUBSCRIBER = """
import http.client, json, os, threading, http.server
got = []
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        got.extend(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200); self.send_header("Content-Length", "0"); self.end_headers()
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
def api(method, path, body=None, **headers):
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    connection.request(method, path, body, headers)
    return connection.getresponse()
me = api("POST", "/2020-01-01/extension/register", '{"events":["INVOKE"]}',
         **{"Lambda-Extension-Name": "in"}).getheader("Lambda-Extension-Identifier")
api("PUT", "/2022-07-01/telemetry", json.dumps({"schemaVersion": "2022-12-13", "types": ["platform"],
    "buffering": {"timeoutMs": 25}, "destination": {"protocol": "HTTP",
    "URI": f"http://sandbox.localdomain:{server.server_port}"}}), **{"Lambda-Extension-Identifier": me})
def follow():
    while True:
        api("GET", "/2020-01-01/extension/event/next", **{"Lambda-Extension-Identifier": me}).read()
threading.Thread(target=follow, daemon=True).start()
"""


async def test_telemetry_tells_latency_duration_and_size_in_both_modes(make: Make) -> None:
    spec = make(SUBSCRIBER + RUNTIME)
    streamed = "s = Stream()\ns.send(b'x' * 1000)\ntime.sleep(0.3)\ns.send(b'y' * 500)\ns.end()"
    plain = "time.sleep(0.2)\ncall('POST', f'invocation/{REQUEST}/response', b'z' * 700)"
    tell = "call('POST', f'invocation/{REQUEST}/response', json.dumps(got))"
    async with Environment(spec) as environment:
        one = await environment.invoke(event(streamed), sink=Sink())
        two = await environment.invoke(event(plain))
        await environment.wait_frozen()
        records: list[dict[str, Any]] = json.loads((await environment.invoke(event(tell))).payload)
    done = {r["record"]["requestId"]: r["record"] for r in records if r["type"] == "platform.runtimeDone"}
    for result, size in ((one, 1500), (two, 700)):
        record = done[result.request_id]
        latency, duration = record["spans"]
        assert (latency["name"], duration["name"]) == ("responseLatency", "responseDuration")
        assert record["metrics"]["producedBytes"] == size == result.produced_bytes
        whole = latency["durationMs"] + duration["durationMs"]
        assert whole == pytest.approx(record["metrics"]["durationMs"], abs=0.01)
        assert re.fullmatch(r"\d{4}-.*Z", duration["start"])
        assert duration["start"] >= latency["start"]
    assert done[one.request_id]["spans"][0]["durationMs"] == pytest.approx(one.response_ms, abs=0.01)
    assert done[one.request_id]["spans"][1]["durationMs"] > 250
    assert done[two.request_id]["spans"][0]["durationMs"] > 190
    assert two.response_duration_ms == 0


async def test_a_late_worker_of_a_managed_instance_is_cut_off_and_serves_on(make: Make) -> None:
    spec = make(RUNTIME, timeout_s=1, max_concurrency=2)
    sink = Sink()
    late = "s = Stream()\ns.send(b'begun')\ntime.sleep(2)\ntry: s.end()\nexcept OSError: pass"
    async with Environment(spec) as environment:
        result = await environment.invoke(event(late), sink=sink)
        assert [kind for kind, _ in sink.ends] == ["Sandbox.Timedout"]
        assert sink.data == b"begun"
        assert result.status == "timeout"
        async with asyncio.timeout(30):
            while True:
                after = await environment.invoke(event("s = Stream()\ns.send(b'fine')\ns.end()"))
                if after.status == "success":
                    break
    assert (after.payload, after.cold) == (b"fine", False)


SIZES = """
def handler(event, context):
    if isinstance(event, int):
        return "x" * event
    return len(event)
"""


async def peak_of(environment: Environment, payload: bytes) -> tuple[Invocation, int]:
    tracemalloc.start()
    try:
        result = await environment.invoke(payload)
        return result, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


async def test_the_limits_of_responses_are_exact_and_bodies_are_not_kept_twice(make: Make) -> None:
    async with Environment(make(SIZES, timeout_s=60)) as environment:
        await environment.invoke(b"1")
        most, taken = await peak_of(environment, str(MAX_RESPONSE - 2).encode())
        over, refused = await peak_of(environment, str(MAX_RESPONSE - 1).encode())
        payload = b'"' + b"x" * (6 * MIB - 2) + b'"'
        large, given = await peak_of(environment, payload)
        after = await environment.invoke(b"3")
    assert (most.status, len(most.payload)) == ("success", MAX_RESPONSE)
    assert json.loads(over.payload)["errorType"] == "Function.ResponseSizeTooLarge"
    assert json.loads(large.payload) == 6 * MIB - 2
    assert (after.payload, after.cold) == (b'"xxx"', False)
    assert taken < 2.1 * MAX_RESPONSE  # what came, and once all of it joined
    assert refused < 2.1 * MAX_RESPONSE
    assert given < MIB  # the caller's own bytes are sent


async def test_a_streamed_response_is_kept_nowhere(spec: FunctionSpec) -> None:
    class Counts(Sink):
        size = 0

        async def write(self, data: bytes) -> None:
            self.size += len(data)

    sink = Counts()
    source = "s = Stream()\nfor n in range(128): s.send(bytes(1 << 20))\ns.end()"
    async with Environment(spec, stream_limits=FAST) as environment:
        await environment.invoke(event("s = Stream()\ns.end()"))
        tracemalloc.start()
        try:
            result = await environment.invoke(event(source), sink=sink)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert result.status == "success"
    assert sink.size == result.produced_bytes == 128 * MIB
    assert peak < 4 * MIB
