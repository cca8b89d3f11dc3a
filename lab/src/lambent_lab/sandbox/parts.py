"""What a box is put together from: one small interface each for stopping, memory, CPU and the process tree.

Files are opened, written and closed in one go: a cgroup file answers every read and write afresh.
"""

from __future__ import annotations

import os
import signal
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from pathlib import Path


STOP, CONTINUE = signal.SIGSTOP, signal.SIGCONT


class Freezer(ABC):
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


class Tree(ABC):
    """The processes of a box."""

    how: ClassVar[str]

    @abstractmethod
    def pids(self) -> list[int]:
        """Return the processes that are there now."""

    @abstractmethod
    def kill(self) -> None:
        """Send SIGKILL to all of them, once. Frozen ones have been thawed by the caller."""


class Cpu(ABC):
    """Limits and counts CPU time."""

    how: ClassVar[str]

    @abstractmethod
    def limit(self, vcpus: float) -> None:
        """Allow so many vCPUs from now on."""

    @abstractmethod
    def used_ns(self) -> int | None:
        """Return the CPU time used so far, in ns."""

    def hold(self) -> None:  # noqa: B027 - only for those who limit by themselves
        """The processes are about to be frozen or killed: leave them alone."""

    def let_go(self) -> None:  # noqa: B027 - only for those who limit by themselves
        """The processes run again."""

    def close(self) -> None:  # noqa: B027 - only for those who limit by themselves
        """The box comes to its end."""


class Memory(ABC):
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


def read(file: Path) -> str:
    """Read a cgroup file in one system call."""
    handle = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(handle, 65536).decode()
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
    """Return the processes of a cgroup."""
    try:
        return [int(pid) for pid in read(folder / "cgroup.procs").split()]
    except OSError:
        return []


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
