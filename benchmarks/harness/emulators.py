"""The lab and RIE as a client sees them: one process each, spoken to over HTTP."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self
from urllib.parse import urlsplit

import psutil
from benchmarks.harness.rie import PATH, Rie

if TYPE_CHECKING:
    from collections.abc import Callable

WORKER = Path(__file__).parents[1] / "worker" / "emulated"
HANDLER = "app.handler"
MEMORY_MB = 1769
"""One vCPU: RIE gives a function the whole machine, but this one uses no more."""

SAME_TRACE = (
    b"X-Amzn-Trace-Id: Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0\r\n"
)
"""For many invocations: the runtime client puts each trace header into its process's environment, and the C
library keeps every value that was ever there, some 140 bytes of each. That is the same on Lambda."""

_WAIT_S = 120.0
_ENDED_S = 5.0  # how long an environment takes to end, at most
_SETTLE_S = 0.03  # its file systems go after its processes


class EmulatorFailedError(Exception):
    """An emulator did not answer as it should. The message says what it did."""


class Client:
    """One keep-alive connection to an emulator, with as little of a client as can be."""

    def __init__(self, port: int, path: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), _WAIT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._path = path.encode()

    def invoke(self, payload: bytes = b'{"n": 1}', fields: bytes = b"") -> bytes:
        """Invoke once and return the response. Raises EmulatorFailedError unless it is a success.

        `fields` are further lines of the head.
        """
        self._socket.sendall(
            b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n%b"
            b"Content-Length: %d\r\n\r\n%b" % (self._path, fields, len(payload), payload)
        )
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._more(data)
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
        while len(body) < length:
            body += self._more(body)
        if not lines[0].startswith(b"http/1.1 200") or b"\nx-amz-function-error" in head.lower():
            raise EmulatorFailedError(f"{head.decode('latin-1')}\n{body.decode(errors='replace')}")
        return body

    def _more(self, so_far: bytes) -> bytes:
        data = self._socket.recv(65536)
        if not data:
            raise EmulatorFailedError(f"the connection was closed after {so_far[:200]!r}")
        return data

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


class Emulator(Protocol):
    """What is compared: something that runs one function. A context manager."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...
    def client(self) -> Client: ...  # noqa: D102 - a connection to it


class RieEmulator:
    """RIE with the official runtime client. It starts the function with the first invocation."""

    def __init__(self, python: Path) -> None:
        command = [str(python), "-s", "-m", "awslambdaric"]
        env = {"AWS_EXECUTION_ENV": f"AWS_Lambda_python{sys.version_info[0]}.{sys.version_info[1]}"}
        self._rie = Rie(command, WORKER, handler=HANDLER, env=env, timeout_s=60)

    def __enter__(self) -> Self:
        self._rie.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._rie.__exit__()

    def client(self) -> Client:
        """Return a connection."""
        return Client(self._rie.port, PATH)


