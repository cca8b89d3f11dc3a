from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambent_lab.measure.importtree import ENTRY, ROOT, VARIABLE, added, entry, flat, least, parse

if TYPE_CHECKING:
    from pathlib import Path

    from lambent_lab.measure.results import ImportNode


def node(name: str, own: int, children: list[ImportNode]) -> ImportNode:
    total = own + sum(child["cumulative_us"] for child in children)
    return {"name": name, "self_us": own, "cumulative_us": total, "children": children}


names = st.from_regex(r"[a-z_][a-z0-9_]{0,8}(\.[a-z0-9_]{1,8}){0,3}", fullmatch=True)
leaves = st.builds(lambda name, own: node(name, own, []), names, st.integers(0, 10**9))
trees = st.recursive(
    leaves,
    lambda below: st.builds(node, names, st.integers(0, 10**9), st.lists(below, max_size=4)),
    max_leaves=25,
)
noise = st.text(st.characters(exclude_characters="|", codec="utf-8"), max_size=30)


def written(tree: ImportNode, depth: int = 0) -> list[str]:
    """As CPython writes it: `"import time: %9ld | %10ld | %*s%s\\n"`, the innermost first."""
    lines = [line for child in tree["children"] for line in written(child, depth + 1)]
    own, total = tree["self_us"], tree["cumulative_us"]
    return [*lines, f"import time: {own:9d} | {total:10d} | {'':>{depth * 2}}{tree['name']}"]


@settings(max_examples=20)  # each draws many lines of noise
@given(st.lists(trees, min_size=1, max_size=4), st.data())
def test_any_forest_comes_back_whatever_stands_between_its_lines(
    forest: list[ImportNode], data: st.DataObject
) -> None:
    lines = ["import time: self [us] | cumulative | imported package"]
    for tree in forest:
        for line in written(tree):
            lines += [data.draw(noise), line]
    total = sum(tree["cumulative_us"] for tree in forest)
    assert parse(lines) == {"name": ROOT, "self_us": 0, "cumulative_us": total, "children": forest}


@given(st.lists(st.text(max_size=60)))
def test_other_lines_are_no_tree(lines: list[str]) -> None:
    assert parse(lines) is None or any("import time:" in line for line in lines)


def test_what_this_interpreter_writes_is_read() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import json"],
        env={**os.environ, **VARIABLE},
        capture_output=True,
        text=True,
        check=True,
    )
    tree = parse(done.stderr.splitlines())
    assert tree is not None
    [found] = [child for child in tree["children"] if child["name"] == "json"]
    assert "json.decoder" in {child["name"] for child in found["children"]}
    assert (
        found["cumulative_us"] >= found["self_us"] + sum(c["cumulative_us"] for c in found["children"]) - 50
    )
    assert len(flat(tree)) > 10


@pytest.mark.parametrize("handler", ["app.handler", "my-app.handler", "deep/app.handler", "deep.app.handler"])
def test_the_entry_loads_the_handlers_module_so_that_it_is_in_the_tree(handler: str, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("app", "my-app", "deep/app"):
        (tmp_path / f"{name}.py").write_text("import colorsys\ndef handler(): return 7\n")
    (tmp_path / f"{ENTRY}.py").write_text(entry(handler))
    code = f"import importlib; print(importlib.import_module('{ENTRY}').handler())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, **VARIABLE},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "7\n"
    tree = parse(done.stderr.splitlines())
    assert tree is not None
    module = handler.removesuffix(".handler").replace("/", ".")
    [found] = [node for top in tree["children"] for node in (top, *top["children"]) if node["name"] == module]
    assert "colorsys" in {child["name"] for child in found["children"]}


def test_the_least_of_several_trees_has_no_waiting_in_it() -> None:
    first = node(ROOT, 0, [node("app", 5, [node("json", 90, []), node("re", 7, [])])])
    second = node(ROOT, 0, [node("app", 80, [node("json", 9, []), node("enum", 3, [])])])
    assert least([first, second]) == node(
        ROOT, 0, [node("app", 5, [node("json", 9, []), node("enum", 3, [])])]
    )
    assert least([]) is None
    assert least([first]) == first


def test_what_one_side_alone_loads_counts_with_what_it_brings() -> None:
    base = node(ROOT, 0, [node("app", 9, [node("json", 20, [])])])
    brought = node("sdk", 5, [node("sdk.wire", 7, []), node("json", 21, [node("json.new", 3, [])])])
    candidate = node(ROOT, 0, [node("app", 10, [brought]), node("site", 1, [])])
    assert added(base, candidate) == [
        {"name": "sdk", "parent": "app", "self_us": 5, "cumulative_us": 12, "modules": 2},
        {"name": "json.new", "parent": "json", "self_us": 3, "cumulative_us": 3, "modules": 1},
        {"name": "site", "parent": "", "self_us": 1, "cumulative_us": 1, "modules": 1},
    ]
    assert added(candidate, base) == []


@given(st.lists(trees, max_size=3), st.lists(trees, max_size=3))
def test_nothing_that_only_one_side_loads_is_left_out_or_counted_twice(
    before: list[ImportNode], after: list[ImportNode]
) -> None:
    base, candidate = node(ROOT, 0, before), node(ROOT, 0, after)
    found, known = added(base, candidate), flat(base)
    new = [each for tree in after for each in below(tree) if each["name"] not in known]
    assert sum(each["modules"] for each in found) == len(new)
    assert sum(each["cumulative_us"] for each in found) == sum(each["self_us"] for each in new)
    costs = [each["cumulative_us"] for each in found]
    assert costs == sorted(costs, reverse=True)


def below(tree: ImportNode) -> list[ImportNode]:
    return [tree, *(each for child in tree["children"] for each in below(child))]
