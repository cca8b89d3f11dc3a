"""AWS's own clients of the lab."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config


def client_of(url: str, **options: Any) -> Any:
    return boto3.client(
        "lambda",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
        config=Config(retries={"total_max_attempts": 1}, **options),
    )
