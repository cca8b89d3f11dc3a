"""Layers: folders and zip files that a function finds merged in /opt.

They are merged into one folder of the lab's workspace, by hard links: in the order they are given, so that a
file of a later one replaces that of an earlier one, as on Lambda. The lab's own layer, with the SDK and its
script for AWS_LAMBDA_EXEC_WRAPPER, is the first, and is left out where the code or a layer brings an SDK. The
same folder is bound to /opt where that can be done, and used under its own name where not.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from lambent_lab.errors import UsageError
from lambent_lab.protocol.extensions import MAX_EXTENSIONS
from lambent_lab.staging import trees
from lambent_lab.staging.shelf import shelf

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambent_lab.staging.interpreter import Interpreter
    from lambent_lab.staging.shelf import Kept

_SDK = "lambent"
EXTENSIONS = "extensions"
"""The folder of a layer whose executable files are external extensions."""


def sdk(
    code: Path, layers: Sequence[Path], interpreter: Interpreter, taken: list[Kept], *, bytecode: bool
) -> Path | None:
    """Return the layer with the SDK, or None when the function brings its own or it is not installed here."""
    site = Path("python") / "lib" / f"python{interpreter.minor}" / "site-packages"
    places = [code, *(layer / part for layer in layers for part in (Path("python"), site))]
    if any((place / _SDK).is_dir() or (place / f"{_SDK}.py").is_file() for place in places):
        return None
    found = importlib.util.find_spec(_SDK)
    if found is None or not found.submodule_search_locations:
        return None
    package = Path(next(iter(found.submodule_search_locations))).resolve()

    def make(folder: Path) -> int:
        trees.copy(package, folder / "python" / _SDK)
        script = package / f"{_SDK}.sh"
        if script.is_file():  # as the layer that users make: AWS_LAMBDA_EXEC_WRAPPER=/opt/lambent
            shutil.copyfile(script, folder / _SDK)
            (folder / _SDK).chmod(0o755)
        if bytecode:
            trees.compile_all(interpreter.path, folder)
        return 0

    magic = interpreter.magic if bytecode else ""
    kept = shelf.take(("layer", "sdk", str(package), magic, trees.fingerprint(package)), make)
    taken.append(kept)
    return kept.path


def merged(layers: Sequence[Path], extensions: Sequence[Path], taken: list[Kept]) -> Path | None:
    """Return one folder with all layers, and the executables `extensions` as extensions; None if empty.

    Raises UsageError when there are two extensions of a name.
    """
    if not extensions and len(layers) < 2:
        return next(iter(layers), None)
    about = [path.resolve().stat() for path in extensions]
    states = [f"{p} {s.st_mtime_ns} {s.st_size}" for p, s in zip(extensions, about, strict=True)]

    def make(folder: Path) -> int:
        for layer in layers:
            trees.merge(layer, folder)
        if extensions and ((folder / EXTENSIONS).is_symlink() or not (folder / EXTENSIONS).is_dir()):
            (folder / EXTENSIONS).unlink(missing_ok=True)
            (folder / EXTENSIONS).mkdir()
        for path in extensions:
            place = folder / EXTENSIONS / path.name
            if os.path.lexists(place):
                raise UsageError(f"A layer has an extension called {path.name} as well: rename {path}.")
            shutil.copyfile(path, place)
            place.chmod(0o755)
        return 0

    kept = shelf.take(("layer", "merged", *map(str, layers), "", *states), make)
    taken.append(kept)
    return kept.path


def extensions_in(layer: Path | None) -> tuple[str, ...]:
    """Return the names of the executable files in a merged layer's extensions folder, sorted.

    Raises UsageError when there are more than Lambda runs.
    """
    folder = layer / EXTENSIONS if layer is not None else None
    if folder is None or not folder.is_dir():
        return ()
    names = sorted(p.name for p in folder.iterdir() if p.is_file() and p.stat().st_mode & 0o111)
    if len(names) > MAX_EXTENSIONS:
        raise UsageError(
            f"{len(names)} extensions are too many: {MAX_EXTENSIONS} at most, those of the layers included."
        )
    return tuple(names)
