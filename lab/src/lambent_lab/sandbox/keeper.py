"""The keeper of a room without root: a process that owns the room's namespaces and starts what runs there.

Somebody who is not root may make a user namespace and is master of what belongs to it: mounts, a network,
and a PID namespace, whose first process the keeper is. That gives it power that the lab does not have: one
call stops, continues or kills everything in the namespace, and when the keeper ends, the kernel ends the
rest. It does what it is told over a socket and ends when the lab does, which closes the other end.

This file is run by itself, without the packages of the lab's interpreter: it imports nothing but the standard
library and the modules beside it that do the same.
"""

from __future__ import annotations

import array
import contextlib
import errno
import json
import os
import select
import signal
import socket
import struct
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __name__ == "__main__":  # the modules beside this one, without what their packages would load first
    _here = Path(__file__).parent
    for _name, _place in (("lambent_lab", _here.parent), ("lambent_lab.sandbox", _here)):
        _package = types.ModuleType(_name)
        _package.__path__ = [str(_place)]
        sys.modules[_name] = _package

from lambent_lab.sandbox import syscalls
from lambent_lab.sandbox.furnish import Folders, Tmp, furnish
from lambent_lab.sandbox.spawn import Start, spawn
from lambent_lab.sandbox.users import User

if TYPE_CHECKING:
    from lambent_lab.sandbox.disks import Disk

SANDBOX_USER = User(993, 990)
"""Who the lab's user is in the room: Lambda's numbers."""

MESSAGE = 1 << 20  # with the variables of a function, which are 4 KB on Lambda
_SCM_CREDENTIALS = 2


class Keeper:
    """What it keeps: the processes that it has started and whose end nobody has asked for."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._children: dict[int, int | None] = {}

    def serve(self) -> None:
        """Do what is asked until the lab is gone."""
        ended, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        while True:
            ready, _, _ = select.select([self._line.fileno(), ended], [], [])
            if ended in ready:
                os.read(ended, 4096)
                self._collect(os.WNOHANG)
            if self._line.fileno() in ready:
                message, handles = _receive(self._line)
                if message is None:
                    return
                try:
                    self._do(message, handles)
                except OSError as error:
                    _send(self._line, {"errno": error.errno or errno.EIO, "error": str(error)})
                finally:
                    for handle in handles:
                        os.close(handle)

    def _do(self, message: dict[str, Any], handles: list[int]) -> None:
        what = message["do"]
        if what == "start":
            stdin, output, *passed = handles
            start = Start(
                command=message["command"], env=message["env"], stdin=stdin, output=output, passed=passed
            )
            pid = spawn(start).pid
            self._children[pid] = None
            # The kernel turns the number into the one that the process has outside.
            _send(self._line, {"pid": pid}, credentials=pid)
        elif what == "status":
            pid = message["pid"]
            while self._children.get(pid, 0) is None:
                self._collect(0)
            _send(self._line, {"status": self._children.pop(pid, 255)})
        elif what == "signal":
            with contextlib.suppress(ProcessLookupError):  # nobody is there
                os.kill(-1, message["number"])
            _send(self._line, {})
        elif what == "socket":
            with socket.socket(socket.AF_INET, message["kind"]) as made:
                _send(self._line, {}, handles=[made.fileno()])

    def _collect(self, options: int) -> None:
        """Collect the ends of processes: of those it has started, and of orphans, whose parent it is now."""
        try:
            while True:
                pid, status = os.waitpid(-1, options)
                if pid == 0:
                    return
                if pid in self._children:
                    self._children[pid] = os.waitstatus_to_exitcode(status)
                    if not options:
                        return
        except ChildProcessError:
            return


def _receive(line: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    data, extra, _, _ = line.recvmsg(MESSAGE, socket.CMSG_SPACE(64 * 4))
    handles = array.array("i")
    for level, kind, content in extra:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            handles.frombytes(content[: len(content) - len(content) % handles.itemsize])
    return (json.loads(data) if data else None), list(handles)


def _send(
    line: socket.socket, message: dict[str, Any], *, handles: list[int] | None = None, credentials: int = 0
) -> None:
    extra: list[tuple[int, int, bytes]] = []
    if handles:
        extra.append((socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", handles).tobytes()))
    if credentials:
        about = struct.pack("3i", credentials, os.getuid(), os.getgid())
        extra.append((socket.SOL_SOCKET, _SCM_CREDENTIALS, about))
    line.sendmsg([json.dumps(message).encode()], extra)


def _no_disk() -> Disk:
    raise OSError(errno.EPERM, "only root can mount a disk")


def _folders(described: dict[str, Any]) -> Folders:
    """Return the folders of a room from their description in JSON."""
    found: dict[str, Any] = {
        key: tuple(map(Path, value)) if isinstance(value, list) else value and Path(value)
        for key, value in described.items()
    }
    return Folders(**found)


def _map(user: User, uid: int, gid: int) -> None:
    """Make the lab's user and group the sandbox's, in a user namespace that has just been made."""
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user.uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{user.gid} {gid} 1")


def main() -> None:
    """Make the namespaces, become two processes, and have the second be the first of its own."""
    line = socket.socket(fileno=int(sys.argv[1]))
    request, _ = _receive(line)
    if request is None:
        return
    try:
        uid, gid = os.geteuid(), os.getegid()
        private = syscalls.CLONE_NEWNET if request["private"] else 0
        kinds = syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS | syscalls.CLONE_NEWPID | syscalls.CLONE_NEWIPC
        syscalls.unshare(kinds | private)
        _map(SANDBOX_USER, uid, gid)
        if os.fork():
            os._exit(0)
        os.setsid()
        syscalls.bound()
        os.umask(0o022)
        if private:
            syscalls.raise_loopback()
        tmp = Tmp(size_mb=request["tmp_mb"], disk=_no_disk)
        how, cannot = furnish(
            _folders(request["folders"]),
            SANDBOX_USER,
            tmp,
            hidden=[Path(path) for path in request["hidden"]],
            own_processes=True,
        )
    except OSError as error:
        _send(line, {"errno": error.errno or errno.EIO, "error": str(error)})
        return
    _send(line, {"tmp": how, "cannot": cannot, "namespace": os.stat("/proc/self/ns/pid").st_ino})  # noqa: PTH116 - of a link that leads nowhere
    Keeper(line).serve()


if __name__ == "__main__":
    main()
