from __future__ import annotations

import copy
import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from lab.tests.reports import shown
from rich.console import Console

from lambent_lab import report
from lambent_lab.measure import loads, read
from lambent_lab.report import terminal
from lambent_lab.report.document import Column, Row, Table, cells
from lambent_lab.report.grid import grid
from lambent_lab.report.verdict import effect
from lambent_lab.report.words import number, quantity, signed

if TYPE_CHECKING:
    from lambent_lab.measure import Results

STORED = Path(__file__).parent / "data" / "performance-results.json"


@pytest.fixture(scope="module")
def stored() -> Results:
    return read(STORED)


@pytest.fixture
def results(stored: Results) -> Results:
    return copy.deepcopy(stored)


both = pytest.mark.parametrize("form", ["terminal", "html"])


@both
def test_every_figure_of_the_file_is_shown_as_it_is(results: Results, form: str) -> None:
    text = shown(results, form)
    for size in results["summary"]:
        assert f"{size['memory_mb']} MB" in text
        for name, metric in size["metrics"].items():
            for side in (metric["candidate"], metric["baseline"]):
                assert side is not None
                assert quantity(side["median"], metric["unit"]) in text, name
            assert metric["difference"] is not None
            assert metric["ratio"] is not None
            assert signed(metric["difference"]["median"], metric["unit"]) in text, name
            interval = metric["difference"]["interval"]
            assert interval is not None
            low, high = (signed(interval[end], metric["unit"]) for end in ("low", "high"))
            assert f"{low} to {high}" in text, name
            assert f"{metric['ratio']['median']:.3f}" in text, name


@both
def test_nothing_is_computed_again(results: Results, form: str) -> None:
    """A summary that contradicts its samples is shown as it stands."""
    difference = results["summary"][0]["metrics"]["cold_ms"]["difference"]
    assert difference is not None
    difference["median"] = 987.6
    results["summary"][0]["candidate"]["spans"]["delivered"] = 77_777
    text = shown(results, form)
    assert "+988 ms" in text
    assert "77,777" in text


@both
def test_spans_and_counts_are_shown(results: Results, form: str) -> None:
    text = shown(results, form)
    # cold, warm, failed; spans made, received, lost
    row = r"10 40 0 150 150 0" if form == "terminal" else r"10 10 40 0 150 150 0 0 of 50 3"
    assert len(re.findall(rf" traced {row}\b", text)) == 2
    none = r"10 40 0 – 0 –" if form == "terminal" else r"10 10 40 0 – 0 – 50 of 50 0"  # noqa: RUF001
    assert len(re.findall(rf" untraced {none} ", text)) == 2
    assert "all 300 spans arrived." in text


@both
def test_percentiles_of_too_few_values_are_not_printed(results: Results, form: str) -> None:
    text = shown(results, form)
    assert "p50" in text
    assert "untraced 40 21.5 ms" in text
    assert "p95" not in text
    assert "p99" not in text


@both
def test_the_machine_and_the_box_and_its_limits_are_shown(results: Results, form: str) -> None:
    text = shown(results, form)
    assert "Example CPU, 2 of 4 cores" in text
    assert "fake (freeze: none" in text
    assert "limit the size of /tmp" in text
    assert "20 pairs and 6 A/A pairs" in text


@both
def test_warnings_are_shown(results: Results, form: str) -> None:
    results["warnings"].append(
        {"code": "load", "severity": "warning", "memory_mb": None, "text": "It is <b>loud</b> here."}
    )
    assert "It is <b>loud</b> here." in shown(results, form)


@both
def test_a_size_with_a_failure_shows_no_cost(results: Results, form: str) -> None:
    reason = "0 of 50 invocations delivered a trace at 512 MB."
    results["warnings"].append({"code": "no-spans", "severity": "failure", "memory_mb": 512, "text": reason})
    metrics = results["summary"][1]["metrics"]
    text = shown(results, form)
    assert reason in text
    assert "Not a result" in text
    assert "512 MB: no cost is shown" in text
    for metric in metrics.values():
        assert metric["difference"] is not None
    cold = metrics["cold_ms"]["difference"]
    assert cold is not None
    assert f"{signed(cold['median'])} ms" not in text
    other = results["summary"][0]["metrics"]["cold_ms"]["difference"]
    assert other is not None
    assert f"{signed(other['median'])} ms" in text


@both
def test_an_interrupted_run_says_so(results: Results, form: str) -> None:
    results["interrupted"] = True
    results["counts"]["pairs"] = 13
    assert "Interrupted after 13 of 20 pairs." in shown(results, form)


@both
def test_a_run_that_measured_nothing_says_why(results: Results, form: str) -> None:
    results["error"] = "Nothing was measured: the box broke."
    results["summary"], results["samples"], results["box"] = [], [], None
    text = shown(results, form)
    assert "Nothing was measured: the box broke." in text
    assert "Not a result" in text


@both
def test_what_is_absent_is_not_zero(results: Results, form: str) -> None:
    for size in results["summary"]:
        size["metrics"]["memory_mb"].update(
            {
                "candidate": None,
                "baseline": None,
                "difference": None,
                "ratio": None,
                "aa_ratio": None,
                "pairs": [],
            }
        )
        for metric in size["metrics"].values():
            for figure in (metric["difference"], metric["ratio"], metric["candidate"], metric["baseline"]):
                if figure is not None:
                    figure["interval"] = None
    results["load_before"] = results["load_after"] = None
    text = shown(results, form)
    assert re.search(r"peak memory – – – ", text)  # noqa: RUF001 - the sign for "no value"
    assert "None" not in text
    assert "null" not in text
    assert "nan" not in text.lower().split()


