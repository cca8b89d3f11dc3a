"""The benchmark of the bridge measures what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import bridge

import lambent

if TYPE_CHECKING:
    import pytest


def test_every_way_makes_its_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lambent, "_default", None)  # what it was is given back
    for name, loop in bridge.ways().items():
        before = lambent.get_tracer().stats().started
        loop()
        made = lambent.get_tracer().stats().started - before
        assert made == (0 if "sdk" in name else bridge.BATCH + 1), name


def test_it_measures_each() -> None:
    assert all(value > 0 for values in bridge.imports(1) for value in values)
    assert all(taken > 0 for taken in bridge.spans(1).values())
