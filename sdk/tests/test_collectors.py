"""A collector that is not well: the response is unchanged and in time, and one line says what is lost."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest
from sdk.tests.test_fan_out import hanging

import lambent
from lambent.testing import LambdaContext

if TYPE_CHECKING:
    from pathlib import Path

    from sdk.tests.exporters.conftest import StartServer

SECRET = "hush-4711"
RESPONSE = {"statusCode": 200, "body": "ok"}


def response_of(status: str, body: bytes = b"") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What other processes have left in /tmp is no matter of these tests."""
    monkeypatch.setenv("LAMBENT_RECORDER_FOLDER", str(tmp_path))


def invoke(url: str, monkeypatch: pytest.MonkeyPatch, timeout: float = 3.0) -> float:
    """Run a traced handler once against the collector; return the seconds that it took."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"authorization=Bearer%20{SECRET}")
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "orders")
    tracer = lambent.init()

    @tracer.handler
    def handler(event: object, context: object) -> object:
        with tracer.trace("child"):
            return RESPONSE

    start = time.monotonic()
    assert handler({}, LambdaContext(timeout=timeout)) is RESPONSE
    taken = time.monotonic() - start
    tracer.close()
    return taken


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1, err
    assert err.startswith("lambent: lost 2 of 2 spans: ")
    assert SECRET not in err
    return err


def two_lines(capsys: pytest.CaptureFixture[str]) -> str:
    """What is kept for another try, and given up when the tracer is closed."""
    out, err = capsys.readouterr()
    assert out == ""
    kept, given_up = err.splitlines()
    assert kept.startswith("lambent: kept 2 of 2 spans for another try: ")
    assert given_up.startswith("lambent: gave up 2 of 2 spans: ")
    assert SECRET not in err
    return kept


def test_nothing_listens(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    assert invoke(url, monkeypatch) < 2.5
    assert url in two_lines(capsys)


def test_a_hanging_collector(
    serve: StartServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve(hanging)
    # Half a second before the deadline less the margin of 100 ms; the collector never answers.
    assert 0.2 < invoke(server.base, monkeypatch, timeout=0.5) < 10
    assert server.base in one_line(capsys)


def test_a_failing_collector(
    serve: StartServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve(response_of("500 Internal Server Error", b"secret " + SECRET.encode()))
    assert invoke(server.base, monkeypatch) < 2.5
    assert "500" in one_line(capsys)
    assert len(server.requests) == 1


def test_a_collector_that_is_busy(
    serve: StartServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve(response_of("503 Service Unavailable"))
    assert invoke(server.base, monkeypatch) < 2.5
    assert "503" in two_lines(capsys)


def test_a_collector_that_talks_nonsense(
    serve: StartServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve(b"\x00\x01nonsense\r\n\r\n")
    assert invoke(server.base, monkeypatch) < 2.5
    one_line(capsys)


def test_a_collector_that_is_well(
    serve: StartServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve(response_of("200 OK"))
    invoke(server.base, monkeypatch)
    assert len(server.requests) == 1
    assert capsys.readouterr() == ("", "")


def test_a_name_that_does_not_resolve(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> object:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    invoke("http://collector.invalid:4318", monkeypatch)
    assert "collector.invalid" in two_lines(capsys)


def test_no_collector_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    from lambent.exporters import _target

    monkeypatch.setattr(_target, "_LOCAL", f"http://127.0.0.1:{port}")
    tracer = lambent.init()
    tracer.start_span("s").end()
    assert tracer.force_flush() is False
    tracer.close()
    assert capsys.readouterr() == ("", "")
