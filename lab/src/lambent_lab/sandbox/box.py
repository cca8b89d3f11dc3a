"""A box: one process tree, held.

Freezing is only done when it is confirmed. Thaw comes before every signal, because SIGKILL does not reach a
process that cgroup v1 has frozen. Nothing is started in a frozen box: it would hang.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lambent_lab.errors import LabError
from lambent_lab.sandbox import parts, signals

if TYPE_CHECKING:
    from lambent_lab.sandbox.crowds import Crowd

PATIENCE_S = 5.0
MANY = 64  # processes: fewer than these are no burden to the next one
KILL_PATIENCE_S = 20.0  # a thousand processes are taken apart one by one
_SAMPLE_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxReport:
    """Which box a function runs in: how each thing is done, and what cannot be done here."""

    kind: str
    freeze: str
    memory: str
    cpu: str
    kill: str
    tmp: str
    user: str = ""
    network: str = ""
    limits: str = ""
    cannot: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return what results carry of it."""
        return {**asdict(self), "cannot": list(self.cannot)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a box has used so far. Memory in bytes: resident peak, all that was charged with cache, and what
    is resident now.
    """

    cpu_ns: int | None
    peak_rss: int | None
    peak_with_cache: int | None
    kills: int
    rss: int | None = None


def _still_there(pids: set[int]) -> set[int]:
    return {pid for pid in pids if Path(f"/proc/{pid}").exists()}


class Box:
    """The parts of one box, and the folders that exist for it. `lambent_lab.sandbox.make` makes them."""

    def __init__(
        self,
        *,
        kind: str,
        freezer: parts.Freezer,
        tree: parts.Tree,
        cpu: parts.Cpu,
        memory: parts.Memory,
        marked: signals.MarkedTree,
        join: tuple[Path, ...],
        adopt: tuple[Path, ...],
        folders: tuple[Path, ...],
        tasks: Path | None,
        cannot: tuple[str, ...],
    ) -> None:
        self.kind = kind
        self.freezer = freezer
        self.tree = tree
        self.cpu = cpu
        self.memory = memory
        self.counts_processes = tasks is not None
        self.cannot = cannot
        self.is_frozen = False
        self._marked = marked
        self._join = join
        self._adopt = adopt
        self._folders = folders
        self._sampler: asyncio.Task[None] | None = None
        self._peak_rss: int | None = None
        self._tasks = parts.File(tasks) if tasks is not None else None
        self._status: parts.File | None = None  # of the first process

    @property
    def entrances(self) -> tuple[Path, ...]:
        """The files into which a process writes 0 to put itself into the box."""
        return self._join

    async def adopt(self, pid: int) -> None:
        """Put a process into the box that cannot do it itself: under version 2 only the lab may."""
        for path in self._adopt:
            # In a thread: it can take 10 ms, as the kernel waits for every CPU.
            await asyncio.to_thread(parts.write, path, str(pid))

    def expect(self, mark: str) -> None:
        """Tell the box, before anything runs in it, by which mark its processes will be told from others."""
        self._marked.mark = mark.encode()

    def gather(self, crowd: Crowd | None) -> None:
        """Tell the box by what its processes are told from others, and reached all at once."""
        self._marked.crowd = crowd

    def started(self, pid: int) -> None:
        """Tell the box its first process."""
        self._marked.root = pid
        self._peak_rss = None
        self._forget_status()
        self._status = parts.File(Path(f"/proc/{pid}/status"))
        self.cpu.let_go()
        self._watch()

    def joined(self, pid: int) -> None:
        """Tell the box a process that was started beside the first one."""
        self._marked.others.append(pid)
        self.cpu.let_go()
        self._watch()

    def _watch(self) -> None:
        if isinstance(self.memory, signals.SampledMemory) and self._sampler is None:
            self._sampler = asyncio.get_running_loop().create_task(self._sample(self.memory))

    async def freeze(self) -> None:
        """Stop every process and return when all stand still. Raises LabError when that takes over 5 s."""
        self.is_frozen = True
        self.cpu.hold()
        self.freezer.begin()
        limit = time.monotonic() + PATIENCE_S
        while not self.freezer.frozen():
            if time.monotonic() > limit:
                self.thaw()
                raise LabError(
                    "The function's processes could not be frozen within 5 s: one of them is stuck in a call."
                )
            await asyncio.sleep(0.0005)

    def thaw(self) -> None:
        """Let the processes run again."""
        if self.is_frozen:
            self.freezer.thaw()
            self.is_frozen = False
            self.cpu.let_go()

    def usage(self) -> Usage:
        """Return what has been used so far."""
        charged = self.memory.peak()
        peak, now = self._resident(charged)
        if peak is not None:
            self._peak_rss = max(self._peak_rss or 0, peak)
        return Usage(
            cpu_ns=self.cpu.used_ns(),
            peak_rss=self._peak_rss,
            peak_with_cache=charged,
            kills=self.memory.kills(),
            rss=now,
        )

    def _resident(self, charged: int | None) -> tuple[int | None, int | None]:
        """Return the resident peak of what lives now, and what is resident now.

        That of several processes is no more than what the kernel has `charged`: added up, what forked
        processes share counts once for each.
        """
        tree, marked = self.tree, self._marked
        if self._tasks is not None and self._status is not None:
            with suppress(OSError):
                status = self._status.read()
                peak, threads = signals.peak_and_threads(status)
                if peak is not None and threads == int(self._tasks.read()):
                    return peak, signals.resident(status)  # nobody else: the usual case, and the quick one
        both = signals.residents(marked.descendants() if tree is marked else tree.pids())
        peaks, now = [peak for peak, _ in both], sum(each for _, each in both) or None
        if charged is None or isinstance(self.memory, signals.SampledMemory):
            return sum(peaks) or None, now
        if len(peaks) > 1:
            return max(*peaks, min(sum(peaks), charged)), now and min(now, charged)
        return sum(peaks) or None, now

    def others(self, pid: int) -> bool:
        """Tell whether any other process than this one lives in the box."""
        return any(each != pid for each in self.tree.pids())

    def _forget_status(self) -> None:
        if self._status is not None:
            self._status.close()
            self._status = None

    async def kill(self) -> None:
        """Kill the whole tree and return when it is gone. LabError when some of it survives for 20 s."""
        limit = time.monotonic() + KILL_PATIENCE_S
        killed: set[int] = set()
        while there := self._kill_once():
            killed.update(there)
            if time.monotonic() > limit:
                raise LabError("Processes of a function survive SIGKILL: one of them is stuck in the kernel.")
            await asyncio.sleep(0.001)
        # Until somebody has asked how they ended, the dead count among the user's processes: after a fork
        # bomb the next process could not start a thread.
        limit = time.monotonic() + PATIENCE_S
        while len(killed) > MANY and time.monotonic() < limit:
            killed = _still_there(killed)
            await asyncio.sleep(0.001)
        self._marked.others.clear()
        self._marked.root = 0  # a number that the kernel may give to anybody now

    async def close(self) -> None:
        """Kill what is left and remove the box."""
        if self._sampler is not None:
            self._sampler.cancel()
            self._sampler = None
        await self.kill()
        self._remove()

    def destroy(self) -> None:
        """Do what `close` does, without an event loop: for the end of the process."""
        limit = time.monotonic() + PATIENCE_S
        while self._kill_once() and time.monotonic() < limit:
            time.sleep(0.001)
        self._remove()

    def _kill_once(self) -> list[int]:
        """Thaw and kill, and return who was there."""
        self.cpu.hold()
        with suppress(OSError):
            self.freezer.thaw()
        self.is_frozen = False
        there = self.tree.pids()
        if there:
            with suppress(OSError):
                self.tree.kill()
        return there

    def _remove(self) -> None:
        for part in (self.freezer, self.tree, self.cpu, self.memory):
            part.close()
        self._forget_status()
        if self._tasks is not None:
            self._tasks.close()
        limit = time.monotonic() + 1.0
        for folder in self._folders:
            while folder.is_dir():
                try:
                    folder.rmdir()
                except OSError:
                    # A killed process counts until the kernel has taken it apart.
                    if time.monotonic() > limit:
                        break
                    time.sleep(0.001)

    async def _sample(self, memory: signals.SampledMemory) -> None:
        while True:
            if not self.is_frozen:
                # In a thread: looking at a thousand processes takes longer than a timeout may wait.
                await asyncio.to_thread(memory.sample)
            await asyncio.sleep(_SAMPLE_S)
