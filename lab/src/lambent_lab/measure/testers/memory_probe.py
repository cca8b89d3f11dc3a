"""The memory of this process: what is resident now, and the most that was since a moment.

Rules
- Megabytes are 2^20 bytes. Resident memory (RSS) is psutil's, which is the kernel's own count.
- A peak is the kernel's high-water mark (`VmHWM`), which misses nothing between two looks. Linux lets a
  process set its own back (`/proc/self/clear_refs`); where that is refused, the peak is the highest of the
  values that were looked at, and `peak_source` says so.
"""

from __future__ import annotations

import gc
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator

MB = 1024 * 1024
KERNEL = "high-water mark (VmHWM)"
LOOKS = "highest of the values looked at"

_NEAR_MB = 4.0
"""A high-water mark that was set back is what is resident, give or take what the kernel counts in batches."""

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


class Memory(Protocol):
    """What the testers ask of a memory probe; tests give one whose values they choose."""

    @property
    def peak_source(self) -> str:
        """How `peak_mb` is known."""

    def rss_mb(self) -> float:
        """Resident memory now."""

    def begin_peak(self) -> None:
        """From here on `peak_mb` counts."""

    def peak_mb(self) -> float:
        """The most that was resident since `begin_peak`."""


class MemoryProbe:
    """The memory of the process it is made in."""

    def __init__(self) -> None:
        self._process = psutil.Process(os.getpid())
        self._highest = 0.0
        self._kernel = False

    @property
    def peak_source(self) -> str:
        """How `peak_mb` is known: from the kernel, or from looking."""
        return KERNEL if self._kernel else LOOKS

    def rss_mb(self) -> float:
        """Resident memory now, in MB."""
        now: float = self._process.memory_info().rss / MB
        self._highest = max(self._highest, now)
        return now

    def begin_peak(self) -> None:
        """Set the high-water mark back to what is resident now."""
        self._highest = 0.0
        now = self.rss_mb()
        try:
            _CLEAR.write_text("5", encoding="ascii")  # proc_pid_clear_refs(5): 5 resets the peak
        except OSError:
            self._kernel = False
            return
        # Some sandboxes take the order and do nothing.
        mark = _high_water_mb()
        self._kernel = mark is not None and mark - now < _NEAR_MB

    def peak_mb(self) -> float:
        """The most that was resident since `begin_peak`, in MB."""
        self.rss_mb()
        mark = _high_water_mb() if self._kernel else None
        return self._highest if mark is None else max(mark, self._highest)


def _high_water_mb() -> float | None:
    try:
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return None


def collect() -> None:
    """Collect garbage until there is none: what finalizers let go of is found in the next round.

    It is done when it returns: nothing has to be slept for.
    """
    for _ in range(5):
        if not gc.collect():
            return


@contextmanager
def set_aside() -> Iterator[None]:
    """Collect garbage, and spare the collector what is there already until the end of the block.

    To collect before each sample takes a good part of a second in a process with a large heap, and is nothing
    for the little that a test makes.
    """
    collect()
    ours = gc.get_freeze_count() == 0
    if ours:
        gc.freeze()
    try:
        yield
    finally:
        if ours:
            gc.unfreeze()
