"""The parts of a box that the cgroup version 1 hierarchies provide."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, ClassVar

from lambent_lab.sandbox import hierarchies, parts
from lambent_lab.sandbox.v2 import PERIOD_US

if TYPE_CHECKING:
    from pathlib import Path


class V1Freezer(parts.Freezer):
    """freezer.state. SIGKILL does not reach what it holds: thaw first."""

    how: ClassVar[str] = "cgroup v1 (freezer.state)"

    def __init__(self, folder: Path) -> None:
        self._state = parts.File(folder / "freezer.state", os.O_RDWR)
        self._files = (self._state,)

    def begin(self) -> None:
        """Ask for the stop."""
        self._state.write("FROZEN")

    def frozen(self) -> bool:
        """Tell whether everything stands still."""
        # Reading is what makes this kernel interface finish the job: FREEZING turns into FROZEN when looked
        # at.
        return self._state.read().strip() == "FROZEN"

    def thaw(self) -> None:
        """Let everything run again."""
        self._state.write("THAWED")


class V1Tree(parts.Tree):
    """The processes listed in cgroup.procs, killed one by one."""

    how: ClassVar[str] = "cgroup v1 (cgroup.procs)"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def pids(self) -> list[int]:
        """Return the processes that are there now."""
        return parts.procs(self._folder)

    def kill(self) -> None:
        """Send SIGKILL to all of them."""
        parts.send_kill(self.pids())


class V1Cpu(parts.Cpu):
    """cpu.cfs_quota_us over a period of 20 ms; cpuacct.usage where it is mounted."""

    how: ClassVar[str] = "cgroup v1 (cpu.cfs_quota_us, 20 ms periods)"

    def __init__(self, folder: Path, accounting: Path | None) -> None:
        self._folder = folder
        self._usage = parts.File(accounting / "cpuacct.usage") if accounting is not None else None
        self._files = (self._usage,) if self._usage is not None else ()
        parts.write(folder / "cpu.cfs_period_us", str(PERIOD_US))

    def limit(self, vcpus: float) -> None:
        """Allow so many vCPUs from now on, or what the cgroups above have if that is less."""
        quota = self._folder / "cpu.cfs_quota_us"
        try:
            parts.write(quota, str(max(1000, round(vcpus * PERIOD_US))))
        except OSError as error:
            # Version 2 takes any number, version 1 none that is above a limit on the lab itself, as
            # containers have one.
            allowed = hierarchies.allowance(self._folder)
            if error.errno != errno.EINVAL or allowed is None:
                raise
            parts.write(quota, str(int(min(vcpus, allowed) * PERIOD_US)))

    def used_ns(self) -> int | None:
        """Return the CPU time used so far, in ns."""
        return int(self._usage.read()) if self._usage is not None else None


class V1Memory(parts.Memory):
    """memory.limit_in_bytes without swap; kills are counted in memory.oom_control."""

    how: ClassVar[str] = "cgroup v1 (memory.limit_in_bytes)"

    def __init__(self, folder: Path, limit: int) -> None:
        self._peak = parts.File(folder / "memory.max_usage_in_bytes")
        self._control = parts.File(folder / "memory.oom_control")
        self._files = self._peak, self._control
        parts.write(folder / "memory.limit_in_bytes", str(limit))
        swap = folder / "memory.memsw.limit_in_bytes"
        if swap.exists():
            parts.write(swap, str(limit))
        swappiness = folder / "memory.swappiness"
        if swappiness.exists():
            parts.write(swappiness, "0")

    def peak(self) -> int | None:
        """Return the high-water mark, in bytes."""
        return int(self._peak.read())

    def kills(self) -> int:
        """Return how many processes the limit has killed."""
        return parts.count(self._control.read(), "oom_kill")
