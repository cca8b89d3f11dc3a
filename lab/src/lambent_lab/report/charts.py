"""The figures of the page, as Plotly's own JSON. Every point is a number of the result file.

Points are spread across their row by their position in the run, so equal inputs give equal figures. Colours
are names (`candidate`, `baseline`, …) that the page's script replaces by those of its theme.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lambent_lab.measure.results import Figure, Results, Sample, SizeSummary

Chart = dict[str, Any]
"""A Plotly figure: `data`, `layout`, and `about` (a sentence for those who cannot see it)."""

_AXIS: dict[str, Any] = {"fixedrange": True, "zeroline": False, "automargin": True}
_METRICS = {"cold_ms": "cold start", "warm_ms": "warm invocation"}


def distribution(results: Results, size: SizeSummary, key: str) -> Chart | None:
    """Every value of both sides, their medians with intervals, and below them the paired differences."""
    metric = size["metrics"][key]
    if metric["candidate"] is None or metric["baseline"] is None or metric["difference"] is None:
        return None
    names = {"candidate": size["variant"], "baseline": "baseline"}
    labels = {side: results["targets"][name]["label"] for side, name in names.items()}
    place = (size["memory_mb"], size["python"])
    traces: list[Chart] = []
    for row, side in ((1, "baseline"), (0, "candidate")):
        mine = [
            sample
            for sample in results["samples"]
            if (sample["kind"], sample["side"]) == ("ab", names[side])
            and (sample["memory_mb"], sample["python"]) == place
        ]
        if key == "warm_ms":
            traces.append(_invocations(mine, row, side))
        traces.append(_samples(mine, row, side, key, metric["outliers"]))
        figure = metric["candidate"] if side == "candidate" else metric["baseline"]
        traces.append(_median(figure, row, labels[side], "ms"))
    points = [value for trace in traces for value in trace["x"]]
    differences = [(f"pair {pair['pair']}", pair["difference"]) for pair in metric["pairs"]]
    traces.append(
        {
            **_points([value for _, value in differences], 0, 0.28),
            "text": [text for text, _ in differences],
            "hovertemplate": "%{text}: %{x:+.4~g} ms<extra></extra>",
            "marker": {"color": "difference", "size": 7, "opacity": 0.65},
            "xaxis": "x2",
            "yaxis": "y2",
        }
    )
    traces.append({**_median(metric["difference"], 0, "difference", "ms"), "xaxis": "x2", "yaxis": "y2"})
    layout = {
        "height": 330,
        "showlegend": False,
        "margin": {"l": 10, "r": 14, "t": 10, "b": 36},
        "xaxis": {**_AXIS, "anchor": "y", "ticksuffix": " ms", "nticks": 6, **_scale(points)},
        "yaxis": {
            **_AXIS,
            "domain": [0.44, 1],
            "range": [-0.6, 1.6],
            "tickvals": [1, 0],
            "ticktext": [_short(labels["baseline"]), _short(labels["candidate"])],
            "showgrid": False,
        },
        "xaxis2": {**_AXIS, "anchor": "y2", "ticksuffix": " ms", "zeroline": True, "nticks": 6},
        "yaxis2": {
            **_AXIS,
            "domain": [0, 0.24],
            "range": [-0.6, 0.6],
            "tickvals": [0],
            "ticktext": ["difference"],
            "showgrid": False,
        },
    }
    about = f"Every {_METRICS.get(key, key)} at {size['memory_mb']} MB, and the differences of the pairs."
    return {"data": traces, "layout": layout, "about": about}


def by_size(results: Results, sizes: Sequence[SizeSummary], key: str) -> Chart | None:
    """Both sides' medians with intervals over the memory sizes; None below two sizes."""
    traces: list[Chart] = []
    for side in ("baseline", "candidate"):
        points = [
            (size["memory_mb"], figure)
            for size in sizes
            if (figure := size["metrics"][key]["candidate" if side == "candidate" else "baseline"])
            is not None
        ]
        if len(points) < 2:
            return None
        name = sizes[0]["variant"] if side == "candidate" else side
        traces.append(_line(points, results["targets"][name]["label"], side, "ms"))
    layout = _line_layout(traces)
    layout["yaxis"] |= _scale([value for trace in traces for value in trace["y"]])
    about = f"The {_METRICS[key]} of both sides by memory size."
    return {"data": traces, "layout": layout, "about": about}


def cost_by_size(sizes: Sequence[SizeSummary], key: str) -> Chart | None:
    """The paired difference with its interval over the memory sizes; None below two sizes."""
    points = [
        (size["memory_mb"], figure)
        for size in sizes
        if (figure := size["metrics"][key]["difference"]) is not None
    ]
    if len(points) < 2:
        return None
    traces = [_line(points, "difference", "difference", "ms")]
    layout = _line_layout(traces)
    layout["yaxis"]["zeroline"] = True
    layout["yaxis"]["rangemode"] = "tozero"
    return {
        "data": traces,
        "layout": layout,
        "about": f"The difference of the {_METRICS[key]} by memory size.",
    }


