"""Reports of load tests, soaks and tunings: each with what its file has, in every form."""

from __future__ import annotations

import copy
import csv
import io
import json
import random
import re
from copy import deepcopy
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from lab.tests.reports import drawn, shown

from lambent_lab import report
from lambent_lab.measure import dumps, loads, tune
from lambent_lab.measure.header import begin, finish
from lambent_lab.measure.load import figures
from lambent_lab.measure.load.loops import Load, Log, Outcome
from lambent_lab.measure.results import no_sections
from lambent_lab.measure.target import Target
from lambent_lab.measure.testing import FakeLab
from lambent_lab.measure.tune.prices import load as load_prices
from lambent_lab.report import terminal, words
from lambent_lab.report.html import embedded_json
from lambent_lab.report.rows import OUTCOMES

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = "</script><img src=x onerror=alert(1)>|`*[l](x) @all %{x} =1+1 \x1b[31m"


def load_file() -> Any:
    """A load test of 4 users, of whom some fail and some are throttled, as its log would be."""
    source = random.Random(4)
    log = Log()
    done = []
    for user in range(4):
        at = user * 0.5
        first = True
        while at < 12:
            took = 0.02 + source.expovariate(100) + (0.2 if first else 0)
            lot = source.random()
            outcome = Outcome(cold=first, spans=3, made=3)
            if lot < 0.02:
                outcome = Outcome("failed", HOSTILE)
            elif lot < 0.05:
                outcome = Outcome("throttled", "TooManyRequestsException")
            done.append((user, at, at, at + took, outcome))
            at += took
            first = False
    for each in sorted(done, key=lambda one: one[3]):
        log.add(*each)
    asked = Load(users=4, duration_s=12.0, ramp_up_s=2.0)
    parts = figures.parts(log, asked, 12.0)
    section = {
        "headline": "4 users, 123 calls a second; all 9,999 spans arrived.",
        "conclusion": ["What was said of it."],
        "config": {
            "mode": "closed",
            "engine": "threads",
            "users": 4,
            "duration_s": 12.0,
            "ramp_up_s": 2.0,
            "rate": None,
            "arrivals": None,
            "pause_s": 0.0,
            "concurrency": 2,
            "memory_mb": 256,
        },
        "elapsed_s": 12.0,
        "all": parts.whole,
        "ramp_up": parts.ramp_up,
        "steady": parts.steady,
        "series": figures.series(log, 12.0),
        "errors": figures.errors(log),
        "unstarted": 0,
        "spans": figures.spans(log),
        "raw": figures.raw(log),
    }
    return loads(dumps({**no_sections(), **finish(begin("load", ("lambent", "load"))), "load": section}))  # type: ignore[typeddict-item]


def trend(unit: str, slope: float | None, verdict: str) -> dict[str, Any]:
    around = None if slope is None else (slope - 0.001, slope + 0.001)
    return {
        "unit": unit,
        "blocks": 9,
        "skipped": 1,
        "first": 30.0,
        "last": 31.5,
        "per_1000": slope,
        "low_per_1000": None if around is None else around[0],
        "high_per_1000": None if around is None else around[1],
        "change": None if slope is None else slope * 9,
        "tolerance_per_1000": 0.25,
        "least_change": 0.5,
        "confidence": 0.99,
        "verdict": verdict,
    }


def soak_file(load: Any, *, verdict: str = "grows") -> Any:
    figure = {
        "n": 9,
        "median": 1.25,
        "interval": {"low": 1.125, "high": 1.375, "confidence": 0.99, "coverage": 0.992},
    }
    none = {"baseline": None, "candidate": None, "difference": None, "ratio": None}
    spans = {"invocations": 90, "made": 270, "received": 269, "lost": 1, "without": 0, "unsaid": 0}

    def block(number: int, side: str) -> dict[str, Any]:
        return {
            "number": number,
            "side": side,
            "first": number * 10,
            "n": 10,
            "failed": 0,
            "cold": 0,
            "from_s": number * 1.0,
            "to_s": number + 1.0,
            "duration_ms": 1.5,
            "p95_ms": None,
            "cpu_ms": 0.5,
            "rss_mb": 30.0 + number / 8,
            "rss_end_mb": 30.0 + number / 8,
            "peak_rss_mb": 32.0 + number / 8,
            "high_water_mb": None,
            "spans": 30,
            "spans_made": 30,
            "without_spans": 0,
        }

    sides = {
        name: {
            "label": label,
            "invocations": 90,
            "failed": 0,
            "cold": 1,
            "environments": 1,
            "blocks": [block(number, name) for number in range(9)],
            "trends": {"rss_mb": trend("MB", slope, mine), "cpu_ms": trend("ms", None, "inconclusive")},
            "durations": load["all"]["latency"],
            "spans": spans,
        }
        for name, label, slope, mine in (
            ("baseline", "untraced", 0.015, "steady"),
            ("candidate", HOSTILE, 1.625, verdict),
        )
    }
    section = {
        "headline": "memory: it grows by 1,704 bytes an invocation.",
        "conclusion": ["Memory grows.", "CPU does not."],
        "invocations": 90,
        "done": 180,
        "blocks": 9,
        "memory_mb": 512,
        "freeze": True,
        "seed": 1,
        "sides": sides,
        "differences": {
            "rss_mb": {
                "unit": "MB",
                "baseline": figure,
                "candidate": figure,
                "difference": figure,
                "ratio": figure,
                "trend": trend("MB", 1.625, verdict),
            },
            "cpu_ms": {"unit": "ms", **none, "trend": trend("ms", None, "absent")},
        },
        "memory_verdict": verdict,
    }
    return loads(json.dumps({**no_sections(), **finish(begin("soak")), "soak": section}))


