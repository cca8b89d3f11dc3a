"""What an environment writes down: its log, in text or in JSON, and the Telemetry API's records.

Rules
- Every event of the platform is one record. The Telemetry API's subscribers get all of them. A log in JSON
  has those that are of the system log level or above; a log in text has lines of its own for some.
- The levels are AWS's: what failed is WARN; initRuntimeDone, runtimeDone and the initReport of an on-demand
  init are DEBUG; the rest is INFO.
- What the function and its extensions write is taken as it comes, line by line. A log in JSON leaves out
  what is below the application log level: a line that is no JSON object with a `level` counts as INFO.
- In a log in JSON, what Lambda says of a timeout or a crash is one record of level ERROR. AWS does not
  document its form: timestamp, level, requestId, errorType and message are the lab's reading.
- Of a log that is longer than the lab has memory for, the beginning and the end are kept (`KeptLines`).
- Each line belongs to the invocation that runs, or to the next one. When several run at once it belongs to
  the one whose request id it holds, and otherwise to the environment alone.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Literal

from lambent_lab import loglines, records
from lambent_lab.protocol.telemetry import encode
from lambent_lab.telemetry import timestamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from lambent_lab.function import FunctionSpec
    from lambent_lab.invocation import Failure, Run
    from lambent_lab.records import Outcome, Phase, Record
    from lambent_lab.telemetry import Kind, Telemetry

PENDING_BYTES = 8 * 1024 * 1024
"""How much is kept for the next invocation, the newest of it."""

_TRACE, _DEBUG, _INFO, _WARN, _ERROR, _FATAL = range(6)
_LEVELS = {
    "TRACE": _TRACE, "DEBUG": _DEBUG, "INFO": _INFO, "WARN": _WARN, "WARNING": _WARN, "ERROR": _ERROR,
    "FATAL": _FATAL, "CRITICAL": _FATAL,
}  # fmt: skip


def level_of(line: str) -> int:
    """Return the level of a line that a function wrote: what its JSON says, INFO where it says nothing."""
    if line.startswith("{"):
        try:
            level = json.loads(line).get("level")
        except (ValueError, RecursionError):
            return _INFO
        if isinstance(level, str):
            return _LEVELS.get(level.upper(), _INFO)
    return _INFO


class Journal:
    """The log of one environment. `on_line` gets every line as it appears."""

    def __init__(self, spec: FunctionSpec, on_line: Callable[[str], None] | None = None) -> None:
        self.telemetry: Telemetry | None = None  # that of what runs now
        self._spec = spec
        self._json = spec.logs_json
        self._system = _LEVELS[spec.system_log_level or "INFO"]
        self._application = _LEVELS[spec.application_log_level or "INFO"]
        self._on_line = on_line
        self._pending = loglines.KeptLines(first=0, last=PENDING_BYTES)
        self._open: dict[str, loglines.KeptLines] = {}

    # -- whose lines they are

    def begin(self, request_id: str) -> None:
        """From now on lines are those of this invocation too, with what has come since the last one."""
        self._open[request_id] = loglines.KeptLines()
        for line in self._pending.lines():
            self._open[request_id].append(line)
        if self._pending:
            self._pending = loglines.KeptLines(first=0, last=PENDING_BYTES)

    def position(self, request_id: str) -> int:
        """Return how many lines an invocation has so far."""
        return len(self._open.get(request_id, ()))

    def end(self, request_id: str) -> tuple[str, ...]:
        """Return the lines of an invocation, which is over."""
        kept = self._open.pop(request_id, None)
        return () if kept is None else tuple(kept.lines())

    def line(self, line: str) -> None:
        """Write a line."""
        running = self._open
        if not running:
            self._pending.append(line)
        elif len(running) == 1:
            next(iter(running.values())).append(line)
        else:
            for request_id, lines in running.items():
                if request_id in line:
                    lines.append(line)
        if self._on_line is not None:
            self._on_line(line)

    # -- what is written

    def output(self, kind: Kind, line: str) -> None:
        """Take a line that the function or an extension wrote."""
        if self.telemetry is not None and self.telemetry.active:
            self.telemetry.output(kind, line, structured=self._json)
        if not self._json or self._application <= _DEBUG or level_of(line) >= self._application:
            self.line(line)

    def _tell(
        self,
        name: str,
        level: int,
        record: Callable[[], Record],
        text: Callable[[], str] | None = None,
        at: float | None = None,
    ) -> None:
        telemetry = self.telemetry
        wanted = telemetry is not None and telemetry.active
        logged = self._json and level >= self._system
        if wanted or logged:
            about = record()
            if telemetry is not None and wanted:
                telemetry.record("platform", f"platform.{name}", about, at)
            if logged:
                ago = 0.0 if at is None else time.perf_counter() - at
                self.line(encode(timestamp(time.time() - ago), f"platform.{name}", about).decode())
        if text is not None and not self._json:
            self.line(text())

    def init_start(self, runtime: str, runtime_arn: str, phase: Phase) -> None:
        """An init phase begins."""
        self._tell(
            "initStart",
            _INFO,
            lambda: records.init_start(self._spec, runtime, runtime_arn, phase),
            lambda: loglines.runtime_start("INIT", runtime, runtime_arn),
        )

    def init_runtime_done(self, phase: Phase, status: Outcome, error_type: str | None, at: float) -> None:
        """The runtime has finished its part of init, `at` a moment of the performance counter."""
        level = _DEBUG if status == "success" else _WARN
        self._tell(
            "initRuntimeDone",
            level,
            lambda: records.init_runtime_done(self._spec, phase, status, error_type),
            at=at,
        )

    def init_report(
        self, phase: Phase, status: Outcome, error_type: str | None, init_ms: float, at: float
    ) -> None:
        """Init has ended. In text that is a line when it failed, or ran ahead of the invocations."""
        ahead = records.initialization_type(self._spec) != "on-demand"
        good = status == "success"
        self._tell(
            "initReport",
            _WARN if not good else _INFO if ahead else _DEBUG,
            lambda: records.init_report(self._spec, phase, status, error_type, init_ms),
            (lambda: loglines.init_report(init_ms, phase, status, error_type)) if ahead or not good else None,
            at,
        )

    def restore_start(self, runtime: str, runtime_arn: str) -> None:
        """A snapshot is being restored."""
        self._tell(
            "restoreStart",
            _INFO,
            lambda: records.restore_start(self._spec, runtime, runtime_arn),
            lambda: loglines.runtime_start("RESTORE", runtime, runtime_arn),
        )

    def restored(self, status: Outcome, error_type: str | None, restore_ms: float, at: float) -> None:
        """A restore has ended."""
        good = status == "success"
        self._tell(
            "restoreRuntimeDone",
            _DEBUG if good else _WARN,
            lambda: records.restore_runtime_done(status, error_type),
            at=at,
        )
        self._tell(
            "restoreReport",
            _INFO if good else _WARN,
            lambda: records.restore_report(status, error_type, restore_ms),
            lambda: loglines.restore_report(restore_ms, status, error_type),
            at,
        )

    def extension(self, name: str, state: str, events: tuple[str, ...], error_type: str | None) -> None:
        """An extension, as it stands at the end of init."""
        self._tell(
            "extension",
            _INFO if error_type is None else _WARN,
            lambda: records.extension(name, state, events, error_type),
            lambda: loglines.extension(name, state, events, error_type),
        )

    def subscribed(self, api: Literal["telemetry", "logs"], name: str, types: tuple[str, ...]) -> None:
        """An extension subscribed to the Telemetry API, or to the Logs API."""
        self._tell(
            f"{api}Subscription",
            _INFO,
            lambda: {"name": name, "state": "Subscribed", "types": list(types)},
            lambda: loglines.subscription(api, name, types),
        )

    def start(self, run: Run) -> None:
        """An invocation begins."""
        version = self._spec.version
        self._tell(
            "start",
            _INFO,
            lambda: records.start(run, version),
            lambda: loglines.start(run.request_id, version),
        )

    def runtime_done(self, run: Run, status: Outcome, error_type: str | None) -> None:
        """The runtime has answered, or will not."""
        level = _DEBUG if status == "success" else _WARN
        self._tell("runtimeDone", level, lambda: records.runtime_done(run, status, error_type))

    def failed(self, request_id: str, failure: Failure, timeout_s: float) -> None:
        """Write what Lambda itself says of a failure: the time that was over, or how the process ended."""
        if failure.report_status == "timeout":
            message, error_type = loglines.timeout_message(timeout_s), None
            text = [loglines.timed_out(request_id, timeout_s)]
        elif failure.exit is not None:
            message, error_type = failure.exit, failure.error_type
            text = [f"RequestId: {request_id} Error: {failure.exit}", failure.error_type]
        else:
            return
        if self._json:
            self.line(loglines.error_record(request_id, message, error_type))
            return
        for line in text:
            self.line(line)

    def report(self, run: Run, status: Outcome, error_type: str | None) -> None:
        """Say what an invocation took. Subscribers hear it as long as there are any: see `reported`."""
        if not run.reported and self.telemetry is not None and self.telemetry.active:
            self.telemetry.record("platform", "platform.end", {"requestId": run.request_id})
            self.telemetry.record("platform", "platform.report", self._report(run, status, error_type))
            run.reported = True

    def end_and_report(self, run: Run, status: Outcome, error_type: str | None) -> None:
        """Write END and REPORT, for the log and for subscribers that have not heard it."""
        self.report(run, status, error_type)
        if not self._json:
            self.line(loglines.end(run.request_id))
            shown = "timeout" if status == "timeout" else "error" if status == "failure" else None
            self.line(loglines.report(run, self._spec.memory_mb, shown, error_type))
        elif self._system <= (_INFO if status == "success" else _WARN):
            about = self._report(run, status, error_type)
            self.line(encode(timestamp(time.time()), "platform.report", about).decode())

    def _report(self, run: Run, status: Outcome, error_type: str | None) -> Record:
        managed = self._spec.max_concurrency is not None
        return records.report(run, status, error_type, self._spec.memory_mb, managed=managed)
