"""Furnishing a mount namespace: what lies where in the room that a function sees.

Everything that the process needs and that lies below a covered folder (an interpreter in /opt or in /tmp) is
opened before the cover comes, and shown again at the same place. These functions change the calling thread's
mounts: call them in a thread made for that, after it was given a namespace of its own.
"""

from __future__ import annotations

import os
import platform
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lambent_lab.sandbox import syscalls, users

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lambent_lab.sandbox.disks import Disk
    from lambent_lab.sandbox.users import User

NO_NAMES = "names: sandbox.localdomain is not known to the function, 127.0.0.1 is the same"
_HOSTS = Path("/etc/hosts")
_VMSTAT = Path("/proc/vmstat")
HOSTS_KILLS = (
    "kills: /proc/vmstat counts what the whole host has killed for want of memory, so a function may think "
    "that a crash was one of these"
)
_TMP, _VAR, _OPT, _DEV, _PROC = (Path(p) for p in ("/tmp", "/var", "/opt", "/dev", "/proc"))  # noqa: S108 - the function's /tmp, not a file of ours
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_DEVICE_LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
_TMPFS = syscalls.MS_NOSUID | syscalls.MS_NODEV
_PRIVATE_PROC = (5, 8)  # before that Linux, hiding processes in one /proc hides them in all


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Tmp:
    """What /tmp is to be: its size, and where a disk for it comes from (OSError: there is none)."""

    size_mb: int
    disk: Callable[[], Disk]


def places_of(folders: Folders) -> Places:
    """Return where the process will find things. To be asked before the covers hide the lab's own folders."""
    return Places(
        python=python_in(folders, Path("/var/lang")),
        task_root=Path("/var/task"),
        runtime=Path("/var/runtime"),
        layer=Path("/opt"),
        tmpdir=None,
    )


def furnish(
    folders: Folders,
    user: User | None,
    wanted: Tmp,
    *,
    hidden: Sequence[Path] = (),
    own_processes: bool = False,
) -> tuple[str, tuple[str, ...]]:
    """Mount everything, in the namespace that the calling thread has just been given.

    `hidden` are folders of the host of which the process shall see no more than what it needs;
    `own_processes` tells that it is in a PID namespace of its own.
    Returns how /tmp is made, and what could not be done.
    """
    files = _etc(folders.scratch, user)  # written before nothing can be
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

        etc = [(place, hold(path)) for place, path in files]
        code = hold(folders.code)
        home = hold(folders.home) if folders.home is not None else None
        runtime = hold(folders.runtime) if folders.runtime is not None else None
        layer = hold(folders.layer) if folders.layer is not None else None
        shown = [(path, hold(path)) for path in folders.visible if path.exists()]
        covered = [_TMP, _VAR, _OPT]
        for folder in hidden:
            syscalls.mount("tmpfs", folder, "tmpfs", _TMPFS, "size=1m,mode=755")
            covered.append(folder)
        for folder, needed in ((_VAR, ("task", "runtime", "lang")), (_OPT, ())):
            _cover(folder, needed, hold, empty=folder == _OPT)
        cannot += _system(etc, hold, None if own_processes else user, own_processes)
        tmp = _mount_tmp(user, wanted, cannot)
        _bind(code, Path("/var/task"))
        if home is not None:
            _bind(home, Path("/var/lang"))
        if runtime is not None:
            _bind(runtime, Path("/var/runtime"))
        if layer is not None:
            _bind(layer, _OPT)
        _show_again(shown, covered, layered=layer is not None)
        for folder in covered:
            if folder != _TMP:
                with suppress(OSError):
                    syscalls.make_read_only(folder)
    return tmp, tuple(cannot)


def _mount_tmp(user: User | None, wanted: Tmp, cannot: list[str]) -> str:
    """Mount /tmp, which belongs to the function's user alone, and return how it is done."""
    try:
        disk = wanted.disk()
        try:
            if user is not None:
                disk.belong_to(user.uid, user.gid)
            disk.put(_TMP)
        finally:
            disk.close()
    except OSError as error:
        cannot.append(f"tmp: what lies in /tmp counts as the function's memory ({error.strerror})")
        syscalls.mount("tmpfs", _TMP, "tmpfs", _TMPFS, f"size={wanted.size_mb}m,mode=700")
        if user is not None:
            os.chown(_TMP, user.uid, user.gid)
        how = f"tmpfs of {wanted.size_mb} MB"
    else:
        how = f"disk of {wanted.size_mb} MB (ext4 on a loop device)"
    return how


