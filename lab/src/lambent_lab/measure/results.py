"""The performance result file, written and read; its shape is in `lambent_lab.measure.shape`.

A reader accepts a newer file of the same major version (unknown keys are ignored), and files of version 1,
which it brings into the shape of version 2: nothing is invented, what version 1 did not record is absent.
"""

from __future__ import annotations

import json
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from lambent_lab import strictjson
from lambent_lab.errors import LabError, UsageError
from lambent_lab.measure import conforming
from lambent_lab.measure.shape import (
    COLD,
    FAMILY,
    METRICS,
    OPTIONAL_METRICS,
    SCHEMA,
    VERSION,
    Box,
    Cell,
    Counts,
    Doubt,
    Figure,
    FileKind,
    Header,
    ImportAdded,
    ImportNode,
    IntervalInfo,
    InvocationCount,
    InvocationRecord,
    Machine,
    Metric,
    PairValue,
    Percentiles,
    Phases,
    Results,
    Sample,
    SampleKind,
    Settings,
    SideCounts,
    SizeSummary,
    SpanCount,
    TargetInfo,
    TargetKind,
)

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "COLD",
    "METRICS",
    "OPTIONAL_METRICS",
    "SCHEMA",
    "Box",
    "Cell",
    "Counts",
    "Doubt",
    "Figure",
    "FileKind",
    "Header",
    "ImportAdded",
    "ImportNode",
    "IntervalInfo",
    "InvocationCount",
    "InvocationRecord",
    "Machine",
    "Metric",
    "PairValue",
    "Percentiles",
    "Phases",
    "Results",
    "Sample",
    "SampleKind",
    "Settings",
    "SideCounts",
    "SizeSummary",
    "SpanCount",
    "TargetInfo",
    "TargetKind",
    "dumps",
    "loads",
    "no_sections",
    "read",
    "write_text",
]


def no_sections() -> dict[str, Any]:
    """The benchmark's sections of a file that has nothing in them: for files of another kind."""
    settings: Settings = {
        "memory_mb": [],
        "pairs": 0,
        "aa_pairs": 0,
        "warm_per_sample": 0,
        "timeout_s": 0.0,
        "event": None,
        "python": None,
        "bytecode": True,
        "otlp": False,
    }
    counts: Counts = {"samples": 0, "pairs": 0, "aa_pairs": 0, "invocations": 0, "failed": 0}
    return {
        "seed": 0,
        "settings": settings,
        "targets": {},
        "counts": counts,
        "samples": [],
        "summary": [],
        "warnings": [],
        "imports": {},
    }


def dumps(results: Results) -> str:
    """The file's text. Raises ValueError for a number JSON does not have."""
    return json.dumps(results, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write_text(path: Path, text: str) -> None:
    """Put text into a file in one step: a reader finds the old content or the new one. Raises LabError.

    What is no file of its own, a device, a pipe or a link, is written to, and stays what it is.
    """
    try:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            path.write_text(text, encoding="utf-8")
        else:
            _replace(path, text)
    except OSError as error:
        raise LabError(f"Could not write {path}: {error.strerror}.") from error


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("x", encoding="utf-8") as file:
            file.write(text)
        temporary.replace(path)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def read(path: Path) -> Results:
    """A result file. Raises UsageError when it is not one that this version can read."""
    try:
        return loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"Could not read {path}: {error.strerror}.") from error
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from error


def loads(text: str | bytes) -> Results:
    """Results from their text, of this version or an older one. Raises ValueError that says what is wrong."""
    try:
        document: Any = strictjson.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError("it is not JSON; expected a file written by `lambent bench`.") from error
    schema = document.get("schema") if isinstance(document, dict) else None
    if not isinstance(schema, str) or not schema.startswith(f"{FAMILY}/"):
        raise ValueError(f"it is not a {FAMILY} file; expected one written by `lambent bench`.")
    major = schema.rpartition("/")[2].partition(".")[0]
    if major not in {"1", VERSION}:
        raise ValueError(
            f"its schema is {schema}, this version reads {SCHEMA}; use the version that wrote it."
        )
    missing = sorted(_required(document, major) - document.keys())
    if missing:
        raise ValueError(f"it is incomplete: {', '.join(missing)} missing. Was it cut short while copying?")
    if major == "1":
        try:
            _upgrade(document)
        except (AttributeError, TypeError, KeyError, ValueError) as error:
            raise ValueError(
                f"it is not a whole file of version 1 ({type(error).__name__}: {error})."
            ) from error
    whole = document | {key: each for key, each in no_sections().items() if key not in document}
    wrong = conforming.problem(whole)
    if wrong is not None:
        raise ValueError(f"{wrong}. It is not as `lambent` writes it: see docs/reference/result-file.md.")
    return cast("Results", whole)


def _required(document: dict[str, Any], major: str) -> set[str]:
    """The keys without which a file of this version and kind says nothing."""
    header = set(Header.__annotations__)
    if major == "1":
        return (header | no_sections().keys()) - {"kind", "imports"}
    return header | no_sections().keys() if document.get("kind") == "bench" else header


def _upgrade(document: dict[str, Any]) -> None:
    """Bring a document of version 1 into the shape of version 2, in place."""
    document["schema"] = SCHEMA
    document["kind"] = "bench"
    document["imports"] = {}
    for info in document["targets"].values():
        info |= {"kind": "lab", "python": document["settings"].get("python"), "mode": None}
    for sample in document["samples"]:
        sample.setdefault("python", None)
    nothing: Phases = {
        "init_ms": None,
        "handler_ms": None,
        "flush_ms": None,
        "extension_ms": None,
        "cold_handler_ms": None,
        "cold_flush_ms": None,
        "cold_extension_ms": None,
    }
    for cell in document["summary"]:
        cell |= {
            "python": None,
            "variant": "candidate",
            "phases": {side: dict(nothing) for side in ("candidate", "baseline")},
        }
