"""Counting what needs no statistics: the package's size, bytes exported, system calls of a cold start.

All of it apart from what is timed, in environments of its own. What cannot be counted on this machine or for
this target is absent. System calls are counted where strace is installed and the box lets it trace; the count
is the smallest of two cold starts, because waiting takes more calls on a busy machine, never fewer.
"""

from __future__ import annotations

import re
import shutil
import stat
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from lambent_lab.errors import LabError
from lambent_lab.measure.accounting import counting
from lambent_lab.traces.stdout import MARKER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lambent_lab.measure.bench import Benchmark
    from lambent_lab.measure.sampler import LabLike
    from lambent_lab.measure.target import Target
    from lambent_lab.service import Function, Lab

_CALL = re.compile(r"^(?:\[pid +\d+\] )?[a-z_][a-z0-9_]*\(")
"""How strace begins a line about a call; one that is resumed on another line is counted once."""

_TRACE = """#!/bin/sh
exec {strace} -f -qq -s 0 -a 0 -e signal=none {python} "$@"
"""
_TRACED_TIMES = 2
_EXPORTS = 2  # a cold and a warm invocation
_NAME = "counted"
"""Of all sides: a function's name is in its spans, and its length in their bytes."""

_SLOWER_S = 60.0
"""What a traced function may take: each of its calls costs it many times over."""


_MADE = frozenset({"__pycache__", ".lambent"})


def package_bytes(code: Path) -> int | None:
    """The unpacked size of a package in bytes, without what Python caches; None when it cannot be read."""
    try:
        if code.is_file():
            with zipfile.ZipFile(code) as archive:
                return sum(each.file_size for each in archive.infolist())
        if not code.is_dir():
            return None
        # Nor the trace store of a lab that was started in the folder.
        files = (path for path in code.rglob("*") if _MADE.isdisjoint(path.parts) and path.is_file())
        return sum(path.stat().st_size for path in files)
    except (OSError, zipfile.BadZipFile):
        return None


def count(
    benchmark: Benchmark,
    sides: Mapping[str, Target],
    lab: LabLike,
    on_step: Callable[[str], None] | None = None,
) -> dict[str, dict[str, float]]:
    """The counts of each side, by the names of `config.COUNTS`. A side that cannot run has fewer."""
    from lambent_lab.service import Lab

    found: dict[str, dict[str, float]] = {}
    for side, target in sides.items():
        mine = found[side] = {}
        if target.kind != "lab":
            continue
        size = package_bytes(target.code)
        if size is not None:
            mine["package-bytes"] = size
        if not isinstance(lab, Lab):
            continue
        try:
            exported = _exported(benchmark, target, lab)
            if exported is not None:
                mine["exported-bytes"] = exported
            calls = _system_calls(benchmark, target, lab)
            if calls is not None:
                mine["system-calls"] = calls
        except LabError:
            continue  # what is the matter with this side, the samples say
        finally:
            if on_step is not None:
                on_step(side)
    return found


def _exported(benchmark: Benchmark, target: Target, lab: Lab) -> float | None:
    """The bytes that an invocation exports, over a cold and a warm one: bodies received, lines printed."""
    function = _function(benchmark, target, lab)
    before, printed = lab.received.bytes, 0
    try:
        for _ in range(_EXPORTS):
            result = function.invoke(benchmark.event)
            if not result.ok:
                return None
            printed += sum(len(line.encode()) + 1 for line in result.log.splitlines() if MARKER in line)
    finally:
        function.stop()  # what an extension sends at the end is sent now
    return (lab.received.bytes - before + printed) / _EXPORTS


def _system_calls(benchmark: Benchmark, target: Target, lab: Lab) -> int | None:
    """The system calls of a cold start and its first invocation; None where they cannot be counted."""
    strace = shutil.which("strace")
    if strace is None:
        return None
    counts: list[int] = []
    with tempfile.TemporaryDirectory(prefix="lambent-count-") as folder:
        python = Path(folder) / "python"
        inner = _interpreter(benchmark)
        python.write_text(_TRACE.format(strace=strace, python=Path(inner).absolute()))
        python.chmod(python.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
        Path(folder).chmod(0o755)  # the function may run as another user
        for _ in range(_TRACED_TIMES):
            lines: list[str] = []
            function = _function(benchmark, target, lab, python=python, on_line=lines.append)
            try:
                result = function.invoke(benchmark.event)
                seen = sum(1 for line in lines if _CALL.match(line))
            finally:
                function.stop()
            if not result.ok or not seen:
                return None  # strace may not trace here, or the function does not bear it
            counts.append(seen)
    return min(counts)


def _interpreter(benchmark: Benchmark) -> Path:
    """The first of the interpreters that functions run on."""
    from lambent_lab.staging.pythons import find

    version, path = next(iter(benchmark.interpreters.items()))
    if path is not None:
        return path
    return Path(sys.executable) if version is None else find(version).path


def _function(
    benchmark: Benchmark,
    target: Target,
    lab: Lab,
    *,
    python: Path | None = None,
    on_line: Callable[[str], None] | None = None,
) -> Function:
    version, path = next(iter(benchmark.interpreters.items()))
    return lab.function(
        _NAME,
        code=target.code,
        handler=target.handler,
        # With a whole vCPU, whatever is measured: a count does not depend on it, the wait for it does.
        memory=max(1769, *benchmark.sizes),
        timeout=max(_SLOWER_S, benchmark.timeout_s),
        env=counting(target.env, lab.otlp_url if benchmark.otlp else None),
        python=python or path,
        runtime=f"python{version}" if python is path is None and version is not None else None,
        bytecode=benchmark.bytecode,
        init_cpu=benchmark.init_cpu,
        on_line=on_line,
    )
