"""The parts of a box that the cgroup version 1 hierarchies provide."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from lambent_lab.sandbox import parts
from lambent_lab.sandbox.v2 import PERIOD_US

if TYPE_CHECKING:
    from pathlib import Path


class V1Freezer(parts.Freezer):
    """freezer.state. SIGKILL does not reach what it holds: thaw first."""

    how: ClassVar[str] = "cgroup v1 (freezer.state)"

    def __init__(self, folder: Path) -> None:
        self._state = folder / "freezer.state"

    def begin(self) -> None:
        """Ask for the stop."""
        parts.write(self._state, "FROZEN")

    def frozen(self) -> bool:
        """Tell whether everything stands still."""
        # Reading is what makes this kernel interface finish the job: FREEZING turns into FROZEN when looked
        # at.
        return parts.read(self._state).strip() == "FROZEN"

    def thaw(self) -> None:
        """Let everything run again."""
        parts.write(self._state, "THAWED")


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
        self._quota = folder / "cpu.cfs_quota_us"
        self._usage = accounting / "cpuacct.usage" if accounting is not None else None
        parts.write(folder / "cpu.cfs_period_us", str(PERIOD_US))

    def limit(self, vcpus: float) -> None:
        """Allow so many vCPUs from now on."""
        parts.write(self._quota, str(max(1000, round(vcpus * PERIOD_US))))

    def used_ns(self) -> int | None:
        """Return the CPU time used so far, in ns."""
        return int(parts.read(self._usage)) if self._usage is not None else None


class V1Memory(parts.Memory):
    """memory.limit_in_bytes without swap; kills are counted in memory.oom_control."""

    how: ClassVar[str] = "cgroup v1 (memory.limit_in_bytes)"

    def __init__(self, folder: Path, limit: int) -> None:
        self._peak = folder / "memory.max_usage_in_bytes"
        self._control = folder / "memory.oom_control"
        parts.write(folder / "memory.limit_in_bytes", str(limit))
        swap = folder / "memory.memsw.limit_in_bytes"
        if swap.exists():
            parts.write(swap, str(limit))
        swappiness = folder / "memory.swappiness"
        if swappiness.exists():
            parts.write(swappiness, "0")

    def peak(self) -> int | None:
        """Return the high-water mark, in bytes."""
        return int(parts.read(self._peak))

    def kills(self) -> int:
        """Return how many processes the limit has killed."""
        return parts.count(parts.read(self._control), "oom_kill")
