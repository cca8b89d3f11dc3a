from __future__ import annotations

import base64
import copy
import gzip
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from plotly.offline import get_plotlyjs

from lambent_lab import report
from lambent_lab.measure import read
from lambent_lab.report.html import embedded_json

if TYPE_CHECKING:
    from lambent_lab.measure import Results

STORED = Path(__file__).parent / "data" / "performance-results.json"
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&amp;<!--\u2028{{ 7*7 }}"


class Reader(HTMLParser):
    """Every element with its attributes, and the text of every script by its order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.words: list[str] = []
        self._script: list[str] | None = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self._script = []

    def handle_endtag(self, tag: str) -> None:
        if tag == "script" and self._script is not None:
            self.scripts.append((self.elements_named("script")[len(self.scripts)], "".join(self._script)))
            self._script = None

    def handle_data(self, data: str) -> None:
        (self.words if self._script is None else self._script).append(data)

    def elements_named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def data(self, identity: str) -> Any:
        [text] = [text for attributes, text in self.scripts if attributes.get("id") == identity]
        return json.loads(text)


@pytest.fixture(scope="module")
def stored() -> Results:
    return read(STORED)


@pytest.fixture
def results(stored: Results) -> Results:
    return copy.deepcopy(stored)


@pytest.fixture(scope="module")
def text(stored: Results) -> str:
    return report.render(stored, "html")


def test_the_page_has_one_script_and_three_data_blocks(text: str) -> None:
    reader = Reader(text)
    assert [attributes for attributes, _ in reader.scripts] == [
        {"type": "application/json", "id": "figures"},
        {"type": "application/json", "id": "raw"},
        {"type": "application/gzip", "id": "plotly"},
        {},
    ]


def test_plotly_is_in_the_page_packed(text: str) -> None:
    [packed] = [code for attributes, code in Reader(text).scripts if attributes.get("id") == "plotly"]
    assert gzip.decompress(base64.b64decode(packed, validate=True)).decode() == get_plotlyjs()
    assert len(text) < 3_000_000


def test_equal_results_give_equal_pages(text: str, stored: Results) -> None:
    assert report.render(stored, "html") == text


def test_the_page_refers_to_nothing_outside(text: str) -> None:
    reader = Reader(text)
    for name, attributes in reader.elements:
        assert name not in {"link", "iframe", "img", "object", "embed", "base", "form"}
        assert not {"src", "srcset", "action", "background"} & attributes.keys()
        assert (attributes.get("href") or "#").startswith("#")
    assert re.findall(r"https?:|\s//\w+\.|url\(|@import", text) == []


def test_the_policy_lets_only_these_scripts_run_and_nothing_load(text: str) -> None:
    reader = Reader(text)
    [policy] = [
        attributes["content"] or ""
        for attributes in reader.elements_named("meta")
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split(";")}
    assert rules["default-src"] == ["'none'"]
    scripts = [get_plotlyjs(), reader.scripts[3][1]]
    digests = [hashlib.sha256(script.encode()).digest() for script in scripts]
    assert rules["script-src"] == [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]
    assert "connect-src" not in rules


def test_the_raw_data_in_the_page_is_the_file(text: str) -> None:
    assert Reader(text).data("raw") == json.loads(STORED.read_bytes())


def test_every_figure_has_its_place_and_every_place_its_figure(text: str) -> None:
    reader = Reader(text)
    places = [attributes["data-figure"] for _, attributes in reader.elements if "data-figure" in attributes]
    counts = {"matrix": 4, "cold_ms": 2, "warm_ms": 2, "phases": 2, "course": 2, "resources": 2}
    expected = [f"{key}-{number}" for key, count in counts.items() for number in range(count)]
    assert places == expected
    assert sorted(reader.data("figures")) == sorted(expected)
    labelled = [attributes for _, attributes in reader.elements if "data-figure" in attributes]
    assert all(attributes["role"] == "img" and attributes["aria-label"] for attributes in labelled)


def test_the_plots_hold_every_raw_value(text: str, stored: Results) -> None:
    figures = Reader(text).data("figures")
    for number, size in enumerate((128, 512)):
        mine = [each for each in stored["samples"] if (each["kind"], each["memory_mb"]) == ("ab", size)]
        cold = sorted(sample["values"]["cold_ms"] for sample in mine)
        data = figures[f"cold_ms-{number}"]["data"]
        drawn = [value for trace in data for value in trace["x"] if trace["marker"]["size"] == 8]
        assert sorted(drawn) == cold
        warm = sorted(i["duration_ms"] for each in mine for i in each["invocations"] if not i["cold"])
        data = figures[f"warm_ms-{number}"]["data"]
        drawn = [value for trace in data for value in trace["x"] if trace["marker"]["size"] == 3.5]
        assert sorted(drawn) == warm


def test_the_intervals_drawn_are_those_of_the_file(text: str, stored: Results) -> None:
    figures = Reader(text).data("figures")
    difference = stored["summary"][0]["metrics"]["warm_ms"]["difference"]
    assert difference is not None
    assert difference["interval"] is not None
    drawn = figures["warm_ms-0"]["data"][-1]
    assert drawn["x"] == [difference["median"]]
    assert drawn["error_x"]["array"] == [difference["interval"]["high"] - difference["median"]]
    assert drawn["error_x"]["arrayminus"] == [difference["median"] - difference["interval"]["low"]]


def test_one_size_has_tiles_and_no_lines(results: Results) -> None:
    results["summary"] = results["summary"][:1]
    reader = Reader(report.render(results, "html"))
    assert not any(name.startswith("matrix") for name in reader.data("figures"))
    assert "cost of a cold start" in reader.words


def test_a_failed_size_has_no_plots(results: Results) -> None:
    results["warnings"].append(
        {"code": "failed", "severity": "failure", "memory_mb": 128, "text": "It failed."}
    )
    figures = Reader(report.render(results, "html")).data("figures")
    assert [name for name in figures if name[:4] in {"cold", "warm", "matr"}] == ["cold_ms-0", "warm_ms-0"]
    assert figures["cold_ms-0"]["about"].startswith("Every cold start at 512 MB")


def test_names_cannot_leave_their_place(results: Results) -> None:
    hostile = copy.deepcopy(results)
    for side in ("candidate", "baseline"):
        hostile["targets"][side].update(
            {"target": HOSTILE, "label": HOSTILE, "handler": HOSTILE, "switch": HOSTILE}
        )
        hostile["targets"][side]["env"] = {HOSTILE: HOSTILE}
    hostile["command"] = [HOSTILE]
    hostile["error"] = HOSTILE
    hostile["settings"]["event"] = hostile["machine"]["cpu_model"] = hostile["tool"] = HOSTILE
    hostile["samples"][0]["invocations"][0]["error"] = HOSTILE
    hostile["warnings"] = [{"code": "x", "severity": "warning", "memory_mb": None, "text": HOSTILE}]
    assert hostile["box"] is not None
    hostile["box"].update({"kind": HOSTILE, "cannot": [HOSTILE]})
    reader, plain = Reader(report.render(hostile, "html")), Reader(report.render(results, "html"))
    assert len(reader.scripts) == len(plain.scripts)
    assert {name for name, _ in reader.elements} <= {name for name, _ in plain.elements}
    assert not any(key.startswith("on") for _, attributes in reader.elements for key in attributes)
    assert reader.data("raw") == json.loads(json.dumps(hostile))
    assert any(HOSTILE in words for words in reader.words)


def test_labels_in_plots_are_not_read_as_markup(results: Results) -> None:
    for side in ("candidate", "baseline"):
        results["targets"][side]["label"] = "<a href='x'>b</a>"
    figures = Reader(report.render(results, "html")).data("figures")
    texts = [
        figures["cold_ms-0"]["layout"]["yaxis"]["ticktext"],
        figures["matrix-0"]["data"][0]["name"],
    ]
    assert "<a " not in str(texts)
    assert "&lt;a " in str(texts)


@pytest.mark.parametrize("text", ["</script>", "<!--", "<script", "]]>", "&lt;", "\u2028\u2029", '"\\'])
def test_embedded_json_has_no_markup_and_reads_back(text: str) -> None:
    written = str(embedded_json({text: [text]}))
    assert not set("<>&\u2028\u2029") & set(written)
    assert json.loads(written) == {text: [text]}


def test_numbers_that_json_does_not_have_are_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        embedded_json(float("inf"))
