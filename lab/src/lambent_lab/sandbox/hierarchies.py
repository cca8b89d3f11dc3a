"""Where this process may make cgroups: the hierarchies that are mounted, and its own place in each.

New cgroups are made below the one that the lab itself runs in, so that limits set on the lab hold for its
functions too. Under version 2 a cgroup that holds processes cannot hand controllers to its children; then the
nearest ancestor that does hand them down is taken, if this process may write there.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

V1_CONTROLLERS = ("cpu", "cpuacct", "memory", "pids", "freezer")


@dataclass(frozen=True, slots=True)
class Hierarchies:
    """The cgroup folders below which boxes can be made: this process's own cgroup, or an ancestor of it."""

    v2: Path | None
    v2_controllers: frozenset[str]
    v1: Mapping[str, Path]


def read(proc: Path = Path("/proc/self")) -> Hierarchies:
    """Read the mounted hierarchies and this process's cgroups from /proc."""
    try:
        mounts = (proc / "mountinfo").read_text()
        own = (proc / "cgroup").read_text()
    except OSError:
        return Hierarchies(None, frozenset(), {})
    paths: dict[str, str] = {}
    for line in own.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            paths[controller] = path
    v2: tuple[Path, Path] | None = None
    v1: dict[str, Path] = {}
    for line in mounts.splitlines():
        fields, _, source = line.partition(" - ")
        kind, _, options = source.split(" ", 2)
        root, point = fields.split(" ")[3:5]
        mount = Path(point.replace("\\040", " "))
        if kind == "cgroup2" and "" in paths:
            v2 = mount, _folder(mount, root, paths[""])
        elif kind == "cgroup":
            names = options.rsplit(" ", 1)[-1].split(",")
            v1.update(
                {n: _folder(mount, root, paths[n]) for n in names if n in V1_CONTROLLERS and n in paths}
            )
    if v2 is None:
        return Hierarchies(None, frozenset(), v1)
    folder, controllers_v2 = _handing_down(*v2)
    return Hierarchies(folder, controllers_v2, v1)


def _folder(mount: Path, root: str, own: str) -> Path:
    """Return the folder of a cgroup path, seen through a mount that shows the hierarchy from `root` on."""
    if root != "/" and own.startswith(root):
        own = own[len(root) :]
    if own.startswith("/.."):
        own = "/"
    folder = mount / own.lstrip("/")
    return folder if folder.is_dir() else mount


def _handing_down(mount: Path, own: Path) -> tuple[Path, frozenset[str]]:
    """Return the nearest v2 cgroup from `own` upwards that hands cpu and memory down.

    Where none does, one that hands down one of them (systemd's user slices often keep cpu to themselves);
    `own` else. What this process may not write to does not count.
    """
    partly: tuple[Path, frozenset[str]] | None = None
    folder = own
    while True:
        try:
            handed = frozenset((folder / "cgroup.subtree_control").read_text().split())
        except OSError:
            handed = frozenset()
        useful = handed & {"cpu", "memory"}
        if useful and os.access(folder, os.W_OK):
            if len(useful) > 1:
                return folder, handed
            partly = partly or (folder, handed)
        if folder == mount:
            return partly or (own, frozenset())
        folder = folder.parent


def allowance(folder: Path) -> float | None:
    """Return how many vCPUs the cgroups above a folder leave to it, None where none of them has a limit."""
    found = []
    for above in folder.parents:
        with suppress(OSError, ValueError):  # "max" is no number
            if (above / "cpu.cfs_quota_us").exists():
                quota = int((above / "cpu.cfs_quota_us").read_text())
                period = int((above / "cpu.cfs_period_us").read_text())
            else:
                quota, period = map(int, (above / "cpu.max").read_text().split())
            if quota > 0:  # version 1 writes -1
                found.append(quota / period)
    return min(found, default=None)
