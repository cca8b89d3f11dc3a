"""Furnishing a mount namespace: what lies where in the room that a function sees.

Everything that the process needs and that lies below a covered folder (an interpreter in /opt or in /tmp) is
opened before the cover comes, and shown again at the same place. These functions change the calling thread's
mounts: call them in a thread made for that, after it was given a namespace of its own.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lambent_lab.sandbox import syscalls

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TMP_MB = 512
NO_NAMES = "names: sandbox.localdomain is not known to the function, 127.0.0.1 is the same"
_HOSTS = Path("/etc/hosts")
_COVERED = (Path("/tmp"), Path("/var"), Path("/opt"))  # noqa: S108 - the function's /tmp, not a file of ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """Where things are.

    `python` is the interpreter, Python or another, None where the code brings its own; without `home`, it is
    run as it is. `runtime` is for /var/runtime. `visible` keeps its names.
    """

    python: Path | None
    home: Path | None
    code: Path
    runtime: Path | None
    layer: Path | None
    visible: tuple[Path, ...]
    scratch: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The same as the function's process sees them. `tmpdir` is set when its temporary folder is not /tmp."""

    python: Path | None
    task_root: Path
    runtime: Path
    layer: Path
    tmpdir: Path | None


def furnish(folders: Folders) -> tuple[str, ...]:
    """Mount everything, in the namespace that the calling thread has just been given."""
    names = _hosts(folders.scratch)  # written before nothing can be
    syscalls.mount("none", Path("/"), flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
    cannot: list[str] = []
    try:
        syscalls.make_read_only(Path("/"))
    except OSError as error:
        cannot.append(f"files: the host's folders stay writable ({error.strerror})")
    with ExitStack() as stack:

        def hold(path: Path) -> int:
            handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
            stack.callback(os.close, handle)
            return handle

        hosts = hold(names)
        code = hold(folders.code)
        home = hold(folders.home) if folders.home is not None else None
        runtime = hold(folders.runtime) if folders.runtime is not None else None
        layer = hold(folders.layer) if folders.layer is not None else None
        shown = [(path, hold(path)) for path in folders.visible if path.exists()]
        for covered, needed in ((Path("/var"), ("task", "runtime", "lang")), (Path("/opt"), ())):
            _cover(covered, needed, hold, empty=covered == Path("/opt"))
        syscalls.mount(
            "tmpfs", _COVERED[0], "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, f"size={TMP_MB}m,mode=1777"
        )
        _bind(code, Path("/var/task"))
        if home is not None:
            _bind(home, Path("/var/lang"))
        if runtime is not None:
            _bind(runtime, Path("/var/runtime"))
        if layer is not None:
            _bind(layer, Path("/opt"))
        _show_again(shown, layered=layer is not None)
        try:
            _bind(hosts, _HOSTS)
        except OSError:
            cannot.append(NO_NAMES)
        for covered in (Path("/var"), Path("/opt")):
            with suppress(OSError):
                syscalls.make_read_only(covered)
    return tuple(cannot)


def _hosts(scratch: Path) -> Path:
    """Write the host's /etc/hosts with the name under which extensions listen for telemetry."""
    known = _HOSTS.read_text(errors="surrogateescape") if _HOSTS.is_file() else ""
    path = scratch / "hosts"
    path.write_text(f"{known}\n127.0.0.1 sandbox.localdomain sandbox\n", errors="surrogateescape")
    path.chmod(0o644)
    return path


def python_in(folders: Folders, home: Path | None) -> Path | None:
    """Return the interpreter to start: that of the clean home, where there is one."""
    if folders.home is None or home is None:
        return folders.python
    here = folders.home / "bin"
    names = sorted(path.name for pattern in ("python3.*", "node") for path in here.glob(pattern))
    return home / "bin" / names[0] if names else folders.python


def _cover(folder: Path, needed: Sequence[str], hold: Callable[[Path], int], *, empty: bool) -> None:
    """Put a tmpfs over a folder, with the folders that are needed and, unless `empty`, what was there."""
    before: list[tuple[str, int, bool]] = []
    links: list[tuple[str, str]] = []
    for entry in [] if empty else list(os.scandir(folder)):
        if entry.name in needed:
            continue
        with suppress(OSError):
            if entry.is_symlink():
                links.append((entry.name, str(Path(entry.path).readlink())))
            else:
                before.append((entry.name, hold(Path(entry.path)), entry.is_dir()))
    syscalls.mount("tmpfs", folder, "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, "size=1m,mode=755")
    for name in needed:
        (folder / name).mkdir()
    for name, target in links:
        (folder / name).symlink_to(target)
    for name, handle, is_folder in before:
        with suppress(OSError):
            if is_folder:
                (folder / name).mkdir()
            else:
                (folder / name).touch()
            _bind(handle, folder / name)


def _show_again(shown: Sequence[tuple[Path, int]], *, layered: bool) -> None:
    """Bind what the covers hide back to its place. Where a layer covers /opt, a new cover holds both."""
    for path, handle in shown:
        if any(path.is_relative_to(covered) for covered in _COVERED) and not path.exists():
            if layered and path.is_relative_to("/opt"):
                _relayer()
                layered = False
            path.mkdir(parents=True, exist_ok=True)
            _bind(handle, path)


def _relayer() -> None:
    """Turn /opt from a bound layer into a tmpfs that holds the layer's entries, with room for others."""
    handle = os.open("/opt", os.O_PATH | os.O_CLOEXEC)
    try:
        names = [entry.name for entry in os.scandir("/opt") if entry.is_dir()]
        syscalls.mount(
            "tmpfs", Path("/opt"), "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, "size=1m,mode=755"
        )
        for name in names:
            (Path("/opt") / name).mkdir()
            inner = os.open(name, os.O_PATH | os.O_CLOEXEC, dir_fd=handle)
            try:
                _bind(inner, Path("/opt") / name)
            finally:
                os.close(inner)
    finally:
        os.close(handle)


def _bind(handle: int, target: Path) -> None:
    """Bind an opened folder or file to a place, read-only."""
    syscalls.mount(f"/proc/self/fd/{handle}", target, flags=syscalls.MS_BIND | syscalls.MS_REC)
    with suppress(OSError):
        syscalls.mount("none", target, flags=syscalls.MS_BIND | syscalls.MS_REMOUNT | syscalls.MS_RDONLY)
