"""A pytest plugin for `make test`: tests in several processes, and those that measure alone all the same.

Most of the suite's time is spent waiting, for deadlines, freezes, processes: two workers of pytest-xdist take
little more than half of it. But what measures means nothing beside other tests. So every test holds a lock
while it runs, its fixtures included: one that measures for itself, all others together. Nobody overtakes:
whoever waits for the lock holds the door to it.

What a worker puts into `config.workeroutput["sections"]`, by title, is printed at the end of the run.
Load it with `-p tools.workers` from the root. Without workers it does nothing.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest

from lambent_lab.pytest_plugin import MEASURING

if TYPE_CHECKING:
    from collections.abc import Iterator

FIXTURES = {"gate", "lambda_tester", "load", "memory_probe", "perf"}
"""Those of the lab's plugin that measure."""

_FILES = pytest.StashKey[tuple[IO[bytes], IO[bytes]]]()
_SECTIONS = pytest.StashKey[list[tuple[str, str]]]()


def pytest_configure_node(node: Any) -> None:
    """Tell a worker where the files are that it shares with the others."""
    factory = node.config._tmp_path_factory  # noqa: SLF001  # as xdist itself does: it is there before fixtures are
    node.workerinput["locks"] = str(factory.getbasetemp())


def pytest_configure(config: pytest.Config) -> None:
    """Open the lock and the door to it, the same two files in every worker."""
    given: dict[str, Any] | None = getattr(config, "workerinput", None)
    if given is not None:
        folder = Path(given["locks"])
        config.stash[_FILES] = (folder / "lock").open("wb"), (folder / "door").open("wb")
        # What a test starts is nobody's worker: pytest-benchmark, for one, measures nothing in one.
        for name in [name for name in os.environ if name.startswith("PYTEST_XDIST_")]:
            del os.environ[name]


def pytest_unconfigure(config: pytest.Config) -> None:
    """Close the files."""
    for file in config.stash.get(_FILES, ()):
        file.close()


@pytest.hookimpl(wrapper=True, tryfirst=True)  # outside of pytest-timeout's: to wait is not the test's time
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Run a test beside others, or alone."""
    files = item.config.stash.get(_FILES, None)
    if files is None:
        return (yield)
    lock, door = files
    measures = FIXTURES.intersection(getattr(item, "fixturenames", ()))
    alone = bool(measures) or any(item.get_closest_marker(name) for name in MEASURING)
    given: dict[str, Any] = item.config.workerinput  # type: ignore[attr-defined]  # xdist's
    workers = given["workercount"]
    fcntl.flock(door, fcntl.LOCK_EX)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
    finally:
        fcntl.flock(door, fcntl.LOCK_UN)
    try:
        if alone:
            given["workercount"] = 1  # the others wait: the lab's plugin has no company to refuse
        return (yield)
    finally:
        given["workercount"] = workers
        fcntl.flock(lock, fcntl.LOCK_UN)


def pytest_testnodedown(node: Any) -> None:
    """Keep what a worker has to say."""
    said = getattr(node, "workeroutput", {}).get("sections", {})
    node.config.stash.setdefault(_SECTIONS, []).extend(said.items())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print it."""
    for title, text in config.stash.get(_SECTIONS, []):
        terminalreporter.section(title)
        terminalreporter.write(text)
