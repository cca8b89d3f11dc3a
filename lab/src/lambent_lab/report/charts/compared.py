"""The cells beside each other: by memory size and by Python, and the phases stacked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambent_lab.report.bench import PHASES, phase
from lambent_lab.report.charts import parts
from lambent_lab.report.charts.parts import AXIS, LEGEND, MARGIN, colour, plain, scale
from lambent_lab.report.charts.values import NAMES
from lambent_lab.report.places import label, pythons, sides, sizes, variants

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lambent_lab.measure.results import Results
    from lambent_lab.report.charts.parts import Chart
    from lambent_lab.report.places import Place

_COLD = ("init_ms", "cold_handler_ms", "cold_flush_ms", "cold_extension_ms")
_WARM = ("handler_ms", "flush_ms", "extension_ms")
_SHADES = {"init": 0, "handler": 1, "flush": 2, "extension": 3}


def _memory(place: Place) -> str:
    return f"{place.cell['memory_mb']:,} MB"


def _python(place: Place) -> str:
    return f"Python {place.cell['python'] or 'unknown'}"


def by_memory(results: Results, shown: Sequence[Place], key: str, *, cost: bool) -> Chart | None:
    """Both sides' medians, or the cost, with intervals over the memory sizes; None below two sizes."""
    if len(sizes(shown)) < 2:
        return None
    other = _python if len(pythons(shown)) > 1 else None
    return _over(results, shown, key, (_memory, other, "memory size"), cost=cost)


def by_python(results: Results, shown: Sequence[Place], key: str, *, cost: bool) -> Chart | None:
    """Both sides' medians, or the cost, with intervals over the versions of Python; None below two."""
    known = pythons(shown)
    if len(known) < 2:
        return None
    ordered = sorted(shown, key=lambda place: known.index(str(place.cell["python"] or known[0])))
    other = _memory if len(sizes(shown)) > 1 else None
    return _over(results, ordered, key, (_python, other, "version of Python"), cost=cost)


def _over(
    results: Results,
    shown: Sequence[Place],
    key: str,
    axis: tuple[Callable[[Place], str], Callable[[Place], str] | None, str],
    *,
    cost: bool,
) -> Chart | None:
    along, other, name = axis
    traces = _lines(results, shown, key, along, other, cost=cost)
    about = f"The difference of the {NAMES[key]}" if cost else f"The {NAMES[key]} of all sides"
    return _chart(traces, f"{about} by {name}.", scaled=not cost)


def _chart(traces: Sequence[Chart], about: str, *, scaled: bool) -> Chart | None:
    if not any(len(trace["x"]) > 1 for trace in traces):
        return None
    layout = parts.line_layout(traces)
    if scaled:
        layout["yaxis"] |= scale([value for trace in traces for value in trace["y"]])
    else:
        layout["yaxis"] |= {"zeroline": True, "rangemode": "tozero"}
    return {"data": list(traces), "layout": layout, "about": about}


def _groups(
    shown: Sequence[Place], other: Callable[[Place], str] | None
) -> list[tuple[int, str, list[Place]]]:
    """The cells by what the other dimension says of them: (its number, its name, the cells)."""
    if other is None:
        return [(0, "", list(shown))]
    names = list(dict.fromkeys(other(place) for place in shown))
    return [(i, name, [place for place in shown if other(place) == name]) for i, name in enumerate(names)]


def _lines(
    results: Results,
    shown: Sequence[Place],
    key: str,
    along: Callable[[Place], str],
    other: Callable[[Place], str] | None,
    *,
    cost: bool,
) -> list[Chart]:
    """A line for each side, or for the cost of each variant, in each of the other dimension's groups."""
    traces = []
    names = variants(shown)
    alone = cost and len(names) == 1
    for number, group, members in _groups(shown, other):
        for side in names if cost else ("baseline", *names):
            of_side = names[0] if side == "baseline" else side  # its cells have the baseline's figures too
            found = [
                (along(place), figure)
                for place in members
                if place.variant == of_side
                and (figure := place.difference(key) if cost else place.figure(key, side)) is not None
            ]
            if found:
                said = "difference" if alone else label(results, side)
                paint = "--difference" if alone else colour(results, side)
                name = f"{said}, {group}" if group else said
                traces.append(parts.line(found, name, paint, "ms", number))
    return traces


def phases(results: Results, shown: Sequence[Place], *, cold: bool) -> Chart | None:
    """The parts of a cold start, or of a warm invocation, one after the other."""
    bars = [
        (name, each)
        for place, side, name in reversed(sides(results, shown))
        if (each := place.cell["phases"].get(side)) is not None
    ]
    traces = []
    for key in _COLD if cold else _WARM:
        figures = [(name, phase(each, key)) for name, each in bars]
        if all(figure is None for _, figure in figures):
            continue
        name = PHASES[key]
        traces.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": name,
                "y": [parts.short(bar, 34) for bar, _ in figures],
                "x": [None if figure is None else figure["median"] for _, figure in figures],
                "text": [
                    "" if figure is None else f"median of {figure['n']}{parts.said(figure)}"
                    for _, figure in figures
                ],
                "textposition": "none",
                "hovertemplate": f"%{{y}}, {plain(name)}: %{{x:.4~g}} ms<br>%{{text}}<extra></extra>",
                "marker": {"color": f"--p{_SHADES[name.removeprefix('first ')]}"},
            }
        )
    if not traces:
        return None
    layout = {
        "height": 110 + 30 * len(bars),
        "barmode": "stack",
        "bargap": 0.35,
        "showlegend": True,
        "legend": {**LEGEND, "traceorder": "normal"},
        "margin": {**MARGIN, "t": 30},
        "xaxis": {**AXIS, "ticksuffix": " ms", "nticks": 6, "tickangle": 0},
        "yaxis": {**AXIS, "type": "category", "showgrid": False},
    }
    what = "a cold start" if cold else "a warm invocation"
    return {"data": traces, "layout": layout, "about": f"The phases of {what}, stacked."}
