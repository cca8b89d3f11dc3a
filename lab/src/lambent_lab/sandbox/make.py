"""Choosing and making the best box that this machine allows.

Each ability is taken from cgroup v2 if it is there, else from cgroup v1, else done with signals. A machine
may have both versions with the controllers spread over them; a box then uses both. `LAMBENT_LAB_BOX` forces
one kind.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lambent_lab.errors import UsageError
from lambent_lab.sandbox import hierarchies, limits, parts, signals, v1, v2
from lambent_lab.sandbox.box import Box
from lambent_lab.sandbox.duty import DutyCpu

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MB = 1024 * 1024
KINDS = ("cgroup-v2", "cgroup-v1", "signal")


@dataclass(slots=True)
class _Making:
    """A box on its way: its folders so far, and what did not work."""

    name: str
    record: Callable[[Path], None]
    folders: list[Path] = field(default_factory=list)
    failed: set[Path] = field(default_factory=set)

    def folder(self, parent: Path | None) -> Path | None:
        """Make the box's cgroup below `parent` and return it; None when that is not allowed."""
        if parent is None or parent in self.failed:
            return None
        path = parent / self.name
        if path in self.folders:
            return path
        self.record(path)  # before it exists: a lab killed in between leaves a record, not a riddle
        try:
            path.mkdir()
        except OSError:
            self.failed.add(parent)
            return None
        if not os.access(path / "cgroup.procs", os.W_OK):
            path.rmdir()
            self.failed.add(parent)
            return None
        self.folders.append(path)
        return path


def forced_kind() -> str | None:
    """Return the kind of box that `LAMBENT_LAB_BOX` asks for. Raises UsageError when there is none such."""
    kind = os.environ.get("LAMBENT_LAB_BOX") or None
    if kind is not None and kind not in KINDS:
        raise UsageError(
            f"LAMBENT_LAB_BOX={kind} is no kind of box: choose {', '.join(KINDS)}, or leave it out."
        )
    return kind


def make_box(
    name: str, *, memory_mb: int, mark: str, record: Callable[[Path], None], kind: str | None = None
) -> Box:
    """Make a box called `name` with a memory limit. `record` is told each cgroup folder before it is made.

    `mark` is the text in the environment of the box's processes that tells them from all others.
    Raises UsageError when `kind` is forced and not possible here.
    """
    found = hierarchies.read()
    making = _Making(name, record)
    try:
        return _make(making, found, memory_mb * MB, mark, kind)
    except BaseException:
        for folder in making.folders:
            with suppress(OSError):
                folder.rmdir()
        raise


@dataclass(slots=True)
class _Parts:
    """What has been found so far."""

    freezer: parts.Freezer | None = None
    tree: parts.Tree | None = None
    cpu: parts.Cpu | None = None
    memory: parts.Memory | None = None
    tasks: Path | None = None  # says how many there are, where their number is limited

    @property
    def complete(self) -> bool:
        return None not in {self.freezer, self.tree, self.cpu, self.memory}


def _from_v2(making: _Making, found: hierarchies.Hierarchies, limit: int, got: _Parts) -> None:
    folder = making.folder(found.v2)
    if folder is None:
        return
    got.tree = got.tree or v2.V2Tree(folder)
    if got.freezer is None and (folder / "cgroup.freeze").exists():
        got.freezer = v2.V2Freezer(folder)
    if got.cpu is None and (folder / "cpu.max").exists():
        got.cpu = v2.V2Cpu(folder)
    if got.memory is None and (folder / "memory.max").exists():
        got.memory = v2.V2Memory(folder, limit)
    if got.tasks is None and (folder / "pids.max").exists():
        parts.write(folder / "pids.max", str(limits.PROCESSES))
        got.tasks = folder / "pids.current"


def _from_v1(making: _Making, found: hierarchies.Hierarchies, limit: int, got: _Parts) -> None:
    def folder(controller: str) -> Path | None:
        return making.folder(found.v1.get(controller))

    if got.freezer is None and (place := folder("freezer")) is not None:
        got.freezer = v1.V1Freezer(place)
        got.tree = got.tree or v1.V1Tree(place)
    if got.cpu is None and (place := folder("cpu")) is not None and (place / "cpu.cfs_quota_us").exists():
        got.cpu = v1.V1Cpu(place, folder("cpuacct"))
    if got.memory is None and (place := folder("memory")) is not None:
        got.memory = v1.V1Memory(place, limit)
        got.tree = got.tree or v1.V1Tree(place)
    if got.tasks is None and (place := folder("pids")) is not None:
        parts.write(place / "pids.max", str(limits.PROCESSES))
        got.tasks = place / "pids.current"


def _make(making: _Making, found: hierarchies.Hierarchies, limit: int, mark: str, kind: str | None) -> Box:
    got = _Parts()
    steps = {"cgroup-v2": (_from_v2,), "cgroup-v1": (_from_v1,), "signal": ()}.get(kind or "")
    if steps is None:
        # Joining a v2 cgroup makes the kernel wait for every CPU, some 10 ms: where v2 has no controllers to
        # offer, its freezer alone is not worth that, and v1 comes first.
        steps = (_from_v2, _from_v1) if found.v2_controllers else (_from_v1, _from_v2)
    for step in steps:
        if not got.complete:
            step(making, found, limit, got)
    if kind in {"cgroup-v1", "cgroup-v2"} and not making.folders:
        raise UsageError(
            f"LAMBENT_LAB_BOX={kind} is not possible here: leave it out to get the best box there is."
        )
    marked = signals.MarkedTree(mark)
    tree = got.tree or marked
    cannot = []
    if got.cpu is None:
        cannot.append("cpu: the share holds over tens of milliseconds, a shorter burst has the whole CPU")
    for allowed in {allowed for folder in making.folders if (allowed := hierarchies.allowance(folder))}:
        cannot.append(f"cpu: the lab itself is limited to {allowed:.3g} vCPUs, all its functions with it")
    if got.memory is None:
        cannot.append("memory: the limit is sampled, a short peak above it may pass")
    second = found.v2 / making.name if found.v2 is not None else None
    versions = sorted({"v2" if folder == second else "v1" for folder in making.folders})
    return Box(
        kind=f"cgroup-{'+'.join(versions)}" if versions else "signal",
        freezer=got.freezer or signals.SignalFreezer(marked),
        tree=tree,
        cpu=got.cpu or DutyCpu(marked, tree),
        memory=got.memory or signals.SampledMemory(tree, limit),
        marked=marked,
        # Version 1 moves a single thread without the lock that moving a process takes: "tasks" is the quick
        # way in, for a thread that moves itself.
        join=tuple(folder / "tasks" for folder in making.folders if folder != second),
        adopt=tuple(folder / "cgroup.procs" for folder in making.folders if folder == second),
        folders=tuple(making.folders),
        tasks=got.tasks,
        cannot=tuple(cannot),
    )
