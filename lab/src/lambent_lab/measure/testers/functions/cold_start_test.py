"""Says what its own start cost: import, init, handler, flush. Cold in a new environment, warm after that."""

from __future__ import annotations

import json
import time
from typing import Any

COLD_START = True

_begun = time.perf_counter()
import lambent  # noqa: E402 - how long this takes is what is measured

SDK_IMPORT_MS = (time.perf_counter() - _begun) * 1000

_begun = time.perf_counter()
tracer = lambent.init()
TRACER_INIT_MS = (time.perf_counter() - _begun) * 1000

WORK = 2_000
"""Steps of work in an invocation: a fixed amount of CPU, so that a slower machine is seen to be slower."""


def _work(steps: int) -> int:
    total = 0
    for step in range(steps):
        total += step * step
    return total


def _peak_rss_mb() -> float | None:
    """The most memory that this process has held, by the kernel's own account; None where there is none."""
    try:
        # pathlib is a module more in what is measured.
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:  # noqa: PTH123
            peak = [line for line in status if line.startswith("VmHWM:")]
    except OSError:
        return None
    return int(peak[0].split()[1]) / 1024 if peak else None


@tracer.handler
def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Do the work within a span, flush, and tell how long each part took, in milliseconds."""
    global COLD_START
    begun = time.perf_counter()
    cold, COLD_START = COLD_START, False

    with tracer.trace("cold_start_test") as span:
        span.set_attribute("lambda.cold_start", cold)
        span.set_attribute("lambda.request_id", context.aws_request_id)
        work_begun = time.perf_counter()
        span.set_attribute("lambda.work", _work(int(event.get("work", WORK))))
        work_ms = (time.perf_counter() - work_begun) * 1000

    flush_begun = time.perf_counter()
    flushed = tracer.force_flush(timeout_millis=1000)
    ended = time.perf_counter()
    flush_ms = (ended - flush_begun) * 1000

    body = {
        "message": "Cold start test completed",
        "cold_start": cold,
        "timings": {
            "sdk_import_ms": SDK_IMPORT_MS,
            "tracer_init_ms": TRACER_INIT_MS,
            "handler_total_ms": (ended - begun) * 1000,
            "work_time_ms": work_ms,
            "flush_time_ms": flush_ms,
        },
        "flush_success": flushed,
        "performance_impact": {
            "init_overhead_ms": SDK_IMPORT_MS + TRACER_INIT_MS if cold else 0.0,
            "runtime_overhead_ms": flush_ms,
        },
        "peak_rss_mb": _peak_rss_mb(),
    }
    return {"statusCode": 200, "body": json.dumps(body)}
