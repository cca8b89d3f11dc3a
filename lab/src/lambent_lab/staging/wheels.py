"""Wheels, unpacked into one folder as `pip install --target` would.

What a wheel keeps apart in its `.data` folder goes to where pip puts it: `purelib` and `platlib` to the top,
`scripts` to `bin`, `headers` to `include`, `data` to the top. Scripts that begin with `#!python` get an
interpreter, and console scripts are made of the entry points. RECORD is not needed. Wheels hold no links; one
that does is refused.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from importlib.metadata import PathDistribution
from pathlib import Path
from typing import TYPE_CHECKING

from lambent_lab.staging import archive, trees

if TYPE_CHECKING:
    from collections.abc import Iterable

_PLACES = {"purelib": "", "platlib": "", "data": "", "scripts": "bin", "headers": "include"}
_MARKS = (b"#!pythonw", b"#!python")
_INTERPRETER = b"#!/usr/bin/env python3"
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_DOTTED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")


def at_top(folder: Path) -> list[Path]:
    """Return the wheels at the top of a folder, by name."""
    return sorted(path for path in folder.glob("*.whl") if path.is_file() and not path.is_symlink())


def install(wheels: Iterable[Path], folder: Path) -> int:
    """Unpack wheels into a folder and return their unzipped size in bytes.

    A later wheel replaces files of an earlier one; what lies in the folder already is never replaced. Raises
    UsageError for a wheel that is refused.
    """
    size = 0
    with tempfile.TemporaryDirectory(prefix="wheels-", dir=folder.parent, ignore_cleanup_errors=True) as name:
        all_of_them = Path(name) / "all"
        all_of_them.mkdir()
        for number, wheel in enumerate(wheels):
            own = Path(name) / str(number)
            own.mkdir()
            size += archive.extract(wheel, own, name=wheel.name, links=False)
            archive.check_size(wheel.name, size)
            _spread(own)
            _make_scripts(own)
            trees.merge(own, all_of_them)
            shutil.rmtree(own)
        trees.merge(all_of_them, folder, replace=False)
    return size


def _spread(folder: Path) -> None:
    """Move what lies in a wheel's .data folders to where it belongs."""
    for data in sorted(folder.glob("*.data")):
        for part in sorted(data.iterdir()):
            place = _PLACES.get(part.name)
            if place is None or not part.is_dir():
                continue
            if part.name == "scripts":
                _name_interpreter(part)
            (folder / place).mkdir(exist_ok=True)
            trees.merge(part, folder / place)
        shutil.rmtree(data)


def _make_scripts(folder: Path) -> None:
    """Write the console scripts that a wheel's entry points name."""
    for about in sorted(folder.glob("*.dist-info")):
        try:
            points = PathDistribution(about).entry_points.select(group="console_scripts")
        except (ValueError, AttributeError):
            continue  # no entry points that anybody could read
        for point in points:
            try:
                name, module, attribute = point.name, point.module, point.attr
            except (ValueError, AttributeError, AssertionError):  # the last one under Python 3.13
                continue
            path = folder / "bin" / name
            # Names become a path and code here: only those are taken that can be nothing else.
            if not (_FILE.fullmatch(name) and _DOTTED.fullmatch(module) and _DOTTED.fullmatch(attribute)):
                continue
            path.parent.mkdir(exist_ok=True)
            first = attribute.partition(".")[0]
            lines = ["import sys", "", f"from {module} import {first}", "", f"sys.exit({attribute}())", ""]
            path.write_text("\n".join([_INTERPRETER.decode(), *lines]))
            path.chmod(0o755)


def _name_interpreter(scripts: Path) -> None:
    """Give scripts the interpreter's path. Their right to execute is what it is in the wheel, as with pip."""
    for script in scripts.iterdir():
        if not script.is_file():
            continue
        first, newline, rest = script.read_bytes().partition(b"\n")
        mark = next((mark for mark in _MARKS if first.startswith(mark)), None)
        if mark is not None:
            script.write_bytes(_INTERPRETER + first[len(mark) :].rstrip(b"\r") + newline + rest)
