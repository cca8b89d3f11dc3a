"""Reports of a matrix: several variants and versions of Python, phases, import trees."""

from __future__ import annotations

import copy
import json
import random
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from lab.tests.reports import drawn, shown

from lambent_lab import report
from lambent_lab.measure import Benchmark, dumps, loads, run
from lambent_lab.measure.target import Target
from lambent_lab.measure.testing import FakeLab
from lambent_lab.report import terminal, words
from lambent_lab.report.charts import plots
from lambent_lab.report.charts.imports import icicle
from lambent_lab.report.places import places, version
from lambent_lab.report.view import page

if TYPE_CHECKING:
    from lambent_lab.measure import Results

TREE: Any = {
    "name": "all imports",
    "self_us": 0,
    "cumulative_us": 10_000,
    "children": [
        {
            "name": "app<b>",
            "self_us": 2_000,
            "cumulative_us": 9_000,
            "children": [
                {"name": "json", "self_us": 6_990, "cumulative_us": 6_990, "children": []},
                {"name": "tiny", "self_us": 6, "cumulative_us": 6, "children": []},
                {"name": "small", "self_us": 4, "cumulative_us": 4, "children": []},
            ],
        },
        # Its clock is rounded: what it imports took longer than all of it.
        {
            "name": "odd",
            "self_us": 0,
            "cumulative_us": 900,
            "children": [{"name": "os", "self_us": 1_000, "cumulative_us": 1_000, "children": []}],
        },
    ],
}


def target(folder: Path, label: str, **env: str) -> Target:
    return Target(text="app/app.handler", code=folder, handler="app.handler", label=label, env=env)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = tmp_path_factory.mktemp("app")
    benchmark = Benchmark(
        baseline=target(folder, "untraced", OTEL_SDK_DISABLED="true"),
        variants={"sync": target(folder, "sync"), "async": target(folder, "async <i>")},
        memory_mb=(256, 1024),
        pythons={"3.9": Path("/py39"), "3.11": Path("/py311")},
        pairs=8,
        aa=2,
        warm=3,
        seed=5,
    )
    results = run(benchmark, FakeLab(seed=2))
    results["imports"] = {"baseline": TREE, "sync": TREE}
    return results


@pytest.fixture
def results(made: Results) -> Results:
    return loads(dumps(made))


def test_cells_are_named_by_what_tells_them_apart(results: Results) -> None:
    titles = [place.title for place in places(results)]
    assert len(titles) == len(set(titles)) == 8
    assert "256 MB, Python 3.9, sync" in titles
    assert sorted(["3.11", "3.9", "3.10"], key=version) == ["3.9", "3.10", "3.11"]


@pytest.mark.parametrize("form", ["terminal", "html", "markdown"])
def test_every_cost_of_the_matrix_is_shown_with_its_interval(results: Results, form: str) -> None:
    text = shown(results, form)
    for cell in results["summary"]:
        for key in ("cold_ms", "warm_ms"):
            difference = cell["metrics"][key]["difference"]
            assert difference is not None
            assert f"{words.signed(difference['median'])} ms" in text
            assert words.signed_range(difference) in text


def test_the_sentence_has_the_smallest_and_the_largest_cost_of_each_variant(results: Results) -> None:
    for cell in results["summary"]:
        for key, low in (("cold_ms", 2.0), ("warm_ms", 0.5)):
            difference = cell["metrics"][key]["difference"]
            assert difference is not None
            difference["median"] = low + cell["memory_mb"] / 256
            difference["interval"] = {"low": 0.25, "high": 9.0, "confidence": 0.99, "coverage": 0.992}
    said = page(results).verdict
    assert said.startswith(
        "Sync adds 3.00\u20136.00 ms to a cold start and 1.50\u20134.50 ms to a warm invocation; "
        "async <i> adds "
    )
    assert "at 2 memory sizes (256\u20131,024 MB) with Python 3.9 and 3.11; all " in said
    assert said.count("memory sizes") == 1


def test_a_baseline_that_variants_share_is_told_once(results: Results) -> None:
    document = page(results)
    [table] = next(section for section in document.sections if section.key == "delivery").tables
    names = [row.cells[0].text for row in table.rows]
    assert len(names) == len(set(names)) == 2 * 2 * 3


def test_there_are_lines_by_memory_and_by_python(results: Results) -> None:
    found = drawn(results)
    titles = [found[f"matrix-{number}"]["about"] for number in range(8)]
    assert [re.sub(r"^The (.*)\.$", r"\1", title) for title in titles[:4]] == [
        "cold start of all sides by memory size",
        "difference of the cold start by memory size",
        "cold start of all sides by version of Python",
        "difference of the cold start by version of Python",
    ]
    names = [trace["name"] for trace in found["matrix-1"]["data"]]
    assert sorted(names) == sorted(
        f"{variant}, Python {python}" for variant in ("sync", "async &lt;i&gt;") for python in ("3.9", "3.11")
    )
    by_python = found["matrix-3"]["data"][0]
    assert by_python["x"] == ["Python 3.9", "Python 3.11"]
    cells = [c for c in results["summary"] if (c["memory_mb"], c["variant"]) == (256, "sync")]
    medians = {cell["python"]: cell["metrics"]["cold_ms"]["difference"] for cell in cells}
    assert by_python["y"] == [medians[python]["median"] for python in ("3.9", "3.11")]  # type: ignore[index]


