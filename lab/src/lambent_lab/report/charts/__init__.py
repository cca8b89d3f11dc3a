"""The figures of the page, as Plotly's own JSON. Every point is a number of the result file.

Points are spread across their row by their position in the run, so equal inputs give equal figures. Colours
are names of the page's own style (`--baseline`, `--v0`, …): its script replaces them by those of its theme.
"""

from __future__ import annotations

from lambent_lab.report.charts.parts import Chart, Plot
from lambent_lab.report.charts.placing import plots

__all__ = ["Chart", "Plot", "plots"]
