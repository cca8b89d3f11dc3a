"""What the figures are made of: axes, points, lines, intervals, the colours of the sides."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lambent_lab.measure.results import Figure, Results

Chart = dict[str, Any]
"""A Plotly figure: `data`, `layout`, and `about` (a sentence for those who cannot see it)."""

AXIS: Chart = {"fixedrange": True, "zeroline": False, "automargin": True}
MARGIN: Chart = {"l": 10, "r": 14, "t": 10, "b": 36}
LEGEND: Chart = {
    "orientation": "h",
    "y": 1.02,
    "yanchor": "bottom",
    "x": 0,
    "xanchor": "left",
    "itemsizing": "constant",
}
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = ("circle", "square-open", "diamond", "triangle-up-open")
_COLOURS = 6


@dataclass(frozen=True, slots=True)
class Plot:
    """A figure with its title. wide: it takes the whole width of the page."""

    title: str
    chart: Chart
    wide: bool = False


def colour(results: Results, side: str) -> str:
    """The name of a side's colour."""
    if side == "baseline":
        return "--baseline"
    others = [name for name in results["targets"] if name != "baseline"]
    return f"--v{others.index(side) % _COLOURS if side in others else 0}"


def plain(text: str) -> str:
    """Text that Plotly shows as it is: it reads a little HTML in texts, and fills in `%{…}` in templates."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return escaped.replace("%{", "%\u200b{")


def short(label: str, limit: int = 14) -> str:
    """A label that fits beside an axis."""
    return plain(label if len(label) <= limit else f"{label[: limit - 1]}…")


def offsets(n: int) -> Iterable[float]:
    """n places between -1 and 1, evenly spread in any order of the values (multiples of the golden ratio)."""
    return [((i * 0.6180339887498949) % 1) * 2 - 1 for i in range(n)]


def points(values: Sequence[float], row: int, spread: float) -> Chart:
    """Values on a row, spread a little across it."""
    return {
        "type": "scatter",
        "mode": "markers",
        "x": list(values),
        "y": [row + spread * offset for offset in offsets(len(values))],
    }


def scale(values: Sequence[float], unit: str = "ms") -> Chart:
    """A logarithmic axis for values that differ by more than a factor of five: stragglers would squeeze the
    rest.

    Its ticks are 1, 2 and 5 times the powers of ten (Plotly's own ones have digits without units between
    them).
    """
    if not values:
        return {}
    low, high = min(values), max(values)
    if low <= 0 or high / low <= 5:
        return {}
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    ticks = [float(f"{digit}e{power}") for power in powers for digit in (1, 2, 5)]
    if high / low > 100:
        ticks = [tick for tick in ticks if f"{tick:e}"[0] == "1"]
    ticks = [tick for tick in ticks if low * 0.8 <= tick <= high * 1.25]
    return {
        "type": "log",
        "tickvals": ticks,
        "ticktext": [f"{tick:g} {unit}" for tick in ticks],
        "ticksuffix": "",
    }


def said(figure: Figure) -> str:
    """A figure's interval in a hover text."""
    interval = figure["interval"]
    if interval is None:
        return ""
    return f"<br>{interval['confidence']:.0%} interval {interval['low']:.4g} to {interval['high']:.4g}"


def median(figure: Figure, row: int, label: str, unit: str) -> Chart:
    """A median with its interval, lying on a row."""
    interval = figure["interval"]
    shown = f"{plain(label)}, median of {figure['n']}: %{{x:.4~g}} {unit}{said(figure)}"
    trace: Chart = {
        "type": "scatter",
        "mode": "markers",
        "x": [figure["median"]],
        "y": [row],
        "hovertemplate": f"{shown}<extra></extra>",
        "marker": {
            "color": "--text",
            "size": 11,
            "symbol": "diamond",
            "line": {"color": "--paper", "width": 1.5},
        },
    }
    if interval is not None:
        trace["error_x"] = {
            "type": "data",
            "symmetric": False,
            "array": [interval["high"] - figure["median"]],
            "arrayminus": [figure["median"] - interval["low"]],
            "color": "--text",
            "thickness": 2,
            "width": 7,
        }
    return trace


def line(
    line_points: Sequence[tuple[str, Figure]], label: str, colour_name: str, unit: str, dash: int = 0
) -> Chart:
    """Medians with their intervals over names, joined by a line."""
    bounds = [(figure["median"], figure["interval"]) for _, figure in line_points]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": plain(label),
        "x": [name for name, _ in line_points],
        "y": [figure["median"] for _, figure in line_points],
        "text": [f"median of {figure['n']}{said(figure)}" for _, figure in line_points],
        "hovertemplate": f"%{{x}}: %{{y:.4~g}} {unit}<br>%{{text}}<extra>{plain(label)}</extra>",
        "line": {"color": colour_name, "width": 2, "dash": DASHES[dash % len(DASHES)]},
        # In a legend a dash looks like a line: the mark tells them apart.
        "marker": {"color": colour_name, "size": 8, "symbol": SYMBOLS[dash % len(SYMBOLS)]},
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [None if end is None else end["high"] - middle for middle, end in bounds],
            "arrayminus": [None if end is None else middle - end["low"] for middle, end in bounds],
            "color": colour_name,
            "thickness": 1.5,
            "width": 6,
        },
    }


def line_layout(traces: Sequence[Chart], unit: str = "ms") -> Chart:
    """The layout of lines over names."""
    return {
        "height": 300 + 16 * max(0, len(traces) // 2 - 1),
        # Beside each other: intervals at the same place would hide one another.
        "scattermode": "group",
        "scattergap": 0.8,
        "showlegend": len(traces) > 1,
        "legend": LEGEND,
        "margin": {**MARGIN, "t": 30},
        "xaxis": {**AXIS, "type": "category", "showgrid": False},
        "yaxis": {**AXIS, "ticksuffix": f" {unit}"},
    }
