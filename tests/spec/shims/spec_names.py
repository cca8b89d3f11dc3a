"""What the fragments among the specifications' blocks use and do not show: invoking, deploying, breaking.

AWS is the lab, through boto3 and with credentials that nobody checks.
"""

from __future__ import annotations

import atexit
import io
import json
import os
import socket
import threading
import zipfile
from contextlib import contextmanager
from functools import cache, partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab_exit import at_exit  # type: ignore[import-not-found]  # from this folder

from lambent_lab import Lab

if TYPE_CHECKING:
    from collections.abc import Iterator

CODE = Path(os.environ["LAMBENT_SPEC_CODE"])
_current = ["working_sdk_test"]


@cache
def _lab() -> Lab:
    lab = Lab()
    at_exit(lab.close)
    return lab.__enter__()


@cache
def _url() -> str:
    lab = _lab()
    _function("working_sdk_test", "working_sdk_test.lambda_handler")
    return lab.serve().url


def _function(name: str, handler: str, memory: int = 256, **env: str) -> None:
    env["PYTHONPATH"] = os.environ["LAMBENT_SPEC_PATH"]
    _lab().function(name, code=CODE, handler=handler, memory=memory, timeout=10, env=env)


@cache
def _client(region: str) -> Any:
    import boto3
    from botocore.config import Config

    return boto3.client(
        "lambda",
        endpoint_url=_url(),
        region_name=region,
        aws_access_key_id="any",
        aws_secret_access_key="any",
        config=Config(max_pool_connections=20, retries={"max_attempts": 0}),
    )


def _invoke(name: str, payload: object, region: str = "us-east-1") -> Any:
    answer = _client(region).invoke(FunctionName=name, Payload=json.dumps(payload))
    assert "FunctionError" not in answer, answer["Payload"].read()
    return json.load(answer["Payload"])


def invoke_lambda_function(payload: object) -> Any:
    """Invoke the function that the block is about, and return its response."""
    _url()
    return _invoke(_current[-1], payload)


def test_lambda_deployment(region: str) -> None:
    """Deploy the function to a region and try it there."""
    assert os.environ["AWS_DEFAULT_REGION"] == region
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.write(CODE / "working_sdk_test.py", "app.py")
    name = f"deployed-to-{region}"
    client = _client(region)
    client.create_function(
        FunctionName=name,
        Runtime="python{}.{}".format(*__import__("sys").version_info[:2]),
        Role="arn:aws:iam::123456789012:role/any",
        Handler="app.lambda_handler",
        Code={"ZipFile": package.getvalue()},
        Timeout=10,
        MemorySize=256,
        Environment={"Variables": {"PYTHONPATH": os.environ["LAMBENT_SPEC_PATH"]}},
    )
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    assert _invoke(name, {"region": region}, region)["statusCode"] == 200


@contextmanager
def inject_failure(kind: str) -> Iterator[None]:
    """Have the function meet a failure: its collector hangs or is gone, its memory or its disk is full."""
    name = f"with-{kind.replace('_', '-')}"
    _current.append(name)
    _url()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1] if kind == "network_timeout" else 9  # nobody listens there
        _function(
            name,
            "failing.lambda_handler",
            128,
            FAILURE=kind,
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}",
        )
        try:
            yield
        finally:
            _current.pop()


class _Keeping(BaseHTTPRequestHandler):
    kept: list[tuple[str, Any]]

    def do_POST(self) -> None:
        """Keep what comes."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.kept.append((self.path, json.loads(body)))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def monitoring() -> tuple[str, list[tuple[str, Any]]]:
    """Start a monitoring system; return its URL and the list of what reaches it: path and JSON."""
    kept: list[tuple[str, Any]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Keeping", (_Keeping,), {"kept": kept}))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}", kept


def coralogix() -> tuple[str, Any, list[Any]]:
    """Start an OTLP/gRPC receiver with TLS; return its address, credentials to reach it, and what it gets."""
    from concurrent.futures import ThreadPoolExecutor

    import grpc
    import trustme
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

    received: list[Any] = []

    class Service(trace_service_pb2_grpc.TraceServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:  # noqa: N802  # the protocol's name
            metadata = dict(context.invocation_metadata())
            assert metadata["authorization"] == "Bearer cxtp_test"
            received.extend(
                span.name
                for resource in request.resource_spans
                for scope in resource.scope_spans
                for span in scope.spans
            )
            return trace_service_pb2.ExportTraceServiceResponse()

    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    server = grpc.server(ThreadPoolExecutor(2))
    add: Any = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
    add(Service(), server)
    pair = (certificate.private_key_pem.bytes(), certificate.cert_chain_pems[0].bytes())
    port = server.add_secure_port("localhost:0", grpc.ssl_server_credentials([pair]))
    server.start()
    credentials = partial(grpc.ssl_channel_credentials, authority.cert_pem.bytes())
    atexit.register(server.stop, 1)
    return f"localhost:{port}", credentials, received
