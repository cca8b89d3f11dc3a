"""What a function sees of the file system.

With the right to mount, a mount namespace of its own: the code at /var/task, the runtime at /var/runtime, the
layer at /opt, a clean home for the interpreter at /var/lang, an empty /tmp of 512 MB, and nothing else to
write to. The namespace is made by a thread that
exists for one start only, and the process started from that thread lives in it; the lab and the host keep
their mounts. The room holds the namespace open, so that /tmp outlives a reset of the process; with the room
it vanishes, whatever happened.

Without that right, the real folders under their real names, and a private folder in TMPDIR.

Everything that the process needs and that lies below a covered folder (an interpreter in /opt or in /tmp) is
opened before the cover comes, and shown again at the same place.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import threading
from abc import ABC, abstractmethod
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from lambent_lab.sandbox import syscalls

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

T = TypeVar("T")

TMP_MB = 512
_JOIN_S = 10.0
_HOSTS = Path("/etc/hosts")
_NO_NAMES = "names: sandbox.localdomain is not known to the function, 127.0.0.1 is the same"
_COVERED = (Path("/tmp"), Path("/var"), Path("/opt"))  # noqa: S108 - the function's /tmp, not a file of ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """Where things are.

    Without `home`, `python` is run as it is; without `runtime`, it has the client itself. `visible` keeps its
    names.
    """

    python: Path
    home: Path | None
    code: Path
    runtime: Path | None
    layer: Path | None
    visible: tuple[Path, ...]
    scratch: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The same as the function's process sees them. `tmpdir` is set when its temporary folder is not /tmp."""

    python: Path
    task_root: Path
    runtime: Path
    layer: Path
    tmpdir: Path | None


class Room(ABC):
    """A view of the file system in which processes can be started."""

    places: Places
    tmp: str
    cannot: tuple[str, ...] = ()

    @abstractmethod
    async def start(
        self, command: Sequence[str], env: Mapping[str, str], output: int, begun: Callable[[], None]
    ) -> subprocess.Popen[bytes]:
        """Start a boxed command (see Box.wrap). `begun` is called when it has joined its box."""

    @abstractmethod
    def close(self) -> None:
        """Forget the room and its /tmp. Safe to call again."""


class FolderRoom(Room):
    """The host's file system as it is."""

    tmp = "a private folder in TMPDIR, without a size limit"

    def __init__(self, folders: Folders, why: str) -> None:
        self._tmp = folders.scratch / "tmp"
        self._tmp.mkdir(mode=0o700)
        self.places = Places(
            python=_python(folders, folders.home),
            task_root=folders.code,
            runtime=folders.runtime or folders.scratch,
            layer=folders.layer or folders.scratch / "opt",
            tmpdir=self._tmp,
        )
        self.cannot = (
            f"files: no mounts ({why}), so code and layer have their real paths, can be written, "
            "and /tmp is the host's",
            _NO_NAMES,
        )

    async def start(
        self, command: Sequence[str], env: Mapping[str, str], output: int, begun: Callable[[], None]
    ) -> subprocess.Popen[bytes]:
        """Start a boxed command in the room."""
        return await _in_thread(lambda: _spawn(command, env, self.places.task_root, output, begun))

    def close(self) -> None:
        """Forget the room and its /tmp."""
        shutil.rmtree(self._tmp, ignore_errors=True)


class MountRoom(Room):
    """A mount namespace. Made by `await MountRoom.make(folders)`: OSError when that is not allowed."""

    tmp = f"tmpfs of {TMP_MB} MB (what lies in it counts as the function's memory)"

    def __init__(self, handle: int, places: Places, cannot: tuple[str, ...]) -> None:
        self._handle = handle
        self.places = places
        self.cannot = cannot

    @classmethod
    async def make(cls, folders: Folders) -> MountRoom:
        """Make the namespace and everything in it."""
        return await _in_thread(lambda: cls._build(folders))

    @classmethod
    def _build(cls, folders: Folders) -> MountRoom:
        # Settled first: the covers hide the lab's own folders from this thread.
        places = Places(
            python=_python(folders, Path("/var/lang")),
            task_root=Path("/var/task"),
            runtime=Path("/var/runtime"),
            layer=Path("/opt"),
            tmpdir=None,
        )
        syscalls.unshare(syscalls.CLONE_NEWNS)
        cannot = _furnish(folders)
        handle = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        return cls(handle, places, cannot)

    async def start(
        self, command: Sequence[str], env: Mapping[str, str], output: int, begun: Callable[[], None]
    ) -> subprocess.Popen[bytes]:
        """Start a boxed command in the room."""

        def enter() -> subprocess.Popen[bytes]:
            syscalls.unshare(syscalls.CLONE_FS)  # a thread that shares its root with others may not move
            syscalls.setns(self._handle, syscalls.CLONE_NEWNS)
            return _spawn(command, env, self.places.task_root, output, begun)

        return await _in_thread(enter)

    def close(self) -> None:
        """Forget the room and its /tmp."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


async def make_room(folders: Folders) -> Room:
    """Make the best room there is. `LAMBENT_LAB_FILES=folders` asks for the one without mounts."""
    if os.environ.get("LAMBENT_LAB_FILES") == "folders":
        return FolderRoom(folders, "LAMBENT_LAB_FILES=folders")
    try:
        return await MountRoom.make(folders)
    except OSError as error:
        return FolderRoom(folders, f"not allowed here: {error.strerror or error}")


def _furnish(folders: Folders) -> tuple[str, ...]:
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
            cannot.append(_NO_NAMES)
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


def _python(folders: Folders, home: Path | None) -> Path:
    """Return the interpreter to start: that of the clean home, where there is one."""
    if folders.home is None or home is None:
        return folders.python
    names = sorted(path.name for path in (folders.home / "bin").glob("python3.*"))
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


def _spawn(
    command: Sequence[str], env: Mapping[str, str], cwd: Path, output: int, begun: Callable[[], None]
) -> subprocess.Popen[bytes]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(_JOIN_S)
        child = subprocess.Popen(  # noqa: S603 - starting what the user named is the purpose
            command,
            env=dict(env),
            cwd=cwd,
            stdin=theirs.fileno(),
            stdout=output,
            stderr=output,
            start_new_session=True,
            close_fds=True,
        )
        theirs.close()
        try:
            joined = ours.recv(1)
            if joined:
                begun()
                ours.sendall(b"\n")
        except OSError:
            child.kill()
            child.wait()
            raise
        if not joined:
            raise OSError(f"it could not join its box (status {child.wait()})")
    return child


async def _in_thread(work: Callable[[], T]) -> T:
    """Run `work` in a thread of its own, which ends with it: nothing else may ever run where it has been."""
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except StopIteration as error:  # the one exception that no task can be handed
            done.set_exception(RuntimeError(repr(error)))
        except BaseException as error:  # noqa: BLE001 - handed to the task that waits
            done.set_exception(error)

    threading.Thread(target=run, name="lambent-room", daemon=True).start()
    return await asyncio.wrap_future(done)
