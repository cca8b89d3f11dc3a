"""What counts as a change of a function's code, with real files and environments that run nothing."""

from __future__ import annotations

import asyncio
import errno
import queue
import shutil
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import watchfiles

from lambent_lab.errors import LabError
from lambent_lab.service import Lab
from lambent_lab.service.testing import World
from lambent_lab.service.watch import TURN_MS, watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from lambent_lab.service.function import Function


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(environment=World()) as opened:
        yield opened


class Changes:
    """Hears which functions have changed."""

    def __init__(self) -> None:
        self._names: queue.SimpleQueue[str] = queue.SimpleQueue()

    def __call__(self, name: str) -> None:
        self._names.put(name)

    def next(self) -> str:
        return self._names.get(timeout=60)

    def settled(self) -> set[str]:
        """Return what comes until nothing has come for some turns."""
        names: set[str] = set()
        while True:
            try:
                names.add(self._names.get(timeout=TURN_MS * 5 / 1000))
            except queue.Empty:
                return names


@contextmanager
def watching(lab: Lab, *functions: Function) -> Iterator[Changes]:
    changes, ready = Changes(), asyncio.Event()
    found = [lab.core.functions[function.name] for function in functions]
    future = lab.begin(watch(lab.core, found, changes, ready))
    try:
        lab.run(ready.wait())
        yield changes
    finally:
        future.cancel()


def folder(path: Path, text: str = "1") -> Path:
    path.mkdir()
    (path / "app.py").write_text(text)
    return path


def test_a_file_is_edited(lab: Lab, tmp_path: Path) -> None:
    one = lab.function("one", code=folder(tmp_path / "one"), handler="app.handler")
    two = lab.function("two", code=folder(tmp_path / "two"), handler="app.handler")
    (tmp_path / "one" / ".lambent").mkdir()
    with watching(lab, one, two) as changes:
        # The trace store of who serves the current folder is no part of the code.
        (tmp_path / "one" / ".lambent" / "traces.db").write_text("of an invocation")
        (tmp_path / "two" / "app.py").write_text("2")  # at once: it was said that changes are seen
        assert changes.next() == "two"
        assert "one" not in changes.settled()


def test_a_function_has_new_environments_for_new_code(lab: Lab, tmp_path: Path) -> None:
    one = lab.function("one", code=folder(tmp_path / "one"), handler="app.handler")
    with watching(lab, one) as changes:
        assert [one.invoke().cold for _ in range(2)] == [True, False]
        (tmp_path / "one" / "app.py").write_text("2")
        assert changes.next() == "one"
        changes.settled()
        assert [one.invoke().cold for _ in range(2)] == [True, False]


def test_a_folder_is_removed_and_made_again(lab: Lab, tmp_path: Path) -> None:
    one = lab.function("one", code=folder(tmp_path / "one"), handler="app.handler")
    with watching(lab, one) as changes:
        for _ in range(2):
            shutil.rmtree(tmp_path / "one")
            assert changes.next() == "one"
            changes.settled()
            folder(tmp_path / "one")
            assert changes.next() == "one"
            changes.settled()
        (tmp_path / "one" / "app.py").write_text("3")
        assert changes.next() == "one"


def test_a_folder_is_replaced_by_another(lab: Lab, tmp_path: Path) -> None:
    one = lab.function("one", code=folder(tmp_path / "one"), handler="app.handler")
    folder(tmp_path / "new")
    with watching(lab, one) as changes:
        (tmp_path / "one").rename(tmp_path / "old")
        (tmp_path / "new").rename(tmp_path / "one")
        assert changes.next() == "one"
        changes.settled()
        (tmp_path / "old" / "app.py").write_text("2")
        assert not changes.settled()
        (tmp_path / "one" / "app.py").write_text("3")
        assert changes.next() == "one"


def test_a_link_is_pointed_elsewhere(lab: Lab, tmp_path: Path) -> None:
    folder(tmp_path / "a")
    folder(tmp_path / "b")
    (tmp_path / "current").symlink_to("a")
    one = lab.function("one", code=tmp_path / "current", handler="app.handler")
    with watching(lab, one) as changes:
        (tmp_path / "next").symlink_to("b")
        (tmp_path / "next").rename(tmp_path / "current")
        assert changes.next() == "one"
        changes.settled()
        (tmp_path / "b" / "app.py").write_text("2")
        assert changes.next() == "one"


def test_a_layer_and_a_package_count_as_well(lab: Lab, tmp_path: Path) -> None:
    layer = folder(tmp_path / "layer")
    package = tmp_path / "packages" / "one.zip"
    package.parent.mkdir()
    package.write_bytes(b"1")
    one = lab.function("one", code=package, handler="app.handler")
    two = lab.function("two", code=folder(tmp_path / "two"), handler="app.handler", layers=[layer])
    with watching(lab, one, two) as changes:
        (layer / "app.py").write_text("2")
        assert changes.next() == "two"
        changes.settled()
        (package.parent / "beside.zip").write_bytes(b"2")
        assert not changes.settled()
        package.unlink()
        package.write_bytes(b"2")
        assert changes.next() == "one"


def test_code_that_came_over_the_api_is_not_that_of_the_file(lab: Lab, tmp_path: Path) -> None:
    one = lab.function("one", code=folder(tmp_path / "one"), handler="app.handler")
    with watching(lab, one) as changes:
        deployed = lab.core.functions["one"]

        async def change() -> None:
            lab.core.change(
                deployed, spec=replace(deployed.record.latest.spec, code=folder(tmp_path / "new"))
            )

        lab.run(change())
        assert not changes.settled()
        (tmp_path / "one" / "app.py").write_text("2")
        assert not changes.settled()
        (tmp_path / "new" / "app.py").write_text("2")
        assert changes.next() == "one"


def test_what_keeps_files_from_being_watched_is_said(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*paths: str, **_: Any) -> AsyncIterator[Any]:
        if paths:
            raise OSError(errno.ENOSPC, "OS file watch limit reached")
        yield set()

    monkeypatch.setattr(watchfiles, "awatch", refuse)
    one = lab.function("one", code=folder(tmp_path / "one"), handler="app.handler")
    ready = asyncio.Event()
    future = lab.begin(watch(lab.core, [lab.core.functions["one"]], Changes(), ready))
    lab.run(ready.wait())
    with pytest.raises(LabError, match=r"watch limit reached.*without --watch"):
        future.result(60)
    assert one.invoke().error is None


def test_nothing_to_watch_is_no_error(lab: Lab) -> None:
    ready = asyncio.Event()
    lab.run(watch(lab.core, [], Changes(), ready))
    assert ready.is_set()
