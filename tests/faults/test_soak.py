"""Some thousands of invocations in one environment; `make soak` runs a hundred thousand."""

from __future__ import annotations

import pytest
from tests.faults.soak import ALLOWED, alone, growth, soak, too_much

TIMES = 1000


@pytest.mark.timeout(300)
async def test_nothing_grows() -> None:
    untraced = await soak("off", TIMES)
    for mode in ("sync", "async"):
        samples = await soak(mode, TIMES)
        assert too_much(growth(samples, untraced), TIMES) == {}, (mode, samples, untraced)
        assert samples[-1]["lost"] == 0


def test_nothing_grows_without_the_runtime_client() -> None:
    samples = alone(20 * TIMES)
    grown = growth(samples)
    assert all(grown[name] <= ALLOWED[name] for name in ALLOWED), samples
