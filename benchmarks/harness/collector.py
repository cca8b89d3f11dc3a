"""What the tools send to: one process on loopback that answers at once and counts afterwards.

`python -m benchmarks.harness.collector` prints the ports of its HTTP server and of its datagram socket, one a
line, and serves until its standard input closes, so it cannot outlive the run. It answers OTLP requests and
those to a Datadog agent and to HoneyHive; bodies are kept, and decoded when the run asks
(`POST /_bench/take`), outside every clock.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from http.client import HTTPConnection
from pathlib import Path
from typing import Self

from benchmarks.harness import counting

ROOT = Path(__file__).resolve().parents[2]
TAKE = "/_bench/take"
SO_RCVBUFFORCE = 33  # Linux; the socket module does not name it
_OK = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s"


class Inbox:
    """What arrived since the last look."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: list[tuple[str, bytes, bytes]] = []
        self._datagrams: list[bytes] = []

    def post(self, path: str, head: bytes, body: bytes) -> None:
        """Keep one request."""
        with self._lock:
            self._requests.append((path, head, body))

    def datagram(self, body: bytes) -> None:
        """Keep one datagram."""
        with self._lock:
            self._datagrams.append(body)

    def take(self) -> dict[str, object]:
        """Count what arrived and forget it."""
        with self._lock:
            requests, self._requests = self._requests, []
            datagrams, self._datagrams = self._datagrams, []
        names: list[str] = []
        unreadable: list[str] = []
        for path, head, body in requests:
            try:
                names += counting.request(path, _headers(head), body)
            except Exception as error:  # noqa: BLE001 - any decoder may fail in its own way; it is reported
                unreadable.append(f"{path}: {type(error).__name__}: {error}")
        for body in datagrams:
            try:
                names += counting.datagram(body)
            except Exception as error:  # noqa: BLE001 - as above
                unreadable.append(f"datagram: {type(error).__name__}: {error}")
        return {
            "spans": counting.tally(names),
            "requests": len(requests),
            "datagrams": len(datagrams),
            "bytes": sum(len(body) for *_, body in requests) + sum(map(len, datagrams)),
            "unreadable": unreadable[:3],
        }


def answer(path: str) -> tuple[bytes, bytes]:
    """Content type and body of the reply that the senders of `path` expect."""
    if path.endswith("/v1/traces"):
        return b"application/x-protobuf", b""
    if "session" in path:  # HoneyHive's start of a session
        return b"application/json", b'{"session_id": "11111111-2222-3333-4444-555555555555"}'
    if path.endswith("/info"):  # a Datadog agent's features
        return b"application/json", b'{"version": "7.0.0", "endpoints": ["/v0.4/traces", "/v0.5/traces"]}'
    if path.endswith("/traces"):
        return b"application/json", b'{"rate_by_service": {"service:,env:": 1}}'
    return b"application/json", b"{}"


def _serve(connection: socket.socket, inbox: Inbox) -> None:
    """One connection, kept alive: read a request, keep it, answer it.

    Between a request and its answer it only looks for the end of the body and puts it by: every tool's flush
    waits for this.
    """
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    replies: dict[str, bytes] = {}
    buffer = b""
    with connection:
        while True:
            while (end := buffer.find(b"\r\n\r\n")) < 0:
                chunk = connection.recv(262144)
                if not chunk:
                    return
                buffer += chunk
            head = buffer[:end]
            lower = head.lower() + b"\r\n"
            at = lower.find(b"\r\ncontent-length:")
            if at < 0 and b"\r\ntransfer-encoding: chunked" in lower:
                body, buffer = _chunked(connection, buffer[end + 4 :])
            else:
                length = int(lower[at + 17 : lower.index(b"\r\n", at + 2)]) if at >= 0 else 0
                stop = end + 4 + length
                while len(buffer) < stop:
                    buffer += _more(connection)
                body, buffer = buffer[end + 4 : stop], buffer[stop:]
            path = head[: head.index(b"\r\n")].split(b" ")[1].decode("latin-1")
            if path == TAKE:
                connection.sendall(_reply(b"application/json", json.dumps(inbox.take()).encode()))
                continue
            reply = replies.get(path)
            if reply is None:
                reply = replies[path] = _reply(*answer(path))
            inbox.post(path, head, body)  # first: who has its answer may ask at once what has arrived
            connection.sendall(reply)


def _reply(kind: bytes, body: bytes) -> bytes:
    return _OK % (kind, len(body), body)


def _headers(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _chunked(connection: socket.socket, buffer: bytes) -> tuple[bytes, bytes]:
    """A chunked body and what follows it."""
    body = b""
    while True:
        while b"\r\n" not in buffer:
            buffer += _more(connection)
        size_line, _, buffer = buffer.partition(b"\r\n")
        size = int(size_line.split(b";")[0], 16)
        while len(buffer) < size + 2:
            buffer += _more(connection)
        body, buffer = body + buffer[:size], buffer[size + 2 :]
        if size == 0:
            return body, buffer


def _more(connection: socket.socket) -> bytes:
    chunk = connection.recv(65536)
    if not chunk:
        raise ConnectionError("the sender closed the connection in the middle of a body")
    return chunk


def _quietly(connection: socket.socket, inbox: Inbox) -> None:
    """A sender that goes away is no failure of the collector; what it did not send is not counted."""
    try:
        _serve(connection, inbox)
    except (OSError, ValueError, IndexError) as error:
        print(f"collector: {type(error).__name__}: {error}", file=sys.stderr)


def main() -> None:
    """Serve until standard input closes."""
    inbox = Inbox()
    server = socket.create_server(("127.0.0.1", 0), backlog=64)
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with contextlib.suppress(OSError):  # root may exceed the system's limit; others get what it allows
        datagrams.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
    datagrams.bind(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            connection, _ = server.accept()
            threading.Thread(target=_quietly, args=(connection, inbox), daemon=True).start()

    def receive() -> None:
        while True:
            inbox.datagram(datagrams.recv(65536))

    for target in (accept, receive):
        threading.Thread(target=target, daemon=True).start()
    print(server.getsockname()[1], flush=True)
    print(datagrams.getsockname()[1], flush=True)
    sys.stdin.read()


class Collector:
    """The collector's process, seen from the run. A context manager; `take()` counts and forgets."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.harness.collector"],
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C reaches the run alone, which then closes this in order
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.datagram_port = int(self._process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}"

    def take(self) -> dict[str, object]:
        """What arrived since the last call; see `Inbox.take`."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("POST", TAKE)
            counted: dict[str, object] = json.loads(connection.getresponse().read())
            return counted
        finally:
            connection.close()

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout=5)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


if __name__ == "__main__":
    main()
