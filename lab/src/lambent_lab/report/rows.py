"""Every raw value as CSV: one row an invocation, in the order of the run (RFC 4180, UTF-8).

A load test has a row for each call that its file keeps, a soak one for each block of invocations.

Columns are named as the keys of the result file. An absent value is empty. A text that a spreadsheet would
read as a formula begins with an apostrophe.
"""

from __future__ import annotations

import csv
import io
import itertools
from typing import TYPE_CHECKING

from lambent_lab.report import load, soak
from lambent_lab.report.places import label

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lambent_lab.measure.results import InvocationRecord, Results, Sample
    from lambent_lab.measure.results_load import LoadSection, SoakSection

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

_OPERATION = ("user", "intended_ms", "started_ms", "ended_ms", "outcome")
_BLOCK = (
    "number",
    "first",
    "n",
    "failed",
    "cold",
    "from_s",
    "to_s",
    "duration_ms",
    "p95_ms",
    "cpu_ms",
    "rss_mb",
    "rss_end_mb",
    "peak_rss_mb",
    "high_water_mb",
    "spans",
    "spans_made",
    "without_spans",
)
OUTCOMES = ("warm", "cold", "failed", "throttled")
"""What the numbers of a load test's outcomes mean."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What makes a spreadsheet read a text as a formula, the wide forms included."""


def render(results: Results) -> str:
    """All raw values. An environment that broke before its first invocation has a row with its error."""
    loaded, soaked = load.section_of(results), soak.section_of(results)
    if not results["samples"] and loaded is not None:
        return table([("operation", *_OPERATION), *_operations(loaded)])
    if not results["samples"] and soaked is not None:
        return table([("side", *_BLOCK), *_blocks(soaked)])
    return table([COLUMNS, *_rows(results)])


def _operations(found: LoadSection) -> Iterator[tuple[object, ...]]:
    raw = found["raw"]
    columns = (raw["user"], raw["intended_ms"], raw["started_ms"], raw["ended_ms"], raw["outcome"])
    for number, (*times, outcome) in enumerate(itertools.zip_longest(*columns)):
        known = isinstance(outcome, int) and outcome in range(len(OUTCOMES))
        yield (number, *times, OUTCOMES[int(outcome)] if known else outcome)


def _blocks(found: SoakSection) -> Iterator[tuple[object, ...]]:
    for side in found["sides"].values():
        for block in side["blocks"]:
            yield (side["label"], *(block.get(key) for key in _BLOCK))


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