def tune_file(folder: Path) -> Any:
    lab, sizes = FakeLab(), (128, 512, 1769)
    plan = tune.Tune(
        target=Target(text="app/app.handler", code=folder, handler="app.handler", label="candidate"),
        prices=load_prices("us-east-1"),
        architectures=("x86_64", "arm64"),
        memory_mb=sizes,
        rounds=10,
        warm=5,
        seed=3,
    )
    made = {size: lab.function(f"tune-{size}", code=folder, handler="h", memory=size) for size in sizes}
    return loads(dumps(tune.run(plan, made)))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    load = load_file()
    return {
        "load": load,
        "soak": soak_file(load["load"]),
        "tune": tune_file(tmp_path_factory.mktemp("tune")),
    }


@pytest.fixture(params=["load", "soak", "tune"])
def results(files: dict[str, Any], request: pytest.FixtureRequest) -> Any:
    return deepcopy(files[request.param])


def test_what_came_later_than_the_version_may_be_missing(files: dict[str, Any]) -> None:
    def without(value: Any) -> Any:
        if isinstance(value, dict):
            later = {"unsaid", "least_change", "first_error"}
            return {key: without(each) for key, each in value.items() if key not in later}
        return [without(each) for each in value] if isinstance(value, list) else value

    for results in files.values():
        early = loads(json.dumps(without(results)))
        for form in report.FORMATS:
            assert report.render(early, form)


@pytest.mark.parametrize("form", report.FORMATS)
def test_every_form_can_be_made_of_every_kind(results: Any, form: str) -> None:
    text = report.render(results, form)
    assert text.endswith("\n")
    assert form in {"json", "html"} or not re.search(r"\bNone\b|\bnan\b|\bnull\b", text)


@pytest.mark.parametrize("form", ["terminal", "html"])
def test_the_headline_and_the_conclusion_are_said(results: Any, form: str) -> None:
    section, text = results[results["kind"]], shown(results, form)
    assert words.capital(section["headline"]) in text
    for sentence in section["conclusion"]:
        assert re.sub(r"\s+", " ", sentence) in text


def test_the_terminal_report_fits_80_columns_and_ascii(results: Any) -> None:
    text = terminal.render(results, ascii_only=True)
    assert text.isascii()
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "\x1b" not in text


def test_hostile_names_are_only_text(results: Any) -> None:
    text = report.render(results, "html")
    assert "<img" not in text.partition("plotly")[0]
    for trace in (trace for figure in drawn(results).values() for trace in figure["data"]):
        assert "<img" not in str(trace.get("name", ""))
        assert "%{x}" not in str(trace.get("name", ""))
    ET.fromstring(report.render(results, "junit"))
    assert "<img" not in report.render(results, "markdown")


def test_the_raw_data_is_in_the_page(results: Any) -> None:
    assert str(embedded_json(results)) in report.render(results, "html")


def test_load_shows_its_parts_and_percentiles(files: dict[str, Any]) -> None:
    results = files["load"]
    part, text = results["load"]["steady"], shown(results, "html")
    for value in (part["latency"]["p95_ms"], part["service"]["p50_ms"], part["latency"]["p50_ms"]):
        assert words.quantity(value, "ms") in text
    assert f"{part['attempted']:,}" in text
    assert f"throughput {words.number(part['per_second'])} /s median of" in text
    assert words.share(part["error_rate"]["share"]) in text
    assert HOSTILE.replace("\x1b", "") in text.replace("\x1b", "")
    found = drawn(results)
    assert sorted(found) == ["latency-0", "latency-1", "load-0", "load-1"]
    seen = [y for trace in found["latency-1"]["data"] for y in trace["y"]]
    assert len(seen) == results["load"]["raw"]["kept"]


