"""The smallest traced function: a tracer outside the handler, the handler decorated."""

from __future__ import annotations

import json
from typing import Any

import lambent

tracer = lambent.init()


@tracer.handler
def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer 200, from within a span of its own."""
    with tracer.trace("lambda_execution") as span:
        span.set_attribute("lambda.request_id", context.aws_request_id)
        span.set_attribute("lambda.function_name", context.function_name)
        result = {"message": "lambent works in Lambda!", "test": event.get("test")}
    return {"statusCode": 200, "body": json.dumps(result)}
