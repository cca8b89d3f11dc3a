"""Rooms: views of the file system in which processes can be started.

With the right to mount, a mount namespace of its own: the code at /var/task, the runtime at /var/runtime, the
layer at /opt, a clean home for the interpreter at /var/lang, a private /tmp, nothing else to write to (see
`furnish`). The namespace is made by a thread that exists for one start only, and the process started from
that thread lives in it; the lab and the host keep their mounts. The room holds the namespace open, so that
/tmp outlives a reset of the process; with the room it vanishes, whatever happened. When the lab is root, the
function is an ordinary user there.

Without that right, the real folders under their real names, and a private folder in TMPDIR.

A process is started as a shell that puts itself into the box, says so, waits for a sign and then becomes
the function. The sign goes both ways over its standard input, a socket. Joining can take 10 ms (the kernel
waits for every CPU), which is no part of the function's init.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import threading
from abc import ABC, abstractmethod
from concurrent.futures import Future
from typing import TYPE_CHECKING, Literal, TypeVar

from lambent_lab.errors import LabError, UsageError
from lambent_lab.sandbox import limits, syscalls, users
from lambent_lab.sandbox.crowds import UserCrowd
from lambent_lab.sandbox.furnish import (
    HOSTS_KILLS,
    NO_NAMES,
    Folders,
    Places,
    Tmp,
    closed,
    furnish,
    places_of,
    python_in,
    vmstat,
)
from lambent_lab.sandbox.network import HostNetwork, Network, PrivateNetwork
from lambent_lab.sandbox.spawn import Start, spawn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from lambent_lab.sandbox.box import Box
    from lambent_lab.sandbox.crowds import Crowd
    from lambent_lab.sandbox.spawn import Child
    from lambent_lab.sandbox.users import User

T = TypeVar("T")

_JOIN_S = 10.0


class Room(ABC):
    """A view of the file system in which processes can be started."""

    places: Places
    tmp: str
    network: Network
    user: User | None = None
    who = ""  # the user, where it is not the lab's nor one of its own
    crowd: Crowd | None = None  # all that runs here, where that can be told
    can_wait = False  # whether it costs little to have one that is not used
    own_processes = False  # whether the user's processes are counted for this room alone
    cannot: tuple[str, ...] = ()
    scratch: Path | None = None  # holds what is shown in the room and can change
    _kills = 0

    async def start(
        self,
        box: Box,
        command: Sequence[str],
        env: Mapping[str, str],
        output: int,
        begun: Callable[[], None],
    ) -> Child:
        """Start a command in the room and in the box. `begun` is called when it has joined the box.

        Raises OSError when it cannot be started, or not join.
        """
        kills = box.memory.kills()
        if self.scratch is not None and kills != self._kills:
            vmstat(self.scratch, kills)
            self._kills = kills
        ours, theirs = socket.socketpair()
        cwd = str(self.places.task_root)
        passed: list[int] = []
        with ours, theirs:
            ours.setblocking(False)
            try:
                passed += [os.open(path, os.O_WRONLY | os.O_CLOEXEC) for path in box.entrances]
                alone = self.user is not None or self.own_processes
                script = _script(len(passed), limits.script(alone=alone))
                start = Start(
                    command=["/bin/sh", "-c", script, "sh", cwd, *command],
                    env=env,
                    stdin=theirs.fileno(),
                    output=output,
                    passed=passed,
                    user=self.user,
                )
                child = await self._spawn(start)
            finally:
                for handle in passed:
                    os.close(handle)
                theirs.close()
            try:
                await self._let_in(child, box, ours, begun)
            except BaseException:
                child.kill()
                child.wait()
                raise
        return child

    async def _let_in(self, child: Child, box: Box, ours: socket.socket, begun: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(_JOIN_S):
            if not await loop.sock_recv(ours, 1):
                raise OSError(f"it could not join its box (status {child.wait()})")
        await box.adopt(child.pid)
        begun()
        ours.send(b"\n")

    @abstractmethod
    async def _spawn(self, start: Start) -> Child:
        """Start a process in the room."""

    @abstractmethod
    async def close(self) -> None:
        """Forget the room and its /tmp. Safe to call again."""


def _script(joining: int, limit: str) -> str:
    """Return what the shell does before it becomes the function; its first file descriptors lead in."""
    join = "".join(f"echo 0 >&{number} && exec {number}>&- || exit 125; " for number in range(3, 3 + joining))
    wait = "echo >&0 && read -r go || exit 125; "
    settle = 'cd "$1" || exit 125; shift; umask 022; '
    return f'{join}{wait}{settle}{limit}; unset go PWD OLDPWD SHLVL _; exec "$@" </dev/null'


class FolderRoom(Room):
    """The host's file system as it is."""

    tmp = "a private folder in TMPDIR, without a size limit"

    def __init__(self, folders: Folders, why: str) -> None:
        self.network = HostNetwork()
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
            HOSTS_KILLS,
            f"user: {users.why_not()}" if os.geteuid() else "user: the function runs as root, like the lab",
            "processes: the function sees, and can stop and kill, the lab and all that its user runs here",
        )

    async def _spawn(self, start: Start) -> Child:
        return await in_thread(lambda: spawn(start))

    async def close(self) -> None:
        """Forget the room and its /tmp."""
        shutil.rmtree(self._tmp, ignore_errors=True)


