"""What a report shows: its text, and what its charts are drawn from."""

from __future__ import annotations

import html as html_module
import json
import re
from typing import TYPE_CHECKING, Any

from lambent_lab import report

if TYPE_CHECKING:
    from lambent_lab.measure import Results


def shown(results: Results, form: str) -> str:
    """A report's visible text on one line."""
    text = report.render(results, form)
    if form == "html":
        text = text[text.index("<body>") : text.index("<script")]
        text = re.sub(r'</?strong>|<span class="aside">|(?<=\))</span>', "", text)
        text = html_module.unescape(re.sub(r"<[^>]+>", " ", text))
    return re.sub(r"\s+", " ", text)


def drawn(results: Results) -> dict[str, Any]:
    """The figures that an HTML report has for its charts."""
    text = report.render(results, "html")
    [data] = re.findall(r'<script type="application/json" id="figures">(.*?)</script>', text)
    found = json.loads(data)
    assert isinstance(found, dict)
    return found