def _system(
    etc: Sequence[tuple[Path, int]], hold: Callable[[Path], int], user: User | None, own_processes: bool
) -> list[str]:
    """Mount what belongs to the system, /dev, /proc and files of /etc, and return what could not be done."""
    cannot: list[str] = []
    without = {_HOSTS: NO_NAMES, _VMSTAT: HOSTS_KILLS}

    def put(place: Path, handle: int) -> None:
        try:
            _bind(handle, place)
        except OSError:
            cannot.extend([without[place]] if place in without else [])

    for place, handle in etc:
        if place != _VMSTAT:
            put(place, handle)
    try:
        _mount_devices(hold)
    except OSError as error:
        cannot.append(f"devices: the host's /dev is there, /dev/shm with it ({error.strerror})")
    try:
        _mount_proc(user, own_processes=own_processes)
    except OSError as error:
        cannot.append(f"processes: the host's can be listed in /proc ({error.strerror})")
    put(_VMSTAT, dict(etc)[_VMSTAT])  # there is a /proc of its own now, or the host's for good
    return cannot


def _mount_devices(hold: Callable[[Path], int]) -> None:
    """Mount a /dev with the few devices of Lambda. There is no /dev/shm, so no semaphores between processes.

    Terminals are missing as well.
    """
    held = [(name, hold(_DEV / name)) for name in _DEVICES if (_DEV / name).exists()]
    syscalls.mount("tmpfs", _DEV, "tmpfs", syscalls.MS_NOSUID, "size=64k,mode=755")
    for name, handle in held:
        (_DEV / name).touch()
        syscalls.mount(f"/proc/self/fd/{handle}", _DEV / name, flags=syscalls.MS_BIND)
    for name, target in _DEVICE_LINKS.items():
        (_DEV / name).symlink_to(target)
    syscalls.mount("none", _DEV, flags=syscalls.MS_BIND | syscalls.MS_REMOUNT | syscalls.MS_RDONLY)


def _mount_proc(user: User | None, *, own_processes: bool) -> None:
    """Mount a /proc in which an ordinary user sees its own processes only."""
    flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC | syscalls.MS_RDONLY
    if own_processes:
        syscalls.mount("proc", _PROC, "proc", flags)
        return
    if user is None:
        return
    release = tuple(int("".join(filter(str.isdigit, n)) or 0) for n in platform.release().split(".")[:2])
    if release < _PRIVATE_PROC:
        raise OSError(95, "Linux 5.8 is needed for that")
    syscalls.mount("proc", _PROC, "proc", flags, "hidepid=2")


def closed(visible: Sequence[Path]) -> list[Path]:
    """Return the folders above what must be seen that others may not pass through: the topmost of each."""
    found = (users.closed(path) for path in visible)
    return list(dict.fromkeys(path for path in found if path is not None and path != Path("/")))


def vmstat(scratch: Path, kills: int) -> Path:
    """Write /proc/vmstat as Lambda's machine would have it, where all that is killed is the function's own.

    Returns the file that stands for it. Programs look there for how they died: lambent's recorder for one.
    """
    known = _VMSTAT.read_text() if _VMSTAT.is_file() else "oom_kill 0\n"
    lines = [line for line in known.splitlines() if not line.startswith("oom_kill ")]
    path = scratch / "vmstat"
    path.write_text("\n".join([*lines, f"oom_kill {kills}", ""]))  # in place: it is bound by its inode
    path.chmod(0o644)
    return path


def _etc(scratch: Path, user: User | None) -> list[tuple[Path, Path]]:
    """Write the files that replace some of /etc and /proc; return the place and the file of each."""
    known = _HOSTS.read_text(errors="surrogateescape") if _HOSTS.is_file() else ""
    texts = {"hosts": f"{known}\n127.0.0.1 sandbox.localdomain sandbox\n"}
    if user is not None:
        texts["passwd"], texts["group"] = users.database(user)
    files = []
    for name, text in texts.items():
        path = scratch / name
        path.write_text(text, errors="surrogateescape")
        path.chmod(0o644)
        files.append((_HOSTS.parent / name, path))
    return [*files, (_VMSTAT, vmstat(scratch, 0))]


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
    syscalls.mount("tmpfs", folder, "tmpfs", _TMPFS, "size=1m,mode=755")
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


def _show_again(shown: Sequence[tuple[Path, int]], covered: Sequence[Path], *, layered: bool) -> None:
    """Bind what the covers hide back to its place. Where a layer covers /opt, a new cover holds both."""
    for path, handle in shown:
        if any(path.is_relative_to(cover) for cover in covered) and not path.exists():
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
        syscalls.mount("tmpfs", _OPT, "tmpfs", _TMPFS, "size=1m,mode=755")
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
