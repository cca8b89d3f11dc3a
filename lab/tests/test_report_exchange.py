"""The forms that other programs read: CSV, JUnit XML, and Markdown for a pull request."""

from __future__ import annotations

import copy
import csv
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent_lab import report
from lambent_lab.measure import read
from lambent_lab.report.junit import clean
from lambent_lab.report.markdown import escaped
from lambent_lab.report.rows import field, table

if TYPE_CHECKING:
    from lambent_lab.measure import Results

STORED = Path(__file__).parent / "data" / "performance-results.json"
HOSTILE = "=cmd|'/c calc'!A1 </script>|`x`\n\n# *b* [l](javascript:x) @octocat #12 http://x.y \x00"
HOSTILE += "\x1b]0;t\x07 ]]>&\ud800"


@pytest.fixture(scope="module")
def stored() -> Results:
    return read(STORED)


@pytest.fixture
def results(stored: Results) -> Results:
    return copy.deepcopy(stored)


@pytest.fixture
def hostile(results: Results) -> Results:
    for target in results["targets"].values():
        target.update({"target": HOSTILE, "label": HOSTILE, "switch": HOSTILE})
    results["command"], results["tool"], results["machine"]["cpu_model"] = [HOSTILE], HOSTILE, HOSTILE
    results["samples"][0]["invocations"][0]["error"] = HOSTILE
    results["warnings"] = [
        {"code": "x", "severity": "failure", "memory_mb": 128, "text": HOSTILE},
        {"code": "x", "severity": "warning", "memory_mb": None, "text": HOSTILE},
    ]
    return results


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_csv_has_a_row_for_every_invocation_in_the_order_of_the_run(results: Results) -> None:
    rows = read_csv(report.render(results, "csv"))
    invocations = [(s, i) for s in results["samples"] for i in s["invocations"]]
    assert len(rows) == len(invocations)
    for row, (sample, invocation) in zip(rows, invocations, strict=True):
        assert row["sample"] == str(sample["id"])
        assert row["side"] == sample["side"]
        assert row["request_id"] == invocation["request_id"]
        assert float(row["duration_ms"]) == invocation["duration_ms"]
        assert row["init_ms"] == ("" if invocation["init_ms"] is None else str(invocation["init_ms"]))
        assert row["cold"] == str(invocation["cold"]).lower()
        assert row["counted_as"] == invocation["counted_as"]


def test_csv_keeps_an_environment_that_broke_before_it_ran(results: Results) -> None:
    results["samples"][3].update({"invocations": [], "error": "it broke", "complete": False})
    [row] = [row for row in read_csv(report.render(results, "csv")) if row["sample_error"]]
    assert (row["sample"], row["sample_error"], row["duration_ms"]) == ("3", "it broke", "")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "  =1", "\uff1d1"])
def test_a_text_in_csv_is_no_formula(text: str) -> None:
    assert field(text) == f"'{text}"


def test_a_negative_number_in_csv_is_a_number() -> None:
    assert field(-1.5) == -1.5
    assert field(None) == ""
    assert [field(True), field(False)] == ["true", "false"]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=2))
def test_every_text_comes_back_from_csv(texts: list[str]) -> None:
    [row] = csv.reader(io.StringIO(table([tuple(texts)]), newline=""))
    assert [back.removeprefix("'") for back in row] == [text.removeprefix("'") for text in texts]
    assert not any(back.startswith(("=", "+", "-", "@", "\t", "\r")) for back in row)


def test_hostile_names_in_csv_stay_in_their_field(hostile: Results) -> None:
    rows = read_csv(report.render(hostile, "csv"))
    assert rows[0]["error"] == "'" + HOSTILE.replace("\0", "\\0").replace("\ud800", "\\ud800")
    assert {row["label"][:2] for row in rows} == {"'="}


# The common schema, as Jenkins' xunit plugin has it: for each element its attributes (True: required) and
# its children in their order.
JUNIT: dict[str, tuple[dict[str, bool], list[str]]] = {
    "testsuites": (
        {"name": False, "time": False, "tests": False, "failures": False, "errors": False, "disabled": False},
        ["testsuite"],
    ),
    "testsuite": (
        {
            "name": True,
            "tests": True,
            # Ant's own asks for all of these, Jenkins' for the first ones.
            "failures": True,
            "errors": True,
            "skipped": False,
            "time": True,
            "timestamp": True,
            "hostname": True,
            "id": True,
            "package": True,
        },
        ["properties", "testcase", "system-out", "system-err"],
    ),
    "properties": ({}, ["property"]),
    "property": ({"name": True, "value": True}, []),
    "testcase": (
        {"name": True, "classname": True, "time": False, "assertions": False, "status": False},
        ["skipped", "error", "failure", "system-out", "system-err"],
    ),
    "skipped": ({"message": False, "type": False}, []),
    "error": ({"message": False, "type": False}, []),
    "failure": ({"message": False, "type": False}, []),
    "system-out": ({}, []),
    "system-err": ({}, []),
}


