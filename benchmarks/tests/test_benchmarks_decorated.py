"""The microbenchmark of decorators measures what it says."""

from __future__ import annotations

from benchmarks import decorated

import lambent
from lambent.exporters.memory import MemoryExporter


def test_every_way_makes_the_same_spans() -> None:
    for name, loop in decorated.ways(
        lambent.init(exporter=(spans := MemoryExporter()), set_global=True)
    ).items():
        loop()
        assert [span.name.rpartition(".")[2].removesuffix("_async") for span in spans.spans] == (
            ["work"] * decorated.BATCH
        ), name
        spans.clear()


def test_it_measures_each() -> None:
    assert all(taken > 0 for taken in decorated.measure(1).values())