class LabEmulator:
    """`lambent serve` with one function. `freeze`: its environments stand still between invocations."""

    def __init__(
        self, python: Path, folder: Path, *, freeze: bool, memory_mb: int = MEMORY_MB, timeout_s: int = 60
    ) -> None:
        self._file = folder / "lambent.toml"
        self._log = folder / "events.jsonl"
        lines = {
            "code": str(WORKER),
            "handler": HANDLER,
            "python": str(python),
            "memory": memory_mb,
            "timeout": timeout_s,
            "freeze": freeze,
        }
        self._file.write_text(
            "[functions.emulated]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in lines.items())
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "lambent_lab", "serve", str(self._file), "--port", "0", "--json"]
        with self._log.open("wb") as log:  # a file, as RIE's: a pipe would have to be read while measuring
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log)
        until = time.monotonic() + _WAIT_S
        while b"\n" not in (written := self._log.read_bytes()):
            if self._process.poll() is not None or time.monotonic() > until:
                self.__exit__()
                raise EmulatorFailedError("lambent serve does not say that it is ready")
            time.sleep(0.005)
        line = written.splitlines()[0]
        try:
            self._port = urlsplit(json.loads(line)["url"]).port or 0
        except (ValueError, KeyError):
            self.__exit__()
            raise EmulatorFailedError(f"lambent serve says {line!r}") from None
        return self

    def __exit__(self, *_: object) -> None:
        process = self._process
        if process is not None:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def client(self) -> Client:
        """Return a connection."""
        return Client(self._port, "/2015-03-31/functions/emulated/invocations")

    def renew(self, number: int) -> None:
        """Have the next invocation run in a new environment. The one before is gone when this returns.

        Its end is no part of a cold start: RIE is ended before it is started again, too.
        """
        before = self._children()
        body = json.dumps({"Environment": {"Variables": {"NUMBER": str(number)}}}).encode()
        with socket.create_connection(("127.0.0.1", self._port), _WAIT_S) as connection:
            connection.sendall(
                b"PUT /2015-03-31/functions/emulated/configuration HTTP/1.1\r\nHost: localhost\r\n"
                b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
            )
            answer = b""
            while data := connection.recv(65536):
                answer += data
        if not answer.startswith(b"HTTP/1.1 200"):
            raise EmulatorFailedError(answer.decode("latin-1"))
        until = time.monotonic() + _ENDED_S
        while time.monotonic() < until and not before - self._children():
            time.sleep(0.002)
        time.sleep(_SETTLE_S)

    def _children(self) -> set[int]:
        assert self._process is not None
        return {child.pid for child in psutil.Process(self._process.pid).children(recursive=True)}

    def memory_mb(self) -> tuple[float, float]:
        """Return the resident memory of the lab and of everything that it runs."""
        assert self._process is not None
        lab = psutil.Process(self._process.pid)
        inside = 0
        for child in lab.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                inside += child.memory_info().rss
        return lab.memory_info().rss / 1e6, inside / 1e6


def warm(emulator: Emulator, count: int, before: int = 50) -> list[float]:
    """Return what invocations take one after the other, in ms, after some that do not count."""
    client = emulator.client()
    try:
        for _ in range(before):
            client.invoke()
        return [timed(client.invoke) for _ in range(count)]
    finally:
        client.close()


def timed(work: Callable[[], object]) -> float:
    """Return what something takes, in ms."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def first(emulator: Emulator) -> float:
    """Return what an invocation takes on a new connection, in ms. The connection is no part of it."""
    client = emulator.client()
    try:
        return timed(client.invoke)
    finally:
        client.close()


def endurance(emulator: LabEmulator, count: int, say: Callable[[int], None]) -> list[dict[str, Any]]:
    """Invoke one environment so often; return the memory at each tenth of the way."""
    client = emulator.client()
    marks = []
    try:
        streams = set()
        for number in range(1, count + 1):
            streams.add(client.invoke(fields=SAME_TRACE))
            if number % max(1, count // 10) == 0:
                lab, inside = emulator.memory_mb()
                marks.append({"invocations": number, "lab_mb": lab, "environment_mb": inside})
                say(number)
        if len(streams) != 1:
            raise EmulatorFailedError(f"{len(streams)} environments answered: it was to be one")
        return marks
    finally:
        client.close()


def at_once(emulator: LabEmulator, count: int) -> dict[str, Any]:
    """Have so many environments run at once: none may answer before all have been called."""
    with socket.create_server(("127.0.0.1", 0), backlog=count) as gate, contextlib.ExitStack() as stack:
        payload = json.dumps({"gate": gate.getsockname()[1]}).encode()
        clients = [emulator.client() for _ in range(count)]
        for client in clients:
            stack.callback(client.close)
        answers: list[bytes] = []
        began = time.perf_counter()
        import threading

        threads = [
            threading.Thread(target=lambda c=client: answers.append(c.invoke(payload)), daemon=True)
            for client in clients
        ]
        for thread in threads:
            thread.start()
        gate.settimeout(_WAIT_S)
        inside = [stack.enter_context(gate.accept()[0]) for _ in range(count)]
        all_in = time.perf_counter() - began
        lab_mb, environments_mb = emulator.memory_mb()
        for connection in inside:
            connection.sendall(b".")
        for thread in threads:
            thread.join(_WAIT_S)
        return {
            "environments": len(set(answers)),
            "answers": len(answers),
            "all_running_after_s": all_in,
            "lab_mb": lab_mb,
            "environments_mb": environments_mb,
        }
