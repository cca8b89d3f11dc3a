"""Which variables a function may have of its own: not those that Lambda sets, and 4 KB in all.

The names are those that AWS's documentation lists as reserved ("Defined runtime environment variables"), and
the words those of its API. Other variables of the runtime, such as PATH, TZ or PYTHONPATH, may be set.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from lambent_lab.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_BYTES = 4096
"""How long a function's variables may be together, as JSON."""

RESERVED = frozenset(
    {
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_DEFAULT_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_LAMBDA_MAX_CONCURRENCY",
        "AWS_LAMBDA_RUNTIME_API",
        "AWS_REGION",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "LAMBDA_RUNTIME_DIR",
        "LAMBDA_TASK_ROOT",
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
    }
)
"""What only Lambda sets."""

_UNABLE = (
    "InvalidParameterValueException: Lambda was unable to configure your environment variables because "
    "the environment variables you have provided"
)


def check_variables(variables: Mapping[str, str]) -> None:
    """Raise UsageError for variables that Lambda would not take, in the words of its API."""
    wrong = sorted(RESERVED & variables.keys())
    if wrong:
        raise UsageError(
            f"{_UNABLE} contains reserved keys that are currently not supported for modification. "
            f"Reserved keys used in this request: {', '.join(wrong)}"
        )
    text = json.dumps(dict(variables), separators=(",", ":"), ensure_ascii=False)
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        raise UsageError(f"{_UNABLE} exceeded the 4KB limit: they have {size} bytes.")
