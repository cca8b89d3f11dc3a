"""Folders that are made once: shared, kept while they are used, and bounded in number."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TYPE_CHECKING

import pytest

from lambent_lab.environment import Environment
from lambent_lab.function import FunctionSpec
from lambent_lab.staging.package import unpack
from lambent_lab.staging.shelf import MAX_UNUSED, Kept, Shelf, shelf

if TYPE_CHECKING:
    from pathlib import Path


def fill(folder: Path) -> int:
    (folder / "file").write_text("x")
    return 1


def take(one: Shelf, name: str) -> Kept:
    return one.take(("test", name), fill)


def test_a_key_has_one_folder() -> None:
    one = Shelf()
    first, second, other = take(one, "a"), take(one, "a"), take(one, "b")
    assert first is second
    assert (first.users, other.users, first.size) == (2, 1, 1)
    assert first.path != other.path
    assert (first.path / "file").read_text() == "x"


def test_what_is_used_stays_and_the_rest_is_bounded() -> None:
    one = Shelf()
    used = take(one, "used")
    others = []
    for number in range(MAX_UNUSED + 5):
        others.append(take(one, str(number)))
        one.give_back(others[-1])
    there = [kept.path.is_dir() for kept in others]
    assert there == [False] * 5 + [True] * MAX_UNUSED
    assert used.path.is_dir()
    again = take(one, "0")
    assert again.path.is_dir()
    assert again is not others[0]


def test_the_trace_store_is_no_code(tmp_path: Path) -> None:
    """Who invokes the current folder has it there: to copy it would give up SQLite's locks on it."""
    (tmp_path / ".lambent").mkdir()
    (tmp_path / ".lambent" / "traces.db").write_text("spans")
    (tmp_path / "app.py").write_text("code")
    staged = unpack(tmp_path)
    assert [each.name for each in staged.iterdir()] == ["app.py"]
    (tmp_path / ".lambent" / "traces.db").write_text("more spans")
    assert unpack(tmp_path) == staged


def test_a_folder_that_could_not_be_made_leaves_nothing() -> None:
    one = Shelf()
    made: list[Path] = []

    def fail(folder: Path) -> int:
        made.append(folder)
        raise OSError("full")

    for _ in range(2):
        with pytest.raises(OSError, match="full"):
            one.take(("test", "bad"), fail)
    assert [folder.exists() for folder in made] == [False, False]


def test_many_at_once_share_one() -> None:
    one = Shelf()
    made: list[Path] = []

    def make(folder: Path) -> int:
        made.append(folder)
        return fill(folder)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: one.take(("test", "shared"), make), range(32)))
    assert len(made) == 1
    assert found[0].users == 32


def test_different_ones_are_made_side_by_side() -> None:
    one = Shelf()
    both = Barrier(2)

    def make(folder: Path) -> int:
        both.wait(60)  # breaks when the other is not begun before this one is done
        return fill(folder)

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda name: one.take(("test", name), make), ["a", "b"]))
    assert found[0].path != found[1].path


async def test_an_environment_gives_back_what_it_took(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("def handler(event, context):\n    return 1\n")
    spec = FunctionSpec(name="f", code=tmp_path, handler="app.handler", timeout_s=20)
    before = {key: kept.users for key, kept in shelf._kept.items()}
    async with Environment(spec) as environment:
        await environment.invoke(b"{}")
        during = sum(kept.users for kept in shelf._kept.values())
    after = {key: kept.users for key, kept in shelf._kept.items()}
    assert during > sum(before.values())
    assert sum(after.values()) == sum(before.values())
