"""Which figures stand in which section of the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambent_lab.report import load, soak, tune
from lambent_lab.report.charts import compared, imports, others, values
from lambent_lab.report.charts.parts import Plot
from lambent_lab.report.places import label, places

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lambent_lab.measure.results import Results
    from lambent_lab.report.charts.parts import Chart

_DETAILED = 6
"""With more cells than this, only the comparisons between them are drawn, and the first cells in detail."""


def plots(results: Results) -> dict[str, list[Plot]]:
    """The figures by the keys of their sections; a section without any is missing."""
    shown = [place for place in places(results) if place.shown]
    found: dict[str, list[tuple[str, Chart | None, bool]]] = {}
    titles = {"cold_ms": "Cold start", "warm_ms": "Warm invocation"}
    for key, title in titles.items():
        wide = len(shown) == 1
        found[key] = [
            (place.title, values.distribution(results, place, key), wide) for place in shown[:_DETAILED]
        ]
        found.setdefault("matrix", []).extend(
            [
                (f"{title} by memory size", compared.by_memory(results, shown, key, cost=False), False),
                (f"{title}: cost by memory size", compared.by_memory(results, shown, key, cost=True), False),
                (f"{title} by Python", compared.by_python(results, shown, key, cost=False), False),
                (f"{title}: cost by Python", compared.by_python(results, shown, key, cost=True), False),
            ]
        )
    if shown:
        found["phases"] = [
            ("A cold start", compared.phases(results, shown, cold=True), False),
            ("A warm invocation", compared.phases(results, shown, cold=False), False),
        ]
        found["course"] = [(title, values.course(results, key), False) for key, title in titles.items()]
        found["resources"] = [
            ("Peak memory", values.memory(results), False),
            ("CPU time", values.cpu(results), False),
        ]
    found["imports"] = [
        (label(results, side), imports.icicle(root, label(results, side)), True)
        for side, root in results["imports"].items()
    ]
    _others(results, found)
    return {key: kept for key, each in found.items() if (kept := list(_drawn(each)))}


def _others(results: Results, found: dict[str, list[tuple[str, Chart | None, bool]]]) -> None:
    loaded, soaked, tuned = load.section_of(results), soak.section_of(results), tune.section_of(results)
    if loaded is not None:
        found["load"] = [
            ("Calls over time", others.throughput(loaded), False),
            ("Waits over time", others.waits(loaded), False),
        ]
        found["latency"] = [
            ("By percentile", others.percentiles(loaded), False),
            ("Every call", others.operations(loaded), False),
        ]
    if soaked is not None:
        keys = {
            "rss_mb": "Resident memory",
            "high_water_mb": "High-water mark, with the page cache",
            "cpu_ms": "CPU time of an invocation",
            "duration_ms": "Duration of an invocation",
        }
        found["soak"] = [
            (title, others.soaked(soaked, key), False)
            for key, title in keys.items()
            if soak.told(soaked, key)
        ]
    if tuned is not None:
        found["tune"] = [
            ("Cost of a million invocations", others.costs(tuned, "mixed"), False),
            ("Duration against cost", others.trade(tuned), False),
            ("Cold start by memory size", others.sizes(tuned, "cold_ms"), False),
            ("Warm invocation by memory size", others.sizes(tuned, "warm_ms"), False),
        ]


def _drawn(each: Iterable[tuple[str, Chart | None, bool]]) -> Iterable[Plot]:
    return [Plot(title, chart, wide) for title, chart, wide in each if chart is not None]
