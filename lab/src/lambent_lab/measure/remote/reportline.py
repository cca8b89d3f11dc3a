"""Lambda's REPORT line, and the record that stands for it in a log in JSON. Pure.

Rules
- A field is a name, a colon, a number and its unit; fields are separated by tabs (in some logs by spaces).
  Fields that are not known are passed over; of two lines about one request the last counts.
- Nothing is made up: what the line does not say is None.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from lambent_lab.measure.remote.answer import Figures

if TYPE_CHECKING:
    from collections.abc import Iterable

_NUMBER = r"(\d+(?:\.\d+)?)"
# "Duration" is the end of other fields' names too: it must stand at the beginning of its own.
_FIELDS = {
    "duration_ms": re.compile(rf"(?:^|[\t ])(?<!Billed )(?<!Init )(?<!Restore )Duration: {_NUMBER} ms"),
    "billed_ms": re.compile(rf"(?<!Restore )\bBilled Duration: {_NUMBER} ms"),
    "init_ms": re.compile(rf"\bInit Duration: {_NUMBER} ms"),
    "restore_ms": re.compile(rf"(?<!Billed )\bRestore Duration: {_NUMBER} ms"),
    "max_memory_mb": re.compile(rf"\bMax Memory Used: {_NUMBER} MB"),
}
_METRICS = {
    "duration_ms": "durationMs",
    "billed_ms": "billedDurationMs",
    "init_ms": "initDurationMs",
    "restore_ms": "restoreDurationMs",
    "max_memory_mb": "maxMemoryUsedMB",
}


def parse(lines: Iterable[str], request_id: str) -> Figures | None:
    """What the log says of a request; None when it has no report of it.

    A restore of a snapshot takes the place of the init: the caller waited for it.
    """
    found: Figures | None = None
    for line in lines:
        figures = _json(line, request_id) if line.lstrip().startswith("{") else _text(line, request_id)
        found = figures or found
    return found


def _text(line: str, request_id: str) -> Figures | None:
    _, marker, rest = line.partition("REPORT RequestId: ")
    about, _, fields = rest.partition("\t")
    if not marker or about.split(" ", 1)[0].strip() != request_id:
        return None
    fields = fields or rest
    said = {name: match[1] for name, form in _FIELDS.items() if (match := form.search(fields))}
    return _figures({name: float(text) for name, text in said.items()})


def _json(line: str, request_id: str) -> Figures | None:
    try:
        record: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or record.get("type") != "platform.report":
        return None
    about = record.get("record")
    if not isinstance(about, dict) or about.get("requestId") != request_id:
        return None
    metrics = about.get("metrics")
    if not isinstance(metrics, dict):
        return None
    said = {name: _number(metrics.get(key)) for name, key in _METRICS.items()}
    return _figures({name: float(value) for name, value in said.items() if value is not None})


def _number(value: object) -> float | None:
    known = isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
    return float(value) if known and isinstance(value, int | float) else None


def _figures(said: dict[str, float]) -> Figures | None:
    if "duration_ms" not in said:
        return None
    billed, memory = said.get("billed_ms"), said.get("max_memory_mb")
    return Figures(
        duration_ms=said["duration_ms"],
        billed_ms=None if billed is None else round(billed),
        init_ms=said.get("init_ms", said.get("restore_ms")),
        max_memory_mb=None if memory is None else round(memory),
    )