def _scale(values: Sequence[float]) -> Chart:
    """A logarithmic axis for values that differ by more than a factor of five: stragglers would squeeze the
    rest.

    Its ticks are 1, 2 and 5 times the powers of ten (Plotly's own ones have digits without units between
    them).
    """
    low, high = min(values), max(values)
    if low <= 0 or high / low <= 5:
        return {}
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    ticks = [float(f"{digit}e{power}") for power in powers for digit in (1, 2, 5)]
    if high / low > 100:
        ticks = [tick for tick in ticks if f"{tick:e}"[0] == "1"]
    return {
        "type": "log",
        "tickvals": ticks,
        "ticktext": [f"{tick:g} ms" for tick in ticks],
        "ticksuffix": "",
    }


def _short(label: str) -> str:
    return _plain(label if len(label) <= 14 else f"{label[:13]}…")


def _plain(text: str) -> str:
    """Text that Plotly shows as it is: it reads a little HTML in texts."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _points(values: Sequence[float], row: int, spread: float) -> Chart:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": list(values),
        "y": [row + spread * offset for offset in _offsets(len(values))],
    }


def _offsets(n: int) -> Iterable[float]:
    """n places between -1 and 1, evenly spread in any order of the values (multiples of the golden ratio)."""
    return [((i * 0.6180339887498949) % 1) * 2 - 1 for i in range(n)]


def _invocations(samples: Sequence[Sample], row: int, side: str) -> Chart:
    warm = [
        (f"environment {sample['id']}, invocation {invocation['index']}", invocation["duration_ms"])
        for sample in samples
        for invocation in sample["invocations"]
        if invocation["counted_as"] == "warm"
    ]
    return {
        **_points([value for _, value in warm], row, 0.38),
        "text": [text for text, _ in warm],
        "hovertemplate": "%{text}: %{x:.4~g} ms<extra></extra>",
        "marker": {"color": side, "size": 3.5, "opacity": 0.28},
    }


def _samples(samples: Sequence[Sample], row: int, side: str, key: str, flagged: Sequence[int]) -> Chart:
    having = [sample for sample in samples if sample["complete"] and key in sample["values"]]
    median = ", median" if key == "warm_ms" else ""
    return {
        **_points([sample["values"][key] for sample in having], row, 0.28),
        "text": [
            f"environment {sample['id']}{median}{' (outlier)' if sample['id'] in flagged else ''}"
            for sample in having
        ],
        "hovertemplate": "%{text}: %{x:.4~g} ms<extra></extra>",
        "marker": {
            "color": side,
            "size": 8,
            "opacity": 0.75,
            "symbol": ["circle-open" if sample["id"] in flagged else "circle" for sample in having],
        },
    }


def _median(figure: Figure, row: int, label: str, unit: str) -> Chart:
    interval = figure["interval"]
    shown = f"{_plain(label)}, median of {figure['n']}: %{{x:.4~g}} {unit}{_said(figure)}"
    trace: Chart = {
        "type": "scatter",
        "mode": "markers",
        "x": [figure["median"]],
        "y": [row],
        "hovertemplate": f"{shown}<extra></extra>",
        "marker": {
            "color": "text",
            "size": 11,
            "symbol": "diamond",
            "line": {"color": "paper", "width": 1.5},
        },
    }
    if interval is not None:
        trace["error_x"] = {
            "type": "data",
            "symmetric": False,
            "array": [interval["high"] - figure["median"]],
            "arrayminus": [figure["median"] - interval["low"]],
            "color": "text",
            "thickness": 2,
            "width": 7,
        }
    return trace


def _said(figure: Figure) -> str:
    interval = figure["interval"]
    if interval is None:
        return ""
    return f"<br>99% interval {interval['low']:.4g} to {interval['high']:.4g}"


def _line(points: Sequence[tuple[int, Figure]], label: str, side: str, unit: str) -> Chart:
    trace: Chart = {
        "type": "scatter",
        "mode": "lines+markers",
        "name": _plain(label),
        "x": [f"{size:,} MB" for size, _ in points],
        "y": [figure["median"] for _, figure in points],
        "text": [f"median of {figure['n']}{_said(figure)}" for _, figure in points],
        "hovertemplate": f"%{{x}}: %{{y:.4~g}} {unit}<br>%{{text}}<extra>{_plain(label)}</extra>",
        "line": {"color": side, "width": 2},
        "marker": {"color": side, "size": 8},
    }
    bounds = [(figure["median"], figure["interval"]) for _, figure in points]
    trace["error_y"] = {
        "type": "data",
        "symmetric": False,
        "array": [None if interval is None else interval["high"] - middle for middle, interval in bounds],
        "arrayminus": [None if interval is None else middle - interval["low"] for middle, interval in bounds],
        "color": side,
        "thickness": 1.5,
        "width": 6,
    }
    return trace


def _line_layout(traces: Sequence[Chart]) -> Chart:
    return {
        "height": 300,
        "showlegend": len(traces) > 1,
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "margin": {"l": 10, "r": 14, "t": 30, "b": 36},
        "xaxis": {**_AXIS, "type": "category", "showgrid": False},
        "yaxis": {**_AXIS, "ticksuffix": " ms"},
    }
