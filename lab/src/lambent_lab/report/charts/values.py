"""Every value: the distributions of both sides and of the pairs, and all of them in the order of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambent_lab.report.charts import parts
from lambent_lab.report.charts.parts import AXIS, LEGEND, MARGIN, colour, plain, scale
from lambent_lab.report.places import label

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lambent_lab.measure.results import InvocationRecord, Results, Sample
    from lambent_lab.report.charts.parts import Chart
    from lambent_lab.report.places import Place

NAMES = {"cold_ms": "cold start", "warm_ms": "warm invocation"}
_MANY = 6000
"""More points than this are not drawn one by one: a browser would be slow."""


def mine(results: Results, place: Place, side: str) -> list[Sample]:
    """The samples of one side of a cell, in the order of the run."""
    return [
        sample
        for sample in results["samples"]
        if sample["kind"] == "ab"
        and sample["side"] == side
        and sample["memory_mb"] == place.cell["memory_mb"]
        and sample["python"] in {None, place.cell["python"]}
    ]


def distribution(results: Results, place: Place, key: str) -> Chart | None:
    """Every value of both sides, their medians with intervals, and below them the paired differences."""
    metric = place.cell["metrics"].get(key)
    if (
        metric is None
        or metric["candidate"] is None
        or metric["baseline"] is None
        or metric["difference"] is None
    ):
        return None
    names = {"baseline": label(results, "baseline"), place.variant: label(results, place.variant)}
    traces: list[Chart] = []
    for row, side, figure in ((1, "baseline", metric["baseline"]), (0, place.variant, metric["candidate"])):
        samples, paint = mine(results, place, side), colour(results, side)
        if key == "warm_ms" and sum(len(sample["invocations"]) for sample in samples) <= _MANY:
            traces.append(_invocations(samples, row, paint))
        traces.append(_samples(samples, row, paint, key, metric["outliers"]))
        traces.append(parts.median(figure, row, names[side], "ms"))
    drawn = [value for trace in traces for value in trace["x"]]
    differences = [(f"pair {pair['pair']}", pair["difference"]) for pair in metric["pairs"]]
    traces.append(
        {
            **parts.points([value for _, value in differences], 0, 0.28),
            "text": [text for text, _ in differences],
            "hovertemplate": "%{text}: %{x:+.4~g} ms<extra></extra>",
            "marker": {"color": "--difference", "size": 7, "opacity": 0.65},
            "xaxis": "x2",
            "yaxis": "y2",
        }
    )
    traces.append({**parts.median(metric["difference"], 0, "difference", "ms"), "xaxis": "x2", "yaxis": "y2"})
    layout = {
        "height": 330,
        "showlegend": False,
        "margin": MARGIN,
        "xaxis": {**AXIS, "anchor": "y", "ticksuffix": " ms", "nticks": 6, "tickangle": 0, **scale(drawn)},
        "yaxis": {
            **AXIS,
            "domain": [0.44, 1],
            "range": [-0.6, 1.6],
            "tickvals": [1, 0],
            "ticktext": [parts.short(name) for name in names.values()],
            "showgrid": False,
        },
        "xaxis2": {
            **AXIS,
            "anchor": "y2",
            "ticksuffix": " ms",
            "zeroline": True,
            "nticks": 6,
            "tickangle": 0,
        },
        "yaxis2": {
            **AXIS,
            "domain": [0, 0.24],
            "range": [-0.6, 0.6],
            "tickvals": [0],
            "ticktext": ["difference"],
            "showgrid": False,
        },
    }
    about = f"Every {NAMES[key]} at {place.title}, and the differences of the pairs."
    return {"data": traces, "layout": layout, "about": about}


def _invocations(samples: Sequence[Sample], row: int, paint: str) -> Chart:
    warm = [
        (f"environment {sample['id']}, invocation {invocation['index']}", invocation["duration_ms"])
        for sample in samples
        for invocation in sample["invocations"]
        if invocation["counted_as"] == "warm"
    ]
    return {
        **parts.points([value for _, value in warm], row, 0.38),
        "text": [text for text, _ in warm],
        "hovertemplate": "%{text}: %{x:.4~g} ms<extra></extra>",
        "marker": {"color": paint, "size": 3.5, "opacity": 0.28},
    }


def _samples(samples: Sequence[Sample], row: int, paint: str, key: str, flagged: Sequence[int]) -> Chart:
    having = [sample for sample in samples if sample["complete"] and key in sample["values"]]
    of = ", median" if key == "warm_ms" else ""
    return {
        **parts.points([sample["values"][key] for sample in having], row, 0.28),
        "text": [
            f"environment {sample['id']}{of}{' (outlier)' if sample['id'] in flagged else ''}"
            for sample in having
        ],
        "hovertemplate": "%{text}: %{x:.4~g} ms<extra></extra>",
        "marker": {
            "color": paint,
            "size": 8,
            "opacity": 0.75,
            "symbol": ["circle-open" if sample["id"] in flagged else "circle" for sample in having],
        },
    }


def course(results: Results, key: str) -> Chart | None:
    """The value of every environment in the order in which they ran, A/A ones as circles."""
    having = [s for s in results["samples"] if s["kind"] in {"ab", "aa"} and key in s["values"]]
    if len(having) < 2:
        return None
    traces: list[Chart] = []
    for side in _sides(results, having):
        of_side = [(i, sample) for i, sample in enumerate(having, 1) if sample["side"] == side]
        name = label(results, side)
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": plain(name),
                "x": [i for i, _ in of_side],
                "y": [sample["values"][key] for _, sample in of_side],
                "text": [_described(sample) for _, sample in of_side],
                "hovertemplate": f"%{{text}}: %{{y:.4~g}} ms<extra>{plain(name)}</extra>",
                "marker": {
                    "color": colour(results, side),
                    "size": 7,
                    "opacity": 0.8,
                    "symbol": ["circle-open" if s["kind"] == "aa" else "circle" for _, s in of_side],
                },
            }
        )
    about = f"The {NAMES[key]} of every environment in the order of the run."
    return {
        "data": traces,
        "layout": _over([y for t in traces for y in t["y"]], "environment", "ms"),
        "about": about,
    }


def _sides(results: Results, samples: Sequence[Sample]) -> list[str]:
    """The sides of some samples, the baseline first."""
    there = {sample["side"] for sample in samples}
    return [
        side for side in dict.fromkeys(("baseline", *results["targets"], *sorted(there))) if side in there
    ]


def _over(values: Sequence[float], of: str, unit: str) -> Chart:
    """The layout of values over their number in the run."""
    return {
        "height": 300,
        "showlegend": True,
        "legend": {**LEGEND, "itemsizing": "constant"},
        "margin": {**MARGIN, "t": 30, "b": 44},
        "xaxis": {
            **AXIS,
            "title": {"text": of, "standoff": 6, "font": {"size": 12}},
            "rangemode": "tozero",
            "showgrid": False,
        },
        "yaxis": {**AXIS, "ticksuffix": f" {unit}", "rangemode": "tozero", **scale(values, unit)},
    }


def _described(sample: Sample) -> str:
    python = f", Python {sample['python']}" if sample["python"] else ""
    same = ", A/A" if sample["kind"] == "aa" else ""
    return plain(f"environment {sample['id']}, {sample['memory_mb']:,} MB{python}{same}, {sample['started']}")


def memory(results: Results) -> Chart | None:
    """What every invocation held at most, in the order of the run."""
    if any("peak_with_cache" in invocation for _, invocation in _all(results)):
        kinds: list[tuple[str, str, Callable[[InvocationRecord], float | None]]] = [
            ("resident", "circle", lambda i: _megabytes(i.get("peak_rss"))),
            ("with page cache", "triangle-up-open", lambda i: _megabytes(i.get("peak_with_cache"))),
        ]
    else:
        kinds = [("", "circle", lambda i: _megabytes(i.get("peak_rss")) or i["max_memory_mb"])]
    return _resource(results, kinds, "MB", "The peak memory of every invocation in the order of the run.")


def cpu(results: Results) -> Chart | None:
    """The CPU time of every invocation, in the order of the run."""
    return _resource(
        results,
        [("", "circle", lambda i: i["cpu_ms"])],
        "ms",
        "The CPU time of every invocation in the order of the run.",
    )


def _megabytes(size: int | None) -> float | None:
    return None if size is None else round(size / 2**20, 3)


def _all(results: Results) -> list[tuple[Sample, InvocationRecord]]:
    return [(s, i) for s in results["samples"] if s["kind"] in {"ab", "aa"} for i in s["invocations"]]


def _resource(
    results: Results,
    kinds: Sequence[tuple[str, str, Callable[[InvocationRecord], float | None]]],
    unit: str,
    about: str,
) -> Chart | None:
    every = _all(results)
    if len(every) > _MANY:  # the last of each environment stands for it
        every = [
            (s, s["invocations"][-1]) for s in results["samples"] if s["kind"] == "ab" and s["invocations"]
        ]
    traces: list[Chart] = []
    for side in _sides(results, [sample for sample, _ in every]):
        for kind, symbol, value_of in kinds:
            having = [
                (number, value, f"environment {sample['id']}, invocation {invocation['index']}")
                for number, (sample, invocation) in enumerate(every, 1)
                if sample["side"] == side and (value := value_of(invocation)) is not None
            ]
            if not having:
                continue
            name = plain(f"{label(results, side)}{f', {kind}' if kind else ''}")
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": name,
                    "x": [number for number, _, _ in having],
                    "y": [value for _, value, _ in having],
                    "text": [text for _, _, text in having],
                    "hovertemplate": f"%{{text}}: %{{y:.4~g}} {unit}<extra>{name}</extra>",
                    "marker": {"color": colour(results, side), "size": 4, "opacity": 0.6, "symbol": symbol},
                }
            )
    if not traces:
        return None
    values = [value for trace in traces for value in trace["y"]]
    return {"data": traces, "layout": _over(values, "invocation", unit), "about": about}
