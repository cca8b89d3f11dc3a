"""Programs as users write them, each in a process of its own, and the traces that leave them.

A program exports over OTLP/HTTP to a collector of the test's, decoded with opentelemetry-proto. The servers
that the libraries talk to are real ones, on the loopback.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

import lambent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")


@dataclass
class Recorded:
    """One span as the collector got it."""

    name: str
    kind: str
    scope: str
    version: str
    trace_id: str
    span_id: str
    parent_id: str
    start: int
    end: int
    error: bool
    attributes: dict[str, Any]
    service: str
    children: list[Recorded] = field(default_factory=list)

    def outline(self) -> list[str]:
        """Return the span and those below it, a line each: who made it, its name and kind."""
        who = self.scope.removeprefix("opentelemetry.instrumentation.")
        below = [line for child in self.children for line in child.outline()]
        return [
            f"{who}: {self.name} {self.kind}{' failed' if self.error else ''}",
            *[f"  {s}" for s in below],
        ]


@dataclass
class Run:
    """What a program printed, as JSON, and the spans that left it."""

    output: Any
    spans: list[Recorded]
    requests: int

    @property
    def roots(self) -> list[Recorded]:
        """The spans whose parent is not among them, oldest first."""
        known = {span.span_id for span in self.spans}
        return [span for span in self.spans if span.parent_id not in known]

    @property
    def outline(self) -> list[str]:
        """The trees of all spans, a line each."""
        return [line for root in self.roots for line in root.outline()]

    def one(self, name: str) -> Recorded:
        """Return the only span of this name."""
        (found,) = [span for span in self.spans if span.name == name]
        return found


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, kind) if kind else None


def _decode(bodies: list[bytes]) -> list[Recorded]:
    spans = []
    for body in bodies:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            about = {each.key: _value(each.value) for each in resource.resource.attributes}
            spans += [
                Recorded(
                    span.name,
                    KINDS[span.kind],
                    scope.scope.name,
                    scope.scope.version,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                    span.status.code == 2,
                    {each.key: _value(each.value) for each in span.attributes},
                    about["service.name"],
                )
                for scope in resource.scope_spans
                for span in scope.spans
            ]
    spans.sort(key=lambda span: span.start)
    by_id = {span.span_id: span for span in spans}
    assert len(by_id) == len(spans), "a span was delivered twice"
    for span in spans:
        if span.parent_id in by_id:
            by_id[span.parent_id].children.append(span)
    return spans


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    bodies: ClassVar[list[bytes]]

    def do_GET(self) -> None:
        """Answer with the headers of the request."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/v1/traces":
            self.bodies.append(body)
            answer = b""
        else:
            answer = json.dumps({name.lower(): value for name, value in self.headers.items()}).encode()
        self.send_response(500 if self.path.startswith("/fail") else 200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_GET  # noqa: N815  # http.server's name

    def log_message(self, *args: object) -> None:
        """Print nothing."""


Program = "Callable[..., Run]"


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Run programs; `{url}` is a server that answers with the headers of each request."""
    handler: Any = type("Handler", (_Handler,), {"bodies": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}"

    def run(source: str, instrument: str = "", *, said: str = "", **env: str) -> Run:
        handler.bodies.clear()
        path = tmp_path / "app.py"
        path.write_text(source.replace("{url}", url))
        done = subprocess.run(
            [sys.executable, str(path)],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(Path(lambent.__file__).parents[1]),
                "PYTHONDONTWRITEBYTECODE": "1",
                "TMPDIR": str(tmp_path),
                "AWS_LAMBDA_FUNCTION_NAME": "shop",
                "OTEL_EXPORTER_OTLP_ENDPOINT": url,
                "OTEL_EXPORTER_OTLP_TIMEOUT": "30000",
                "LAMBENT_INSTRUMENT": instrument,
                **env,
            },
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == said
        output = json.loads(done.stdout) if done.stdout else None
        return Run(output, _decode(handler.bodies), len(handler.bodies))

    yield run
    server.shutdown()
    server.server_close()
    thread.join()
