"""The CPU share of a memory size, by a cgroup of our own (v1 or v2), joined through a tiny exec wrapper."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Self

MEMORY_MB = 256
SHARE = MEMORY_MB / 1769  # of one CPU; Lambda gives a whole one at 1769 MB
PERIOD_US = 20_000
V1 = Path("/sys/fs/cgroup/cpu")
V2 = Path("/sys/fs/cgroup")


class ShareUnavailableError(Exception):
    """This machine does not let us limit CPU time. The message says why."""


class CpuShare:
    """A cgroup that allows `share` of one CPU. On exit its processes are killed and it is removed."""

    def __init__(self, share: float = SHARE) -> None:
        quota = round(PERIOD_US * share)
        self.quota_us = quota
        self._path, self.kind = _place()
        try:
            self._path.mkdir()
            if self.kind == "cgroup-v1":
                (self._path / "cpu.cfs_period_us").write_text(str(PERIOD_US))
                (self._path / "cpu.cfs_quota_us").write_text(str(quota))
            else:
                (self._path / "cpu.max").write_text(f"{quota} {PERIOD_US}")
        except OSError as error:
            self.close()
            raise ShareUnavailableError(f"cannot make a CPU cgroup at {self._path}: {error}") from error

    def wrap(self, command: list[str]) -> list[str]:
        """`command`, run inside the cgroup: a shell writes its own id and then becomes the command."""
        join = 'echo $$ > "$1" && shift && exec "$@"'
        return ["/bin/sh", "-c", join, "sh", str(self._path / "cgroup.procs"), *command]

    def throttled(self) -> int:
        """How many periods were cut short so far: proof that the limit is at work."""
        for line in (self._path / "cpu.stat").read_text().splitlines():
            if line.startswith("nr_throttled "):
                return int(line.split()[1])
        return 0

    def close(self) -> None:
        """Kill what is left in the cgroup and remove it."""
        for _ in range(50):
            try:
                self._path.rmdir()
            except FileNotFoundError:
                return
            except OSError:
                with contextlib.suppress(OSError, ValueError):
                    for process in (self._path / "cgroup.procs").read_text().split():
                        os.kill(int(process), signal.SIGKILL)
                time.sleep(0.02)  # the kernel tells nobody when the last process has left
            else:
                return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _place() -> tuple[Path, str]:
    name = f"lambent-bench-{os.getpid()}"
    if (V1 / "cpu.cfs_quota_us").exists():
        if not os.access(V1, os.W_OK):
            raise ShareUnavailableError("cgroup v1 is not writable for this user")
        return V1 / name, "cgroup-v1"
    controllers = V2 / "cgroup.subtree_control"
    if not controllers.exists():
        raise ShareUnavailableError("no cgroup is mounted at /sys/fs/cgroup")
    if "cpu" not in controllers.read_text().split():
        raise ShareUnavailableError("the cpu controller is not enabled for children of /sys/fs/cgroup")
    if not os.access(V2, os.W_OK):
        raise ShareUnavailableError("cgroup v2 is not writable for this user")
    return V2 / name, "cgroup-v2"