@both
def test_two_bundles_are_named_as_such(results: Results, form: str) -> None:
    results["targets"]["candidate"]["label"] = "candidate"
    results["targets"]["baseline"].update(
        {"label": "baseline", "target": "other/app.handler", "switch": None}
    )
    text = shown(results, form)
    assert "candidate against baseline (other/app.handler)" in text
    assert "The candidate changes a cold start by" in text
    assert "tracing" not in text.lower()


def test_json_is_the_file_itself(results: Results) -> None:
    assert loads(report.render(results, "json")) == results
    assert json.loads(report.render(results, "json")) == json.loads(STORED.read_bytes())


def test_an_unknown_format_is_refused(results: Results) -> None:
    with pytest.raises(ValueError, match="unknown report format 'pdf'"):
        report.render(results, "pdf")


def test_the_terminal_report_fits_80_columns_without_colour(results: Results) -> None:
    text = report.render(results, "terminal")
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "\x1b" not in text
    assert all(line == line.rstrip() for line in text.splitlines())
    assert "\n\n\n" not in text
    results["summary"] = results["summary"][:1]
    assert "\n\n\n" not in report.render(results, "terminal")


def test_the_terminal_report_has_colour_on_request(results: Results) -> None:
    assert "\x1b[" in terminal.render(results, color=True)


def test_the_terminal_report_can_do_without_unicode(results: Results) -> None:
    results["summary"][0]["metrics"]["memory_mb"]["candidate"] = None
    results["targets"]["candidate"]["label"] = "gr\u00f6\u00dfer " * 4
    text = terminal.render(results, ascii_only=True)
    assert text.isascii()
    assert "gr\\xf6\\xdfer" in text
    assert max(len(line) for line in text.splitlines()) <= 80


def test_hostile_text_is_only_text_in_a_terminal(results: Results) -> None:
    results["targets"]["candidate"]["target"] = "[bold red]x[/] \x1b[31mred\x1b[0m"
    text = report.render(results, "terminal")
    assert "[bold red]x[/]" in text
    assert "\x1b" not in text


def test_long_names_leave_the_figures_their_place(results: Results) -> None:
    for target in results["targets"].values():
        target["label"] = "long" * 50
    text = report.render(results, "terminal")
    assert max(len(line) for line in text.splitlines()) <= 80
    for size in results["summary"]:
        for metric in size["metrics"].values():
            assert metric["difference"] is not None
            unit, difference = metric["unit"], metric["difference"]
            assert f"{signed(difference['median'], unit)} {unit}" in text


def test_large_figures_stay_within_80_columns(results: Results) -> None:
    for metric in results["summary"][0]["metrics"].values():
        for figure in (metric["candidate"], metric["baseline"], metric["difference"]):
            assert figure is not None
            figure["median"] = -123_456.7 if figure is metric["difference"] else 123_456.7
            figure["interval"] = {"low": -234_567.8, "high": -12_345.6, "confidence": 0.99, "coverage": 0.991}
    text = report.render(results, "terminal")
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "-123,457" in text
    assert "-234,568 to -12,346" in text


def test_a_table_that_is_too_wide_becomes_two_and_cuts_no_figure_and_no_heading() -> None:
    names = ("init", "first handler", "first flush", "first extension", "handler", "flush", "extension")
    heads = (Column("", words=True), *(Column(name) for name in names), Column("verdict", words=True))
    figures = [f"{10_000 + number:,} ms" for number in range(len(names))]
    table = Table("", heads, (Row(cells("1,769 MB, Python 3.12: untraced", *figures, "PASS")),))
    console = Console(width=80, file=io.StringIO(), legacy_windows=False)
    console.print(grid(table, 80, title=""))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert max(len(line) for line in text.splitlines()) <= 80
    for whole in (*figures, "extension", "handler", "verdict"):
        assert whole in text
    assert text.count("untraced") == 2


def test_whole_megabytes_are_whole() -> None:
    assert [signed(value, "MB") for value in (0.0, 1.0, -2.0, 0.5)] == ["0", "+1", "-2", "+0.500"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0.000"),
        (-0.0001, "0.000"),
        (0.11249, "0.112"),
        (1.905, "1.91"),
        (-18.64, "-18.6"),
        (812.44, "812"),
        (12345.6, "12,346"),
    ],
)
def test_numbers_have_about_three_digits(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(1.5, "+1.50"), (-1.5, "-1.50"), (0, "0.000"), (-0.0002, "0.000")]
)
def test_signs(value: float, text: str) -> None:
    assert signed(value) == text


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (1.0, 3.0, "adds 2.00 ms (1.00\u20133.00) to a cold start"),
        (-3.0, -1.0, "takes 2.00 ms (1.00\u20133.00) off a cold start"),
        (-1.0, 3.0, "changes a cold start by less than the noise (+2.00 ms, -1.00 to +3.00)"),
    ],
)
def test_the_sentence_says_what_the_interval_allows(
    results: Results, low: float, high: float, words: str
) -> None:
    difference = results["summary"][0]["metrics"]["cold_ms"]["difference"]
    assert difference is not None
    difference["median"] = -2.0 if high < 0 else 2.0
    difference["interval"] = {"low": low, "high": high, "confidence": 0.99, "coverage": 0.991}
    assert words in effect(difference, "a cold start")


def test_the_sentence_without_an_interval_says_that_there_is_none(results: Results) -> None:
    difference = results["summary"][0]["metrics"]["cold_ms"]["difference"]
    assert difference is not None
    difference.update({"median": 2.0, "n": 5, "interval": None})
    assert "by +2.00 ms (median of 5, too few for an interval)" in effect(difference, "a cold start")
