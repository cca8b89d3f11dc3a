"""Code and layers as folders of the lab's own: copied or unpacked, once for each content."""

from __future__ import annotations

import functools
import hashlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from lambent_lab.errors import UsageError
from lambent_lab.staging import archive, trees, wheels
from lambent_lab.staging.shelf import Kept, shelf

if TYPE_CHECKING:
    from lambent_lab.staging.interpreter import Interpreter


def unpack(source: Path | bytes) -> Path:
    """Unpack a zip file of code, or copy a folder; the same content once.

    What is returned stays as it is until the lab ends, and nothing may be written to it. Wheels at the top
    are unpacked in turn. Bytes are a direct upload, of 50 MB at most. Raises UsageError for what Lambda would
    not take, CodeSizeExceededError for what is too large.
    """
    if isinstance(source, Path):
        return package(source, None).path
    if len(source) > archive.MAX_ZIPPED:
        raise archive.CodeSizeExceededError(
            f"A zip file of {len(source)} bytes is too large for a direct upload: "
            f"{archive.MAX_ZIPPED} bytes at most."
        )
    key = ("stage", "zip", hashlib.sha256(source).hexdigest(), "")
    return shelf.take(key, lambda folder: _filled(source, folder, "The zip file")).path


def package(source: Path, compiler: Interpreter | None, *, bytecode: bool = True) -> Kept:
    """Return a folder with what a folder, a zip file or a wheel holds, compiled if there is a `compiler`.

    Without `bytecode` it has no .pyc files, whatever the source has. It is off the shelf: give it back.
    """
    real = source.resolve()
    compiler = compiler if bytecode else None
    magic = compiler.magic if compiler is not None else f"{bytecode}"
    key = (
        ("stage", "folder", str(real), magic, trees.fingerprint(real))
        if real.is_dir()
        else ("stage", "zip", _digest(real, real.stat().st_mtime_ns, real.stat().st_size), real.suffix, magic)
    )

    def make(folder: Path) -> int:
        size = _filled(real, folder, str(source))
        if compiler is not None:
            trees.compile_all(compiler.path, folder)
        elif not bytecode:
            for cache in list(folder.rglob("__pycache__")):
                shutil.rmtree(cache, ignore_errors=True)
        return size

    return shelf.take(key, make)


def doubts(source: Path) -> tuple[str, ...]:
    """Return what works here and would not on Lambda: a zip file's entry that only its owner may read."""
    if source.is_dir() or source.suffix == ".whl":
        return ()
    name = _unreadable(source.resolve(), source.stat().st_mtime_ns)
    if name is None:
        return ()
    return (
        f"package: {name} in {source.name} is for its owner's eyes only, which Lambda refuses to read: "
        "chmod -R a+rX before zipping",
    )


@functools.lru_cache(maxsize=64)
def _unreadable(path: Path, _changed: int) -> str | None:
    return archive.unreadable(path)


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
