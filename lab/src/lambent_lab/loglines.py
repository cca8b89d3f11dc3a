"""The lines of a function's log: those that Lambda writes, and those that are cut from the output's bytes."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MAX_LINE = 256 * 1024


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
        self._rest += data
        start = 0
        while (end := self._rest.find(b"\n", start)) >= 0:
            self._emit(self._rest[start:end])
            start = end + 1
        del self._rest[:start]
        while len(self._rest) > MAX_LINE:
            self._emit(self._rest[:MAX_LINE])
            del self._rest[:MAX_LINE]

    def flush(self) -> None:
        """Take what is there as a line."""
        if self._rest:
            self._emit(self._rest)
            self._rest.clear()

    def _emit(self, line: bytearray) -> None:
        for at in range(0, len(line) or 1, MAX_LINE):
            self._on_line(line[at : at + MAX_LINE].decode("utf-8", "replace").removesuffix("\r"))


def init_start(version: str) -> str:
    """Return INIT_START. `version` is the runtime's, as in python:3.13.v5; the ARN is formed from it."""
    digest = hashlib.sha256(version.encode()).hexdigest()
    return (
        f"INIT_START Runtime Version: {version}\t"
        f"Runtime Version ARN: arn:aws:lambda:us-east-1::runtime:{digest}"
    )


def init_report(init_ms: float, phase: str, status: str, error_type: str | None = None) -> str:
    """Return INIT_REPORT, which is written when init did not succeed."""
    line = f"INIT_REPORT Init Duration: {init_ms:.2f} ms\tPhase: {phase}\tStatus: {status}"
    return f"{line}\tError Type: {error_type}" if error_type else line


def extension(name: str, state: str, events: Sequence[str], error_type: str | None = None) -> str:
    """Return EXTENSION, which is written for every extension at the end of init."""
    line = f"EXTENSION\tName: {name}\tState: {state}\tEvents: [{','.join(events)}]"
    return f"{line}\tError Type: {error_type}" if error_type else line


def start(request_id: str, version: str) -> str:
    """Return START."""
    return f"START RequestId: {request_id} Version: {version}"


def end(request_id: str) -> str:
    """Return END."""
    return f"END RequestId: {request_id}"


def timed_out(request_id: str, timeout_s: float) -> str:
    """Return the line that a timeout leaves."""
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
    return f"{now}Z {request_id} Task timed out after {timeout_s:.2f} seconds"


def report(
    request_id: str,
    *,
    duration_ms: float,
    billed_ms: int,
    memory_mb: int,
    max_memory_mb: int | None,
    init_ms: float | None = None,
    status: str | None = None,
    error_type: str | None = None,
    trace: str | None = None,
) -> str:
    """Return REPORT. What was not measured is left out; every field ends with a tab, as Lambda's do."""
    fields = [
        f"REPORT RequestId: {request_id}",
        f"Duration: {duration_ms:.2f} ms",
        f"Billed Duration: {billed_ms} ms",
        f"Memory Size: {memory_mb} MB",
    ]
    if max_memory_mb is not None:
        fields.append(f"Max Memory Used: {max_memory_mb} MB")
    if init_ms is not None:
        fields.append(f"Init Duration: {init_ms:.2f} ms")
    if status is not None:
        fields.append(f"Status: {status}")
    if error_type is not None:
        fields.append(f"Error Type: {error_type}")
    if trace is not None:
        fields.append(trace)
    return "".join(f"{field}\t" for field in fields)
