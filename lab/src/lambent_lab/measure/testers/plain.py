"""Results as plain data: what JSON takes, and the numbers in it by name. Pure."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

_UNITS = (
    (r"(^|_)(per_sec|per_second|per_s|rps|qps|tps)$", "1/s"),
    (r"(^|_)(ms|millis|milliseconds)$", "ms"),
    (r"(^|_)(us|micros|microseconds)$", "us"),
    (r"(^|_)(ns|nanos|nanoseconds)$", "ns"),
    (r"(^|_)(s|sec|secs|seconds)$", "s"),
    (r"(^|_)mb$", "MB"),
    (r"(^|_)kb$", "KB"),
    (r"(^|_)bytes$", "B"),
    (r"(^|_)(percent|pct)$", "%"),
)


def plain(value: object) -> Any:
    """The value as JSON has it: dataclasses become objects, NaN and infinity null, all the rest text."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (Sequence, AbstractSet)) and not isinstance(value, (bytes, bytearray, memoryview)):
        return [plain(each) for each in value]
    return str(value)


def numbers(value: object) -> dict[str, float]:
    """The finite numbers by name, those of inner objects as `outer.inner`. Lists are left out."""
    found: dict[str, float] = {}
    _collect(plain(value), "", found)
    return found


def _collect(value: Any, name: str, found: dict[str, float]) -> None:
    if isinstance(value, dict):
        for key, each in value.items():
            _collect(each, f"{name}.{key}" if name else key, found)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        found[name] = value


def unit(name: str) -> str | None:
    """The unit that a metric's name ends with: ms, us, ns, s, MB, KB, B, % or 1/s; None when it has none."""
    last = name.rpartition(".")[2].lower()
    return next((found for pattern, found in _UNITS if re.search(pattern, last)), None)
