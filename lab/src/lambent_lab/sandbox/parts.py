"""What a box is put together from: one small interface each for stopping, memory, CPU and the process tree.

A cgroup file answers every read and write afresh. Those that are written once are opened, written and closed
in one go; those that every invocation needs stay open.
"""

from __future__ import annotations

import os
import resource
import signal
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from pathlib import Path


STOP, CONTINUE = signal.SIGSTOP, signal.SIGCONT
_PAGE = 4096


class File:
    """A cgroup file that is used again and again. It stays open while there are file descriptors to spare.

    That makes reading it four times as quick, and every invocation reads several.
    """

    def __init__(self, path: Path, flags: int = os.O_RDONLY) -> None:
        self._path = str(path)  # a path object is taken apart every time it is used
        self._flags = flags | os.O_CLOEXEC
        self._handle = -1

    def read(self) -> str:
        """Return what it says now."""
        handle = self._open()
        try:
            data = part = os.pread(handle, _PAGE, 0)
            while len(part) > _PAGE // 2:  # long ones come a page at a time, cut between two lines
                part = os.pread(handle, _PAGE, len(data))
                data += part
        finally:
            self._done(handle)
        return data.decode()

    def write(self, text: str) -> None:
        """Write to it."""
        handle = self._open()
        try:
            os.pwrite(handle, text.encode(), 0)
        finally:
            self._done(handle)

    def close(self) -> None:
        """Let go of it."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)

    def _open(self) -> int:
        return self._handle if self._handle >= 0 else os.open(self._path, self._flags)

    def _done(self, handle: int) -> None:
        if handle == self._handle:
            return
        if handle < resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2:
            self._handle = handle
        else:
            os.close(handle)


class Part:
    """What all parts have in common: the files that they keep open."""

    _files: tuple[File, ...] = ()

    def close(self) -> None:
        """The box comes to its end: let go of them."""
        for file in self._files:
            file.close()


class Freezer(Part, ABC):
    """Stops and continues every process of a box."""

    how: ClassVar[str]

    @abstractmethod
    def begin(self) -> None:
        """Ask for the stop. It is done when `frozen` says so."""

    @abstractmethod
    def frozen(self) -> bool:
        """Tell whether every process stands still."""

    @abstractmethod
    def thaw(self) -> None:
        """Let everything run again."""


class Tree(Part, ABC):
    """The processes of a box."""

    how: ClassVar[str]

    @abstractmethod
    def pids(self) -> list[int]:
        """Return the processes that are there now."""

    @abstractmethod
    def kill(self) -> None:
        """Send SIGKILL to all of them, once. Frozen ones have been thawed by the caller."""


class Cpu(Part, ABC):
    """Limits and counts CPU time."""

    how: ClassVar[str]

    @abstractmethod
    def limit(self, vcpus: float) -> None:
        """Allow so many vCPUs from now on."""

    @abstractmethod
    def used_ns(self) -> int | None:
        """Return the CPU time used so far, in ns."""

    def hold(self) -> None:
        """The processes are about to be frozen or killed: leave them alone."""

    def let_go(self) -> None:
        """The processes run again."""


class Memory(Part, ABC):
    """Limits and counts memory."""

    how: ClassVar[str]

    @abstractmethod
    def peak(self) -> int | None:
        """Return the high-water mark of everything that is charged, page cache included, in bytes."""

    @abstractmethod
    def kills(self) -> int:
        """Return how many processes the limit has killed so far."""


def write(file: Path, text: str) -> None:
    """Write a cgroup file in one system call."""
    handle = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(handle, text.encode())
    finally:
        os.close(handle)


def count(text: str, key: str) -> int:
    """Return the number behind a key of a flat keyed file, 0 when it is not there."""
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name == key:
            return int(value)
    return 0


def procs(folder: Path) -> list[int]:
    """Return the processes of a cgroup; none where it is gone."""
    found = b""
    with suppress(OSError):
        # Opened every time: version 1 shows whoever has it open a list that is up to a second old.
        handle = os.open(f"{folder}/cgroup.procs", os.O_RDONLY | os.O_CLOEXEC)
        try:
            found = part = os.read(handle, _PAGE)
            while len(part) > _PAGE // 2:
                part = os.read(handle, _PAGE)
                found += part
        finally:
            os.close(handle)
    return [int(pid) for pid in found.split()]


def send(pids: list[int], number: int) -> None:
    """Send a signal to each; those that are gone already are fine."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def send_kill(pids: list[int]) -> None:
    """Send SIGKILL to each; those that are gone already are fine."""
    send(pids, signal.SIGKILL)
