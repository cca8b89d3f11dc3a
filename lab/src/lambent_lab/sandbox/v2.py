"""The parts of a box that cgroup version 2 provides."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ClassVar

from lambent_lab.sandbox import parts

if TYPE_CHECKING:
    from pathlib import Path

PERIOD_US = 20_000


class V2Freezer(parts.Freezer):
    """cgroup.freeze, confirmed by cgroup.events. SIGKILL reaches what it holds."""

    how: ClassVar[str] = "cgroup v2 (cgroup.freeze)"

    def __init__(self, folder: Path) -> None:
        self._switch = parts.File(folder / "cgroup.freeze", os.O_WRONLY)
        self._events = parts.File(folder / "cgroup.events")
        self._files = self._switch, self._events

    def begin(self) -> None:
        """Ask for the stop."""
        self._switch.write("1")

    def frozen(self) -> bool:
        """Tell whether everything stands still."""
        return parts.count(self._events.read(), "frozen") == 1

    def thaw(self) -> None:
        """Let everything run again."""
        self._switch.write("0")


class V2Tree(parts.Tree):
    """cgroup.kill where the kernel has it (5.14), else one by one."""

    how: ClassVar[str] = "cgroup v2 (cgroup.kill)"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kill = folder / "cgroup.kill"
        self._at_once = self._kill.exists()

    def pids(self) -> list[int]:
        """Return the processes that are there now."""
        return parts.procs(self._folder)

    def kill(self) -> None:
        """Send SIGKILL to all of them."""
        if self._at_once:
            parts.write(self._kill, "1")
        else:
            parts.send_kill(self.pids())


class V2Cpu(parts.Cpu):
    """cpu.max over a period of 20 ms."""

    how: ClassVar[str] = "cgroup v2 (cpu.max, 20 ms periods)"

    def __init__(self, folder: Path) -> None:
        self._max = folder / "cpu.max"
        self._stat = parts.File(folder / "cpu.stat")
        self._files = (self._stat,)

    def limit(self, vcpus: float) -> None:
        """Allow so many vCPUs from now on."""
        parts.write(self._max, f"{max(1000, round(vcpus * PERIOD_US))} {PERIOD_US}")

    def used_ns(self) -> int | None:
        """Return the CPU time used so far, in ns."""
        return parts.count(self._stat.read(), "usage_usec") * 1000


class V2Memory(parts.Memory):
    """memory.max without swap; the whole box dies when it is out of memory."""

    how: ClassVar[str] = "cgroup v2 (memory.max)"

    def __init__(self, folder: Path, limit: int) -> None:
        parts.write(folder / "memory.max", str(limit))
        for name, value in (("memory.swap.max", "0"), ("memory.oom.group", "1")):
            if (folder / name).exists():
                parts.write(folder / name, value)
        peak = folder / "memory.peak"
        self._events = parts.File(folder / "memory.events")
        self._peak = parts.File(peak) if peak.exists() else None
        self._files = (self._events,) if self._peak is None else (self._events, self._peak)

    def peak(self) -> int | None:
        """Return the high-water mark, in bytes."""
        return int(self._peak.read()) if self._peak is not None else None

    def kills(self) -> int:
        """Return how many processes the limit has killed."""
        return parts.count(self._events.read(), "oom_kill")
