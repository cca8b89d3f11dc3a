"""What the Lambda suite's tests share."""

from __future__ import annotations

collect_ignore = ["lambda_functions"]  # functions, whose names look like tests'
