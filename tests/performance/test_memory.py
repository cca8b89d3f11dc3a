"""Memory over time: specification 001's stability test. A second of it, or --duration seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.performance.performance_utils import OURS, SPECIFIED, shown

from lambent_lab.measure import MemoryTester

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.memory


def test_long_running_memory_stability(duration: Callable[[float], float]) -> None:
    found = MemoryTester().test_long_running_memory_stability(
        duration_seconds=duration(1), spans_per_second=200, samples_per_second=10
    )
    print(
        f"{found['span_count']} spans in {found['elapsed_s']:.1f} s; RSS {found['min_memory_mb']:.1f} to "
        f"{found['max_memory_mb']:.1f} MB, peak {found['peak_memory_mb']:.1f} MB ({found['peak_source']})"
    )
    assert found["memory_variance_mb"] < SPECIFIED["memory_variance_mb"], shown(found)
    assert found["memory_variance_mb"] < OURS["memory_variance_mb"], shown(found)
    assert found["span_count"] > 0
