"""The tests that specification 001 shows for its testers, run with ours: same names, same keys, same limits.

Its own classes are run by `test_spec_blocks.py`. Nothing is changed but the package's name and how long the
memory test takes.
"""

from __future__ import annotations

import asyncio
import inspect
import os
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest
from tests.performance.performance_utils import PATIENCE_S
from tests.spec.blocks import PYTHON

from lambent.compat.honeyhive import HoneyHiveTracer, atrace, trace
from lambent_lab import measure

if TYPE_CHECKING:
    from pathlib import Path

ATTEMPTS = 6
"""As in `table.py`, with the same allowance: these hold times against a limit, whatever else is running."""

USES = {
    "001:310": "test_comprehensive_performance",
    "001:524": "test_memory_performance",
    "001:639": "test_async_performance",
    "001:1151": "test_with_benchmarking",
}


@pytest.mark.benchmark
@pytest.mark.parametrize("place", USES)
def test_our_testers_in_their_tests(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {
        "HoneyHiveTracer": HoneyHiveTracer,
        "trace": trace,
        "atrace": atrace,
        "asyncio": asyncio,
        **{name: getattr(measure, name) for name in measure.__all__},
    }
    code = PYTHON[place].renamed.replace("duration_seconds=30", "duration_seconds=1")
    exec(compile(code, place, "exec"), names)  # a document of this repository
    end = monotonic() + PATIENCE_S
    for attempt in count(1):
        try:
            found = names[USES[place]]()
            if inspect.iscoroutine(found):
                asyncio.run(found)
        except AssertionError:
            if attempt < ATTEMPTS or monotonic() < end:
                continue
            load, processors = os.getloadavg()[0], os.cpu_count() or 1
            if load > processors:
                pytest.xfail(f"it measures time, and {load:.1f} processes want {processors} processors")
            raise
        else:
            return
