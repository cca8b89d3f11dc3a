"""Some thousands of invocations in one environment; `make soak` runs a hundred thousand."""

from __future__ import annotations

import pytest
from tests.faults.soak import ALLOWED, growth, soak

TIMES = 1000


@pytest.mark.timeout(300)
async def test_nothing_grows() -> None:
    untraced = await soak("off", TIMES)
    for mode in ("sync", "async"):
        samples = await soak(mode, TIMES)
        grown = growth(samples, untraced)
        assert all(grown[name] <= ALLOWED[name] for name in ALLOWED), (mode, samples, untraced)
        assert samples[-1]["lost"] == 0
