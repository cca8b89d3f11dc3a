"""Reports: pure functions of a performance result file."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lambent_lab.measure.results import Results

__all__ = ["FORMATS", "render"]

FORMATS = ("terminal", "html", "json")
"""The formats `render` knows."""


def render(results: Results, form: str) -> str:
    """The report in one of `FORMATS`, as text. Raises ValueError for another one."""
    if form == "terminal":
        from lambent_lab.report import terminal

        return terminal.render(results)
    if form == "html":
        from lambent_lab.report import html  # Plotly's JavaScript is large: only when asked for

        return html.render(results)
    if form == "json":
        from lambent_lab.measure.results import dumps

        return dumps(results)
    raise ValueError(f"unknown report format {form!r}; known are {', '.join(FORMATS)}")
