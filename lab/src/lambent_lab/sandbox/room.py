"""What a function sees of the file system.

With the right to mount, a mount namespace of its own: the code at /var/task, the runtime at /var/runtime, the
layer at /opt, a clean home for the interpreter at /var/lang, an empty /tmp of 512 MB, and nothing else to
write to. The namespace is made by a thread that
exists for one start only, and the process started from that thread lives in it; the lab and the host keep
their mounts. The room holds the namespace open, so that /tmp outlives a reset of the process; with the room
it vanishes, whatever happened.

Without that right, the real folders under their real names, and a private folder in TMPDIR.
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
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from lambent_lab.sandbox import syscalls
from lambent_lab.sandbox.furnish import NO_NAMES, TMP_MB, Folders, Places, furnish, python_in

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

T = TypeVar("T")

_JOIN_S = 10.0


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
            python=python_in(folders, folders.home),
            task_root=folders.code,
            runtime=folders.runtime or folders.scratch,
            layer=folders.layer or folders.scratch / "opt",
            tmpdir=self._tmp,
        )
        self.cannot = (
            f"files: no mounts ({why}), so code and layer have their real paths, can be written, "
            "and /tmp is the host's",
            NO_NAMES,
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
            python=python_in(folders, Path("/var/lang")),
            task_root=Path("/var/task"),
            runtime=Path("/var/runtime"),
            layer=Path("/opt"),
            tmpdir=None,
        )
        syscalls.unshare(syscalls.CLONE_NEWNS)
        cannot = furnish(folders)
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
