"""Servers for the exporters to talk to: real sockets on loopback, behaving as scripted."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from typing import BinaryIO

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n"


@dataclass(frozen=True)
class Request:
    line: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Peer:
    """One accepted connection, as the script of a server sees it."""

    sock: socket.socket
    number: int
    stopping: threading.Event
    file: BinaryIO = field(init=False)

    def __post_init__(self) -> None:
        self.file = self.sock.makefile("rb")

    def request(self) -> Request | None:
        """Read one request; None when the client has hung up."""
        line = self.file.readline().decode("latin-1").rstrip("\r\n")
        if not line:
            return None
        headers = {}
        while (text := self.file.readline().decode("latin-1").rstrip("\r\n")) != "":
            name, _, value = text.partition(":")
            assert name not in headers, f"{name} twice"
            headers[name.lower()] = value.strip()
        return Request(line, headers, self.file.read(int(headers.get("content-length", "0"))))

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def hang(self) -> None:
        """Do nothing until the server stops."""
        self.stopping.wait(60)

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        self.file.close()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()


Script = Callable[["Server", Peer], None]


class Server:
    """Accepts connections and runs a script on each, in a thread of its own."""

    def __init__(self, script: Script, family: int = socket.AF_INET) -> None:
        self._script = script
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._peers: list[Peer] = []
        self.requests: list[Request] = []
        self.connections = 0
        self.errors: list[BaseException] = []
        self._listener = socket.create_server(
            ("::1" if family == socket.AF_INET6 else "127.0.0.1", 0), family=family
        )
        self.port: int = self._listener.getsockname()[1]
        self.host = "[::1]" if family == socket.AF_INET6 else "127.0.0.1"
        self._start(self._accept)

    @property
    def authority(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def base(self) -> str:
        """What an endpoint for all signals is."""
        return f"http://{self.authority}"

    @property
    def url(self) -> str:
        return f"{self.base}/v1/traces"

    def _start(self, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.settimeout(20)
            peer = Peer(sock, self.connections, self._stopping)
            self.connections += 1
            self._peers.append(peer)
            self._start(lambda peer=peer: self._run(peer))  # type: ignore[misc]  # a bound default

    def _run(self, peer: Peer) -> None:
        try:
            self._script(self, peer)
        except OSError:
            pass  # the client went away, as some tests have it do
        except BaseException as error:  # noqa: BLE001  # shown by the test at its end
            self.errors.append(error)
        finally:
            peer.file.close()
            peer.sock.close()

    def close(self) -> None:
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for peer in self._peers:
            with contextlib.suppress(OSError):
                peer.sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()
        assert not self.errors, self.errors


def answering(*answers: bytes) -> Script:
    """Return a script that gives each request the next answer, the last one from then on.

    An answer with "connection: close" is followed by the end of the connection.
    """

    def script(server: Server, peer: Peer) -> None:
        while (request := peer.request()) is not None:
            answer = answers[min(len(server.requests), len(answers) - 1)]
            server.requests.append(request)
            peer.send(answer)
            if b"connection: close" in answer.lower():
                return

    return script


StartServer = Callable[..., Server]


@pytest.fixture
def free_port() -> int:
    """A port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
