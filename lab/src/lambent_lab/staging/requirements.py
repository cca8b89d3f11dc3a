"""The packages that a folder of code asks for in its `requirements.txt`, as a layer.

A folder is what one works on, and its packages are installed beside the lab, where tests and the editor find
them. What is deployed holds them itself, so a zip file is taken as it is, and so is what the folder or a
layer has already. Nothing is installed: what is asked for and not there is said, and the function fails as on
Lambda. Only the lab's own interpreter is served, because the packages are that one's.
"""

from __future__ import annotations

import functools
import importlib.metadata
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from lambent_lab.staging import trees
from lambent_lab.staging.shelf import shelf

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from lambent_lab.staging.interpreter import Interpreter
    from lambent_lab.staging.shelf import Kept

FILE = "requirements.txt"
_OFFERED = frozenset({"lambent", "awslambdaric"})
"""What a function finds anyway: the lab's SDK layer, and the runtime client."""


def layer(
    code: Path, layers: Sequence[Path], interpreter: Interpreter | None, taken: list[Kept], *, bytecode: bool
) -> tuple[Path | None, tuple[str, ...]]:
    """Return the layer with the packages that a function's folder asks for, and what is to be said of it."""
    file = code / FILE
    if interpreter is None or not interpreter.is_default or not code.is_dir() or not file.is_file():
        return None, ()
    site = Path("python") / "lib" / f"python{interpreter.minor}" / "site-packages"
    places = [code, *(folder / part for folder in layers for part in (Path("python"), site))]
    there = _OFFERED | {canonicalize_name(name) for place in places for name in _installed_in(place)}
    about = file.stat()
    installed = tuple(Path(path).stat().st_mtime_ns for path in sys.path if Path(path).is_dir())
    found, identity, notes = _looked_up(file, (about.st_mtime_ns, about.st_size, *installed), there)
    if not found:
        return None, tuple(notes)

    def make(folder: Path) -> int:
        size = sum(_copy(each, folder / "python", pyc=bytecode) for each in found)
        if bytecode:
            trees.compile_all(interpreter.path, folder)
        return size

    kept = shelf.take(("layer", "requirements", identity, str(bytecode)), make)
    taken.append(kept)
    said = f"packages: those of {FILE} are the lab's; for Lambda they have to be packed with the code"
    return kept.path, (*notes, said)


@functools.lru_cache(maxsize=64)
def _looked_up(
    file: Path, _state: tuple[int, ...], there: frozenset[str]
) -> tuple[list[importlib.metadata.Distribution], str, list[str]]:
    """Return the packages that a file asks for and are not there, a text that tells them, and what to say."""
    wanted, notes = _read(file)
    found, missing = _closure([each for each in wanted if canonicalize_name(each.name) not in there], there)
    if missing:
        notes.append(f"packages: the lab has no {' '.join(missing)}: pip install -r {file}")
    identity = " ".join(f"{each.locate_file(f'{each.name}=={each.version}')}" for each in found)
    return found, identity, notes


def _read(file: Path) -> tuple[list[Requirement], list[str]]:
    """Return the requirements of a file that hold for this interpreter, and what of it was not understood."""
    found, notes = [], []
    text = file.read_text(encoding="utf-8", errors="replace").replace("\\\n", " ")
    for line in text.splitlines():
        asked = line.partition(" #")[0].partition(" --")[0].strip()
        if not asked or asked.startswith("#"):
            continue
        try:
            each = Requirement(asked)
        except InvalidRequirement:
            notes.append(f"packages: {asked!r} of {FILE} is not looked at")
            continue
        if each.marker is None or each.marker.evaluate():
            found.append(each)
    return found, notes


def _installed_in(folder: Path) -> Iterator[str]:
    """Yield the names of the packages that were installed into a folder."""
    for path in folder.glob("*.dist-info"):
        yield path.name.partition("-")[0]


def _closure(
    wanted: Iterable[Requirement], there: Iterable[str]
) -> tuple[list[importlib.metadata.Distribution], list[str]]:
    """Return the installed packages that are wanted, with all that these require, and what is missing."""
    todo = list(wanted)
    seen: set[tuple[str, frozenset[str]]] = set()
    found: dict[str, importlib.metadata.Distribution] = {}
    missing = []
    while todo:
        each = todo.pop()
        name = canonicalize_name(each.name)
        key = (name, frozenset(each.extras))
        if key in seen or name in there:
            continue
        seen.add(key)
        try:
            distribution = importlib.metadata.distribution(each.name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(str(each))
            continue
        if not each.specifier.contains(distribution.version, prereleases=True):
            missing.append(str(each))
        found[name] = distribution
        for text in distribution.requires or ():
            needed = Requirement(text)
            extras = each.extras or {""}
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                todo.append(needed)
    return [found[name] for name in sorted(found)], missing


def _copy(distribution: importlib.metadata.Distribution, target: Path, *, pyc: bool) -> int:
    """Copy the files of a package, without its scripts; return the bytes of those that are not compiled."""
    size = 0
    for file in distribution.files or ():
        if ".." in file.parts or (file.suffix == ".pyc" and not pyc):
            continue
        source = Path(str(file.locate()))
        if not source.is_file():
            continue
        place = target.joinpath(*file.parts)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, place)
        size += source.stat().st_size if file.suffix != ".pyc" else 0
    return size
