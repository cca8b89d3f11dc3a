"""Meets a failure and answers all the same: a collector that hangs or is gone, little memory, a full disk."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import lambent

tracer = lambent.init()
held: list[bytes] = []


def _meet(failure: str) -> str:
    """Meet the failure; return what the operating system says to it, if anything."""
    try:
        if failure == "memory_pressure":
            while len(held) < 80:  # MB, most of what a function of 128 MB may have
                held.append(b"\xff" * (1 << 20))
        elif failure == "out_of_memory":
            while True:
                held.append(b"\xff" * (1 << 20))
        elif failure == "disk_full":
            with Path("/tmp/filler").open("wb") as filler:
                os.posix_fallocate(filler.fileno(), 0, 1 << 40)
    except OSError as error:
        return str(error)
    return ""


@tracer.handler
def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Do the work within a span, and answer, whatever becomes of the spans."""
    with tracer.trace("work") as span:
        span.set_attribute("failure", event["test"])
        problem = _meet(event["test"])
    delivered = tracer.force_flush(timeout_millis=500) and not tracer.stats().dropped
    return {"statusCode": 200, "body": json.dumps({"delivered": delivered, "problem": problem})}
