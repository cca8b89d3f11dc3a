"""The function that `inject_failure` breaks: it meets FAILURE, and answers all the same."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from lambent.compat.honeyhive import HoneyHiveTracer

tracer = HoneyHiveTracer.init(api_key="test-key", project="test-project")
held: list[bytearray] = []


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Meet the failure within a span, then flush in the time that there is."""
    problem = ""
    with tracer.trace("work") as span:
        span.set_attribute("failure", event["test"])
        try:
            if os.environ["FAILURE"] == "memory_pressure":
                held.extend(bytearray(os.urandom(1 << 10) * (8 << 10)) for _ in range(6))
            elif os.environ["FAILURE"] == "disk_full":
                with Path("/tmp/filler").open("wb") as filler:
                    os.posix_fallocate(filler.fileno(), 0, 1 << 40)
        except OSError as error:
            problem = str(error)
    delivered = tracer.force_flush(timeout_millis=500) and not tracer.stats().dropped
    body = {"delivered": delivered, "problem": problem}
    return {"statusCode": 200 if delivered and not problem else 500, "body": json.dumps(body)}
