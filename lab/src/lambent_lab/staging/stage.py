"""Everything that a function's process is started with, prepared once and shared by its environments."""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lambent_lab.sandbox.workspace import workspace
from lambent_lab.staging import client, trees
from lambent_lab.staging.interpreter import Interpreter, clean_home, inspect

if TYPE_CHECKING:
    from lambent_lab.function import FunctionSpec

_SDK = "lambent"

_prepared: dict[tuple[str, ...], Path] = {}
_open: set[Path] = set()
_lock = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The folders a function is run with, none the user's own. No `home`: the interpreter runs as it is."""

    interpreter: Interpreter
    home: Path | None
    code: Path
    client: Path | None
    layer: Path | None


def stage(spec: FunctionSpec) -> Stage:
    """Prepare a function. Blocks while files are copied and compiled, once for each state of the code."""
    interpreter = inspect(spec.python)
    with _lock:
        prepared = Stage(
            interpreter=interpreter,
            home=_home(interpreter),
            code=_copied(spec.code.resolve(), "", interpreter, bytecode=spec.bytecode),
            client=client.folder_for(interpreter, bytecode=spec.bytecode),
            layer=_with_extensions(spec, _layer(spec, interpreter)),
        )
        for folder in (prepared.home, prepared.code, prepared.layer):
            if folder is not None and folder not in _open:
                trees.open_up(folder)
                _open.add(folder)
        return prepared


def _home(interpreter: Interpreter) -> Path | None:
    """Return a clean home for the default interpreter; one that the user named is run exactly as it is."""
    if not interpreter.is_default:
        return None
    base = workspace().folder
    key = (str(base), "home", str(interpreter.path))
    if key not in _prepared:
        folder = Path(tempfile.mkdtemp(prefix="home-", dir=base))
        clean_home(interpreter, folder)
        folder.chmod(0o755)
        _prepared[key] = folder
    return _prepared[key]


def _layer(spec: FunctionSpec, interpreter: Interpreter) -> Path | None:
    """Return the layer with the SDK, or None when the code brings its own or it is not installed here."""
    if (spec.code / _SDK).is_dir() or (spec.code / f"{_SDK}.py").is_file():
        return None
    found = importlib.util.find_spec(_SDK)
    if found is None or not found.submodule_search_locations:
        return None
    package = Path(next(iter(found.submodule_search_locations)))
    return _copied(package, f"python/{_SDK}", interpreter, bytecode=spec.bytecode)


def _with_extensions(spec: FunctionSpec, layer: Path | None) -> Path | None:
    """Return the layer with the function's extensions in it, made anew when one of them has changed."""
    if not spec.extensions:
        return layer
    base = workspace().folder
    about = [path.resolve().stat() for path in spec.extensions]
    states = [f"{p} {s.st_mtime_ns} {s.st_size}" for p, s in zip(spec.extensions, about, strict=True)]
    key = (str(base), "extensions", str(layer), *states)
    if key in _prepared:
        return _prepared[key]
    folder = Path(tempfile.mkdtemp(prefix="layer-", dir=base))
    try:
        if layer is not None:
            shutil.copytree(layer, folder, dirs_exist_ok=True)
        (folder / "extensions").mkdir()
        for path in spec.extensions:
            shutil.copyfile(path, folder / "extensions" / path.name)
            (folder / "extensions" / path.name).chmod(0o755)
        folder.chmod(0o755)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    _prepared[key] = folder
    return folder


def _copied(source: Path, place: str, interpreter: Interpreter, *, bytecode: bool) -> Path:
    """Return a folder that holds a copy of `source` at `place`, made anew when the source has changed."""
    base = workspace().folder
    key = (str(base), str(source), place, interpreter.magic if bytecode else "", trees.fingerprint(source))
    known = _prepared.get(key)
    if known is not None:
        return known
    folder = Path(tempfile.mkdtemp(prefix="stage-", dir=base))
    try:
        trees.copy(source, folder / place)
        if bytecode:
            trees.compile_all(interpreter.path, folder)
        folder.chmod(0o755)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    _prepared[key] = folder
    return folder
