"""The import tree of a cold start as an icicle: below each module what it imported, as wide as it took.

Modules too small to be seen are put together, so that a page does not grow with the standard library. A
module is at least as wide as all that it imported: its own clock is rounded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambent_lab.report import words
from lambent_lab.report.charts.parts import plain

if TYPE_CHECKING:
    from lambent_lab.measure.results import ImportNode
    from lambent_lab.report.charts.parts import Chart

_SEEN = 0.002
"""A module with less than this share of the whole is put together with others of its kind."""


def icicle(root: ImportNode, label: str) -> Chart | None:
    """The tree under its root; None of a tree without modules."""
    if not root["children"]:
        return None
    drawn = _Drawn(max(root["cumulative_us"], 1) * _SEEN)
    drawn.add(root, "", words.capital(f"{label}, all imports"))
    trace = {
        "type": "icicle",
        "ids": drawn.ids,
        "parents": drawn.parents,
        "labels": drawn.labels,
        "values": drawn.values,
        "customdata": drawn.selfs,
        "branchvalues": "total",
        "sort": False,
        "tiling": {"orientation": "v", "pad": 1},
        "maxdepth": 7,
        "pathbar": {"visible": True, "thickness": 20, "edgeshape": "|"},
        "hovertemplate": "%{label}<br>%{value:.3~f} ms with its imports, "
        "%{customdata} ms itself<extra></extra>",
        "texttemplate": "%{label}<br>%{value:.2~f} ms",
        "textfont": {"size": 11},
        "marker": {"colors": drawn.shades, "line": {"color": "--paper", "width": 1}},
        "root": {"color": "--line"},
    }
    layout = {
        "height": 340,
        "margin": {"l": 4, "r": 4, "t": 24, "b": 4},
        "uniformtext": {"minsize": 9, "mode": "hide"},
    }
    about = f"The modules that a cold start imports ({label}), and what each takes."
    return {"data": [trace], "layout": layout, "about": about}


class _Drawn:
    """The columns of an icicle while it is put together."""

    def __init__(self, least_us: float) -> None:
        self.ids: list[str] = []
        self.parents: list[str] = []
        self.labels: list[str] = []
        self.values: list[float] = []
        self.selfs: list[str] = []
        self.shades: list[str] = []
        self._least = least_us

    def add(self, root: ImportNode, parent: str, name: str) -> None:
        """The whole tree, without recursion: imports can be nested deeply."""
        widths = _widths(root)
        waiting = [(root, parent, name, 0)]
        while waiting:
            node, above, shown, depth = waiting.pop()
            me = str(len(self.ids))
            self._put(me, above, shown, widths[id(node)], node["self_us"], depth)
            small = [child for child in node["children"] if widths[id(child)] < self._least]
            large = [child for child in node["children"] if widths[id(child)] >= self._least]
            waiting += [(child, me, child["name"], depth + 1) for child in reversed(large)]
            if small:
                width = sum(widths[id(child)] for child in small)
                own = sum(child["self_us"] for child in small)
                others = f"{len(small):,} smaller ones" if len(small) > 1 else small[0]["name"]
                self._put(f"{me}+", me, others, width, own, depth + 1)

    def _put(self, me: str, above: str, name: str, width_us: int, self_us: int, depth: int) -> None:
        self.ids.append(me)
        self.parents.append(above)
        self.labels.append(plain(name))
        self.values.append(round(width_us / 1000, 3))
        self.selfs.append(words.number(self_us / 1000))
        self.shades.append("--line" if depth == 0 else f"--i{(depth - 1) % 4}")


def _widths(root: ImportNode) -> dict[int, int]:
    """How wide each module is drawn, by its identity: never less than what is below it."""
    ordered: list[ImportNode] = [root]
    for node in ordered:  # grows while it is read: parents stand before their children
        ordered.extend(node["children"])
    widths: dict[int, int] = {}
    for node in reversed(ordered):
        widths[id(node)] = max(node["cumulative_us"], sum(widths[id(child)] for child in node["children"]))
    return widths
