from __future__ import annotations

import sys
from pathlib import Path

import pytest
from benchmarks.harness import venvs
from benchmarks.harness.peers_file import Peer


def test_what_cannot_be_installed_is_reported_with_the_last_lines(tmp_path: Path) -> None:
    def silent(_: str) -> None:
        pass

    shop = venvs.Workshop(tmp_path, tmp_path, Path(sys.executable), (), silent)
    here = Peer(name="x", title="x", module="x.py", requirements=(str(tmp_path / "not-there.whl"),))
    with pytest.raises(venvs.PeerUnavailableError, match=r"pip install failed: .*not-there\.whl"):
        shop.install(here)
    assert shop.python_version.startswith("3.")


def test_an_interpreter_is_found_even_when_the_wanted_ones_are_not() -> None:
    assert venvs.find_python(("2.0",)) == Path(sys.executable)
