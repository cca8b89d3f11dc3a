"""The lab's temporary folder, and what makes sure that nothing outlives the lab.

Every lab process has one folder, `lambent-<pid>-<start time>-<random>`, in the system's temporary folder. A
journal in
it names the cgroups and the marks of the processes that were started. Three things clean up by that journal:
the lab itself at its end; a small process that waits for the lab's death (a pipe tells it, so SIGKILL is no
way round it); and every later lab, which looks for folders whose owner is dead.

This file is run by that small process on its own: it imports the standard library only.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

JOURNAL = "journal"
_NAME = re.compile(r"lambent-(\d+)-(\d+)-[0-9a-z_]+")
_PATIENCE_S = 5.0
_MIN_MARK = 16
_FIRST_USER = 0x7000_0000  # where the range of users.py begins


def start_time(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return int(text[text.rindex(")") + 2 :].split()[19])


def owner_is_dead(name: str) -> bool:
    """Tell whether a folder or cgroup is named for a lab that is gone."""
    match = _NAME.match(name)
    return match is not None and start_time(int(match[1])) != int(match[2])


def sweep(root: Path) -> list[Path]:
    """Clean up after dead labs below the temporary folder `root`; return the folders removed."""
    removed = []
    for entry in root.glob("lambent-*"):
        try:
            about = entry.lstat()
        except OSError:
            continue
        # Only a real folder of our own counts: anyone can put a name into a shared temporary folder.
        if stat.S_ISDIR(about.st_mode) and about.st_uid == os.getuid() and owner_is_dead(entry.name):
            clean(entry)
            removed.append(entry)
    return removed


def clean(folder: Path) -> None:
    """Kill and remove everything that a lab's folder tells of, then the folder."""
    try:
        lines = (folder / JOURNAL).read_text().splitlines()
    except OSError:
        lines = []
    cgroups = [Path(line[7:]) for line in lines if line.startswith("cgroup ")]
    marks = [line[5:].encode() for line in lines if line.startswith("mark ")]
    owners = {int(line[5:]) for line in lines if line.startswith("user ")}
    cgroups = [path for path in cgroups if _NAME.match(path.name) and path.is_dir()]
    limit = time.monotonic() + _PATIENCE_S
    for path in cgroups:
        _thaw(path)
    while time.monotonic() < limit:
        pids = [pid for path in cgroups for pid in _procs(path)] + _marked(marks)
        pids += _owned(owners)
        for pid in pids:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if not pids:
            break
        time.sleep(0.002)
    for path in cgroups:
        while path.is_dir() and time.monotonic() < limit:
            try:
                path.rmdir()
            except OSError:
                time.sleep(0.002)
    # Something that was started before the lab's death (a compiler, a copy) may still write there.
    shutil.rmtree(folder, ignore_errors=True)
    while folder.is_dir() and time.monotonic() < limit:
        time.sleep(0.05)
        shutil.rmtree(folder, ignore_errors=True)


def make(root: Path | None = None) -> Path:
    """Make the folder of this process."""
    base = root or Path(tempfile.gettempdir())
    return Path(tempfile.mkdtemp(prefix=f"lambent-{os.getpid()}-{start_time(os.getpid())}-", dir=base))


def _thaw(path: Path) -> None:
    for name, text in (("cgroup.freeze", "0"), ("freezer.state", "THAWED")):
        if (path / name).exists():
            with suppress(OSError):
                (path / name).write_text(text)


def _procs(path: Path) -> list[int]:
    try:
        return [int(pid) for pid in (path / "cgroup.procs").read_text().split()]
    except OSError:
        return []


def _marked(marks: list[bytes]) -> list[int]:
    """Return the living processes that carry one of the marks in their environment."""
    marks = [mark for mark in marks if len(mark) >= _MIN_MARK]
    found = []
    for entry in Path("/proc").iterdir() if marks else ():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environ = (entry / "environ").read_bytes()
        except OSError:
            continue
        if any(mark in environ for mark in marks):
            found.append(int(entry.name))
    return found


def _owned(owners: set[int]) -> list[int]:
    """Return the living processes of users that only this lab has made up."""
    owners = {uid for uid in owners if uid >= _FIRST_USER}
    found = []
    for entry in os.scandir("/proc") if owners else ():
        with suppress(OSError):
            if entry.name.isdigit() and entry.stat().st_uid in owners:
                found.append(int(entry.name))
    return [pid for pid in found if _lives(pid)]


def _lives(pid: int) -> bool:
    """Tell whether a process is there, and more than a status that nobody has collected."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text[text.rindex(")") + 2] not in "ZX"


def main() -> None:
    """Wait until standard input ends, which is when the lab does, and clean up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    clean(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
