"""The figures of load tests, soaks and tunings. Every point is a number of the result file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambent_lab.report.charts import parts
from lambent_lab.report.charts.parts import AXIS, LEGEND, MARGIN, SYMBOLS, plain, scale
from lambent_lab.report.soak import NAMES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambent_lab.measure.results import Figure
    from lambent_lab.measure.results_load import LoadSection, SoakSection, TuneSection
    from lambent_lab.report.charts.parts import Chart

_MANY = 6000
_OUTCOMES = (("warm", "--baseline"), ("cold", "--v4"), ("failed", "--bad"), ("throttled", "--v3"))


def _xy(
    name: str, x: Sequence[float], y: Sequence[float | None], paint: str, unit: str, mode: str = "lines"
) -> Chart:
    return {
        "type": "scatter",
        "mode": mode,
        "name": plain(name),
        "x": list(x),
        "y": list(y),
        "hovertemplate": f"%{{x}}: %{{y:.4~g}} {unit}<extra>{plain(name)}</extra>",
        "line": {"color": paint, "width": 2},
        "marker": {"color": paint, "size": 4},
    }


def _layout(title: str, y_suffix: str, *, zero: bool = True) -> Chart:
    return {
        "height": 300,
        "showlegend": True,
        "legend": LEGEND,
        "margin": {**MARGIN, "t": 30, "b": 44},
        "xaxis": {**AXIS, "title": {"text": title, "standoff": 6, "font": {"size": 12}}, "showgrid": False},
        "yaxis": {**AXIS, "ticksuffix": y_suffix, **({"rangemode": "tozero"} if zero else {})},
    }


def throughput(found: LoadSection) -> Chart | None:
    """Calls in every slice of the time, by what became of them, and how many users there were."""
    series = found["series"]
    if not series:
        return None
    kinds = (("succeeded", "--v1"), ("failed", "--bad"), ("throttled", "--v3"))
    counts = {
        "succeeded": [each["succeeded"] for each in series],
        "failed": [each["failed"] for each in series],
        "throttled": [each["throttled"] for each in series],
    }
    traces: list[Chart] = [
        {
            "type": "bar",
            "name": kind,
            "x": [each["from_s"] for each in series],
            "width": [each["to_s"] - each["from_s"] for each in series],
            "offset": 0,
            "y": counts[kind],
            "hovertemplate": f"from %{{x:.4~g}} s: %{{y:,}} {kind}<extra></extra>",
            "marker": {"color": paint, "line": {"width": 0}},
        }
        for kind, paint in kinds
        if any(counts[kind])
    ]
    users = _xy("users", [s["from_s"] for s in series], [s["users"] for s in series], "--text", "users")
    traces.append(
        {**users, "yaxis": "y2", "line": {"color": "--text", "width": 1.5, "shape": "hv", "dash": "dot"}}
    )
    layout = {**_layout("seconds", ""), "barmode": "stack", "bargap": 0}
    most = max(each["users"] for each in series)
    layout["yaxis2"] = {
        **AXIS,
        "overlaying": "y",
        "side": "right",
        "rangemode": "tozero",
        "showgrid": False,
        "tickmode": "linear",
        "tick0": 0,
        "dtick": max(1, -(-most // 4)),
        "title": {"text": "users", "standoff": 4, "font": {"size": 12}},
    }
    return {"data": traces, "layout": layout, "about": "Calls and users in every slice of the time."}


def waits(found: LoadSection) -> Chart | None:
    """The median and the longest wait in every slice of the time."""
    series = [each for each in found["series"] if each["p50_ms"] is not None or each["max_ms"] is not None]
    if not series:
        return None
    x = [each["from_s"] for each in series]
    traces = [
        _xy("median", x, [each["p50_ms"] for each in series], "--baseline", "ms", "lines+markers"),
        _xy("longest", x, [each["max_ms"] for each in series], "--v0", "ms", "lines+markers"),
    ]
    values = [value for trace in traces for value in trace["y"] if value is not None]
    layout = _layout("seconds", " ms")
    layout["yaxis"] |= scale(values)
    return {"data": traces, "layout": layout, "about": "The median and the longest wait over time."}


def percentiles(found: LoadSection) -> Chart | None:
    """The whole distribution of the waits: what share of them was longer than how much."""
    part = found["steady"] or found["all"]
    traces = []
    for name, latency, paint in (
        ("what a user waits", part["latency"], "--v0"),
        ("what a call takes", part["service"], "--baseline"),
    ):
        curve = [(each[0], each[1]) for each in latency["curve"] if len(each) == 2 and each[0] < 100]
        if curve:
            # 1/(1-p): each step to the right is one more nine.
            x = [100 / (100 - percent) for percent, _ in curve]
            trace = _xy(name, x, [value for _, value in curve], paint, "ms")
            trace["text"] = [f"{percent:g}%" for percent, _ in curve]
            trace["hovertemplate"] = f"%{{text}} waited at most %{{y:.4~g}} ms<extra>{name}</extra>"
            traces.append(trace)
    if not traces:
        return None
    layout = _layout("percentile", " ms")
    layout["xaxis"] |= {
        "type": "log",
        "tickvals": [1, 2, 10, 20, 100, 1000, 10000],
        "ticktext": ["0%", "50%", "90%", "95%", "99%", "99.9%", "99.99%"],
    }
    layout["yaxis"] |= scale([value for trace in traces for value in trace["y"]])
    return {"data": traces, "layout": layout, "about": "The distribution of the waits by percentile."}


def operations(found: LoadSection) -> Chart | None:
    """Every call that the file keeps: when it was meant to begin, and how long until it was done."""
    raw = found["raw"]
    calls = list(zip(raw["intended_ms"], raw["ended_ms"], raw["outcome"], strict=False))
    step = max(1, -(-len(calls) // _MANY))  # of very many, every so many-th
    traces = []
    for number, (name, paint) in enumerate(_OUTCOMES):
        mine = [(began, ended) for began, ended, outcome in calls[::step] if outcome == number]
        if mine:
            x, y = [began / 1000 for began, _ in mine], [ended - began for began, ended in mine]
            trace = _xy(name, x, y, paint, "ms", "markers")
            trace["marker"] |= {"opacity": 0.5}
            traces.append(trace)
    if not traces:
        return None
    layout = _layout("seconds", " ms")
    layout["yaxis"] |= scale([value for trace in traces for value in trace["y"]])
    layout["legend"] = {**LEGEND, "itemsizing": "constant"}
    return {"data": traces, "layout": layout, "about": "Every call by the time at which it was to begin."}


def soaked(found: SoakSection, key: str) -> Chart | None:
    """One quantity of every block over the invocations of its side."""
    traces = []
    for number, (name, side) in enumerate(found["sides"].items()):
        blocks = [(b["first"], value) for b in side["blocks"] if isinstance(value := b.get(key), int | float)]
        if blocks:
            paint = "--baseline" if name == "baseline" else f"--v{max(0, number - 1) % 6}"
            x, y = [first for first, _ in blocks], [value for _, value in blocks]
            traces.append(
                _xy(side["label"], x, y, paint, "MB" if key.endswith("_mb") else "ms", "lines+markers")
            )
    if not traces:
        return None
    layout = _layout("invocations of the side", " MB" if key.endswith("_mb") else " ms", zero=False)
    return {"data": traces, "layout": layout, "about": f"The {NAMES.get(key, key)} over the invocations."}


def sizes(found: TuneSection, key: str) -> Chart | None:
    """Times over the memory sizes: cold or warm."""
    points: list[tuple[str, Figure]] = []
    for size in found["sizes"]:
        figure = size["cold_ms"] if key == "cold_ms" else size["warm_ms"]
        if figure is not None:
            points.append((f"{size['memory_mb']:,} MB", figure))
    if len(points) < 2:
        return None
    name = "cold start" if key == "cold_ms" else "warm invocation"
    trace = parts.line(points, name, "--baseline", "ms")
    layout = parts.line_layout([trace])
    layout["yaxis"] |= scale(trace["y"]) or {"rangemode": "tozero"}
    return {"data": [trace], "layout": layout, "about": f"The {name} by memory size."}


def costs(found: TuneSection, key: str) -> Chart | None:
    """What a million invocations cost over the memory sizes, on each architecture."""
    traces = []
    for number, name in enumerate(found["prices"]["gb_second"]):
        points: list[tuple[str, Figure]] = []
        for size in found["sizes"]:
            cost = size["cost"].get(name)
            figure = None if cost is None else cost["mixed"] if key == "mixed" else cost["warm"]
            if figure is not None:
                points.append((f"{size['memory_mb']:,} MB", figure))
        if len(points) > 1:
            traces.append(parts.line(points, name, "--baseline" if number == 0 else "--v0", "USD", number))
    if not traces:
        return None
    layout = parts.line_layout(traces, "")
    layout["yaxis"] |= {"tickprefix": "$", "ticksuffix": "", "rangemode": "tozero"}
    return {"data": traces, "layout": layout, "about": "What a million invocations cost, by memory size."}


def trade(found: TuneSection) -> Chart | None:
    """Time against cost: each memory size a point, the better the further down and left."""
    name = found["architecture"]
    points = []
    for size in found["sizes"]:
        cost = size["cost"].get(name)
        mixed = None if cost is None else cost["mixed"]
        if mixed is not None and size["mixed_ms"] is not None:
            points.append((f"{size['memory_mb']:,} MB", size["mixed_ms"]["median"], mixed["median"]))
    if len(points) < 2:
        return None
    x, y = [time for _, time, _ in points], [cost for _, _, cost in points]
    line = {
        **_xy(name, x, y, "--line", "USD"),
        "hoverinfo": "skip",
        "showlegend": False,
        "line": {"color": "--line", "width": 1.5},
    }
    # The names stand in the legend: beside points that are close to each other they would overlap.
    sizes = [
        {
            **_xy(label, [time], [cost], f"--v{i % 6}", "USD", "markers"),
            "hovertemplate": f"{plain(label)}: %{{x:.4~g}} ms, $%{{y:.4~g}}<extra></extra>",
            "marker": {"color": f"--v{i % 6}", "size": 10, "symbol": SYMBOLS[i // 6 % len(SYMBOLS)]},
        }
        for i, (label, time, cost) in enumerate(points)
    ]
    layout = _layout("average duration (ms)", "")
    layout["height"] += 16 * max(0, len(points) // 3 - 1)
    layout["xaxis"] |= {"ticksuffix": " ms", "nticks": 6, "tickangle": 0}
    layout["yaxis"] |= {"tickprefix": "$", "rangemode": "normal"}
    return {
        "data": [line, *sizes],
        "layout": layout,
        "about": "Average duration against cost, a point for each size.",
    }
