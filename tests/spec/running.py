"""Runs one block as its entry says. What a block shall reach is on this machine: see `shims`."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

from tests.spec.blocks import PYTHON
from tests.spec.table import ENTRIES

import lambent
import lambent_lab

if TYPE_CHECKING:
    from lambent_lab import Lab
    from lambent_lab.service.result import Result

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SOURCES = [Path(each.__file__).parents[1] for each in (lambent, lambent_lab) if each.__file__]
SITE = sysconfig.get_paths()["purelib"]
FUNCTION_PATH = f"{SOURCES[0]}:{SITE}"
"""What functions import beside their code: lambent as it is here, and what is installed."""

MODULES = {
    "working_sdk_test": "000:32",
    "basic_tracing": "000:196",
    "cold_start_test": "000:327",
}
"""The functions that other blocks invoke: of blocks, under the names of the folder that 000:176 shows."""

_CONFTEST = '''
import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """What a test returns is dropped: pytest takes it for a mistake."""
    names = pyfuncitem._fixtureinfo.argnames
    pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names})
    return True
'''
_INI = "[pytest]\nmarkers =\n    benchmark: of the specification\n"


def mended(place: str, replacements: dict[str, str] | None = None) -> str:
    """Return a block's code with its packages renamed and what is listed replaced."""
    code = PYTHON[place].renamed
    for old, new, _ in ENTRIES[place].mended:
        assert old in code, f"{place}: there is no {old!r} to replace"
        code = code.replace(old, new)
    for old, new in (replacements or {}).items():
        code = code.replace(old, new)
    return code


def program(place: str, replacements: dict[str, str] | None = None) -> str:
    """Return the whole text that is run for a block."""
    entry = ENTRIES[place]
    before = [mended(each, replacements) for each in entry.after]
    return "\n\n".join([entry.names, *before, mended(place, replacements), entry.then])


def deploy(folder: Path) -> None:
    """Write the functions that other blocks invoke into a folder."""
    folder.mkdir(parents=True)
    for name, place in MODULES.items():
        (folder / f"{name}.py").write_text(mended(place), encoding="utf-8")
    (folder / "failing.py").write_text((HERE / "shims" / "failing.py").read_text())
    # Part of the package, as in a deployed one: the lab compiles what it stages.
    shutil.copytree(SOURCES[0] / "lambent", folder / "lambent", ignore=shutil.ignore_patterns("__pycache__"))


def run_function(place: str, lab: Lab, folder: Path, values: dict[str, str]) -> list[Result]:
    """Invoke a block's handler in the lab, once with each event."""
    entry = ENTRIES[place]
    folder.mkdir()
    (folder / "app.py").write_text(program(place), encoding="utf-8")
    env = {name: values.get(value, value) for name, value in entry.env.items()}
    function = lab.function(
        f"block-{place.replace(':', '-')}",
        code=folder,
        handler=f"app.{entry.handler}",
        memory=512,
        timeout=30,
        env={"PYTHONPATH": FUNCTION_PATH, **env},
    )
    try:
        return [function.invoke(event) for event in entry.events]
    finally:
        function.stop()


def run_process(place: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a block as a program, or as a test file, in a fresh process."""
    entry = ENTRIES[place]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    work = folder / "work"
    deploy(folder / "functions")
    work.mkdir()
    name = "test_block.py" if entry.how == "pytest" else "block.py"
    (work / name).write_text(program(place, {"@PORT@": str(port)}), encoding="utf-8")
    arguments = [sys.executable, name]
    if entry.how == "pytest":
        (work / "conftest.py").write_text(_CONFTEST)
        (work / "pytest.ini").write_text(_INI)
        arguments = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", name]
    ours = ("OTEL_", "AWS_", "LAMBENT_", "LAMBDA_", "HH_", "OTLP_", "PYTEST")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    environment.update(
        PYTHONPATH=os.pathsep.join(map(str, [HERE / "shims", *SOURCES])),
        LAMBENT_SPEC_CODE=str(folder / "functions"),
        LAMBENT_SPEC_PATH=FUNCTION_PATH,
        **entry.env,
    )
    return subprocess.run(
        arguments, cwd=work, env=environment, capture_output=True, text=True, timeout=100, check=False
    )
