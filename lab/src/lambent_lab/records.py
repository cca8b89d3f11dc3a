"""The platform's records, as the Telemetry API and a log in JSON have them, made from what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from lambent_lab.telemetry import timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lambent_lab.function import FunctionSpec
    from lambent_lab.invocation import Run

Phase = Literal["init", "invoke"]
Outcome = Literal["success", "error", "failure", "timeout"]
Record = dict[str, object]

MANAGED = "lambda-managed-instances"
"""The initialization type of functions on managed instances."""


def initialization_type(spec: FunctionSpec) -> str:
    """Return what AWS_LAMBDA_INITIALIZATION_TYPE says."""
    return spec.initialization if spec.max_concurrency is None else MANAGED


def init_start(spec: FunctionSpec, runtime: str, runtime_arn: str, phase: Phase) -> Record:
    """Say that an init phase begins. `runtime` is its version, as in python:3.13.v5."""
    return {
        "initializationType": initialization_type(spec),
        "phase": phase,
        "runtimeVersion": runtime,
        "runtimeVersionArn": runtime_arn,
        "functionName": spec.name,
        "functionVersion": spec.version,
        "instanceMaxMemory": spec.memory_mb,
    }


def init_runtime_done(spec: FunctionSpec, phase: Phase, status: Outcome, error_type: str | None) -> Record:
    """Say that the runtime has finished its part of init."""
    about = {"initializationType": initialization_type(spec), "phase": phase, "status": status}
    return _with_error(about, error_type)


def init_report(
    spec: FunctionSpec, phase: Phase, status: Outcome, error_type: str | None, init_ms: float
) -> Record:
    """Say how init ended and how long it took."""
    about = {
        "initializationType": initialization_type(spec),
        "phase": phase,
        "status": status,
        "metrics": {"durationMs": round(init_ms, 3)},
    }
    return _with_error(about, error_type)


def restore_start(spec: FunctionSpec, runtime: str, runtime_arn: str) -> Record:
    """Say that a snapshot is being restored."""
    return {
        "functionName": spec.name,
        "functionVersion": spec.version,
        "instanceMaxMemory": spec.memory_mb,
        "runtimeVersion": runtime,
        "runtimeVersionArn": runtime_arn,
    }


def restore_runtime_done(status: Outcome, error_type: str | None) -> Record:
    """Say that the runtime has finished its part of a restore."""
    return _with_error({"status": status}, error_type)


def restore_report(status: Outcome, error_type: str | None, restore_ms: float) -> Record:
    """Say how a restore ended and how long it took."""
    return _with_error({"status": status, "metrics": {"durationMs": round(restore_ms, 3)}}, error_type)


def extension(name: str, state: str, events: tuple[str, ...], error_type: str | None) -> Record:
    """Say how an extension stands at the end of init."""
    return _with_error({"name": name, "state": state, "events": list(events)}, error_type)


def start(run: Run, version: str) -> Record:
    """Say that an invocation begins."""
    return {"requestId": run.request_id, "version": version, "tracing": _tracing(run)}


def runtime_done(run: Run, status: Outcome, error_type: str | None) -> Record:
    """Say that the runtime has answered, or will not, with the time to its response and the time of it."""
    about: Record = {
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
    return _with_error(about, error_type)


def report(
    run: Run, status: Outcome, error_type: str | None, memory_mb: int | None, *, managed: bool
) -> Record:
    """Say what an invocation took. On managed instances nothing is billed by the invocation."""
    metrics: Record = {"durationMs": round(run.duration_ms, 3)}
    if not managed:
        metrics["billedDurationMs"] = run.billed_ms
        metrics["memorySizeMB"] = memory_mb
        used = None if memory_mb is None else run.max_memory_mb(memory_mb)
        if used is not None:
            metrics["maxMemoryUsedMB"] = used
        if run.reported_init_ms is not None:
            metrics["initDurationMs"] = round(run.reported_init_ms, 3)
        if run.restore_ms is not None:
            metrics["restoreDurationMs"] = round(run.restore_ms, 3)
            metrics["billedRestoreDurationMs"] = run.billed_restore_ms
    about: Record = {
        "requestId": run.request_id,
        "status": status,
        "metrics": metrics,
        "tracing": _tracing(run),
    }
    if run.overhead_ms is not None:
        answered = run.started_ns / 1e9 + run.answered_ms / 1000
        about["spans"] = [_span("extensionOverhead", answered, run.overhead_ms)]
    return _with_error(about, error_type)


def _span(name: str, start_s: float, duration_ms: float) -> Record:
    return {"name": name, "start": timestamp(start_s), "durationMs": round(duration_ms, 3)}


def _tracing(run: Run) -> dict[str, str]:
    return {"type": "X-Amzn-Trace-Id", "value": run.trace_header}


def _with_error(about: Mapping[str, object], error_type: str | None) -> Record:
    return {**about, "errorType": error_type} if error_type else {**about}