def test_phases_are_stacked_in_their_order(results: Results) -> None:
    found = drawn(results)
    cold, warm = found["phases-0"], found["phases-1"]
    assert [trace["name"] for trace in cold["data"]] == ["init", "first handler", "first flush"]
    assert [trace["name"] for trace in warm["data"]] == ["handler", "flush"]
    assert cold["layout"]["barmode"] == "stack"
    assert len(cold["data"][0]["y"]) == len(set(cold["data"][0]["y"])) == 12
    # A side that does not flush has no flush, not one of 0.
    assert None in cold["data"][2]["x"]


def test_the_order_of_the_run_holds_every_environment(results: Results) -> None:
    order = [x for trace in drawn(results)["course-0"]["data"] for x in trace["x"]]
    having = [s for s in results["samples"] if s["kind"] in {"ab", "aa"} and "cold_ms" in s["values"]]
    assert sorted(order) == list(range(1, len(having) + 1))


def test_an_import_tree_is_drawn_with_its_times() -> None:
    chart = icicle(TREE, "sync")
    assert chart is not None
    [trace] = chart["data"]
    labels, widths = trace["labels"], trace["values"]
    assert labels[0] == "Sync, all imports"
    assert "app&lt;b&gt;" in labels
    assert "2 smaller ones" in labels
    assert widths[labels.index("json")] == 6.99
    # Plotly draws nothing when a part is wider than the whole.
    inside: dict[str, float] = {}
    for parent, width in zip(trace["parents"], widths, strict=True):
        inside[parent] = inside.get(parent, 0) + width
    for identity, width in zip(trace["ids"], widths, strict=True):
        assert inside.get(identity, 0) <= width + 1e-9
    assert icicle(dict(TREE, children=[]), "sync") is None  # type: ignore[arg-type]


def test_a_deep_import_tree_is_drawn() -> None:
    tree: Any = {"name": "m", "self_us": 1, "cumulative_us": 5_000, "children": []}
    for number in range(3_000):
        tree = {"name": f"m{number}", "self_us": 1, "cumulative_us": 5_000 + number, "children": [tree]}
    chart = icicle(tree, "deep")
    assert chart is not None
    assert len(chart["data"][0]["ids"]) == 3_001


def test_modules_are_listed_by_their_own_time(results: Results) -> None:
    text = shown(results, "terminal")
    assert "untraced: 6 modules, 10.0 ms in all" in text
    assert re.search(r"module self with its imports .*json 6\.99 ms 6\.99 ms app<b> 2\.00 ms 9\.00 ms", text)


ADDED: Any = [
    {"name": f"lib{n}<b>", "parent": "app" * (n != 1), "self_us": 1_500 // n, "cumulative_us": 9_000 // n,
     "modules": 3}
    for n in range(1, 11)
]  # fmt: skip


@pytest.mark.parametrize("form", ["terminal", "html", "markdown"])
def test_what_only_one_side_loads_is_listed_with_what_it_brings(results: Results, form: str) -> None:
    assert "Only sync" not in shown(results, form), "nothing of files that do not say it"
    results["imports_added"] = {"sync": ADDED, "async": []}
    text = shown(results, form).replace("|", " ").replace("\\", "")
    assert "Only sync, not untraced: 30 modules, 26.4 ms in all" in text
    row = (
        r"lib1<b> +1\.50 ms +9\.00 ms +3 +\u2013"
        if form != "markdown"
        else r"lib1.*?1\.50 ms +9\.00 ms +3 +\u2013"
    )
    assert re.search(row, text)
    assert re.search(r"lib8\S* +0\.187 ms +1\.1[23] ms +3 +app", text)
    assert "lib9" not in text
    assert "and others: 6 modules, 1.90 ms in all" in text
    assert re.search(r"async \S+ loads no module that untraced does not load", text)


def test_the_terminal_report_fits(results: Results) -> None:
    results["imports_added"] = {"sync": ADDED, "async": []}
    for width in (80, 100):
        text = terminal.render(results, width=width)
        assert max(len(line) for line in text.splitlines()) <= width


def test_a_cell_that_failed_is_left_out_of_the_comparison(results: Results) -> None:
    doubt: Any = {
        "code": "failed",
        "severity": "failure",
        "memory_mb": 256,
        "python": "3.9",
        "variant": "sync",
        "text": "It failed there.",
    }
    results["warnings"] = [doubt]
    assert sum(place.shown for place in places(results)) == 7
    for form in ("terminal", "html", "markdown"):
        text = shown(results, form)
        assert "256 MB, Python 3.9, sync: no cost is shown" in text
        assert "It failed there." in text


def parts(value: Any) -> list[tuple[Any, Any]]:
    """Every place in a document: (what holds it, its key)."""
    keys = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, each in keys for place in [(value, key), *parts(each)]]


def test_no_file_that_can_be_read_breaks_a_report(results: Results) -> None:
    """Files in which something is missing or strange, and which the schema allows."""
    small: Any = json.loads(dumps(results))
    small["samples"], small["summary"] = small["samples"][:6], small["summary"][:1]
    source = random.Random(1)
    reported = 0
    for _ in range(80):
        document = copy.deepcopy(small)
        holder, key = source.choice(parts(document))
        if source.random() < 0.4:
            del holder[key]
        else:
            holder[key] = source.choice([None, 0, -1.5, "x", "", [], {}, 1e308, 5e-324])
        try:
            found = loads(json.dumps(document))
        except ValueError:
            continue
        for form in ("terminal", "markdown", "csv", "junit", "json"):
            assert report.render(found, form)
        plots(found)
        reported += 1
    assert reported > 10
