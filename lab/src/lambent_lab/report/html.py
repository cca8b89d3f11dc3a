"""The result as one HTML page that needs no network.

Plotly's JavaScript is in it once; its own policy (`Content-Security-Policy`) lets the page load nothing
from anywhere and run only the scripts it was written with. Texts are escaped by Jinja2; data goes into
`<script>` elements as JSON in which `<`, `>` and `&` are escaped, so no name can end the element.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from typing import TYPE_CHECKING

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from lambent_lab.report import charts
from lambent_lab.report.view import page

if TYPE_CHECKING:
    from lambent_lab.measure.results import Results, SizeSummary
    from lambent_lab.report.charts import Chart

_ESCAPES = {
    ord("<"): "\\u003c",
    ord(">"): "\\u003e",
    ord("&"): "\\u0026",
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}


def embedded_json(value: object) -> Markup:
    """JSON that may stand inside a `<script>` element. Raises ValueError for numbers JSON does not have."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Safe by the escapes above: no `<` is left that could begin a tag or a comment.
    return Markup(text.translate(_ESCAPES))  # noqa: S704


def render(results: Results) -> str:
    """The whole page."""
    view = page(results)
    pairs = zip(results["summary"], view.sizes, strict=True)
    sizes = [size for size, shown in pairs if shown.rows]
    figures = _figures(results, sizes)
    plotly, script = _plotly(), _template("report.js").render()
    return _template("report.html.j2").render(
        view=view,
        figures=figures,
        figure_data=embedded_json(figures),
        raw=embedded_json(results),
        # Both are this program's own files, not input; that they do not end their element is tested.
        plotly=Markup(plotly),  # noqa: S704
        script=Markup(script),  # noqa: S704
        policy=_policy(plotly, script),
    )


def _figures(results: Results, sizes: list[SizeSummary]) -> dict[str, Chart]:
    """The page's figures by the id of their place."""
    found: dict[str, Chart | None] = {}
    for key in ("cold_ms", "warm_ms"):
        for size in sizes:
            found[f"{key}-{size['memory_mb']}"] = charts.distribution(results, size, key)
        found[f"{key}-sizes"] = charts.by_size(results, sizes, key)
        found[f"{key}-cost"] = charts.cost_by_size(sizes, key)
    return {place: figure for place, figure in found.items() if figure is not None}


def _policy(*scripts: str) -> str:
    digests = [hashlib.sha256(script.encode()).digest() for script in scripts]
    allowed = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


@cache
def _plotly() -> str:
    return str(get_plotlyjs())


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("lambent_lab.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _template(name: str) -> jinja2.Template:
    return _environment().get_template(name)
