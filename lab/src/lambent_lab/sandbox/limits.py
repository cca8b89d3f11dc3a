"""What a process may have of the machine besides CPU and memory, as on Lambda.

Files are limited in the shell that starts the function, which may always lower what it has. The number of
processes is the cgroup's to limit; where there is none for it, it is limited for the user. A user that has
nothing but this environment has 1024; the lab's own user has other processes as well, which count.
"""

from __future__ import annotations

import functools
import os
import platform
import resource
import subprocess

FILES = 1024
PROCESSES = 1024
"""Processes and threads together."""


def script(*, alone: bool) -> str:
    """Return what limits a shell, and what it becomes: files, hard and soft, core dumps, processes.

    `alone` tells that no other processes count for the same user.
    """
    number = _processes(alone=alone)
    more = "" if number is None else f"; ulimit {_process_option()} {number}"
    return f"ulimit -c 0; ulimit -n {FILES}{more}"


def counts_namespaces() -> bool:
    """Tell whether this Linux counts a user's processes in each user namespace by themselves (5.14)."""
    release = tuple(int("".join(filter(str.isdigit, n)) or 0) for n in platform.release().split(".")[:2])
    return release >= (5, 14)


def _processes(*, alone: bool) -> int | None:
    """Return how many processes and threads the user may have, None where that has no effect."""
    if alone:
        return PROCESSES
    if os.geteuid() == 0:
        return None  # the kernel lets root have as many as it likes
    hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    number = PROCESSES + _threads_of(os.geteuid())
    return number if hard == resource.RLIM_INFINITY else min(number, hard)


@functools.cache
def _process_option() -> str:
    """Return the letter for processes, on which shells do not agree."""
    asked = subprocess.run(["/bin/sh", "-c", "ulimit -u"], capture_output=True, check=False)
    return "-u" if asked.returncode == 0 and asked.stdout.strip() else "-p"


def _threads_of(uid: int) -> int:
    """Return how many threads a user has now."""
    count = 0
    for entry in os.scandir("/proc"):
        try:
            if entry.name.isdigit() and entry.stat().st_uid == uid:
                with open(f"/proc/{entry.name}/stat") as file:  # noqa: PTH123 - for a thousand of them
                    count += int(file.read().rpartition(")")[2].split()[17])
        except OSError:
            continue
    return count
