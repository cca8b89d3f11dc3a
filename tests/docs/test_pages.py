"""The pages of docs/ lead somewhere, and every one of them can be found."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md")),
    *sorted(DOCS.rglob("*.md")),
    *sorted((ROOT / "examples").glob("*/README.md")),
]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def links(page: Path) -> list[tuple[Path, str]]:
    """The page's relative links: the file that each leads to, and the place in it."""
    found = [link for link in LINK.findall(CODE.sub("", page.read_text())) if "://" not in link]
    parts = [link.partition("#") for link in found]
    return [((page.parent / path).resolve() if path else page, place) for path, _, place in parts]


def places(page: Path) -> set[str]:
    """What GitHub calls a page's headings."""
    headings = re.findall(r"^#+ (.*)$", CODE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    broken = [
        f"{path}#{place}"
        for path, place in links(page)
        if not path.exists() or (place and place not in places(path))
    ]
    assert broken == []


@pytest.mark.parametrize("index", [DOCS / "README.md", DOCS / "design" / "README.md"])
def test_every_page_is_in_its_list(index: Path) -> None:
    of_design = index.parent == DOCS / "design"
    pages = {page for page in DOCS.rglob("*.md") if (page.parent == DOCS / "design") is of_design}
    assert pages - {index} <= {path for path, _ in links(index)}
