"""A share of the CPU without any privilege: processes are stopped and continued in turn.

What the processes have used is looked at every few milliseconds. When it is more than their share of the
time that has passed, they stand still until it is not. So the share holds on average; a burst shorter than a
slice (2 to 10 ms, longer for larger shares) is not slowed down. Time in which they did not want the CPU is
not saved up for later. What has more CPUs than it can use is left alone.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, ClassVar

from lambent_lab.sandbox import parts

if TYPE_CHECKING:
    from lambent_lab.sandbox.signals import MarkedTree

_PERIOD_S = 0.02
_SHORTEST_S, _LONGEST_S = 0.002, 0.01


class DutyCpu(parts.Cpu):
    """SIGSTOP and SIGCONT in turn, from a thread that runs while there is something to limit."""

    how: ClassVar[str] = "SIGSTOP and SIGCONT in turn, slices of 2 to 10 ms"

    def __init__(self, marked: MarkedTree, tree: parts.Tree) -> None:
        self._marked = marked
        self._tree = tree
        self._seen: dict[int, int] = {}
        self._counting = threading.Lock()
        self._changed = threading.Condition(threading.RLock())
        self._share: float | None = None
        self._held = True  # until there is a process
        self._stopped: list[int] | None = None  # who stands still because of this; None: nobody
        self._over = False
        self._thread: threading.Thread | None = None

    # -- what the box asks for

    def limit(self, vcpus: float) -> None:
        """Allow so many vCPUs from now on."""
        with self._changed:
            self._share = vcpus if vcpus < (os.cpu_count() or 1) else None
            if self._share is not None and self._thread is None and not self._over:
                self._thread = threading.Thread(target=self._run, name="lambent-duty", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def used_ns(self) -> int | None:
        """Return the CPU time used so far, in ns: by those who live, and last seen by those who do not."""
        marked, tree = self._marked, self._tree
        with self._counting:
            for pid in marked.descendants() if tree is marked else tree.pids():
                try:
                    # The kernel's encoding of another process's CPU clock: the id inverted, and 2 for
                    # "scheduler time".
                    self._seen[pid] = time.clock_gettime_ns((~pid << 3) | 2)
                except OSError:
                    continue
            return sum(self._seen.values())

    def hold(self) -> None:
        """Leave the processes to somebody else, running: they are about to be frozen or killed."""
        with self._changed:
            self._held = True
            self._go()
            self._changed.notify_all()

    def let_go(self) -> None:
        """Keep to the share again."""
        with self._changed:
            self._held = False
            self._changed.notify_all()

    def close(self) -> None:
        """Stop limiting, for good."""
        with self._changed:
            self._over = True
            self._go()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    # -- the thread

    def _run(self) -> None:
        with self._changed:
            while not self._over:
                if self._held or self._share is None:
                    self._go()
                    self._changed.wait()
                else:
                    self._slices(self._share)

    def _slices(self, share: float) -> None:
        """Keep to one share until it changes. Called with the lock, which waiting gives away."""
        mark, used = time.monotonic(), self.used_ns() or 0
        slice_s = min(_LONGEST_S, max(_SHORTEST_S, share * _PERIOD_S))
        while not (self._held or self._over) and self._share == share:
            self._changed.wait(slice_s)
            now, total = time.monotonic(), self.used_ns() or 0
            debt_s = (total - used) / 1e9 - share * (now - mark)
            if debt_s <= 0:
                mark, used = now, total
            elif not (self._held or self._over) and self._share == share:
                self._stop()
                until = now + debt_s / share
                while not (self._held or self._over) and self._share == share:
                    left = until - time.monotonic()
                    if left <= 0:
                        break
                    self._changed.wait(left)
                self._go()

    def _stop(self) -> None:
        self._stopped = [] if self._marked.send(parts.STOP) else self._marked.descendants()
        parts.send(self._stopped, parts.STOP)

    def _go(self) -> None:
        if self._stopped is not None:
            self._marked.send(parts.CONTINUE)
            parts.send(self._stopped, parts.CONTINUE)
            self._stopped = None