class MountRoom(Room):
    """A mount namespace. Made by `await MountRoom.make(folders)`: OSError when that is not allowed."""

    can_wait = True

    def __init__(
        self, handles: dict[int, int], places: Places, user: User | None, tmp: str, cannot: tuple[str, ...]
    ) -> None:
        self._handles = handles  # the namespaces: which kind, and what holds it
        self.places = places
        self.user = user
        self.crowd = None if user is None else UserCrowd(user)
        self.tmp = tmp
        self.cannot = cannot
        private = syscalls.CLONE_NEWNET in handles
        self.network = PrivateNetwork(self._socket) if private else HostNetwork()

    @classmethod
    async def make(cls, folders: Folders, tmp: Tmp, *, private: bool) -> MountRoom:
        """Make the namespaces and everything in them."""
        return await in_thread(lambda: cls._build(folders, tmp, private))

    @classmethod
    def _build(cls, folders: Folders, tmp: Tmp, private: bool) -> MountRoom:
        # Settled first: the covers hide the lab's own folders from this thread.
        places = places_of(folders)
        user, why = _choose_user(folders)
        syscalls.unshare(syscalls.CLONE_NEWNS)
        handles: dict[int, int] = {}
        try:
            if private:
                syscalls.unshare(syscalls.CLONE_NEWNET)
                syscalls.raise_loopback()
                handles[syscalls.CLONE_NEWNET] = _namespace("net")
            os.umask(0o022)  # of this thread alone, from now on
            hidden = closed(folders.visible) if user is not None else ()
            how, cannot = furnish(folders, user, tmp, hidden=hidden)
            handles[syscalls.CLONE_NEWNS] = _namespace("mnt")
        except BaseException:
            for handle in handles.values():
                os.close(handle)
            raise
        room = cls(handles, places, user, how, (*why, *cannot))
        room.scratch = folders.scratch
        return room

    async def _spawn(self, start: Start) -> Child:
        def enter() -> Child:
            syscalls.unshare(syscalls.CLONE_FS)  # a thread that shares its root with others may not move
            for kind, handle in self._handles.items():
                syscalls.setns(handle, kind)
            return spawn(start)

        return await in_thread(enter)

    async def _socket(self, kind: int) -> socket.socket:
        def make() -> socket.socket:
            syscalls.setns(self._handles[syscalls.CLONE_NEWNET], syscalls.CLONE_NEWNET)
            return socket.socket(socket.AF_INET, kind)

        if not self._handles:
            raise OSError("the room is closed")
        return await in_thread(make)

    async def close(self) -> None:
        """Forget the room and its /tmp."""
        handles, self._handles = self._handles, {}
        for handle in handles.values():
            # In a thread: with the last hold on it, /tmp is unmounted.
            await asyncio.to_thread(os.close, handle)


def _choose_user(folders: Folders) -> tuple[User | None, tuple[str, ...]]:
    """Return whom the function runs as, and why it is nobody but the lab's user."""
    user = users.ordinary()
    if user is None:
        return None, (f"user: {users.why_not()}",)
    programs = (folders.python,) if folders.python is not None else ()
    kept = users.unreadable((*programs, *folders.visible))
    if kept is not None:
        return None, (
            f"user: the function runs as root, because other users may not read {kept} (chmod o+rX)",
        )
    return user, ()


def _namespace(kind: str) -> int:
    """Return what holds a namespace of the calling thread."""
    return os.open(f"/proc/thread-self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)


async def make_room(folders: Folders, tmp: Tmp, *, network: Literal["host", "private"] = "host") -> Room:
    """Make the best room there is. `LAMBENT_LAB_FILES=folders` asks for the one without mounts.

    Raises LabError when there cannot be a private network, UsageError for another value.
    """
    from lambent_lab.sandbox import kept  # not needed by root

    private = network == "private"
    why = "LAMBENT_LAB_FILES=folders"
    wanted = os.environ.get("LAMBENT_LAB_FILES", "")
    if wanted not in {"", "folders"}:
        raise UsageError(f"LAMBENT_LAB_FILES={wanted} is no kind of room: choose folders, or leave it out.")
    if not wanted:
        try:
            return await MountRoom.make(folders, tmp, private=private)
        except OSError as error:
            why = f"not allowed here: {error.strerror or error}"
        try:
            return await kept.KeptRoom.make(folders, tmp.size_mb, private=private)
        except OSError as error:
            why = f"{why}; in a user namespace: {error.strerror or error}"
    if private:
        raise LabError(
            f"There can be no private network ({why}): run the lab as root, or choose the network 'host'."
        )
    return FolderRoom(folders, why)


async def in_thread(work: Callable[[], T]) -> T:
    """Run `work` in a thread of its own, which ends with it: nothing else may ever run where it has been.

    Whoever is cancelled while waiting for it loses what it makes.
    """
    done: Future[T] = Future()
    done.set_running_or_notify_cancel()  # a thread cannot be taken back

    def run() -> None:
        try:
            done.set_result(work())
        except StopIteration as error:  # the one exception that no task can be handed
            done.set_exception(RuntimeError(repr(error)))
        except BaseException as error:  # noqa: BLE001 - handed to the task that waits
            done.set_exception(error)

    threading.Thread(target=run, name="lambent-room", daemon=True).start()
    return await asyncio.wrap_future(done)
