"""A function behind a URL, as AWS's runtime interface emulator serves it.

Rules
- An invocation is a POST to /2015-03-31/functions/function/invocations, unless the URL has a path of its own.
- Its time is what the caller waited, from the first byte sent to the last byte read, on a connection that was
  made before: nobody says what the platform measured. The init of a cold start is in it.
- What arrives is acknowledged at once. A server that writes its answer in two parts waits for it, which on a
  connection that is kept is 40 ms by Linux's habit, and nothing of the function's.
- A cold start is one right after the `restart` command, in which {host}, {port} and {url} stand for the
  address's own. Without that command there is none, and all invocations run in one environment. What tells
  that the function listens again is that the server answers GET /, which starts nothing in RIE: a probe that
  invokes would warm what is to be measured.
- RIE answers a function's error with 200 and the error document, a crash with 502, a timeout with a sentence.
"""

from __future__ import annotations

import http.client
import json
import shlex
import socket
import subprocess
import threading
import time
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from lambent_lab.errors import LabError, UsageError
from lambent_lab.measure.remote.answer import Answer, Figures

if TYPE_CHECKING:
    from collections.abc import Mapping

PATH = "/2015-03-31/functions/function/invocations"

_READY_S = 60.0
_RESTART_S = 300.0
_LATER_S = 30.0
_TIMED_OUT = "Task timed out after "


class Address(NamedTuple):
    """Where to connect to, and the path to post to."""

    secure: bool
    host: str
    port: int
    path: str


def address(url: str) -> Address:
    """The parts of a URL that matter. Raises UsageError."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{url} is no URL: {error}.") from error
    if not parts.hostname:
        raise UsageError(f"{url} names no host: write http://HOST:PORT, for RIE http://localhost:9000.")
    if parts.username is not None:  # it would stand in result files, and be sent nowhere
        raise UsageError(
            f"A URL with a user or a password cannot be measured: write http://{parts.hostname}."
        )
    secure = parts.scheme == "https"
    path = parts.path if parts.path not in {"", "/"} else PATH
    path += f"?{parts.query}" if parts.query else ""
    return Address(secure, parts.hostname, port or (443 if secure else 80), path)


class Emulator:
    """The function at one URL. `reach["restart"]` is the command that makes it new, if there is one."""

    def __init__(self, url: str, reach: Mapping[str, str]) -> None:
        self._url = url
        self._restart = reach.get("restart")
        address(url)

    @property
    def runtime(self) -> str | None:
        """It does not say."""
        return None

    def function(
        self,
        *,
        memory: int,  # noqa: ARG002 - its memory is its own
        timeout: float,
        env: Mapping[str, str],
    ) -> Caller:
        """The function. Raises UsageError for variables: nobody can set them there."""
        if set(env) - {"LAMBENT_COUNT_SPANS"}:
            raise UsageError(
                f"The variables of {self._url} cannot be set from here: start it twice, with and without "
                "them, and compare the two URLs."
            )
        return Caller(address(self._url), timeout, self._restart)

    def close(self) -> None:
        """There is nothing to leave."""


class Caller:
    """Posts events to one address, from any number of threads: each has a connection of its own."""

    def __init__(self, at: Address, timeout_s: float, restart: str | None = None) -> None:
        self._at = at
        self._timeout_s = timeout_s
        self._restart = restart
        self._due = False
        self._starting = threading.Lock()
        self._mine = threading.local()
        self._opened: list[http.client.HTTPConnection] = []

    @property
    def box(self) -> object:
        """How it is held is not known here."""
        return None

    def stop(self) -> None:
        """Let the next invocation be cold, if it can be."""
        self.disconnect()
        self._due = self._restart is not None

    def invoke(self, event: object = None) -> Answer:
        """Post the event. Raises LabError when nothing answers."""
        with self._starting:
            cold = self._due
            if self._due:
                self._due = False
                assert self._restart is not None
                self._run(self._filled(self._restart))
                self.wait_ready()
        return self.post(event, cold=cold)

    def _filled(self, command: str) -> str:
        """The command, told which of several addresses it is about."""
        for name, text in (("{host}", self._at.host), ("{port}", str(self._at.port)), ("{url}", self._name)):
            command = command.replace(name, text)
        return command

    def _run(self, command: str) -> None:
        try:
            # The user's own command line, asked for on ours.
            subprocess.run(  # noqa: S603
                shlex.split(command), check=True, capture_output=True, timeout=_RESTART_S
            )
        except (OSError, ValueError) as error:
            raise LabError(f"The restart command {command!r} cannot be run: {error}.") from error
        except subprocess.SubprocessError as error:
            raise LabError(f"The restart command {command!r} failed: {error}.") from error

    def wait_ready(self, limit_s: float = _READY_S) -> None:
        """Wait until the server answers, without starting the function. Raises LabError."""
        until = time.monotonic() + limit_s
        while True:
            try:
                connection = self._connect(2.0)
                try:
                    connection.request("GET", "/")
                    connection.getresponse().read()
                finally:
                    connection.close()
            except (OSError, http.client.HTTPException) as error:
                if time.monotonic() > until:
                    raise LabError(f"{self._name} did not answer within {limit_s:.0f} s: {error}.") from error
                time.sleep(0.02)
            else:
                return

    def post(self, event: object, *, cold: bool) -> Answer:
        """One invocation. Raises LabError when nothing answers."""
        body = json.dumps({} if event is None else event, allow_nan=False).encode()
        headers = {"Content-Type": "application/json"}
        connection = self._ready()
        started = time.perf_counter()
        try:
            connection.request("POST", self._at.path, body, headers)
            acknowledge_at_once(connection)
            response = connection.getresponse()
            text = response.read()
            waited = (time.perf_counter() - started) * 1000
        except TimeoutError:
            connection.close()
            waited = (time.perf_counter() - started) * 1000
            return _answer(None, "timeout", "Sandbox.Timedout", waited, cold=cold)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise self._silent(error) from error
        payload = _parsed(text)
        request_id = response.headers.get("x-amzn-requestid") or response.headers.get("X-Amzn-Requestid")
        status, kind = outcome(response.status, response.headers.get("X-Amz-Function-Error"), payload)
        return _answer(payload, status, kind, waited, cold=cold, request_id=request_id)

    def _ready(self) -> http.client.HTTPConnection:
        """This thread's connection, which is made. Raises LabError."""
        connection: http.client.HTTPConnection | None = getattr(self._mine, "connection", None)
        try:
            if connection is None:
                connection = self._mine.connection = self._connect(self._timeout_s + _LATER_S)
                self._opened.append(connection)
            elif connection.sock is None:
                connection.connect()
        except OSError as error:
            raise self._silent(error) from error
        return connection

    def _silent(self, error: Exception) -> LabError:
        why = " ".join(str(error).split()) or type(error).__name__
        return LabError(f"{self._name} does not answer: {why}.")

    @property
    def _name(self) -> str:
        return f"http{'s' if self._at.secure else ''}://{self._at.host}:{self._at.port}"

    def _connect(self, timeout_s: float) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._at.secure else http.client.HTTPConnection
        connection = kind(self._at.host, self._at.port, timeout=timeout_s)
        connection.connect()
        return connection

    def disconnect(self) -> None:
        """Forget the connections."""
        opened, self._opened, self._mine = self._opened, [], threading.local()
        for connection in opened:
            with suppress(OSError):
                connection.close()


