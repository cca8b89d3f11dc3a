"""The ordinary user that a function runs as when the lab is root.

Every environment has a number of its own as user and group, from a range that no user database and no
container tool hands out. So functions cannot signal, trace or read each other, a limit on the user's
processes counts one environment only, and what was left behind can be told by its owner. The function finds
its number under the name that Lambda gives its users.

A number must exist in the user namespace of the lab (in a rootless container few do), and the lab needs the
capabilities to change to it and to signal it. Otherwise the function runs as the lab's user, and the report
says so.
"""

from __future__ import annotations

import functools
import itertools
import os
import platform
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

NAME = "sbx_user1051"
HOME = Path("/home") / NAME
FIRST, COUNT = 0x7000_0000, 1 << 28  # above what containers are given, below what breaks a signed number
_SMALL = range(61_184, 65_520)  # for users of the moment: where a namespace ends at 65535
_NEEDED = (5, 6, 7, 8)  # CAP_KILL, CAP_SETGID, CAP_SETUID, CAP_SETPCAP
MACHINES = frozenset({"x86_64", "aarch64"})

_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class User:
    """Whom a function runs as: the number of the user and of its only group."""

    uid: int
    gid: int


def ordinary() -> User | None:
    """Return a new user of its own for an environment, or None when there cannot be one."""
    wanted = _candidate(next(_numbers))
    return None if wanted is None else User(wanted, wanted)


def why_not() -> str:
    """Return why `ordinary` has nobody, for the report."""
    if os.geteuid() != 0:
        return f"the function runs as the lab's own user ({os.geteuid()})"
    return "the function runs as root: no other user is possible here"


def _candidate(number: int) -> int | None:
    if os.geteuid() != 0 or platform.machine() not in MACHINES or not _capable():
        return None
    # The lab's process number and the environment's: two labs at once should not meet.
    own = FIRST + ((os.getpid() & 0x3FFF) << 14 | number & 0x3FFF)
    small = _SMALL[(os.getpid() * 64 + number) % len(_SMALL)]
    mapped = _mapped("/proc/self/uid_map"), _mapped("/proc/self/gid_map")
    return next((n for n in (own, small) if all(any(n in r for r in ranges) for ranges in mapped)), None)


@functools.cache
def _capable() -> bool:
    try:
        status = Path("/proc/self/status").read_text()
        if Path("/proc/self/setgroups").read_text().strip() == "deny":
            return False
    except OSError:
        return False
    effective = int(status[status.index("CapEff:") + 7 :].split(maxsplit=1)[0], 16)
    return all(effective >> number & 1 for number in _NEEDED)


@functools.cache
def _mapped(file: str) -> tuple[range, ...]:
    try:
        lines = Path(file).read_text().splitlines()
    except OSError:
        return ()
    return tuple(range(int(f[0]), int(f[0]) + int(f[2])) for f in map(str.split, lines) if len(f) == 3)


def closed(path: Path) -> Path | None:
    """Return the topmost folder above `path` that others may not pass through, None when there is none."""
    for folder in reversed(path.parents):
        try:
            if not folder.stat().st_mode & stat.S_IXOTH:
                return folder
        except OSError:
            return None
    return None


def unreadable(paths: Iterable[Path]) -> Path | None:
    """Return the first file or folder that is there, but that others may not read (folders: and enter)."""
    for path in paths:
        try:
            mode = path.stat().st_mode
        except OSError:
            continue
        wanted = stat.S_IROTH | (stat.S_IXOTH if stat.S_ISDIR(mode) else 0)
        if mode & wanted != wanted:
            return path
    return None


def database(user: User) -> tuple[str, str]:
    """Return what /etc/passwd and /etc/group hold in the room: Lambda's user, and nobody of the host."""
    passwd = (
        "root:x:0:0:root:/root:/sbin/nologin\n"
        f"{NAME}:x:{user.uid}:{user.gid}::{HOME}:/sbin/nologin\n"
        "nobody:x:65534:65534:nobody:/:/sbin/nologin\n"
    )
    return passwd, f"root:x:0:\n{NAME}:x:{user.gid}:\nnobody:x:65534:\n"
