"""The two servers of the benchmark, spoken to over loopback as the measured processes speak to them."""

from __future__ import annotations

import json
import socket
import threading
from http.client import HTTPConnection
from typing import TYPE_CHECKING

import pytest
from benchmarks.harness.collector import Collector
from benchmarks.harness.runtime_api import FunctionFailedError, RuntimeApi

if TYPE_CHECKING:
    from collections.abc import Iterator

OTLP_JSON = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [{"name": "a"}]}]}]}).encode()


@pytest.fixture
def api() -> Iterator[RuntimeApi]:
    made = RuntimeApi()
    yield made
    made.close()


def call(
    address: str, method: str, path: str, body: bytes = b"", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = HTTPConnection(address, timeout=10)
    try:
        connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
        response = connection.getresponse()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
    finally:
        connection.close()


def test_the_collector_counts_requests_and_datagrams_and_forgets_them() -> None:
    with Collector() as collector:
        address = f"127.0.0.1:{collector.port}"
        for _ in range(2):
            status, *_ = call(address, "POST", "/v1/traces", OTLP_JSON, Content_Type="application/json")
            assert status == 200
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(
                b'{"format":"json","version":1}\n{"name":"b"}', ("127.0.0.1", collector.datagram_port)
            )
        seen: dict[str, int] = {}
        for _ in range(100):  # a datagram has no answer to wait for
            found = collector.take()["spans"]
            assert isinstance(found, dict)
            seen = {name: seen.get(name, 0) + found.get(name, 0) for name in {*seen, *found}}
            if seen.get("b"):
                break
        assert seen == {"a": 2, "b": 1}
        assert collector.take()["requests"] == 0


def test_the_collector_reads_chunked_bodies_and_says_what_it_cannot_read() -> None:
    with (
        Collector() as collector,
        socket.create_connection(("127.0.0.1", collector.port), timeout=10) as sender,
    ):
        head = b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        half = len(OTLP_JSON) // 2
        chunks = [OTLP_JSON[:half], OTLP_JSON[half:], b""]
        body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
        sender.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n" + body)
        assert sender.recv(4096).startswith(b"HTTP/1.1 200")
        sender.sendall(head + b"Content-Length: 3\r\n\r\n{[}")
        assert sender.recv(4096).startswith(b"HTTP/1.1 200")
        found = collector.take()
        assert found["spans"] == {"a": 1}
        assert len(found["unreadable"]) == 1  # type: ignore[arg-type] # a list, in a dict of objects


def test_an_invocation_goes_out_when_runtime_and_extension_both_wait(api: RuntimeApi) -> None:
    _, headers, _ = call(api.address, "POST", "/2020-01-01/extension/register", b"{}")
    identifier = headers["lambda-extension-identifier"]
    events: list[str] = []

    def extension() -> None:
        *_, body = call(
            api.address, "GET", "/2020-01-01/extension/event/next", Lambda_Extension_Identifier=identifier
        )
        events.append(json.loads(body)["eventType"])

    def runtime() -> None:
        _, got, body = call(api.address, "GET", "/2018-06-01/runtime/invocation/next")
        events.append(body.decode())
        path = f"/2018-06-01/runtime/invocation/{got['lambda-runtime-aws-request-id']}/response"
        call(api.address, "POST", path, b'"done"')

    threads = [threading.Thread(target=work, daemon=True) for work in (extension, runtime)]
    for thread in threads:
        thread.start()
    assert api.invoke({"x": 1}, 10, lambda: True) == "done"
    for thread in threads:
        thread.join(10)
    assert sorted(events) == ["INVOKE", '{"x": 1}']
    assert api.first_next_ns is not None


def test_an_error_in_init_ends_the_wait_with_its_text(api: RuntimeApi) -> None:
    call(api.address, "POST", "/2018-06-01/runtime/init/error", b'{"errorMessage": "no module named x"}')
    with pytest.raises(FunctionFailedError, match="no module named x"):
        api.wait_ready(10, lambda: True)


def test_a_process_that_ended_is_noticed(api: RuntimeApi) -> None:
    with pytest.raises(FunctionFailedError, match="the process ended during init"):
        api.wait_ready(10, lambda: False)


def test_a_function_that_hangs_is_not_waited_for_without_end(api: RuntimeApi) -> None:
    with pytest.raises(FunctionFailedError, match="init took longer"):
        api.wait_ready(0.2, lambda: True)
