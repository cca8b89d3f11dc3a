"""Every raw value as CSV: one row an invocation, in the order of the run (RFC 4180, UTF-8).

Columns are named as the keys of the result file. An absent value is empty. A text that a spreadsheet would
read as a formula begins with an apostrophe.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from lambent_lab.report.places import label

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lambent_lab.measure.results import InvocationRecord, Results, Sample

_SAMPLE = ("pair", "kind", "side", "memory_mb", "python", "started", "complete")
_INVOCATION = (
    "index",
    "request_id",
    "counted_as",
    "cold",
    "status",
    "error",
    "duration_ms",
    "init_ms",
    "handler_ms",
    "flush_ms",
    "extension_ms",
    "billed_ms",
    "max_memory_mb",
    "peak_rss",
    "peak_with_cache",
    "cpu_ms",
    "spans",
    "spans_made",
    "problems",
)
COLUMNS = ("sample", *_SAMPLE, "label", "sample_error", *_INVOCATION)
"""The heads of the columns of a benchmark's values."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What makes a spreadsheet read a text as a formula, the wide forms included."""


def render(results: Results) -> str:
    """All raw values. An environment that broke before its first invocation has a row with its error."""
    return table([COLUMNS, *_rows(results)])


def table(rows: list[tuple[object, ...]]) -> str:
    """Rows as CSV."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerows([field(value) for value in row] for row in rows)
    return file.getvalue()


def field(value: object) -> str | float:
    """A value as a CSV field: texts cannot become formulas, and what is absent is empty."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return value
    text = "; ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    text = text.replace("\0", "\\0")
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text


def _rows(results: Results) -> Iterator[tuple[object, ...]]:
    for sample in results["samples"]:
        for invocation in sample["invocations"]:
            yield _row(results, sample, invocation)
        if sample["error"] is not None and not sample["invocations"]:
            yield _row(results, sample, None)


def _row(results: Results, sample: Sample, invocation: InvocationRecord | None) -> tuple[object, ...]:
    left = (sample.get(key) for key in _SAMPLE)
    right = (None if invocation is None else invocation.get(key) for key in _INVOCATION)
    return (sample["id"], *left, label(results, sample["side"]), sample["error"], *right)
