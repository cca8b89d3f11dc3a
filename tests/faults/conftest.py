"""Prints what the faults came to, as a table, at the end of a run that met some."""

from __future__ import annotations

import pytest
from tests.faults.matrix import Row, table

TITLE = "spans received of those that ended, by way of ending"
_ROWS: pytest.StashKey[list[Row]] = pytest.StashKey()


@pytest.fixture(scope="session")
def rows(pytestconfig: pytest.Config) -> list[Row]:
    """What has been run so far."""
    return pytestconfig.stash.setdefault(_ROWS, [])


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand the table over, where others print: in a worker of pytest-xdist (see tools/workers.py)."""
    output = getattr(session.config, "workeroutput", None)
    rows = session.config.stash.get(_ROWS, None)
    if rows and output is not None:
        output.setdefault("sections", {})[TITLE] = table(rows)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table."""
    rows = config.stash.get(_ROWS, None)
    if rows:
        terminalreporter.section(TITLE)
        terminalreporter.write(table(rows))
