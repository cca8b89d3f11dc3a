"""Tracing as applications write it: a decorated function, an enriched span, a failure that is recorded."""

from __future__ import annotations

import json
import os
from typing import Any

import lambent

tracer = lambent.init()


@lambent.trace(event_type="tool", event_name="basic_operation")
def process_data(data: dict[str, Any]) -> dict[str, Any]:
    """Return the data, with what Lambda says of the function; fail when it is told to."""
    lambent.enrich_span(metadata={"data_size": len(json.dumps(data))}, outputs={"processed": True})
    if data.get("fail"):
        raise ValueError("told to fail")
    return {
        "processed_data": data,
        "lambda_context": {
            "function_name": os.environ["AWS_LAMBDA_FUNCTION_NAME"],
            "function_version": os.environ["AWS_LAMBDA_FUNCTION_VERSION"],
            "memory_limit": os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"],
        },
    }


@tracer.handler
def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Process the event. What fails in it is answered with 500, and is on its span."""
    try:
        result = process_data(event)
    except ValueError as error:
        return {"statusCode": 500, "body": json.dumps({"error": str(error)})}
    return {
        "statusCode": 200,
        "body": json.dumps({"result": result, "flush_success": tracer.force_flush(timeout_millis=1000)}),
    }
