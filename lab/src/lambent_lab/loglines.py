"""The lines of a function's log: those that Lambda writes, and those that are cut from the output's bytes."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections import deque
from typing import TYPE_CHECKING, Literal

from lambent_lab import xray

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lambent_lab.invocation import Run

MAX_LINE = 256 * 1024

FIRST_BYTES = LAST_BYTES = 32 * 1024 * 1024
"""How much is kept of the beginning and of the end of an invocation's log."""

_LINE_BYTES = 64  # what a line takes in memory beside its text


class KeptLines:
    """The lines of one log: all of them up to a size, and of a longer one its beginning and its end.

    A function can write more than the lab has memory for.
    """

    def __init__(self, *, first: int = FIRST_BYTES, last: int = LAST_BYTES) -> None:
        self._first: list[str] = []
        self._last: deque[str] = deque()
        self._room_first = first
        self._room_last = last
        self._left_out = 0

    def __len__(self) -> int:
        return len(self._first) + len(self._last)

    def append(self, line: str) -> None:
        """Take the next line."""
        size = len(line) + _LINE_BYTES
        if not self._last and size <= self._room_first:
            self._room_first -= size
            self._first.append(line)
            return
        self._last.append(line)
        self._room_last -= size
        while self._room_last < 0 and len(self._last) > 1:
            self._room_last += len(self._last.popleft()) + _LINE_BYTES
            self._left_out += 1

    def lines(self) -> list[str]:
        """Return what is kept, with a line that says how many were left out."""
        note = [f"lambent-lab: {self._left_out} lines were left out here."] if self._left_out else []
        return [*self._first, *note, *self._last]


class LineSplitter:
    """Cuts bytes into lines of text. Bytes that are not UTF-8 become replacement characters.

    A line without its end is kept until the end comes, `flush` is called, or it is 256 KiB long (Lambda's
    limit of one log event), when it is cut.
    """

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._rest = bytearray()

    def feed(self, data: bytes) -> None:
        """Take more bytes."""
        begun, *lines = data.split(b"\n")
        self._rest += begun
        if lines:
            self.flush(empty=True)
            self._rest += lines.pop()
            for line in lines:
                self._emit(line)
        while len(self._rest) > MAX_LINE:
            self._emit(self._rest[:MAX_LINE])
            del self._rest[:MAX_LINE]

    def flush(self, *, empty: bool = False) -> None:
        """Take what is there as a line, and if nothing is there only an `empty` one."""
        if self._rest or empty:
            self._emit(self._rest)
            self._rest.clear()

    def _emit(self, line: bytes | bytearray) -> None:
        for at in range(0, len(line) or 1, MAX_LINE):
            self._on_line(line[at : at + MAX_LINE].decode("utf-8", "replace").removesuffix("\r"))


def runtime_arn(runtime: str) -> str:
    """Return an ARN for a runtime's version: one build of a runtime is told from another by it."""
    return f"arn:aws:lambda:us-east-1::runtime:{hashlib.sha256(runtime.encode()).hexdigest()}"


def runtime_start(what: Literal["INIT", "RESTORE"], runtime: str, arn: str) -> str:
    """Return INIT_START or RESTORE_START. `runtime` is its version, as in python:3.13.v5."""
    return f"{what}_START Runtime Version: {runtime}\tRuntime Version ARN: {arn}"


def init_report(init_ms: float, phase: str, status: str, error_type: str | None = None) -> str:
    """Return INIT_REPORT."""
    return f"INIT_REPORT Init Duration: {init_ms:.2f} ms\tPhase: {phase}{_ended(status, error_type)}"


def restore_report(restore_ms: float, status: str, error_type: str | None = None) -> str:
    """Return RESTORE_REPORT."""
    return f"RESTORE_REPORT Restore Duration: {restore_ms:.2f} ms{_ended(status, error_type)}"


def _ended(status: str, error_type: str | None) -> str:
    """Return the fields that say how a phase failed, nothing when it did not."""
    if status == "success":
        return ""
    if status == "timeout":
        return "\tStatus: timeout"
    return f"\tStatus: error\tError Type: {error_type}" if error_type else "\tStatus: error"


def extension(name: str, state: str, events: Sequence[str], error_type: str | None = None) -> str:
    """Return EXTENSION, which is written for every extension at the end of init."""
    line = f"EXTENSION\tName: {name}\tState: {state}\tEvents: [{','.join(events)}]"
    return f"{line}\tError Type: {error_type}" if error_type else line


def subscription(api: Literal["telemetry", "logs"], name: str, types: Sequence[str]) -> str:
    """Return TELEMETRY or LOGS, which is written when an extension subscribes."""
    kinds = ", ".join(map(str.title, types)) if api == "telemetry" else ",".join(types)
    return f"{api.upper()}\tName: {name}\tState: Subscribed\tTypes: [{kinds}]"


def start(request_id: str, version: str) -> str:
    """Return START."""
    return f"START RequestId: {request_id} Version: {version}"


def end(request_id: str) -> str:
    """Return END."""
    return f"END RequestId: {request_id}"


def timed_out(request_id: str, timeout_s: float) -> str:
    """Return the line that a timeout leaves."""
    return f"{_now()} {request_id} {timeout_message(timeout_s)}"


def timeout_message(timeout_s: float) -> str:
    """Return how Lambda words a timeout."""
    return f"Task timed out after {timeout_s:.2f} seconds"


def error_record(request_id: str, message: str, error_type: str | None) -> str:
    """Return what a log in JSON says of a timeout or a crash."""
    about = {"timestamp": _now(), "level": "ERROR", "requestId": request_id}
    if error_type is not None:
        about["errorType"] = error_type
    return json.dumps({**about, "message": message}, separators=(",", ":"))


def _now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def report(run: Run, memory_mb: int, status: str | None = None, error_type: str | None = None) -> str:
    """Return REPORT. What was not measured is left out; every field ends with a tab, as Lambda's do."""
    fields = [
        f"REPORT RequestId: {run.request_id}",
        f"Duration: {run.duration_ms:.2f} ms",
        f"Billed Duration: {run.billed_ms} ms",
        f"Memory Size: {memory_mb} MB",
    ]
    used = run.max_memory_mb(memory_mb)
    if used is not None:
        fields.append(f"Max Memory Used: {used} MB")
    if run.reported_init_ms is not None:
        fields.append(f"Init Duration: {run.reported_init_ms:.2f} ms")
    if run.restore_ms is not None:
        fields.append(f"Restore Duration: {run.restore_ms:.2f} ms")
        fields.append(f"Billed Restore Duration: {run.billed_restore_ms} ms")
    if status is not None:
        fields.append(f"Status: {status}")
        if status == "error" and error_type is not None:
            fields.append(f"Error Type: {error_type}")
    trace = xray.report_field(run.trace_header)
    if trace is not None:
        fields.append(trace)
    return "".join(f"{field}\t" for field in fields)