def acknowledge_at_once(connection: http.client.HTTPConnection) -> None:
    """Acknowledge what arrives next without waiting, where the system can; to be said after each request."""
    option = getattr(socket, "TCP_QUICKACK", None)
    if option is not None and connection.sock is not None:
        with suppress(OSError):
            connection.sock.setsockopt(socket.IPPROTO_TCP, option, 1)


def outcome(code: int, function_error: str | None, payload: object) -> tuple[str, str | None]:
    """The status of an answer (success, error, timeout) and the type of its error."""
    if isinstance(payload, str) and payload.startswith(_TIMED_OUT):
        return "timeout", "Sandbox.Timedout"
    kind = payload.get("errorType") if isinstance(payload, dict) else None
    if function_error is not None or code >= 400:
        timed_out = kind == "Sandbox.Timedout"
        return "timeout" if timed_out else "error", str(kind or function_error or f"HTTP {code}")
    if isinstance(payload, dict) and _is_error_document(payload):
        return "error", str(kind or "Unhandled")
    return "success", None


def _is_error_document(payload: Mapping[str, object]) -> bool:
    """Whether an answer is what Lambda makes of an exception: RIE says so in no other way."""
    known = {"errorMessage", "errorType", "stackTrace", "requestId", "cause", "trace"}
    return "errorMessage" in payload and "errorType" in payload and payload.keys() <= known


def _parsed(text: bytes) -> object:
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError):
        return text.decode("utf-8", "replace")
    return found


def _answer(
    payload: object,
    status: str,
    kind: str | None,
    waited_ms: float,
    *,
    cold: bool,
    request_id: str | None = None,
) -> Answer:
    return Answer(
        request_id=request_id or str(uuid.uuid4()),
        cold=cold,
        report=Figures(duration_ms=waited_ms),
        payload=payload,
        status=status,
        error=kind,
        function_error="Unhandled" if status != "success" else None,
        init_included=cold,
    )
