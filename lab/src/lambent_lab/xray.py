"""The X-Ray trace header that Lambda gives an invocation."""

from __future__ import annotations

import re
import secrets
import time

_COMPLETE = re.compile(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=[01]")


def header(given: str | None = None) -> str:
    """Return a complete trace header: the caller's, with what it lacks added, or a new unsampled one.

    The form is `Root=1-<8 hex: seconds>-<24 hex>;Parent=<16 hex>;Sampled=<0|1>`. Without active tracing
    Lambda makes headers that are not sampled.
    """
    if not given:
        made = secrets.token_hex(20)
        return f"Root=1-{int(time.time()):08x}-{made[:24]};Parent={made[24:]};Sampled=0"
    if _COMPLETE.fullmatch(given) is not None:
        return given
    fields = dict(part.strip().split("=", 1) for part in given.split(";") if "=" in part)
    fields.setdefault("Root", f"1-{int(time.time()):08x}-{secrets.token_hex(12)}")
    fields.setdefault("Parent", secrets.token_hex(8))
    fields.setdefault("Sampled", "0")
    first = ("Root", "Parent", "Sampled")
    rest = [f"{key}={value}" for key, value in fields.items() if key not in first]
    return ";".join([*(f"{key}={fields[key]}" for key in first), *rest])


def report_field(trace_header: str) -> str | None:
    """Return REPORT's field about the trace, or None when it is not sampled."""
    fields = dict(part.split("=", 1) for part in trace_header.split(";") if "=" in part)
    if fields.get("Sampled") != "1":
        return None
    return f"XRAY TraceId: {fields['Root']}\tSegmentId: {fields['Parent']}\tSampled: true"
