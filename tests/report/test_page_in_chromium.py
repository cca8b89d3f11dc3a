"""The report's page in a real browser: drawn, without network or complaint, in every size and colour."""

from __future__ import annotations

import json
import re
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tools.chromium import DRAWN, Chromium, find

from lambent_lab import report
from lambent_lab.measure import loads

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lambent_lab.measure import Results

PROGRAM = find()
pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason="no Chromium is installed: tools/chromium.sh installs one"
)

STORED = Path(__file__).resolve().parents[2] / "lab" / "tests" / "data" / "performance-results.json"
HOSTILE = "</script><img src=x onerror=window.hit=1><svg onload=window.hit=1>\"'&amp;%{x}" + "long" * 60
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
TREE = {
    "name": "cold start",
    "self_us": 0,
    "cumulative_us": 30_000,
    "children": [
        {
            "name": "app",
            "self_us": 4_000,
            "cumulative_us": 29_000,
            "children": [{"name": "json", "self_us": 9_000, "cumulative_us": 9_000, "children": []}],
        }
    ],
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    assert PROGRAM is not None
    found = Chromium(PROGRAM)
    try:
        found.__enter__()
    except (OSError, RuntimeError) as error:  # of a browser that is a stub, or has no room to run
        pytest.skip(f"Chromium does not start here: {error}")
    yield found
    found.__exit__(None, None, None)


def results(**changes: Any) -> Results:
    document = json.loads(STORED.read_bytes())
    document["imports"] = {"baseline": TREE, "candidate": TREE}
    return loads(json.dumps(document | changes))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(report.render(results(), "html"))
    return path


def show(browser: Chromium, page: Path, width: int, height: int, *, dark: bool = False) -> None:
    """Show a page, if it is not what is shown: to draw it takes a second or more."""
    wanted = (page.as_uri(), width, height, dark)
    if browser.shown != wanted:
        browser.look(width, height, dark=dark)
        browser.open(page, DRAWN)
        browser.shown = wanted


def pixels(png: bytes) -> tuple[int, int, bytes]:
    """Width, height, and the first line of a PNG of 8 bits a colour, as it is stored."""
    assert png.startswith(b"\x89PNG")
    width, height, depth, kind = struct.unpack(">IIBB", png[16:26])
    assert (depth, kind) in {(8, 2), (8, 6)}
    data, at = b"", 8
    while at < len(png):
        (size,) = struct.unpack(">I", png[at : at + 4])
        if png[at + 4 : at + 8] == b"IDAT":
            data += png[at + 8 : at + 8 + size]
        at += 12 + size
    return width, height, zlib.decompress(data)[: 1 + width * (3 if kind == 2 else 4)]


def test_it_can_be_printed_light_whatever_the_screen_is(browser: Chromium, page: Path) -> None:
    show(browser, page, 1200, 1600, dark=True)
    paper = browser.paper()
    assert paper.startswith(b"%PDF-")
    pages = len(re.findall(rb"/Type\s*/Page\b", paper))
    assert 3 <= pages <= 30
    assert browser.evaluate("document.documentElement.dataset.theme === undefined"), "it stayed light"
    assert browser.complaints() == []


@pytest.mark.parametrize(("dark", "first"), [(True, (0x0E, 0x11, 0x16)), (False, (0xF4, 0xF5, 0xF8))])
def test_every_figure_is_drawn_without_network_or_complaint(
    browser: Chromium, page: Path, dark: bool, first: tuple[int, int, int]
) -> None:
    show(browser, page, 1200, 1600, dark=dark)
    places = browser.evaluate("document.querySelectorAll('[data-figure]').length")
    assert places == 16
    # A drawn figure has marks with a size, in SVG: points, lines, bars or the slices of an icicle.
    drawn = """[...document.querySelectorAll('[data-figure]')].filter((place) =>
        [...place.querySelectorAll('svg.main-svg path')].some((mark) => mark.getBBox().width > 1)).length"""
    assert browser.evaluate(drawn) == places
    assert browser.evaluate("document.querySelectorAll('canvas').length") == 0
    assert browser.evaluate("document.querySelectorAll('.iciclelayer .slice').length") >= 6
    assert browser.complaints() == []
    assert browser.requests() == [page.as_uri()]
    assert browser.evaluate(OVERFLOW) == 0
    width, height, line = pixels(browser.picture())
    assert (width, height) == (1200, 1600)
    assert tuple(line[1:4]) == first


def test_the_verdict_can_be_seen_first(browser: Chromium, page: Path) -> None:
    show(browser, page, 1200, 1600)
    text = browser.evaluate("document.elementFromPoint(300, 190).closest('.verdict').innerText")
    assert "Tracing changes a cold start" in text


@pytest.mark.parametrize("width", [320, 390])
def test_nothing_is_wider_than_a_phone(browser: Chromium, page: Path, width: int) -> None:
    show(browser, page, width, 844)
    assert browser.evaluate("window.innerWidth") == width
    assert browser.evaluate(OVERFLOW) == 0
    wide = f"""[...document.querySelectorAll('main *')]
        .filter((each) => !each.closest('.scroll') && !each.closest('svg'))
        .filter((each) => each.getBoundingClientRect().right > {width} + 1).map((each) => each.outerHTML)"""
    assert browser.evaluate(wide) == []


def test_the_button_changes_the_colours(browser: Chromium, page: Path) -> None:
    show(browser, page, 1200, 1600)
    back = "getComputedStyle(document.body).backgroundColor"
    mark = "document.querySelector('[data-figure] .scatterlayer .point').style.fill"
    before = browser.evaluate(back), browser.evaluate(mark)
    browser.evaluate("document.getElementById('theme').click()")
    browser.wait(f"{mark} !== {json.dumps(before[1])}")
    assert browser.evaluate(back) != before[0]
    browser.evaluate("document.getElementById('theme').click()")
    browser.wait(f"{mark} === {json.dumps(before[1])}")


def test_the_raw_data_can_be_saved_from_a_file(browser: Chromium, page: Path) -> None:
    show(browser, page, 1200, 1600)
    saved = """new Promise((resolve) => {
        const create = URL.createObjectURL;
        URL.createObjectURL = (blob) => { blob.text().then(resolve); return create(blob); };
        HTMLAnchorElement.prototype.click = () => {};
        document.getElementById('download').click();
    })"""
    assert json.loads(browser.evaluate(saved)) == results()


def test_hostile_names_do_nothing_and_break_nothing(browser: Chromium, tmp_path: Path) -> None:
    made = results()
    for target in made["targets"].values():
        target.update({"target": HOSTILE, "label": HOSTILE, "switch": HOSTILE})
    made["command"], made["tool"], made["error"] = [HOSTILE], HOSTILE, HOSTILE
    made["machine"]["cpu_model"] = HOSTILE
    made["warnings"] = [{"code": "x", "severity": "warning", "memory_mb": None, "text": HOSTILE}]
    for tree in made["imports"].values():
        tree["children"][0]["name"] = HOSTILE
    path = tmp_path / "hostile.html"
    path.write_text(report.render(made, "html"))
    show(browser, path, 390, 844)
    assert browser.evaluate("window.hit") is None
    assert browser.evaluate("document.querySelectorAll('img, svg[onload]').length") == 0
    assert HOSTILE in browser.evaluate("document.querySelector('h1').innerText")
    assert browser.evaluate(OVERFLOW) == 0
    assert browser.requests() == [path.as_uri()]
    assert browser.complaints() == []
