"""JSON as its standard has it: without the NaN and Infinity that Python reads and writes."""

from __future__ import annotations

import json
from typing import Any, Never


def loads(text: str | bytes) -> Any:
    """Return the value. Raises ValueError for what is not JSON, RecursionError for nesting too deep."""
    return json.loads(text, parse_constant=_refuse)


def _refuse(constant: str) -> Never:
    raise ValueError(f"{constant} is not a JSON value")
