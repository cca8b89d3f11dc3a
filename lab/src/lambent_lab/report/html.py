"""The result as one HTML page that needs no network.

Plotly's JavaScript is in it once, compressed (2 MB in place of 5); its own policy
(`Content-Security-Policy`) lets the page load nothing from anywhere and run only the two scripts it was made
with, Plotly's among them: the browser compares their digests. Texts are escaped by Jinja2; data goes into
`<script>` elements as JSON in which `<`, `>` and `&` are escaped, so no name can end the element.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from functools import cache
from typing import TYPE_CHECKING

import jinja2
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from lambent_lab.report.charts import plots
from lambent_lab.report.charts.parts import colour
from lambent_lab.report.places import label, places, variants
from lambent_lab.report.view import page

if TYPE_CHECKING:
    from lambent_lab.measure.results import Results
    from lambent_lab.report.charts import Chart, Plot
    from lambent_lab.report.document import Document, Section

_ESCAPES = {
    ord("<"): "\\u003c",
    ord(">"): "\\u003e",
    ord("&"): "\\u0026",
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}
_BADGES = {
    "measured": "Measured",
    "passed": "Pass",
    "failed": "Fail",
    "unsure": "Inconclusive",
    "interrupted": "Interrupted",
}
_ASIDE = re.compile(r"(\([^()]*\))")
_FIGURE = re.compile(
    r"((?:[+-]?\d[\d,.]*\sto\s)?[+-]?\d[\d,.]*(?:\u2013[\d,.]*\d)?\s(?:ms|spans)\b|[+-]\d[\d,.]*\sMB\b|[+-]?\d[\d,.]*\s?%)"
)
_WIDE_TABLE = 4
"""Tables with more columns than this become lists on a phone."""

_WARNINGS = 6
"""More warnings than this are folded away."""

_SMALL_TABLE = 4
"""Two tables with no more columns than this stand beside each other."""


def embedded_json(value: object) -> Markup:
    """JSON that may stand inside a `<script>` element. Raises ValueError for numbers JSON does not have."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Safe by the escapes above: no `<` is left that could begin a tag or a comment.
    return Markup(text.translate(_ESCAPES))  # noqa: S704


def emphasised(text: str) -> Markup:
    """A sentence with its figures in bold, and what stands in brackets (their intervals) set back."""
    parts = []
    for number, each in enumerate(_ASIDE.split(text)):
        if number % 2:
            parts.append(Markup('<span class="aside">{}</span>').format(each))
        else:
            said = enumerate(_FIGURE.split(each))
            parts += [
                Markup("<strong>{}</strong>").format(part) if i % 2 else escape(part) for i, part in said
            ]
    return Markup("").join(parts)


def render(results: Results) -> str:
    """The whole page."""
    document = page(results)
    drawn = plots(results)
    kept = [section for section in document.sections if _has(section) or drawn.get(section.key)]
    script = _template("report.js").render()
    badge = _badge(document)
    return _template("report.html.j2").render(
        document=document,
        badge=badge,
        verdict=document.verdict.removeprefix(f"{badge.upper()}: "),
        sections=kept,
        places={key: _placed(key, each) for key, each in drawn.items()},
        legend=_legend(results),
        many=_WIDE_TABLE,
        small=_SMALL_TABLE,
        shown_warnings=_WARNINGS,
        figure_data=embedded_json(_figures(drawn)),
        raw=embedded_json(results),
        started=results["started"].replace("T", " ").replace("+00:00", " UTC"),
        tool=results["tool"],
        plotly=_packed_plotly(),
        # This program's own file, not input; that it does not end its element is tested.
        script=Markup(script),  # noqa: S704
        policy=_policy(get_plotlyjs(), script),
    )


def _badge(document: Document) -> str:
    nothing = document.state == "failed" and document.kind == "bench"
    return "No result" if nothing else _BADGES[document.state]


def _has(section: Section) -> bool:
    return bool(section.lines) or any(table.shown for table in section.tables)


def _placed(key: str, each: list[Plot]) -> list[tuple[str, Plot]]:
    return [(f"{key}-{number}", plot) for number, plot in enumerate(each)]


def _figures(drawn: dict[str, list[Plot]]) -> dict[str, Chart]:
    """The page's figures by the names of their places."""
    return {name: plot.chart for key, each in drawn.items() for name, plot in _placed(key, each)}


def _legend(results: Results) -> list[tuple[str, str]]:
    """The colours of the sides that are shown, with their names."""
    shown = [place for place in places(results) if place.shown]
    if not shown:
        return []
    return [(colour(results, side), label(results, side)) for side in ("baseline", *variants(shown))]


def _policy(*scripts: str) -> str:
    digests = [hashlib.sha256(script.encode()).digest() for script in scripts]
    allowed = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


@cache
def _packed_plotly() -> str:
    # Without the time, so that equal results give equal pages.
    return base64.b64encode(gzip.compress(str(get_plotlyjs()).encode(), 6, mtime=0)).decode()


@cache
def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("lambent_lab.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["emphasised"] = emphasised
    return made


def _template(name: str) -> jinja2.Template:
    return _environment().get_template(name)
