"""Everything that a function's process is started with, prepared once and shared by its environments."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lambent_lab.errors import UsageError
from lambent_lab.staging import archive, client, trees, wheels
from lambent_lab.staging.interpreter import Interpreter, clean_home, inspect
from lambent_lab.staging.shelf import Kept, shelf

if TYPE_CHECKING:
    from lambent_lab.function import FunctionSpec

_SDK = "lambent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The folders a function is run with, none the user's own. No `home`: the interpreter runs as it is.

    `release` gives the folders back; they may vanish then.
    """

    interpreter: Interpreter
    home: Path | None
    code: Path
    client: Path | None
    layer: Path | None
    taken: tuple[Kept, ...]

    def release(self) -> None:
        """Tell that nothing runs from these folders any more. Call it once."""
        for kept in self.taken:
            shelf.give_back(kept)


def stage(spec: FunctionSpec) -> Stage:
    """Prepare a function. Blocks while files are copied and compiled, once for each state of the code.

    Raises UsageError for code that Lambda would not take.
    """
    interpreter = inspect(spec.python)
    taken: list[Kept] = []
    try:
        home = _home(interpreter, taken)
        code = _code(spec.code, interpreter, taken, bytecode=spec.bytecode)
        layer = _with_extensions(spec, _layer(code, interpreter, taken, bytecode=spec.bytecode), taken)
        return Stage(
            interpreter=interpreter,
            home=home,
            code=code,
            client=client.folder_for(interpreter, bytecode=spec.bytecode),
            layer=layer,
            taken=tuple(taken),
        )
    except BaseException:
        for kept in taken:
            shelf.give_back(kept)
        raise


def unpack(source: Path | bytes) -> Path:
    """Unpack a zip file of code, or take a folder as it is; the same bytes are unpacked once.

    What is returned stays as it is until the lab ends, and nothing may be written to it. Wheels at the top
    are unpacked in turn. Bytes are a direct upload, of 50 MB at most. Raises UsageError for what Lambda would
    not take, CodeSizeExceededError for what is too large.
    """
    if isinstance(source, bytes):
        if len(source) > archive.MAX_ZIPPED:
            raise archive.CodeSizeExceededError(
                f"A zip file of {len(source)} bytes is too large for a direct upload: "
                f"{archive.MAX_ZIPPED} bytes at most."
            )
        key = ("stage", "zip", hashlib.sha256(source).hexdigest(), "")
        return shelf.take(key, lambda folder: _filled(source, folder, "The zip file")).path
    return _package(source, None).path


def _code(source: Path, interpreter: Interpreter, taken: list[Kept], *, bytecode: bool) -> Path:
    kept = _package(source, interpreter if bytecode else None)
    taken.append(kept)
    return kept.path


def _package(source: Path, compiler: Interpreter | None) -> Kept:
    """Return a folder with what a folder, a zip file or a wheel holds, and with .pyc files if compiled."""
    real = source.resolve()
    magic = compiler.magic if compiler is not None else ""
    key = (
        ("stage", "folder", str(real), magic, trees.fingerprint(real))
        if real.is_dir()
        else ("stage", "zip", _digest(real, real.stat().st_mtime_ns, real.stat().st_size), magic)
    )

    def make(folder: Path) -> int:
        size = _filled(real, folder, str(source))
        if compiler is not None:
            trees.compile_all(compiler.path, folder)
        else:
            for cache in list(folder.rglob("__pycache__")):
                shutil.rmtree(cache, ignore_errors=True)
        return size

    return shelf.take(key, make)


def _filled(source: Path | bytes, folder: Path, name: str) -> int:
    """Fill a folder from a folder, a zip file or a wheel; return the bytes that it has unzipped."""
    if isinstance(source, Path) and source.is_dir():
        size = trees.copy(source, folder)
    elif isinstance(source, Path) and source.suffix == ".whl":
        return wheels.install([source], folder)
    else:
        size = archive.extract(source, folder, name=name)
    found = wheels.at_top(folder)
    if found:
        size += wheels.install(found, folder) - sum(path.stat().st_size for path in found)
        for path in found:
            path.unlink()
    archive.check_size(name, size)
    if not any(folder.iterdir()):
        raise UsageError(f"{name} holds no code: give a folder or zip file that is not empty.")
    return size


@functools.lru_cache(maxsize=64)
def _digest(path: Path, _changed: int, _size: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _home(interpreter: Interpreter, taken: list[Kept]) -> Path | None:
    """Return a clean home for the default interpreter; one that the user named is run exactly as it is."""
    if not interpreter.is_default:
        return None

    def make(folder: Path) -> int:
        clean_home(interpreter, folder)
        return 0

    kept = shelf.take(("home", str(interpreter.path)), make)
    taken.append(kept)
    return kept.path


def _layer(code: Path, interpreter: Interpreter, taken: list[Kept], *, bytecode: bool) -> Path | None:
    """Return the layer with the SDK, or None when the code brings its own or it is not installed here."""
    if (code / _SDK).is_dir() or (code / f"{_SDK}.py").is_file():
        return None
    found = importlib.util.find_spec(_SDK)
    if found is None or not found.submodule_search_locations:
        return None
    package = Path(next(iter(found.submodule_search_locations))).resolve()

    def make(folder: Path) -> int:
        trees.copy(package, folder / "python" / _SDK)
        if bytecode:
            trees.compile_all(interpreter.path, folder)
        return 0

    magic = interpreter.magic if bytecode else ""
    kept = shelf.take(("layer", "sdk", str(package), magic, trees.fingerprint(package)), make)
    taken.append(kept)
    return kept.path


def _with_extensions(spec: FunctionSpec, layer: Path | None, taken: list[Kept]) -> Path | None:
    """Return the layer with the function's extensions in it, made anew when one of them has changed."""
    if not spec.extensions:
        return layer
    about = [path.resolve().stat() for path in spec.extensions]
    states = [f"{p} {s.st_mtime_ns} {s.st_size}" for p, s in zip(spec.extensions, about, strict=True)]

    def make(folder: Path) -> int:
        if layer is not None:
            trees.merge(layer, folder)
        (folder / "extensions").mkdir()
        for path in spec.extensions:
            shutil.copyfile(path, folder / "extensions" / path.name)
            (folder / "extensions" / path.name).chmod(0o755)
        return 0

    kept = shelf.take(("layer", "extensions", str(layer), *states), make)
    taken.append(kept)
    return kept.path
