"""The one place in this process where boxes are known, so that its end leaves nothing behind."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from lambent_lab.sandbox import leftovers

if TYPE_CHECKING:
    from pathlib import Path

_GUARD_PATIENCE_S = 5.0


class Destroyable(Protocol):
    """What can be taken apart without an event loop."""

    def destroy(self) -> None:
        """Take it apart, now."""


class Workspace:
    """This process's temporary folder, its journal, the guard that outlives it, and the boxes that exist."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self.folder = leftovers.make()
        self._journal = (self.folder / leftovers.JOURNAL).open("a", buffering=1)
        self._journal.write(f"mark {self.folder.name}\n")
        self._boxes: set[Destroyable] = set()
        self._lock = threading.Lock()
        self._counter = 0
        self._guard = subprocess.Popen(  # noqa: S603 - our interpreter, our file
            [sys.executable, "-I", "-S", leftovers.__file__, str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )

    def tool_environment(self) -> dict[str, str]:
        """Return the environment for a tool (a compiler, pip) that must not outlive this process.

        It is this process's own, and tells whose the tool is: left alone, it would write into a folder that
        has been removed.
        """
        return {**os.environ, "LAMBENT_LAB_WORKSPACE": self.folder.name}

    def unique(self) -> str:
        """Return a name for a new box: this lab's, and a number."""
        with self._lock:
            self._counter += 1
            return f"{self.folder.name}-{self._counter}"

    def record_cgroup(self, path: Path) -> None:
        """Write down a cgroup that is about to be made."""
        self._write(f"cgroup {path}\n")

    def record_mark(self, mark: str) -> None:
        """Write down the mark of processes that are about to be started."""
        self._write(f"mark {mark}\n")

    def record_user(self, uid: int) -> None:
        """Write down a user made up for processes that are about to be started."""
        self._write(f"user {uid}\n")

    def add(self, box: Destroyable) -> None:
        """Take the box apart at the end of this process, if nobody has until then."""
        with self._lock:
            self._boxes.add(box)

    def discard(self, box: Destroyable) -> None:
        """The box has been taken apart."""
        with self._lock:
            self._boxes.discard(box)

    def close(self) -> None:
        """Take apart what is left and let the guard remove the folder."""
        if os.getpid() != self._pid:
            return  # a forked child: none of this is its own
        with self._lock:
            boxes, self._boxes = self._boxes, set()
        for box in boxes:
            with suppress(Exception):  # the guard has a second try
                box.destroy()
        self._journal.close()
        assert self._guard.stdin is not None
        with suppress(OSError):
            self._guard.stdin.close()
        try:
            self._guard.wait(_GUARD_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._guard.kill()
            self._guard.wait()
        leftovers.clean(self.folder)

    def _write(self, line: str) -> None:
        with self._lock:
            self._journal.write(line)


_workspace: Workspace | None = None
_making = threading.Lock()


def workspace() -> Workspace:
    """Return this process's workspace. The first call makes it, and cleans up after labs that died."""
    global _workspace  # noqa: PLW0603 - one for each process: its end is what this is about
    with _making:
        if _workspace is None or _workspace._pid != os.getpid():  # noqa: SLF001 - the other half of this module
            _workspace = Workspace()
            atexit.register(_workspace.close)
            leftovers.sweep(_workspace.folder.parent)
        return _workspace
