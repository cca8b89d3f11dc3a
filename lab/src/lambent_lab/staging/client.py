"""The runtime client: awslambdaric with what it needs, in a folder that holds nothing else.

For an interpreter of the lab's own kind it is copied from the lab's installation. An interpreter that can
import it already keeps its own. For any other it is installed with pip, once for each version, into the
user's cache folder; where that cannot be written, into the lab's temporary one.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lambent_lab.errors import LabError
from lambent_lab.sandbox import workspace
from lambent_lab.staging import trees

if TYPE_CHECKING:
    from lambent_lab.staging.interpreter import Interpreter

_CLIENT = "awslambdaric"
_PATIENCE_S = 300
_FORM = 3  # of what this module adds to it

START = "bootstrap.py"
_START = """\
import os
import sys

sys.path[0] = os.environ["LAMBDA_TASK_ROOT"]  # this folder is further down as well: layers come first
from awslambdaric.__main__ import main

main([sys.argv[0], os.environ["_HANDLER"]])
"""
_NAME = re.compile(r"[A-Za-z0-9._-]+")


def folder_for(interpreter: Interpreter, *, bytecode: bool) -> Path | None:
    """Return the folder for /var/runtime, or None when the interpreter brings the client itself.

    Blocks while the folder is made, which happens once. Raises LabError when that fails.
    """
    if interpreter.own_client:
        return None
    shared = interpreter.suffix == (sysconfig.get_config_var("EXT_SUFFIX") or "") and interpreter.suffix != ""
    version = importlib.metadata.version(_CLIENT)
    kind = "pyc" if bytecode else "src"
    name = f"{interpreter.minor}{interpreter.suffix}-{_CLIENT}-{version}-{interpreter.magic}-{kind}-{_FORM}"
    folder = runtimes_folder() / name
    if folder.is_dir():
        return folder
    with trees.placed(folder) as making:
        if shared:
            _copy_own(making)
        else:
            _install(interpreter, version, making)
        write_start(making)
        if bytecode:
            trees.compile_all(interpreter.path, making)
    return folder


def write_start(folder: Path) -> None:
    """Write what the interpreter is started with, under the name that it has on Lambda."""
    (folder / START).write_text(_START)


def runtimes_folder() -> Path:
    """Return the folder for runtimes: in the user's cache, or this lab's own where that cannot be written."""
    with suppress(OSError, RuntimeError):  # RuntimeError: there is no home
        folder = cache() / "runtimes"
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            return folder
    folder = workspace().folder / "runtimes"
    folder.mkdir(mode=0o755, exist_ok=True)
    return folder


def cache() -> Path:
    """Return the lab's cache folder, by the XDG rule."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if home.startswith("/") else Path.home() / ".cache") / "lambent"


def _copy_own(target: Path) -> None:
    """Copy the client and what it requires from the lab's own installation."""
    todo, seen = [_CLIENT], set()
    while todo:
        name = todo.pop()
        if name.lower() in seen:
            continue
        seen.add(name.lower())
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError as error:
            raise LabError(f"{name} is not installed beside the lab: install lambent-lab again.") from error
        for requirement in distribution.requires or ():
            match = _NAME.match(requirement)
            if match and "extra ==" not in requirement:
                todo.append(match[0])
        for file in distribution.files or ():
            wanted = file.suffix != ".pyc" and ".." not in file.parts and not _is_weight(file.parts)
            if wanted:
                place = target.joinpath(*file.parts)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(str(file.locate()), place)


def _is_weight(parts: tuple[str, ...]) -> bool:
    """Tell what no function needs: notes about the installation, and the packages' own tests."""
    return parts[0].endswith(".dist-info") or (len(parts) > 2 and parts[1] == "tests")


def _install(interpreter: Interpreter, version: str, target: Path) -> None:
    """Install the client for another interpreter: with its own pip, else with the lab's."""
    common = ["install", "-q", "--disable-pip-version-check", "--no-compile", "--target", str(target)]
    wanted = f"{_CLIENT}=={version}"
    attempts = [
        [str(interpreter.path), "-m", "pip", *common, wanted],
        [
            sys.executable,
            "-m",
            "pip",
            *common,
            "--only-binary=:all:",
            "--python-version",
            interpreter.minor,
            wanted,
        ],
    ]
    said = ""
    for command in attempts:
        try:
            subprocess.run(  # noqa: S603 - starting what the user named is the purpose
                command,
                env=workspace().tool_environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_PATIENCE_S,
                check=True,
            )
        except subprocess.CalledProcessError as error:
            said = (error.stderr.strip().splitlines() or ["no message"])[-1]
        except (OSError, subprocess.SubprocessError) as error:
            said = str(error)
        else:
            return
    raise LabError(
        f"{_CLIENT} {version} could not be installed for {interpreter.path} ({said}): "
        f"install it there yourself with `{interpreter.path} -m pip install {_CLIENT}`."
    )