def test_an_interval_of_the_throughput_is_that_of_the_steady_part(files: dict[str, Any]) -> None:
    results = copy.deepcopy(files["load"])
    for name, low in (("ramp_up", 1111.0), ("steady", 2222.0), ("all", 3333.0)):
        interval = {"low": low, "high": low + 1, "confidence": 0.99, "coverage": 0.99}
        results["load"][name]["throughput"] = {"n": 9, "median": low, "interval": interval}
    text = shown(results, "html")
    assert "2,222 to 2,223" in text
    assert not re.search("1,111 to|3,333 to", text)


def test_the_csv_of_a_load_test_has_a_row_for_each_call(files: dict[str, Any]) -> None:
    raw = files["load"]["load"]["raw"]
    rows = list(csv.DictReader(io.StringIO(report.render(files["load"], "csv"), newline="")))
    assert len(rows) == raw["kept"]
    assert [float(row["ended_ms"]) for row in rows] == raw["ended_ms"]
    assert [row["outcome"] for row in rows] == [OUTCOMES[each] for each in raw["outcome"]]


def test_a_soak_shows_what_grows(files: dict[str, Any]) -> None:
    results = files["soak"]
    text = shown(results, "html")
    assert re.search(r"resident memory untraced 30 MB 31\.5 MB \+0\.015 MB \+0\.014 to \+0\.016 steady", text)
    assert re.search(r"\+1\.62 MB \+1\.62 to \+1\.63 grows", text)
    found = drawn(results)
    # What no block has is not drawn.
    assert [figure["about"] for name, figure in found.items() if name.startswith("soak")] == [
        "The resident memory over the invocations.",
        "The CPU time of an invocation over the invocations.",
        "The duration of an invocation over the invocations.",
    ]
    blocks = results["soak"]["sides"]["baseline"]["blocks"]
    assert found["soak-0"]["data"][0]["y"] == [block["rss_mb"] for block in blocks]
    rows = list(csv.DictReader(io.StringIO(report.render(results, "csv"), newline="")))
    assert [float(row["rss_mb"]) for row in rows[:9]] == [block["rss_mb"] for block in blocks]


@pytest.mark.parametrize(
    ("verdict", "tag", "state"),
    [
        ("grows", "failure", "failed"),
        ("steady", None, "passed"),
        ("inconclusive", "skipped", "unsure"),
    ],
)
def test_a_soaks_verdict_is_about_its_memory(
    files: dict[str, Any], verdict: str, tag: str | None, state: str
) -> None:
    results = soak_file(files["load"]["load"], verdict=verdict)
    root = ET.fromstring(report.render(results, "junit"))
    found = {case.attrib["name"]: [child.tag for child in case] for case in root.iter("testcase")}
    assert "memory does not grow, untraced" in found
    assert found["memory does not grow, difference"] == ([tag] if tag else ["system-out"])
    assert f'class="card verdict {state}"' in report.render(results, "html")


def test_what_failed_is_an_error_where_nothing_else_can_be_told(files: dict[str, Any]) -> None:
    results = soak_file(files["load"]["load"], verdict="inconclusive")
    doubt = {"code": "failed", "severity": "failure", "memory_mb": None, "text": "10 of 10 failed."}
    results["warnings"] = [doubt]
    root = ET.fromstring(report.render(results, "junit"))
    assert root.attrib["errors"] == "1"
    [error] = root.iter("error")
    assert "10 of 10 failed." in (error.text or "")


def test_tuning_shows_each_size_with_its_cost(files: dict[str, Any]) -> None:
    results = files["tune"]
    text = shown(results, "html")
    for size in results["tune"]["sizes"]:
        assert f"{size['memory_mb']:,} MB" in text
        assert words.quantity(size["warm_ms"]["median"], "ms") in text
        for cost in size["cost"].values():
            assert f"${words.number(cost['mixed']['median'])}" in text
    assert results["tune"]["prices"]["as_of"] in text
    assert "A/A pairs" not in text
    costs = drawn(results)["tune-0"]["data"]
    assert [trace["name"] for trace in costs] == ["x86_64", "arm64"]
    assert costs[0]["y"] == [each["cost"]["x86_64"]["mixed"]["median"] for each in results["tune"]["sizes"]]


def test_what_was_interrupted_says_so(results: Any) -> None:
    results["interrupted"] = True
    assert "Interrupted. " in shown(results, "terminal")
    assert 'class="card verdict interrupted"' in report.render(results, "html")


def test_what_failed_says_why(results: Any) -> None:
    results["error"] = "The lab broke."
    assert "The lab broke." in shown(results, "terminal")
    root = ET.fromstring(report.render(results, "junit"))
    assert any(
        case.find("error") is not None or case.find("failure") is not None for case in root.iter("testcase")
    )
