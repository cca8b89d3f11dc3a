"""A minimal Lambda Runtime and Extensions API for the official runtime client, on blocking sockets.

Only what a measured function needs: `next`, `response`, `error`, and for internal extensions `register` and
`event/next`. An invocation is handed out when the runtime and every registered extension wait for it, as in
Lambda.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:bench"


class FunctionFailedError(Exception):
    """The function ended, hung or answered with an error. The message says which."""


class RuntimeApi:
    """The API of one environment. Close it after its process has ended."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0), backlog=16)
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        self.first_next_ns: int | None = None
        self._changed = threading.Condition()
        self._runtime_waits = False
        self._extensions: dict[str, bool] = {}
        self._invocation: tuple[str, bytes] | None = None
        self._number = 0
        self._responses: dict[str, tuple[bool, bytes]] = {}
        self._init_error: str | None = None
        self._closed = False
        self._connections: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    # The run's side

    def wait_ready(self, timeout: float, alive: Callable[[], bool]) -> None:
        """Return when the function asks for its first invocation."""
        self._wait(lambda: self._runtime_waits, timeout, alive, "init")

    def invoke(self, payload: object, timeout: float, alive: Callable[[], bool]) -> object:
        """Hand out one invocation and return its parsed response.

        Raises FunctionFailedError when the function fails, ends, or takes longer than `timeout` seconds.
        """
        self._wait(
            lambda: self._runtime_waits and all(self._extensions.values()),
            timeout,
            alive,
            "the wait for the next invocation",
        )
        with self._changed:
            self._number += 1
            request_id = f"8f507cfc-0000-4697-b07a-{self._number:012d}"
            self._invocation = (request_id, json.dumps(payload).encode())
            self._runtime_waits = False
            for name in self._extensions:
                self._extensions[name] = False
            self._changed.notify_all()
        self._wait(lambda: request_id in self._responses, timeout, alive, "the invocation")
        good, body = self._responses.pop(request_id)
        if not good:
            raise FunctionFailedError(f"the function raised: {body.decode(errors='replace')[:400]}")
        return json.loads(body)

    def settle(self, timeout: float, alive: Callable[[], bool]) -> None:
        """Return when the runtime and its extensions wait again: everything after the response is done."""
        self._wait(
            lambda: self._runtime_waits and all(self._extensions.values()), timeout, alive, "the work after"
        )

    def close(self) -> None:
        """Close every connection."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._server.close()
        for connection in self._connections:
            connection.close()

    def _wait(self, ready: Callable[[], bool], timeout: float, alive: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + timeout
        with self._changed:
            while not ready():
                if self._init_error is not None:
                    raise FunctionFailedError(f"init failed: {self._init_error}")
                if not alive():
                    raise FunctionFailedError(f"the process ended during {what}")
                if time.monotonic() > end:
                    raise FunctionFailedError(f"{what} took longer than {timeout:.0f} s")
                self._changed.wait(0.05)

    # The function's side

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        buffer = b""
        try:
            while True:
                while (end := buffer.find(b"\r\n\r\n")) < 0:
                    chunk = connection.recv(65536)
                    if not chunk:
                        return
                    buffer += chunk
                first, *lines = buffer[:end].decode("latin-1").split("\r\n")
                method, path, _ = first.split(" ")
                headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines)}
                length = int(headers.get("content-length", "0"))
                body = buffer[end + 4 :]
                while len(body) < length:
                    chunk = connection.recv(65536)
                    if not chunk:
                        return
                    body += chunk
                body, buffer = body[:length], body[length:]
                reply = self._answer(method, path, headers, body)
                if reply is None:
                    return
                connection.sendall(reply)
        except (OSError, ValueError):
            return  # the function's process has ended, which the run notices by itself

    def _answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> bytes | None:
        action = (method, path.rpartition("/")[2])
        if action == ("GET", "next"):
            if "/extension/" in path:
                return self._extension_next(headers.get("lambda-extension-identifier", ""))
            return self._runtime_next()
        if action == ("POST", "register"):
            name = f"extension-{len(self._extensions) + 1}"
            with self._changed:
                self._extensions[name] = False
            described = json.dumps(
                {"functionName": "bench", "functionVersion": "$LATEST", "handler": "app.handler"}
            )
            return _reply(200, described.encode(), {"Lambda-Extension-Identifier": name})
        with self._changed:
            if path.endswith("/init/error"):
                self._init_error = body.decode(errors="replace")[:600]
            elif action[1] in ("response", "error"):
                self._responses[path.split("/")[-2]] = (action[1] == "response", body)
            else:
                return _reply(404, b"{}")
            self._changed.notify_all()
        return _reply(202, b'{"status":"OK"}')

    def _runtime_next(self) -> bytes | None:
        now = time.perf_counter_ns()
        with self._changed:
            if self.first_next_ns is None:
                self.first_next_ns = now
            self._runtime_waits = True
            self._changed.notify_all()
            while self._runtime_waits and not self._closed:
                self._changed.wait(1)
            if self._closed or self._invocation is None:
                return None
            request_id, payload = self._invocation
            number = self._number
        return _reply(
            200,
            payload,
            {
                "Lambda-Runtime-Aws-Request-Id": request_id,
                "Lambda-Runtime-Deadline-Ms": str(int(time.time() * 1000) + 60_000),
                "Lambda-Runtime-Invoked-Function-Arn": ARN,
                "Lambda-Runtime-Trace-Id": trace_header(number),
            },
        )

    def _extension_next(self, name: str) -> bytes | None:
        with self._changed:
            self._extensions[name] = True
            self._changed.notify_all()
            while self._extensions[name] and not self._closed:
                self._changed.wait(1)
            if self._closed or self._invocation is None:
                return None
            request_id = self._invocation[0]
        event = {
            "eventType": "INVOKE",
            "requestId": request_id,
            "deadlineMs": int(time.time() * 1000) + 60_000,
        }
        return _reply(200, json.dumps(event).encode())


def trace_header(number: int) -> str:
    """A sampled X-Ray header, another trace for each invocation."""
    return f"Root=1-67891233-{number:024x};Parent=53995c3f42cd8ad8;Sampled=1"


def _reply(status: int, body: bytes, headers: dict[str, str] | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status} OK", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
