"""Collectors that behave as told: the good one and every bad one, on loopback, counting what they take.

Each is a listening socket and a thread for each connection. A span counts as received when its request
was answered with success, in full; what arrived in a request that got no success is kept apart.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BEHAVIOURS", "DELIVERING", "Collector"]

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n"
CASE = "case"
"""The attribute by which a span says what it belongs to."""

PARTIAL = "lambent.partial"
_LIMIT_S = 30.0


def _answer(status: str, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, "Content-Length: 0"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Collector:
    """One collector. Use it with `with`; `url` is its base URL."""

    def __init__(self, behaviour: str) -> None:
        self.behaviour = behaviour
        self.received: Counter[tuple[str, bytes]] = Counter()
        self.refused: Counter[tuple[str, bytes]] = Counter()
        self.requests = 0
        self.partial = 0
        self.count = 0
        """How many spans, for the behaviour "counting", which keeps nothing else."""
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._open: set[socket.socket] = set()
        self._server = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._port = self._server.getsockname()[1]
        self._threads: list[threading.Thread] = []

    @property
    def url(self) -> str:
        """Where spans are to be sent."""
        scheme = "https" if self.behaviour == "tls broken" else "http"
        return f"{scheme}://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        if self.behaviour == "refusing":
            self._server.close()
        else:
            self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(_LIMIT_S)

    def spans(self, case: str) -> dict[bytes, int]:
        """Return the spans of a case that were received, by id, and how often each."""
        with self._lock:
            return {span: times for (of, span), times in self.received.items() if of == case}

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with self._lock:
                self._open.add(connection)
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                while not self._stop.is_set() and self._exchange(connection):
                    pass
        except OSError:
            pass
        finally:
            with self._lock:
                self._open.discard(connection)

    def _exchange(self, connection: socket.socket) -> bool:
        """Take one request and answer it as this collector does. Return whether the connection goes on."""
        behaviour = self.behaviour
        if behaviour == "tls broken":
            connection.recv(64)
            connection.sendall(_answer("400 Bad Request"))
            return False
        body = self._read(connection, 40 if behaviour == "resetting" else None)
        if body is None:
            return False
        with self._lock:
            self.requests += 1
            odd = self.requests % 2
        if behaviour == "resetting":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        if behaviour == "hanging":
            self._count(body, self.refused)
            self._stop.wait(_LIMIT_S)
            return False
        answer = {
            "503": _answer("503 Service Unavailable"),
            "400": _answer("400 Bad Request"),
            "429": _answer("429 Too Many Requests", "Retry-After: 60"),
            "429 once": _answer("429 Too Many Requests", "Retry-After: 0") if odd else OK,
        }.get(behaviour, OK)
        if behaviour == "slow":
            time.sleep(0.1)
        self._count(body, self.received if answer is OK else self.refused)
        connection.sendall(answer)
        return True

    def _read(self, connection: socket.socket, most: int | None) -> bytes | None:
        """Return a request's body, what there was of it after `most` bytes, None at the end."""
        data = b""
        while True:
            head, end, body = data.partition(b"\r\n\r\n")
            if most is not None and len(data) >= most:
                return data
            if end:
                lines = head.lower().split(b"\r\n")
                length = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
                if len(body) >= length:
                    return body
            piece = connection.recv(65536 if most is None else most)
            if not piece:
                return None
            data += piece

    def _count(self, body: bytes, where: Counter[tuple[str, bytes]]) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        if self.behaviour == "counting":
            spans = [len(scope.spans) for each in request.resource_spans for scope in each.scope_spans]
            with self._lock:
                self.count += sum(spans)
            return
        with self._lock:
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        if any(each.key == PARTIAL for each in span.attributes):
                            self.partial += 1
                            continue  # what it was in the meantime; the span itself has its id
                        values = {each.key: each.value.string_value for each in span.attributes}
                        where[values.get(CASE, ""), span.span_id] += 1


BEHAVIOURS = (
    "fine",
    "slow",
    "hanging",
    "refusing",
    "resetting",
    "429 once",
    "429",
    "503",
    "400",
    "tls broken",
)
"""How a collector may behave: slow is 0.1 s; "429 once" takes what is sent again, "429" asks to wait 60 s."""

DELIVERING = frozenset({"fine", "slow", "429 once"})
