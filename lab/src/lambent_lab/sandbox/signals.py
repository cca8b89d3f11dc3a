"""The parts of a box that need no privilege: signals, /proc and a watched memory limit.

A process belongs to the box when it descends from the runtime or carries the box's mark, a value in its
environment that no other process has. The mark finds those that left the session or lost their parent.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from lambent_lab.sandbox import parts

if TYPE_CHECKING:
    from lambent_lab.sandbox.crowds import Crowd

_PROC = Path("/proc")
_STOPPED = "TtZX"


class MarkedTree(parts.Tree):
    """The runtime process, its descendants, and whatever carries the mark."""

    how: ClassVar[str] = "signals (descendants, and the mark in their environment)"

    def __init__(self, mark: str) -> None:
        self.mark = mark.encode()
        self.root = 0
        self.crowd: Crowd | None = None
        self.others: list[int] = []  # processes started beside the runtime

    def descendants(self) -> list[int]:
        """Return the runtime, what runs beside it and their living descendants: quick; no orphans."""
        found: list[int] = []
        todo = [self.root, *self.others] if self.root else list(self.others)
        while todo:
            pid = todo.pop()
            if state(pid) in "ZX":
                continue
            found.append(pid)
            todo.extend(_children(pid))
        return found

    def pids(self) -> list[int]:
        """Return the processes that are there now."""
        known = dict.fromkeys(self.descendants())
        for entry in os.listdir(_PROC):  # noqa: PTH208 - names are enough, and quicker
            if entry.isdigit() and int(entry) not in known and self._carries(entry):
                known[int(entry)] = None
        return list(known)

    def _carries(self, entry: str) -> bool:
        try:
            gathered = self.crowd is not None and self.crowd.has(entry)
            # A process can have its files in /proc given to root: then the mark is left.
            if not gathered and self.mark not in (_PROC / entry / "environ").read_bytes():
                return False
        except OSError:
            return False  # gone, or another user's
        return state(int(entry)) not in "ZX"

    def kill(self) -> None:
        """Send SIGKILL to all of them."""
        if not self.send(signal.SIGKILL):
            parts.send_kill(self.pids())

    def send(self, number: int) -> bool:
        """Signal all of them in one stroke, where that is possible, and tell whether."""
        if self.crowd is None:
            return False
        self.crowd.send(number)
        return True


class SignalFreezer(parts.Freezer):
    """SIGSTOP to every process of the tree, SIGCONT to let it go on."""

    how: ClassVar[str] = "SIGSTOP to the process tree"

    def __init__(self, tree: MarkedTree) -> None:
        self._tree = tree
        self._stopped: list[int] = []

    def begin(self) -> None:
        """Ask for the stop."""
        self._stopped = []
        if not self._tree.send(parts.STOP):
            self._stopped = self._tree.descendants()
            parts.send(self._stopped, parts.STOP)

    def frozen(self) -> bool:
        """Tell whether everything stands still."""
        # A child forked between the listing and the stop runs on: look again until nobody new is there. The
        # quick look comes first; only the slow one finds processes that lost their parent.
        if self._tree.crowd is not None:
            return all(_stands(pid) for pid in self._tree.pids())
        if self._stop_new(self._tree.descendants()) or not all(_stands(pid) for pid in self._stopped):
            return False
        return not self._stop_new(self._tree.pids())

    def _stop_new(self, pids: list[int]) -> bool:
        """Stop those that are not known yet, and tell whether there were any."""
        new = [pid for pid in pids if pid not in self._stopped]
        parts.send(new, parts.STOP)
        self._stopped += new
        return bool(new)

    def thaw(self) -> None:
        """Let everything run again."""
        if not self._tree.send(parts.CONTINUE):
            parts.send(self._stopped, parts.CONTINUE)
        self._stopped = []


class SampledMemory(parts.Memory):
    """Looks at the resident memory from time to time; over the limit it kills the largest process.

    So does the kernel where it has a limit to watch. If that was not enough the next look kills the next one.
    """

    how: ClassVar[str] = "sampled every 20 ms, SIGKILL above the limit"

    def __init__(self, tree: parts.Tree, limit: int) -> None:
        self._tree = tree
        self._limit = limit
        self._kills = 0
        self._peak = 0
        self._dying = 0  # the last one that was killed

    def sample(self) -> None:
        """Look once."""
        tree = self._tree
        pids = tree.descendants() if isinstance(tree, MarkedTree) else tree.pids()
        sizes = {pid: _resident(pid) for pid in pids}
        if sum(sizes.values()) > self._limit and len(pids) > 1:
            # Resident memory counts what forked processes share once for each of them. Their proportional
            # sizes do not, and take longer to read.
            sizes = {pid: _proportional(pid) for pid in pids}
        now = sum(sizes.values())
        self._peak = max(self._peak, now)
        if self._dying not in sizes:
            self._dying = 0
        if now > self._limit and not self._dying:
            self._kills += 1
            self._dying = max(sizes, key=lambda pid: sizes[pid])
            parts.send_kill([self._dying])

    def peak(self) -> int | None:
        """Return the high-water mark, in bytes."""
        return self._peak or None

    def kills(self) -> int:
        """Return how many processes the limit has killed."""
        return self._kills


def _text(path: str, *, whole: bool = False) -> str:
    """Read a file of /proc. Every invocation pays for some: no path objects, no layers of io.

    `whole`: it is one that comes in one piece. Others come a page at a time.
    """
    handle = os.open(f"/proc/{path}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        text = part = os.read(handle, 65536)
        while part and not whole:
            part = os.read(handle, 65536)
            text += part
        return text.decode("utf-8", "replace")
    finally:
        os.close(handle)


def residents(pids: list[int]) -> list[tuple[int, int]]:
    """Return the resident peak and what is resident now of the processes that are left, in bytes."""
    found = []
    for pid in pids:
        try:
            text = _text(f"{pid}/status", whole=True)
        except OSError:
            continue
        found.append((peak_and_threads(text)[0] or 0, resident(text) or 0))
    return found


def peak_and_threads(status: str) -> tuple[int | None, int]:
    """Return a process's resident peak in bytes and its number of threads, from its status in /proc."""
    memory, threads = status.find("VmHWM:"), status.find("Threads:")
    peak = int(status[memory + 6 : status.index("kB", memory)]) * 1024 if memory >= 0 else None
    return peak, int(status[threads + 8 : status.index("\n", threads)]) if threads >= 0 else 0


def resident(status: str) -> int | None:
    """Return what is resident of a process now, in bytes, from its status in /proc."""
    memory = status.find("VmRSS:")
    return int(status[memory + 6 : status.index("kB", memory)]) * 1024 if memory >= 0 else None


def state(pid: int, task: str = "") -> str:
    """Return the state letter of a process or one of its threads; X when it is gone."""
    try:
        text = _text(f"{pid}/{task}/stat", whole=True)
    except OSError:
        return "X"
    return text[text.rindex(")") + 2]


def _stands(pid: int) -> bool:
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - names are enough, and quicker
    except OSError:
        return True
    return all(state(pid, f"task/{thread}") in _STOPPED for thread in threads)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - names are enough, and quicker
            found += map(int, _text(f"{pid}/task/{thread}/children").split())
    except OSError:
        return found
    return found


def _resident(pid: int) -> int:
    try:
        return int((_PROC / str(pid) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def _proportional(pid: int) -> int:
    """Return a process's memory, what it shares divided among those that share it; its resident size else."""
    try:
        text = (_PROC / str(pid) / "smaps_rollup").read_text()
        return int(text[text.index("\nPss:") + 5 :].split(maxsplit=1)[0]) * 1024
    except (OSError, ValueError):
        return _resident(pid)