def check(element: ET.Element) -> None:
    attributes, children = JUNIT[element.tag]
    assert set(element.attrib) <= set(attributes), element.tag
    assert {name for name, required in attributes.items() if required} <= set(element.attrib), element.tag
    order = [children.index(child.tag) for child in element]
    assert order == sorted(order), element.tag
    for name in ("time", "tests", "failures", "errors", "skipped"):
        if name in element.attrib:
            assert float(element.attrib[name]) >= 0
    if "timestamp" in element.attrib:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", element.attrib["timestamp"])
    for child in element:
        check(child)


def cases(text: str) -> dict[str, ET.Element]:
    root = ET.fromstring(text)
    assert root.tag == "testsuites"
    check(root)
    [suite] = root
    found = suite.findall("testcase")
    assert int(suite.attrib["tests"]) == len(found)
    for tag, name in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        assert int(suite.attrib[name]) == len(suite.findall(f"testcase/{tag}"))
    assert len({case.attrib["name"] for case in found}) == len(found)
    return {case.attrib["name"]: case for case in found}


def test_junit_has_a_case_for_each_thing_that_was_measured(results: Results) -> None:
    found = cases(report.render(results, "junit"))
    things = ("cold start", "warm invocation", "peak memory")
    assert sorted(found) == sorted(f"{thing}, {size} MB" for thing in things for size in (128, 512))
    candidate = results["summary"][0]["metrics"]["cold_ms"]["candidate"]
    assert candidate is not None
    assert float(found["cold start, 128 MB"].attrib["time"]) == pytest.approx(candidate["median"] / 1000)


def test_junit_fails_what_has_no_result(results: Results) -> None:
    results["warnings"].append({"code": "x", "severity": "failure", "memory_mb": 512, "text": "No spans."})
    results["summary"][0]["metrics"]["warm_ms"]["difference"] = None
    found = cases(report.render(results, "junit"))
    assert {name for name, case in found.items() if case.find("failure") is not None} == {
        "cold start, 512 MB",
        "warm invocation, 512 MB",
        "peak memory, 512 MB",
    }
    assert found["cold start, 512 MB"].find("failure").attrib["message"] == "No spans."  # type: ignore[union-attr]
    assert found["warm invocation, 128 MB"].find("skipped") is not None


def test_junit_of_a_run_that_measured_nothing_is_an_error(results: Results) -> None:
    results["error"], results["summary"], results["samples"] = "The box broke.", [], []
    [case] = cases(report.render(results, "junit")).values()
    assert "The box broke." in (case.find("error").text or "")  # type: ignore[union-attr]


def test_hostile_names_in_junit_are_text(hostile: Results) -> None:
    found = cases(report.render(hostile, "junit"))
    failure = found["cold start, 128 MB"].find("failure")
    assert failure is not None
    assert failure.text == HOSTILE.replace("\0", "\\x00").replace("\x1b", "\\x1b").replace(
        "\x07", "\\x07"
    ).replace("\ud800", "\\ud800")


@given(st.text())
def test_every_text_can_stand_in_xml(text: str) -> None:
    element = ET.Element("a", {"b": clean(text)})
    element.text = clean(text)
    ET.fromstring(ET.tostring(element, encoding="unicode").encode())


def test_markdown_says_the_verdict_first_and_folds_the_rest(results: Results) -> None:
    lines = report.render(results, "markdown").splitlines()
    assert lines[0].endswith("hello/app.handler")
    assert lines[2].startswith("**Tracing changes a cold start")
    text = "\n".join(lines)
    assert "| **cold start (init + first invocation)** | 180 ms | 185 ms |" in text
    assert text.index("**128 MB**") < text.index("<details>")
    assert text.count("<details>") == text.count("</details>") == 4
    assert len(text) < 65_536  # the longest comment that GitHub takes


def test_markdown_tables_have_as_many_cells_in_every_row(hostile: Results) -> None:
    blocks = re.findall(r"(?:^\|.*\n)+", report.render(hostile, "markdown"), re.MULTILINE)
    assert blocks
    for block in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1


def test_hostile_names_in_markdown_are_text(hostile: Results) -> None:
    text = report.render(hostile, "markdown")
    assert set(re.findall(r"<[^>]*>", text)) == {
        "<details>",
        "</details>",
        "<summary>",
        "</summary>",
        "<!-- -->",
    }
    assert "@octocat" not in text
    assert "#12" not in text
    assert "http://" not in text
    assert "\\`x\\`" in text
    assert "[l](" not in text
    assert not set(map(chr, range(32))) & set(text) - {"\n"}


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        ("a_b*c", "a\\_b\\*c"),
        ("- x", "\\- x"),
        ("1. x", "1<!-- -->. x"),
        ("+1.5 ms", "+1.5 ms"),
        ("1.5 ms", "1.5 ms"),
        ("a|b", "a\\|b"),
        ("a  \n b", "a b"),
        ("x@y.z", "x@<!-- -->y.z"),
        ("#7", "#<!-- -->7"),
        ("<b>", "&lt;b&gt;"),
    ],
)
def test_what_markdown_would_read_is_escaped(text: str, markdown: str) -> None:
    assert escaped(text) == markdown
