"""Nothing that is a secret appears in anything that is printed, whatever goes wrong."""

from __future__ import annotations

import base64
import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest
from sdk.tests.exporters.conftest import Peer, Server, answering

import lambent
from lambent.exporters import Exporter, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CANARY = "canary/4711+abcdefghij"
ENCODED = "canary%2F4711%2Babcdefghij"


def quoting(status: str) -> Callable[[Server, Peer], None]:
    """Return a script that answers with everything it was sent."""

    def script(server: Server, peer: Peer) -> None:
        while (request := peer.request()) is not None:
            body = f"{request.line} {request.headers}".encode()
            head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nLocation: http://x/?k={CANARY}\r\n"
            peer.send(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    return script


def resetting(server: Server, peer: Peer) -> None:
    peer.request()
    peer.reset()


SCRIPTS: dict[str, Callable[[Server, Peer], None]] = {
    "400": quoting("400 Bad Request"),
    "401": quoting("401 Unauthorized"),
    "307": quoting("307 Temporary Redirect"),
    "500": quoting("500 Oops"),
    "nonsense": answering(f"SSH-2.0 {CANARY}\r\n\r\n".encode() + b"connection: close"),
    "reset": resetting,
}
WAYS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "headers": ({"endpoint": "{url}", "headers": {"x-key": CANARY}}, {}),
    "headers of the environment": (
        {"endpoint": "{url}"},
        {"OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer {ENCODED}"},
    ),
    "api_key": ({"server_url": "{url}", "api_key": CANARY}, {}),
    "user info": ({"endpoint": f"http://user:{ENCODED}@{{authority}}/v1/traces"}, {}),
    "query": ({"endpoint": f"{{url}}/v1/traces?token={ENCODED}"}, {}),
    "path": ({"endpoint": f"{{url}}/{ENCODED}/v1/traces"}, {}),
    "backend": ({"backend": "honeycomb", "server_url": "{url}"}, {"HONEYCOMB_API_KEY": CANARY}),
    "basic": (
        {"backend": "langfuse", "server_url": "{url}"},
        {"LANGFUSE_PUBLIC_KEY": "pk", "LANGFUSE_SECRET_KEY": CANARY},
    ),
    "signed": (
        {"backend": "xray", "server_url": "{url}"},
        {
            "AWS_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": "AKID",
            "AWS_SECRET_ACCESS_KEY": CANARY,
            "AWS_SESSION_TOKEN": CANARY,
        },
    ),
    "grpc": ({"endpoint": "{url}", "protocol": "grpc", "headers": {"x-key": CANARY}}, {}),
}


def assert_clean(text: str) -> None:
    assert CANARY not in text
    assert ENCODED not in text
    for pair in (f"user:{CANARY}", f"pk:{CANARY}"):
        assert base64.b64encode(pair.encode()).decode() not in text


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("script", [*SCRIPTS, "refused"])
def test_a_failing_export(
    way: str,
    script: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    server = Server(SCRIPTS.get(script, answering(b"")))
    authority = f"127.0.0.1:{server.port}"
    arguments, environ = WAYS[way]
    if script == "refused":
        server.close()
    for name, value in {**environ, "LOG_LEVEL": "DEBUG"}.items():
        monkeypatch.setenv(name, value)
    given = {
        name: value.format(url=f"http://{authority}", authority=authority)
        if isinstance(value, str)
        else value
        for name, value in arguments.items()
    }
    tracer = lambent.init(timeout=0.4, exporter="otlp", **given)
    assert_clean(repr(tracer.config))
    tracer.start_span("a").end()
    assert tracer.force_flush() is False
    assert_clean(repr(tracer.delivery.exporters))
    assert_clean(repr(getattr(tracer, "stats", lambda: "")()))
    tracer.close()
    if script != "refused":
        server.close()
    said = capfd.readouterr()
    assert said.out == ""
    assert "1 of 1 spans" in said.err  # lost at once, or given up in the end
    assert_clean(said.err)


class Raising(Exporter):
    """A user's exporter that quotes what it was configured with."""

    def export(self, spans: Sequence[Any], timeout: float) -> Result:
        raise RuntimeError(f"POST https://x/?api_key={CANARY} failed with Authorization: Bearer {CANARY}")

    def close(self) -> None:
        raise RuntimeError(CANARY)


@pytest.mark.parametrize("name", ["MY_API_KEY", "SOME_TOKEN", "DB_PASSWORD"])
def test_an_exception_of_somebody_elses(
    name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, CANARY)
    monkeypatch.setenv("LOG_LEVEL", "DEBUG")
    tracer = lambent.init(exporter=Raising())
    tracer.start_span("a").end()
    assert tracer.force_flush() is False
    tracer.close()
    said = capfd.readouterr().err
    assert "Bearer ****" in said
    assert_clean(said)


WRONG: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({}, {"OTEL_EXPORTER_OTLP_ENDPOINT": f"ftp://u:{CANARY}@h"}),
    ({}, {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://u:{CANARY}@h:port"}),
    ({}, {"OTEL_EXPORTER_OTLP_HEADERS": CANARY}),
    ({}, {"OTEL_EXPORTER_OTLP_HEADERS": f"a b={ENCODED}"}),
    ({"headers": {"x": f"{CANARY}\n"}}, {}),
    ({"headers": {"x": f"{CANARY}ł"}}, {}),
    ({"protocol": "grpc"}, {"OTEL_EXPORTER_OTLP_ENDPOINT": f"ws://u:{CANARY}@h"}),
    ({}, {"LAMBENT_PROXY": f"socks://u:{CANARY}@h"}),
    ({"exporter": "xray_udp"}, {"AWS_XRAY_DAEMON_ADDRESS": f"u:{CANARY}@h:1"}),
    ({}, {"HH_API_KEY": f"{CANARY}\u20ac"}),
    ({"backend": "xray", "server_url": "http://127.0.0.1:9"},
     {"AWS_REGION": "r", "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://u:{CANARY}@example.org/"}),
]  # fmt: skip  # a table


@pytest.mark.parametrize(("arguments", "environ"), WRONG)
def test_a_setting_that_cannot_work(
    arguments: dict[str, Any],
    environ: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    tracer = lambent.init(timeout=0.4, **arguments)
    tracer.start_span("a").end()
    tracer.force_flush()
    assert_clean(repr(tracer.config))
    assert_clean(repr(tracer.delivery.exporters))
    tracer.close()
    said = capfd.readouterr()
    assert_clean(said.out)
    assert_clean(said.err)
    assert "lambent: " in said.err


def test_the_stdout_line_holds_no_headers(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"authorization={ENCODED}")
    monkeypatch.setenv("HH_PROJECT", "p")
    tracer = lambent.init(exporter="stdout")
    tracer.start_span("a").end()
    assert tracer.force_flush()
    tracer.close()
    said = capfd.readouterr().out
    assert "__otel_otlp_stdout" in said
    assert_clean(said)
    payload = gzip.decompress(base64.b64decode(json.loads(said)["payload"]))
    assert b"service.name" in payload
    assert_clean(payload.decode("latin-1"))
