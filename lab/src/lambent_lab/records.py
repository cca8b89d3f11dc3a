"""The platform's records for the Telemetry API, made from what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from lambent_lab import invocation
from lambent_lab.telemetry import timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lambent_lab.function import FunctionSpec
    from lambent_lab.invocation import Run
    from lambent_lab.telemetry import Telemetry

Phase = Literal["init", "invoke"]
Outcome = Literal["success", "error", "failure", "timeout"]

_INIT_TYPE = "on-demand"


def init_start(telemetry: Telemetry, spec: FunctionSpec, runtime: str, phase: Phase) -> None:
    """Record that an init phase begins. `runtime` is its version, as in python:3.13.v5."""
    about = {
        "initializationType": _INIT_TYPE,
        "phase": phase,
        "runtimeVersion": runtime,
        "functionName": spec.name,
        "functionVersion": spec.version,
        "instanceMaxMemory": spec.memory_mb,
    }
    telemetry.record("platform", "platform.initStart", about)


def init_runtime_done(
    telemetry: Telemetry, phase: Phase, status: Outcome, error_type: str | None, at: float
) -> None:
    """Record that the runtime has finished its part of init, `at` a moment of the performance counter."""
    about = {"initializationType": _INIT_TYPE, "phase": phase, "status": status}
    telemetry.record("platform", "platform.initRuntimeDone", _with_error(about, error_type), at)


def init_report(
    telemetry: Telemetry, phase: Phase, status: Outcome, error_type: str | None, init_ms: float, at: float
) -> None:
    """Record the end of init, `at` a moment of the performance counter."""
    about = {
        "initializationType": _INIT_TYPE,
        "phase": phase,
        "status": status,
        "metrics": {"durationMs": round(init_ms, 3)},
    }
    telemetry.record("platform", "platform.initReport", _with_error(about, error_type), at)


def extension(
    telemetry: Telemetry, name: str, state: str, events: tuple[str, ...], error_type: str | None
) -> None:
    """Record how an extension stands at the end of init."""
    about = {"name": name, "state": state, "events": list(events)}
    telemetry.record("platform", "platform.extension", _with_error(about, error_type))


def start(telemetry: Telemetry, run: Run, version: str) -> None:
    """Record that an invocation begins."""
    if telemetry.active:
        about = {"requestId": run.request_id, "version": version, "tracing": _tracing(run)}
        telemetry.record("platform", "platform.start", about)


def runtime_done(telemetry: Telemetry, run: Run, status: Outcome, error_type: str | None) -> None:
    """Record that the runtime has answered, or will not, with the time to its response and the time of it."""
    if not telemetry.active:
        return
    about: dict[str, object] = {
        "requestId": run.request_id,
        "status": status,
        "metrics": {"durationMs": round(run.answered_ms, 3), "producedBytes": run.delivery.size},
        "tracing": _tracing(run),
    }
    if (responded := run.span()) is not None:
        latency_ms, began_s, duration_ms = responded
        about["spans"] = [
            _span("responseLatency", run.started_ns / 1e9, latency_ms),
            _span("responseDuration", began_s, duration_ms),
        ]
    telemetry.record("platform", "platform.runtimeDone", _with_error(about, error_type))


def report(telemetry: Telemetry, run: Run, status: Outcome, error_type: str | None, memory_mb: int) -> None:
    """Record what an invocation took. `memory_mb` is the function's size."""
    if not telemetry.active:
        return
    metrics: dict[str, object] = {
        "durationMs": round(run.duration_ms, 3),
        "billedDurationMs": invocation.billed(run.duration_ms, run.outside_init_ms),
        "memorySizeMB": memory_mb,
    }
    used = run.max_memory_mb(memory_mb)
    if used is not None:
        metrics["maxMemoryUsedMB"] = used
    if run.outside_init_ms is not None:
        metrics["initDurationMs"] = round(run.outside_init_ms, 3)
    about: dict[str, object] = {
        "requestId": run.request_id,
        "status": status,
        "metrics": metrics,
        "tracing": _tracing(run),
    }
    if run.overhead_ms is not None:
        answered = run.started_ns / 1e9 + run.answered_ms / 1000
        about["spans"] = [_span("extensionOverhead", answered, run.overhead_ms)]
    telemetry.record("platform", "platform.report", _with_error(about, error_type))


def _span(name: str, start_s: float, duration_ms: float) -> dict[str, object]:
    return {"name": name, "start": timestamp(start_s), "durationMs": round(duration_ms, 3)}


def _tracing(run: Run) -> dict[str, str]:
    return {"type": "X-Amzn-Trace-Id", "value": run.trace_header}


def _with_error(about: Mapping[str, object], error_type: str | None) -> dict[str, object]:
    return {**about, "errorType": error_type} if error_type else {**about}
