"""What a box and a room say of themselves, together."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from lambent_lab.sandbox import limits, signals, users
from lambent_lab.sandbox.box import BoxReport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambent_lab.sandbox.box import Box
    from lambent_lab.sandbox.room import Room


def describe(box: Box, room: Room, notes: Sequence[str] = ()) -> BoxReport:
    """Return which box this is, and what it cannot do; `notes` are what others found that cannot be done."""
    cannot = [*box.cannot, *room.cannot, *notes]
    files = f"{limits.FILES} files, no core dumps"
    if box.counts_processes:
        number = f"{limits.PROCESSES} processes and threads (pids.max)"
    elif room.user is not None or room.own_processes:
        number = f"{limits.PROCESSES} processes and threads (RLIMIT_NPROC)"
    elif os.geteuid() != 0:
        number = f"{limits.PROCESSES} more processes and threads than the user has (RLIMIT_NPROC)"
        cannot.append("processes: those of the lab's user count towards the function's limit")
    else:
        number = "any number of processes"
        cannot.append("processes: their number is not limited")
    freeze, kill, crowd = box.freezer.how, box.tree.how, room.crowd
    if isinstance(box.freezer, signals.SignalFreezer):
        seen = "freeze: SIGSTOP can be seen by a process's parent"
        freeze = f"SIGSTOP to {crowd.how} at once" if crowd is not None else freeze
        cannot.append(seen if crowd is not None else f"{seen}, and misses orphans with another environment")
    if isinstance(box.tree, signals.MarkedTree) and crowd is not None:
        kill = f"signals ({crowd.how} at once)"
    user = room.user
    own = f"{users.NAME} ({user.uid}), without capabilities" if user is not None else users.why_not()
    return BoxReport(
        kind=box.kind,
        freeze=freeze,
        memory=box.memory.how,
        cpu=box.cpu.how,
        kill=kill,
        tmp=room.tmp,
        user=room.who or own,
        network=room.network.how,
        limits=f"{files}, {number}",
        cannot=tuple(cannot),
    )
