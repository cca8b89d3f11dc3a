"""The lab's side of a room that a keeper keeps: for labs that are not root (see `keeper`)."""

from __future__ import annotations

import array
import asyncio
import json
import os
import pwd
import socket
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lambent_lab.sandbox import crowds, keeper, limits, users
from lambent_lab.sandbox.furnish import places_of
from lambent_lab.sandbox.network import HostNetwork, PrivateNetwork
from lambent_lab.sandbox.room import Room
from lambent_lab.sandbox.spawn import Child

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambent_lab.sandbox.furnish import Folders
    from lambent_lab.sandbox.spawn import Start

_PATIENCE_S = 30.0


class Line:
    """The connection to a keeper: one question and one answer at a time, from any thread."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._lock = threading.Lock()
        line.settimeout(_PATIENCE_S)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)

    def ask(
        self, message: dict[str, Any], handles: Sequence[int] = ()
    ) -> tuple[dict[str, Any], list[int], int]:
        """Ask, and return the answer, the file descriptors that came with it, and the process it is about.

        Raises OSError when the keeper could not do it, or is gone.
        """
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", handles))] if handles else []
        with self._lock:
            self._line.sendmsg([json.dumps(message).encode()], rights)
            data, extra, _, _ = self._line.recvmsg(keeper.MESSAGE, 4096)
        answer = json.loads(data) if data else {"errno": 32, "error": "the room's keeper is gone"}
        received, pid = array.array("i"), 0
        for _, kind, content in extra:
            if kind == socket.SCM_RIGHTS:
                received.frombytes(content[: len(content) - len(content) % received.itemsize])
            else:
                pid = struct.unpack("3i", content)[0]
        if "errno" in answer:
            raise OSError(answer["errno"], answer["error"])
        return answer, list(received), pid

    def close(self) -> None:
        """Hang up, which is the keeper's end."""
        self._line.close()


class KeptChild(Child):
    """A process whose parent is the keeper: its number outside, and the one it has in the room."""

    def __init__(self, line: Line, pid: int, inside: int) -> None:
        super().__init__(pid)
        self._line = line
        self._inside = inside

    def wait(self) -> int:
        """Ask the keeper how it ended; return its status, negative for a signal."""
        if self._status is None:
            try:
                answer, _, _ = self._line.ask({"do": "status", "pid": self._inside})
                self._status = int(answer["status"])
            except OSError:
                self._status = -9  # the keeper is gone, and everything with it
        return self._status


class NamespaceCrowd(crowds.Crowd):
    """Everything in the room's PID namespace but the keeper."""

    how = "all of its PID namespace"

    def __init__(self, line: Line, namespace: int) -> None:
        self._line = line
        self._namespace = namespace

    def has(self, entry: str) -> bool:
        """Tell whether a process belongs to the crowd. Raises OSError when that cannot be known."""
        if os.stat(f"/proc/{entry}/ns/pid").st_ino != self._namespace:  # noqa: PTH116 - there are many
            return False
        with open(f"/proc/{entry}/status") as file:  # noqa: PTH123 - there are many
            text = file.read()
        at = text.find("NSpid:")
        return not text[at:].split("\n", 1)[0].endswith("\t1")  # the keeper

    def send(self, number: int) -> None:
        """Signal all of them in one stroke."""
        with suppress(OSError):  # without its keeper, nobody is there
            self._line.ask({"do": "signal", "number": number})


class KeptRoom(Room):
    """A room in a user namespace. Made by `await KeptRoom.make(…)`: OSError when that is not allowed."""

    def __init__(self, line: Line, folders: Folders, answer: dict[str, Any], *, private: bool) -> None:
        self._line = line
        self.places = places_of(folders)
        self.scratch = folders.scratch
        self.tmp = answer["tmp"]
        self.cannot = (
            "user: what the lab's user may read can be read, but for the home folder",
            *answer["cannot"],
        )
        self.own_processes = limits.counts_namespaces()
        self.crowd = NamespaceCrowd(line, answer["namespace"])
        self.network = PrivateNetwork(self._socket) if private else HostNetwork()
        self.who = f"{users.NAME} ({keeper.SANDBOX_USER.uid}), the lab's user in a namespace of its own"

    @classmethod
    async def make(cls, folders: Folders, tmp_mb: int, *, private: bool) -> KeptRoom:
        """Make the namespaces and everything in them."""
        return await asyncio.to_thread(cls._build, folders, tmp_mb, private)

    @classmethod
    def _build(cls, folders: Folders, tmp_mb: int, private: bool) -> KeptRoom:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (ours, theirs):
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                end.setsockopt(socket.SOL_SOCKET, option, keeper.MESSAGE)
        line = Line(ours)
        try:
            with theirs:
                _launch(theirs)
            request = {
                "folders": _described(folders),
                "tmp_mb": tmp_mb,
                "private": private,
                "hidden": [str(path) for path in _homes()],
            }
            answer, _, _ = line.ask(request)
        except BaseException:
            line.close()
            raise
        return cls(line, folders, answer, private=private)

    async def _spawn(self, start: Start) -> Child:
        message = {"do": "start", "command": list(start.command), "env": dict(start.env)}
        handles = [start.stdin, start.output, *start.passed]
        answer, _, pid = await asyncio.to_thread(self._line.ask, message, handles)
        return KeptChild(self._line, pid, answer["pid"])

    async def _socket(self, kind: int) -> socket.socket:
        _, handles, _ = await asyncio.to_thread(self._line.ask, {"do": "socket", "kind": kind})
        return socket.socket(fileno=handles[0])

    async def close(self) -> None:
        """Forget the room and its /tmp."""
        self._line.close()


def _launch(line: socket.socket) -> None:
    """Start the keeper. It makes a second process of itself and ends."""
    child = subprocess.Popen(  # noqa: S603 - our interpreter, our file
        [sys.executable, "-I", "-S", keeper.__file__, str(line.fileno())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=[line.fileno()],
        start_new_session=True,
        cwd="/",
        env={},
    )
    threading.Thread(target=child.wait, name="lambent-keeper", daemon=True).start()


def _described(folders: Folders) -> dict[str, Any]:
    return {
        key: [str(path) for path in value] if isinstance(value, (list, tuple)) else value and str(value)
        for key, value in asdict(folders).items()
    }


def _homes() -> list[Path]:
    """Return the folders that are the lab's user's own affair: the function is not to find them."""
    found = [Path(os.environ.get("HOME", ""))]
    with suppress(KeyError):
        found.append(Path(pwd.getpwuid(os.geteuid()).pw_dir))
    usual = {
        Path("/"),
        *(Path("/") / name for name in ("tmp", "var", "opt", "usr", "etc", "dev", "proc", "sys")),
    }
    return [
        path for path in dict.fromkeys(found) if path.is_absolute() and path not in usual and path.is_dir()
    ]
