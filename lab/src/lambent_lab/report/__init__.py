"""Reports: pure functions of a performance result file."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lambent_lab.measure.results import Results

__all__ = ["FORMATS", "render"]

FORMATS = ("terminal", "html", "markdown", "csv", "junit", "json")
"""The formats `render` knows."""


def render(results: Results, fmt: str) -> str:
    """The report in one of `FORMATS`, as text. Raises ValueError for another one.

    The text can be written as UTF-8: half a surrogate pair in a name is shown as it is escaped.
    """
    return _render(results, fmt).encode("utf-8", "backslashreplace").decode()


def _render(results: Results, fmt: str) -> str:
    if fmt == "json":
        from lambent_lab.measure.results import dumps

        return dumps(results)
    if fmt == "html":
        from lambent_lab.report import html  # Plotly's JavaScript is large: only when asked for

        return html.render(results)
    if fmt == "terminal":
        from lambent_lab.report import terminal

        return terminal.render(results)
    if fmt == "markdown":
        from lambent_lab.report import markdown

        return markdown.render(results)
    if fmt == "csv":
        from lambent_lab.report import rows

        return rows.render(results)
    if fmt == "junit":
        from lambent_lab.report import junit

        return junit.render(results)
    raise ValueError(f"unknown report format {fmt!r}; known are {', '.join(FORMATS)}")
