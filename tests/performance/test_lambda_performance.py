"""Cold and warm starts of a traced function in the lab: specification 001's Lambda test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.performance.performance_utils import settled

if TYPE_CHECKING:
    from lambent_lab.measure import LambdaPerformanceTester

pytestmark = pytest.mark.lambda_


def test_cold_and_warm_starts(lambda_tester: LambdaPerformanceTester) -> None:
    cold = settled(
        lambda: lambda_tester.test_cold_start_performance(iterations=3), lambda each: each["meets_target"]
    )
    assert (cold["n"], cold["failed"], cold["not_cold"], cold["target_ms"]) == (3, 0, 0, 500.0)
    assert cold["meets_target"], cold
    warm = settled(
        lambda: lambda_tester.test_warm_start_performance(iterations=10), lambda each: each["meets_target"]
    )
    assert (warm["n"], warm["failed"], warm["not_warm"], warm["target_ms"]) == (10, 0, 0, 100.0)
    assert warm["meets_target"], warm
    # Ours: the function said how many spans it made, and all of them arrived.
    assert (cold["spans_lost"], warm["spans_lost"]) == (0, 0)
    assert warm["median_warm_start_ms"]["median"] < cold["median_cold_start_ms"]["median"]
