"""Finding a Python by its version: the lab's own, one on PATH, pyenv's, uv's.

What is found is run from a clean home, as the lab's own is: its packages are not the function's.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from lambent_lab.errors import UsageError
from lambent_lab.staging.interpreter import inspect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lambent_lab.staging.interpreter import Interpreter

_NAME = re.compile(r"python3\.\d+")


def find(minor: str) -> Interpreter:
    """Return an interpreter of a version as in 3.12. Raises UsageError, with what was found instead."""
    own = inspect(None)
    if own.minor == minor:
        return own
    for path in candidates(minor):
        try:
            found = inspect(path)
            if found.minor == minor:
                # A virtual environment's is asked for the one that it was made from.
                base = inspect(found.base) if found.base != path else found
                return dataclasses.replace(base, is_default=True, own_client=False)
        except UsageError:
            continue  # a shim of pyenv, say, for a version that is not chosen
    others = sorted({own.minor, *_versions()}, key=lambda text: tuple(map(int, text.split("."))))
    raise UsageError(
        f"No Python {minor} was found, in PATH or with pyenv or uv (there is {', '.join(others)}): "
        "install it, or name an interpreter with --python."
    )


def candidates(minor: str) -> Iterator[Path]:
    """Yield files that may be an interpreter of this version, the likeliest first."""
    name = f"python{minor}"
    for folder in _path():
        if (found := shutil.which(name, path=str(folder))) is not None:
            yield Path(found)
    for root, pattern in _roots():
        # The latest patch first; `3.13.0t` and the like, which are other builds, last.
        homes = sorted(root.glob(pattern.format(minor)), key=_latest, reverse=True)
        for home in homes:
            if os.access(home / "bin" / name, os.X_OK):
                yield home / "bin" / name


def _versions() -> Iterator[str]:
    """Yield the versions for which there are files, looked for by name only."""
    for folder in _path():
        if folder.is_dir() and folder.name != "shims":
            yield from (p.name.removeprefix("python") for p in folder.glob("python3.*") if _is_ours(p))
    for root, pattern in _roots():
        for home in root.glob(pattern.format("3")):
            yield from (p.name.removeprefix("python") for p in home.glob("bin/python3.*") if _is_ours(p))


def _is_ours(path: Path) -> bool:
    match = _NAME.fullmatch(path.name)
    return match is not None and int(path.name.rpartition(".")[2]) >= 11 and os.access(path, os.X_OK)


def _path() -> list[Path]:
    return [Path(part) for part in os.environ.get("PATH", "").split(os.pathsep) if part.startswith("/")]


def _roots() -> list[tuple[Path, str]]:
    """Return where tools install Pythons, and the form of the folders' names."""
    home = Path(os.environ.get("HOME") or "/nonexistent")
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share")
    return [
        (Path(os.environ.get("PYENV_ROOT") or home / ".pyenv") / "versions", "{}*"),
        (Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv/python"), "cpython-{}*"),
    ]


def _latest(home: Path) -> tuple[bool, tuple[int, ...]]:
    match = re.search(r"(\d+(?:\.\d+)+)(?=-|$)", home.name)
    return (match is not None, tuple(map(int, match[1].split("."))) if match else ())
