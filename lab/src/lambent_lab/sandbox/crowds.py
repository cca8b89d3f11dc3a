"""Ways to tell the processes of a box from all others, and to reach them all at once."""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from lambent_lab.sandbox import syscalls

if TYPE_CHECKING:
    from lambent_lab.sandbox.users import User


class Crowd(ABC):
    """All processes of a box, told from all others by something that they cannot change."""

    how: str

    @abstractmethod
    def has(self, entry: str) -> bool:
        """Tell whether a process, by its name in /proc, belongs to it. OSError when that cannot be known."""

    @abstractmethod
    def send(self, number: int) -> None:
        """Signal all of them in one stroke: nobody can fork fast enough to escape it."""


class UserCrowd(Crowd):
    """All processes of a user who has no others."""

    how = "all of its user's processes"

    def __init__(self, user: User) -> None:
        self._user = user

    def has(self, entry: str) -> bool:
        """Tell whether a process belongs to it."""
        return os.stat(f"/proc/{entry}").st_uid == self._user.uid  # noqa: PTH116 - there are many

    def send(self, number: int) -> None:
        """Signal all of them, from a thread that becomes the user for it."""
        user = self._user
        sender = threading.Thread(
            target=syscalls.signal_all_of, args=(user.uid, user.gid, number), name="lambent-signal"
        )
        sender.start()
        sender.join()
