"""Folders that are made once and used by several environments.

Each has a key that tells what is in it. Whoever takes one gives it back; of those that nobody uses the
latest stay, for the next environment. All of them lie in the lab's workspace and vanish with it.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lambent_lab.sandbox.workspace import workspace
from lambent_lab.staging import trees

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_UNUSED = 16
"""How many folders are kept that no environment uses."""


@dataclass(slots=True)
class Kept:
    """A folder: where it is, how many bytes it was made from, and how many use it."""

    path: Path
    size: int
    users: int = 0


class Shelf:
    """The folders of one workspace. Thread-safe: one is made once, and different ones side by side."""

    def __init__(self) -> None:
        self._base: Path | None = None
        self._kept: dict[tuple[str, ...], Kept] = {}  # the least recently used first
        self._making: dict[tuple[str, ...], threading.Lock] = {}
        self._lock = threading.Lock()

    def take(self, key: tuple[str, ...], make: Callable[[Path], int]) -> Kept:
        """Return the folder of a key; where there is none, `make` fills a new one and returns its size."""
        with self._lock:
            base = workspace().folder
            if base != self._base:  # a forked child has a workspace of its own
                self._base, self._kept, self._making = base, {}, {}
            making = self._making.setdefault(key, threading.Lock())
        with making:
            kept = self._found(key)
            if kept is None:
                kept = self._put(key, _made(key[0], base, make))
            return kept

    def _found(self, key: tuple[str, ...]) -> Kept | None:
        """Return the folder of a key, used by one more."""
        with self._lock:
            kept = self._kept.pop(key, None)
            if kept is not None:
                kept.users += 1
                self._kept[key] = kept
            return kept

    def _put(self, key: tuple[str, ...], kept: Kept) -> Kept:
        with self._lock:
            self._making.pop(key, None)
            before = self._kept.pop(key, None)  # made by another thread after this one's first try had failed
            if before is not None:
                shutil.rmtree(kept.path, ignore_errors=True)
                kept = before
            kept.users += 1
            self._kept[key] = kept
            return kept

    def give_back(self, kept: Kept) -> None:
        """Tell that a folder is used by one less."""
        with self._lock:
            kept.users -= 1
            unused = [key for key, one in self._kept.items() if not one.users]
            for key in unused[: max(0, len(unused) - MAX_UNUSED)]:
                shutil.rmtree(self._kept.pop(key).path, ignore_errors=True)


def _made(kind: str, base: Path, make: Callable[[Path], int]) -> Kept:
    folder = Path(tempfile.mkdtemp(prefix=f"{kind}-", dir=base))
    try:
        kept = Kept(folder, make(folder))
        trees.open_up(folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return kept


shelf = Shelf()
"""The one of this process."""
