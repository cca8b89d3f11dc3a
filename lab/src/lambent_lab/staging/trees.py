"""Copying folders of code, and compiling them, without touching where they came from."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lambent_lab.errors import LabError
from lambent_lab.sandbox import leftovers, workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

# In .lambent is the trace store: to open and close its file here would give up the locks that keep it whole.
_LEFT_OUT = frozenset({
    "__pycache__", ".git", ".hg", ".svn", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis",
    ".lambent",
})  # fmt: skip
_PATIENCE_S = 600


def files(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files below a folder as (relative name, path), in a fixed order.

    Links are followed, unless they lead back to a folder around them. Caches, version control, virtual
    environments and what is no regular file are left out: none of it belongs in a bundle.
    """
    for name, entry in _walk(str(root), "", frozenset()):
        yield name, Path(entry.path)


def _walk(
    folder: str, prefix: str, above: frozenset[tuple[int, int]]
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    # Every cold start looks at every file: without path objects it takes half the time.
    about = os.stat(folder)  # noqa: PTH116 - as above
    identity = (about.st_dev, about.st_ino)
    if identity in above or (prefix and os.path.exists(f"{folder}/pyvenv.cfg")):  # noqa: PTH110 - as above
        return
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        if entry.name in _LEFT_OUT:
            continue
        if entry.is_dir():
            yield from _walk(entry.path, f"{prefix}{entry.name}/", above | {identity})
        elif entry.is_file():
            yield f"{prefix}{entry.name}", entry


def fingerprint(root: Path) -> str:
    """Return a short text that changes when a file below the folder does (name, size, time, mode)."""
    lines = []
    for name, entry in _walk(str(root), "", frozenset()):
        about = entry.stat()
        lines.append(f"{name}\0{about.st_size}\0{about.st_mtime_ns}\0{about.st_mode}\n")
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:24]


def copy(root: Path, target: Path) -> int:
    """Copy the files below `root` into `target`, times and the right to execute kept; return their bytes."""
    made = {""}
    size = 0
    target.mkdir(parents=True, exist_ok=True)
    for name, path in files(root):
        folder = name.rpartition("/")[0]
        if folder not in made:
            (target / folder).mkdir(parents=True, exist_ok=True)
            made.add(folder)
        place = target / name
        shutil.copyfile(path, place)
        about = path.stat()
        os.utime(place, ns=(about.st_mtime_ns, about.st_mtime_ns))
        place.chmod(0o755 if about.st_mode & stat.S_IXUSR else 0o644)
        size += about.st_size
    return size


def merge(source: Path, target: Path, *, replace: bool = True) -> None:
    """Put the files of one folder of ours into another on the same disk, by hard links.

    What `target` has already is replaced, or with `replace=False` kept; folders that both have are merged.
    Symbolic links are taken as what they are, and no link in either folder is followed.
    """
    with os.scandir(source) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        place = target / entry.name
        is_folder = entry.is_dir(follow_symlinks=False)
        there = place.is_dir() and not place.is_symlink()
        if os.path.lexists(place) and not (is_folder and there):
            if not replace:
                continue
            if there:
                shutil.rmtree(place)
            else:
                place.unlink()
        if is_folder:
            place.mkdir(mode=0o755, exist_ok=True)
            merge(Path(entry.path), place, replace=replace)
        else:
            os.link(entry.path, place, follow_symlinks=False)


@contextmanager
def placed(folder: Path) -> Iterator[Path]:
    """A folder to fill, which everybody can read under its own name once all is in it.

    Several labs may make the same one at the same time: the first one's stays. What a dead lab has begun is
    removed.
    """
    leftovers.sweep(folder.parent)
    making = leftovers.make(folder.parent)
    try:
        yield making
        open_up(making)
        try:
            making.rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another lab was quicker, and its folder is as good
                raise
    finally:
        shutil.rmtree(making, ignore_errors=True)


def open_up(folder: Path) -> None:
    """Let everybody read a folder and all that is in it: the function is another user than the lab."""
    for path in (folder, *folder.rglob("*")):
        mode = path.lstat().st_mode
        wanted = stat.S_IMODE(mode) | (0o555 if stat.S_ISDIR(mode) else 0o444)
        if not stat.S_ISLNK(mode) and wanted != stat.S_IMODE(mode):
            path.chmod(wanted)


def compile_all(python: Path, *folders: Path) -> None:
    """Write .pyc files beside every module of the folders, with the interpreter they are for.

    Modules that do not compile are left without: the function meets the error when it imports them, as on
    Lambda.
    """
    try:
        subprocess.run(  # noqa: S603 - starting what the user named is the purpose
            [python, "-I", "-m", "compileall", "-qq", *folders],
            env=workspace().tool_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_PATIENCE_S,
            umask=0o022,  # the function is another user than the lab
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise LabError(
            f"{python} could not compile the function's code ({error}): check the interpreter."
        ) from error
